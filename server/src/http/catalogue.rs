//! The daily catalogue: sections, categories and names. See `schema/docs/store-api.md#catalogue`.
//!
//! snapd reads the names document as a token stream that must begin with its list. Sections have their own content
//! type, which snapd compares as text.

use axum::extract::RawQuery;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::json;

use super::caller::Caller;
use super::json;

const HAL: HeaderValue = HeaderValue::from_static("application/hal+json");

/// The categories of the visible snaps.
fn names_of_categories(caller: &Caller) -> Vec<serde_json::Value> {
    let mut names: Vec<_> = caller.view().snaps().flat_map(|snap| snap.categories.iter().cloned()).collect();
    names.push("featured".into());
    names.sort();
    names.dedup();
    names.into_iter().map(|name| json!({ "name": name })).collect()
}

/// `GET /v2/snaps/categories`
pub(super) async fn categories(caller: Caller) -> Response {
    json::respond(json!({ "categories": names_of_categories(&caller) }).to_string())
}

/// `GET /api/v1/snaps/sections`
pub(super) async fn sections(caller: Caller) -> Response {
    let sections = json!({ "_embedded": { "clickindex:sections": names_of_categories(&caller) } });
    json::respond_as(HAL, sections.to_string())
}

/// `GET /api/v1/snaps/names`, also of some confinements only: `?confinement=strict,classic`.
pub(super) async fn names(caller: Caller, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let confinements = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(key, value)| (key == "confinement" && !value.is_empty()).then_some(value));
    let (view, target) = (caller.view(), caller.target(&[]));
    let mut body = String::from("{\"_embedded\":{\"clickindex:package\":[");
    let mut first = true;
    for snap in view.snaps() {
        let Some((_, revision)) = view.channel_map(snap, &target).next() else { continue };
        let is_one = |wanted: &str| wanted.split(',').any(|one| one == revision.confinement.as_str());
        if confinements.as_deref().is_some_and(|wanted| !is_one(wanted)) {
            continue;
        }
        if !std::mem::take(&mut first) {
            body.push(',');
        }
        let aliases: Vec<_> =
            snap.aliases.iter().map(|(name, target)| json!({ "name": name, "target": target })).collect();
        let entry = json!({
            "package_name": snap.name,
            "title": snap.title,
            "version": revision.version,
            "summary": snap.summary,
            "apps": revision.apps(),
            "aliases": aliases,
        });
        body.push_str(&entry.to_string());
    }
    body.push_str("]}}");
    json::respond_as(HAL, body)
}
