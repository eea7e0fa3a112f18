//! The log: one record per event on stderr, in which nothing from outside can begin another line or steer a terminal.
//!
//! Text on a terminal, JSON lines elsewhere; `AIRLOCK_LOG` chooses what is logged.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;

/// Begins to log.
pub(crate) fn to_stderr() {
    let filter = EnvFilter::try_from_env("AIRLOCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Records(io::stderr()));
    if io::stderr().is_terminal() {
        builder.with_target(false).with_ansi(false).init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).init();
    }
}

/// Takes one record at a time, as the subscriber writes them: the line feed at its end is its only control character.
struct Records<W>(W);

impl<W: Write> Write for Records<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        if !text.contains(char::is_control) {
            self.0.write_all(record)?;
            return Ok(record.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c.is_control() {
                // As JSON spells it, which a text may as well.
                true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => escaped.push(c),
            }
        }
        self.0.write_all((escaped + end).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_one_line_without_control_characters() {
        let mut out = Records(Vec::new());
        out.write_all("name=a\u{1b}[2J\u{9b}2J\nroot logged in\r\n".as_bytes()).unwrap();
        out.write_all(b"next\n").unwrap();
        let text = String::from_utf8(out.0).unwrap();
        assert_eq!(text, "name=a\\u001b[2J\\u009b2J\\u000aroot logged in\\u000d\nnext\n");
    }
}
