//! `parcels`: those that are under way.

use clap::Subcommand;
use schema::api::admin::calls::{DropParcel, ListParcels};
use schema::api::admin::{ParcelStatus, Parcels};

use crate::context::Context;
use crate::output::{changed, table};

/// List the parcels that are not imported yet, or remove one
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy parcels list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, with the parts that each lacks
    #[command(before_help = "Example:
  proxy parcels list")]
    List,
    /// Remove one with the parts that are here
    #[command(before_help = "Example:
  proxy parcels drop 0123456789abcdef0123456789abcdef")]
    Drop {
        /// Its id, as `parcels list` shows it
        id: String,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    match args.action {
        Action::List => {
            let parcels: Parcels = admin.ask::<ListParcels>().await?;
            Ok(context.out.report(&parcels, |parcels| match parcels.parcels.is_empty() {
                true => vec!["No parcel is under way.".to_owned()],
                false => table(
                    ["Id", "Sender", "Number", "Made", "Bytes", "Lacking"],
                    parcels.parcels.iter().map(row).collect(),
                ),
            })?)
        }
        Action::Drop { id } => {
            let dropped: ParcelStatus = admin.ask_of::<DropParcel>(&id).await?;
            changed();
            Ok(context.out.report(&dropped, |dropped| vec![format!("Removed parcel {}", dropped.name)])?)
        }
    }
}

fn row(parcel: &ParcelStatus) -> [String; 6] {
    let lacking = match &parcel.lacking[..] {
        [] => "-".to_owned(),
        parts => numbers(parts),
    };
    [
        parcel.id.clone(),
        parcel.sender.clone(),
        parcel.sequence.to_string(),
        parcel.time.clone(),
        parcel.size.to_string(),
        lacking,
    ]
}

/// The numbers of parts, for people.
pub(super) fn numbers(parts: &[usize]) -> String {
    let shown: Vec<String> = parts.iter().take(20).map(ToString::to_string).collect();
    let more = if parts.len() > 20 { format!(" and {} more", parts.len() - 20) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
