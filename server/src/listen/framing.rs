//! Rejects request heads that two readers could frame differently (RFC 9112 §6.3, §11.2).
//!
//! hyper accepts a line that ends in a bare line feed, a repeated `Content-Length`, and both length headers together.
//! This filter follows the bytes of a connection from head to head and overwrites everything from the first such line
//! with NUL bytes. No HTTP grammar allows a NUL, so hyper answers 400 and closes the connection.
//!
//! A chunked body is not followed: its connection must be closed after the answer.

use memchr::memchr;

/// The longest line whose text matters: a name, a colon and a 64-bit number.
const LINE: usize = 64;

/// Follows one direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    line: Line,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// This many bytes of a body are still to come.
    Body(u64),
    /// A chunked body, which lasts to the end of the connection.
    Chunked,
    Broken,
}

impl Default for State {
    fn default() -> Self {
        State::Head(Head::default())
    }
}

/// The head so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    request_line: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A line of which a part came before: its beginning and end.
#[derive(Debug)]
struct Line {
    start: [u8; LINE],
    length: usize,
    last: u8,
}

impl Default for Line {
    fn default() -> Self {
        Line { start: [0; LINE], length: 0, last: 0 }
    }
}

/// The effect of a line on its head.
enum Verdict {
    More,
    EndOfHead,
    Refused,
}

impl Framing {
    /// Checks the next bytes of the connection and overwrites them from the first ambiguity on.
    pub(super) fn check(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Chunked => return,
                State::Broken => return bytes.fill(0),
                State::Body(left) => {
                    let here = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::default();
                    }
                    bytes = &mut bytes[here..];
                }
                State::Head(head) => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        return self.line.push(bytes);
                    };
                    // Most lines come whole, and are judged where they lie.
                    let verdict = if self.line.length == 0 {
                        head.judge(Whole::from(&bytes[..end]))
                    } else {
                        self.line.push(&bytes[..end]);
                        head.judge(std::mem::take(&mut self.line).whole())
                    };
                    match verdict {
                        Verdict::More => bytes = &mut bytes[end + 1..],
                        Verdict::EndOfHead => {
                            self.state = head.body();
                            bytes = &mut bytes[end + 1..];
                        }
                        Verdict::Refused => {
                            self.state = State::Broken;
                            bytes = &mut bytes[end..];
                        }
                    }
                }
            }
        }
    }
}

impl Head {
    fn judge(&mut self, line: Whole<'_>) -> Verdict {
        if line.last != b'\r' {
            return Verdict::Refused;
        }
        let text = line.text;
        match (text.first(), self.request_line) {
            // Empty lines before a request are allowed.
            (None, false) => return Verdict::More,
            (None, true) => return Verdict::EndOfHead,
            (Some(_), false) => {
                self.request_line = true;
                return Verdict::More;
            }
            (Some(b' ' | b'\t'), true) => return Verdict::Refused,
            // The first letters of the names that matter.
            (Some(b'C' | b'c' | b'T' | b't'), true) => {}
            (Some(_), true) => return Verdict::More,
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else {
            return Verdict::More;
        };
        let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
        let length = name.eq_ignore_ascii_case(b"content-length");
        let encoding = name.eq_ignore_ascii_case(b"transfer-encoding");
        if !length && !encoding {
            return Verdict::More;
        }
        if self.length.is_some() || self.chunked || line.is_cut {
            return Verdict::Refused;
        }
        if encoding && value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Verdict::More;
        }
        match decimal(value) {
            Some(number) if length => {
                self.length = Some(number);
                Verdict::More
            }
            _ => Verdict::Refused,
        }
    }

    fn body(self) -> State {
        match self.length {
            _ if self.chunked => State::Chunked,
            Some(length @ 1..) => State::Body(length),
            _ => State::default(),
        }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.start.get_mut(self.length..) {
            let taken = room.len().min(bytes.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
        }
        self.length = self.length.saturating_add(bytes.len());
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn whole(&self) -> Whole<'_> {
        Whole::new(&self.start[..self.length.min(LINE)], self.length, self.last)
    }
}

/// A line up to its line feed.
#[derive(Clone, Copy, Debug)]
struct Whole<'a> {
    /// Its first [`LINE`] bytes, without the last of the line, which has to be a carriage return.
    text: &'a [u8],
    last: u8,
    is_cut: bool,
}

impl<'a> Whole<'a> {
    fn new(begin: &'a [u8], length: usize, last: u8) -> Self {
        let kept = length.saturating_sub(1).min(LINE).min(begin.len());
        Self { text: &begin[..kept], last, is_cut: length > LINE }
    }
}

impl<'a> From<&'a [u8]> for Whole<'a> {
    fn from(line: &'a [u8]) -> Self {
        Self::new(line, line.len(), line.last().copied().unwrap_or_default())
    }
}

/// A number in plain digits. `str::parse` alone would accept a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter leaves of `text` when fed in chunks of `step` bytes.
    fn filtered(text: &str, step: usize) -> Vec<u8> {
        let mut framing = Framing::default();
        let mut bytes = text.as_bytes().to_vec();
        bytes.chunks_mut(step).for_each(|piece| framing.check(piece));
        bytes
    }

    #[test]
    fn sound_requests_pass_untouched() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(500));
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-LENGTH: \t5 \r\n\r\na\nb\ncPOST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\nanything\n goes\n",
            "GET / HTTP/1.1\r\nContent-Lengthy: a\r\nNo colon\r\nTransfer: b\r\n\r\n",
            &long,
        ] {
            for step in [1, 2, 3, 7, 64, 1000] {
                assert_eq!(filtered(text, step), text.as_bytes(), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn ambiguous_requests_are_overwritten_from_the_doubt_on() {
        let padded = format!("POST / HTTP/1.1\r\nContent-Length: {}5\r|\n\r\n", "0".repeat(64));
        for text in [
            "GET / HTTP/1.1|\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a|\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n|\n",
            "|\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r|\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\tc\r|\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r|\n\r\nhello!",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: +5\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length:\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r|\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r|\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r|\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r|\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: 5\r|\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1|\n\r\n",
            &padded,
        ] {
            let (sound, doubtful) = text.split_once('|').expect("a mark");
            let expected = [sound.as_bytes(), &vec![0; doubtful.len()]].concat();
            for step in [1, 2, 3, 7, 64, 1000] {
                assert_eq!(filtered(&text.replacen('|', "", 1), step), expected, "{text:?} by {step}");
            }
        }
    }
}
