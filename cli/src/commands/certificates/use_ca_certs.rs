//! `use-ca-certs`: trusts only these certificates for outgoing TLS.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schema::tls::{Trusted, to_pem};
use serde_json::json;

use crate::apply::apply;
use crate::context::Context;
use crate::pem_files::PemFiles;

/// Trust only these certificates for outgoing TLS
///
/// PEM text from FILEs or standard input, stored as proxy.ca-certs. The system's certificates are ignored until
/// `remove-ca-certs`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  cat site-ca.pem | proxy use-ca-certs
  proxy use-ca-certs site-ca.pem upstream-ca.pem")]
pub(crate) struct Args {
    /// PEM files; none or `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let files = PemFiles::read(&args.files)?;
    let Trusted { certificates, left_out, .. } = files.trusted()?;
    let pem: String = certificates.iter().map(|certificate| to_pem("CERTIFICATE", certificate)).collect();
    apply(context, BTreeMap::from([("proxy.ca-certs".to_owned(), pem)])).await?;
    let count = certificates.len();
    Ok(context.out.report(&json!({ "ca-certs": count, "left-out": left_out }), |_| {
        let what = if count == 1 { "this certificate" } else { &format!("these {count} certificates") };
        vec![format!("Trusting {what} in outgoing TLS, and no others")]
    })?)
}
