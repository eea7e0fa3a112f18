//! `train`: lets a validation set reach devices in waves.

use std::path::PathBuf;

use clap::Subcommand;
use schema::api::admin::calls::{
    BackTrain, CompareTrain, DraftTrain, ExportTrain, ListTrains, MoveTrain, ShowTrain, SignTrain,
};
use schema::api::admin::{
    Gates, Train, TrainAction, TrainBackRequest, TrainDiff, TrainDraft, TrainDraftRequest, TrainExport,
    TrainPlan, TrainSignRequest, TrainSigned, TrainStep, Trains,
};

use super::{Course, Gated, course, json, read};
use crate::context::Context;
use crate::output::{changed, table};

/// Let a validation set, and with it a whole system, reach devices in waves
///
/// Devices that enforce a set without naming a sequence ask for the latest one before each refresh, and then refresh to
/// exactly its revisions, lower ones too. A train decides which sequence is the latest for which device.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy train hold acme/line7
  proxy train depart acme/line7 3 --wave group=lab --wave 100%
  proxy train show acme/line7")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keep new sequences of a set from devices until they depart
    ///
    /// Devices go on with the newest sequence that is here now. Without a train, they get a new one as soon as it is here.
    #[command(before_help = "Example:
  proxy train hold acme/line7")]
    Hold(Named),
    /// Draft the next sequence as JSON that `snap sign` reads
    ///
    /// It names the revisions that a channel has, or with --back-to those of an earlier sequence.
    #[command(
        visible_alias = "new",
        before_help = "Examples:
  proxy train draft acme/line7 --snap acme-app --snap core22 > line7.json
  proxy train draft acme/line7 --from-channel candidate > line7.json
  proxy train draft acme/line7 --back-to 2 > line7.json"
    )]
    Draft {
        #[command(flatten)]
        next: Next,
    },
    /// Sign the next sequence with a key of this store, and keep it until it departs
    ///
    /// The key comes from `keys create --for validation-set`. Where it asks for approvals, run the same command again after
    /// them (`proxy approvals`).
    #[command(before_help = "Examples:
  proxy train sign acme/line7 --snap acme-app --snap core22
  proxy train sign acme/line7 --back-to 2 --key sets-2026")]
    Sign {
        #[command(flatten)]
        next: Next,

        /// The key; needed if several of the account sign validation sets
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
    },
    /// Tell how two sequences of a set differ
    #[command(before_help = "Example:
  proxy train diff acme/line7 2 3")]
    Diff {
        #[command(flatten)]
        set: Named,

        /// The earlier sequence
        #[arg(value_name = "FROM")]
        from: u32,

        /// The later sequence
        #[arg(value_name = "TO")]
        to: u32,
    },
    /// Tell why devices would not take a sequence; `depart` refuses for the same reasons
    #[command(before_help = "Example:
  proxy train lint acme/line7 3")]
    Lint {
        #[command(flatten)]
        set: Named,

        /// The sequence
        #[arg(value_name = "SEQUENCE")]
        sequence: u32,
    },
    /// Plan how a sequence departs, in the place of an earlier plan; no device is answered it before
    #[command(before_help = "Example:
  proxy train plan acme/line7 3 --wave group=lab --wave 10% --wave 100% --approvals 1")]
    Plan {
        #[command(flatten)]
        set: Named,

        /// The sequence
        #[arg(value_name = "SEQUENCE")]
        sequence: u32,

        #[command(flatten)]
        gates: Gated,
    },
    /// Print how a sequence departs and what became of it, as JSON that `proxy train import` reads
    ///
    /// It is the planned sequence, the one on its way, or the one that arrived last.
    #[command(before_help = "Example:
  proxy train export acme/line7 > line7-plan.json")]
    Export(Named),
    /// Plan a departure that another store exported; its waves take the same devices as there
    #[command(before_help = "Example:
  proxy train import line7-plan.json")]
    Import {
        /// What `proxy train export` printed
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Let a sequence depart: the first wave opens
    ///
    /// Without --wave it departs as it is planned. The next wave opens by itself, once the devices of those before it have settled and soaked, and it stops by itself when
    /// too many fail or fall silent, as a rollout does. A sequence that departs while another is on its way takes its place,
    /// its open waves and its gates.
    #[command(before_help = "Examples:
  proxy train depart acme/line7 3 --wave group=lab --wave 10% --wave 100% --soak 12h
  proxy train depart acme/line7 4")]
    Depart {
        #[command(flatten)]
        set: Named,

        /// The sequence [default: the planned one]
        #[arg(value_name = "SEQUENCE")]
        sequence: Option<u32>,

        #[command(flatten)]
        gates: Gated,
    },
    /// Open the next wave; after the last one, every device is answered the sequence
    #[command(before_help = "Example:
  proxy train next acme/line7")]
    Next(Named),
    /// Answer the sequence to nobody new; devices that have it keep it
    #[command(before_help = "Example:
  proxy train pause acme/line7")]
    Pause(Named),
    /// Go on; devices that had failed or fallen silent no longer count
    #[command(before_help = "Example:
  proxy train resume acme/line7")]
    Resume(Named),
    /// Bring devices back to what an earlier sequence names
    ///
    /// Devices never take a lower sequence, so this signs a higher one with the older revisions, with a key of this store, and
    /// lets it depart in the open waves. If such a sequence waits here already, signed elsewhere, it departs.
    #[command(before_help = "Examples:
  proxy train back acme/line7
  proxy train back acme/line7 --to 2 --key sets-2026")]
    Back {
        #[command(flatten)]
        set: Named,

        /// The earlier sequence [default: the one that arrived before]
        #[arg(long, value_name = "SEQUENCE")]
        to: Option<u32>,

        /// The key; needed if several of the account sign validation sets
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
    },
    /// Show a train: its waves, and which devices are on which sequence
    #[command(before_help = "Example:
  proxy train show acme/line7")]
    Show(Named),
    /// List trains
    #[command(before_help = "Example:
  proxy train list")]
    List,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The validation set
    #[arg(value_name = "ACCOUNT/NAME")]
    set: String,
}

/// What the next sequence names.
#[derive(Debug, clap::Args)]
struct Next {
    #[command(flatten)]
    set: Named,

    /// The channel whose revisions it names [default: stable]
    #[arg(long, value_name = "CHANNEL", conflicts_with = "back_to")]
    from_channel: Option<String>,

    /// A snap to require; repeat it for each one [default: those of the newest sequence]
    #[arg(long = "snap", value_name = "SNAP", conflicts_with = "back_to")]
    snaps: Vec<String>,

    /// Name the revisions of this earlier sequence
    #[arg(long, value_name = "SEQUENCE")]
    back_to: Option<u32>,
}

impl From<Next> for TrainDraftRequest {
    fn from(next: Next) -> Self {
        let Next { set: Named { set }, from_channel: channel, snaps, back_to } = next;
        Self { set, channel, snaps, back_to }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let step =
        |set: Named, action| TrainStep { set: set.set, action, sequence: None, gates: None, standing: None };
    let step = match args.action {
        Action::List => {
            let trains: Trains = context.admin().await?.ask::<ListTrains>().await?;
            return Ok(context.out.report(&trains, listed)?);
        }
        Action::Show(Named { set }) => {
            let train: Train = context.admin().await?.ask_for::<ShowTrain>([("set", set)]).await?;
            return Ok(context.out.report(&train, shown)?);
        }
        Action::Sign { next, key } => {
            let wanted = TrainSignRequest { draft: next.into(), key };
            let signed: TrainSigned = context.admin().await?.send::<SignTrain>(&wanted).await?;
            return Ok(context.out.report(&signed, |signed| {
                let TrainSigned { set, sequence, key, changes } = signed;
                let mut lines = changes.clone();
                lines.push(format!("Signed sequence {sequence} of {set} with {key}"));
                lines.push(format!("Next: `proxy train lint {set} {sequence}`, then `proxy train depart {set} {sequence} --wave …`"));
                lines
            })?);
        }
        Action::Draft { next } => {
            let draft: TrainDraft = context.admin().await?.send::<DraftTrain>(&next.into()).await?;
            for line in &draft.changes {
                crate::output::note(line);
            }
            return Ok(context.out.report(&draft, |draft| json(&draft.headers))?);
        }
        Action::Diff { set: Named { set }, from, to } => {
            let query = [("set", set), ("from", from.to_string()), ("to", to.to_string())];
            let diff: TrainDiff = context.admin().await?.ask_for::<CompareTrain>(query).await?;
            return Ok(context.out.report(&diff, |diff| lines(&diff.changes, "They do not differ."))?);
        }
        Action::Lint { set: Named { set }, sequence } => {
            let query = [("set", set), ("to", sequence.to_string())];
            let diff: TrainDiff = context.admin().await?.ask_for::<CompareTrain>(query).await?;
            return Ok(context
                .out
                .report(&diff, |diff| lines(&diff.problems, "Nothing is wrong with it."))?);
        }
        Action::Back { set: Named { set }, to, key } => {
            let wanted = TrainBackRequest { set, to, key, standing: None };
            let train: Train = context.admin().await?.send::<BackTrain>(&wanted).await?;
            changed();
            return Ok(context.out.report(&train, shown)?);
        }
        Action::Export(Named { set }) => {
            let export: TrainExport = context.admin().await?.ask_for::<ExportTrain>([("set", set)]).await?;
            return Ok(context.out.report(&export, json)?);
        }
        Action::Import { file } => {
            let TrainPlan { set, sequence, gates } =
                read::<TrainExport>(&file, "train export ACCOUNT/NAME")?.plan;
            TrainStep {
                set,
                action: TrainAction::Plan,
                sequence: Some(sequence),
                gates: Some(gates),
                standing: None,
            }
        }
        Action::Plan { set, sequence, gates } => {
            TrainStep { sequence: Some(sequence), gates: Some(gates.into()), ..step(set, TrainAction::Plan) }
        }
        Action::Depart { set, sequence, gates } => {
            let gates = Some(gates.into()).filter(|gates: &Gates| !gates.waves.is_empty());
            TrainStep { sequence, gates, ..step(set, TrainAction::Depart) }
        }
        Action::Pause(set) => step(set, TrainAction::Pause),
        Action::Resume(set) => step(set, TrainAction::Resume),
        Action::Hold(set) => step(set, TrainAction::Hold),
        Action::Next(set) => step(set, TrainAction::Next),
    };
    let train: Train = context.admin().await?.send::<MoveTrain>(&step).await?;
    changed();
    Ok(context.out.report(&train, shown)?)
}

fn lines(lines: &[String], none: &str) -> Vec<String> {
    if lines.is_empty() { vec![none.to_owned()] } else { lines.to_vec() }
}

fn shown(train: &Train) -> Vec<String> {
    let Train { set, arrived, departed, .. } = train;
    let mut lines = vec![match departed {
        Some(sequence) => format!("{set}: sequence {sequence} is on its way, others get {arrived}"),
        None => format!("{set}: every device gets sequence {arrived}"),
    }];
    if let Some(journey) = &train.journey {
        let why = journey.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(format!("{}{why}", journey.state));
        let of = Course {
            soak: journey.soak,
            limits: [journey.max_failed, journey.max_silent],
            approvals: journey.approvals,
            windows: &journey.windows,
            next_window: &journey.next_window,
            waves: &journey.waves,
            stopped_by: &journey.stopped_by,
        };
        lines.extend(course(of, "the arrival"));
    }
    if let Some(TrainPlan { sequence, gates, .. }) = &train.planned {
        let waves: Vec<String> = gates.waves.iter().map(ToString::to_string).collect();
        let waves = waves.join(", ");
        lines.push(format!("Sequence {sequence} is planned in {waves}: `proxy train depart {set}`"));
    }
    let held: Vec<String> = train.held.iter().map(ToString::to_string).collect();
    lines.push(format!("Held here: {}", if held.is_empty() { "none".to_owned() } else { held.join(", ") }));
    let count =
        |count: &schema::api::admin::TrainCount| format!("Devices on {}: {}", count.sequence, count.devices);
    lines.extend(train.devices.iter().map(count));
    lines
}

fn listed(trains: &Trains) -> Vec<String> {
    let row = |train: &Train| {
        let departed = train.departed.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        let journey = train.journey.as_ref();
        let waves = journey.map_or(&[][..], |journey| &journey.waves);
        let open = waves.iter().filter(|wave| wave.opened.is_some()).count();
        let state = journey.map_or_else(|| "-".to_owned(), |journey| journey.state.to_string());
        let why = journey.and_then(|journey| journey.why.clone()).unwrap_or_else(|| "-".to_owned());
        let waves = format!("{open} of {}", waves.len());
        [train.set.clone(), train.arrived.to_string(), departed, state, waves, why]
    };
    match trains.trains.is_empty() {
        true => vec!["There is no train.".to_owned()],
        false => table(
            ["Set", "Arrived", "On its way", "State", "Waves", "Why"],
            trains.trains.iter().map(row).collect(),
        ),
    }
}
