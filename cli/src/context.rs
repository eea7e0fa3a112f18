//! What every command is given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schema::api::admin::Config;
use schema::config::{KEYS, Settings};

use crate::admin::{Admin, AdminError};
use crate::output::Output;
use crate::remote::{Remote, RemoteArgs};

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

    /// A connection to the server.
    pub(crate) async fn admin(&self) -> Result<Admin, AdminError> {
        match &self.remote {
            Some(args) => Admin::connect_to(&Remote::new(args)?).await,
            None => Admin::connect(&self.data_dir).await,
        }
    }
}
