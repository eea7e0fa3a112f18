//! Files from `snap download`: a snap or component with its assertions in a file beside it.
//!
//! The assertions read here only serve to find the matching files; the server takes every fact from verified
//! assertions.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use schema::assertion::{Assertion, Details, SnapRevision};
use schema::digest::{Hashed, Sha3_384};

use crate::documents::read_limited;
use crate::output::first_few;

/// Larger than the assertions of any snap, in bytes.
const MAX_ASSERTIONS: u64 = 4 << 20;

/// A blob and its files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The files, blobs first.
    pub(crate) files: Vec<PathBuf>,
    /// The snap's revision; `None` for a single component.
    pub(crate) revision: Option<u32>,
}

/// Whether this is the blob of a pair rather than a bundle.
pub(crate) fn is_blob(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("snap") || extension.eq_ignore_ascii_case("comp")
    })
}

/// Refuses a name that no bundle could contain, before it causes a less obvious error.
fn check_name(blob: &Path) -> anyhow::Result<()> {
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    let extension = blob.extension().unwrap_or_default();
    anyhow::ensure!(
        extension == "snap" || extension == "comp",
        "the ending of {name} is not in lower case: rename it, and the .assert beside it, to NAME_REVISION.{}",
        extension.to_string_lossy().to_lowercase()
    );
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
    anyhow::ensure!(
        name.bytes().all(plain),
        "{name:?} is not called NAME_REVISION.{0}, as `snap download` writes it: rename it, and the .assert beside it",
        extension.to_string_lossy()
    );
    Ok(())
}

impl Pair {
    /// Finds the files of `NAME_REVISION.snap`: its assertions, its components and theirs; or those of
    /// `NAME+COMPONENT_REVISION.comp`: its assertions.
    ///
    /// # Errors
    /// The assertions are missing, unreadable, or do not state the snap's revision.
    pub(crate) fn find(blob: &Path) -> anyhow::Result<Self> {
        check_name(blob)?;
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
        let assertions_of_snap = read_stream(&beside)?;
        let revision = revision_of(blob, &beside, &assertions_of_snap)?;
        let mut blobs = vec![blob.to_owned()];
        let mut assertions = vec![beside];
        for component in components(blob)? {
            let own = component.with_extension("assert");
            let has_own = own.is_file();
            if has_own || names_component(&assertions_of_snap, &component) {
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

fn read_stream(path: &Path) -> anyhow::Result<Vec<Assertion>> {
    let what = || format!("cannot read {}", show(path));
    let bytes = read_limited(File::open(path).with_context(what)?, MAX_ASSERTIONS).with_context(what)?;
    let stream = Assertion::decode_stream(&bytes).with_context(what)?;
    anyhow::ensure!(!stream.is_empty(), "{} is empty: copy or fetch it again", show(path));
    Ok(stream)
}

/// Which revision the snap is by the assertions beside it.
fn revision_of(blob: &Path, beside: &Path, stream: &[Assertion]) -> anyhow::Result<u32> {
    let revisions: Vec<&SnapRevision> = stream
        .iter()
        .filter_map(|assertion| match assertion.details() {
            Details::SnapRevision(revision) => Some(revision),
            _ => None,
        })
        .collect();
    let what = || format!("cannot read {}", show(blob));
    let size = fs::metadata(blob).with_context(what)?.len();
    let sized = revisions.iter().filter(|revision| revision.snap_size == size);
    let digest = match sized.clone().next() {
        Some(_) => Some(digest_of(blob).with_context(what)?.to_base64url()),
        None => None,
    };
    let same = sized.filter(|revision| digest.as_ref() == Some(&revision.snap_sha3_384));
    let same: Vec<u32> = same.map(|revision| revision.snap_revision).collect();
    anyhow::ensure!(
        !same.is_empty() || revisions.is_empty(),
        "{} is not about {}: it names {} with another size or SHA3-384; put the .assert beside it that `snap download` wrote \
         with it",
        show(beside),
        show(blob),
        list(&revisions)
    );
    pick(&same, blob)
        .with_context(|| format!("{} does not say which revision {} is", show(beside), show(blob)))
}

fn list(revisions: &[&SnapRevision]) -> String {
    let numbers: Vec<String> =
        revisions.iter().map(|revision| format!("revision {}", revision.snap_revision)).collect();
    first_few(&numbers, 5)
}

fn digest_of(path: &Path) -> io::Result<Sha3_384> {
    let mut reader = Hashed::new(File::open(path)?);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.finish())
}

/// The one revision; if there are several, the one in the file name.
fn pick(revisions: &[u32], blob: &Path) -> Option<u32> {
    match *revisions {
        [only] => Some(only),
        _ => {
            let (_, wanted) = split_revision(blob)?;
            revisions.iter().copied().find(|revision| *revision == wanted)
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

/// Whether the snap's assertions mention this component file.
fn names_component(stream: &[Assertion], component: &Path) -> bool {
    let Some((full_name, revision)) = split_revision(component) else { return false };
    let Some((_, name)) = full_name.split_once('+') else { return false };
    stream.iter().any(|assertion| match assertion.details() {
        Details::SnapResourceRevision(held) => {
            held.resource_name == name && held.resource_revision == revision
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        include_str!("../../tests/fixtures/assertions/snaps/hello-vectors_1.snap-revision.assert");
    const TWO: &str =
        include_str!("../../tests/fixtures/assertions/snaps/hello-vectors_2.snap-revision.assert");
    const SNAP_1: &[u8] = include_bytes!("../../tests/fixtures/assertions/snaps/hello-vectors_1.snap");
    const SNAP_2: &[u8] = include_bytes!("../../tests/fixtures/assertions/snaps/hello-vectors_2.snap");
    const EXTRA: &str =
        include_str!("../../tests/fixtures/assertions/snaps/extra_1.snap-resource-revision.assert");

    #[test]
    fn the_file_is_found_in_the_assertions_and_the_name_only_picks() {
        let folder = tempfile::tempdir().unwrap();
        let two = format!("{ONE}\n{TWO}");
        for (stream, file, content, wanted) in [
            (ONE, "hello_1.snap", SNAP_1, Ok(1)),
            (ONE, "renamed.snap", SNAP_1, Ok(1)),
            (ONE, "hello_9.snap", SNAP_1, Ok(1)),
            (&two, "hello_1.snap", SNAP_2, Ok(2)),
            (&two, "hello.snap", SNAP_1, Ok(1)),
            (TWO, "hello_1.snap", SNAP_1, Err("is not about")),
            (TWO, "hello_2.snap", SNAP_1, Err("names revision 2")),
            (&two, "hello_1.snap", b"x", Err("names revision 1, revision 2")),
            (EXTRA, "hello_8.snap", SNAP_1, Err("does not say which revision")),
        ] {
            let stream = Assertion::decode_stream(stream.as_bytes()).unwrap();
            let (blob, beside) = (folder.path().join(file), folder.path().join("hello.assert"));
            fs::write(&blob, content).unwrap();
            let found = revision_of(&blob, &beside, &stream).map_err(|error| error.to_string());
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{file}"),
                (Err(error), Err(text)) => {
                    assert!(
                        error.contains(text) && error.contains(file) && error.contains("hello.assert"),
                        "{error}"
                    );
                }
                (found, _) => panic!("{file}: {found:?}"),
            }
        }
        assert_eq!(pick(&[1, 2], Path::new("hello_2.snap")), Some(2));
        assert_eq!(pick(&[1, 2], Path::new("hello.snap")), None);
    }

    #[test]
    fn a_snap_takes_along_the_components_that_its_assertions_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("hello_1.assert"), format!("{ONE}\n{EXTRA}")).unwrap();
        fs::write(at("hello+own_4.assert"), EXTRA).unwrap();
        for blob in [
            "hello_1.snap",
            "hello+extra_1.comp",
            "hello+extra_2.comp",
            "hello+own_4.comp",
            "other+extra_1.comp",
        ] {
            fs::write(at(blob), SNAP_1).unwrap();
        }
        let pair = Pair::find(&at("hello_1.snap")).unwrap();
        let names = [
            "hello_1.snap",
            "hello+extra_1.comp",
            "hello+own_4.comp",
            "hello_1.assert",
            "hello+own_4.assert",
        ];
        assert_eq!(pair, Pair { files: names.map(at).to_vec(), revision: Some(1) });
        let alone = Pair::find(&at("hello+own_4.comp")).unwrap();
        assert_eq!(alone.revision, None);
        let error = Pair::find(&at("other+extra_1.comp")).unwrap_err().to_string();
        assert!(error.contains("other+extra_1.assert beside it"), "{error}");
        fs::write(at("hello_1.assert"), "type: nonsense\n").unwrap();
        let error = Pair::find(&at("hello_1.snap")).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("hello_1.assert"), "{error}");
    }
}
