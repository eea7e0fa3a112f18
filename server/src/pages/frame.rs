//! What surrounds every page: its head, where else one can go, and who is here.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schema::service_login::Acl;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::error;

use super::assets::{Asset, HTMX, ICON, LIVE, STYLE};
use super::shown::{self, distance};
use super::texts::{ENGLISH, Texts};
use crate::clock;
use crate::visits::{Notice, Visitor};

/// What surrounds a page.
pub(super) struct Frame {
    pub(super) t: &'static Texts,
    /// The page's name in its address.
    pub(super) here: &'static str,
    pub(super) title: String,
    /// Who is here; nobody on the pages before the login.
    pub(super) who: Option<String>,
    pub(super) notice: Option<Notice>,
    /// The page's address, to ask for it again.
    pub(super) target: String,
    /// Whether the visitor may change things.
    pub(super) may_change: bool,
    /// Whether the visitor may import.
    pub(super) may_import: bool,
    /// Whether the visitor may approve what others ask.
    pub(super) may_approve: bool,
    now: OffsetDateTime,
}

/// Where one can go: the address, the text, and whether that is the page that is shown.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) is_here: bool,
}

impl Frame {
    pub(super) fn new(
        here: &'static str,
        title: &str,
        visitor: Option<&Visitor>,
        notice: Option<Notice>,
        target: &str,
    ) -> Self {
        Self {
            t: &ENGLISH,
            here,
            title: title.to_owned(),
            who: visitor.map(ToString::to_string),
            notice,
            target: target.to_owned(),
            may_change: visitor.is_some_and(|visitor| visitor.may(&[Acl::Admin])),
            may_import: visitor.is_some_and(|visitor| visitor.may(&[Acl::AdminImports])),
            may_approve: visitor.is_some_and(|visitor| visitor.may(&[Acl::Approve])),
            now: clock::now(),
        }
    }

    /// All places.
    pub(super) fn places(&self) -> Vec<Place> {
        let t = self.t;
        [
            ("now", t.now),
            ("fleet", t.fleet),
            ("snaps", t.snaps),
            ("imports", t.imports),
            ("rollouts", t.rollouts),
            ("trains", t.trains),
            ("registrations", t.registrations),
            ("approvals", t.approvals),
            ("misses", t.misses),
            ("keys", t.keys),
            ("audit", t.audit),
            ("settings", t.settings),
        ]
        .map(|(name, text)| Place { name, text, is_here: name == self.here })
        .into()
    }

    pub(super) fn style(&self) -> &'static str {
        path(&STYLE)
    }

    pub(super) fn icon(&self) -> &'static str {
        path(&ICON)
    }

    pub(super) fn htmx(&self) -> &'static str {
        path(&HTMX)
    }

    pub(super) fn live(&self) -> &'static str {
        path(&LIVE)
    }

    /// When the page was made.
    pub(super) fn made(&self) -> String {
        self.when(&self.now.truncate_to_second().format(&Rfc3339).unwrap_or_default())
    }

    /// A moment as a distance from now, with the exact one on hover. It is HTML: the moment is one, or nothing.
    pub(super) fn when(&self, at: &str) -> String {
        let exact = shown::moment(at).and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
        format!(r#"<time datetime="{exact}" title="{exact}">{}</time>"#, distance(self.t, at, self.now))
    }

    pub(super) fn bytes(&self, count: &u64) -> String {
        shown::bytes(*count)
    }

    pub(super) fn number(&self, count: &u64) -> String {
        shown::number(*count)
    }

    pub(super) fn count(&self, count: &usize) -> String {
        shown::number(*count as u64)
    }
}

fn path(asset: &'static Asset) -> &'static str {
    &asset.path
}

/// A page about something that went wrong.
#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble<'a> {
    f: Frame,
    message: &'a str,
    details: Vec<String>,
}

/// A page about something that went wrong.
pub(super) fn trouble(status: StatusCode, message: &str, details: Vec<String>) -> Response {
    let f = Frame::new("", ENGLISH.trouble, None, None, "/pages/now");
    (status, show(&Trouble { f, message, details })).into_response()
}

/// A page as an answer.
pub(super) fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => ([(CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(failure) => {
            error!(error = &failure as &dyn std::error::Error, "Cannot write a page");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
