//! Spans for the collector.

use futures_util::future::Either;
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
pub(crate) fn as_span<T>(span: Span, work: impl Future<Output = T>) -> impl Future<Output = T> {
    // Without a listener there is no span to enter and leave. Not an async function, whose task would have room for the work
    // three times.
    match span.is_disabled() {
        true => Either::Left(work),
        false => Either::Right(tracing::Instrument::instrument(work, span)),
    }
}
