//! What snapd reads from an answer, compared with what the recorded answer told it.

use serde_json::Value;
use tests::device::answers::{self, Group};
use tests::device::assertions::read_assertion;
use tests::device::browse::{read_found, read_info, read_names};
use tests::device::{Device, Outcome, Trouble};
use tests::http::Response;

use super::fixtures::Rig;
use super::recording::Exchange;

/// Which store the recorded answer came from: 1 when it shows the stable channel of `rig-hello` at revision 2, 2 when it
/// knows of a second point of the validation set, else 0.
pub(super) fn comes_from(exchange: &Exchange) -> usize {
    let asked = String::from_utf8_lossy(&exchange.request.body).into_owned();
    let second_point = "/validation-set/16/rig-brand/rig-set/2";
    if exchange.answer.to_string().contains(second_point)
        || exchange.path().ends_with(second_point)
        || asked.contains("\"if-sequence-equal-or-newer-than\":2")
    {
        return 2;
    }
    usize::from(shows_second_revision(exchange))
}

fn shows_second_revision(exchange: &Exchange) -> bool {
    let results = exchange.answer["results"].as_array().into_iter().flatten();
    let asked = exchange.json();
    let pinned = asked["actions"][0]["revision"].is_number();
    let refreshed = results.into_iter().any(|result| {
        !pinned
            && result["name"] == "rig-hello"
            && result["effective-channel"] == "latest/stable"
            && result["snap"]["revision"] == 2
    });
    let mut channels = exchange.answer["channel-map"].as_array().into_iter().flatten();
    refreshed || channels.any(|entry| entry["channel"]["name"] == "stable" && entry["version"] == "2.0")
}

/// Checks one answer.
pub(super) fn check(
    exchange: &Exchange,
    response: &Response,
    rig: &Rig,
    device: &Device,
) -> Result<(), String> {
    if response
        .header("Snap-Store-Version")
        .and_then(|version| version.parse().ok())
        .is_none_or(|it: u32| it < 55)
    {
        return Err("no Snap-Store-Version of 55 or more".to_owned());
    }
    let path = exchange.path().to_owned();
    let file = path.rsplit('/').next().unwrap_or_default();
    match path.as_str() {
        "/api/v1/snaps/auth/nonces" | "/api/v1/snaps/auth/sessions" => status(response, 200),
        // Devices bring their serials with them; this store does not hand any out.
        "/api/v1/snaps/auth/request-id" | "/api/v1/snaps/auth/devices" => missing(response),
        "/v2/snaps/refresh" => refresh(exchange, response),
        "/v2/snaps/find" => {
            let found = read_found(response).map_err(told)?;
            let mut names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
            names.sort_unstable();
            let mut recorded = members(&exchange.answer["results"], "name");
            recorded.sort_unstable();
            same(&names, &recorded, exchange.status == 200, "found")
        }
        "/v2/cohorts" => {
            status(response, 200)?;
            let keys = response.json();
            let key = keys["cohort-keys"]["rig-hello"].as_str().unwrap_or_default();
            if key.is_empty() { Err("no cohort key".to_owned()) } else { Ok(()) }
        }
        "/api/v1/snaps/sections" => {
            typed(response, "application/hal+json")?;
            let body = response.json();
            let sections = body["_embedded"]["clickindex:sections"].as_array();
            sections.map(|_| ()).ok_or("no list of sections".to_owned())
        }
        "/api/v1/snaps/names" => {
            let mut names = read_names(response).map_err(told)?;
            names.sort_unstable();
            let recorded = members(&exchange.answer["_embedded"]["clickindex:package"], "package_name");
            same(&names, &recorded, true, "names")
        }
        _ if path.starts_with("/v2/snaps/info/") => info(exchange, response, file),
        _ if path.starts_with("/v2/assertions/") => assertion(exchange, response),
        _ if file.ends_with(".delta") => missing(response),
        _ if path.starts_with("/api/v1/snaps/download/") => download(exchange, response, rig, file),
        _ => Err(format!("nobody checks {path} of {}", device.snapd.agent())),
    }
}

fn refresh(exchange: &Exchange, response: &Response) -> Result<(), String> {
    typed(response, "application/json")?;
    let asked = exchange.json();
    let empty = Vec::new();
    let actions = asked["actions"].as_array().unwrap_or(&empty);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if actions.iter().all(|action| action["action"] == "fetch-assertions") {
        let keys: Vec<String> = actions.iter().map(|action| text(&action["key"])).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        return groups(exchange, &answers::take_groups(&response.body, &keys).map_err(told)?);
    }
    let sent: Vec<(String, String, Option<String>)> = actions
        .iter()
        .map(|action| {
            (
                text(&action["action"]),
                text(&action["instance-key"]),
                action["name"].as_str().map(str::to_owned),
            )
        })
        .collect();
    let sent: Vec<_> =
        sent.iter().map(|(kind, key, name)| (kind.as_str(), key.as_str(), name.as_deref())).collect();
    let context: Vec<String> =
        asked["context"].as_array().into_iter().flatten().map(|held| text(&held["instance-key"])).collect();
    let context: Vec<&str> = context.iter().map(String::as_str).collect();
    let outcomes = answers::take(&response.body, &sent, &context).map_err(told)?;
    if outcomes.len() != actions.len() {
        return Err(format!("{} results for {} actions", outcomes.len(), actions.len()));
    }
    let recorded = exchange.answer["results"].as_array().unwrap_or(&empty);
    for action in actions {
        let key = text(&action["instance-key"]);
        let told = recorded.iter().find(|result| result["instance-key"] == key.as_str());
        let misbehaved =
            told.is_none_or(|told| told["error"]["code"] == "device-authorization-needs-refresh");
        let outcome =
            outcomes.iter().find(|outcome| outcome.as_ref().is_ok_and(|outcome| outcome.instance_key == key));
        match (outcome, told) {
            (Some(Ok(outcome)), _) if misbehaved => kind_fits(outcome, action)?,
            (Some(Ok(outcome)), Some(told)) => {
                kind_fits(outcome, action)?;
                compare(outcome, told, action)?;
            }
            (_, Some(told)) if told["result"] == "error" => compare_error(&outcomes, told)?,
            _ => return Err(format!("no result for {key}, recorded was {told:?}, got {outcomes:?}")),
        }
    }
    Ok(())
}

fn kind_fits(outcome: &Outcome, action: &Value) -> Result<(), String> {
    let fits = action["action"] == outcome.result.as_str();
    if fits { Ok(()) } else { Err(format!("a {} result for {action}", outcome.result)) }
}

fn compare(outcome: &Outcome, told: &Value, action: &Value) -> Result<(), String> {
    let snap = &outcome.snap;
    let pairs = [
        ("name", told["snap"]["name"].clone(), Value::from(snap.name.as_str())),
        ("snap-id", told["snap"]["snap-id"].clone(), Value::from(snap.snap_id.as_str())),
        ("revision", told["snap"]["revision"].clone(), Value::from(snap.revision)),
        ("type", told["snap"]["type"].clone(), Value::from(snap.kind.as_str())),
        ("confinement", told["snap"]["confinement"].clone(), Value::from(snap.confinement.as_str())),
        ("architectures", told["snap"]["architectures"].clone(), Value::from(snap.architectures.clone())),
        (
            "effective-channel",
            told["effective-channel"].clone(),
            // With a revision alone no channel is effective, and what stands here is only shown.
            match action["revision"].is_number() {
                true => told["effective-channel"].clone(),
                false => Value::from(outcome.effective_channel.as_str()),
            },
        ),
        ("base", told["snap"].get("base").cloned().unwrap_or("".into()), Value::from(snap.base.as_str())),
    ];
    match pairs.iter().find(|(_, recorded, ours)| recorded != ours) {
        Some((name, recorded, ours)) => Err(format!("{name} is {ours}, recorded was {recorded}")),
        None if !snap.snap_yaml.contains(&format!("name: {}", snap.name)) => Err("no snap.yaml".to_owned()),
        None => Ok(()),
    }
}

fn compare_error(outcomes: &[Result<Outcome, Trouble>], told: &Value) -> Result<(), String> {
    let fits = |trouble: &Trouble| match trouble {
        Trouble::Snap { code, name, releases } => {
            let recorded: Vec<String> = told["error"]["extra"]["releases"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|release| {
                    let part = |name: &str| release[name].as_str().unwrap_or_default().to_owned();
                    format!("{} {}", part("architecture"), part("channel"))
                })
                .collect();
            let listed = recorded.iter().all(|release| releases.contains(release));
            told["error"]["code"] == code.as_str() && told["name"] == name.as_str() && listed
        }
        _ => false,
    };
    let found = outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(fits));
    if found { Ok(()) } else { Err(format!("recorded was {told}, got {outcomes:?}")) }
}

fn groups(exchange: &Exchange, groups: &[Group]) -> Result<(), String> {
    let actions = exchange.json()["actions"].as_array().map_or(0, Vec::len);
    if groups.len() != actions {
        return Err(format!("{} groups for {actions} actions", groups.len()));
    }
    for group in groups {
        if !group.errors.is_empty() {
            return Err(format!("errors in a group: {:?}", group.errors));
        }
        let recorded = exchange.answer["results"].as_array().into_iter().flatten();
        let mut recorded = recorded.filter(|result| result["key"] == group.key.as_str());
        let Some(told) = recorded.next() else { continue };
        let news = told["assertion-stream-urls"].as_array().is_some_and(|urls| !urls.is_empty());
        if news == group.urls.is_empty() {
            return Err(format!("streams {:?}, recorded was {told}", group.urls));
        }
    }
    Ok(())
}

fn info(exchange: &Exchange, response: &Response, name: &str) -> Result<(), String> {
    if exchange.path().ends_with("/nosuch") || (exchange.status == 404 && name == "core") {
        return match read_info(response) {
            Err(Trouble::NotFound) => Ok(()),
            other => Err(format!("expected not found, got {other:?}")),
        };
    }
    if exchange.request.target.ends_with("&fields=download") {
        status(response, 200)?;
        let body = response.json();
        let url = body["channel-map"][0]["download"]["url"].as_str();
        return url.map(|_| ()).ok_or("no link to the download".to_owned());
    }
    let info = read_info(response).map_err(told)?;
    let recorded: Vec<(String, u32)> = exchange.answer["channel-map"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let part = |name: &str| entry["channel"][name].as_str().unwrap_or_default();
            let revision =
                entry["revision"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or_default();
            (format!("{}/{}", part("track"), part("risk")), revision)
        })
        .collect();
    let mut ours = info.channels.clone();
    if ours.first().map(|(channel, _)| channel.as_str()) != Some("latest/stable") {
        return Err("the first entry is not latest/stable, which snapd shows as the default".to_owned());
    }
    ours.sort();
    let mut theirs = recorded;
    theirs.sort();
    same(&ours, &theirs, exchange.answer.is_object() && exchange.status == 200, "channels")
}

fn assertion(exchange: &Exchange, response: &Response) -> Result<(), String> {
    if exchange.answer["error-list"][0]["code"] == "not-found" {
        return match read_assertion(response) {
            Err(Trouble::NotFound) => Ok(()),
            other => Err(format!("expected not found, got {other:?}")),
        };
    }
    let assertion = read_assertion(response).map_err(told)?;
    let kind = exchange.path().split('/').nth(3).unwrap_or_default();
    if assertion.kind().to_string() != kind {
        return Err(format!("a {} instead of a {kind}", assertion.kind()));
    }
    if response.header("Content-Type") == Some("application/x.ubuntu.assertion") {
        Ok(())
    } else {
        Err("not the media type of assertions".to_owned())
    }
}

fn download(exchange: &Exchange, response: &Response, rig: &Rig, file: &str) -> Result<(), String> {
    let revision = rig.by_file(file).ok_or("the recording speaks of a file that the rig does not have")?;
    let bytes = &revision.image.bytes;
    let offset = exchange
        .header("Range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    status(response, if offset.is_some() { 206 } else { 200 })?;
    let offset: usize = offset.unwrap_or(0);
    let length = (bytes.len() - offset).to_string();
    if response.header("Content-Length") != Some(&length) {
        return Err(format!("a length of {:?} instead of {length}", response.header("Content-Length")));
    }
    if response.header("ETag").is_none_or(|tag| tag.starts_with("W/")) {
        return Err("no strong entity tag".to_owned());
    }
    let whole = exchange.request.method == "HEAD" || response.body == bytes[offset..];
    if whole { Ok(()) } else { Err("other bytes than those pushed".to_owned()) }
}

/// A 404 that snapd takes for final, with a message it can show.
fn missing(response: &Response) -> Result<(), String> {
    status(response, 404)?;
    typed_any(response, "application/json")
}

fn status(response: &Response, wanted: u16) -> Result<(), String> {
    if response.status == wanted {
        Ok(())
    } else {
        Err(format!("status {} instead of {wanted}", response.status))
    }
}

fn typed(response: &Response, content_type: &str) -> Result<(), String> {
    status(response, 200)?;
    typed_any(response, content_type)
}

fn typed_any(response: &Response, content_type: &str) -> Result<(), String> {
    let got = response.header("Content-Type");
    if got == Some(content_type) {
        Ok(())
    } else {
        Err(format!("content type {got:?} instead of {content_type}"))
    }
}

fn members(list: &Value, name: &str) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(|entry| entry[name].as_str().map(str::to_owned)).collect()
}

fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(
    ours: &[A],
    recorded: &[B],
    comparable: bool,
    what: &str,
) -> Result<(), String> {
    if !comparable || ours == recorded {
        return Ok(());
    }
    Err(format!("{what} {ours:?}, recorded was {recorded:?}"))
}

fn told(trouble: Trouble) -> String {
    format!("snapd would say: {trouble}")
}
