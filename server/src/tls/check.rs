//! Checks whether a device would get through, the way a device does: resolve the name, connect, judge the
//! certificate, and send a request, without a client certificate.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use schema::api::admin::{Certificate, TlsStatus};
use schema::causes::{in_words, one_line};
use schema::config::ClientAuth;
use schema::tls::{Expiry, Level};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::{Leaf, Served, Tls, provider, roots};
use crate::clock;

/// Timeout of each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a device would not get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    /// A stable word for programs.
    pub(crate) code: &'static str,
    /// What is wrong, in a full sentence.
    pub(crate) text: String,
}

impl Objection {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What came of going the way of a device.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// How HTTPS looks; `None` while devices do not use it.
    pub(crate) tls: Option<TlsStatus>,
    /// Why a device would not get through.
    pub(crate) objections: Vec<Objection>,
}

/// Goes the way of a device, over HTTP or HTTPS.
pub(crate) async fn check(tls: &Tls, data_dir: &Path) -> Outside {
    let state = tls.state();
    let shown = &*state.base_url;
    let Ok(url) = Url::parse(shown) else { return Outside::default() };
    if url.scheme() != "https" {
        return Outside {
            tls: None,
            objections: visit_plainly(&url, shown).await.err().into_iter().collect(),
        };
    }
    let own = state.served.as_ref();
    let mut objections = Vec::new();
    let seen = match visit(&url, shown, data_dir).await {
        Ok(visit) => {
            objections.extend(visit.objections);
            objections.extend(visit.refusal.map(|why| refusal(shown, &why, own)));
            if let Some(served) = own
                && !state.fronted
                && served.chain.first() != Some(&visit.leaf)
            {
                objections.push(Objection::new(
                    "another-server",
                    format!(
                        "{shown} shows another certificate than the one of this server: who answers there?"
                    ),
                ));
            }
            Leaf::read(&visit.leaf)
        }
        Err(objection) => {
            objections.push(objection);
            None
        }
    };
    let leaf = own.map(|served| &served.leaf).or(seen.as_ref());
    let now = clock::now();
    let expiry = leaf.and_then(|leaf| expiry(leaf, now, state.renews));
    let (urgent, warning) = match expiry {
        Some((true, text)) => (Some(text), None),
        Some((false, text)) => (None, Some(text)),
        None => (None, None),
    };
    objections.extend(urgent.map(|text| Objection::new("certificate-ends", text)));
    let further = own.map(|served| &*served.further).unwrap_or_default();
    let mut warnings = Vec::from_iter(warning);
    for (is_urgent, text) in further.iter().filter_map(|one| further_expiry(&one.leaf, now)) {
        match is_urgent {
            true => objections.push(Objection::new("certificate-ends", text)),
            false => warnings.push(text),
        }
    }
    let problems = objections.iter().map(|objection| objection.text.clone()).collect();
    let tls = TlsStatus {
        certificate: leaf.map(|leaf| told(leaf, now)),
        further: further.iter().map(|one| told(&one.leaf, now)).collect(),
        client_auth: match own.map(|served| served.auth) {
            Some(ClientAuth::Required) => "required",
            Some(ClientAuth::Optional) => "optional",
            _ => "off",
        }
        .into(),
        warning: (!warnings.is_empty()).then(|| warnings.join(" ")),
        problems,
    };
    Outside { tls: Some(tls), objections }
}

fn told(leaf: &Leaf, now: OffsetDateTime) -> Certificate {
    Certificate {
        subject: leaf.subject.clone(),
        issuer: leaf.issuer.clone(),
        names: leaf.names.clone(),
        not_before: leaf.not_before.format(&Rfc3339).unwrap_or_default(),
        not_after: leaf.not_after.format(&Rfc3339).unwrap_or_default(),
        days_left: Expiry::of(leaf.begun, leaf.not_after, now).days,
    }
}

/// The warning about the expiry of a certificate for further names, and whether it is urgent.
pub(super) fn further_expiry(leaf: &Leaf, now: OffsetDateTime) -> Option<(bool, String)> {
    let left = Expiry::of(leaf.begun, leaf.not_after, now);
    let (names, last) = (leaf.names.join(", "), leaf.not_after.date());
    let remedy = "renew it with `proxy import-certificate --further`, or drop it with `--forget NAME`";
    let text = match left.level {
        Level::Fine => return None,
        Level::Expired => {
            format!("The certificate for {names} expired on {last} and devices refuse it: {remedy}.")
        }
        _ => format!("The certificate for {names} expires {left}, on {last}: {remedy}."),
    };
    Some((left.level >= Level::Urgent, text))
}

/// The warning about a certificate's expiry, and whether it is urgent. While ACME renews the certificate, there is
/// none before the last sixth of its lifetime: half of the third that is left for attempts.
pub(super) fn expiry(leaf: &Leaf, now: OffsetDateTime, renews: bool) -> Option<(bool, String)> {
    let remedy = match renews {
        true => "`proxy acme status` says why it was not renewed",
        false => "import a new one with `proxy import-certificate`",
    };
    let (first, last) = (leaf.not_before.date(), leaf.not_after.date());
    if now < leaf.not_before {
        let text =
            format!("The certificate is not valid before {first}, or the clock of this server is wrong.");
        return Some((true, text));
    }
    let left = Expiry::of(leaf.begun, leaf.not_after, now);
    if renews && leaf.not_after - now > (leaf.not_after - leaf.begun) / 6 {
        return None;
    }
    let text = match left.level {
        Level::Fine => return None,
        Level::Expired => format!("The certificate expired on {last} and devices refuse it: {remedy}."),
        _ => format!("The certificate expires {left}, on {last}: {remedy}."),
    };
    Some((left.level >= Level::Urgent, text))
}

/// The result of a visit.
struct Visit {
    leaf: CertificateDer<'static>,
    /// Why a device would turn back.
    objections: Vec<Objection>,
    /// Why a device would be turned away.
    refusal: Option<String>,
}

/// Connects to where a URL leads.
async fn reach(url: &Url, shown: &str) -> Result<TcpStream, Objection> {
    let port = url.port_or_known_default().unwrap_or(443);
    let place = match url.host() {
        Some(Host::Domain(domain)) => domain.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => {
            let text = format!("{shown} names no host: set proxy.domain.");
            return Err(Objection::new("name-not-resolved", text));
        }
    };
    let unresolved = |text| Objection::new("name-not-resolved", text);
    let addresses: Vec<SocketAddr> = match timeout(PATIENCE, lookup_host((place.clone(), port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let text = format!(
                "{place} cannot be resolved here, and perhaps not by devices ({}).",
                one_line(&error)
            );
            return Err(unresolved(text));
        }
        Err(_) => {
            let text = format!("{place} cannot be resolved here in time, and perhaps not by devices.");
            return Err(unresolved(text));
        }
    };
    let unreached = |why| format!("{shown} cannot be reached from this server: {why}.");
    connect(&addresses).await.map_err(|why| Objection::new("port-closed", unreached(why)))
}

/// Asks over plain HTTP what a device asks first.
async fn visit_plainly(url: &Url, shown: &str) -> Result<(), Objection> {
    let tcp = reach(url, shown).await?;
    let why = match timeout(PATIENCE, ask(tcp, url)).await {
        Ok(Ok(200..=399 | 404)) => return Ok(()),
        Ok(Ok(status)) => format!("the answer is {status}"),
        Ok(Err(error)) => one_line(&error),
        Err(_) => "no answer in time".into(),
    };
    Err(Objection::new("turned-away", format!("{shown} turns devices away: {why}.")))
}

async fn visit(url: &Url, shown: &str, data_dir: &Path) -> Result<Visit, Objection> {
    let tcp = reach(url, shown).await?;
    let no_tls =
        |why: &dyn std::fmt::Display| Objection::new("no-tls", format!("{shown} does not speak TLS: {why}."));
    let name = match url.host() {
        Some(Host::Domain(domain)) => {
            ServerName::try_from(domain.to_owned()).map_err(|error| no_tls(&error))?
        }
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
        None => return Err(no_tls(&"it names no host")),
    };
    let data_dir = data_dir.to_owned();
    let trusted = tokio::task::spawn_blocking(move || roots::trusted(&data_dir)).await;
    let judge = trusted.ok().and_then(provider::server_verifier);
    let witness = Arc::new(Witness { judge, seen: Mutex::default() });
    let config = provider::client(Arc::clone(&witness) as _).map_err(|error| no_tls(&error))?;
    let shaken = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((leaf, objections)) = seen else {
        let why = match shaken {
            Ok(Err(error)) => error.to_string(),
            _ => "it did not answer in time".into(),
        };
        return Err(no_tls(&why));
    };
    // With TLS 1.3 the client finishes before the server has judged it, so only an answer proves that it was let in.
    let refusal = match shaken {
        Ok(Ok(stream)) => match timeout(PATIENCE, ask(stream, url)).await {
            Ok(Ok(200..=399 | 404)) => None,
            Ok(Ok(status)) => Some(format!("the answer is {status}")),
            Ok(Err(error)) => Some(one_line(&error)),
            Err(_) => Some("no answer in time".into()),
        },
        Ok(Err(error)) => Some(one_line(&error)),
        Err(_) => Some("no end of the handshake in time".into()),
    };
    let told = |(code, why)| Objection::new(code, format!("{shown}: {why}."));
    let objections = objections.into_iter().map(told).collect();
    Ok(Visit { leaf, objections, refusal })
}

/// Asks what a device asks first; the status of the answer.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, url: &Url) -> io::Result<u16> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status = line.strip_prefix(b"HTTP/1.1 ").and_then(|status| str::from_utf8(status).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is not HTTP/1.1"))
}

/// What to say, and to do, about a device that is turned away.
fn refusal(shown: &str, why: &str, own: Option<&Arc<Served>>) -> Objection {
    match own.map(|served| served.auth) {
        Some(ClientAuth::Required) => Objection::new(
            "client-certificate-demanded",
            format!(
                "{shown} turns devices away ({why}): proxy.tls.client-auth is required, and snapd shows no client certificate. \
                 Run `proxy config proxy.tls.client-auth=optional` to let devices in."
            ),
        ),
        _ => Objection::new("turned-away", format!("{shown} turns devices away: {why}.")),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in addresses.iter().take(4) {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => why = format!("{address}: {}", one_line(&error)),
            Err(_) => why = format!("{address}: no answer"),
        }
    }
    Err(why)
}

/// A code and what is wrong with a certificate.
type Found = (&'static str, String);

/// Judges as a device does, and lets the handshake go on to note all that is wrong.
#[derive(Debug)]
struct Witness {
    judge: Option<Arc<dyn ServerCertVerifier>>,
    seen: Mutex<Option<(CertificateDer<'static>, Vec<Found>)>>,
}

impl Witness {
    fn objections(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Vec<Found> {
        // This program's clock, which tests may step.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(clock::seconds()));
        let judged = match &self.judge {
            Some(judge) => judge.verify_server_cert(leaf, chain, name, &[], now).map(|_| ()),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let named = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
        let mut all: Vec<Found> = judged.err().iter().map(objection).collect();
        for (_, text) in all.iter_mut().filter(|(code, _)| *code == "certificate-untrusted") {
            text.extend(missing_issuer(chain.last().unwrap_or(leaf)));
        }
        let wrong_name = named.err().map(|error| objection(&error));
        all.extend(wrong_name.filter(|found| !all.contains(found)));
        all
    }
}

/// What a device would object to, for people.
fn objection(error: &Error) -> Found {
    let refused = |why: &dyn std::fmt::Display| in_words(format!("the certificate is refused: {why}"));
    let Error::InvalidCertificate(why) = error else { return ("certificate-refused", refused(error)) };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("certificate-expired", "the certificate, or one that it depends on, has expired".into())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "certificate-not-valid-yet",
            "the certificate, or one that it depends on, is not valid yet".into(),
        ),
        CertificateError::NotValidForName => {
            ("certificate-name", "the certificate is of another name".into())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let shown: Vec<String> =
                presented.iter().map(|name| super::leaf::shown(&in_words(name))).collect();
            let covers = if shown.is_empty() { "no name".to_owned() } else { shown.join(", ") };
            let text =
                format!("the certificate does not cover the name {} (it covers {covers})", expected.to_str());
            ("certificate-name", text)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("certificate-refused", "the certificate is not allowed for servers".into())
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ("certificate-untrusted", UNTRUSTED.into())
        }
        // A certificate that signed itself as a CA.
        other if format!("{other}").contains("CaUsedAsEndEntity") => {
            ("certificate-untrusted", UNTRUSTED.into())
        }
        other => ("certificate-refused", refused(other)),
    }
}

/// The issuer of the last certificate that a server shows, which is not among the trusted ones.
fn missing_issuer(top: &CertificateDer<'_>) -> Option<String> {
    let top = Leaf::read(top).filter(|top| top.subject != top.issuer)?;
    Some(format!(
        "; if {} is an intermediate, it is missing: `proxy import-certificate` takes the certificate together with it",
        top.issuer
    ))
}

const UNTRUSTED: &str = "the certificate is not trusted: its issuer is neither among the authorities of this system nor \
                         the store's own CA, so devices need it (`snap set system store-certs.NAME=PEM`)";

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let objections = self.objections(leaf, chain, name);
        let seen = Some((leaf.clone().into_owned(), objections));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        // Nothing secret is sent over this connection.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls12_signature(message, leaf, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls13_signature(message, leaf, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::signature_schemes()
    }
}
