//! The device API as connections see it: one service in front of all routes.
//!
//! Each layer of a router allocates for every request. So what every request passes through is here, around the router,
//! and the two requests that devices send most are answered without one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio_util::bytes::BytesMut;

use super::caller::Caller;
use super::error::{self, ApiError};
use super::{App, LARGEST_BODY, envelope, info, refresh, routes};
use crate::{listen, tls};

/// The device API over one store.
#[derive(Clone)]
pub(crate) struct Front {
    app: App,
    patterns: Arc<matchit::Router<&'static str>>,
    router: Router,
}

impl Front {
    pub(super) fn new(app: App, router: Router) -> Self {
        let mut patterns = matchit::Router::new();
        for pattern in routes::patterns() {
            // Several methods may share one; the router has refused what conflicts.
            let _ = patterns.insert(pattern, pattern);
        }
        Self { app, patterns: Arc::new(patterns), router }
    }

    fn answer_or_panic(
        &self,
        route: Option<&'static str>,
        request: Request,
    ) -> impl Future<Output = Response> {
        let answer = AssertUnwindSafe(self.dispatch(route, request)).catch_unwind();
        answer.map(|answer| answer.unwrap_or_else(error::after_panic))
    }

    async fn dispatch(&self, route: Option<&'static str>, request: Request) -> Response {
        let open = self.app.serves_devices();
        match (route, request.method()) {
            (Some(refresh::PATTERN), &Method::POST) if open => self.refresh(request).await,
            (Some(info::PATTERN), &Method::GET) if open && !request.uri().path().contains('%') => {
                self.info(request).await
            }
            _ => listen::App::answer(&self.router, request).await,
        }
    }

    async fn refresh(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let answer = async {
            let caller = Caller::from_request_parts(&mut parts, &self.app).await?;
            refresh::refresh(State(Arc::clone(&self.app)), caller, whole(body).await?).await
        };
        answer.await.unwrap_or_else(ApiError::into_response)
    }

    async fn info(&self, request: Request) -> Response {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &self.app).await;
        let (_, name) = parts.uri.path().rsplit_once('/').unwrap_or_default();
        let answer = caller.and_then(|caller| info::about(&caller, name, parts.uri.query()));
        answer.unwrap_or_else(ApiError::into_response)
    }
}

impl listen::App for Front {
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send {
        let route = self.patterns.at(request.uri().path()).ok().map(|found| *found.value);
        let guarded = move |request| {
            tls::guard(self.app.tls(), request, move |request| self.answer_or_panic(route, request))
        };
        envelope::seal(&self.app, route, request, guarded)
    }
}

/// Reads a request's body, which most often is one piece.
async fn whole(mut body: Body) -> Result<Bytes, ApiError> {
    let mut all = Bytes::new();
    while let Some(frame) = body.frame().await {
        let unreadable = |_| ApiError::Invalid("bad-request", "cannot read the request".into());
        let Ok(piece) = frame.map_err(unreadable)?.into_data() else { continue };
        if all.len() + piece.len() > LARGEST_BODY {
            return Err(ApiError::TooLarge);
        }
        all = match all.is_empty() {
            true => piece,
            false => {
                let mut longer = BytesMut::from(all);
                longer.extend_from_slice(&piece);
                longer.freeze()
            }
        };
    }
    Ok(all)
}
