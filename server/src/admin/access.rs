//! Access control: users of this host may do everything, or only read, by the socket that they use; holders of a service
//! login what its permissions allow.

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schema::service_login::Acl;

use super::error::AdminError;
use super::sockets::Reader;
use super::{Admin, Operator, refusals};
use crate::clock;
use crate::sessions::bearer_of;
use crate::visits::Visitor;

/// Runs before every route and checks its permissions, of which one suffices.
pub(super) async fn admit(
    State((admin, needs)): State<(Admin, &'static [Acl])>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = match visitor(&admin, &request) {
        Ok(visitor) => visitor,
        Err(refusal) => return refusal.into_response(),
    };
    if let Err(refusal) = allow(&admin, &visitor, needs) {
        refusals::without_permission(&admin, visitor.to_string(), request, refusal.failure()).await;
        return refusal.into_response();
    }
    request.extensions_mut().insert(Operator(visitor.to_string()));
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Who asks: a user by the socket, somebody whose browser the pages let in, or the holder of a login.
fn visitor(admin: &Admin, request: &Request) -> Result<Visitor, AdminError> {
    // Only the sockets and the pages add these: over the network the peer is an address.
    let known = request.extensions();
    if let Some(ConnectInfo(Operator(name))) = known.get::<ConnectInfo<Operator>>() {
        return Ok(Visitor::User { name: name.clone(), reads: false });
    }
    if let Some(ConnectInfo(Reader(Operator(name)))) = known.get::<ConnectInfo<Reader>>() {
        return Ok(Visitor::User { name: name.clone(), reads: true });
    }
    if let Some(visitor) = known.get::<Visitor>() {
        return Ok(visitor.clone());
    }
    let store = &admin.store;
    let accept = |token| store.logins().accept(token, &store.catalog(), clock::seconds());
    let login = bearer_of(request.headers()).and_then(accept).ok_or_else(AdminError::unauthenticated)?;
    Ok(Visitor::Login(login))
}

/// Whether one of these permissions is theirs. A login is looked up again: it may have ended since the browser was let in.
fn allow(admin: &Admin, visitor: &Visitor, needs: &[Acl]) -> Result<(), AdminError> {
    let store = &admin.store;
    match visitor {
        Visitor::User { reads: true, .. } if !needs.contains(&Acl::AdminRead) => {
            Err(AdminError::for_reading())
        }
        Visitor::User { .. } => Ok(()),
        Visitor::Login(login) if !store.logins().still_accept(login, &store.catalog(), clock::seconds()) => {
            Err(AdminError::unauthenticated())
        }
        Visitor::Login(login) if !login.may(needs) => Err(AdminError::forbidden(needs)),
        Visitor::Login(_) => Ok(()),
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
