//! One route of the admin API.

use axum::http::Method;
use axum::routing::MethodRouter;
use schema::service_login::Acl;
use schemars::SchemaGenerator;

use super::Admin;
use super::shape::Shape;

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
