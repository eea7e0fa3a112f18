//! What an operator sees: results on stdout, everything else on stderr.
//!
//! Colours appear on terminals alone and never under `NO_COLOR`. A reader that closes stdout early, such
//! as `head`, is no error: the work goes on, unseen.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use schema::causes::one_line;
use serde::Serialize;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Has this run changed something that stays?
static CHANGED: AtomicBool = AtomicBool::new(false);

/// Remembers that something was changed, for what is said when the report of it cannot be written.
pub(crate) fn changed() {
    CHANGED.store(true, Ordering::Relaxed);
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Results as JSON, or as text for people.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Is the result wanted for a program?
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Gives a result: `value` itself to programs, the lines made of it to people.
    pub(crate) fn report<T: Serialize>(
        &self,
        value: &T,
        lines: impl FnOnce(&T) -> Vec<String>,
    ) -> io::Result<()> {
        if self.json {
            return self.raw(&pretty(value)?);
        }
        self.lines(&lines(value))
    }

    /// Gives a result of which there is no other copy. A reader that is gone is an error, and what was made is the
    /// caller's to take back.
    pub(crate) fn only_copy(&self, value: &impl Serialize, line: &str) -> io::Result<()> {
        write(&if self.json { pretty(value)? } else { plain(line) + "\n" })
    }

    /// Prints lines for people; nothing in them can steer the terminal or begin another line.
    pub(crate) fn lines(&self, lines: &[impl AsRef<str>]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| plain(line.as_ref()) + "\n").collect();
        self.raw(&text)
    }

    /// Prints one value as JSON on a line. A reader that is gone is an error.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        write(&(escaped(&serde_json::to_string(value)?) + "\n"))
    }

    /// Prints one line for people. A reader that is gone is an error.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        write(&(plain(line) + "\n"))
    }

    /// Prints a text as it is.
    pub(crate) fn raw(&self, text: &str) -> io::Result<()> {
        match write(text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) if CHANGED.load(Ordering::Relaxed) => {
                let what = format!("{error}; what it reports was done and stays, so do not run it again");
                Err(io::Error::new(error.kind(), what))
            }
            done => done,
        }
    }
}

fn pretty(value: &impl Serialize) -> io::Result<String> {
    Ok(escaped(&(serde_json::to_string_pretty(value)? + "\n")))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
}

/// Something to know that is no part of the result.
pub(crate) fn note(text: impl Display) {
    aside(NOTE, "note", text);
}

/// Something to look into, although the work was done.
pub(crate) fn warning(text: impl Display) {
    aside(WARNING, "warning", text);
}

/// Why the work was not done, with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    aside(ERROR, "error", one_line(error.as_ref()));
}

fn aside(style: Style, word: &str, text: impl Display) {
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{style}{word}:{style:#} {}", plain(&text.to_string()));
}

/// The text without control characters: names come from files that anybody may have written.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// JSON in which every character that could steer a terminal is written as an escape. Outside of texts it has none.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if steers(c) && c != '\n' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// Control characters, and those that turn the direction of a line or end it.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Lays out rows in columns two spaces apart; the first row is the heading.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let mut all = vec![heading.map(str::to_owned)];
    all.extend(rows.into_iter().map(|row| row.map(|cell| plain(&cell))));
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_with_spaces_and_end_without() {
        let rows = vec![["core24".into(), "ubuntu".into()], ["helix".into(), "ubuntu, acme".into()]];
        let lines = table(["Name", "Stores"], rows);
        assert_eq!(lines, ["Name    Stores", "core24  ubuntu", "helix   ubuntu, acme"]);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\r"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(plain("\u{9b}2J\u{202e}x"), "\u{fffd}2J\u{fffd}x");
        let text = "\u{1b}[2J\u{9b}2J\n\u{202e}ü";
        let json = escaped(&serde_json::to_string(text).unwrap());
        assert_eq!(json, r#""\u001b[2J\u009b2J\n\u202eü""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
