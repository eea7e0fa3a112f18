//! Certificates of throwaway authorities.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

/// An authority with its key.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as PEM and as DER.
pub(super) struct Issued {
    pub(super) cert_pem: String,
    pub(super) key_pem: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pub(super) serial: SerialNumber,
}

impl Issued {
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}

fn params(name: &str, below: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        Self::root(params(name, BasicConstraints::Unconstrained))
    }

    /// One that allows no other authority below it.
    pub(super) fn flat(name: &str) -> Self {
        Self::root(params(name, BasicConstraints::Constrained(0)))
    }

    /// An expired authority.
    pub(super) fn expired(name: &str) -> Self {
        let mut params = params(name, BasicConstraints::Unconstrained);
        #[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
        let now = OffsetDateTime::now_utc();
        params.not_after = now - Duration::days(1);
        Self::root(params)
    }

    /// An authority that begins tomorrow.
    pub(super) fn later(name: &str) -> Self {
        let mut params = params(name, BasicConstraints::Unconstrained);
        #[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::days(1);
        Self::root(params)
    }

    fn root(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA"))
    }

    /// An authority signed by this one.
    pub(super) fn below(&self, name: &str) -> Self {
        self.vouch(params(name, BasicConstraints::Unconstrained))
    }

    /// A certificate that is not an authority but signs anyway.
    pub(super) fn leaf_that_signs(&self, name: &str) -> Self {
        let mut params = params(name, BasicConstraints::Unconstrained);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.vouch(params)
    }

    fn vouch(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("a CA"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A server's certificate for `name` that is good for `days` more days.
    pub(super) fn server(&self, name: &str, days: i64) -> Issued {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        self.issue(params, name, days, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub(super) fn client(&self, name: &str) -> Issued {
        self.issue(CertificateParams::default(), name, 30, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        name: &str,
        days: i64,
        usage: ExtendedKeyUsagePurpose,
    ) -> Issued {
        #[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
        let now = OffsetDateTime::now_utc();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now - Duration::days(400);
        params.not_after = now + Duration::days(days);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let serial: SerialNumber =
            u64::from_be_bytes(key.public_key_raw()[1..9].try_into().expect("8")).into();
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            key,
            serial,
        }
    }

    /// A revocation list.
    pub(super) fn revoke(&self, revoked: &[&Issued]) -> String {
        self.revoke_from(-1, revoked)
    }

    /// One that was made on that day, and holds for two.
    pub(super) fn revoke_from(&self, day: i64, revoked: &[&Issued]) -> String {
        #[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
        let now = OffsetDateTime::now_utc();
        let revoked_certs = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now + Duration::days(day),
            next_update: now + Duration::days(day + 2),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }
}
