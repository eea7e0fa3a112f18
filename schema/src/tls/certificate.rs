//! One certificate: what it says, and whether devices would take it at all.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{X509Name, X509Version};

use super::blocks::{self, Block, Source};
use super::error::{ImportError, Place};
use super::key;

/// Names longer than this are cut in messages, in characters.
const MAX_SHOWN: usize = 120;

/// A certificate and where it stands.
pub(super) struct Certificate<'a> {
    pub(super) x509: X509Certificate<'a>,
    pub(super) der: &'a [u8],
    pub(super) place: &'a Place,
}

/// Is a block of this label a certificate?
pub(super) fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}

impl<'a> Certificate<'a> {
    /// Reads the certificate of a block.
    pub(super) fn read(block: &'a Block) -> Result<Self, ImportError> {
        match X509Certificate::from_der(&block.der) {
            Ok(([], x509)) => Ok(Self { x509, der: &block.der, place: &block.place }),
            _ => Err(ImportError::BrokenCertificate(block.place.clone())),
        }
    }

    /// Whose it is: the common name, else the whole subject, else the first host.
    pub(super) fn subject(&self) -> String {
        let name = shown(self.x509.subject());
        if name.is_empty() {
            self.names().into_iter().next().unwrap_or_else(|| "nobody".into())
        } else {
            name
        }
    }

    /// Who signed it.
    pub(super) fn issuer(&self) -> String {
        shown(self.x509.issuer())
    }

    /// The common name of its subject.
    pub(super) fn common_name(&self) -> Option<String> {
        let name = self.x509.subject().iter_common_name().next()?;
        Some(cut(name.as_str().ok()?))
    }

    /// The hosts that it is for: DNS names and IP addresses of its alternative names.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(Some(extension)) = self.x509.subject_alternative_name() else { return Vec::new() };
        let shown = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(cut(name)),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        };
        extension.value.general_names.iter().filter_map(shown).collect()
    }

    /// Did its own key sign it?
    pub(super) fn is_self_signed(&self) -> bool {
        self.is_named_issuer_of(self) && self.x509.verify_signature(None).is_ok()
    }

    /// Does `lower` name this one as its issuer?
    pub(super) fn is_named_issuer_of(&self, lower: &Self) -> bool {
        self.x509.subject().as_raw() == lower.x509.issuer().as_raw()
    }

    /// Did this one's key sign `lower`?
    pub(super) fn has_signed(&self, lower: &Self) -> bool {
        self.is_named_issuer_of(lower) && lower.x509.verify_signature(Some(self.x509.public_key())).is_ok()
    }

    /// What every certificate of a chain must be.
    pub(super) fn check_strength(&self) -> Result<(), ImportError> {
        if let Ok(PublicKey::RSA(rsa)) = self.x509.public_key().parsed()
            && rsa.key_size() < 2048
        {
            let bits = rsa.key_size();
            return Err(ImportError::WeakKey { place: self.place.clone(), subject: self.subject(), bits });
        }
        let algorithm = match self.x509.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" => "SHA-1",
            "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" => "MD5",
            _ => return Ok(()),
        };
        Err(ImportError::WeakSignature { place: self.place.clone(), subject: self.subject(), algorithm })
    }

    /// What a server's certificate must be.
    pub(super) fn check_server(&self) -> Result<(), ImportError> {
        if self.x509.version() != X509Version::V3 {
            return Err(ImportError::OldVersion(self.place.clone()));
        }
        self.check_strength()?;
        let (place, subject) = (self.place.clone(), self.subject());
        let usage = self.x509.key_usage().ok().flatten().map(|extension| extension.value);
        let may_serve = usage.is_none_or(|usage| usage.digital_signature() || usage.key_encipherment());
        if self.x509.is_ca() && (!may_serve || !self.is_self_signed()) {
            return Err(ImportError::Authority { place, subject });
        }
        let extended = self.x509.extended_key_usage().ok().flatten().map(|extension| extension.value);
        if !may_serve || extended.is_some_and(|usage| !usage.any && !usage.server_auth) {
            return Err(ImportError::NotForServers { place, subject });
        }
        Ok(())
    }

    /// What an issuer must be.
    pub(super) fn check_issuer(&self) -> Result<(), ImportError> {
        // Nobody looks at the signature of a root under itself.
        if !self.is_self_signed() {
            self.check_strength()?;
        }
        let usage = self.x509.key_usage().ok().flatten().map(|extension| extension.value);
        if self.x509.is_ca() && usage.is_none_or(|usage| usage.key_cert_sign()) {
            return Ok(());
        }
        Err(ImportError::NoAuthority { place: self.place.clone(), subject: self.subject() })
    }
}

fn shown(name: &X509Name<'_>) -> String {
    match name.iter_common_name().next().and_then(|name| name.as_str().ok()) {
        Some(common_name) if !common_name.is_empty() => cut(common_name),
        _ => cut(&name.to_string()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Certificates to be trusted, of authorities or of single servers, in any text.
///
/// # Errors
/// There is none, one cannot be read, or a private key is among them.
pub fn trusted_certificates(sources: &[Source<'_>]) -> Result<Vec<CertificateDer<'static>>, ImportError> {
    let mut certificates = Vec::new();
    let mut ignored = Vec::new();
    for block in blocks::read(sources)? {
        if key::is_key(&block.label) {
            return Err(ImportError::KeyAmongCertificates(block.place));
        } else if is_certificate(&block.label) {
            Certificate::read(&block)?;
            certificates.push(CertificateDer::from(block.der.to_vec()));
        } else {
            ignored.push(format!("{} at {}", block.label, block.place));
        }
    }
    if certificates.is_empty() { Err(ImportError::NoCertificate(ignored)) } else { Ok(certificates) }
}
