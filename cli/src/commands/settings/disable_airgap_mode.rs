//! `disable-airgap-mode`: stops serving devices.

use std::collections::BTreeMap;

use super::enable_airgap_mode::Switched;
use crate::apply::apply;
use crate::context::Context;

/// Leave air-gapped mode: devices are no longer served
///
/// Secrets and imported data stay; `enable-airgap-mode` resumes serving.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy disable-airgap-mode")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    context.lock().await?;
    if context.values().await?.get("proxy.airgap").is_some_and(|mode| mode == "True") {
        let values = BTreeMap::from([("proxy.airgap".to_owned(), "False".to_owned())]);
        changed = apply(context, values).await?.values.into_keys().collect();
    }
    Ok(context.out.report(&Switched { airgap_mode: false, changed }, |_| {
        vec!["Store is not in air-gapped mode".into()]
    })?)
}
