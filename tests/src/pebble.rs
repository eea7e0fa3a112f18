//! A private ACME authority for a test: the `pebble` program of Debian's package, on loopback.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use schema::tls::{Authority, Stamp, Usage};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;

/// The longest it may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an authority is started, and what survives a restart: its address, and the certificate to trust.
pub struct Setup {
    folder: TempDir,
    config: Value,
    environment: Vec<(String, String)>,
}

/// A running authority.
pub struct Pebble {
    child: Child,
    setup: Option<Setup>,
}

impl Setup {
    /// An authority that looks for challenges on these ports, and accepts everything that RFC 8555 wants accepted.
    ///
    /// # Panics
    /// When there is no room for its files.
    #[must_use]
    pub fn new(http_port: u16, tls_port: u16) -> Self {
        let folder = TempDir::with_prefix("pebble-").expect("there is room for temporary files");
        let stamp = |serial| Stamp { now: OffsetDateTime::now_utc(), serial: [serial; 16] };
        let site = Authority::create("Site CA", stamp(1)).expect("an authority");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let issued = site.issue(Usage::Server(&names), 30, stamp(2)).expect("a certificate");
        let file = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("there is room for temporary files");
            folder.path().join(name)
        };
        file("ca.pem", site.cert_pem());
        let config = json!({
            "listenAddress": "",
            "managementListenAddress": "",
            "certificate": file("cert.pem", &issued.cert_pem),
            "privateKey": file("key.pem", &issued.key_pem),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "certificateValidityPeriod": 90 * 86_400,
        });
        let environment =
            [("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0"), ("PEBBLE_AUTHZREUSE", "0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { folder, config, environment: environment.into() }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a key of its configuration.
    #[must_use]
    pub fn config(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    /// Its directory, once it has been started.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.config["listenAddress"].as_str().unwrap_or_default())
    }

    /// The file of whom to trust there.
    #[must_use]
    pub fn ca_file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// Starts it, at its previous address if it had one.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    #[must_use]
    pub fn start(mut self) -> Pebble {
        let anew = self.config["listenAddress"] == "";
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if anew {
                // Another program may take them meanwhile; then others are tried.
                let free =
                    || TcpListener::bind("127.0.0.1:0").and_then(|port| Ok((port.local_addr()?, port)));
                let (one, two) = (free().expect("a free port"), free().expect("a free port"));
                self.config["listenAddress"] = one.0.to_string().into();
                self.config["managementListenAddress"] = two.0.to_string().into();
            }
            if let Some(child) = self.launch() {
                return Pebble { child, setup: Some(self) };
            }
        }
        panic!("pebble does not come up: {}", self.log());
    }

    fn launch(&self) -> Option<Child> {
        let config = self.folder.path().join("config.json");
        fs::write(&config, json!({ "pebble": self.config }).to_string()).expect("there is room");
        let log =
            File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a file");
        let mut child = Command::new("pebble")
            .args(["-strict", "-config"])
            .arg(&config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("pebble is missing: run `tests/run`, which installs it, or `apt-get install pebble`");
        let addresses = ["listenAddress", "managementListenAddress"].map(|name| self.config[name].as_str());
        loop {
            let answers = |address: Option<&str>| address.is_some_and(|at| TcpStream::connect(at).is_ok());
            let up = addresses.into_iter().all(answers);
            if child.try_wait().expect("an own process").is_some() {
                return None;
            }
            if up {
                return Some(child);
            }
            std::thread::yield_now();
        }
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Pebble {
    /// How it was started.
    ///
    /// # Panics
    /// Never: it only has none while it ends.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().expect("a running authority has its setup")
    }

    /// Stops it at once. It forgets everything: accounts, orders, and its signing key.
    #[must_use]
    pub fn stop(mut self) -> Setup {
        let setup = self.setup.take().expect("a running authority has its setup");
        drop(self);
        setup
    }

    /// What its management interface answers.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn management(&self, path: &str) -> String {
        let setup = self.setup();
        let at = setup.config["managementListenAddress"].as_str().unwrap_or_default();
        let output = Command::new("curl")
            .args(["-sS", "--fail", "--cacert", &setup.ca_file(), &format!("https://{at}/{path}")])
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (true, Some(setup)) = (std::thread::panicking(), &self.setup) {
            eprintln!("--- log of pebble:\n{}", setup.log());
        }
    }
}
