//! `doctor`: tells whether devices are served, now and in 90 days.

use schema::api::admin::calls::ShowDoctor;
use schema::api::admin::{Finding, Findings, Urgency};

use crate::commands::Reported;
use crate::context::Context;

/// Tell whether devices are served, now and in 90 days
///
/// Tries what a device tries, and looks at everything that the store stands on. Each finding says what is wrong, why it
/// matters and which command mends it. Exit code 0 when devices are served and will be, 1 when they are not or will not be
/// within 90 days; advice alone ends with 0.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy doctor
  proxy doctor --json")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let found: Findings = context.admin().await?.ask::<ShowDoctor>().await?;
    context.out.report(&found, |found| lines(found, context.program))?;
    if found.any(Urgency::Soon) { Err(Reported.into()) } else { Ok(()) }
}

fn lines(found: &Findings, program: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for Finding { code, urgency, what, why, mend } in &found.findings {
        let when = match urgency {
            Urgency::Now => "NOW",
            Urgency::Soon => "SOON",
            Urgency::Advice => "ADVICE",
        };
        let mend =
            mend.strip_prefix("proxy ").map_or_else(|| mend.clone(), |rest| format!("{program} {rest}"));
        lines.extend([format!("{when} {code}: {what}"), format!("  Why: {why}"), format!("  Mend: {mend}")]);
    }
    lines.push(
        match (found.any(Urgency::Now), found.any(Urgency::Soon)) {
            (true, _) => "Some devices are not served.",
            (false, true) => "Devices are served now, and may not be in 90 days.",
            (false, false) => "Devices are served, now and in 90 days.",
        }
        .to_owned(),
    );
    lines
}
