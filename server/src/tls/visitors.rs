//! Verification of client certificates.
//!
//! rustls takes the given authorities at face value: it ignores their expiry and path length. OpenSSL and Go check
//! both, and an operator who put them into a CA certificate means them.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use schema::tls::{not_after, path_length};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};

use super::clients::ClientCas;
use super::provider;

/// An authority with the fields that rustls ignores.
#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
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
    revoked: Vec<CertRevocationList<'static>>,
}

impl Visitors {
    /// Verifies with these authorities and revocation lists.
    pub(super) fn of(cas: &ClientCas, required: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        // A CA may have a revocation list or none.
        let anchors = Arc::new(provider::roots_of(cas.roots()));
        let inner = WebPkiClientVerifier::builder_with_provider(anchors, provider::provider())
            .with_crls(cas.revoked().cloned())
            .allow_unknown_revocation_status();
        let inner = if required { inner } else { inner.allow_unauthenticated() };
        let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
        let root = |der: &CertificateDer<'static>| {
            Some(Root {
                anchor: anchor_from_trusted_cert(der).ok()?.to_owned(),
                not_after: u64::try_from(not_after(der)?.unix_timestamp()).ok()?,
                path_length: path_length(der),
            })
        };
        let roots: Vec<Root> = cas.roots().filter_map(root).collect();
        let anchors = roots.iter().map(|root| root.anchor.clone()).collect();
        let lists = cas.revoked().map(|der| OwnedCertRevocationList::from_der(der).map(Into::into));
        let revoked = lists.collect::<Result<_, _>>().map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(Self { inner, roots, anchors, revoked }))
    }

    /// Whether the authority allows this path at this time.
    fn allows(&self, path: &VerifiedPath<'_>, now: UnixTime) -> bool {
        let between = path.intermediate_certificates().count();
        // An authority may have been renewed: any of its certificates that allows the path is enough.
        self.roots.iter().filter(|root| root.anchor == *path.anchor()).any(|root| {
            now.as_secs() <= root.not_after
                && root
                    .path_length
                    .is_none_or(|most| u32::try_from(between).is_ok_and(|between| between <= most))
        })
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
        // This result describes most problems best.
        let verified = self.inner.verify_client_cert(leaf, between, now)?;
        let lists: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|options| options.with_status_policy(UnknownStatusPolicy::Allow).build());
        let allowed = |path: &VerifiedPath<'_>| match self.allows(path, now) {
            true => Ok(()),
            false => Err(webpki::Error::UnknownIssuer),
        };
        let unknown = |_| Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let leaf = EndEntityCert::try_from(leaf).map_err(unknown)?;
        let usage = KeyUsage::client_auth();
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            between,
            now,
            usage,
            revocation,
            Some(&allowed),
        )
        .map_err(unknown)?;
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
