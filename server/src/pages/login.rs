//! How a browser is let in and out: with a service login, or with a link that `proxy open` printed.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use schema::service_login::Acl;
use tracing::warn;

use super::Pages;
use super::frame::{self, Frame, show};
use super::texts::ENGLISH;
use super::visit::{COOKIE_NAME, Fields, Visit};
use crate::clock;
use crate::storage::records::AuditEvent;
use crate::visits::Visitor;

/// Permissions of which a visitor needs one.
const ANY: &[Acl] = &[Acl::Admin, Acl::AdminRead];

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    f: Frame,
    /// What to say above the form.
    says: &'static str,
}

#[derive(Template)]
#[template(path = "open.html")]
struct OpenPage {
    f: Frame,
    secret: String,
}

/// The login.
pub(super) async fn form(uri: Uri) -> Response {
    let says = if uri.query() == Some("ended") { ENGLISH.visit_ended } else { "" };
    show(&LoginPage { f: outside(ENGLISH.log_in), says })
}

fn outside(title: &str) -> Frame {
    Frame::new("login", title, None, None, "/pages/login")
}

/// Lets the holder of a service login in.
pub(super) async fn log_in(State(pages): State<Pages>, fields: Fields) -> Response {
    let catalog = pages.site.catalog();
    let login = pages.site.logins().accept(fields.get("login"), &catalog, clock::seconds());
    match login.map(Visitor::Login) {
        Some(visitor) if visitor.may(ANY) => let_in(&pages, visitor).await,
        found => {
            let says = if found.is_some() { ENGLISH.login_not_for_this } else { ENGLISH.login_refused };
            warn!("Refused a login at the pages");
            (StatusCode::FORBIDDEN, show(&LoginPage { f: outside(ENGLISH.log_in), says })).into_response()
        }
    }
}

/// A link was opened: whoever looks at it first must not use it up, so a form takes it.
pub(super) async fn invited(Path(secret): Path<String>) -> Response {
    show(&OpenPage { f: outside(ENGLISH.log_in), secret })
}

/// Takes a link and lets its holder in.
pub(super) async fn open(State(pages): State<Pages>, fields: Fields) -> Response {
    let site = &pages.site;
    let stands = |visitor: &Visitor| match visitor {
        Visitor::User { .. } => true,
        Visitor::Login(login) => site.logins().still_accept(login, &site.catalog(), clock::seconds()),
    };
    match site.visits().accept(fields.get("link"), clock::seconds()).filter(stands) {
        Some(visitor) => let_in(&pages, visitor).await,
        None => frame::trouble(StatusCode::FORBIDDEN, ENGLISH.link_used, Vec::new()),
    }
}

async fn let_in(pages: &Pages, visitor: Visitor) -> Response {
    let event = AuditEvent::new(visitor.to_string(), "open-pages", "");
    if let Err(failure) = pages.site.database().record_event(&event, clock::micros()).await {
        // A look is worth most while something is wrong; what it changes is recorded or refused.
        warn!(error = &failure as &dyn std::error::Error, "Cannot record that the pages were opened");
    }
    match pages.site.visits().begin(visitor, clock::seconds()) {
        Some(secret) => {
            let cookie = format!("{COOKIE_NAME}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict");
            ([(SET_COOKIE, cookie)], Redirect::to("/pages/now")).into_response()
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Ends the visit.
pub(super) async fn log_out(visit: Visit) -> Response {
    visit.pages.site.visits().end(&visit.secret);
    let cookie = format!("{COOKIE_NAME}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Redirect::to("/pages/login")).into_response()
}
