//! Verification of client certificates.
//!
//! rustls takes the given authorities at face value: it ignores their validity and path length. OpenSSL and Go check
//! both, and an operator who put them into a CA certificate means them. It also takes the first revocation list of an
//! issuer's name; here the newest one counts that the issuer's key signed.

use std::cmp::Reverse;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use schema::tls::{not_after, not_before, path_length};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, KeyUsage, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};

use super::clients::ClientCas;
use super::lists::List;
use super::provider;

/// An authority with the fields that rustls ignores.
#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    /// Its first second.
    not_before: u64,
    /// Its last second.
    not_after: u64,
    /// How many authorities may be below it.
    path_length: Option<u32>,
}

/// Verifies a client certificate as rustls does, and then checks its authority completely.
#[derive(Debug)]
pub(super) struct Visitors {
    inner: Arc<dyn ClientCertVerifier>,
    roots: Vec<Root>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Newest first.
    revoked: Vec<Revoked>,
    is_shut: bool,
}

/// A revocation list.
#[derive(Debug)]
struct Revoked {
    list: List,
    parsed: CertRevocationList<'static>,
    /// The authorities whose key signed it.
    signers: Vec<TrustAnchor<'static>>,
}

impl Visitors {
    /// Verifies with these authorities and revocation lists.
    pub(super) fn of(cas: &ClientCas, required: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let anchors = Arc::new(provider::roots_of(cas.roots()));
        let inner = WebPkiClientVerifier::builder_with_provider(anchors, provider::provider());
        let inner = if required { inner } else { inner.allow_unauthenticated() };
        let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
        let root = |der: &CertificateDer<'static>| {
            Some(Root {
                anchor: anchor_from_trusted_cert(der).ok()?.to_owned(),
                // An authority may be older than Unix.
                not_before: u64::try_from(not_before(der)?.unix_timestamp()).unwrap_or_default(),
                not_after: u64::try_from(not_after(der)?.unix_timestamp()).ok()?,
                path_length: path_length(der),
            })
        };
        let roots: Vec<Root> = cas.roots().filter_map(root).collect();
        let anchors = roots.iter().map(|root| root.anchor.clone()).collect();
        let revoked = |list: &List| {
            let signers = cas.roots().filter(|root| list.is_of(root));
            let signers = signers.filter_map(|root| Some(anchor_from_trusted_cert(root).ok()?.to_owned()));
            Some(Revoked { list: list.clone(), parsed: list.parsed()?, signers: signers.collect() })
        };
        let mut revoked: Vec<Revoked> = cas.revoked().filter_map(revoked).collect();
        revoked.sort_by_key(|revoked| Reverse(revoked.list.made));
        Ok(Arc::new(Self { inner, roots, anchors, revoked, is_shut: cas.is_shut }))
    }

    /// Whether the authority allows this path at this time.
    fn allows(&self, path: &VerifiedPath<'_>, now: UnixTime) -> bool {
        let between = path.intermediate_certificates().count();
        // An authority may have been renewed: any of its certificates that allows the path is enough.
        self.roots.iter().filter(|root| root.anchor == *path.anchor()).any(|root| {
            (root.not_before..=root.not_after).contains(&now.as_secs())
                && root
                    .path_length
                    .is_none_or(|most| u32::try_from(between).is_ok_and(|between| between <= most))
        })
    }

    /// Verifies the path again, with the lists that its own authorities signed. An authority may have none.
    fn check_revoked(
        &self,
        leaf: &CertificateDer<'_>,
        path: &VerifiedPath<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let between: Vec<CertificateDer<'_>> =
            path.intermediate_certificates().map(|above| above.der()).collect();
        let is_of_path = |revoked: &&Revoked| {
            revoked.signers.iter().any(|signer| signer == path.anchor())
                || between.iter().any(|above| revoked.list.is_of(above))
        };
        let lists: Vec<&CertRevocationList<'_>> =
            self.revoked.iter().filter(is_of_path).map(|revoked| &revoked.parsed).collect();
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
        let options = options.with_status_policy(UnknownStatusPolicy::Allow).build();
        let anchors = [path.anchor().clone()];
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &between,
                now,
                KeyUsage::client_auth(),
                Some(options),
                None,
            )
            .map(drop)
    }
}

impl ClientCertVerifier for Visitors {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.is_shut {
            return Err(CertificateError::UnknownRevocationStatus.into());
        }
        // This result describes most problems best.
        let verified = self.inner.verify_client_cert(leaf, between, now)?;
        let allowed = |path: &VerifiedPath<'_>| match self.allows(path, now) {
            true => self.check_revoked(leaf, path, now),
            false => Err(webpki::Error::UnknownIssuer),
        };
        let refused = |error| match error {
            webpki::Error::CertRevoked => Error::from(CertificateError::Revoked),
            _ => CertificateError::UnknownIssuer.into(),
        };
        EndEntityCert::try_from(leaf)
            .map_err(refused)?
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &self.anchors,
                between,
                now,
                KeyUsage::client_auth(),
                None,
                Some(&allowed),
            )
            .map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
