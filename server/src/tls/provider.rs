//! The one place that knows which crypto provider is behind TLS, and what both ends of a connection are made of.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::challenge::ACME_TLS;
use super::clients::ClientCas;
use super::visitors::Visitors;

/// Sessions of devices without tickets that are kept for resumption.
const SESSIONS: usize = 4096;

/// Makes aws-lc-rs the provider of this process. With a second one compiled in by a dependency, TLS would
/// otherwise not know which to take.
pub(crate) fn install() {
    // Only fails where it was done before.
    let _ = default_provider().install_default();
}

/// The installed provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(default_provider()))
}

/// What lets devices resume sessions. It outlives every certificate, or each renewal would end resumption.
#[derive(Debug)]
pub(super) struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { tickets: Ticketer::new()?, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }
}

/// The server's end: TLS 1.2 and 1.3 with the suites of the provider, HTTP/1.1.
///
/// With client certificates every handshake is a full one: a resumed session would skip the check of a
/// certificate that has expired or was revoked since.
pub(super) fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    clients: Option<(&ClientCas, bool)>,
    resumption: &Resumption,
) -> Result<ServerConfig, Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((cas, required)) => builder.with_client_cert_verifier(Visitors::of(cas, required)?),
    };
    let mut config = builder.with_cert_resolver(always(chain, key)?);
    // The first that the client offers too; a client of HTTP/1.0 alone is served as nginx does.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    if clients.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.session_storage = Arc::clone(&resumption.sessions);
        config.ticketer = Arc::clone(&resumption.tickets);
    }
    Ok(config)
}

/// Shows the same to everybody. Whether the key belongs to the chain is not checked here: rustls would also object to
/// the extension of a challenge, which it does not know.
fn always(
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<Arc<SingleCertAndKey>, Error> {
    let key = provider().key_provider.load_private_key(key.into())?;
    Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}

/// What answers a tls-alpn-01 challenge (RFC 8737 §3): a certificate of its own, and nothing but the handshake.
pub(super) fn challenge(domain: &str, digest: &[u8; 32]) -> Result<ServerConfig, Error> {
    let make = || {
        let mut params = CertificateParams::new([domain.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der())))
    };
    let (certificate, key) = make().map_err(|error: rcgen::Error| Error::General(error.to_string()))?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let shown = always(vec![certificate], key)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Ok(config)
}

/// The roots that can be read.
pub(crate) fn roots_of<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.into_iter().cloned());
    roots
}

/// A client's end that trusts these roots alone.
pub(crate) fn trusting(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What a device with these roots checks a server's certificate with; `None` while there are no roots.
pub(super) fn server_verifier(roots: RootCertStore) -> Option<Arc<dyn ServerCertVerifier>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    Some(verifier.build().ok()?)
}

/// A client's end that leaves the judgement to `verifier`.
pub(super) fn client(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Every signature that the provider can check.
pub(super) fn signature_schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}
