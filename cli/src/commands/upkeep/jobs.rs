//! `jobs`: lists what runs in the background, holds a job and lets it go on.

use clap::Subcommand;
use schema::api::admin::calls::{ListJobs, PauseJob};
use schema::api::admin::{JobPause, JobStatus, Jobs};

use crate::context::Context;
use crate::output::table;

/// List, pause or resume what the server does in the background
///
/// A job that is paused stays so until it is resumed or the server restarts. Devices are served all the same.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy jobs list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the jobs with their last and next rounds
    #[command(before_help = "Example:
  proxy jobs list")]
    List,
    /// Pause a job until it is resumed
    #[command(before_help = "Example:
  proxy jobs pause verify")]
    Pause {
        /// The job's name, as `jobs list` shows it
        job: String,
    },
    /// Let a job go on
    #[command(before_help = "Example:
  proxy jobs resume verify")]
    Resume {
        /// The job's name, as `jobs list` shows it
        job: String,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (job, paused, verb) = match args.action {
        Action::List => {
            let jobs: Jobs = context.admin().await?.ask::<ListJobs>().await?;
            return Ok(context.out.report(&jobs, |jobs| listed(&jobs.jobs))?);
        }
        Action::Pause { job } => (job, true, "Paused"),
        Action::Resume { job } => (job, false, "Resumed"),
    };
    let wanted = JobPause { job, paused };
    let now: JobStatus = context.admin().await?.send::<PauseJob>(&wanted).await?;
    Ok(context.out.report(&now, |now| vec![format!("{verb} {}", now.name)])?)
}

fn listed(jobs: &[JobStatus]) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |job: &JobStatus| {
        let next = if job.paused { "paused".to_owned() } else { or_dash(job.next_run.clone()) };
        let ended = match (&job.last_run, &job.last_error) {
            (Some(_), Some(error)) => error.clone(),
            (Some(_), None) => "ok".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let pace = or_dash(job.pace_seconds.map(|seconds| format!("{seconds} s")));
        [job.name.clone(), pace, or_dash(job.last_run.clone()), next, ended]
    };
    table(["Job", "Every", "Last", "Next", "Result"], jobs.iter().map(row).collect())
}
