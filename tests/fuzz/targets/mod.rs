//! The fuzz targets: one function each, which reads the input as the programs do and checks what must hold.
//!
//! "Does not panic" is the least: what was read is written again and compared, an independent reader looks at the
//! same bytes, and only credentials made with our keys are accepted. The fuzzer and the ordinary tests call the same
//! functions.

mod archives;
mod assertions;
mod credentials;
mod documents;
mod fixtures;
#[cfg(test)]
pub(crate) mod issued;
mod requests;
mod settings;

use std::error::Error;

/// Takes one input, and panics when something does not hold.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in `corpus/`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("archive-headers", archives::headers),
    ("assertion", assertions::single),
    ("assertion-stream", assertions::stream),
    ("bundle", archives::bundle),
    ("configuration", settings::configuration),
    ("headers", requests::headers),
    ("key-packet", assertions::key_packet),
    ("metadata", documents::metadata),
    ("refresh-request", requests::refresh),
    ("session-request", requests::session),
    ("signature-packet", assertions::signature_packet),
    ("snap-yaml", documents::snap_yaml),
    ("token", credentials::token),
    ("upstream-login", credentials::upstream_login),
];

/// Longest error message in bytes; nobody reads more, and a log should not have to hold it.
const LONGEST_MESSAGE: usize = 4096;

/// An error goes to logs and terminals with all its causes: none may forge a line or flood the log.
fn calm(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "a message with control characters: {text:?}");
        assert!(text.len() <= LONGEST_MESSAGE, "a message of {} bytes: {}", text.len(), &text[..80]);
        next = error.source();
    }
}

/// As [`calm`], for the outcome of something.
fn settle<T, E: Error + 'static>(outcome: Result<T, E>) -> Option<T> {
    outcome.inspect_err(|error| calm(error)).ok()
}
