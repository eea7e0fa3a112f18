//! `register`: takes over a registration that was made on a connected machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schema::api::admin::PushedAssertions;

use super::push_assertions::{push, pushed_lines};
use crate::admin::Upload;
use crate::apply::apply;
use crate::context::{Context, document_name};
use crate::output::warning;
use crate::registration::Registration;

/// Take over a registration that was made on a connected machine
///
/// FILE is a store assertion stream (proxy.assert, store.assert), an offline-snap-store.tar.gz or a
/// registration_bundle.b64; the last also brings the identity key.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy register --import offline-snap-store.tar.gz
  proxy register --import store.assert")]
pub(super) struct Args {
    /// What the connected machine wrote
    #[arg(long, value_name = "FILE", required = true)]
    import: PathBuf,

    /// Replace another identity key by the one of the registration
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let registration = Registration::read(&args.import)?;
    let settings = context.settings()?;
    let mut keys = BTreeMap::new();
    if let Some(identity) = &registration.identity {
        let held = settings.value("proxy.key.private");
        anyhow::ensure!(
            args.force || held.is_empty() || held.trim() == identity.private.trim(),
            "this store has another identity key than the registration: `--force` replaces it"
        );
        keys.insert("proxy.key.private".to_owned(), identity.private.clone());
        keys.insert("proxy.key.public".to_owned(), identity.public.clone());
        let pairs = keys.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        settings.clone().set_all(pairs)?;
    }
    let misfit = registration.misfit(&settings, context.program);

    let upload = Upload::document(document_name(&args.import), registration.stream);
    let pushed: PushedAssertions = push(context, upload, "registration", None).await?;
    if !keys.is_empty() {
        apply(context, keys).await?;
    }
    if let Some(misfit) = misfit {
        warning(misfit);
    }
    Ok(context.out.report(&pushed, |pushed| {
        let mut lines = pushed_lines(pushed);
        lines.extend(pushed.store_id.iter().map(|id| format!("Store ID: {id}")));
        lines.push(super::device_kit::next(context.program));
        lines
    })?)
}
