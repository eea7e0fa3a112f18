//! Output for operators: results on stdout, everything else on stderr.
//!
//! Colours appear only on terminals and never under `NO_COLOR`. A reader that closes stdout early, such as `head`, is
//! not an error: the command continues without output.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use serde::{Serialize, Serializer};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Whether this run has made a lasting change.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The name that messages are written with.
const OWN_NAME: &str = "proxy";

/// How this run speaks: the name it was called by, and whether to programs.
static SPEAKS: OnceLock<(&str, bool)> = OnceLock::new();

/// Says once how this run speaks.
pub(crate) fn begin(program: &'static str, json: bool) {
    let _ = SPEAKS.set((program, json));
}

fn speaks() -> (&'static str, bool) {
    SPEAKS.get().copied().unwrap_or((OWN_NAME, false))
}

/// A text for people: nothing controls the terminal, and commands begin with the name that this program was called by.
pub(crate) fn told(text: &str) -> String {
    in_words_of(&plain(text), speaks().0)
}

/// Records that something changed, to be mentioned if the report cannot be written.
pub(crate) fn changed() {
    CHANGED.store(true, Ordering::Relaxed);
}

/// The output for results.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Results as JSON, or as text for people.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are printed for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: `value` for programs, lines made from it for people.
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

    /// Prints a result that exists nowhere else. A closed reader is an error, and the caller must undo what it
    /// created.
    pub(crate) fn only_copy(&self, value: &impl Serialize, line: &str) -> io::Result<()> {
        write(&if self.json { pretty(value)? } else { plain(line) + "\n" })
    }

    /// Prints lines for people; nothing in them can control the terminal or start another line.
    pub(crate) fn lines(&self, lines: &[impl AsRef<str>]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| told(line.as_ref()) + "\n").collect();
        self.raw(&text)
    }

    /// Prints one value as JSON on a line. A closed reader is an error.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        write(&(escaped(&serde_json::to_string(value)?) + "\n"))
    }

    /// Prints one line for people. A closed reader is an error.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        write(&(told(line) + "\n"))
    }

    /// Prints a text unchanged.
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

/// A remark that is not part of the result.
pub(crate) fn note(text: impl Display) {
    aside(NOTE, "note", text);
}

/// A problem to look into, although the command succeeded.
pub(crate) fn warning(text: impl Display) {
    aside(WARNING, "warning", text);
}

/// Why something failed, for people.
pub(crate) fn failed(text: impl Display) {
    aside(ERROR, "error", text);
}

/// Whether errors are for programs.
pub(crate) fn speaks_json() -> bool {
    speaks().1
}

/// The name that this program was called by.
pub(crate) fn program() -> &'static str {
    speaks().0
}

/// A text whose commands begin with the name that the program was called by.
pub(crate) fn in_words_of(text: &str, program: &str) -> String {
    if program == OWN_NAME {
        return text.to_owned();
    }
    ["`", "| ", "sudo "].iter().fold(text.to_owned(), |text, before| {
        text.replace(&format!("{before}proxy "), &format!("{before}{program} "))
    })
}

/// Prints one value as a line of JSON on stderr.
pub(crate) fn json_aside(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        // If stderr is closed, there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", escaped(&text));
    }
}

fn aside(style: Style, word: &str, text: impl Display) {
    let text = told(&text.to_string());
    // If stderr is closed, there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{style}{word}:{style:#} {text}");
}

/// The text without control characters: names may come from untrusted files.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Escapes every JSON character that could control a terminal. These occur only inside strings.
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

/// Control characters, and those that change the direction of a line or end it.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first of many names, `most` at most, and how many more there are.
pub(crate) fn first_few(names: &[String], most: usize) -> String {
    match names.split_at_checked(most) {
        Some((first, more @ [_, ..])) => format!("{}, and {} more", first.join(", "), more.len()),
        _ => names.join(", "),
    }
}

/// A path as JSON: a name need not be text.
pub(crate) fn as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// Paths as JSON.
pub(crate) fn as_texts<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(texts(paths))
}

/// Paths as texts.
pub(crate) fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// Aligns rows in columns two spaces apart; the first row is the heading.
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
