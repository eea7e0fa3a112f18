//! `rollout`: lets a revision reach devices in waves.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use schema::api::admin::calls::{
    ExplainRollouts, ExportRollout, ForecastRollout, ListRollouts, MoveRollout, PlanRollout, ShowRollout,
};
use schema::api::admin::{
    ForecastWave, Rollout, RolloutAction, RolloutExport, RolloutForecast, RolloutReasons, RolloutRequest,
    RolloutStep, Rollouts,
};
use schema::store::DeviceId;

use super::{Course, Gated, course, json, name, read};
use crate::context::Context;
use crate::output::{changed, table};

/// Let a revision reach the devices of a channel in waves, and stop by itself
///
/// The channel keeps its revision until the rollout has finished. Devices of open waves are offered the new one; a wave
/// opens once those before it have settled, soaked, and held the gates. Devices need no agent: whether one is done, holds its
/// updates, has failed or fell silent is read from its own requests.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy rollout plan spring --snap core18 --revision 1722 --wave group=lab --wave 10% --wave 100%
  proxy rollout start spring
  proxy rollout show spring")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Plan a rollout; no device is offered anything until it is started
    ///
    /// A wave is a share of all devices (`10%`), a group (`group=lab`), or a share of a group (`group=lab:50%`). Which devices
    /// a share takes is decided by their names and differs between rollouts; a larger share contains a smaller one.
    #[command(before_help = "Examples:
  proxy rollout plan spring --snap core18 --revision 1722 --wave group=lab --wave 10% --wave 100%
  proxy rollout plan spring --snap core18 --channel latest/candidate --to 1722 --wave 5% --wave 100% --soak 2d")]
    Plan {
        /// The rollout's name
        #[arg(value_name = "NAME", value_parser = name)]
        rollout: String,

        /// The snap
        #[arg(long, value_name = "SNAP")]
        snap: String,

        /// The revision to roll out
        #[arg(long, value_name = "REVISION", visible_alias = "to")]
        revision: u32,

        /// The channel whose devices get it [default: stable]
        #[arg(long, value_name = "CHANNEL")]
        channel: Option<String>,

        #[command(flatten)]
        gates: Gated,
    },
    /// Tell how a rollout would go: when each wave opens and is done, and which devices are expected to stay away
    ///
    /// The rollout's own decisions are replayed against the fleet as it was last seen: devices come in their usual rhythm and
    /// take the revision. Nothing changes.
    #[command(before_help = "Examples:
  proxy rollout simulate spring
  proxy rollout simulate spring.json")]
    Simulate {
        /// A rollout that is planned or under way, or a file of `proxy rollout export`
        #[arg(value_name = "NAME|FILE")]
        plan: String,
    },
    /// Print a rollout's plan and how far it is, as JSON that `proxy rollout import` reads
    #[command(before_help = "Example:
  proxy rollout export spring > spring.json")]
    Export(Named),
    /// Plan a rollout that another store exported; its waves take the same devices as there
    #[command(before_help = "Example:
  proxy rollout import spring.json")]
    Import {
        /// File of `proxy rollout export`
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Open the first wave
    #[command(before_help = "Example:
  proxy rollout start spring")]
    Start(Named),
    /// Offer the revision to nobody new; devices of open waves that have it keep it
    #[command(before_help = "Example:
  proxy rollout pause spring")]
    Pause(Named),
    /// Go on; devices that had failed or fallen silent no longer count
    #[command(before_help = "Example:
  proxy rollout resume spring")]
    Resume(Named),
    /// Open the next wave now, or release the revision after the last one
    #[command(before_help = "Example:
  proxy rollout next spring")]
    Next(Named),
    /// Give the rollout up: devices get the channel's own revision again
    ///
    /// It is refused if that revision cannot read the data that the new one writes.
    #[command(before_help = "Example:
  proxy rollout back spring")]
    Back(Named),
    /// Show a rollout's waves and how their devices are doing
    #[command(before_help = "Example:
  proxy rollout show spring")]
    Show(Named),
    /// List rollouts
    #[command(before_help = "Example:
  proxy rollout list")]
    List,
    /// Tell what rollouts decide about a device
    #[command(before_help = "Example:
  proxy rollout why acme/gateway-2000/SN-00017")]
    Why {
        /// The device
        #[arg(value_name = "BRAND/MODEL/SERIAL")]
        device: DeviceId,
    },
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The rollout's name
    #[arg(value_name = "NAME", value_parser = name)]
    rollout: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (name, action) = match args.action {
        Action::List => {
            let rollouts: Rollouts = context.admin().await?.ask::<ListRollouts>().await?;
            return Ok(context.out.report(&rollouts, listed)?);
        }
        Action::Why { device } => {
            let query = [("device", device.to_string())];
            let reasons: RolloutReasons = context.admin().await?.ask_for::<ExplainRollouts>(query).await?;
            return Ok(context.out.report(&reasons, explained)?);
        }
        Action::Plan { rollout, snap, revision, channel, gates } => {
            let wanted = RolloutRequest { name: rollout, snap, revision, channel, gates: gates.into() };
            let rollout: Rollout = context.admin().await?.send::<PlanRollout>(&wanted).await?;
            changed();
            return Ok(context.out.report(&rollout, shown)?);
        }
        Action::Import { file } => {
            let wanted = plan_in(&file)?;
            let rollout: Rollout = context.admin().await?.send::<PlanRollout>(&wanted).await?;
            changed();
            return Ok(context.out.report(&rollout, shown)?);
        }
        Action::Export(Named { rollout }) => {
            let export: RolloutExport = context.admin().await?.ask_of::<ExportRollout>(&rollout).await?;
            return Ok(context.out.report(&export, json)?);
        }
        Action::Simulate { plan } => {
            let mut admin = context.admin().await?;
            let wanted = match schema::rollout::is_name(&plan) && !Path::new(&plan).is_file() {
                true => admin.ask_of::<ExportRollout>(&plan).await?.plan,
                false => plan_in(Path::new(&plan))?,
            };
            let forecast: RolloutForecast = admin.send::<ForecastRollout>(&wanted).await?;
            return Ok(context.out.report(&forecast, foretold)?);
        }
        Action::Show(Named { rollout }) => {
            let rollout: Rollout = context.admin().await?.ask_of::<ShowRollout>(&rollout).await?;
            return Ok(context.out.report(&rollout, shown)?);
        }
        Action::Start(Named { rollout }) => (rollout, RolloutAction::Start),
        Action::Pause(Named { rollout }) => (rollout, RolloutAction::Pause),
        Action::Resume(Named { rollout }) => (rollout, RolloutAction::Resume),
        Action::Next(Named { rollout }) => (rollout, RolloutAction::Next),
        Action::Back(Named { rollout }) => (rollout, RolloutAction::Back),
    };
    let rollout: Rollout =
        context.admin().await?.send::<MoveRollout>(&RolloutStep { name, action, standing: None }).await?;
    changed();
    Ok(context.out.report(&rollout, shown)?)
}

/// The plan in a file of `proxy rollout export`.
fn plan_in(file: &Path) -> anyhow::Result<RolloutRequest> {
    Ok(read::<RolloutExport>(file, "rollout export NAME")?.plan)
}

fn foretold(forecast: &RolloutForecast) -> Vec<String> {
    let RolloutForecast { name, from, ends, state, why, .. } = forecast;
    let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let row = |(at, wave): (usize, &ForecastWave)| {
        let moment = |moment: &Option<String>| moment.clone().unwrap_or_else(|| "-".to_owned());
        let counts = [wave.devices, wave.done, wave.silent, wave.absent];
        let [devices, done, silent, absent] = counts.map(|count| count.to_string());
        let (opens, half, all) = (moment(&wave.opens), moment(&wave.half_done), moment(&wave.all_done));
        [format!("{} {}", at + 1, wave.wave), opens, half, all, devices, done, silent, absent]
    };
    let heading = ["Wave", "Opens", "Half done", "All done", "Devices", "Done", "Silent", "Absent"];
    let mut lines = vec![format!("{name} from {from}, as the fleet was last seen")];
    lines.extend(table(heading, forecast.waves.iter().enumerate().map(row).collect()));
    lines.push(format!("{ends} {state}{why}"));
    lines
}

fn shown(rollout: &Rollout) -> Vec<String> {
    let Rollout { name, snap, channel, revision, state, .. } = rollout;
    let why = rollout.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let mut lines = vec![format!("{name}: {snap} {revision} into {channel}"), format!("{state}{why}")];
    let of = Course {
        soak: rollout.soak,
        limits: [rollout.max_failed, rollout.max_silent],
        approvals: rollout.approvals,
        windows: &rollout.windows,
        next_window: &rollout.next_window,
        waves: &rollout.waves,
        stopped_by: &rollout.stopped_by,
    };
    lines.extend(course(of, "the release"));
    lines
}

fn listed(rollouts: &Rollouts) -> Vec<String> {
    let row = |rollout: &Rollout| {
        let open = rollout.waves.iter().filter(|wave| wave.opened.is_some()).count();
        [
            rollout.name.clone(),
            rollout.snap.clone(),
            rollout.channel.clone(),
            rollout.revision.to_string(),
            rollout.state.to_string(),
            format!("{open} of {}", rollout.waves.len()),
            rollout.why.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let heading = ["Rollout", "Snap", "Channel", "Revision", "State", "Waves", "Why"];
    match rollouts.rollouts.is_empty() {
        true => vec!["There is no rollout.".to_owned()],
        false => table(heading, rollouts.rollouts.iter().map(row).collect()),
    }
}

fn explained(reasons: &RolloutReasons) -> Vec<String> {
    let lines = reasons.rollouts.iter().map(|reason| {
        let outcome =
            reason.outcome.as_ref().map(|outcome| format!(" It counts as {outcome}.")).unwrap_or_default();
        format!("{} ({}, place {}): {}{outcome}", reason.rollout, reason.snap, reason.place, reason.says)
    });
    match reasons.rollouts.is_empty() {
        true => vec!["No rollout is under way.".to_owned()],
        false => lines.collect(),
    }
}
