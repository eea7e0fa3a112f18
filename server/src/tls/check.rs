//! Checks whether a device would get through, the way a device does: resolve the name, connect, judge the
//! certificate, and send a request, without a client certificate.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use schema::api::admin::{Certificate, TlsStatus};
use schema::config::ClientAuth;
use schema::tls::{Expiry, Level};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Position, Url};

use super::{Leaf, Served, Tls, provider, roots};
use crate::clock;

/// Timeout of each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// HTTPS as devices see it; `None` while they do not use it.
pub(crate) async fn check(tls: &Tls, data_dir: &Path) -> Option<TlsStatus> {
    let state = tls.state();
    let shown = &*state.base_url;
    let url = Url::parse(shown).ok().filter(|url| url.scheme() == "https")?;
    let own = state.served.as_ref();
    let mut problems = Vec::new();
    let seen = match visit(&url, shown, data_dir).await {
        Ok(visit) => {
            problems.extend(visit.objections);
            problems.extend(visit.refusal.map(|why| refusal(shown, &why, own)));
            if let Some(served) = own
                && !state.fronted
                && served.chain.first() != Some(&visit.leaf)
            {
                problems.push(format!(
                    "{shown} shows another certificate than the one of this server: who answers there?"
                ));
            }
            Leaf::read(&visit.leaf)
        }
        Err(why) => {
            problems.push(why);
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
    problems.extend(urgent);
    Some(TlsStatus {
        certificate: leaf.map(|leaf| Certificate {
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            names: leaf.names.clone(),
            not_before: leaf.not_before.format(&Rfc3339).unwrap_or_default(),
            not_after: leaf.not_after.format(&Rfc3339).unwrap_or_default(),
            days_left: (leaf.not_after - now).whole_days(),
        }),
        client_auth: match own.map(|served| served.auth) {
            Some(ClientAuth::Required) => "required",
            Some(ClientAuth::Optional) => "optional",
            _ => "off",
        }
        .into(),
        warning,
        problems,
    })
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
    let Expiry { days, level } = Expiry::of(leaf.not_after, now);
    if renews && leaf.not_after - now > (leaf.not_after - leaf.not_before) / 6 {
        return None;
    }
    let text = match (level, days) {
        (Level::Fine, _) => return None,
        (Level::Expired, _) => format!("The certificate expired on {last} and devices refuse it: {remedy}."),
        (_, 0) => format!("The certificate expires within a day, on {last}: {remedy}."),
        (_, 1) => format!("The certificate expires in 1 day, on {last}: {remedy}."),
        _ => format!("The certificate expires in {days} days, on {last}: {remedy}."),
    };
    Some((level >= Level::Days7, text))
}

/// The result of a visit.
struct Visit {
    leaf: CertificateDer<'static>,
    /// Why a device would reject the server.
    objections: Vec<String>,
    /// Why the server would reject a device.
    refusal: Option<String>,
}

async fn visit(url: &Url, shown: &str, data_dir: &Path) -> Result<Visit, String> {
    let port = url.port_or_known_default().unwrap_or(443);
    let (place, name) = match url.host() {
        Some(Host::Domain(domain)) => {
            (domain.to_owned(), ServerName::try_from(domain.to_owned()).map_err(|error| error.to_string())?)
        }
        Some(Host::Ipv4(address)) => (address.to_string(), ServerName::from(std::net::IpAddr::from(address))),
        Some(Host::Ipv6(address)) => (address.to_string(), ServerName::from(std::net::IpAddr::from(address))),
        None => return Err(format!("{shown} names no host: set proxy.domain")),
    };
    let resolved = timeout(PATIENCE, lookup_host((place.clone(), port))).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            return Err(format!("{place} cannot be resolved here, and perhaps not by devices ({error})."));
        }
        Err(_) => {
            return Err(format!("{place} cannot be resolved here in time, and perhaps not by devices."));
        }
    };
    let tcp = connect(&addresses)
        .await
        .map_err(|why| format!("{shown} cannot be reached from this server: {why}."))?;
    let data_dir = data_dir.to_owned();
    let trusted = tokio::task::spawn_blocking(move || roots::trusted(&data_dir)).await;
    let judge = trusted.ok().and_then(provider::server_verifier);
    let witness = Arc::new(Witness { judge, seen: Mutex::default() });
    let config = provider::client(Arc::clone(&witness) as _).map_err(|error| error.to_string())?;
    let shaken = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((leaf, objections)) = seen else {
        let why = match shaken {
            Ok(Err(error)) => error.to_string(),
            _ => "it did not answer in time".into(),
        };
        return Err(format!("{shown} does not speak TLS: {why}."));
    };
    // With TLS 1.3 the client finishes before the server has judged it, so only an answer proves that it was let in.
    let refusal = match shaken {
        Ok(Ok(stream)) => match timeout(PATIENCE, ask(stream, url)).await {
            Ok(Ok(200..=399 | 404)) => None,
            Ok(Ok(status)) => Some(format!("the answer is {status}")),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".into()),
        },
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no end of the handshake in time".into()),
    };
    let objections = objections.into_iter().map(|why| format!("{shown}: {why}.")).collect();
    Ok(Visit { leaf, objections, refusal })
}

/// Sends a device's first request; returns the status of the answer.
async fn ask(mut stream: TlsStream<TcpStream>, url: &Url) -> io::Result<u16> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status = line.strip_prefix(b"HTTP/1.1 ").and_then(|status| str::from_utf8(status).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is not HTTP/1.1"))
}

/// The problem and the remedy when a device is turned away.
fn refusal(shown: &str, why: &str, own: Option<&Arc<Served>>) -> String {
    match own.map(|served| served.auth) {
        Some(ClientAuth::Required) => format!(
            "{shown} turns devices away ({why}): proxy.tls.client-auth is required, and snapd shows no client certificate. \
             Run `proxy config proxy.tls.client-auth=optional` to let devices in."
        ),
        _ => format!("{shown} turns devices away: {why}."),
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in addresses.iter().take(4) {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer"),
        }
    }
    Err(why)
}

/// Judges as a device does, but lets the handshake continue to collect all problems.
#[derive(Debug)]
struct Witness {
    judge: Option<Arc<dyn ServerCertVerifier>>,
    seen: Mutex<Option<(CertificateDer<'static>, Vec<String>)>>,
}

impl Witness {
    fn objections(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Vec<String> {
        // This program's clock, which tests may change.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(clock::seconds()));
        let judged = match &self.judge {
            Some(judge) => judge.verify_server_cert(leaf, chain, name, &[], now).map(|_| ()),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let named = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
        let mut all: Vec<String> = judged.err().iter().map(objection).collect();
        let wrong_name = named.err().map(|error| objection(&error));
        all.extend(wrong_name.filter(|text| !all.contains(text)));
        all
    }
}

/// A device's objection, for people.
fn objection(error: &Error) -> String {
    let Error::InvalidCertificate(why) = error else { return format!("the certificate is refused: {error}") };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate, or one that it depends on, has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate, or one that it depends on, is not valid yet".into()
        }
        CertificateError::NotValidForName => "the certificate is of another name".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let shown: Vec<String> = presented.iter().map(|name| super::leaf::shown(name)).collect();
            let covers = if shown.is_empty() { "no name".to_owned() } else { shown.join(", ") };
            format!("the certificate does not cover the name {} (it covers {covers})", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not allowed for servers".into()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => UNTRUSTED.into(),
        // A self-signed certificate that is marked as a CA.
        other if format!("{other}").contains("CaUsedAsEndEntity") => UNTRUSTED.into(),
        other => format!("the certificate is refused: {other}"),
    }
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
