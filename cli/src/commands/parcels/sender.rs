//! `sender`: the key by which this host signs parcels.

use clap::Subcommand;
use schema::parcel::SenderFile;
use serde::Serialize;

use crate::context::Context;
use crate::sender::SenderHome;

/// Make or show the key that this host signs parcels with
///
/// A site takes parcels of senders that it trusts alone: carry the line that `sender show` prints there once, and run
/// `trust add-sender`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy sender create harbour
  proxy sender show > harbour.sender")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the key
    #[command(before_help = "Example:
  proxy sender create harbour")]
    Create {
        /// What sites call this host
        name: String,
    },
    /// Print the line by which a site learns to trust this host
    #[command(before_help = "Example:
  proxy sender show > harbour.sender")]
    Show,
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    key: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let home = SenderHome::of(context)?;
    let file = match args.action {
        Action::Create { name } => home.create(&name)?,
        Action::Show => {
            let (name, key) = home.key()?;
            SenderFile { name, key: key.public() }
        }
    };
    let shown = Shown { name: file.name.clone(), key: file.key.to_string() };
    Ok(context.out.report(&shown, |_| vec![file.to_string()])?)
}
