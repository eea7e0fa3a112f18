//! Reads what operators name, files and standard input, never more than there is room for; writes small files whole.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::looks;

use crate::kinds::{self, Kind};
use crate::stdin::{is_stdin, shown};

/// More than any assertion stream or metadata file needs, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 64 << 20;

/// The mode of files for everybody.
pub(crate) const PUBLIC: u32 = 0o644;
/// The mode of files with what is nobody else's business.
pub(crate) const PRIVATE: u32 = 0o600;

/// Reads a document that is small enough for memory; `-` is standard input.
///
/// # Errors
/// It cannot be read, or holds nothing.
pub(crate) fn read_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read_all(path)?;
    let shown = shown(path);
    let nothing = looks::like(&bytes).filter(|what| what.starts_with("empty") || what.starts_with("nothing"));
    nothing.map_or(Ok(()), |what| Err(anyhow::anyhow!("{shown} is {what}")))?;
    Ok(bytes)
}

/// Reads a document that has to be of one of these kinds.
///
/// # Errors
/// It cannot be read, holds nothing, or is surely of another kind.
pub(crate) fn read_kind(path: &Path, wanted: &[Kind]) -> anyhow::Result<Vec<u8>> {
    kinds::expect(path, wanted)?;
    let bytes = read_document(path)?;
    if is_stdin(path) {
        kinds::expect_start(path, &bytes, wanted)?;
    }
    Ok(bytes)
}

fn read_all(path: &Path) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    if is_stdin(path) {
        return read_limited(std::io::stdin().lock(), MAX_DOCUMENT).context("cannot read standard input");
    }
    read_limited(File::open(path).with_context(what)?, MAX_DOCUMENT).with_context(what)
}

/// Reads all of a source that must not hold more than `most` bytes.
pub(crate) fn read_limited(source: impl std::io::Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= most => Ok(bytes),
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it holds more than {} MiB", most >> 20),
        )),
    }
}

/// The name a document is known by: its file name without folders.
pub(crate) fn document_name(path: &Path) -> String {
    match path.file_name() {
        Some(name) if !is_stdin(path) => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

/// Writes a small file atomically.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        draft(folder, bytes, PUBLIC)?.persist(path)?;
        crate::output::changed();
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a small file atomically under the first of these names that nothing has; its path.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_new(
    folder: &Path,
    names: impl IntoIterator<Item = String>,
    bytes: &[u8],
    mode: u32,
) -> anyhow::Result<PathBuf> {
    let write = || -> io::Result<PathBuf> {
        let mut file = draft(folder, bytes, mode)?;
        for name in names {
            let path = folder.join(name);
            match file.persist_noclobber(&path) {
                Ok(_) => {
                    crate::output::changed();
                    return Ok(path);
                }
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => file = taken.file,
                Err(failure) => return Err(failure.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    };
    write().with_context(|| format!("cannot write to {}", folder.display()))
}

/// A file without a name of its own yet, on the disk.
fn draft(folder: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_takes_the_place_of_none() {
        let folder = tempfile::tempdir().unwrap();
        let names = || ["first", "second"].map(str::to_owned);
        for (wanted, mode) in [("first", PUBLIC), ("second", PRIVATE)] {
            let path = write_new(folder.path(), names(), wanted.as_bytes(), mode).unwrap();
            assert_eq!(path, folder.path().join(wanted));
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o177, mode & 0o177);
        }
        assert!(write_new(folder.path(), names(), b"third", PUBLIC).is_err());
        assert_eq!(std::fs::read(folder.path().join("first")).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    }
}
