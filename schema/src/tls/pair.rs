//! A matching certificate chain and key.

use std::fmt;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::blocks::{self, CHAIN, Source, encode};
use super::certificate::{Certificate, converter, is_certificate};
use super::error::{ImportError, Problem, Warning};
use super::expiry::{Level, expiry};
use super::{chain, key};

/// A certificate chain and its key; they match, and the chain is complete.
pub struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before: OffsetDateTime,
    begun: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// The pair.
    pub pair: Pair,
    /// Problems that need `--force`.
    pub problems: Vec<Problem>,
    /// Warnings for the operator.
    pub warnings: Vec<Warning>,
}

/// Why `proxy.tls.cert` and `proxy.tls.key` are not a pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// One of them would be taken away.
    #[error(
        "{set} would be left without {missing}: set both together with `proxy import-certificate`, or clear both"
    )]
    Half {
        /// The key that stays.
        set: &'static str,
        /// The key that goes.
        missing: &'static str,
    },
    /// They are unusable.
    #[error("proxy.tls.cert and proxy.tls.key are not a pair: {0}")]
    Unfit(ImportError),
    /// Those for further names are unusable.
    #[error("proxy.tls.further cannot be used: {0}; `proxy import-certificate --further FILE...` adds to it")]
    Further(ImportError),
}

impl Pair {
    /// Builds a pair from PEM texts in any order, for a store called `domain`.
    ///
    /// # Errors
    /// Anything that would keep a device from talking to a server with such a pair.
    pub fn import(
        sources: &[Source<'_>],
        passphrase: Option<&str>,
        domain: &str,
        now: OffsetDateTime,
    ) -> Result<Imported, ImportError> {
        assemble(sources, passphrase, Some((domain, now)))
    }

    /// Builds a pair for further names of a store, whatever they are.
    ///
    /// # Errors
    /// As [`Pair::import`].
    pub fn import_further(
        sources: &[Source<'_>],
        passphrase: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Imported, ImportError> {
        let pair = assemble(sources, passphrase, None)?.pair;
        // It is judged for a name that it has; one without any is reported as such.
        let own = pair.names().first().map(|name| name.replacen('*', "any", 1));
        assemble(sources, passphrase, Some((own.as_deref().unwrap_or("NAME"), now)))
    }

    /// The configured pair; `None` unless both are set.
    ///
    /// # Errors
    /// The texts are not a pair.
    pub fn from_settings(cert_pem: &str, key_pem: &str) -> Result<Option<Self>, PairError> {
        const CERT: &str = "proxy.tls.cert";
        const KEY: &str = "proxy.tls.key";
        if cert_pem.is_empty() || key_pem.is_empty() {
            return Ok(None);
        }
        let sources = [
            Source { name: CERT, bytes: cert_pem.as_bytes() },
            Source { name: KEY, bytes: key_pem.as_bytes() },
        ];
        Self::unjudged(&sources).map(Some).map_err(PairError::Unfit)
    }

    /// A pair that was taken earlier: for whom and how long it is valid no longer matters.
    pub(super) fn unjudged(sources: &[Source<'_>]) -> Result<Self, ImportError> {
        assemble(sources, None, None).map(|imported| imported.pair)
    }

    /// `proxy.tls.cert`: the server's certificate first, each signed by the next.
    #[must_use]
    pub fn cert_pem(&self) -> String {
        self.chain.iter().map(|certificate| encode("CERTIFICATE", certificate)).collect()
    }

    /// `proxy.tls.key`: PKCS#8.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        key::to_pem(&self.key)
    }

    /// The chain, the server's certificate first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &PrivatePkcs8KeyDer<'static> {
        &self.key
    }

    /// The certificate's subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer of the last certificate of the chain: the one that devices must trust.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The hosts it covers; a name may begin with `*.`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When the whole chain becomes valid.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// When the certificate of the chain that expires first began to be valid.
    #[must_use]
    pub fn begun(&self) -> OffsetDateTime {
        self.begun
    }

    /// When the chain's first certificate expires.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether it covers this host, a DNS name or an IP address.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.chain[0], host)
    }
}

/// The key stays out of debug output.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("subject", &self.subject)
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Whether a certificate covers a host as devices match it: alternative names only, a wildcard covers one label.
#[must_use]
pub fn covers(leaf: &CertificateDer<'_>, host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match (EndEntityCert::try_from(leaf), ServerName::try_from(host)) {
        (Ok(leaf), Ok(host)) => leaf.verify_is_valid_for_subject_name(&host).is_ok(),
        _ => false,
    }
}

fn assemble(
    sources: &[Source<'_>],
    passphrase: Option<&str>,
    wanted: Option<(&str, OffsetDateTime)>,
) -> Result<Imported, ImportError> {
    let blocks = blocks::read(sources, CHAIN)?;
    let mut certificates: Vec<Certificate<'_>> = Vec::new();
    let mut key_block: Option<&blocks::Block> = None;
    let mut warnings = Vec::new();
    let mut ignored = Vec::new();
    for block in &blocks {
        if is_certificate(&block.label) {
            if certificates.iter().any(|known| known.der == block.der.as_slice()) {
                warnings.push(Warning::Duplicate(block.place.clone()));
            } else {
                certificates.push(Certificate::read(block)?);
            }
        } else if key::is_key(&block.label) {
            match key_block {
                Some(first) if first.der != block.der => {
                    return Err(ImportError::TwoKeys(first.place.clone(), block.place.clone()));
                }
                _ => key_block = Some(block),
            }
        } else if let Some(how) = converter(&block.label) {
            return Err(ImportError::Convert { place: block.place.clone(), label: block.label.clone(), how });
        } else if block.label != "EC PARAMETERS" || block.der.first() != Some(&6) {
            // The key names its curve itself; `openssl ecparam` writes the name again.
            ignored.push(format!("{} at {}", block.label, block.place));
            warnings.push(Warning::Ignored { place: block.place.clone(), label: block.label.clone() });
        }
    }
    if certificates.is_empty() {
        return Err(ImportError::NoCertificate(ignored));
    }
    let key_block = key_block.ok_or(ImportError::NoKey(ignored))?;
    let key = key::read(key_block, passphrase)?;
    let leaf = chain::find_leaf(&certificates, &key.public, &key_block.place)?;
    leaf.check_server()?;
    let chain = chain::build(leaf, &certificates, wanted.map(|(_, now)| now), &mut warnings)?;
    chain::verify(&chain)?;
    // What an earlier version took may be in use.
    if wanted.is_some() {
        chain::check_limits(&chain)?;
    }

    let top = chain[chain.len() - 1];
    if leaf.is_self_signed() {
        if leaf.x509.is_ca() {
            // An authority's root is self-signed too; if it names no host, it is not meant for a server.
            let is_host = |(domain, _)| leaf.common_name().is_some_and(|name| name == domain);
            if leaf.names().is_empty() && !wanted.is_none_or(is_host) {
                return Err(ImportError::Authority { place: leaf.place.clone(), subject: leaf.subject() });
            }
            warnings.push(Warning::SelfSignedAuthority);
        }
    } else if chain.len() == 1 {
        warnings.push(Warning::Incomplete { issuer: leaf.issuer() });
    }
    let problems = wanted.map(|(domain, now)| {
        let covers = covers(&CertificateDer::from(leaf.der), domain);
        chain::problems(&chain, covers, domain, now)
    });
    let validity = || chain.iter().map(|certificate| certificate.x509.validity());
    let not_before =
        validity().map(|validity| validity.not_before).max().unwrap_or(leaf.x509.validity().not_before);
    let first = validity().min_by_key(|validity| validity.not_after);
    let first = first.unwrap_or(leaf.x509.validity());
    let pair = Pair {
        chain: chain.iter().map(|certificate| CertificateDer::from(certificate.der.to_vec())).collect(),
        key: key.pkcs8,
        subject: leaf.subject(),
        issuer: top.issuer(),
        names: leaf.names(),
        not_before: not_before.to_datetime(),
        begun: first.not_before.to_datetime(),
        not_after: first.not_after.to_datetime(),
    };
    if let Some((_, now)) = wanted {
        let left = expiry(&pair, now);
        if matches!(left.level, Level::Soon | Level::Urgent) {
            warnings.push(Warning::EndsSoon { left, not_after: pair.not_after() });
        }
    }
    Ok(Imported { pair, problems: problems.unwrap_or_default(), warnings })
}
