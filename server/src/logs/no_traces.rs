//! Replaces `traces.rs` in a build without the feature `otel`.

use std::path::Path;

use schema::config::Settings;
use tokio::runtime::Handle;
use tracing_subscriber::{Layer, Registry};

/// The connection to a collector, which does not exist in this build.
pub(super) enum Traces {}

impl Traces {
    pub(super) fn finish(self) {
        match self {}
    }
}

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot send traces to proxy.otel.endpoint: this proxyd was built without the feature `otel`; build it with \
     `--features otel`, or run `proxy config proxy.otel.endpoint=`"
)]
pub(super) struct TraceError;

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Refuses a configured collector.
pub(super) fn open(
    settings: &Settings,
    _: &Path,
    _: &Handle,
) -> Result<Option<(BoxedLayer, Traces)>, TraceError> {
    match settings.logs.collector {
        None => Ok(None),
        Some(_) => Err(TraceError),
    }
}
