//! Why a command failed: a line for people, or a line of JSON for programs.

use std::io;

use schema::causes::one_line;
use schema::config::{ConfigError, FileError};
use serde::Serialize;

use crate::admin::AdminError;
use crate::output::{failed, json_aside, program, speaks_json, told};

/// An error for programs.
#[derive(Debug, Serialize)]
struct Told<'a> {
    /// A stable word.
    code: &'a str,
    /// What could not be done and why.
    message: String,
    /// The command that helps, if the message names one.
    next: Option<String>,
    /// One entry per refused item, if there are several.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    details: &'a [String],
}

/// Why the command failed, with all causes.
pub(crate) fn report(error: &anyhow::Error) {
    let message = one_line(error.as_ref());
    if !speaks_json() {
        return failed(message);
    }
    let refusal = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(AdminError::Refused(failure)) => Some(&*failure.details),
        _ => None,
    });
    let message = told(&message);
    let next = command_in(&message);
    json_aside(&Told { code: code(error), message, next, details: refusal.unwrap_or_default() });
}

/// A mistake in the command line, in the program's own words.
pub(crate) fn mistake(message: &str, next: String) {
    match speaks_json() {
        true => {
            json_aside(&Told { code: "usage", message: message.to_owned(), next: Some(next), details: &[] })
        }
        false => failed(message),
    }
}

/// A group of commands that was called without one of them, for programs.
pub(crate) fn incomplete(error: &clap::Error, grammar: &clap::Command) {
    let asked = asked(&error.render().to_string()).unwrap_or_default();
    let words = asked.split(' ').skip(1);
    let group = words.fold(grammar, |at, word| at.find_subcommand(word).unwrap_or(at));
    let names = group.get_subcommands().filter(|sub| !sub.is_hide_set()).map(clap::Command::get_name);
    let message = format!("{asked} is followed by one of {}", names.collect::<Vec<_>>().join(", "));
    json_aside(&Told { code: "usage", message, next: Some(format!("{asked} --help")), details: &[] });
}

/// The command that a mistake was made in, by the usage that is printed with it.
pub(crate) fn asked(text: &str) -> Option<String> {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "))?;
    let words = usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-']));
    Some(words.collect::<Vec<_>>().join(" "))
}

/// A mistake in the command line, for programs.
pub(crate) fn usage(error: &clap::Error) {
    let text = in_own_words(&error.render().to_string());
    let said = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said: Vec<&str> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
    let message = said.join(" ");
    let message = told(message.strip_prefix("error: ").unwrap_or(&message));
    let next = asked(&text).map(|asked| format!("{asked} --help"));
    json_aside(&Told { code: "usage", message, next, details: &[] });
}

/// What the grammar says of numbers, without the words of its library.
pub(crate) fn in_own_words(text: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("invalid digit found in string", "expected a whole number"),
        ("cannot parse integer from empty string", "expected a whole number"),
        ("number too large to fit in target type", "the number is too large"),
        ("number too small to fit in target type", "the number is too small"),
    ];
    WORDS.iter().fold(text.to_owned(), |text, (theirs, own)| text.replace(theirs, own))
}

/// The stable word for an error.
fn code(error: &anyhow::Error) -> &str {
    let known = |cause: &'_ (dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(AdminError::NotRunning(_)) => Some("not-running"),
        Some(AdminError::NotAllowed(_)) => Some("not-allowed"),
        Some(AdminError::Unreachable { .. } | AdminError::Remote(_)) => Some("unreachable"),
        Some(AdminError::Broken(_)) => Some("unknown-outcome"),
        _ if cause.is::<ConfigError>() => Some("invalid-setting"),
        _ if cause.is::<FileError>() => Some("configuration-file"),
        _ if cause.is::<io::Error>() => Some("input-output"),
        _ => None,
    };
    let refused = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(AdminError::Refused(failure)) => Some(&*failure.code),
        _ => None,
    });
    refused.or_else(|| error.chain().find_map(known)).unwrap_or("failed")
}

/// The last command that a message quotes.
fn command_in(message: &str) -> Option<String> {
    let quoted = message.split('`').skip(1).step_by(2);
    let programs =
        [program(), "proxyd", "sudo", "systemctl", "openssl", "ssh-keygen", "chmod", "cat", "iconv"];
    let is_command = |text: &&str| programs.iter().any(|program| text.starts_with(&format!("{program} ")));
    quoted.filter(is_command).last().map(str::to_owned)
}
