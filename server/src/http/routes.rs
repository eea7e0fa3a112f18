//! Lists every route of the device API.

use axum::routing::{MethodRouter, get, head, post};

use super::{
    App, assertions, catalogue, cohorts, dashboard, download, find, icons, info, overrides, refresh,
    registration, session, status,
};

/// Method and path pattern of a route, and its handler.
type Route = (&'static str, &'static str, MethodRouter<App>);

/// Routes for devices and routes whose answer depends on the caller; refused until air-gapped mode is on.
pub(super) fn device_routes() -> Vec<Route> {
    vec![
        ("POST", "/api/v1/snaps/auth/nonces", post(session::nonce)),
        ("POST", "/api/v1/snaps/auth/sessions", post(session::session)),
        ("POST", "/api/v1/snaps/auth/request-id", post(registration::request_id)),
        ("POST", "/api/v1/snaps/auth/devices", post(registration::devices)),
        ("POST", "/request-id", post(registration::service_request_id)),
        ("POST", "/serial", post(registration::service_serial)),
        ("POST", refresh::PATTERN, post(refresh::refresh)),
        ("GET", info::PATTERN, get(info::info)),
        ("GET", "/v2/snaps/find", get(find::find)),
        ("GET", "/v2/snaps/categories", get(catalogue::categories)),
        ("GET", "/api/v1/snaps/sections", get(catalogue::sections)),
        ("GET", "/api/v1/snaps/names", get(catalogue::names)),
        ("GET", "/v2/assertions/{*path}", get(assertions::assertion)),
        ("GET", "/v2/auth/store/assertions", get(assertions::registration)),
        ("GET", "/api/v1/snaps/download/{file}", get(download::snap)),
        ("GET", "/api/v1/snaps/resources/download/{file}", get(download::component)),
        ("GET", "/icons/{file}", get(icons::icon)),
        ("POST", "/v2/cohorts", post(cohorts::create)),
        ("GET", "/api/v2/stores/{id}", get(dashboard::store)),
        ("GET", "/api/v2/stores/{id}/snaps", get(dashboard::snaps)),
        ("GET", "/api/v2/tokens/whoami", get(dashboard::whoami)),
        ("GET", "/dev/api/account", get(dashboard::account)),
        ("GET", "/v2/metadata/overrides/{snap}", get(overrides::list)),
        ("POST", "/v2/metadata/overrides", post(overrides::change)),
    ]
}

/// Health routes, always answered.
pub(super) fn status_routes() -> Vec<Route> {
    vec![
        ("HEAD", "/", head(status::here).get(status::here)),
        ("GET", "/_status/check", get(status::check)),
        ("GET", "/_status/ready", get(status::ready)),
    ]
}

/// The path pattern of every route.
pub(crate) fn patterns() -> Vec<&'static str> {
    device_routes().into_iter().chain(status_routes()).map(|(_, path, _)| path).collect()
}

/// `METHOD PATH` of every route, for tests that must cover all of them.
pub(crate) fn listing() -> String {
    let all = device_routes().into_iter().chain(status_routes());
    all.map(|(method, path, _)| format!("{method} {path}\n")).collect()
}
