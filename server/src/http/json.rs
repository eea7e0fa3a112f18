//! Writes JSON answers, whole or in parts.

use std::io;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// Exactly this text: snapd accepts no parameters after it.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A 200 answer.
pub(super) fn respond(body: String) -> Response {
    respond_as(JSON, body)
}

/// A 202 answer: not yet.
pub(super) fn accepted(message: &str) -> Response {
    let mut response = respond(serde_json::json!({ "message": message }).to_string());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// A 200 answer with another content type.
pub(super) fn respond_as(content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Appends a value as JSON.
pub(super) fn push(out: &mut String, value: &(impl Serialize + ?Sized)) {
    // Texts, numbers and lists of them always serialize.
    let begin = out.len();
    if serde_json::to_writer(End(out), value).is_err() {
        out.truncate(begin);
        out.push_str("null");
    }
}

/// Appends a text as JSON.
pub(super) fn push_text(out: &mut String, text: &str) {
    let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    // To the end, whatever comes: the compiler then compares many bytes at once.
    if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        return push(out, text);
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Writes to the end of a text.
struct End<'a>(&'a mut String);

impl io::Write for End<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push_str(std::str::from_utf8(bytes).map_err(io::Error::other)?);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a request cannot be parsed, with the position but without our type names, which serde's message contains.
pub(super) fn unreadable(error: &serde_json::Error) -> String {
    let why = match error.classify() {
        serde_json::error::Category::Data => "is not what this endpoint takes",
        _ => "is no JSON",
    };
    format!("cannot read the request: it {why} ({}:{})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_serde_writes_it() {
        let all: String = (0..=0x17f).filter_map(char::from_u32).collect();
        let each = (0..=0x17f).filter_map(char::from_u32).map(String::from);
        for text in each.chain([String::new(), "a b-ü\u{1f600}".into(), all]) {
            let (mut ours, mut theirs) = (String::from("["), String::from("["));
            push_text(&mut ours, &text);
            push(&mut theirs, &text);
            assert_eq!(ours, theirs, "{text:?}");
        }
    }
}
