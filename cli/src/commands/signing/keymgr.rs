//! `keymgr`: keys of the store for `snap sign` and snapcraft.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use schema::api::admin::calls::{ListKeys, SignDigest};
use schema::api::admin::{DigestRequest, DigestSigned, SigningKeyInfo, SigningKeys};
use schema::assertion::PublicKey;
use schema::signing::Purpose;
use serde_json::json;

use crate::context::Context;

/// Most that is read of a digest.
const LONGEST: u64 = 1024;

/// Let `snap sign` and snapcraft sign with a key of this store
///
/// They run the program that SNAPD_EXT_KEYMGR names. Let that be a script with `exec proxy keymgr "$@"`, then run
/// `SNAPD_EXT_KEYMGR=SCRIPT snap sign -k NAME < model.json > gateway.model`. Keys that were made with `--for model` and
/// are ready can sign; the store sees the digest of a document only.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy keymgr key-names")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print what this program can do, as JSON
    #[command(before_help = "Example:
  proxy keymgr features")]
    Features,
    /// Print the names of the keys, as JSON
    #[command(before_help = "Example:
  proxy keymgr key-names")]
    KeyNames,
    /// Print the public half of a key
    #[command(before_help = "Example:
  proxy keymgr get-public-key -f DER -k models-2026 > models-2026.der")]
    GetPublicKey {
        /// In which format
        #[arg(short, value_enum)]
        format: Format,
        /// The key's name
        #[arg(short, value_name = "NAME")]
        key: String,
    },
    /// Sign the digest on standard input
    #[command(before_help = "Example:
  proxy keymgr sign -m RSA-PKCS -k models-2026 < digest-info > signature")]
    Sign {
        /// In which way
        #[arg(short, value_enum)]
        method: Method,
        /// The key's name
        #[arg(short, value_name = "NAME")]
        key: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// SubjectPublicKeyInfo
    #[value(name = "DER")]
    Der,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    /// The RSA value over a DigestInfo
    #[value(name = "RSA-PKCS")]
    RsaPkcs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let answer = match args.verb {
        Verb::Features => json!({ "signing": ["RSA-PKCS"], "public-keys": ["DER"] }).to_string().into_bytes(),
        Verb::KeyNames => {
            let names: Vec<String> = ready(context).await?.into_iter().map(|key| key.name).collect();
            json!({ "key-names": names }).to_string().into_bytes()
        }
        Verb::GetPublicKey { format: Format::Der, key } => {
            let found = ready(context).await?.into_iter().find(|held| held.name == key);
            let found = found.with_context(|| {
                format!(
                    "there is no key {key} for models that is ready: `proxy keys list` shows those there are"
                )
            })?;
            PublicKey::decode(&found.public_key)?.to_spki_der()
        }
        Verb::Sign { method: Method::RsaPkcs, key: name } => {
            let mut info = Vec::new();
            let _ =
                std::io::stdin().take(LONGEST).read_to_end(&mut info).context("cannot read the digest")?;
            let wanted = DigestRequest { name, info: STANDARD.encode(info) };
            let signed: DigestSigned = context.admin().await?.send::<SignDigest>(&wanted).await?;
            STANDARD.decode(signed.value).context("the server's answer is no base64")?
        }
    };
    std::io::stdout().write_all(&answer).context("cannot write the answer")
}

async fn ready(context: &Context) -> anyhow::Result<Vec<SigningKeyInfo>> {
    let all: SigningKeys = context.admin().await?.ask::<ListKeys>().await?;
    let of_models = |key: &SigningKeyInfo| key.purpose == Purpose::Model && key.state == "ready";
    Ok(all.keys.into_iter().filter(of_models).collect())
}
