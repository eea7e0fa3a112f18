//! `deltas`: lists deltas for devices, has one made, drops them.

use clap::Subcommand;
use schema::api::admin::calls::{ChangeDeltas, ListDeltas};
use schema::api::admin::{DeltaRequest, DeltaState, DeltaStatus, Deltas};

use crate::context::Context;
use crate::output::{self, table};

/// List the deltas that devices download instead of whole snaps, have one made, or drop them
///
/// The server makes by itself what devices need: `proxy config proxy.deltas.budget=2000` lets deltas take 2000 MB. It needs xdelta3.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy deltas list
  proxy deltas make hello 1 2")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the deltas that are there or would be of use
    #[command(before_help = "Examples:
  proxy deltas list
  proxy deltas list hello")]
    List {
        /// Those of this snap
        #[arg(value_name = "SNAP")]
        snap: Option<String>,
    },
    /// Have the delta between two revisions made, before a device needs it or once more
    #[command(before_help = "Example:
  proxy deltas make hello 1 2")]
    Make {
        /// The snap's name or id
        snap: String,
        /// The revision that devices have
        from: u32,
        /// The revision that they get
        to: u32,
    },
    /// Remove the deltas of a snap, or one, which are not made again until `deltas make` asks for them
    #[command(before_help = "Examples:
  proxy deltas drop hello
  proxy deltas drop hello 1 2")]
    Drop {
        /// The snap's name or id
        snap: String,
        /// The revision that devices have
        #[arg(requires = "to")]
        from: Option<u32>,
        /// The revision that they get
        to: Option<u32>,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    let request = match args.action {
        Action::List { snap } => {
            let deltas: Deltas = admin.ask_for::<ListDeltas>(snap.iter().map(|snap| ("snap", snap))).await?;
            return Ok(context.out.report(&deltas, listed)?);
        }
        Action::Make { snap, from, to } => DeltaRequest { snap, revisions: Some((from, to)), drop: false },
        Action::Drop { snap, from, to } => DeltaRequest { snap, revisions: from.zip(to), drop: true },
    };
    let deltas: Deltas = admin.send::<ChangeDeltas>(&request).await?;
    output::changed();
    Ok(context.out.report(&deltas, |deltas| match deltas.deltas.is_empty() {
        true => vec![format!("There is no delta of {}.", request.snap)],
        false => rows(&deltas.deltas),
    })?)
}

fn listed(deltas: &Deltas) -> Vec<String> {
    let Deltas { budget, used, deltas } = deltas;
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let mut lines = match (*budget, deltas.is_empty()) {
        (0, _) => {
            return vec![
                "No deltas are made: `proxy config proxy.deltas.budget=2000` lets them take 2000 MB.".into(),
            ];
        }
        (_, true) => vec!["No delta would be of use: no snap has two revisions that are needed.".to_owned()],
        (_, false) => rows(deltas),
    };
    lines.push(format!("{} of {} MB are used.", megabytes(*used), megabytes(*budget)));
    lines
}

fn rows(deltas: &[DeltaStatus]) -> Vec<String> {
    let row = |one: &DeltaStatus| {
        let state = match one.state {
            DeltaState::Made => "made",
            DeltaState::Waiting => "waiting",
            DeltaState::TooLarge => "too large",
            DeltaState::Failed => "failed",
            DeltaState::Dropped => "dropped",
        };
        let state = one.why.as_ref().map_or(state.to_owned(), |why| format!("{state}: {why}"));
        let percent = |size: u64| format!("{size} ({} %)", (size * 100).div_ceil(one.full_size.max(1)));
        let size = one.size.map_or("-".to_owned(), percent);
        let (from, to, format) =
            (one.source.to_string(), one.target.to_string(), one.format.as_str().to_owned());
        [one.snap.clone(), from, to, format, size, state]
    };
    table(["Snap", "From", "To", "Format", "Bytes", "State"], deltas.iter().map(row).collect())
}
