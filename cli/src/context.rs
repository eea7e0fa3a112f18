//! What every command is given.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::config::{FileError, Settings};

use crate::admin::{Admin, AdminError};
use crate::output::Output;

/// More than any assertion stream or metadata file needs, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the server keeps everything.
    pub(crate) data_dir: PathBuf,
    /// The name this program was called by.
    pub(crate) program: &'static str,
    /// Where results go.
    pub(crate) out: Output,
}

impl Context {
    /// The configuration as the file holds it.
    pub(crate) fn settings(&self) -> Result<Settings, FileError> {
        Settings::load(&self.data_dir)
    }

    /// A connection to the server.
    pub(crate) async fn admin(&self) -> Result<Admin, AdminError> {
        Admin::connect(&self.data_dir).await
    }
}

/// Reads a document that is small enough for memory; `-` is standard input.
pub(crate) fn read_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    if path == Path::new(STDIN) {
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
        Some(name) if path != Path::new(STDIN) => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}
