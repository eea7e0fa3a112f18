//! `completions`: prints the completion script of a shell.

use clap_complete::Shell;

use crate::commands::grammar;
use crate::context::Context;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy completions bash > /etc/bash_completion.d/proxy")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar(context.program), context.program, &mut script);
    Ok(context.out.raw(&String::from_utf8_lossy(&script))?)
}
