//! `complete`: what may stand at the end of a command line, for the shells' completion scripts.

use schema::api::admin::calls::{ListDevices, ListSnaps};
use schema::api::admin::{Devices, Snaps};
use schema::config::KEYS;

use crate::commands::grammar;
use crate::context::Context;

/// Print what may stand as the last of these words: keys, and snaps, channels and devices of the running store
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy complete -- release hel")]
pub(crate) struct Args {
    /// The words after the program's name, the last one as far as it was typed
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (typed, words) = args.words.split_last().map_or(("", &[][..]), |(last, words)| (last, words));
    let wanted = wanted(words, context.program);
    // A store that does not answer offers nothing.
    let mut offers = match wanted.as_ref().map(|(id, before)| (id.as_str(), before)) {
        Some(("keys", _)) => {
            KEYS.iter().filter(|key| key.has_effect()).map(|key| key.name.to_owned()).collect()
        }
        Some(("snap" | "snaps", _)) => snaps(context).await.into_iter().map(|(name, _)| name).collect(),
        Some(("device" | "devices", _)) => devices(context).await,
        Some(("channel", before)) => {
            let held = snaps(context).await.into_iter().filter(|(name, _)| before.contains(name));
            held.flat_map(|(_, channels)| channels).collect()
        }
        _ => Vec::new(),
    };
    offers.retain(|offer| offer.starts_with(typed));
    offers.sort();
    offers.dedup();
    let text: String = offers.iter().map(|offer| format!("{offer}\n")).collect();
    Ok(context.out.raw(&text)?)
}

/// What the grammar calls the value that is being typed, and the values before it.
fn wanted(words: &[String], program: &'static str) -> Option<(String, Vec<String>)> {
    let grammar = grammar(program);
    let (mut command, mut values) = (&grammar, Vec::new());
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        match command.find_subcommand(word) {
            Some(inner) if values.is_empty() => command = inner,
            _ => values.push(word.clone()),
        }
    }
    if command.get_name() == "config" {
        return Some(("keys".to_owned(), values));
    }
    // An option that takes a value is named like what it takes.
    let option = words.last().and_then(|word| word.strip_prefix("--"));
    let option = option.and_then(|name| {
        let mut options = command.get_arguments();
        options.find(|arg| arg.get_long() == Some(name) && arg.get_action().takes_values())
    });
    let places: Vec<_> = command.get_positionals().collect();
    let arg = option.or_else(|| places.get(values.len().min(places.len().checked_sub(1)?)).copied())?;
    Some((arg.get_id().to_string(), values))
}

/// The snaps of the running store, with the channels that lead to one of their revisions.
async fn snaps(context: &Context) -> Vec<(String, Vec<String>)> {
    let Ok(mut admin) = context.admin().await else { return Vec::new() };
    let held: Snaps = admin.ask::<ListSnaps>().await.unwrap_or(Snaps { snaps: Vec::new() });
    let channels = |snap: &schema::api::admin::Snap| {
        snap.revisions.iter().flat_map(|revision| revision.channels.clone()).collect()
    };
    held.snaps.iter().map(|snap| (snap.name.clone(), channels(snap))).collect()
}

async fn devices(context: &Context) -> Vec<String> {
    let Ok(mut admin) = context.admin().await else { return Vec::new() };
    let seen: Devices = admin.ask::<ListDevices>().await.unwrap_or(Devices { devices: Vec::new() });
    let name =
        |device: &schema::api::admin::Device| format!("{}/{}/{}", device.brand, device.model, device.serial);
    seen.devices.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_known_by_the_grammar() {
        for (typed, id) in [
            ("config", "keys"),
            ("config proxy.domain=x", "keys"),
            ("override", "snap"),
            ("release app 3", "channel"),
            ("delete-override app", "channel"),
            ("show-device", "device"),
            ("explain acme/gateway/SN-1", "snap"),
            ("explain acme/gateway/SN-1 app --channel", "channel"),
            ("deltas make", "snap"),
        ] {
            let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            assert_eq!(wanted(&words, "proxy").map(|(id, _)| id).as_deref(), Some(id), "{typed}");
        }
        assert_eq!(wanted(&["status".to_owned()], "proxy").map(|(id, _)| id), None);
    }
}
