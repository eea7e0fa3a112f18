//! Certificates to be trusted: those of authorities.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use super::blocks::{self, AUTHORITIES, Source};
use super::certificate::{Certificate, converter, is_certificate, shown as subject_of, verifies};
use super::error::{ImportError, day};
use super::key;

/// The trusted certificates of some texts.
#[derive(Debug)]
pub struct Trusted {
    /// The certificates, without duplicates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Revocation lists, if requested.
    pub revoked: Vec<Vec<u8>>,
    /// Skipped certificates with the reason, a sentence for each.
    pub left_out: Vec<String>,
}

impl Trusted {
    /// Removes expired certificates.
    ///
    /// # Errors
    /// None remains.
    pub fn at(mut self, now: OffsetDateTime) -> Result<Self, ImportError> {
        let left_out = &mut self.left_out;
        self.certificates.retain(|der| {
            let end = not_after(der).filter(|end| now > *end);
            left_out.extend(
                end.map(|end| format!("the certificate of {} has expired on {}", subject(der), day(&end))),
            );
            end.is_none()
        });
        if self.certificates.is_empty() { Err(ImportError::NoneTrusted(self.left_out)) } else { Ok(self) }
    }
}

/// The expiry of a parsed certificate.
#[must_use]
pub fn not_after(der: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, x509) = parse_x509_certificate(der).ok()?;
    Some(x509.validity().not_after.to_datetime())
}

/// The begin of a parsed certificate.
#[must_use]
pub fn not_before(der: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, x509) = parse_x509_certificate(der).ok()?;
    Some(x509.validity().not_before.to_datetime())
}

/// Whether the key of a certificate signed this: a revocation list, or another certificate.
#[must_use]
pub fn has_signed(authority: &CertificateDer<'_>, signed: &[u8]) -> bool {
    parse_x509_certificate(authority).is_ok_and(|(_, x509)| verifies(x509.public_key(), signed).is_some())
}

/// How many authorities may stand between a parsed certificate and a leaf; `None` for any number.
#[must_use]
pub fn path_length(der: &CertificateDer<'_>) -> Option<u32> {
    let (_, x509) = parse_x509_certificate(der).ok()?;
    x509.basic_constraints().ok()??.value.path_len_constraint
}

/// Certificates to trust servers with, of authorities. A single server's that signed itself is none: trusting it would let
/// its key speak for every name.
///
/// # Errors
/// None is usable, the texts are damaged, or they contain a private key.
pub fn trusted_certificates(sources: &[Source<'_>]) -> Result<Trusted, ImportError> {
    read(sources, &|certificate: &Certificate<'_>| match certificate.check_authority() {
        Err(ImportError::NotAuthority { place, subject, .. }) if certificate.is_self_signed() => {
            Err(ImportError::OwnAuthority { place, subject })
        }
        judged => judged,
    })
}

/// Authorities to trust clients of; anything else is rejected. Revocation lists may be included.
///
/// # Errors
/// As [`trusted_certificates`], except that revocation lists alone are allowed.
pub fn client_authorities(sources: &[Source<'_>]) -> Result<Trusted, ImportError> {
    read(sources, &|certificate: &Certificate<'_>| certificate.check_authority())
}

fn read(
    sources: &[Source<'_>],
    check: &dyn Fn(&Certificate<'_>) -> Result<(), ImportError>,
) -> Result<Trusted, ImportError> {
    let mut trusted = Trusted { certificates: Vec::new(), revoked: Vec::new(), left_out: Vec::new() };
    let mut other = Vec::new();
    for block in blocks::read(sources, AUTHORITIES)? {
        let place = block.place.clone();
        if key::is_key(&block.label) {
            return Err(ImportError::KeyAmongCertificates(place));
        } else if let Some(how) = converter(&block.label) {
            return Err(ImportError::Convert { place, label: block.label, how });
        } else if is_certificate(&block.label) {
            let der = CertificateDer::from(block.der.to_vec());
            match Certificate::read(&block).and_then(|certificate| check(&certificate)) {
                Err(why) => trusted.left_out.push(why.to_string()),
                Ok(()) if trusted.certificates.contains(&der) => {
                    trusted.left_out.push(format!("{place}: the certificate is there twice"));
                }
                Ok(()) => trusted.certificates.push(der),
            }
        } else if block.label == "X509 CRL" {
            trusted.revoked.push(block.der.to_vec());
        } else {
            other.push(format!("{} at {place}", block.label));
        }
    }
    if trusted.certificates.is_empty() && !trusted.left_out.is_empty() {
        return Err(ImportError::NoneTrusted(trusted.left_out));
    }
    if trusted.certificates.is_empty() && trusted.revoked.is_empty() {
        return Err(ImportError::NoCertificate(other));
    }
    trusted.left_out.extend(other.into_iter().map(|what| format!("{what} is no certificate")));
    Ok(trusted)
}

/// Whose it is.
fn subject(der: &CertificateDer<'_>) -> String {
    parse_x509_certificate(der).map(|(_, x509)| subject_of(x509.subject())).unwrap_or_default()
}
