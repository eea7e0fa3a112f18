//! The arguments that every command gets.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schema::api::admin::Config;
use schema::api::admin::calls::ShowConfig;
use schema::config::{ConfigLock, KEYS, Settings};

use crate::admin::{Admin, AdminError};
use crate::output::Output;
use crate::remote::{Remote, RemoteArgs};

/// How long to wait for other commands, and for a server that starts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(10);
/// The mode of the data directory.
const DATA_DIR: u32 = 0o750;

/// The arguments that every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// The server's data directory.
    pub(crate) data_dir: PathBuf,
    /// The server to contact over HTTPS instead of the one on this host.
    pub(crate) remote: Option<RemoteArgs>,
    /// The socket to use of a server on this host, instead of the one in the data directory.
    pub(crate) socket: Option<PathBuf>,
    /// The files with the client certificate and its key.
    pub(crate) client: Option<[PathBuf; 2]>,
    /// The name this program was called by.
    pub(crate) program: &'static str,
    /// Where results go.
    pub(crate) out: Output,
    /// Held once this command changes the configuration.
    pub(crate) lock: OnceCell<ConfigLock>,
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
            let config: Config = self.admin().await?.ask::<ShowConfig>().await?;
            return Ok(config.values);
        }
        let settings = self.settings()?;
        Ok(KEYS.iter().map(|key| (key.name.to_owned(), settings.value(key.name).to_owned())).collect())
    }

    /// Keeps other commands, and a server that starts or ends, from changing this host's configuration until this command
    /// has ended: to be called before the values are read that a change is made from.
    ///
    /// # Errors
    /// Something else holds it for longer than a start takes.
    pub(crate) async fn lock(&self) -> anyhow::Result<()> {
        if self.remote.is_some() || self.lock.get().is_some() {
            return Ok(());
        }
        let started = Instant::now();
        let lock = loop {
            match ConfigLock::try_take(&self.data_dir) {
                Ok(Some(lock)) => break lock,
                Ok(None) if started.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                Ok(None) => anyhow::bail!(
                    "the configuration in {} is held by another command, or by a server that starts or ends: run it again \
                     when `proxy status` answers",
                    self.data_dir.display()
                ),
                // Who may not read the folder, or finds none, changes nothing in it.
                Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => return Ok(()),
                Err(error) => {
                    let what = format!("cannot lock {}", self.data_dir.display());
                    return Err(anyhow::Error::new(error).context(what));
                }
            }
        };
        // Two calls in one command do not overlap.
        let _ = self.lock.set(lock);
        Ok(())
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
        match (&self.remote, &self.socket) {
            (Some(args), _) => Admin::connect_to(&Remote::new(args)?).await,
            (None, Some(socket)) => Admin::connect_at(socket).await,
            (None, None) => Admin::connect(&self.data_dir).await,
        }
    }
}
