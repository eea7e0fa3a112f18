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
/// The store's own CA in the data directory.
const OWN_CA: &str = "ca/ca.pem";

/// The readable roots of the system and the data directory.
pub(crate) fn trusted(data_dir: &Path) -> RootCertStore {
    let system = BUNDLES.iter().find_map(|bundle| std::fs::read(bundle).ok());
    let own = std::fs::read(data_dir.join(OWN_CA)).ok();
    let certificates: Vec<CertificateDer<'static>> = [system, own]
        .iter()
        .flatten()
        .flat_map(|pem| CertificateDer::pem_slice_iter(pem).filter_map(Result::ok))
        .collect();
    provider::roots_of(&certificates)
}
