//! The caller of a request: a device session in either header family, or a service login, with its scope.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use schema::api::credential;
use schema::api::device::Installed;
use schema::service_login::ServiceLogin;
use schema::store::{Architecture, DeltaFormat};

use super::App;
use super::error::ApiError;
use crate::catalog::{Catalog, NotAdmitted, Principal, Scope, Target, View};
use crate::clock;
use crate::fleet::Client;
use crate::sessions::bearer_of;
use crate::tls::ClientName;

/// The two names of the device session's header.
static SESSION_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("snap-device-authorization"), HeaderName::from_static("x-device-authorization")];
/// The two names of the architecture's header.
static ARCHITECTURE_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("snap-device-architecture"), HeaderName::from_static("x-ubuntu-architecture")];

/// The two names of the store header.
static STORE_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("snap-device-store"), HeaderName::from_static("x-ubuntu-store")];

/// Formats of deltas that a device applies, in the order of its preference.
static DELTA_FORMATS: HeaderName = HeaderName::from_static("snap-accept-delta-format");

/// An authenticated request: the current catalog, and what the caller may see of it.
pub(super) struct Caller {
    /// Who is asking.
    pub(super) principal: Principal,
    /// The other end of the connection.
    pub(super) client: Client,
    /// The formats of deltas that it says it applies.
    formats: [Option<DeltaFormat>; DeltaFormat::ALL.len()],
    catalog: Arc<Catalog>,
    scope: Scope,
}

impl Caller {
    /// The catalog as this caller sees it.
    pub(super) fn view(&self) -> View<'_> {
        self.catalog.view(self.scope.clone())
    }

    /// The base of every link.
    pub(super) fn base_url(&self) -> &str {
        &self.catalog.base_url
    }

    /// The assertions that point a device at this store; public.
    pub(super) fn registration(&self) -> Option<Vec<u8>> {
        self.catalog.registration()
    }

    /// The formats of deltas that it applies.
    pub(super) fn delta_formats(&self) -> impl Iterator<Item = DeltaFormat> {
        self.formats.into_iter().flatten()
    }

    /// The device's architecture; `None` for any.
    pub(super) fn architecture(&self) -> Option<&str> {
        self.client.architecture.as_ref().map(Architecture::as_str)
    }

    /// Whom to answer: this caller, with what it runs.
    pub(super) fn target<'a>(&'a self, installed: &'a [Installed<'a>]) -> Target<'a> {
        let session = self.principal.session();
        Target {
            device: session.map(|session| &session.device),
            store: session.and_then(|session| session.store.as_deref()),
            architecture: self.architecture(),
            installed,
            now_micros: clock::micros(),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let catalog = app.catalog();
        // Devices send their user logins of the public store along; these mean nothing here and are ignored.
        let login = bearer_of(&parts.headers);
        let login = login.and_then(|token| app.logins().accept(token, &catalog, clock::seconds()));
        let principal = match (session_of(&parts.headers)?, login) {
            (None, None) => Principal::Anonymous,
            (None, Some(login)) => {
                check_store(&parts.headers, &login)?;
                Principal::Service(login)
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::Invalid(
                    "conflicting-credentials",
                    "the request carries both a device session and a service login".into(),
                ));
            }
            (Some(token), None) => {
                let session = app.sessions().accept(token).map_err(|_| {
                    ApiError::Renew("the device session is not, or no longer, accepted: get a new one")
                })?;
                Principal::Device(session)
            }
        };
        let scope = Scope::admit(&principal, &catalog).map_err(|why| match why {
            NotAdmitted::Blocked => ApiError::Refused(why.code(), why.to_string()),
            NotAdmitted::Stale => ApiError::Renew("the device's brand is known by now: get a new session"),
            NotAdmitted::Reissued => ApiError::Renew("the serial was issued anew since: get a new session"),
        })?;
        let Ok(client) = Client::from_request_parts(parts, app).await;
        let named =
            parts.headers.get(&DELTA_FORMATS).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let takes = |format: DeltaFormat| named.split(',').any(|one| one.trim() == format.as_str());
        let formats = DeltaFormat::ALL.map(|format| takes(format).then_some(format));
        Ok(Self { principal, client, formats, catalog, scope })
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let architecture = ARCHITECTURE_HEADERS.iter().find_map(|name| parts.headers.get(name));
        // One that cannot be read is still not every other one.
        let architecture = architecture.map(|value| {
            let named = value.to_str().ok().and_then(|name| name.parse().ok());
            named.unwrap_or_else(Architecture::all)
        });
        Ok(Self {
            address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()),
            agent: parts.headers.get(USER_AGENT).cloned(),
            certificate: parts.extensions.get::<ClientName>().cloned(),
            architecture,
        })
    }
}

/// The only session token in the headers. Two different ones are rejected.
fn session_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut all = SESSION_HEADERS.iter().flat_map(|name| headers.get_all(name));
    let Some(first) = all.next() else { return Ok(None) };
    if all.any(|other| other != first) {
        return Err(ApiError::Invalid(
            "conflicting-sessions",
            "the request carries more than one device session".into(),
        ));
    }
    let token = first.to_str().ok().and_then(credential::session);
    token.map(Some).ok_or(ApiError::Renew("the device session cannot be read: get a new one"))
}

/// A login for one store is never valid for another, whatever the request says.
fn check_store(headers: &HeaderMap, login: &ServiceLogin) -> Result<(), ApiError> {
    let Some(own) = &login.store else { return Ok(()) };
    let mut named = STORE_HEADERS.iter().flat_map(|name| headers.get_all(name));
    match named.all(|store| store.as_bytes() == own.as_str().as_bytes()) {
        true => Ok(()),
        false => Err(ApiError::Refused(
            "store-not-in-login",
            format!("the login is for store {own}, and the request names another one"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn one_session_and_only_one() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, HeaderValue::from_static(value));
            }
            map
        };
        let v2 = ("snap-device-authorization", "Macaroon root=\"abc\"");
        let v1 = ("x-device-authorization", "Macaroon root=\"abc\"");
        for good in
            [&[v2][..], &[v1], &[v1, v2], &[v2, v2], &[("x-device-authorization", "macaroon root=abc")]]
        {
            assert_eq!(session_of(&headers(good)).unwrap(), Some("abc"), "{good:?}");
        }
        assert_eq!(session_of(&headers(&[])).unwrap(), None);
        let other = ("x-device-authorization", "Macaroon root=\"abd\"");
        assert!(matches!(session_of(&headers(&[v2, other])), Err(ApiError::Invalid(..))));
        for bad in [
            "",
            "Macaroon",
            "Bearer root=\"a\"",
            "Macaroon root=\"\"",
            "Macaroon root=\"a",
            "Macaroon root=\"a\",root=\"b\"",
        ] {
            let map = headers(&[("x-device-authorization", bad)]);
            assert!(matches!(session_of(&map), Err(ApiError::Renew(_))), "{bad}");
        }
    }
}
