//! The certificate authority for a site without one (RFC 5280).

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use super::blocks::{self, CHAIN, Source, encode};
use super::error::{ImportError, day};
use super::{Level, Pair, certificate, expiry};

/// How long an authority lasts, in days.
const AUTHORITY_DAYS: u32 = 3653;

/// Certificates are valid from a day before they are issued, because the clocks of devices without a time server lag.
const HEAD_START: Duration = Duration::days(1);

/// Inputs that a pure function cannot obtain: the time, and random bytes for the serial number.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The time of issue.
    pub now: OffsetDateTime,
    /// Fresh random bytes.
    pub serial: [u8; 16],
}

/// The purpose of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage<'a> {
    /// A server, at these DNS names and IP addresses; the first is its common name.
    Server(&'a [String]),
    /// A client of this name.
    Client(&'a str),
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// No name is given.
    #[error("a certificate needs a name")]
    NoName,
    /// The name cannot be put into a certificate.
    #[error(
        "cannot certify {0:?}: expected a host name, an IP address or a client's name without control characters"
    )]
    Name(String),
    /// The validity is shorter than a day, or longer than the authority's.
    #[error("cannot issue for {days} days: expected 1 to {most}, the days that the authority still lasts")]
    Days {
        /// The requested days.
        days: u32,
        /// The most days possible.
        most: i64,
    },
    /// The authority has expired.
    #[error("the authority has expired on {}: make another with `proxy ca init`", day(.0))]
    Expired(OffsetDateTime),
    /// The authority expires before a successor would.
    #[error("the authority expires on {} and its certificates with it: `proxy ca roll` makes the next one", day(.0))]
    Ends(OffsetDateTime),
    /// The authority's files do not match.
    #[error("cannot use the authority: {0}")]
    Unfit(&'static str),
    /// The text is not a certificate or request.
    #[error(transparent)]
    Pem(#[from] ImportError),
    /// The request is invalid.
    #[error("cannot sign the request: {0}")]
    Request(&'static str),
    /// Encoding failed.
    #[error("cannot make the certificate")]
    Make(#[from] Error),
}

/// A certificate and its own key, both as PEM.
pub struct Issued {
    /// The certificate, followed by the authority's.
    pub cert_pem: String,
    /// The key, PKCS#8.
    pub key_pem: Zeroizing<String>,
}

/// A certificate authority: its certificate and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Creates an authority with a P-256 key, valid for ten years.
    pub fn create(name: &str, stamp: Stamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, AUTHORITY_DAYS, stamp)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert_pem = encode("CERTIFICATE", params.self_signed(&key)?.der());
        let not_after = params.not_after;
        Ok(Self { issuer: Issuer::new(params, key), cert_pem, not_after })
    }

    /// Loads an existing authority.
    ///
    /// # Errors
    /// The texts are not an authority's certificate and its key.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let blocks = blocks::read(&[Source { name: "the certificate", bytes: cert_pem.as_bytes() }], CHAIN)?;
        let unfit = AuthorityError::Unfit;
        let [block] = blocks.as_slice() else { return Err(unfit("expected one certificate")) };
        let certificate = certificate::Certificate::read(block)?;
        certificate.check_issuer()?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| unfit("its key cannot be read"))?;
        if *certificate.x509.public_key().subject_public_key.data != *key.public_key_raw() {
            return Err(unfit("its key and its certificate do not belong together"));
        }
        let not_after = certificate.x509.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&certificate.der.into(), key)?;
        Ok(Self { issuer, cert_pem: encode("CERTIFICATE", certificate.der), not_after })
    }

    /// The authority's certificate, which devices must trust.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key of the authority.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encode("PRIVATE KEY", self.issuer.key().serialized_der()))
    }

    /// When it expires.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Issues a certificate with a new P-256 key.
    pub fn issue(&self, usage: Usage<'_>, days: u32, stamp: Stamp) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert_pem = self.sign(&key, usage, days, stamp)?;
        Ok(Issued { cert_pem, key_pem: Zeroizing::new(encode("PRIVATE KEY", key.serialized_der())) })
    }

    /// Issues a certificate for a request's key; everything else in the request is ignored.
    pub fn sign_request(
        &self,
        request: Source<'_>,
        usage: Usage<'_>,
        days: u32,
        stamp: Stamp,
    ) -> Result<String, AuthorityError> {
        let blocks = blocks::read(&[request], CHAIN)?;
        let wrong = AuthorityError::Request;
        let is_request = |label: &str| matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST");
        let [block] = blocks.as_slice() else { return Err(wrong("expected one CERTIFICATE REQUEST block")) };
        if !is_request(&block.label) {
            return Err(wrong("expected one CERTIFICATE REQUEST block"));
        }
        let Ok((_, request)) = X509CertificationRequest::from_der(&block.der) else {
            return Err(wrong("it cannot be read"));
        };
        let public = &request.certification_request_info.subject_pki;
        if let Ok(PublicKey::RSA(rsa)) = public.parsed()
            && rsa.key_size() < 2048
        {
            return Err(wrong("its RSA key has less than 2048 bits"));
        }
        if certificate::verifies(public, &block.der).is_none() && request.verify_signature().is_err() {
            return Err(wrong("it is not signed by its own key"));
        }
        let public = SubjectPublicKeyInfo::from_der(public.raw)
            .map_err(|_| wrong("its key is neither ECDSA, RSA nor Ed25519"))?;
        self.sign(&public, usage, days, stamp)
    }

    /// A successor of a server's certificate of this authority, for the same names and as long a life, once a third of that
    /// is left. `None` before, and for a certificate that another issued.
    ///
    /// # Errors
    /// The authority itself ends too soon.
    pub fn renew(&self, held: &Pair, stamp: Stamp) -> Result<Option<Issued>, AuthorityError> {
        let is_own = held.chain().len() == 2
            && held.chain().last().is_some_and(|top| encode("CERTIFICATE", top) == self.cert_pem);
        if !is_own || expiry(held, stamp.now).level == Level::Fine {
            return Ok(None);
        }
        let life = (held.not_after() - held.not_before() - HEAD_START).whole_days();
        let days = life.min((self.not_after - stamp.now).whole_days());
        if stamp.now + Duration::days(days) <= held.not_after() {
            return Err(AuthorityError::Ends(self.not_after));
        }
        let days = u32::try_from(days).unwrap_or_default();
        self.issue(Usage::Server(held.names()), days, stamp).map(Some)
    }

    fn sign(
        &self,
        public: &impl PublicKeyData,
        usage: Usage<'_>,
        days: u32,
        stamp: Stamp,
    ) -> Result<String, AuthorityError> {
        let left = (self.not_after - stamp.now).whole_days();
        if left < 1 {
            return Err(AuthorityError::Expired(self.not_after));
        }
        if days == 0 || i64::from(days) > left {
            return Err(AuthorityError::Days { days, most: left });
        }
        let mut params = end_entity(usage, days, stamp)?;
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(public, &self.issuer)?;
        Ok(encode("CERTIFICATE", signed.der()) + &self.cert_pem)
    }
}

/// A self-signed certificate for `domain`.
pub fn self_signed(domain: &str, days: u32, stamp: Stamp) -> Result<Pair, AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let params = end_entity(Usage::Server(&[domain.to_owned()]), days, stamp)?;
    let cert_pem = encode("CERTIFICATE", params.self_signed(&key)?.der());
    let key_pem = Zeroizing::new(encode("PRIVATE KEY", key.serialized_der()));
    let sources = [
        Source { name: "the certificate", bytes: cert_pem.as_bytes() },
        Source { name: "the key", bytes: key_pem.as_bytes() },
    ];
    Ok(Pair::import(&sources, None, domain, stamp.now)?.pair)
}

fn end_entity(usage: Usage<'_>, days: u32, stamp: Stamp) -> Result<CertificateParams, AuthorityError> {
    let (common_name, hosts, extended) = match usage {
        Usage::Server(names) => {
            let first = names.first().ok_or(AuthorityError::NoName)?;
            (first.as_str(), names, ExtendedKeyUsagePurpose::ServerAuth)
        }
        Usage::Client(name) => (name, [].as_slice(), ExtendedKeyUsagePurpose::ClientAuth),
    };
    let mut params = params(common_name, days, stamp)?;
    for host in hosts {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let wrong = || AuthorityError::Name(host.clone());
        // Do not certify a name that no verifier would accept.
        let checked = bare.strip_prefix("*.").unwrap_or(bare);
        rustls_pki_types::ServerName::try_from(checked).map_err(|_| wrong())?;
        let made = CertificateParams::new([bare.to_owned()]).map_err(|_| wrong())?;
        params.subject_alt_names.extend(made.subject_alt_names);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![extended];
    Ok(params)
}

fn params(name: &str, days: u32, stamp: Stamp) -> Result<CertificateParams, AuthorityError> {
    // RFC 5280 allows 64 characters in a common name.
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(AuthorityError::Name(name.to_owned()));
    }
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished;
    params.not_before = stamp.now - HEAD_START;
    params.not_after = stamp.now + Duration::days(days.into());
    // Positive, and of at most 20 bytes.
    params.serial_number = Some(SerialNumber::from_slice(&stamp.serial));
    Ok(params)
}
