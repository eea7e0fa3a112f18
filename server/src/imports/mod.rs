//! Everything that operators bring in: snap bundles, assertions, brand store metadata, trust anchors.
//!
//! An import decides and nothing else. Each has a `plan` function without clock, database or files: from what
//! was brought and what is known ([`KnownState`]) it makes one [`Change`], to be committed whole, and the report
//! for the operator. When another change was faster, it is simply planned again.
//!
//! A snap bundle takes four steps:
//!
//! 1. [`receive`]: it streams through the decoder into staging files, hashed while they are written
//! 2. [`Received::verify`](receive::Received::verify): every file must be named by a verified revision; only then is it opened
//! 3. [`plan_snaps`]: refuses, or answers the change
//! 4. [`Staged::publish`](crate::storage::blobs::Staged::publish), then the commit, which makes it visible
//!
//! Dropped in between, the staging files are gone and nothing has changed.

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
pub(crate) use receive::{Bundle, Received, read_document, receive};
pub(crate) use replace::plan_replacement;
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
    /// The operator, for the record.
    pub(crate) who: String,
    /// The moment of the action.
    pub(crate) now: OffsetDateTime,
    /// At which moment a signing key has to be valid.
    pub(crate) keys: KeyTime,
}

impl Context {
    /// An empty change that records this action.
    fn change(&self, what: &str, subject: String, detail: serde_json::Value) -> Change {
        let event = AuditEvent::new(self.who.clone(), what, subject).detail(detail);
        let micros = self.now.unix_timestamp_nanos() / 1000;
        Change::new(event, i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Names an imported file in the records, as `sha256sum` prints it: what operators have at hand, and a fraction of the
/// cost of the SHA3-384 that every snap in it needs anyway.
fn file_digest(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment as answers to devices write it.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    // Fails for years beyond 9999 only, which no parsed time has.
    moment.format(&Rfc3339).unwrap_or_default()
}
