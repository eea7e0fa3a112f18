//! `list-misses`: lists devices' failed requests, and forgets them.

use schema::api::admin::calls::{ClearMisses, ListMisses};
use schema::api::admin::{ClearedMisses, Misses};

use super::list_devices::duration;
use crate::context::Context;
use crate::output::{changed, note, table};

/// List what devices requested and did not get: what to carry in next
///
/// What the devices would get by now is not listed: it needs nothing.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy list-misses
  proxy list-misses --all
  proxy list-misses --clear --older-than 90d")]
pub(crate) struct Args {
    /// Also list what the devices would get by now, and from which channel
    #[arg(long, conflicts_with = "clear")]
    all: bool,

    /// Forget them all instead; what a device asks for again is listed again
    #[arg(long)]
    clear: bool,

    /// Forget only those of more than this time ago, such as 12h or 30d
    #[arg(long, value_name = "DURATION", requires = "clear", value_parser = duration)]
    older_than: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    if args.clear {
        let older_than = args.older_than.map(|seconds| ("older-than", seconds.to_string()));
        let cleared: ClearedMisses = admin.ask_for::<ClearMisses>(older_than).await?;
        changed();
        return Ok(context
            .out
            .report(&cleared, |cleared| vec![format!("Forgotten: {}", cleared.cleared)])?);
    }
    let mut misses: Misses = admin.ask::<ListMisses>().await?;
    let before = misses.misses.len();
    misses.misses.retain(|miss| args.all || miss.answered_by.is_none());
    context.out.report(&misses, lines)?;
    match before - misses.misses.len() {
        0 => {}
        hidden => note(format!("the devices would get {hidden} more by now: list-misses --all lists them")),
    }
    Ok(())
}

fn lines(misses: &Misses) -> Vec<String> {
    let rows = misses.misses.iter().map(|miss| {
        [
            miss.name.clone(),
            miss.wanted.clone(),
            miss.code.clone(),
            miss.devices.to_string(),
            miss.models.join(", "),
            miss.last_asked.clone(),
            if miss.held { "yes".into() } else { "no".into() },
            miss.answered_by.clone().unwrap_or_else(|| "nothing".into()),
        ]
    });
    let heading =
        ["Name", "Wanted", "Answer", "Devices", "Models", "Last asked", "Held now", "Would get now"];
    let mut lines = table(heading, rows.collect());
    if !misses.registrations.is_empty() {
        let rows = misses.registrations.iter().map(|miss| {
            let model = if miss.model.is_empty() { "-" } else { &*miss.model };
            [model, &*miss.check, &*miss.times.to_string(), &*miss.last_asked, &*miss.why].map(str::to_owned)
        });
        lines.extend([
            String::new(),
            "Requests for a serial that failed since the server started:".to_owned(),
        ]);
        lines.extend(table(["Model", "Check", "Times", "Last asked", "Why"], rows.collect()));
    }
    lines
}
