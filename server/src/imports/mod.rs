//! Everything that operators import: snap bundles, assertions, brand store metadata, trust anchors.
//!
//! An import decides and does nothing else. Each has a `plan` function without clock, database or files: from the
//! input and the known state ([`KnownState`]) it makes one [`Change`], to be committed as a whole, and the operator's
//! report. If another change comes first, the import is planned again.
//!
//! A snap bundle takes four steps:
//!
//! 1. [`receive`]: streams it through the decoder into staging files, hashing them as they are written
//! 2. [`Received::verify`](receive::Received::verify): every file must belong to a verified revision; only then is
//!    it opened
//! 3. [`plan_snaps`]: refuses, or returns the change
//! 4. [`Staged::publish`](crate::storage::blobs::Staged::publish), then the commit, which makes it visible
//!
//! If it is dropped in between, the staging files are gone and nothing has changed.

mod after;
mod archive;
mod catalog;
mod channels;
mod documents;
mod error;
mod known;
mod place;
mod receive;
mod replace;
mod shown;
mod snaps;
mod stores;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod trust;
mod visibility;

pub(crate) use archive::plan_archive;
pub(crate) use error::ImportError;
pub(crate) use known::{HeldRevision, KnownState, KnownStores};
pub(crate) use receive::{Bundle, Received, read_document, receive, receive_from};
pub(crate) use replace::plan_replacement;
pub(crate) use shown::{parts, shown};
pub(crate) use snaps::{SnapOptions, plan_snaps};
pub(crate) use stores::plan_stores;
pub(crate) use streams::{Stream, plan_assertions};
pub(crate) use trust::{plan_trust, plan_trust_removal};
pub(crate) use visibility::Views;

use aws_lc_rs::digest::Digest;
use schema::assertion::KeyTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::storage::records::{AuditEvent, Change};

/// Who acts, when, and how strictly signing keys are judged.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The operator, for the audit log.
    pub(crate) who: String,
    /// The time of the action.
    pub(crate) now: OffsetDateTime,
    /// When a signing key has to be valid.
    pub(crate) keys: KeyTime,
    /// The name of the imported file, where the operator's command gave one.
    pub(crate) file_name: Option<String>,
}

impl Context {
    /// An empty change that records this action.
    fn change(&self, what: &str, subject: String, mut detail: serde_json::Value) -> Change {
        if let Some(name) = &self.file_name {
            detail["file-name"] = name.as_str().into();
        }
        let event = AuditEvent::new(self.who.clone(), what, subject).detail(detail);
        let micros = self.now.unix_timestamp_nanos() / 1000;
        Change::new(event, i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// The recorded digest of an imported file, as `sha256sum` prints it: operators have that at hand, and it costs a
/// fraction of the SHA3-384 that every snap needs anyway.
fn file_digest(digest: &Digest) -> String {
    schema::digest::hex(digest.as_ref())
}

/// A time in the format of answers to devices.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    // Fails only for years after 9999, which no parsed time has.
    moment.format(&Rfc3339).unwrap_or_default()
}
