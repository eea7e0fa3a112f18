//! All routes of the admin API: path, required permissions over the network, and handler.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use schema::service_login::Acl;
use schemars::SchemaGenerator;

use super::shape::{Described, Shape};
use super::{
    Admin, acme, audit, config, device_kit, devices, doctor, jobs, logins, maintain, openapi, overrides,
    push, report, status, upkeep,
};

/// A route.
pub(super) struct Route {
    /// The method.
    pub(super) method: Method,
    /// Its path pattern.
    pub(super) path: &'static str,
    /// The permissions, of which one suffices; [`Acl::Admin`] opens all routes.
    pub(super) needs: &'static [Acl],
    /// A short description.
    pub(super) summary: &'static str,
    /// Its input and output.
    pub(super) shape: fn(&mut SchemaGenerator) -> Shape,
    /// The handler.
    pub(super) handler: MethodRouter<Admin>,
}

/// Changes the site, or shows what only an operator may know.
const ADMIN: &[Acl] = &[Acl::Admin];
/// Only shows something.
const READ: &[Acl] = &[Acl::Admin, Acl::AdminRead];
/// Imports something.
const IMPORTS: &[Acl] = &[Acl::Admin, Acl::AdminImports];
/// Changes overrides.
const OVERRIDES: &[Acl] = &[Acl::Admin, Acl::Overrides];
/// Shows overrides.
const SEE_OVERRIDES: &[Acl] = &[Acl::Admin, Acl::AdminRead, Acl::Overrides];

/// A route cannot be declared without its permissions.
fn route<H, T, A>(
    method: Method,
    path: &'static str,
    needs: &'static [Acl],
    summary: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Admin> + Described<A>,
    T: 'static,
{
    let filter = match method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    Route { method, path, needs, summary, shape: H::shape, handler: on(filter, handler) }
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/v1/status", READ, "How the store is doing", status::status),
        route(Method::GET, "/v1/device-kit", READ, "What a device needs to use this store", device_kit::show),
        route(Method::GET, "/v1/doctor", READ, "Are devices served, now and in 90 days", doctor::doctor),
        route(Method::GET, "/v1/snaps", READ, "What is held", report::snaps),
        route(Method::POST, "/v1/snaps", IMPORTS, "Push a snap bundle", push::snaps),
        route(Method::POST, "/v1/archives", IMPORTS, "Push a store archive", push::archive),
        route(Method::POST, "/v1/assertions", IMPORTS, "Push a stream of assertions", push::assertions),
        route(Method::GET, "/v1/account-keys", READ, "Account keys that were imported", report::account_keys),
        route(Method::GET, "/v1/stores", READ, "Stores whose metadata was imported", report::stores),
        route(Method::POST, "/v1/stores", IMPORTS, "Push the metadata of brand stores", push::stores),
        route(Method::GET, "/v1/trust", READ, "Trust anchors beside the built-in ones", report::trust),
        route(Method::POST, "/v1/trust", ADMIN, "Add trust anchors", push::trust),
        route(Method::DELETE, "/v1/trust/{fingerprint}", ADMIN, "Remove a trust anchor", push::distrust),
        route(
            Method::GET,
            "/v1/config",
            READ,
            "The configuration in force, without its secrets",
            config::show,
        ),
        route(Method::PATCH, "/v1/config", ADMIN, "Change the configuration", config::change),
        route(Method::GET, "/v1/acme", READ, "How certificates come from an ACME authority", acme::status),
        route(Method::PUT, "/v1/acme", ADMIN, "Have certificates come from an ACME authority", acme::enable),
        route(Method::DELETE, "/v1/acme", ADMIN, "Have them come from nowhere", acme::disable),
        route(Method::POST, "/v1/acme/renew", ADMIN, "Ask for a certificate now", acme::renew),
        route(Method::GET, "/v1/jobs", READ, "What runs in the background", jobs::list),
        route(Method::PUT, "/v1/jobs/pause", ADMIN, "Hold a job, or let it go on", jobs::pause),
        route(Method::GET, "/v1/devices", READ, "Devices as they were last seen", devices::list),
        route(Method::GET, "/v1/device", READ, "One device", devices::show),
        route(
            Method::GET,
            "/v1/explain",
            READ,
            "Why a device gets its revision of a snap, or none",
            devices::explain,
        ),
        route(Method::GET, "/v1/misses", READ, "What devices asked for in vain", devices::misses),
        route(Method::PUT, "/v1/devices/block", ADMIN, "Block a device, or let it in again", config::block),
        route(
            Method::POST,
            "/v1/upkeep",
            ADMIN,
            "Release, close, remove and prune; planned first",
            upkeep::run,
        ),
        route(Method::GET, "/v1/audit", READ, "What operators did", audit::list),
        route(
            Method::GET,
            "/v1/overrides",
            SEE_OVERRIDES,
            "Overrides of the imported channel map",
            overrides::list,
        ),
        route(Method::POST, "/v1/overrides", OVERRIDES, "Give a channel another revision", overrides::set),
        route(
            Method::DELETE,
            "/v1/overrides",
            OVERRIDES,
            "Let the imported channel map count again",
            overrides::remove,
        ),
        route(Method::GET, "/v1/logins", READ, "Service logins, without their tokens", logins::list),
        route(Method::POST, "/v1/logins", ADMIN, "Make a service login", logins::create),
        route(Method::DELETE, "/v1/logins/{id}", ADMIN, "Take a service login back", logins::revoke),
        route(Method::POST, "/v1/verify", ADMIN, "Check everything that is held", maintain::verify),
        route(Method::POST, "/v1/repair", ADMIN, "Replace damaged files from a bundle", maintain::repair),
        route(Method::POST, "/v1/backup", ADMIN, "Everything that a host is rebuilt from", maintain::backup),
        route(Method::POST, "/v1/gc", ADMIN, "Remove files that nobody owns", maintain::gc),
        route(Method::POST, "/v1/secrets/rotate", ADMIN, "Make a secret anew", config::rotate),
        route(
            Method::POST,
            "/v1/database/copy",
            ADMIN,
            "Copy everything into a PostgreSQL database",
            config::copy,
        ),
        route(Method::GET, "/v1/openapi.json", READ, "This document", openapi::show),
    ]
}
