//! The authorities a device trusts: the system's, and the store's own one.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::provider;

/// The paths of system bundles; the first existing one counts. snapd's Go runtime has the same list.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The store's own CA in the data directory, and all that devices trust while it is replaced.
const OWN_CAS: [&str; 2] = ["ca/ca.pem", "ca/roots.pem"];

/// The readable roots of the system and the data directory.
pub(crate) fn trusted(data_dir: &Path) -> RootCertStore {
    let system = BUNDLES.iter().find_map(|bundle| std::fs::read(bundle).ok());
    let own = OWN_CAS.iter().filter_map(|own| std::fs::read(data_dir.join(own)).ok());
    let certificates: Vec<CertificateDer<'static>> = system
        .into_iter()
        .chain(own)
        .flat_map(|pem| CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect::<Vec<_>>())
        .collect();
    provider::roots_of(&certificates)
}
