//! Options that people type after the command, moved to where the grammar has them.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// Options of the whole program that some command has under the same name, and that are therefore not global.
const EARLY: [&str; 3] = ["ca", "cert", "key"];

/// Moves these options before the command, unless the command has one of that name itself.
pub(super) fn moved_to_front(args: Vec<OsString>, grammar: &Command) -> Vec<OsString> {
    let Some(command) = typed_command(&args, grammar) else { return args };
    let own = |name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name));
    let early: Vec<&str> = EARLY.into_iter().filter(|name| !own(name)).collect();
    let (mut front, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    let program = args.next();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            rest.extend(args.by_ref());
        } else if early.iter().any(|name| arg == *format!("--{name}")) {
            front.push(arg);
            front.extend(args.next());
        } else if early.iter().any(|name| starts_with(&arg, &format!("--{name}="))) {
            front.push(arg);
        } else {
            rest.push(arg);
        }
    }
    program.into_iter().chain(front).chain(rest).collect()
}

fn starts_with(arg: &OsStr, start: &str) -> bool {
    arg.as_encoded_bytes().starts_with(start.as_bytes())
}

/// The innermost command that the words name.
fn typed_command<'a>(args: &[OsString], grammar: &'a Command) -> Option<&'a Command> {
    let mut found = None;
    for word in args.iter().skip(1) {
        match found.unwrap_or(grammar).find_subcommand(word) {
            Some(command) => found = Some(command),
            None if found.is_some() => break,
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    #[test]
    fn options_go_to_the_front_unless_they_are_the_commands_own() {
        for (typed, wanted) in [
            ("proxy status --ca root.pem --json", "proxy --ca root.pem status --json"),
            ("proxy status --cert=c.pem --key k.pem", "proxy --cert=c.pem --key k.pem status"),
            ("proxy --ca root.pem status", "proxy --ca root.pem status"),
            ("proxy acme enable --ca root.pem --cert c", "proxy --cert c acme enable --ca root.pem"),
            ("proxy fetch-store acme --key ID", "proxy fetch-store acme --key ID"),
            ("proxy inspect -- --ca", "proxy inspect -- --ca"),
        ] {
            let args = typed.split(' ').map(OsString::from).collect();
            let moved = moved_to_front(args, &grammar("proxy"));
            let moved: Vec<&str> = moved.iter().filter_map(|arg| arg.to_str()).collect();
            assert_eq!(moved.join(" "), wanted);
        }
    }
}
