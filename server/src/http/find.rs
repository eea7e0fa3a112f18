//! `GET /v2/snaps/find`: search.

use axum::extract::RawQuery;
use axum::response::Response;

use super::caller::Caller;
use super::json;
use crate::catalog::{Query, Target};

/// Answers with all visible snaps that match.
pub(super) async fn find(caller: Caller, RawQuery(query): RawQuery) -> Response {
    let mut wanted = Query::default();
    let (mut architecture, mut private) = (None, false);
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let value = value.into_owned();
        match &*key {
            _ if value.is_empty() => {}
            "q" => wanted.text = Some(value),
            "name" => wanted.name = Some(value),
            "category" | "section" => wanted.category = Some(value),
            "common-id" => wanted.common_id = Some(value),
            "channel" => wanted.stable_only = value == "stable",
            "confinement" => wanted.confinements = value.split(',').map(str::to_owned).collect(),
            "architecture" => architecture = Some(value),
            "private" => private = value == "true",
            _ => {}
        }
    }
    let view = caller.view();
    let asked = architecture.as_deref();
    let target = Target { architecture: asked.or(caller.architecture()), ..caller.target(&[]) };
    // Private snaps belong to store users, and this store has none.
    let hits = if private { Vec::new() } else { view.search(&wanted, &target) };
    let mut body = String::with_capacity(1024 * (1 + hits.len()));
    body.push_str("{\"results\":[");
    for (at, (snap, release, revision)) in hits.into_iter().enumerate() {
        body.push_str(if at == 0 { "{" } else { ",{" });
        body.push_str(&snap.identity);
        body.push_str(",\"snap\":{");
        view.push_about(snap, &mut body);
        body.push_str("},\"revision\":{\"channel\":\"");
        // The parts of a channel need no escaping.
        release.channel.push_short_name(&mut body);
        body.push_str("\",");
        body.push_str(&revision.json);
        body.push_str("}}");
    }
    body.push_str("]}");
    json::respond(body)
}
