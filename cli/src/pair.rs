//! What `snap download` writes: a snap or component with its assertions in a file beside it.
//!
//! What is read out of assertions here only finds the files that belong together; the server takes every
//! fact from the verified assertions.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::context::read_limited;

/// More than the assertions of one snap need, in bytes.
const MAX_ASSERTIONS: u64 = 4 << 20;

/// A blob and what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The files, blobs first.
    pub(crate) files: Vec<PathBuf>,
    /// The revision of the snap; none for a component on its own.
    pub(crate) revision: Option<u32>,
}

/// Is this the blob of a pair, rather than a bundle?
pub(crate) fn is_blob(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "snap" || extension == "comp")
}

impl Pair {
    /// Finds what belongs to `NAME_REVISION.snap`: its assertions, its components and theirs; or to
    /// `NAME+COMPONENT_REVISION.comp`: its assertions.
    ///
    /// # Errors
    /// The assertions are missing, cannot be read, or do not say which revision the snap is.
    pub(crate) fn find(blob: &Path) -> anyhow::Result<Self> {
        let beside = blob.with_extension("assert");
        if !beside.is_file() {
            bail!(
                "cannot push {} without {} beside it: `snap download` writes both",
                show(blob),
                show(&beside)
            );
        }
        if blob.extension().is_some_and(|extension| extension == "comp") {
            return Ok(Self { files: vec![blob.to_owned(), beside], revision: None });
        }
        let text = read_text(&beside)?;
        let revision = snap_revision(&text, blob)
            .with_context(|| format!("{} does not say which revision {} is", show(&beside), show(blob)))?;
        let mut blobs = vec![blob.to_owned()];
        let mut assertions = vec![beside];
        for component in components(blob)? {
            let own = component.with_extension("assert");
            let has_own = own.is_file();
            if has_own || names_component(&text, &component) {
                blobs.push(component);
            }
            if has_own {
                assertions.push(own);
            }
        }
        blobs.append(&mut assertions);
        Ok(Self { files: blobs, revision: Some(revision) })
    }
}

fn show(path: &Path) -> std::path::Display<'_> {
    path.display()
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let what = || format!("cannot read {}", show(path));
    let bytes = read_limited(File::open(path).with_context(what)?, MAX_ASSERTIONS).with_context(what)?;
    String::from_utf8(bytes).with_context(what)
}

/// The headers of every assertion of one type in a stream.
pub(crate) fn headers_of<'a>(stream: &'a str, kind: &'a str) -> impl Iterator<Item = Headers<'a>> {
    let headers = stream.split("\n\n").map(|block| Headers(block.trim_start_matches('\n')));
    headers.filter(move |headers| headers.get("type") == Some(kind))
}

/// The text of an assertion's headers.
#[derive(Clone, Copy)]
pub(crate) struct Headers<'a>(&'a str);

impl<'a> Headers<'a> {
    /// The text of a header that stands on one line.
    pub(crate) fn get(self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The revision that the assertions give; where they give several, the one that the file name picks.
fn snap_revision(stream: &str, blob: &Path) -> Option<u32> {
    let revisions: Vec<u32> = headers_of(stream, "snap-revision")
        .filter_map(|headers| headers.get("snap-revision")?.parse().ok())
        .collect();
    match revisions[..] {
        [only] => Some(only),
        _ => {
            let (_, wanted) = split_revision(blob)?;
            revisions.into_iter().find(|revision| *revision == wanted)
        }
    }
}

/// `NAME` and `REVISION` of `NAME_REVISION.EXTENSION`.
pub(crate) fn split_revision(path: &Path) -> Option<(&str, u32)> {
    let (name, revision) = path.file_stem()?.to_str()?.rsplit_once('_')?;
    Some((name, revision.parse().ok()?))
}

/// The component files beside a snap, sorted.
fn components(blob: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let stem = blob.file_stem().unwrap_or_default().to_string_lossy();
    let prefix = format!("{}+", split_revision(blob).map_or(&*stem, |(name, _)| name));
    let folder = match blob.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let what = || format!("cannot list {}", show(folder));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".comp") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Do the snap's assertions speak of this component file?
fn names_component(stream: &str, component: &Path) -> bool {
    let Some((full_name, revision)) = split_revision(component) else { return false };
    let Some((_, name)) = full_name.split_once('+') else { return false };
    let revision = revision.to_string();
    headers_of(stream, "snap-resource-revision").any(|headers| {
        headers.get("resource-name") == Some(name) && headers.get("resource-revision") == Some(&revision)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "type: account\naccount-id: a\n\nSIG\n\ntype: snap-revision\nauthority-id: x\n\
        snap-revision: 7\n\nSIG\n";

    #[test]
    fn the_assertion_gives_the_revision_and_the_name_only_picks() {
        let two = format!("{ONE}\n{}", ONE.replace("snap-revision: 7", "snap-revision: 8"));
        for (stream, file, wanted) in [
            (ONE, "hello_7.snap", Some(7)),
            (ONE, "renamed.snap", Some(7)),
            (ONE, "hello_9.snap", Some(7)),
            (&two, "hello_8.snap", Some(8)),
            (&two, "hello.snap", None),
            ("type: account\n\nSIG\n", "hello_8.snap", None),
            ("", "hello_8.snap", None),
        ] {
            assert_eq!(snap_revision(stream, Path::new(file)), wanted, "{file}");
        }
    }

    #[test]
    fn a_snap_takes_along_the_components_that_its_assertions_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let resource = |name: &str, revision: u32| {
            format!(
                "\ntype: snap-resource-revision\nresource-name: {name}\nresource-revision: {revision}\n\nSIG\n"
            )
        };
        fs::write(at("hello_7.assert"), format!("{ONE}{}", resource("extra", 3))).unwrap();
        fs::write(at("hello+own_4.assert"), resource("own", 4)).unwrap();
        for blob in [
            "hello_7.snap",
            "hello+extra_3.comp",
            "hello+extra_2.comp",
            "hello+own_4.comp",
            "other+extra_3.comp",
        ] {
            fs::write(at(blob), blob).unwrap();
        }
        let pair = Pair::find(&at("hello_7.snap")).unwrap();
        let names = [
            "hello_7.snap",
            "hello+extra_3.comp",
            "hello+own_4.comp",
            "hello_7.assert",
            "hello+own_4.assert",
        ];
        assert_eq!(pair, Pair { files: names.map(at).to_vec(), revision: Some(7) });
        let alone = Pair::find(&at("hello+own_4.comp")).unwrap();
        assert_eq!(alone.revision, None);
        let error = Pair::find(&at("other+extra_3.comp")).unwrap_err().to_string();
        assert!(error.contains("other+extra_3.assert beside it"), "{error}");
    }
}
