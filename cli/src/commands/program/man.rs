//! `man`: prints the manual page, or writes one per command.

use std::path::PathBuf;

use anyhow::Context as _;
use clap_mangen::Man;

use crate::commands::grammar;
use crate::context::Context;

/// Print the manual page, or write one per command
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy man | man -l -
  proxy man --dir /usr/share/man/man1")]
pub(crate) struct Args {
    /// Write the pages of all commands to this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let grammar = examples_last(grammar(context.program));
    if let Some(folder) = args.dir {
        return clap_mangen::generate_to(grammar, &folder)
            .with_context(|| format!("cannot write into {}", folder.display()));
    }
    let mut page = Vec::new();
    Man::new(grammar).render(&mut page)?;
    Ok(context.out.raw(&String::from_utf8_lossy(&page))?)
}

/// Moves the examples to their place in manual pages.
fn examples_last(mut command: clap::Command) -> clap::Command {
    if let Some(examples) = command.get_before_help().cloned() {
        command = command.before_help(None).after_help(examples);
    }
    command.mut_subcommands(examples_last)
}
