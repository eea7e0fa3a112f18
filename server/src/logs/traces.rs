//! Traces for an OpenTelemetry collector: OTLP over HTTP, while `proxy.otel.endpoint` is set.
//!
//! Only spans made by [`span!`](super::span) are sent: they carry routes, status codes, names of statements and durations, and
//! nothing that a device or an operator sent. Without a collector they cost one comparison. Spans that the collector
//! does not accept in time are dropped; nothing waits for it.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use schema::config::Settings;
use tokio::runtime::Handle;
use tracing::{info, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use super::spans::TARGET;
use crate::tls::{provider, trusted};

/// Timeout of the collector.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often spans are sent.
const EVERY: Duration = Duration::from_secs(2);

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceError {
    #[error(
        "cannot use the certificates of proxy.ca-certs: `proxy use-ca-certs FILE` replaces them, `proxy remove-ca-certs` clears them"
    )]
    Trust(#[source] schema::tls::ImportError),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot make a client")]
    Client(#[source] reqwest::Error),
    #[error("cannot send to proxy.otel.endpoint")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The connection to a collector.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends the pending traces.
    pub(super) fn finish(self) {
        if let Err(failure) = self.0.shutdown() {
            warn!(error = &failure as &dyn std::error::Error, "The last traces were not sent");
        }
    }
}

/// The exporter for the configured collector; `None` if there is none.
pub(super) fn open(
    settings: &Settings,
    data_dir: &Path,
    runtime: &Handle,
) -> Result<Option<(BoxedLayer, Traces)>, TraceError> {
    let Some(base) = settings.logs.collector.as_deref().map(|url| url.trim_end_matches('/')) else {
        return Ok(None);
    };
    let roots = match settings.ca_certs().map_err(TraceError::Trust)? {
        Some(named) => provider::roots_of(&named),
        None => trusted(data_dir),
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(provider::trusting(roots).map_err(TraceError::Tls)?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(TraceError::Client)?;
    let wire = Wire { client, runtime: runtime.clone(), failing: AtomicBool::new(false) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(wire)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_timeout(PATIENCE)
        .build()
        .map_err(TraceError::Exporter)?;
    let batches = BatchConfigBuilder::default().with_scheduled_delay(EVERY).build();
    let traces = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .with_resource(Resource::builder_empty().with_service_name("proxyd").build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("proxyd"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|about| about.is_span() && about.target() == TARGET));
    Ok(Some((layer.boxed(), Traces(traces))))
}

/// The connection to the collector. A separate thread makes the batches; the server's tasks send them.
#[derive(Debug)]
struct Wire {
    client: reqwest::Client,
    runtime: Handle,
    failing: AtomicBool,
}

impl Wire {
    async fn send(
        &self,
        request: axum::http::Request<Bytes>,
    ) -> Result<axum::http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let answer = client.execute(reqwest::Request::try_from(request)?).await?;
            let mut response = axum::http::Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            Ok::<_, reqwest::Error>(response)
        };
        let answered = self.runtime.spawn(exchange).await?;
        let well = answered.as_ref().is_ok_and(|answer| answer.status().is_success());
        // Logged once when a failure begins and once when it ends.
        match (self.failing.swap(!well, Ordering::Relaxed), &answered) {
            (false, Err(failure)) => {
                warn!(error = failure as &dyn std::error::Error, "Traces cannot be sent");
            }
            (false, Ok(answer)) if !well => warn!(status = %answer.status(), "The collector takes no traces"),
            (true, _) if well => info!("Traces are sent again"),
            _ => {}
        }
        Ok(answered?)
    }
}

impl HttpClient for Wire {
    fn send_bytes<'wire, 'sent>(
        &'wire self,
        request: axum::http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<axum::http::Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'wire: 'sent,
        Self: 'sent,
    {
        Box::pin(self.send(request))
    }
}
