//! `list-misses`: lists devices' failed requests.

use schema::api::admin::Misses;
use schema::api::admin::calls::ListMisses;

use crate::context::Context;
use crate::output::table;

/// List what devices requested and did not get: what to carry in next
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy list-misses")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let misses: Misses = context.admin().await?.ask::<ListMisses>().await?;
    Ok(context.out.report(&misses, |misses| {
        let rows = misses.misses.iter().map(|miss| {
            [
                miss.name.clone(),
                miss.wanted.clone(),
                miss.code.clone(),
                miss.devices.to_string(),
                miss.models.join(", "),
                miss.last_asked.clone(),
                if miss.held { "yes".into() } else { "no".into() },
            ]
        });
        let heading = ["Name", "Wanted", "Answer", "Devices", "Models", "Last asked", "Held now"];
        table(heading, rows.collect())
    })?)
}
