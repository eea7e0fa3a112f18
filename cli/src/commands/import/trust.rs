//! `trust`: lists, adds and removes trust anchors in addition to the built-in ones.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use schema::api::admin::calls::{AddSender, AddTrust, ListSenders, ListTrust, RemoveSender, RemoveTrust};
use schema::api::admin::{Senders, TrustAnchors};

use crate::admin::Upload;
use crate::context::Context;
use crate::documents::{document_name, read_document, read_kind};
use crate::kinds::Kind;
use crate::output::table;
use crate::stdin::shown;

/// List, add or remove trust anchors and senders of parcels
///
/// The root of the public snap world is built in and cannot be removed. An added root is trusted for everything:
/// assertions, snaps and devices.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy trust list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust the account of FILE and its self-signed root keys
    #[command(before_help = "Example:
  proxy trust add test-root.assert")]
    Add {
        /// An assertion stream; `-` is standard input
        file: PathBuf,
    },
    /// List the added anchors
    #[command(before_help = "Example:
  proxy trust list")]
    List,
    /// Stop trusting a root key
    #[command(before_help = "Example:
  proxy trust remove hIedp1AvrWlcDI4uS_qjoFLzjKl5enu4G2FYJpgB3Pj-tUzGlTQBxMBsBmi-tnJR")]
    Remove {
        /// The key's id, as `trust list` shows it
        #[arg(value_parser = fingerprint)]
        fingerprint: String,
    },
    /// Take the parcels of a sender
    #[command(before_help = "Example:
  proxy trust add-sender harbour.sender")]
    AddSender {
        /// The line that `sender show` prints on the sender's host; `-` is standard input
        file: PathBuf,
    },
    /// List the senders whose parcels are taken
    #[command(before_help = "Example:
  proxy trust list-senders")]
    ListSenders,
    /// Take no more parcels of a sender
    #[command(before_help = "Example:
  proxy trust remove-sender harbour")]
    RemoveSender {
        /// Its name, as `trust list-senders` shows it
        name: String,
    },
}

/// The id of a key: 48 bytes in URL-safe base64.
fn fingerprint(text: &str) -> Result<String, &'static str> {
    let fits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("expected 64 letters, digits, dashes and underscores") }
}

fn sender_rows(senders: &Senders) -> Vec<String> {
    let last = |sequence: Option<u64>| sequence.map_or("-".to_owned(), |last| last.to_string());
    let rows = senders.senders.iter().map(|one| [one.name.clone(), one.key.to_string(), last(one.sequence)]);
    table(["Sender", "Key", "Last parcel"], rows.collect())
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.action {
        Action::Add { file } => {
            let upload = Upload::document(
                document_name(&file),
                read_kind(&file, &[Kind::AccountKeys, Kind::Assertions])?,
            );
            let added = context.admin().await?.upload::<AddTrust>(&[], upload).await;
            let added: TrustAnchors = added.with_context(|| format!("cannot trust {}", shown(&file)))?;
            Ok(context.out.report(&added, |added| {
                let line = |anchor: &schema::api::admin::TrustAnchor| {
                    format!("Trusting {} for {}", anchor.fingerprint, anchor.account_id)
                };
                added.anchors.iter().map(line).collect()
            })?)
        }
        Action::List => {
            let anchors: TrustAnchors = context.admin().await?.ask::<ListTrust>().await?;
            Ok(context.out.report(&anchors, |anchors| {
                let rows = anchors.anchors.iter().map(|a| [a.fingerprint.clone(), a.account_id.clone()]);
                table(["Fingerprint", "Account"], rows.collect())
            })?)
        }
        Action::AddSender { file } => {
            let upload = Upload::document(document_name(&file), read_document(&file)?);
            let senders = context.admin().await?.upload::<AddSender>(&[], upload).await;
            let senders: Senders = senders.with_context(|| format!("cannot trust {}", shown(&file)))?;
            Ok(context.out.report(&senders, sender_rows)?)
        }
        Action::ListSenders => {
            let senders: Senders = context.admin().await?.ask::<ListSenders>().await?;
            Ok(context.out.report(&senders, sender_rows)?)
        }
        Action::RemoveSender { name } => {
            let left: Senders = context.admin().await?.ask_of::<RemoveSender>(&name).await?;
            Ok(context.out.report(&left, |_| vec![format!("No longer taking parcels of {name}")])?)
        }
        Action::Remove { fingerprint } => {
            let left: TrustAnchors =
                context.admin().await?.ask_of::<RemoveTrust>(&fingerprint.to_string()).await?;
            Ok(context.out.report(&left, |_| vec![format!("No longer trusting {fingerprint}")])?)
        }
    }
}
