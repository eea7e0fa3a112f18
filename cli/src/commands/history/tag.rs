//! `tag`: names a generation, or lists those that have a name.

use schema::api::admin::calls::{ListTags, RemoveTag, SetTag};
use schema::api::admin::{Tag, TagRequest, Tags};

use crate::context::Context;
use crate::output::{self, table};

/// Name the channels of now or of another generation, or list such names
///
/// What a tag names can be gone back to: `prune` and `remove-snap` keep its revisions until the tag is removed.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy tag
  proxy tag before-upgrade
  proxy tag spring --at 2026-05-03
  proxy tag spring --remove")]
pub(crate) struct Args {
    /// The name: letters, digits, dots, dashes and underscores, a letter first
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// The generation to name: a number, another tag or a time [default: the current one]
    #[arg(long, value_name = "GENERATION", requires = "name")]
    at: Option<String>,

    /// Remove the name
    #[arg(long, requires = "name", conflicts_with = "at")]
    remove: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    let Some(name) = args.name else {
        let tags: Tags = admin.ask::<ListTags>().await?;
        return Ok(context.out.report(&tags, |tags| {
            let row =
                |tag: &Tag| [tag.name.clone(), tag.generation.to_string(), tag.at.clone(), tag.who.clone()];
            match tags.tags.is_empty() {
                true => vec!["There is no tag.".to_owned()],
                false => table(["Tag", "Generation", "Named", "Who"], tags.tags.iter().map(row).collect()),
            }
        })?);
    };
    let (done, tag): (_, Tag) = match args.remove {
        true => ("no longer names", admin.ask_of::<RemoveTag>(&name).await?),
        false => ("names", admin.send::<SetTag>(&TagRequest { name, at: args.at }).await?),
    };
    output::changed();
    Ok(context.out.report(&tag, |tag| vec![format!("{} {done} generation {}", tag.name, tag.generation)])?)
}
