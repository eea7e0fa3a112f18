//! The store's own certificate and key, as the settings hold them.

use std::sync::Arc;

use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use schema::config::Settings;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::provider;

/// Why the settings hold no usable pair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PairError {
    /// One without the other.
    #[error(
        "{0} is set without {1}: set both in one command (`proxy import-certificate`), or clear both with \
         `proxy config proxy.tls.key='' proxy.tls.cert=''`"
    )]
    Half(&'static str, &'static str),
    /// The certificates.
    #[error("cannot read proxy.tls.cert as PEM certificates: {0}; import the certificate again")]
    Certificate(String),
    /// The key.
    #[error("cannot read proxy.tls.key as an unencrypted PEM private key; import the certificate again")]
    Key,
    /// They do not belong together.
    #[error("proxy.tls.key is not the key of the first certificate in proxy.tls.cert: import the pair again")]
    Mismatch,
}

/// A certificate chain, leaf first, with the leaf's key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) leaf: Leaf,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Who it is for.
    pub(crate) subject: String,
    /// Who made it.
    pub(crate) issuer: String,
    /// DNS names and addresses that it covers.
    pub(crate) names: Vec<String>,
    /// Its first moment.
    pub(crate) not_before: OffsetDateTime,
    /// Its last moment.
    pub(crate) not_after: OffsetDateTime,
}

impl Pair {
    /// The pair of the settings; `None` while neither half is set. Its validity is not looked at: an expired
    /// certificate is served on, for devices whose clocks stand still.
    pub(super) fn of(settings: &Settings) -> Result<Option<Self>, PairError> {
        let (cert, key) = (settings.value("proxy.tls.cert"), settings.value("proxy.tls.key"));
        match (cert.is_empty(), key.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return Err(PairError::Half("proxy.tls.key", "proxy.tls.cert")),
            (false, true) => return Err(PairError::Half("proxy.tls.cert", "proxy.tls.key")),
            (false, false) => {}
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.as_bytes()).collect();
        let chain = chain.map_err(|error| PairError::Certificate(error.to_string()))?;
        let Some(first) = chain.first() else {
            return Err(PairError::Certificate("no certificate is in it".into()));
        };
        let unread = |_| PairError::Certificate("the first one is damaged".into());
        let (_, certificate) = X509Certificate::from_der(first).map_err(unread)?;
        // The parser's message could quote the key.
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| PairError::Key)?;
        let key = provider::signing_key(key).map_err(|_| PairError::Key)?;
        if key.public_key().is_none_or(|public| public.as_ref() != certificate.public_key().raw) {
            return Err(PairError::Mismatch);
        }
        let leaf = Leaf::of(&certificate);
        Ok(Some(Self { chain, key, leaf }))
    }
}

impl Leaf {
    /// Reads a certificate; `None` when it is damaged.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self::of(&certificate))
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names =
            alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(shown(name)),
                GeneralName::IPAddress(bytes) => Some(address(bytes)?.to_string()),
                _ => None,
            });
        Self {
            subject: shown(&certificate.subject().to_string()),
            issuer: shown(&certificate.issuer().to_string()),
            names: names.collect(),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        }
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(Into::into);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(Into::into)).ok()
}

/// A name out of a certificate as logs and reports may show it: of one line and bounded.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .take(256)
        .collect()
}
