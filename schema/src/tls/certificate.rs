//! One certificate: its contents, and whether devices accept it at all.

use std::net::IpAddr;

use webpki::ALL_VERIFICATION_ALGS;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

use super::blocks::Block;
use super::error::{ImportError, Place};
use super::form;

/// Names longer than this are cut in messages, in characters.
const MAX_SHOWN: usize = 120;

/// A certificate and its position.
pub(super) struct Certificate<'a> {
    pub(super) x509: X509Certificate<'a>,
    pub(super) der: &'a [u8],
    pub(super) place: &'a Place,
}

/// Whether a block with this label is a certificate.
pub(super) fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}

/// The command that converts a block that cannot be read directly.
pub(super) fn converter(label: &str) -> Option<&'static str> {
    match label {
        "TRUSTED CERTIFICATE" => Some("openssl x509 -in FILE"),
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Some("openssl pkcs7 -print_certs -in FILE"),
        _ => None,
    }
}

impl<'a> Certificate<'a> {
    /// Reads the certificate of a block.
    pub(super) fn read(block: &'a Block) -> Result<Self, ImportError> {
        let Ok(([], x509)) = X509Certificate::from_der(&block.der) else {
            return Err(ImportError::BrokenCertificate(block.place.clone()));
        };
        let read = Self { x509, der: &block.der, place: &block.place };
        match form::unreadable(&read.x509) {
            Some(reason) => Err(read.unusable(reason)),
            None => Ok(read),
        }
    }

    fn unusable(&self, reason: String) -> ImportError {
        ImportError::Unusable { place: self.place.clone(), subject: self.subject(), reason }
    }

    /// The subject for display: the common name, else the whole subject, else the first host.
    pub(super) fn subject(&self) -> String {
        let name = shown(self.x509.subject());
        if name.is_empty() {
            self.names().into_iter().next().unwrap_or_else(|| "nobody".into())
        } else {
            name
        }
    }

    /// The issuer for display.
    pub(super) fn issuer(&self) -> String {
        shown(self.x509.issuer())
    }

    /// The common name of its subject.
    pub(super) fn common_name(&self) -> Option<String> {
        let name = self.x509.subject().iter_common_name().next()?;
        Some(cut(name.as_str().ok()?))
    }

    /// The hosts it is for: DNS names and IP addresses of its alternative names.
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

    /// Whether its own key signed it.
    pub(super) fn is_self_signed(&self) -> bool {
        self.has_signed(self)
    }

    /// Whether `lower` names this one as its issuer.
    pub(super) fn is_named_issuer_of(&self, lower: &Self) -> bool {
        self.x509.subject().as_raw() == lower.x509.issuer().as_raw()
    }

    /// Whether this one's key signed `lower`.
    pub(super) fn has_signed(&self, lower: &Self) -> bool {
        self.is_named_issuer_of(lower)
            && (verifies(self.x509.public_key(), lower.der).is_some() || self.verified_of_old(lower))
    }

    /// Also accepts algorithms that are rejected by name later.
    fn verified_of_old(&self, lower: &Self) -> bool {
        lower.x509.verify_signature(Some(self.x509.public_key())).is_ok()
    }

    /// Requirements for the key of every certificate.
    fn check_key(&self) -> Result<(), ImportError> {
        if let Ok(PublicKey::RSA(rsa)) = self.x509.public_key().parsed()
            && rsa.key_size() < 2048
        {
            let bits = rsa.key_size();
            return Err(ImportError::WeakKey { place: self.place.clone(), subject: self.subject(), bits });
        }
        form::useless_key(&self.x509).map_or(Ok(()), |reason| Err(self.unusable(reason)))
    }

    /// Requirements for every certificate of a chain.
    pub(super) fn check_strength(&self) -> Result<(), ImportError> {
        self.check_key()?;
        if let Some(reason) = form::useless_signature(&self.x509) {
            return Err(self.unusable(reason.into()));
        }
        let algorithm = match self.x509.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" => "SHA-1",
            "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" => "MD5",
            _ => return Ok(()),
        };
        Err(ImportError::WeakSignature { place: self.place.clone(), subject: self.subject(), algorithm })
    }

    /// Requirements for a server certificate.
    pub(super) fn check_server(&self) -> Result<(), ImportError> {
        if self.x509.version() != X509Version::V3 {
            return Err(ImportError::OldVersion(self.place.clone()));
        }
        self.check_strength()?;
        let (place, subject) = (self.place.clone(), self.subject());
        let usage = self.x509.key_usage().ok().flatten().map(|extension| extension.value);
        let may_sign = usage.is_none_or(|usage| usage.digital_signature() || usage.key_encipherment());
        if self.x509.is_ca() && (!may_sign || !self.is_self_signed()) {
            return Err(ImportError::Authority { place, subject });
        }
        if !may_sign {
            return Err(ImportError::NoSignatures { place, subject });
        }
        if !self.may_serve() {
            return Err(ImportError::NotForServers { place, subject });
        }
        Ok(())
    }

    /// Whether it, and what is below it, may be shown by servers.
    pub(super) fn may_serve(&self) -> bool {
        let extended = self.x509.extended_key_usage().ok().flatten().map(|extension| extension.value);
        extended.is_none_or(|usage| usage.any || usage.server_auth)
    }

    /// How many authorities may stand between it and a server's certificate; `None` for any number.
    pub(super) fn path_length(&self) -> Option<u32> {
        self.x509.basic_constraints().ok()??.value.path_len_constraint
    }

    /// Requirements for an issuer.
    pub(super) fn check_issuer(&self) -> Result<(), ImportError> {
        // Nobody checks a root's signature on itself.
        if self.is_self_signed() {
            self.check_key()?
        } else {
            self.check_strength()?
        }
        self.no_authority().map_or(Ok(()), |reason| {
            Err(ImportError::NoAuthority { place: self.place.clone(), subject: self.subject(), reason })
        })
    }

    /// Requirements for a directly trusted authority, whose own signature nobody checks.
    pub(super) fn check_authority(&self) -> Result<(), ImportError> {
        if let Some(reason) = self.no_authority() {
            return Err(ImportError::NotAuthority {
                place: self.place.clone(),
                subject: self.subject(),
                reason,
            });
        }
        let unknown = |extension: &&X509Extension<'_>| {
            extension.critical
                && matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
        };
        if let Some(extension) = self.x509.extensions().iter().find(unknown) {
            let reason = format!("its critical extension {} is unknown", extension.oid.to_id_string());
            return Err(self.unusable(reason));
        }
        self.check_key()
    }

    /// Why it is not an authority.
    fn no_authority(&self) -> Option<&'static str> {
        let usage = self.x509.key_usage().ok().flatten().map(|extension| extension.value);
        if self.x509.version() != X509Version::V3 {
            Some(
                "it is of X.509 version 1, which cannot say so: have it made again with basicConstraints=CA:TRUE",
            )
        } else if !self.x509.is_ca() {
            Some("it does not say CA:TRUE in its basic constraints")
        } else if usage.is_some_and(|usage| !usage.key_cert_sign()) {
            Some("its key usage lacks keyCertSign")
        } else {
            None
        }
    }
}

/// Verifies as devices do that a key signed a certificate, a request or a revocation list: contents, algorithm and
/// signature in one sequence.
pub(super) fn verifies(key: &SubjectPublicKeyInfo<'_>, signed: &[u8]) -> Option<()> {
    let (key_algorithm, _) = element(element(key.raw)?.0)?;
    let (all, _) = element(signed)?;
    let (_, after_contents) = element(all)?;
    let (signature_algorithm, after_algorithm) = element(after_contents)?;
    let fits = ALL_VERIFICATION_ALGS.iter().find(|algorithm| {
        *algorithm.public_key_alg_id() == *key_algorithm
            && *algorithm.signature_alg_id() == *signature_algorithm
    })?;
    let contents = all.get(..all.len() - after_contents.len())?;
    // A bit string says first how many bits of its end are unused.
    let signature = element(after_algorithm)?.0.strip_prefix(&[0])?;
    fits.verify_signature(&key.subject_public_key.data, contents, signature).ok()
}

/// The contents of a DER value, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, value) = Any::from_der(der).ok()?;
    Some((value.data, rest))
}

/// The common name, else the whole name.
pub(super) fn shown(name: &X509Name<'_>) -> String {
    match name.iter_common_name().next().and_then(|name| name.as_str().ok()) {
        Some(common_name) if !common_name.is_empty() => cut(common_name),
        _ => cut(&name.to_string()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
