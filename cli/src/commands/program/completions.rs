//! `completions`: prints the completion script of a shell.

use clap_complete::Shell;

use crate::commands::grammar;
use crate::context::Context;

/// The colons of bash's words do not matter: no value has one.
const BASH: &str = r#"
_PROGRAM_values() {
    "_PROGRAM" "$@"
    local offers
    offers=$(PROGRAM complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ -z "$offers" ] || mapfile -t COMPREPLY <<< "$offers"
}
complete -F _PROGRAM_values -o nosort -o bashdefault -o default PROGRAM
"#;

const ZSH: &str = r#"
_PROGRAM_values() {
    local -a offers
    offers=("${(@f)$(PROGRAM complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [ -n "${offers[1]}" ]; then compadd -a offers; else _PROGRAM "$@"; fi
}
compdef _PROGRAM_values PROGRAM
"#;

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
    let mut script = String::from_utf8_lossy(&script).into_owned();
    script.push_str(&values(args.shell, context.program));
    Ok(context.out.raw(&script)?)
}

/// What asks the running store for keys, snaps, channels and devices, after what the shell knows by itself.
fn values(shell: Shell, program: &str) -> String {
    match shell {
        Shell::Bash => BASH.replace("PROGRAM", program),
        Shell::Zsh => ZSH.replace("PROGRAM", program),
        Shell::Fish => {
            format!(
                "complete -c {program} -f -a '({program} complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'\n"
            )
        }
        _ => String::new(),
    }
}
