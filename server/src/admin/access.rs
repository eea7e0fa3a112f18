//! Access control: users of this host may do everything, or only read, by the socket that they use; holders of a service
//! login what its permissions allow.

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};
use schema::service_login::Acl;

use super::error::AdminError;
use super::sockets::Reader;
use super::{Admin, Operator};
use crate::clock;
use crate::sessions::bearer_of;

/// Runs before every route and checks its permissions, of which one suffices.
pub(super) async fn admit(
    State((admin, needs)): State<(Admin, &'static [Acl])>,
    mut request: Request,
    next: Next,
) -> Response {
    // Only the sockets add these: over the network the peer is an address.
    let known = request.extensions();
    let operator = match (known.get::<ConnectInfo<Operator>>(), known.get::<ConnectInfo<Reader>>()) {
        (Some(ConnectInfo(operator)), _) => Ok(operator.clone()),
        (None, Some(ConnectInfo(Reader(operator)))) if needs.contains(&Acl::AdminRead) => {
            Ok(operator.clone())
        }
        (None, Some(_)) => Err(AdminError::for_reading()),
        (None, None) => holder(&admin, request.headers(), needs),
    };
    match operator {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The holder of a login with one of these permissions.
fn holder(admin: &Admin, headers: &HeaderMap, needs: &[Acl]) -> Result<Operator, AdminError> {
    let store = &admin.store;
    let accept = |token| store.logins().accept(token, &store.catalog(), clock::seconds());
    let login = bearer_of(headers).and_then(accept).ok_or_else(AdminError::unauthenticated)?;
    match login.may(needs) {
        true => Ok(Operator(format!("login {}", login.id))),
        false => Err(AdminError::forbidden(needs)),
    }
}

/// Headers of every answer over the network: no cache may keep what a login was told.
pub(super) async fn seal(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(VARY, HeaderValue::from_static("Authorization"));
    response
}
