//! The only place that knows the crypto provider behind TLS, and how both ends of a connection are configured.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig, SignatureScheme};
use schema::tls::{Pair, covers};
use time::OffsetDateTime;

use crate::clock;

/// The ALPN protocol of an ACME authority's challenges over TLS.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Sessions of devices without tickets that are kept for resumption.
const SESSIONS: usize = 4096;

/// Makes aws-lc-rs this process's provider. If a dependency compiled in a second one, TLS would otherwise not know
/// which to use.
pub(crate) fn install() {
    // Fails only if it was installed before.
    let _ = default_provider().install_default();
}

/// The installed provider.
pub(super) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(default_provider()))
}

/// Session resumption state. It outlives certificates; otherwise each renewal would end resumption.
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

/// The server's configuration: TLS 1.2 and 1.3 with the provider's suites, HTTP/1.1.
///
/// With client certificates every handshake is a full one: a resumed session would skip checking a certificate that
/// has since expired or been revoked.
pub(super) fn server(
    pair: &Pair,
    further: &[Pair],
    clients: Option<Arc<dyn ClientCertVerifier>>,
    resumption: &Resumption,
) -> Result<ServerConfig, Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let asks_clients = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let certified = |pair: &Pair| certified(pair.chain().to_vec(), pair.key().clone_key());
    let first = certified(pair)?;
    let mut config = match further.is_empty() {
        true => builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(first))),
        false => {
            let of_name = |pair: &Pair| -> Result<OfName, Error> {
                let certified = Arc::new(certified(pair)?);
                Ok(OfName { certified, not_before: pair.not_before(), not_after: pair.not_after() })
            };
            let further = further.iter().map(of_name).collect::<Result<_, Error>>()?;
            builder.with_cert_resolver(Arc::new(ByName { first: Arc::new(first), further }))
        }
    };
    // The first protocol that the client offers too; a client with HTTP/1.0 only is served as nginx does.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    if asks_clients {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.session_storage = Arc::clone(&resumption.sessions);
        config.ticketer = Arc::clone(&resumption.tickets);
    }
    Ok(config)
}

/// A certificate with its key. Whether they match is not checked here: rustls would also reject a challenge's
/// extension, which it does not know.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    Ok(CertifiedKey::new(chain, provider().key_provider.load_private_key(key.into())?))
}

/// Presents the first certificate, and another one to a client that asks for a name which that one does not cover: of
/// several the newest that is valid.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    further: Vec<OfName>,
}

/// A certificate for further names.
#[derive(Debug)]
struct OfName {
    certified: Arc<CertifiedKey>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl ByName {
    fn shown(&self, name: Option<&str>, now: OffsetDateTime) -> &Arc<CertifiedKey> {
        let further = |name: &&str| !covers(&self.first.cert[0], name);
        let best = name.filter(further).and_then(|name| {
            let covering = self.further.iter().filter(|one| covers(&one.certified.cert[0], name));
            covering.max_by_key(|one| ((one.not_before..=one.not_after).contains(&now), one.not_before))
        });
        best.map_or(&self.first, |best| &best.certified)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.shown(hello.server_name(), clock::now())))
    }
}

/// The configuration for a tls-alpn-01 challenge (RFC 8737 §3): its own certificate, and nothing after the handshake.
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
    let shown = SingleCertAndKey::from(certified(vec![certificate], key)?);
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Ok(config)
}

/// The readable roots.
pub(crate) fn roots_of<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.into_iter().cloned());
    roots
}

/// A client configuration that trusts only these roots.
pub(crate) fn trusting(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// How a device with these roots verifies a server certificate; `None` without roots.
pub(super) fn server_verifier(roots: RootCertStore) -> Option<Arc<dyn ServerCertVerifier>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    Some(verifier.build().ok()?)
}

/// A client configuration that leaves the verdict to `verifier`.
pub(super) fn client(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Every signature scheme that the provider can verify.
pub(super) fn signature_schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}
