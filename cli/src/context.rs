//! What every command is given.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::api::admin::Config;
use schema::config::{KEYS, Settings};
use schema::looks;

use crate::admin::{Admin, AdminError};
use crate::output::Output;
use crate::remote::{Remote, RemoteArgs};

/// More than any assertion stream or metadata file needs, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// The mode of the data directory.
const DATA_DIR: u32 = 0o750;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the server keeps everything.
    pub(crate) data_dir: PathBuf,
    /// The server to ask over HTTPS, instead of the one of this host.
    pub(crate) remote: Option<RemoteArgs>,
    /// The name this program was called by.
    pub(crate) program: &'static str,
    /// Where results go.
    pub(crate) out: Output,
}

impl Context {
    /// Refuses to work on files of this host for a server that is somewhere else.
    pub(crate) fn must_be_local(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.remote.is_none(),
            "this works with files of this host and not over --server: run it on the host whose files are meant, without \
             --server and the variable AIRLOCK_SERVER"
        );
        Ok(())
    }

    /// The configuration as the file of this host holds it.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.must_be_local()?;
        Ok(Settings::load(&self.data_dir)?)
    }

    /// Every key with its value: as the file of this host holds it, or as a server elsewhere tells it, secrets hidden.
    pub(crate) async fn values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        if self.remote.is_some() {
            let config: Config = self.admin().await?.get("/v1/config").await?;
            return Ok(config.values);
        }
        let settings = self.settings()?;
        Ok(KEYS.iter().map(|key| (key.name.to_owned(), settings.value(key.name).to_owned())).collect())
    }

    /// Makes the data directory where there is none, with its own mode.
    pub(crate) fn make_data_dir(&self) -> std::io::Result<()> {
        if self.data_dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(DATA_DIR).create(&self.data_dir)?;
        fs::set_permissions(&self.data_dir, Permissions::from_mode(DATA_DIR))
    }

    /// A connection to the server.
    pub(crate) async fn admin(&self) -> Result<Admin, AdminError> {
        match &self.remote {
            Some(args) => Admin::connect_to(&Remote::new(args)?).await,
            None => Admin::connect(&self.data_dir).await,
        }
    }
}

/// Reads a document that is small enough for memory; `-` is standard input.
///
/// # Errors
/// It cannot be read, or holds nothing.
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
