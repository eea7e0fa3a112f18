//! `register`: imports a registration made on a connected machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schema::api::admin::PushedAssertions;

use crate::admin::Upload;
use crate::apply::apply;
use crate::commands::import::push_assertions::{push, pushed_lines};
use crate::commands::usage;
use crate::context::Context;
use crate::documents::document_name;
use crate::output::warning;
use crate::registration::Registration;

/// Import a registration made on a connected machine
///
/// FILE is a store assertion stream (proxy.assert, store.assert), an offline-snap-store.tar.gz or a
/// registration_bundle.b64; the last one includes the identity key.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy register --import offline-snap-store.tar.gz
  proxy register --import store.assert")]
pub(crate) struct Args {
    /// File from the connected machine
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, hide = true)]
    https: bool,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, value_name = "FILE", hide = true)]
    questions: Option<PathBuf>,

    /// Replace a different identity key with the registration's
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Some(file) = &args.import else {
        let text = format!(
            "registering is done with the vendor, on a connected machine, where the original product's program or its \
             `store-admin` writes offline-snap-store.tar.gz: carry that file here, and `{} register --import \
             offline-snap-store.tar.gz` takes it",
            context.program
        );
        return Err(usage(context.program, "register", text));
    };
    let registration = Registration::read(file)?;
    let settings = context.settings()?;
    let mut keys = BTreeMap::new();
    if let Some(identity) = &registration.identity {
        let held = settings.identity.private_key.as_ref();
        anyhow::ensure!(
            args.force || held.is_none_or(|held| held.trim() == identity.private.trim()),
            "this store has another identity key than the registration: `--force` replaces it"
        );
        keys.insert("proxy.key.private".to_owned(), identity.private.clone());
        keys.insert("proxy.key.public".to_owned(), identity.public.clone());
        let pairs = keys.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        settings.clone().set_all(pairs)?;
    }
    let misfit = registration.misfit(&settings, context.program);

    let upload = Upload::document(document_name(file), registration.stream);
    let pushed: PushedAssertions = push(context, upload, "registration", &[]).await?;
    if !keys.is_empty() {
        apply(context, keys).await?;
    }
    if let Some(misfit) = misfit {
        warning(misfit);
    }
    Ok(context.out.report(&pushed, |pushed| {
        let mut lines = pushed_lines(pushed);
        lines.extend(pushed.store_id.iter().map(|id| format!("Store ID: {id}")));
        lines.push(crate::commands::device_kit::next(context.program));
        lines
    })?)
}
