//! Metrics as a monitoring system reads them: one scrape taken apart, and a real Prometheus that scrapes by itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Request, Response};
use crate::server::{Server, build_folder};

/// The longest anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of Debian's package, as `tests/run` unpacks it, or installed.
///
/// # Panics
/// When it is at neither place.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let unpacked = build_folder().join("../tools/prometheus/usr/bin").join(name);
    let installed = PathBuf::from("/usr/bin").join(name);
    [unpacked, installed].into_iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("{name} is missing: run `tests/run`, which unpacks it, or `apt-get install prometheus`")
    })
}

/// Where a server shows its metrics.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn metrics_address(server: &Server) -> SocketAddr {
    let url = server.status().metrics.expect("proxy.metrics.address is set");
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics"));
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{url} is no address"))
}

/// Metrics of one moment.
pub struct Scrape {
    /// As they were sent.
    pub text: String,
}

impl Scrape {
    /// Takes the metrics of a server.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        Self { text: Self::answer(metrics_address(server), "/metrics").text() }
    }

    /// What the port of the metrics answers.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn answer(address: SocketAddr, path: &str) -> Response {
        let request = Request::new("GET", path, &address.to_string()).header("Connection", "close");
        http::exchange(address, &request).unwrap_or_else(|error| panic!("no metrics: {error}"))
    }

    /// Names of metrics that have a number, with those of histograms in each of their parts.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split(['{', ' ']).next().map(str::to_owned)).collect()
    }

    /// The number of a metric with exactly these labels, spelled as they are sent; `None` where there is none.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// As [`Scrape::get`], of what must be there.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }
}

/// A running Prometheus that scrapes one server.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes this server four times a second, as job `airlock`, and knows the project's alerts.
    ///
    /// # Panics
    /// When it is not installed or does not come up.
    #[must_use]
    pub fn start(server: &Server) -> Self {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            // Another program may take the port meanwhile; then another is tried.
            let port = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
            if let Some(running) = Self::launch(server, port.expect("a free port")) {
                return running;
            }
        }
        panic!("prometheus does not come up");
    }

    fn launch(server: &Server, address: SocketAddr) -> Option<Self> {
        let folder = TempDir::with_prefix("prometheus-").expect("there is room");
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/monitoring/alerts.yaml");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\nrule_files: [{rules:?}]\n\
             scrape_configs:\n- job_name: airlock\n  static_configs: [{{targets: [\"{}\"]}}]\n",
            metrics_address(server)
        );
        fs::write(folder.path().join("config.yml"), config).expect("there is room");
        let log = File::create(folder.path().join("log")).expect("a file");
        let mut child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", folder.path().join("config.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("it can be started");
        loop {
            if child.try_wait().expect("an own process").is_some() {
                return None;
            }
            let ready = http::exchange(address, &Request::new("GET", "/-/ready", "prometheus"));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Some(Self { child, address, folder });
            }
            std::thread::yield_now();
        }
    }

    /// What its API answers under `/api/v1/`.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    #[must_use]
    pub fn api(&self, path: &str) -> Value {
        let request =
            Request::new("GET", &format!("/api/v1/{path}"), "prometheus").header("Connection", "close");
        http::exchange(self.address, &request).expect("prometheus answers").json()
    }

    /// The numbers that a query finds, each with its labels.
    #[must_use]
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.api(&format!("query?query={escaped}"));
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let number = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok());
        found.iter().filter_map(|one| Some((one["metric"].clone(), number(one)?))).collect()
    }

    /// Waits until a query finds what is wanted, and answers it.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn until(&self, query: &str, wanted: impl Fn(&[(Value, f64)]) -> bool) -> Vec<(Value, f64)> {
        let begun = Instant::now();
        loop {
            let found = self.query(query);
            if wanted(&found) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{query} finds {found:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- log of prometheus:\n{log}");
        }
    }
}
