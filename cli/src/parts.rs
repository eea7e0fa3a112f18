//! Files that were cut into parts: found in any order, each checked on its own, read as one again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use schema::bundle::PartList;

use crate::context::read_limited;
use crate::digest::file_digest;

/// More than any list of parts needs, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// The parts of a file, in their order, all as their list says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The name of the whole file.
    pub(crate) name: String,
    /// The parts.
    pub(crate) files: Vec<PathBuf>,
}

/// Is this a part, or a list of parts, rather than a whole file?
pub(crate) fn is_part(path: &Path) -> bool {
    let name = name_of(path);
    name.ends_with(PartList::SUFFIX) || PartList::whole_of(name).is_some()
}

impl Parts {
    /// Finds the list among what was named or beside it, and the parts likewise; then reads each part and compares it
    /// with the list.
    ///
    /// # Errors
    /// There is no list, a part is missing, is not what the list says, or belongs to another file.
    pub(crate) fn find(named: &[PathBuf]) -> anyhow::Result<Self> {
        let (list, place) = read_list(named)?;
        let mut given: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        for path in named.iter().filter(|path| !name_of(path).ends_with(PartList::SUFFIX)) {
            let name = name_of(path);
            ensure!(
                list.parts.iter().any(|part| part.name == name),
                "cannot push {} together with {}: it is no part of it",
                path.display(),
                list.name
            );
            given.insert(name, path);
        }
        let mut files = Vec::with_capacity(list.parts.len());
        let mut missing = Vec::new();
        for part in &list.parts {
            let beside = place.with_file_name(&part.name);
            match given.get(part.name.as_str()) {
                Some(path) => files.push((*path).clone()),
                None if beside.is_file() => files.push(beside),
                None => missing.push(part.name.as_str()),
            }
        }
        if !missing.is_empty() {
            bail!("cannot push {}: name also where {} is", list.name, missing.join(" and "));
        }
        for (part, path) in list.parts.iter().zip(&files) {
            let what = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(what)?;
            let found =
                (file.metadata().with_context(what)?.len(), file_digest(file).with_context(what)?.to_hex());
            if (found.0, found.1.as_str()) != (part.size, part.sha3_384.as_str()) {
                bail!("{} is not the part that the list names: copy it again", path.display());
            }
        }
        Ok(Self { name: list.name, files })
    }
}

/// The list, and where it was found.
fn read_list(named: &[PathBuf]) -> anyhow::Result<(PartList, PathBuf)> {
    let whole = |path: &PathBuf| {
        let name = name_of(path);
        name.strip_suffix(PartList::SUFFIX).or_else(|| PartList::whole_of(name)).map(str::to_owned)
    };
    let name = named.first().and_then(whole).context("cannot tell which file this is a part of")?;
    let wanted = format!("{name}{}", PartList::SUFFIX);
    let beside = named.iter().map(|path| path.with_file_name(&wanted));
    let Some(place) = beside.into_iter().find(|path| path.is_file()) else {
        bail!("cannot find {wanted} beside the parts: it was written together with them");
    };
    let what = || format!("cannot read {}", place.display());
    let bytes = read_limited(File::open(&place).with_context(what)?, MAX_LIST).with_context(what)?;
    let list = PartList::parse(&bytes).with_context(what)?;
    ensure!(list.name == name, "{} is the list of another file, {}", place.display(), list.name);
    Ok((list, place))
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use schema::bundle::Part;
    use schema::digest::Sha3_384;

    use super::*;

    fn cut(folder: &Path, contents: &[&[u8]]) -> Vec<PathBuf> {
        let mut parts = Vec::new();
        let mut files = Vec::new();
        for (at, content) in (1..).zip(contents) {
            let name = PartList::part_name("a.tar", at);
            fs::write(folder.join(&name), content).unwrap();
            files.push(folder.join(&name));
            parts.push(Part { name, size: content.len() as u64, sha3_384: Sha3_384::of(content).to_hex() });
        }
        let size = parts.iter().map(|part| part.size).sum();
        let list = PartList { format: 1, name: "a.tar".into(), size, parts };
        fs::write(folder.join("a.tar.parts.json"), serde_json::to_vec(&list).unwrap()).unwrap();
        files
    }

    #[test]
    fn parts_are_found_in_any_order_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = cut(folder.path(), &[b"one", b"two", b"three"]);
        let wanted = Parts { name: "a.tar".into(), files: files.clone() };
        let list = folder.path().join("a.tar.parts.json");
        assert_eq!(Parts::find(&[list]).unwrap(), wanted);
        files.reverse();
        assert_eq!(Parts::find(&files).unwrap(), wanted);
        // Another medium brings the last one.
        let other = tempfile::tempdir().unwrap();
        let moved = other.path().join("a.tar.part-003");
        fs::rename(&wanted.files[2], &moved).unwrap();
        assert_eq!(Parts::find(&[moved.clone(), wanted.files[0].clone()]).unwrap().files[2], moved);
        let error = Parts::find(&wanted.files[..1]).unwrap_err().to_string();
        assert!(error.contains("a.tar.part-003"), "{error}");
        assert!(is_part(&moved) && is_part(Path::new("a.parts.json")) && !is_part(Path::new("a.tar.gz")));
    }

    #[test]
    fn each_part_is_checked_on_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let files = cut(folder.path(), &[b"one", b"two"]);
        for bad in [&b"twO"[..], b"tw", b"twoo"] {
            fs::write(&files[1], bad).unwrap();
            let error = Parts::find(&files).unwrap_err().to_string();
            assert!(error.contains("a.tar.part-002") && error.contains("copy it again"), "{error}");
        }
        fs::write(&files[1], "two").unwrap();
        let stranger = folder.path().join("b.tar.part-001");
        fs::write(&stranger, "one").unwrap();
        let error = Parts::find(&[files[0].clone(), stranger]).unwrap_err().to_string();
        assert!(error.contains("b.tar.part-001"), "{error}");
        fs::remove_file(folder.path().join("a.tar.parts.json")).unwrap();
        let error = Parts::find(&files).unwrap_err().to_string();
        assert!(error.contains("a.tar.parts.json"), "{error}");
    }
}
