//! Imports: counts by kind and result, and durations.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::Observed;
use super::count::{Histogram, Words};
use super::text::Text;
use schema::api::admin::calls::{
    AddTrust, Call as _, ImportParcel, PushArchive, PushAssertions, PushSnaps, PushStores,
};

/// Routes of the admin API for imports, with the label of their kind.
const KINDS: [(&str, &str); 6] = [
    (PushSnaps::PATH, "snaps"),
    (PushArchive::PATH, "archive"),
    (ImportParcel::PATH, "parcel"),
    (PushAssertions::PATH, "assertions"),
    (PushStores::PATH, "stores"),
    (AddTrust::PATH, "trust"),
];
/// Histogram bounds in microseconds: a medium with many GiB takes a while.
const BOUNDS: [u64; 9] = [
    10_000,
    100_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
    1_800_000_000,
    7_200_000_000,
];

/// Counters of imports.
pub(crate) struct Imports {
    done: Words,
    refused: Words,
    failed: Words,
    times: [Histogram; KINDS.len()],
}

impl Imports {
    pub(super) fn new() -> Self {
        let words = || Words::new(KINDS.map(|(_, kind)| kind));
        let times = std::array::from_fn(|_| Histogram::new(&BOUNDS));
        Self { done: words(), refused: words(), failed: words(), times }
    }

    /// Writes what was counted.
    pub(super) fn write(&self, text: &mut Text) {
        text.counter(
            "airlock_imports_total",
            "Imports since the start, dry runs included, by what became of them.",
        );
        for (outcome, words) in [("done", &self.done), ("refused", &self.refused), ("failed", &self.failed)] {
            for (kind, count) in words.all().filter(|(kind, _)| KINDS.iter().any(|(_, known)| known == kind))
            {
                text.sample(&[("kind", kind), ("outcome", outcome)], count);
            }
        }
        text.histogram(
            "airlock_import_duration_seconds",
            "Time that imports took, from the first byte to the answer.",
        );
        for ((_, kind), times) in KINDS.iter().zip(&self.times) {
            text.steps(&[("kind", kind)], times);
        }
    }
}

/// Stands around the admin API and counts what is an import.
pub(crate) async fn count_imports(
    State(observed): State<Arc<Observed>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let kind = KINDS.iter().position(|(route, _)| Some(*route) == path && request.method() == Method::POST);
    let begun = Instant::now();
    let response = next.run(request).await;
    if let Some(at) = kind {
        let Observed { imports, .. } = &*observed;
        let outcome = match response.status().as_u16() {
            500.. => &imports.failed,
            400.. => &imports.refused,
            _ => &imports.done,
        };
        outcome.count(KINDS[at].1);
        imports.times[at].record(begun.elapsed());
    }
    response
}
