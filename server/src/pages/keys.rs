//! *Certificates and keys*: what ends when.

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{ListKeys, ListLogins, ShowStatus};
use schema::api::admin::{Login, SigningKeyInfo, Status};

use super::frame::{Frame, show};
use super::texts::ENGLISH;
use super::visit::Visit;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    f: Frame,
    status: Status,
    keys: Vec<SigningKeyInfo>,
    logins: Vec<Login>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let asked =
        try_join!(visit.ask::<ShowStatus>(""), visit.ask::<ListKeys>(""), visit.ask::<ListLogins>(""));
    let (status, keys, logins) = match asked {
        Ok(answers) => answers,
        Err(refusal) => return refusal.into_response(),
    };
    let f = visit.frame("keys", ENGLISH.keys);
    show(&KeysPage { f, status, keys: keys.keys, logins: logins.logins })
}
