//! HTTPS: which certificate is served, which client certificates are accepted, and on which ports.
//!
//! ```text
//! settings ──► prepare ──► Next ──► install ──► Condition ◄── every handshake, every request
//!               (checks)            (one swap)
//! ```
//!
//! Everything that can fail happens in `prepare`: a pair that does not match or a port that is taken changes nothing.
//! A running transfer keeps its connection; everything after it uses the new settings.

pub(crate) mod challenge;
pub(crate) mod check;
mod clients;
mod door;
pub(crate) mod files;
mod guard;
mod handed;
mod leaf;
mod lists;
mod ports;
pub(crate) mod provider;
mod roots;
#[cfg(test)]
mod tests;
mod visitors;

pub(crate) use door::{ClientName, Door, Port};
pub(crate) use guard::{guard, guard_admin};
pub(crate) use handed::Handed;
pub(crate) use leaf::Leaf;
pub(crate) use ports::Opening;
pub(crate) use roots::trusted;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use schema::config::{AcmeChallenge, ClientAuth, Network, Settings};
use schema::tls::{Pair, PairError};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;

use self::challenge::Challenges;
use self::clients::{ClientCaError, ClientCas, Reading};
use self::ports::{Plan, PortError, Ports};
use self::provider::Resumption;
use self::visitors::Visitors;

/// Why TLS settings cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// Certificate or key.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Client certificates.
    #[error(transparent)]
    Clients(#[from] ClientCaError),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The admin API needs HTTPS.
    #[error(
        "cannot open the admin API at proxy.admin.address: it is open with TLS only, and there is no certificate; \
         run `proxy import-certificate` first"
    )]
    AdminWithoutTls,
    /// An error of the TLS library.
    #[error("cannot set up TLS")]
    Library(#[from] rustls::Error),
}

/// The current TLS condition.
pub(crate) struct Condition {
    /// What is served over TLS; `None` while it is off.
    pub(crate) served: Option<Arc<Served>>,
    /// `scheme://host[:port]`, the base of every link.
    pub(crate) base_url: String,
    /// Whether devices connect through a front with its own certificate.
    fronted: bool,
    /// Whether plain requests are redirected to the base URL.
    redirects: bool,
    /// Whether both protocols share a port.
    one_port: bool,
    /// Whether an ACME authority renews the certificate.
    renews: bool,
    /// Proxies that are trusted to say that a request came over HTTPS.
    trusted_proxies: Vec<Network>,
}

/// One TLS state. Every connection remembers the one it was made under.
#[derive(Debug)]
pub(crate) struct Served {
    config: Arc<ServerConfig>,
    clients: Option<ClientCas>,
    /// Whether clients present certificates.
    pub(crate) auth: ClientAuth,
    /// The certificate's contents, for reports.
    pub(crate) leaf: Leaf,
    /// The certificate chain as sent.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Certificates for clients that ask for another name of the store.
    pub(crate) further: Vec<Further>,
}

/// A certificate for further names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Further {
    pub(crate) leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
}

/// A checked condition that can be applied.
pub(crate) struct Next {
    condition: Condition,
    reading: Reading,
    plan: Plan,
}

/// The TLS state of the server.
pub(crate) struct Tls {
    condition: ArcSwap<Condition>,
    ports: Ports,
    resumption: Resumption,
    challenges: Challenges,
    /// The last successful read of the client CAs.
    reading: Mutex<Reading>,
    /// Why a later read failed.
    stale: Mutex<Option<Arc<TlsError>>>,
    /// Why the certificate files are not taken.
    files: files::Trouble,
    /// When the expiry of which certificate was last reported.
    warned: Mutex<Option<(Instant, Arc<Served>)>>,
}

/// The pause between warnings.
const DAY: Duration = Duration::from_secs(86400);

impl Tls {
    /// Opens the configured ports; `openings` receives each port to serve, now and whenever one is opened until
    /// `stop`.
    ///
    /// # Errors
    /// Why the settings cannot be applied; no port is open then.
    pub(crate) fn open(
        settings: &Settings,
        handed: Handed,
        openings: UnboundedSender<Opening>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, TlsError> {
        let ports = Ports::open(settings, handed, openings, stop)?;
        let nothing = Condition {
            served: None,
            base_url: String::new(),
            fronted: false,
            redirects: false,
            one_port: false,
            renews: false,
            trusted_proxies: Vec::new(),
        };
        let tls = Self {
            condition: ArcSwap::from_pointee(nothing),
            ports,
            resumption: Resumption::new()?,
            challenges: Challenges::default(),
            reading: Mutex::default(),
            stale: Mutex::default(),
            files: files::Trouble::default(),
            warned: Mutex::default(),
        };
        tls.install(tls.prepare_at(settings, true)?);
        Ok(Arc::new(tls))
    }

    /// Checks settings and opens what they need.
    pub(crate) fn prepare(&self, settings: &Settings) -> Result<Next, TlsError> {
        self.prepare_at(settings, false)
    }

    fn prepare_at(&self, settings: &Settings, is_start: bool) -> Result<Next, TlsError> {
        let mut reading = Reading::default();
        let served = match settings.tls_pair()? {
            None => None,
            Some(pair) => Some(Arc::new(self.serve(settings, &pair, is_start, &mut reading)?)),
        };
        // The very first certificate may come from a challenge over TLS.
        let renews = settings.acme.directory.is_some();
        let challenged = renews && settings.acme.challenge == AcmeChallenge::TlsAlpn01;
        if served.is_none() && settings.listen.admin.is_some() {
            return Err(TlsError::AdminWithoutTls);
        }
        let plan = self.ports.plan(settings, served.is_some() || challenged)?;
        let https_port = plan.https_port(&self.ports).filter(|_| served.is_some());
        let trusted_proxies = match settings.front.is_trusted {
            true => settings.front.proxies.clone(),
            false => Vec::new(),
        };
        // A certificate that waits for its key serves nobody.
        let waits = settings.half_of(["proxy.tls.cert", "proxy.tls.key"]).is_some()
            && settings.site.public_url.is_none()
            && !settings.front.is_trusted;
        let base_url = match (https_port, settings.site.is_https && !waits) {
            (Some(port), _) => settings.site.base_url(true, port),
            (None, true) => settings.site.base_url(true, settings.listen.https),
            (None, false) => settings.site.base_url(false, self.ports.http.port()),
        };
        let condition = Condition {
            fronted: settings.site.public_url.is_some(),
            // Without a trusted proxy only plain requests could arrive; and no request is redirected to where it came
            // from.
            redirects: (served.is_some() || !trusted_proxies.is_empty()) && base_url.starts_with("https:"),
            base_url,
            one_port: plan.shared,
            renews,
            trusted_proxies,
            served,
        };
        Ok(Next { condition, reading, plan })
    }

    fn serve(
        &self,
        settings: &Settings,
        pair: &Pair,
        is_start: bool,
        reading: &mut Reading,
    ) -> Result<Served, TlsError> {
        let auth = settings.tls.client_auth;
        let before = self.state();
        let before = before.served.as_ref().and_then(|served| served.clients.as_ref());
        let mut clients = None;
        if auth != ClientAuth::Off {
            let (cas, read) = ClientCas::read(settings, before, is_start)?;
            (clients, *reading) = (Some(cas), read);
        }
        let visitors =
            clients.as_ref().map(|cas| Visitors::of(cas, auth == ClientAuth::Required)).transpose()?;
        let chain = pair.chain().to_vec();
        let pairs = settings.further_pairs()?;
        let config = provider::server(pair, &pairs, visitors, &self.resumption)?;
        let further = |pair: &Pair| Further { leaf: Leaf::of(pair), chain: pair.chain().to_vec() };
        let further = pairs.iter().map(further).collect();
        Ok(Served { config: Arc::new(config), clients, auth, leaf: Leaf::of(pair), chain, further })
    }

    /// Applies a condition to every handshake and request from now on.
    pub(crate) fn install(&self, next: Next) {
        let Next { mut condition, reading, plan } = next;
        let before = self.state();
        if let (Some(old), Some(new)) = (&before.served, &condition.served)
            && old.is_same(new)
        {
            // An unchanged certificate keeps its state, so no client has to reconnect.
            condition.served = Some(Arc::clone(old));
        } else if let Some(Served { leaf, .. }) = condition.served.as_deref() {
            let (subject, not_after) = (&leaf.subject, leaf.not_after);
            info!(subject, %not_after, "Serving the certificate of {subject}, valid until {not_after}");
        }
        let clients = condition.served.as_ref().and_then(|served| served.clients.as_ref());
        let ended = clients.into_iter().flat_map(|clients| clients.ended(clock::now()));
        for problem in reading.problems.iter().cloned().chain(ended) {
            warn!("{problem}");
        }
        *lock(&self.reading) = reading;
        *lock(&self.stale) = None;
        self.condition.store(Arc::new(condition));
        self.ports.apply(plan);
    }

    /// Periodic work: checks the client CA files, and reports a certificate's coming expiry once a day.
    pub(crate) fn keep_up(&self, settings: &Settings) {
        self.reread(settings);
        if let Some(text) = self.announcement(Instant::now()) {
            warn!("{text}");
        }
    }

    /// The warning about the certificate's expiry, unless it was given less than a day ago.
    fn announcement(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let served = state.served.as_ref()?;
        let mut thought = lock(&self.warned);
        let recent =
            |(at, of): &(Instant, Arc<Served>)| now.duration_since(*at) < DAY && Arc::ptr_eq(of, served);
        if thought.as_ref().is_some_and(recent) {
            return None;
        }
        *thought = Some((now, Arc::clone(served)));
        let now = clock::now();
        let first = check::expiry(&served.leaf, now, state.renews);
        let further = served.further.iter().filter_map(|one| check::further_expiry(&one.leaf, now));
        let texts: Vec<String> = first.into_iter().chain(further).map(|(_, text)| text).collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }

    /// Rereads the client CA files if they have changed.
    fn reread(&self, settings: &Settings) {
        let asks = self.state().served.as_ref().is_some_and(|served| served.clients.is_some());
        if !asks || clients::fingerprint(settings) == lock(&self.reading).seen {
            return;
        }
        match self.prepare(settings) {
            Ok(next) => self.install(next),
            Err(error) => {
                let mut stale = lock(&self.stale);
                if stale.as_ref().is_none_or(|said| said.to_string() != error.to_string()) {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Cannot read the client CAs again: what was read before stays in use"
                    );
                }
                *stale = Some(Arc::new(error));
            }
        }
    }

    /// Why the previously read client CAs are still in use, if they cannot be read again.
    pub(crate) fn stale(&self) -> Option<Arc<TlsError>> {
        lock(&self.stale).clone()
    }

    /// Notes whether the certificate was taken from its files.
    pub(crate) fn note_files(&self, error: Option<&(dyn std::error::Error + 'static)>) {
        self.files.note(error);
    }

    /// Why the certificate is not taken from its files.
    pub(crate) fn files_trouble(&self) -> Option<String> {
        self.files.text()
    }

    /// The current condition.
    pub(crate) fn state(&self) -> Arc<Condition> {
        self.condition.load_full()
    }

    /// The open challenges of an ACME authority.
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// The URLs that devices can connect to, with bound addresses.
    pub(crate) fn listening(&self) -> Vec<String> {
        let mut all = vec![format!("http://{}", self.ports.http)];
        if self.state().one_port {
            all.push(format!("https://{}", self.ports.http));
        }
        all.extend(self.ports.https_bound().map(|bound| format!("https://{bound}")));
        all
    }

    /// The address of the admin API, while it is open.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.ports.admin_bound()
    }

    /// The URL of the metrics, with the bound address.
    pub(crate) fn metrics(&self) -> Option<String> {
        self.ports.metrics_bound().map(|bound| format!("http://{bound}/metrics"))
    }

    /// The address of plain HTTP.
    #[cfg(test)]
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.ports.http
    }

    /// The entry of an opened port.
    pub(crate) fn door(self: &Arc<Self>, opening: &Opening) -> Door {
        Door { tls: Arc::clone(self), port: opening.port }
    }

    /// Problems with the files that settings name, in full sentences.
    pub(crate) fn file_problems(&self, settings: &Settings) -> Vec<String> {
        let exposed = settings.tls.files.as_ref().and_then(files::exposed);
        self.client_problems().into_iter().chain(exposed).collect()
    }

    /// Problems with the files of proxy.tls.client-ca, in full sentences.
    fn client_problems(&self) -> Vec<String> {
        let state = self.state();
        let clients = state.served.as_ref().and_then(|served| served.clients.as_ref());
        let ended = clients.into_iter().flat_map(|clients| clients.ended(clock::now()));
        lock(&self.reading).problems.iter().cloned().chain(ended).collect()
    }

    /// Problems for the operator, in full sentences.
    pub(crate) fn problems(&self, settings: &Settings) -> Vec<String> {
        let state = self.state();
        let mut problems = self.client_problems();
        problems.extend(settings.waiting().map(|text| text + "."));
        if settings.front.is_trusted && state.trusted_proxies.is_empty() {
            problems.push(
                "proxy.trust-forwarded-proto is on but no proxy is trusted: name the one in front with \
                 `proxy config proxy.trusted-proxies='[\"ADDRESS\"]'`."
                    .into(),
            );
        }
        if !settings.front.is_trusted && !settings.front.proxies.is_empty() {
            problems.push(
                "proxy.trusted-proxies has no effect while proxy.trust-forwarded-proto is off: turn it on with \
                 `proxy config proxy.trust-forwarded-proto=true`."
                    .into(),
            );
        }
        if state.served.is_none() && settings.tls.client_auth != ClientAuth::Off {
            problems.push(
                "proxy.tls.client-auth has no effect without a certificate: run `proxy import-certificate`."
                    .into(),
            );
        }
        problems
    }
}

impl Served {
    /// Whether serving either of the two makes no difference. The key belongs to the chain.
    fn is_same(&self, other: &Self) -> bool {
        (&self.chain, &self.further, self.auth, &self.clients)
            == (&other.chain, &other.further, other.auth, &other.clients)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
