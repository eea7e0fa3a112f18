//! What a device needs to use this store: its assertion and its authority.

use axum::Json;
use axum::extract::State;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use schema::api::admin::DeviceKit;
use schema::tls::to_pem;

use super::Admin;
use crate::tls::Leaf;

/// Answers `ShowDeviceKit`.
pub(super) async fn show(State(admin): State<Admin>) -> Json<DeviceKit> {
    let store = &admin.store;
    let (catalog, settings) = (store.catalog(), store.settings());
    let stream = catalog.registration().and_then(|stream| String::from_utf8(stream).ok());
    Json(DeviceKit {
        url: catalog.base_url.to_string(),
        store_id: settings.identity.store_id.clone().filter(|_| stream.is_some()),
        assertions: stream,
        registered_url: settings.identity.store_url.clone(),
        ca: authority(&admin),
    })
}

/// The own authority where it issued the certificate, or the certificate where it signed itself.
fn authority(admin: &Admin) -> Option<String> {
    let state = admin.store.tls().state();
    let served = state.served.as_ref()?;
    let pem = |certificate: &CertificateDer<'_>| to_pem("CERTIFICATE", certificate);
    let top = served.chain.last()?;
    let issuer = Leaf::read(top)?.issuer;
    let own = std::fs::read(admin.store.data_dir().join("ca/ca.pem")).ok();
    let own = own.and_then(|text| CertificateDer::from_pem_slice(&text).ok());
    if let Some(own) = own.filter(|own| Leaf::read(own).is_some_and(|leaf| leaf.subject == issuer)) {
        // While the authority is replaced, devices trust the next and the former one as well.
        let roots = std::fs::read_to_string(admin.store.data_dir().join("ca/roots.pem")).ok();
        return Some(roots.filter(|roots| roots.contains(&pem(&own))).unwrap_or_else(|| pem(&own)));
    }
    Leaf::read(top).filter(|leaf| leaf.subject == leaf.issuer).map(|_| pem(top))
}
