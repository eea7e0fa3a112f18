//! `GET /v2/snaps/info/{name}`: one snap and its channel map.

use axum::extract::{Path, RawQuery};
use axum::response::Response;
use schema::store::SnapName;

use super::caller::Caller;
use super::error::ApiError;
use super::json;
use crate::catalog::Target;

/// Answers with the channel map for the architecture of the query, else of the device, else of all.
pub(super) async fn info(
    caller: Caller,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let not_found =
        || ApiError::NotFound("resource-not-found", "no snap of this name is in this store".into());
    let name: SnapName = name.parse().map_err(|_| not_found())?;
    let view = caller.view();
    let snap = view.snap_named(name.as_str()).ok_or_else(not_found)?;
    let asked = query.as_deref().and_then(architecture_in);
    let target = Target { architecture: asked.as_deref().or(caller.architecture()), ..caller.target(&[]) };

    let mut body = String::with_capacity(4096);
    body.push_str("{\"channel-map\":[");
    let mut empty = true;
    for (release, revision) in view.channel_map(snap, &target) {
        if !empty {
            body.push(',');
        }
        empty = false;
        let channel = &release.channel;
        body.push_str("{\"channel\":{\"architecture\":");
        json::push(&mut body, target.architecture.unwrap_or(&release.architecture));
        body.push_str(",\"name\":");
        json::push(&mut body, &channel.short_name());
        body.push_str(",\"released-at\":");
        json::push(&mut body, &release.released_at);
        body.push_str(",\"risk\":");
        json::push(&mut body, channel.risk.as_str());
        body.push_str(",\"track\":");
        json::push(&mut body, channel.track.as_str());
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
        track => json::push(&mut body, track),
    }
    body.push_str(",\"name\":");
    json::push(&mut body, &snap.name);
    body.push_str(",\"snap-id\":");
    json::push(&mut body, &snap.id);
    body.push_str(",\"snap\":{");
    view.push_about(snap, &mut body);
    body.push_str("}}");
    Ok(json::respond(body))
}

fn architecture_in(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, value)| key == "architecture" && !value.is_empty()).map(|(_, value)| value.into_owned())
}
