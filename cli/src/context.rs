//! The arguments that every command gets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::api::admin::Config;
use schema::config::{KEYS, Settings};
use schema::looks;

use crate::admin::{Admin, AdminError};
use crate::output::Output;
use crate::remote::{Remote, RemoteArgs};

/// Larger than any assertion stream or metadata file, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// The arguments that every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// The server's data directory.
    pub(crate) data_dir: PathBuf,
    /// The server to contact over HTTPS instead of the one on this host.
    pub(crate) remote: Option<RemoteArgs>,
    /// The name this program was called by.
    pub(crate) program: &'static str,
    /// Where results go.
    pub(crate) out: Output,
}

impl Context {
    /// Refuses to work on this host's files for a remote server.
    pub(crate) fn must_be_local(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.remote.is_none(),
            "this works with files of this host and not over --server: run it on the host whose files are meant, without \
             --server and the variable AIRLOCK_SERVER"
        );
        Ok(())
    }

    /// The configuration in this host's file.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.must_be_local()?;
        Ok(Settings::load(&self.data_dir)?)
    }

    /// Every key with its value: from this host's file, or from a remote server with secrets hidden.
    pub(crate) async fn values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        if self.remote.is_some() {
            let config: Config = self.admin().await?.get("/v1/config").await?;
            return Ok(config.values);
        }
        let settings = self.settings()?;
        Ok(KEYS.iter().map(|key| (key.name.to_owned(), settings.value(key.name).to_owned())).collect())
    }

    /// A connection to the server.
    pub(crate) async fn admin(&self) -> Result<Admin, AdminError> {
        match &self.remote {
            Some(args) => Admin::connect_to(&Remote::new(args)?).await,
            None => Admin::connect(&self.data_dir).await,
        }
    }
}

/// Reads a document into memory; `-` is standard input.
///
/// # Errors
/// The document cannot be read, or is empty.
pub(crate) fn read_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read_all(path)?;
    let shown =
        if path == Path::new(STDIN) { "standard input".to_owned() } else { path.display().to_string() };
    let nothing = looks::like(&bytes).filter(|what| what.starts_with("empty") || what.starts_with("nothing"));
    nothing.map_or(Ok(()), |what| Err(anyhow::anyhow!("{shown} is {what}")))?;
    Ok(bytes)
}

fn read_all(path: &Path) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    if path == Path::new(STDIN) {
        return read_limited(std::io::stdin().lock(), MAX_DOCUMENT).context("cannot read standard input");
    }
    read_limited(File::open(path).with_context(what)?, MAX_DOCUMENT).with_context(what)
}

/// Reads a whole source of at most `most` bytes.
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

/// A document's name: its file name without folders.
pub(crate) fn document_name(path: &Path) -> String {
    match path.file_name() {
        Some(name) if path != Path::new(STDIN) => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}
