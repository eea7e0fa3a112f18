//! The header grammar: text to values and back.
//!
//! ```text
//! type: model                     a text
//! required-snaps:                 a list
//!   - hello
//!   -
//!       two lines                 a text of several lines, as a list item
//!       of text
//! constraints:                    a map
//!   model: edge-.*
//! ```
//!
//! Values are texts, lists or maps. Text is verbatim, without quoting, trimming or escaping. See
//! `schema/docs/assertions.md#headers`.

use std::collections::BTreeMap;

/// Deepest nesting of lists and maps. Real assertions stay below 8; the reference client is limited only by the
/// header size, so this limit is our own.
pub const MAX_DEPTH: usize = 32;

/// The entries of a map, or all headers of an assertion.
pub type Map = BTreeMap<String, HeaderValue>;

/// The value of a header or map key, or a list item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text, possibly of several lines.
    Text(String),
    /// A list. Empty lists cannot be written.
    List(Vec<HeaderValue>),
    /// A map. Empty maps cannot be written.
    Map(Map),
}

impl HeaderValue {
    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[HeaderValue]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for HeaderValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl<T: Into<HeaderValue>> From<Vec<T>> for HeaderValue {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl From<Map> for HeaderValue {
    fn from(entries: Map) -> Self {
        Self::Map(entries)
    }
}

/// All headers of an assertion, defaults of optional primary key headers included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub(super) Map);

impl Headers {
    /// Reads the text before the first empty line.
    ///
    /// # Errors
    /// [`HeaderError`] names the line that breaks the grammar.
    pub fn parse(head: &str) -> Result<Self, HeaderError> {
        let mut parser = Parser { lines: head.split('\n').collect(), at: 0 };
        let mut headers = Map::new();
        while parser.peek().is_some() {
            parser.entry(0, 0, &mut headers)?;
        }
        Ok(Self(headers))
    }

    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.get(name)
    }

    /// The value of a header that is a text; `None` when it is missing, a list or a map.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// All headers, in byte order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Why text is not a list of headers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the headers {problem}")]
pub struct HeaderError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn error<T>(&self, problem: &'static str) -> Result<T, HeaderError> {
        Err(HeaderError { line: self.at + 1, problem })
    }

    /// `name: value` after `indent` spaces, which the caller has checked.
    fn entry(&mut self, indent: usize, depth: usize, into: &mut Map) -> Result<(), HeaderError> {
        let line = self.lines[self.at].get(indent..).unwrap_or_default();
        let Some((name, rest)) = line.split_once(':') else {
            return self.error("has no colon");
        };
        if !is_header_name(name) {
            return self.error("does not start with a header name");
        }
        if into.contains_key(name) {
            return self.error("repeats a name");
        }
        let value = self.value(rest, indent, depth)?;
        into.insert(name.to_owned(), value);
        Ok(())
    }

    /// The value whose first line, after the colon or dash, is `rest`. Consumes all its lines.
    fn value(&mut self, rest: &str, indent: usize, depth: usize) -> Result<HeaderValue, HeaderError> {
        if let Some(text) = rest.strip_prefix(' ') {
            self.at += 1;
            return Ok(HeaderValue::Text(text.to_owned()));
        }
        if !rest.is_empty() {
            return self.error("needs one space or the end of the line before the value");
        }
        if depth == MAX_DEPTH {
            return self.error("is nested too deeply");
        }
        self.at += 1;
        let inner = indent + 2;
        match self.peek().and_then(|line| after_indent(line, inner)?.bytes().next()) {
            Some(b'-') => self.list(inner, depth + 1),
            Some(first) if first != b' ' => self.map(inner, depth + 1),
            _ => self.text_lines(indent + 4),
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<HeaderValue, HeaderError> {
        let mut items = Vec::new();
        while let Some(rest) = self.peek().and_then(|line| after_indent(line, indent)?.strip_prefix('-')) {
            items.push(self.value(rest, indent, depth)?);
        }
        Ok(HeaderValue::List(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<HeaderValue, HeaderError> {
        let mut entries = Map::new();
        while self.peek().is_some_and(|line| after_indent(line, indent).is_some()) {
            self.entry(indent, depth, &mut entries)?;
        }
        Ok(HeaderValue::Map(entries))
    }

    fn text_lines(&mut self, indent: usize) -> Result<HeaderValue, HeaderError> {
        let first = self.at;
        let mut text = String::new();
        while let Some(line) = self.peek().and_then(|line| after_indent(line, indent)) {
            if self.at > first {
                text.push('\n');
            }
            text.push_str(line);
            self.at += 1;
        }
        if self.at == first {
            return self.error("is not indented like the value that has to stand here");
        }
        Ok(HeaderValue::Text(text))
    }
}

/// The line without its first `indent` bytes, if those are spaces.
fn after_indent(line: &str, indent: usize) -> Option<&str> {
    let (spaces, rest) = line.split_at_checked(indent)?;
    spaces.bytes().all(|byte| byte == b' ').then_some(rest)
}

/// Lower case letters and digits with single dashes between, a letter first.
pub(super) fn is_header_name(name: &str) -> bool {
    super::scalars::is_dashed(
        name,
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    )
}

/// Appends `name: value` and a line feed in canonical form; nothing for an empty list or map.
pub(super) fn write_entry(out: &mut String, name: &str, value: &HeaderValue, indent: usize) {
    if is_empty(value) {
        return;
    }
    push_spaces(out, indent);
    out.push_str(name);
    out.push(':');
    write_value(out, value, indent);
}

/// Appends what follows the colon or dash at `indent`.
fn write_value(out: &mut String, value: &HeaderValue, indent: usize) {
    match value {
        HeaderValue::Text(text) if !text.contains('\n') => {
            out.push(' ');
            out.push_str(text);
            out.push('\n');
        }
        HeaderValue::Text(text) => {
            out.push('\n');
            for line in text.split('\n') {
                push_spaces(out, indent + 4);
                out.push_str(line);
                out.push('\n');
            }
        }
        HeaderValue::List(items) => {
            out.push('\n');
            for item in items.iter().filter(|item| !is_empty(item)) {
                push_spaces(out, indent + 2);
                out.push('-');
                write_value(out, item, indent + 2);
            }
        }
        HeaderValue::Map(entries) => {
            out.push('\n');
            for (key, entry) in entries {
                write_entry(out, key, entry, indent + 2);
            }
        }
    }
}

/// Whether there is nothing to write: a list or map without content.
fn is_empty(value: &HeaderValue) -> bool {
    match value {
        HeaderValue::Text(_) => false,
        HeaderValue::List(items) => items.iter().all(is_empty),
        HeaderValue::Map(entries) => entries.values().all(is_empty),
    }
}

fn push_spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}
