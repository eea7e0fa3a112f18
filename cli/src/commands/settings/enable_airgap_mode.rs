//! `enable-airgap-mode`: starts serving devices.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::api::admin::Status;
use schema::api::admin::calls::ShowStatus;
use serde::Serialize;

use crate::apply::apply;
use crate::context::Context;
use crate::output::note;

/// The secrets that the mode needs, 32 random bytes each.
const SECRETS: [&str; 2] = ["proxy.auth.secret", "proxy.device-auth.secret"];

/// Switch to device authenticated air-gapped mode
///
/// Creates the secret that signs device sessions if there is none. Run it before connecting devices; running it again
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy enable-airgap-mode")]
pub(crate) struct Args {
    /// Accepted for old scripts and ignored
    #[arg(long, value_name = "PASSWORD", hide = true)]
    password: Option<String>,
}

/// The result of switching the mode.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Switched {
    pub(crate) airgap_mode: bool,
    pub(crate) changed: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.password.is_some() {
        note("--password has no meaning any more and is ignored");
    }
    context.lock().await?;
    let held = context.values().await?;
    let is = |name: &str, value: &str| held.get(name).is_some_and(|held| held == value);
    let mut values = BTreeMap::new();
    let handed = credentials(context).await;
    for name in SECRETS {
        if is(name, "") && !handed.iter().any(|key| key == name) {
            values.insert(name.to_owned(), fresh_secret()?);
        }
    }
    if !is("proxy.airgap", "True") {
        values.insert("proxy.airgap".to_owned(), "True".to_owned());
    }
    let changed: Vec<String> = values.keys().cloned().collect();
    if !values.is_empty() {
        apply(context, values).await?;
    }
    Ok(context.out.report(&Switched { airgap_mode: true, changed }, |switched| {
        let before = if switched.changed.is_empty() { " already" } else { "" };
        vec![format!("Store is{before} in device authenticated air-gapped mode")]
    })?)
}

/// Secrets that the server gets from its service manager instead of the file. If this request fails, the change fails
/// too and reports the cause.
async fn credentials(context: &Context) -> Vec<String> {
    let Ok(mut admin) = context.admin().await else { return Vec::new() };
    admin.ask::<ShowStatus>().await.map(|status: Status| status.credentials).unwrap_or_default()
}

fn fresh_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("cannot get random bytes from the system")?;
    Ok(STANDARD.encode(bytes))
}
