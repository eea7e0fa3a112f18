//! `remove-ca-certs`: trusts the system's certificates for outgoing TLS again.

use std::collections::BTreeMap;

use serde_json::json;

use crate::apply::apply;
use crate::context::Context;

/// Trust the system's certificates for outgoing TLS again
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy remove-ca-certs")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    apply(context, BTreeMap::from([("proxy.ca-certs".to_owned(), String::new())])).await?;
    Ok(context.out.report(&json!({ "ca-certs": 0 }), |_| {
        vec!["Trusting the system's certificates in outgoing TLS".into()]
    })?)
}
