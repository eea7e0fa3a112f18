//! The page of all commands, in groups, and the names of the program in it.

use clap::Command;

use super::PROGRAM_NAMES;
use crate::output::in_words_of;

/// Every command in the group where operators look for it.
const GROUPS: [(&str, &[&str]); 9] = [
    (
        "Set up",
        &[
            "config",
            "generate-keys",
            "create-database",
            "migrate-database",
            "enable-airgap-mode",
            "disable-airgap-mode",
            "register",
            "trust",
        ],
    ),
    (
        "Import",
        &[
            "push-snap",
            "push-store",
            "push-parcel",
            "parcels",
            "imports",
            "receipt",
            "push-brand-store-metadata",
            "push-account-keys",
            "push-assertions",
            "inspect",
            "list-imports",
            "list-pushed-snaps",
            "list-stores",
            "list-account-keys",
        ],
    ),
    (
        "Channels",
        &[
            "release",
            "close-channel",
            "override",
            "list-overrides",
            "delete-override",
            "log",
            "diff",
            "tag",
            "back",
        ],
    ),
    (
        "Devices",
        &[
            "device-kit",
            "list-devices",
            "show-device",
            "explain",
            "list-misses",
            "deltas",
            "block-device",
            "unblock-device",
            "device",
            "group",
            "rollout",
            "train",
        ],
    ),
    ("Signing on site", &["keys", "keymgr", "models", "serials", "break-glass"]),
    ("Certificates", &["import-certificate", "acme", "ca", "use-ca-certs", "remove-ca-certs"]),
    (
        "Upkeep",
        &[
            "status",
            "doctor",
            "open",
            "check-connections",
            "audit",
            "approvals",
            "jobs",
            "verify",
            "backup",
            "restore",
            "prune",
            "gc",
            "remove-snap",
            "remove-store",
            "remove-account-key",
            "create-login",
            "list-logins",
            "revoke-login",
            "rotate-secret",
        ],
    ),
    (
        "Connected side",
        &[
            "fetch-snaps",
            "fetch-store",
            "fetch-brand-store-metadata",
            "fetch-account-keys",
            "sender",
            "register-key",
            "whoami",
        ],
    ),
    ("This program", &["help", "completions", "man"]),
];

/// The grammar with its commands listed in groups, one line each.
pub(super) fn grouped(command: Command) -> Command {
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    let about = |name: &str| match name {
        "help" => "Say how a command is used, with examples".to_owned(),
        _ => command
            .find_subcommand(name)
            .and_then(Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    let group = |(title, names): &(&str, &[&str])| {
        let lines = names.iter().map(|name| format!("  {name:width$}  {}\n", about(name)));
        format!("{title}:\n{}", lines.collect::<String>())
    };
    let groups = GROUPS.iter().map(group).collect::<Vec<_>>().join("\n");
    let template = format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}\nOptions:\n{{options}}\n");
    command.help_template(template)
}

/// The grammar in the words of the name that the program was called by.
pub(super) fn renamed(mut command: Command, program: &str) -> Command {
    if program == PROGRAM_NAMES[0] {
        return command; // It is written in them.
    }
    let words = |text: &clap::builder::StyledStr| in_words_of(&text.to_string(), program);
    if let Some(text) = command.get_before_help().map(words) {
        command = command.before_help(text.replace(" proxy ", &format!(" {program} ")));
    }
    if let Some(text) = command.get_about().map(words) {
        command = command.about(text);
    }
    if let Some(text) = command.get_long_about().map(words) {
        command = command.long_about(text);
    }
    let arg = |arg: clap::Arg| match arg.get_help().map(words) {
        Some(text) => arg.help(text),
        None => arg,
    };
    command.mut_args(arg).mut_subcommands(|sub| renamed(sub, program))
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let grammar = grammar("proxy");
        let shown = grammar.get_subcommands().filter(|command| !command.is_hide_set());
        let mut all: Vec<&str> = shown.map(Command::get_name).collect();
        all.push("help");
        listed.sort_unstable();
        all.sort_unstable();
        assert_eq!(listed, all);
    }

    #[test]
    fn commands_in_texts_have_the_name_of_the_program() {
        let text = "run `proxy status`, or `cat a | proxy import-certificate`; proxy.domain and a proxy stay";
        let wanted = "run `snap-proxy status`, or `cat a | snap-proxy import-certificate`; proxy.domain and a proxy stay";
        assert_eq!(in_words_of(text, "snap-proxy"), wanted);
        assert_eq!(in_words_of(text, "proxy"), text);
    }
}
