//! Log lines on standard error: nothing inside an event can start another line.

use std::io::{self, Write};

use schema::causes::in_words;
use tracing_subscriber::fmt::MakeWriter;

/// Writes each event on one line, escaping control characters that the formatters leave in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// Whether the formatter's own colours pass through.
    pub(super) colours: bool,
}

impl Lines {
    fn one_line(self, event: &str) -> String {
        // Nothing that is put in has to be escaped in JSON.
        let event = &in_words(event);
        let mut line = String::with_capacity(event.len() + 1);
        for c in event.strip_suffix('\n').unwrap_or(event).chars() {
            match c.is_control() && !(self.colours && c == '\u{1b}') {
                // The escape that JSON uses, which suits text as well.
                true => line.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => line.push(c),
            }
        }
        line.push('\n');
        line
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for Lines {
    /// Takes one event: the formatter writes each in one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let lines = |colours| Lines { colours };
        let event = "WARN a\r\nb\u{85}c\u{1b}[2J\td\u{0}\n";
        assert_eq!(lines(false).one_line(event), "WARN a\\u000d\\u000ab\\u0085c\\u001b[2J\\u0009d\\u0000\n");
        assert_eq!(lines(true).one_line("\u{1b}[2mWARN\u{1b}[0m a\n"), "\u{1b}[2mWARN\u{1b}[0m a\n");
    }
}
