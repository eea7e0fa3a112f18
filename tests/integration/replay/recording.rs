//! Recorded requests of real snapd: one file per action, one exchange per line (see
//! `tests/fixtures/snapd-requests/README.md`).

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tests::http::Request;

/// What was done on the device, and everything it then sent.
pub(crate) struct Recording {
    pub(crate) action: String,
    pub(crate) exchanges: Vec<Exchange>,
}

/// One request with the answer that a stand-in gave.
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) status: u16,
    /// Of the stand-in's answer; a text in brackets where it was left out.
    pub(crate) answer: Value,
}

#[derive(Deserialize)]
struct About {
    about: Action,
}

#[derive(Deserialize)]
struct Action {
    action: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: &'a RawValue,
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    body: Value,
}

/// All recordings of a version, by file name.
pub(crate) fn recordings(version: &str) -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/snapd-requests").join(version);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the recordings are in the repository")
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    files.sort();
    files.iter().map(|path| read(&fs::read_to_string(path).expect("a recording is text"))).collect()
}

fn read(text: &str) -> Recording {
    let mut lines = text.lines();
    let about: About = serde_json::from_str(lines.next().expect("a first line")).expect("what it is about");
    Recording { action: about.about.action, exchanges: lines.map(read_exchange).collect() }
}

fn read_exchange(line: &str) -> Exchange {
    let line: Line<'_> = serde_json::from_str(line).expect("an exchange");
    let body = match serde_json::from_str(line.body.get()).expect("a body") {
        Value::Null => Vec::new(),
        Value::String(text) => text.into_bytes(),
        _ => compact(line.body.get()).into_bytes(),
    };
    let (status, answer) = line.response.map_or((0, Value::Null), |answer| (answer.status, answer.body));
    let request = Request { method: line.method, target: line.path, headers: line.headers, body };
    Exchange { request, status, answer }
}

/// JSON without spaces between its tokens, as Go writes it, members in the order recorded.
fn compact(json: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::new(), false, false);
    for letter in json.chars() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
        } else if letter.is_whitespace() {
            continue;
        } else {
            in_text = letter == '"';
        }
        out.push(letter);
    }
    out
}

impl Exchange {
    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.request.target.split('?').next().unwrap_or_default()
    }

    /// The recorded value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or(Value::Null)
    }
}
