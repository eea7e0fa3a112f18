//! Spans for the collector.

use tracing::Span;

/// Marks the spans that are sent.
pub(crate) const TARGET: &str = "airlock::trace";

/// A span for the collector, at a level below all log levels.
macro_rules! span {
    ($name:literal $(, $($field:tt)*)?) => {
        tracing::trace_span!(target: "airlock::trace", $name $(, $($field)*)?)
    };
}
pub(crate) use span;

/// Runs some work in a span.
pub(crate) async fn as_span<T>(span: Span, work: impl Future<Output = T>) -> T {
    // Without a listener there is no span to enter and leave.
    match span.is_disabled() {
        true => work.await,
        false => tracing::Instrument::instrument(work, span).await,
    }
}
