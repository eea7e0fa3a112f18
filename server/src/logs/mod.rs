//! Log lines on standard error, and traces for a collector.
//!
//! The format is text on a terminal and JSON elsewhere, unless `proxy.log.format` says otherwise. `proxy.log.level`
//! sets the level and can change at any time; `AIRLOCK_LOG` or `RUST_LOG` in the environment override it. A level
//! applies to this program only: dependencies show statements, headers and keys below `info`, and warn of what any
//! client may send as often as it likes. Besides errors they say so only if they are named
//! (`AIRLOCK_LOG=debug,tokio_postgres=debug`). Control characters are escaped in both formats, so one event
//! is one line whatever a device sent.

mod line;
mod spans;
#[cfg_attr(not(feature = "otel"), path = "no_traces.rs")]
mod traces;

pub(crate) use crate::listen::ACCESS;
use line::Lines;
pub(crate) use spans::{as_span, span};
use traces::Traces;

use std::path::Path;
use std::sync::OnceLock;

use schema::config::{LogFormat, Settings};
use tokio::runtime::Handle;
use tracing::warn;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Variables with the log filter, in order of precedence.
const VARIABLES: [&str; 2] = ["AIRLOCK_LOG", "RUST_LOG"];

/// Changes the level; empty if the level comes from the environment, and in tests.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What must be finished when the program ends.
pub(crate) struct Logs {
    traces: Option<Traces>,
}

impl Logs {
    /// Sends the pending traces.
    pub(crate) fn finish(self) {
        if let Some(traces) = self.traces {
            traces.finish();
        }
    }
}

/// Starts logging as a data directory's settings say; tasks of `runtime` send traces.
pub(crate) fn start(data_dir: &Path, runtime: &Handle) -> Logs {
    // The server reports unreadable settings once it can log.
    let settings = Settings::load(data_dir).unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "logging starts before anything else")]
    let from_environment = VARIABLES.iter().find_map(|name| filter(&std::env::var(name).ok()?).ok());
    let level_is_ours = from_environment.is_none();
    let (filter, handle) = reload::Layer::new(from_environment.unwrap_or_else(|| level(&settings)));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let text = settings.logs.format.map_or(terminal, |format| format == LogFormat::Text);
    let lines = fmt::layer();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match text {
        true => {
            let lines = lines.with_writer(Lines { colours: terminal }).with_ansi(terminal);
            lines.with_target(false).with_filter(filter).boxed()
        }
        false => {
            let lines = lines
                .with_writer(Lines { colours: false })
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            lines.with_filter(filter).boxed()
        }
    };
    let mut layers = vec![lines];
    let traces = traces::open(&settings, data_dir, runtime);
    let traces = traces.map(|traces| {
        traces.map(|(layer, provider)| {
            layers.push(layer);
            provider
        })
    });
    tracing_subscriber::registry().with(layers).init();
    if level_is_ours {
        // Nothing else has set it.
        let _ = LEVEL.set(handle);
    }
    let traces = traces.unwrap_or_else(|failure| {
        warn!(error = &failure as &dyn std::error::Error, "No traces are sent");
        None
    });
    Logs { traces }
}

/// Applies the level from the settings.
pub(crate) fn set_level(settings: &Settings) {
    if let Some(handle) = LEVEL.get() {
        // Fails only if the logger is gone.
        let _ = handle.reload(level(settings));
    }
}

fn level(settings: &Settings) -> EnvFilter {
    let access = if settings.logs.access { format!(",{ACCESS}=info") } else { String::new() };
    filter(&format!("{}{access}", settings.logs.level)).unwrap_or_default()
}

/// Parses directives like [`EnvFilter`], but a level without a target applies to this program only.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let own = module_path!().split("::").next().unwrap_or_default();
    let narrowed = text.split(',').map(|directive| match directive.trim().parse::<LevelFilter>() {
        Ok(level) => {
            // A line for each request is asked for by name, or with everything else.
            let access = if level < LevelFilter::DEBUG { LevelFilter::OFF } else { level };
            format!("{},{own}={level},{ACCESS}={access}", level.min(LevelFilter::ERROR))
        }
        Err(_) => directive.trim().to_owned(),
    });
    EnvFilter::try_new(narrowed.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_this_programs_own() {
        for (text, shown) in [
            ("info", "proxyd::access=off,proxyd=info,error"),
            ("info,proxyd::access=info", "proxyd::access=info,proxyd=info,error"),
            ("warn", "proxyd::access=off,proxyd=warn,error"),
            ("trace", "proxyd::access=trace,proxyd=trace,error"),
            ("debug", "proxyd::access=debug,proxyd=debug,error"),
            ("off", "proxyd::access=off,proxyd=off,off"),
            ("debug,tokio_postgres=debug", "tokio_postgres=debug,proxyd::access=debug,proxyd=debug,error"),
            (" debug , h2=trace", "proxyd::access=debug,proxyd=debug,h2=trace,error"),
            ("proxyd::http=debug", "proxyd::http=debug"),
        ] {
            let filter = filter(text).expect("directives").to_string();
            let mut found: Vec<&str> = filter.split(',').collect();
            let mut wanted: Vec<&str> = shown.split(',').collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{text}");
        }
    }
}
