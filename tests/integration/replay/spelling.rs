//! The test device against the recordings: it must spell every request as the real one did.

use std::net::SocketAddr;

use serde_json::Value;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::http::Request;

use super::recording::{Exchange, recordings};

fn check(version: &str, snapd: Snapd) {
    let mut compared = 0;
    for recording in recordings(version) {
        for exchange in &recording.exchanges {
            let Some(request) = respell(exchange, snapd) else { continue };
            let place = format!("{version} {}", recording.action);
            assert_eq!(headers(&request), headers(&exchange.request), "{place}");
            assert_eq!(
                (&request.method, &request.target),
                (&exchange.request.method, &exchange.request.target),
                "{place}"
            );
            assert_eq!(
                String::from_utf8_lossy(&request.body),
                String::from_utf8_lossy(&exchange.request.body),
                "{place}"
            );
            compared += 1;
        }
    }
    println!("{compared} requests of snapd {version} spelled by the test device");
    assert!(compared > 200, "{compared}");
}

#[test]
fn the_test_device_spells_as_2_57_6() {
    check("2.57.6", Snapd::V2_57);
}

#[test]
fn the_test_device_spells_as_2_77() {
    check("2.77", Snapd::V2_77);
}

/// The same request from the test device; none for what it never sends (registration, and the log-in, whose
/// signatures are never the same).
fn respell(exchange: &Exchange, snapd: Snapd) -> Option<Request> {
    let mut device = Device::at(SocketAddr::from(([127, 0, 0, 1], 18080)), "http://127.0.0.1:18080", snapd);
    device.by_command = exchange.header("Snap-Client-User-Agent").is_some();
    let session = exchange.header("Snap-Device-Authorization").or(exchange.header("X-Device-Authorization"));
    device.session =
        session.map(|value| value.trim_start_matches("Macaroon root=\"").trim_end_matches('"').to_owned());
    let target = exchange.request.target.as_str();
    let path = exchange.path();
    Some(match path {
        "/api/v1/snaps/auth/nonces" => device.nonce_post(),
        "/api/v1/snaps/auth/sessions" => device.session_post(&exchange.request.body),
        "/v2/snaps/refresh" => {
            let body =
                rebuilt(&mut device, &exchange.json()).unwrap_or_else(|| exchange.request.body.clone());
            device.refresh_post(&body)
        }
        "/v2/cohorts" => device.cohorts_post(&["rig-hello"]),
        "/v2/snaps/find" if target.contains("&q=hello") => device.find_get(&[("q", "hello")]),
        "/v2/snaps/find" => device.find_get(&[("category", "featured")]),
        "/api/v1/snaps/sections" | "/api/v1/snaps/names" => device.catalogue_get(target),
        _ if path.starts_with("/v2/snaps/info/") => {
            let fields = if target.ends_with("&fields=download") {
                "download".to_owned()
            } else {
                snapd.info_fields().join(",")
            };
            device.info_get(path.rsplit('/').next()?, &fields)
        }
        _ if path.starts_with("/v2/assertions/") => device.assertion_get(target),
        _ if path.starts_with("/api/v1/snaps/download/") => {
            let range = exchange
                .header("Range")
                .and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
            device.download_request(&exchange.request.method, target, range)
        }
        _ => return None,
    })
}

/// A refresh body, rebuilt from its contents; `None` if it contains what the test device never sends: held snaps,
/// bulk updates, components.
fn rebuilt(device: &mut Device, body: &Value) -> Option<Vec<u8>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if body["fields"].as_array()?.iter().map(Value::as_str).ne(device.snapd.fields().into_iter().map(Some)) {
        return None;
    }
    for held in body["context"].as_array()? {
        if held.get("held").is_some() {
            return None;
        }
        let revision = u32::try_from(held["revision"].as_u64()?).ok()?;
        let mut installed =
            Installed::new("", held["snap-id"].as_str()?, revision, held["tracking-channel"].as_str()?);
        installed.instance_key = text(&held["instance-key"])?;
        installed.refreshed_date = text(&held["refreshed-date"])?;
        installed.cohort_key = text(&held["cohort-key"]);
        device.installed.push(installed);
    }
    let mut actions = Vec::new();
    for action in body["actions"].as_array()? {
        let sets = action["validation-sets"].as_array().map_or(&[][..], Vec::as_slice);
        let wanted = Wanted {
            channel: text(&action["channel"]),
            revision: action["revision"].as_u64().and_then(|number| u32::try_from(number).ok()),
            cohort_key: text(&action["cohort-key"]),
            ignore_validation: action["ignore-validation"].as_bool(),
            validation_sets: serde_json::from_value(Value::from(sets)).ok()?,
            epoch: None,
        };
        actions.push(match action["action"].as_str()? {
            "install" => Action::Install(text(&action["name"])?, wanted),
            "download" => Action::Download(text(&action["name"])?, wanted),
            "refresh" => Action::Refresh(text(&action["instance-key"])?, wanted),
            _ => return None,
        });
    }
    Some(device.refresh_body(&actions))
}

/// Header lines; the agents differ in one word that says which root the recorded client trusted, and in who asked.
fn headers(request: &Request) -> Vec<String> {
    let shown = |(name, value): &(String, String)| match name.as_str() {
        "User-Agent" | "Snap-Client-User-Agent" => format!("{name}: (agent)"),
        _ => format!("{name}: {value}"),
    };
    request.headers.iter().map(shown).collect()
}
