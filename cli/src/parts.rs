//! Split files: writes parts one after the other; finds them in any order, checks each, and reads them as one file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{Context as Hash, SHA3_384};
use schema::bundle::{Part, PartList};

use crate::digest::{digest_of, file_digest};
use crate::documents::read_limited;

/// Larger than any list of parts, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// The parts of a file in order, all matching their list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SplitFile {
    /// The name of the whole file.
    pub(crate) name: String,
    /// The parts.
    pub(crate) files: Vec<PathBuf>,
}

/// Whether this is a part or a list of parts rather than a whole file.
pub(crate) fn is_part(path: &Path) -> bool {
    let name = name_of(path);
    name.ends_with(PartList::SUFFIX) || PartList::whole_of(name).is_some()
}

impl SplitFile {
    /// Finds the list and the parts among the named files and beside them, then compares each part with the list.
    ///
    /// # Errors
    /// The list or a part is missing, a part does not match the list, or belongs to another file.
    pub(crate) fn find(named: &[PathBuf]) -> anyhow::Result<Self> {
        let (list, place) = read_list(named)?;
        let mut given: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        for path in named.iter().filter(|path| !name_of(path).ends_with(PartList::SUFFIX)) {
            let name = name_of(path);
            ensure!(
                list.parts.iter().any(|part| part.name == name),
                "cannot push {} together with {}: it is not a part of it",
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

/// Writes a file in parts of a maximum size. Unless they are to be kept, it removes them when it is dropped.
pub(crate) struct Cutter {
    folder: PathBuf,
    name: String,
    most: u64,
    current: Option<Open>,
    done: Vec<Part>,
    kept: bool,
}

/// The part being written.
struct Open {
    file: BufWriter<File>,
    name: String,
    size: u64,
    hash: Hash,
}

impl Cutter {
    /// Parts of at most `most` bytes in a folder.
    pub(crate) fn new(folder: &Path, name: &str, most: u64) -> Self {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        Self { folder, name, most: most.max(1), current: None, done: Vec::new(), kept: false }
    }

    /// Finishes the last part; returns the list and the parts' paths.
    ///
    /// # Errors
    /// A part cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<(PartList, Vec<PathBuf>)> {
        self.close()?;
        let parts = self.done.clone();
        let size = parts.iter().map(|part| part.size).sum();
        let files = parts.iter().map(|part| self.folder.join(&part.name)).collect();
        Ok((PartList { format: PartList::FORMAT, name: self.name.clone(), size, parts }, files))
    }

    /// Keeps the parts: what names them is written.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    fn open(&mut self) -> io::Result<Open> {
        let name = PartList::part_name(&self.name, self.done.len() + 1);
        let file = File::create_new(self.folder.join(&name))?;
        Ok(Open { file: BufWriter::with_capacity(1 << 20, file), name, size: 0, hash: Hash::new(&SHA3_384) })
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(Open { mut file, name, size, hash }) = self.current.take() else { return Ok(()) };
        self.done.push(Part { name, size, sha3_384: digest_of(hash).to_hex() });
        file.flush()?;
        file.get_ref().sync_all()
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.as_ref().is_some_and(|part| part.size >= self.most) {
            self.close()?;
        }
        let mut part = match self.current.take() {
            Some(part) => part,
            None => self.open()?,
        };
        let room = usize::try_from(self.most - part.size).unwrap_or(usize::MAX).min(bytes.len());
        let written = part.file.write(&bytes[..room]);
        if let Ok(count) = written {
            part.size += count as u64;
            part.hash.update(&bytes[..count]);
        }
        self.current = Some(part);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.as_mut().map_or(Ok(()), |part| part.file.flush())
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let current = self.current.take().map(|part| part.name);
        for name in self.done.iter().map(|part| part.name.clone()).chain(current) {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(folder: &Path, content: &[u8]) -> Vec<PathBuf> {
        let mut cutter = Cutter::new(folder, "a.tar", 3);
        cutter.write_all(content).unwrap();
        let (list, files) = cutter.finish().unwrap();
        cutter.keep();
        fs::write(folder.join("a.tar.parts.json"), serde_json::to_vec(&list).unwrap()).unwrap();
        files
    }

    #[test]
    fn what_is_cut_is_whole_again_when_joined() {
        let folder = tempfile::tempdir().unwrap();
        let files = cut(folder.path(), b"onetwothr");
        assert_eq!(
            files.iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>(),
            [b"one", b"two", b"thr"]
        );
        assert_eq!(SplitFile::find(&files).unwrap().files, files);
        let mut unfinished = Cutter::new(folder.path(), "b.tar", 3);
        unfinished.write_all(b"four").unwrap();
        let _ = unfinished.finish().unwrap();
        // Its list could not be written.
        drop(unfinished);
        let left = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("b.tar"));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn parts_are_found_in_any_order_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = cut(folder.path(), b"onetwothr");
        let wanted = SplitFile { name: "a.tar".into(), files: files.clone() };
        let list = folder.path().join("a.tar.parts.json");
        assert_eq!(SplitFile::find(&[list]).unwrap(), wanted);
        files.reverse();
        assert_eq!(SplitFile::find(&files).unwrap(), wanted);
        // The last part is on another medium.
        let other = tempfile::tempdir().unwrap();
        let moved = other.path().join("a.tar.part-003");
        fs::rename(&wanted.files[2], &moved).unwrap();
        assert_eq!(SplitFile::find(&[moved.clone(), wanted.files[0].clone()]).unwrap().files[2], moved);
        let error = SplitFile::find(&wanted.files[..1]).unwrap_err().to_string();
        assert!(error.contains("a.tar.part-003"), "{error}");
        assert!(is_part(&moved) && is_part(Path::new("a.parts.json")) && !is_part(Path::new("a.tar.gz")));
    }

    #[test]
    fn each_part_is_checked_on_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let files = cut(folder.path(), b"onetwo");
        for bad in [&b"twO"[..], b"tw", b"twoo"] {
            fs::write(&files[1], bad).unwrap();
            let error = SplitFile::find(&files).unwrap_err().to_string();
            assert!(error.contains("a.tar.part-002") && error.contains("copy it again"), "{error}");
        }
        fs::write(&files[1], "two").unwrap();
        let stranger = folder.path().join("b.tar.part-001");
        fs::write(&stranger, "one").unwrap();
        let error = SplitFile::find(&[files[0].clone(), stranger]).unwrap_err().to_string();
        assert!(error.contains("b.tar.part-001"), "{error}");
        fs::remove_file(folder.path().join("a.tar.parts.json")).unwrap();
        let error = SplitFile::find(&files).unwrap_err().to_string();
        assert!(error.contains("a.tar.parts.json"), "{error}");
    }
}
