//! The configuration as the programs work with it: one struct for each section. Only this file knows which key fills which
//! field; everybody else reads fields.
//!
//! Every value was checked when it was set ([`Kind::check`](super::Kind::check) names the key and what it takes), so reading
//! them all cannot fail. What needs more than one value, such as a certificate and its key, is checked where it is used.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::value::{bare, mac_key, seconds};
use super::{DeviceService, Network};
use crate::store::DeltaFormat;

/// All sections, read whole whenever a value changes.
pub struct Sections {
    /// Where the server listens.
    pub listen: Listen,
    /// Where devices reach the store.
    pub site: Site,
    /// What the store is registered as.
    pub identity: Identity,
    /// Its certificate, and those of its clients.
    pub tls: Tls,
    /// What stands in front of it.
    pub front: Front,
    /// How devices prove themselves, and get serials.
    pub device_auth: DeviceAuth,
    /// Where the rows are.
    pub database: Database,
    /// Where the files are.
    pub storage: Storage,
    /// What the server tells about its work.
    pub logs: Logs,
    /// Where certificates come from.
    pub acme: Acme,
    /// The check in the background.
    pub verify: Verify,
    /// Deltas for devices.
    pub deltas: Deltas,
    /// Imports that wait for approvals.
    pub imports: Imports,
    /// Old revisions.
    pub retention: Retention,
    /// Where the fetch commands fetch from.
    pub upstream: Upstream,
}

/// Where the server listens.
pub struct Listen {
    /// The address of the ports for devices.
    pub address: IpAddr,
    /// The port of plain HTTP; 0 lets the system choose.
    pub http: u16,
    /// The port of HTTPS; 0 lets the system choose.
    pub https: u16,
    /// The admin API over HTTPS; closed without.
    pub admin: Option<SocketAddr>,
    /// Whether a browser gets pages there.
    pub pages: bool,
    /// The folder of the host whose files may be imported there; none without.
    pub import_folder: Option<PathBuf>,
    /// The socket for reading; none without.
    pub read_socket: Option<PathBuf>,
    /// The group of that socket; the server's own without.
    pub read_group: Option<String>,
    /// The page of metrics; closed without.
    pub metrics: Option<SocketAddr>,
}

/// Where devices reach the store.
pub struct Site {
    /// Are devices served?
    pub airgap: bool,
    /// The name of the store.
    pub domain: String,
    /// `scheme://host[:port]` of a front, where devices reach the store through one.
    pub public_url: Option<String>,
    /// Do devices reach the store over HTTPS: as the public URL says, with a certificate of its own, or one in front of it?
    pub is_https: bool,
}

impl Site {
    /// `scheme://host[:port]` as devices reach the store: the public URL, else for a server bound to `port`.
    #[must_use]
    pub fn base_url(&self, tls: bool, port: u16) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
        let host = match bare(&self.domain).parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.domain.clone(),
        };
        if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
    }
}

impl Sections {
    /// The base URL as the configuration alone tells it, with the port that is set.
    #[must_use]
    pub fn base_url(&self) -> String {
        let tls = self.site.is_https;
        self.site.base_url(tls, if tls { self.listen.https } else { self.listen.http })
    }
}

/// What the store is registered as.
pub struct Identity {
    /// The id in its store assertion.
    pub store_id: Option<String>,
    /// The URL in its store assertion.
    pub store_url: Option<String>,
    /// The private identity key, PEM.
    pub private_key: Option<Zeroizing<String>>,
}

/// The certificate of the store, and those of its clients. The pair itself is [`Settings::tls_pair`](super::Settings::tls_pair).
pub struct Tls {
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// File or folder of the authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// The files that the pair is taken from, if another program renews it.
    pub files: Option<PairFiles>,
    /// Is a certificate set, whatever it is worth?
    pub(super) has_cert: bool,
}

/// The files of a certificate chain and its key, which another program renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Whether clients prove themselves with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// One that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// What stands in front of the store.
pub struct Front {
    /// Is `X-Forwarded-Proto` believed?
    pub is_trusted: bool,
    /// Whose headers are believed.
    pub proxies: Vec<Network>,
}

/// How devices prove themselves. The secrets are [`Settings::secret`](super::Settings::secret) and
/// [`Settings::old_secrets`](super::Settings::old_secrets).
pub struct DeviceAuth {
    /// How long a session lasts, in seconds.
    pub session_lifetime: u64,
    /// Are documents refused whose signing key has expired since?
    pub strict_key_expiry: bool,
    /// The device services that registration is relayed to.
    pub services: Vec<DeviceService>,
}

/// Where the rows are.
#[derive(PartialEq, Eq)]
pub struct Database {
    /// The PostgreSQL URL, password and all; the embedded database without.
    pub url: Option<Zeroizing<String>>,
}

/// Where the files are.
#[derive(PartialEq, Eq)]
pub struct Storage {
    /// In which kind of place.
    pub backend: Backend,
    /// The folder of the local backend; the data directory without.
    pub path: Option<PathBuf>,
    /// The bucket of the S3 backend.
    pub bucket: Bucket,
}

/// A kind of place for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A folder.
    Local,
    /// A bucket.
    S3,
}

/// A bucket of an object store.
#[derive(PartialEq, Eq)]
pub struct Bucket {
    /// The access key; empty while it is not set.
    pub access_key_id: String,
    /// Its secret; empty while it is not set.
    pub secret_access_key: Zeroizing<String>,
    /// The region.
    pub region: String,
    /// The bucket's name.
    pub name: String,
    /// The address of the object store; Amazon's without.
    pub server_url: Option<String>,
    /// Is the bucket named in the path?
    pub path_style: bool,
}

/// What the server tells about its work.
pub struct Logs {
    /// How lines look; by the terminal without.
    pub format: Option<LogFormat>,
    /// Does each request have a line?
    pub access: bool,
    /// How much is logged: `error` to `trace`.
    pub level: String,
    /// The collector of traces.
    pub collector: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where certificates come from. The certificates to trust it with are [`Settings::acme_ca`](super::Settings::acme_ca).
pub struct Acme {
    /// The directory; ACME is off without.
    pub directory: Option<String>,
    /// How the store shows that it has its name.
    pub challenge: AcmeChallenge,
    /// Mail addresses for the authority.
    pub contact: Vec<String>,
    /// Names and addresses that certificates cover beside the store's own.
    pub names: Vec<String>,
    /// The key id of the external account binding.
    pub eab_kid: Option<String>,
    /// The key of the external account binding.
    pub eab_key: Option<Zeroizing<Vec<u8>>>,
}

/// How a store shows an ACME authority that it has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By an answer on port 80.
    Http01,
    /// By a certificate on port 443.
    TlsAlpn01,
}

impl AcmeChallenge {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// The check of all files in the background.
pub struct Verify {
    /// How often it begins, in seconds.
    pub interval: u64,
    /// MB that it reads in a second at most; 0 turns it off.
    pub rate: u64,
}

/// Which old revisions stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many of each snap, architecture and epoch; 0 for all.
    pub keep: usize,
    /// Are the others removed, and not only told?
    pub apply: bool,
}

/// Deltas for devices.
pub struct Deltas {
    /// MB that they may take; 0 turns them off.
    pub budget: u64,
    /// Formats that are made.
    pub formats: Vec<DeltaFormat>,
    /// Largest delta that is kept, in percent of the whole file.
    pub keep_ratio: u64,
}

impl Deltas {
    /// Bytes that they may take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.budget.saturating_mul(1_000_000)
    }
}

/// Imports that wait for approvals.
pub struct Imports {
    /// Which of them do.
    pub quarantine: Quarantine,
    /// How many other people have to approve one.
    pub approvals: u32,
}

/// Which imports wait for approvals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quarantine {
    /// None.
    Off,
    /// Parcels alone.
    Parcels,
    /// Everything that operators push.
    All,
}

/// Where the fetch commands fetch from.
pub struct Upstream {
    /// The store API.
    pub api: String,
    /// The publisher API.
    pub dashboard: String,
    /// The account service.
    pub sso: String,
    /// The outgoing proxy.
    pub https_proxy: Option<String>,
    /// The only certificates to trust in outgoing TLS, PEM; the system's without.
    pub ca_certs: Option<String>,
}

/// The values in force, by key.
pub(super) struct Values<F>(pub(super) F);

impl<'a, F: Fn(&'static str) -> &'a str> Values<F> {
    fn text(&self, key: &'static str) -> String {
        (self.0)(key).to_owned()
    }

    fn set(&self, key: &'static str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    fn secret(&self, key: &'static str) -> Option<Zeroizing<String>> {
        self.set(key).map(Zeroizing::new)
    }

    fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.set(key).map(PathBuf::from)
    }

    fn is_on(&self, key: &'static str) -> bool {
        (self.0)(key) == "True"
    }

    /// A value that its kind has checked; unset where that may be.
    fn parsed<T: FromStr>(&self, key: &'static str) -> Option<T> {
        (self.0)(key).parse().ok()
    }

    fn list<T: FromStr>(&self, key: &'static str) -> Vec<T> {
        let texts: Vec<String> = serde_json::from_str((self.0)(key)).unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Reads all sections.
    pub(super) fn sections(&self) -> Sections {
        let public_url = self.set("proxy.public-url");
        let front = Front {
            is_trusted: self.is_on("proxy.trust-forwarded-proto"),
            proxies: self.list("proxy.trusted-proxies"),
        };
        let (has_cert, has_key) = (self.set("proxy.tls.cert").is_some(), self.set("proxy.tls.key").is_some());
        let is_bound = self.set("proxy.acme.eab-kid").is_some() == self.set("proxy.acme.eab-key").is_some();
        let tls = Tls {
            client_auth: match (self.0)("proxy.tls.client-auth") {
                "required" => ClientAuth::Required,
                "optional" => ClientAuth::Optional,
                _ => ClientAuth::Off,
            },
            client_ca: self.path("proxy.tls.client-ca"),
            files: (self.path("proxy.tls.cert-file").zip(self.path("proxy.tls.key-file")))
                .map(|(cert, key)| PairFiles { cert, key }),
            has_cert,
        };
        Sections {
            listen: Listen {
                address: bare((self.0)("proxy.ipaddress")).parse().unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
                http: self.parsed("proxy.port.http").unwrap_or_default(),
                https: self.parsed("proxy.port.https").unwrap_or_default(),
                // It waits together with the certificate.
                admin: self.parsed("proxy.admin.address").filter(|_| has_cert == has_key),
                pages: self.is_on("proxy.admin.pages"),
                import_folder: self.path("proxy.admin.import-folder"),
                read_socket: self.path("proxy.admin.read-socket"),
                read_group: self.set("proxy.admin.read-group"),
                metrics: self.parsed("proxy.metrics.address"),
            },
            site: Site {
                airgap: self.is_on("proxy.airgap"),
                domain: self.text("proxy.domain"),
                is_https: match &public_url {
                    Some(url) => url.starts_with("https:"),
                    None => tls.has_cert || front.is_trusted,
                },
                public_url,
            },
            identity: Identity {
                store_id: self.set("internal.store.id"),
                store_url: self.set("internal.store.url"),
                private_key: self.secret("proxy.key.private"),
            },
            tls,
            front,
            device_auth: DeviceAuth {
                session_lifetime: seconds((self.0)("proxy.device-auth.session-lifetime")).unwrap_or_default(),
                strict_key_expiry: self.is_on("proxy.device-auth.strict-key-expiry"),
                services: self.list("proxy.device-auth.allowed-device-service-urls"),
            },
            database: Database { url: self.secret("proxy.db.connection") },
            storage: Storage {
                backend: match (self.0)("proxy.storage.backend") {
                    "s3" => Backend::S3,
                    _ => Backend::Local,
                },
                path: self.path("proxy.storage.path"),
                bucket: Bucket {
                    access_key_id: self.text("proxy.storage.s3.access-key-id"),
                    secret_access_key: Zeroizing::new(self.text("proxy.storage.s3.secret-access-key")),
                    region: self.text("proxy.storage.s3.region"),
                    name: self.text("proxy.storage.s3.scanned-container-name"),
                    server_url: self.set("proxy.storage.s3.server-url"),
                    path_style: self.is_on("proxy.storage.s3.use-path-style"),
                },
            },
            logs: Logs {
                access: self.is_on("proxy.log.access"),
                format: match (self.0)("proxy.log.format") {
                    "text" => Some(LogFormat::Text),
                    "json" => Some(LogFormat::Json),
                    _ => None,
                },
                level: self.text("proxy.log.level"),
                collector: self.set("proxy.otel.endpoint"),
            },
            acme: Acme {
                // An account that was made without its binding would stay without.
                directory: self.set("proxy.acme.directory").filter(|_| is_bound),
                challenge: match (self.0)("proxy.acme.challenge") {
                    "tls-alpn-01" => AcmeChallenge::TlsAlpn01,
                    _ => AcmeChallenge::Http01,
                },
                contact: self.list("proxy.acme.contact"),
                names: self.list("proxy.acme.names"),
                eab_kid: self.set("proxy.acme.eab-kid"),
                eab_key: mac_key((self.0)("proxy.acme.eab-key")),
            },
            verify: Verify {
                interval: seconds((self.0)("proxy.verify.interval")).unwrap_or_default(),
                rate: self.parsed("proxy.verify.rate").unwrap_or_default(),
            },
            deltas: Deltas {
                budget: self.parsed("proxy.deltas.budget").unwrap_or_default(),
                formats: self.list("proxy.deltas.formats"),
                keep_ratio: self.parsed::<u64>("proxy.deltas.keep-ratio").unwrap_or_default().min(100),
            },
            imports: Imports {
                quarantine: match (self.0)("proxy.imports.quarantine") {
                    "all" => Quarantine::All,
                    "parcels" => Quarantine::Parcels,
                    _ => Quarantine::Off,
                },
                approvals: self.parsed::<u32>("proxy.imports.approvals").unwrap_or_default().clamp(1, 2),
            },
            retention: Retention {
                keep: self.parsed("proxy.retention.keep").unwrap_or_default(),
                apply: self.is_on("proxy.retention.apply"),
            },
            upstream: Upstream {
                api: self.text("proxy.upstream"),
                dashboard: self.text("proxy.dashboard.location"),
                sso: self.text("proxy.sso.location"),
                https_proxy: self.set("proxy.https.proxy"),
                ca_certs: self.set("proxy.ca-certs"),
            },
        }
    }
}
