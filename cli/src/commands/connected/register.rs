//! `register`: imports a registration made on a connected machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schema::api::admin::PushedAssertions;
use schema::api::admin::calls::ListDevices;
use serde::Serialize;

use crate::admin::Upload;
use crate::apply::apply;
use crate::commands::import::push_assertions::{lines, push};
use crate::commands::usage;
use crate::context::Context;
use crate::documents::document_name;
use crate::output::warning;
use crate::registration::Registration;

/// Import a registration made on a connected machine
///
/// FILE is a store assertion stream (proxy.assert, store.assert), an offline-snap-store.tar.gz or a
/// registration_bundle.b64; the last one includes the identity key. After a change of the store's name or URL, `reregister`
/// says what every device has to do.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy register --import offline-snap-store.tar.gz
  proxy register --import store.assert
  proxy reregister --import offline-snap-store.tar.gz")]
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

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, hide = true)]
    skip_questions: bool,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, hide = true)]
    offline: bool,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, hide = true)]
    channel: Option<String>,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(long, hide = true)]
    arch: Option<String>,

    /// Of the original product's own registration, which is done elsewhere
    #[arg(value_name = "URL", hide = true)]
    url: Option<String>,

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
    context.lock().await?;
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
    let before = (settings.identity.store_id.clone(), settings.identity.store_url.clone());
    let moved = moved(before, context).await?;
    Ok(context.out.report(&Registered { pushed, moved }, |Registered { pushed, moved }| {
        let mut lines = lines(pushed, false);
        lines.extend(pushed.store_id.iter().map(|id| format!("Store ID: {id}")));
        if let Some(Moved { before, after, devices }) = moved {
            lines.push(format!("The registration changed from {before} to {after}"));
            lines.push(format!(
                "Every device must take the new assertion: run the device kit on each of the {devices} that were seen here \
                 (`{} list-devices`), and build images with it; until then a device goes on to {before}",
                context.program
            ));
        }
        lines.push(crate::commands::device_kit::next(context.program));
        lines
    })?)
}

/// What the server answered, and what it means for devices.
#[derive(Serialize)]
struct Registered {
    #[serde(flatten)]
    pushed: PushedAssertions,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<Moved>,
}

/// A registration that took the place of another one.
#[derive(Serialize)]
struct Moved {
    before: String,
    after: String,
    /// How many devices were seen.
    devices: usize,
}

async fn moved(before: (Option<String>, Option<String>), context: &Context) -> anyhow::Result<Option<Moved>> {
    let now = context.settings()?;
    let after = (now.identity.store_id.clone(), now.identity.store_url.clone());
    if before.0.is_none() || before == after {
        return Ok(None);
    }
    let shown = |(id, url): (Option<String>, Option<String>)| {
        let url = url.map(|url| format!(" at {url}"));
        format!("{}{}", id.unwrap_or_default(), url.unwrap_or_default())
    };
    let devices = context.admin().await?.ask::<ListDevices>().await?.devices.len();
    Ok(Some(Moved { before: shown(before), after: shown(after), devices }))
}
