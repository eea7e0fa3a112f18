//! `GET /v2/snaps/info/{name}`: one snap and its channel map.

use std::borrow::Cow;

use axum::extract::{Path, RawQuery};
use axum::response::Response;

use super::caller::Caller;
use super::error::ApiError;
use super::json;
use crate::catalog::Target;

/// The pattern of its path.
pub(super) const PATTERN: &str = "/v2/snaps/info/{name}";

/// Answers with the channel map for the architecture of the query, else of the device, else of all.
pub(super) async fn info(
    caller: Caller,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    about(&caller, &name, query.as_deref())
}

/// The same for parts of a request that were not copied.
pub(super) fn about(caller: &Caller, name: &str, query: Option<&str>) -> Result<Response, ApiError> {
    let not_found =
        || ApiError::NotFound("resource-not-found", "no snap of this name is in this store".into());
    let view = caller.view();
    let snap = view.snap_named(name).ok_or_else(not_found)?;
    let asked = query.and_then(architecture_in);
    let target = Target { architecture: asked.as_deref().or(caller.architecture()), ..caller.target(&[]) };

    let mut body = String::with_capacity(8192);
    body.push_str("{\"channel-map\":[");
    let mut empty = true;
    for (release, revision) in view.channel_map(snap, &target) {
        if !empty {
            body.push(',');
        }
        empty = false;
        let channel = &release.channel;
        body.push_str("{\"channel\":{\"architecture\":");
        json::push_text(&mut body, target.architecture.unwrap_or(&release.architecture));
        // The parts of a channel need no escaping.
        body.push_str(",\"name\":\"");
        channel.push_short_name(&mut body);
        body.push_str("\",\"released-at\":");
        json::push_text(&mut body, &release.released_at);
        body.push_str(",\"risk\":");
        json::push_text(&mut body, channel.risk.as_str());
        body.push_str(",\"track\":");
        json::push_text(&mut body, channel.track.as_str());
        body.push_str("},");
        body.push_str(&revision.json);
        body.push(',');
        revision.push_resources(&mut body);
        body.push('}');
    }
    // A snap without a release does not exist for a device.
    if empty {
        return Err(not_found());
    }
    body.push_str("],\"default-track\":");
    match snap.default_track.as_str() {
        "latest" => body.push_str("null"),
        track => json::push_text(&mut body, track),
    }
    body.push(',');
    body.push_str(&snap.identity);
    body.push_str(",\"snap\":{");
    view.push_about(snap, &mut body);
    body.push_str("}}");
    Ok(json::respond(body))
}

fn architecture_in(query: &str) -> Option<Cow<'_, str>> {
    // The long list of fields is not decoded.
    let named = query.split('&').filter(|pair| pair.starts_with("architecture="));
    let mut values =
        named.flat_map(|pair| url::form_urlencoded::parse(pair.as_bytes())).map(|(_, value)| value);
    values.find(|value| !value.is_empty())
}
