//! `generate-keys`: creates the store's identity key.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use schema::tls::to_pem;
use serde::Serialize;

use crate::apply::apply;
use crate::context::Context;

/// Create the store's identity key pair
///
/// An RSA key of 4096 bits, stored as proxy.key.private and proxy.key.public. A registration is bound to this key: a
/// new key needs a new registration.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy generate-keys")]
pub(crate) struct Args {
    /// Replace an existing key; its registration is lost
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Generated {
    public_key: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    context.lock().await?;
    let held = context.values().await?;
    anyhow::ensure!(
        args.force || held.get("proxy.key.private").is_none_or(String::is_empty),
        "this store has an identity key already: `{} generate-keys --force` replaces it",
        context.program
    );
    let pair = KeyPair::generate(KeySize::Rsa4096).ok().context("cannot generate a key")?;
    let private: Option<Pkcs8V1Der<'_>> = pair.as_der().ok();
    let public: Option<PublicKeyX509Der<'_>> = pair.public_key().as_der().ok();
    let (Some(private), Some(public)) = (private, public) else { anyhow::bail!("cannot encode the key") };
    let public_key = to_pem("PUBLIC KEY", public.as_ref());
    let values = [
        ("proxy.key.private", to_pem("PRIVATE KEY", private.as_ref())),
        ("proxy.key.public", public_key.clone()),
    ];
    apply(context, BTreeMap::from(values.map(|(name, value)| (name.to_owned(), value)))).await?;
    Ok(context.out.report(&Generated { public_key }, |_| {
        vec!["Generated the identity key: proxy.key.private, proxy.key.public".into()]
    })?)
}
