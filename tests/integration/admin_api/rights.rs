//! What a login cannot reach, and what is told and written down when it tries.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::config::KEYS;
use serde_json::{Value, json};
use tests::bundle::write_pair;
use tests::http::{Request, Response};
use tests::world::World;

use super::Site;
use super::remote::Desk;

fn send(site: &Site, token: &str, (method, target): (&str, &str), body: &Value) -> Response {
    let request = Request::new(method, target, "store")
        .header("Authorization", &format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .body(body.to_string().as_bytes());
    site.open().exchange(&request).expect("an answer")
}

/// The newest event of the audit log: who, what, subject and outcome.
fn newest(site: &Site) -> [String; 4] {
    let event = site.store.proxy(&["audit", "--json"]).json_lines().pop().expect("an event");
    ["who", "what", "subject", "outcome"].map(|field| event[field].as_str().unwrap_or_default().to_owned())
}

#[test]
fn attack_no_login_chooses_what_others_are_recognised_by() {
    let site = Site::new();
    let (id, token) = site.store.site_login("admin");
    let of_host: Vec<&str> = KEYS.iter().filter(|key| key.of_host).map(|key| key.name).collect();
    assert!(of_host.len() >= 10, "{of_host:?}");
    let chosen = STANDARD.encode([0; 32]);
    for name in of_host {
        for value in [&*chosen, ""] {
            let change = json!({ "values": { name: value, "proxy.log.level": "debug" } });
            let answer = send(&site, &token, ("PATCH", "/v1/config"), &change);
            assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("of-host")), "{name}");
            assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains(name)), "{answer:?}");
            let refused = [&*format!("login {id}"), "config", &format!("{name}, proxy.log.level"), "refused"];
            let mut refused = refused.map(str::to_owned);
            let mut newest = newest(&site);
            for names in [&mut refused[2], &mut newest[2]] {
                let mut sorted: Vec<&str> = names.split(", ").collect();
                sorted.sort_unstable();
                *names = sorted.join(", ");
            }
            assert_eq!(newest, refused);
        }
    }
    assert_eq!(site.store.proxy(&["config", "proxy.log.level"]).ok(), "info\n");
    // What is no such key changes as before, and so does such a key on the host.
    let change = json!({ "values": { "proxy.log.level": "debug" } });
    assert_eq!(send(&site, &token, ("PATCH", "/v1/config"), &change).status, 200);
    let _ = site.store.proxy(&["config", "proxy.signing.pkcs11.pin-file=/nothing"]).ok();
}

#[test]
fn attack_who_tries_what_a_login_is_not_for_is_written_down() {
    let site = Site::new();
    let (id, token) = site.store.site_login("admin:read");
    let who = format!("login {id}");
    let block = json!({ "device": "acme/gateway/1", "blocked": true, "unseen": true });
    for (route, body, what, subject) in [
        (("PUT", "/v1/devices/block"), block, "block-device", "acme/gateway/1"),
        (("PATCH", "/v1/config"), json!({ "values": { "proxy.airgap": "False" } }), "config", "proxy.airgap"),
        (("DELETE", "/v1/logins/AAAAAAAAAAAAAAAA"), json!({}), "revoke-login", "AAAAAAAAAAAAAAAA"),
    ] {
        let answer = send(&site, &token, route, &body);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(newest(&site), [&*who, what, subject, "refused"].map(str::to_owned));
    }
    // To look at what one may not see changes nothing, and neither does a stranger.
    let events = || site.store.proxy(&["audit", "--json"]).json_lines().len();
    let (before, (_, pipeline)) = (events(), site.store.site_login("admin:imports"));
    assert_eq!(site.ask("GET", "/v1/config", &pipeline).status, 403);
    assert_eq!(send(&site, "nonsense", ("PATCH", "/v1/config"), &json!({})).status, 401);
    assert_eq!(events(), before + 1, "the login that was made");
}

#[test]
fn a_name_that_the_server_does_not_know_is_refused() {
    let site = Site::new();
    let (_, token) = site.store.site_login("admin");
    let plan = json!({ "name": "spring", "snap": "hello", "revision": 2, "waves": ["100%"], "aprovals": 2 });
    let refused = |answer: Response, name: &str| {
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid-request")), "{answer:?}");
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(name), "{message}");
    };
    refused(send(&site, &token, ("POST", "/v1/rollouts"), &plan), "aprovals");
    let group = json!({ "name": "lab", "rules": { "serial": "D-*", "tags": "lab" }, "apply": true });
    refused(send(&site, &token, ("POST", "/v1/groups"), &group), "rules.tags");
    refused(site.ask("GET", "/v1/devices?serials=NOSUCH", &token), "serials");
    refused(site.ask("GET", "/v1/devices?limit=x", &token), "limit of the query: expected a whole number");
    assert_eq!(site.ask("GET", "/v1/devices?limit=1", &token).status, 200);
}

#[test]
fn an_import_takes_one_permission_to_approve_and_one_to_release() {
    let site = Site::new();
    let desk = Desk::new(&site);
    let world = World::new();
    site.store.trust(&world);
    let _ = site.store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    for acls in ["admin:imports", "approve"] {
        fs::write(desk.path(acls), site.store.site_login(acls).1).expect("there is room");
    }
    let snap = write_pair(&desk.path(""), &world.snap("hello").revision(1)).display().to_string();
    let pushed = desk.proxy("admin:imports", &["--json", "push-snap", &snap, "--channel", "stable"]).json();
    let id = pushed["files"][0]["waits"]["import"].as_str().expect("an import that waits").to_owned();
    let release = ["imports", "release", &id];
    let early = desk.proxy("admin:imports", &release).refused();
    assert!(early.contains("`proxy approvals approve 1`"), "{early}");
    let half = desk.proxy("approve", &release).refused();
    assert!(half.contains("your approval of request 1 counts"), "{half}");
    assert!(half.contains(&format!("`proxy imports release {id}`")), "{half}");
    assert!(desk.proxy("admin:imports", &["imports", "show", &id]).ok().contains("approved (request 1)"));
    let _ = desk.proxy("admin:imports", &release).ok();
    assert!(site.store.proxy(&["list-pushed-snaps"]).ok().contains("hello"));
}

#[test]
fn a_revoked_login_names_those_that_it_made() {
    let site = Site::new();
    let (maker, token) = site.store.site_login("admin");
    let wanted = json!({ "acls": ["admin"], "lifetime-seconds": 3600 });
    let made = send(&site, &token, ("POST", "/v1/logins"), &wanted).json();
    let made = made["id"].as_str().expect("an id").to_owned();
    let listed = site.store.proxy(&["list-logins", "--json"]).json();
    let of = |id: &str| {
        let all = listed["logins"].as_array().expect("logins");
        all.iter().find(|one| one["id"] == *id).expect("the login").clone()
    };
    assert_eq!(
        (&of(&made)["made-by"], &of(&maker)["made"]),
        (&json!(format!("login {maker}")), &json!([made]))
    );
    let revoked = site.store.proxy(&["revoke-login", &maker]);
    assert!(revoked.stderr.contains(&format!("`proxy revoke-login {made}`")), "{}", revoked.stderr);
    assert!(!site.store.proxy(&["revoke-login", &made]).stderr.contains("warning"));
}

#[test]
fn only_a_device_that_is_known_is_let_in_again() {
    let site = Site::new();
    let name = "acme/gateway/D-1";
    let _ = site.store.proxy(&["block-device", name, "--unseen"]).ok();
    let refused = site.store.proxy(&["unblock-device", "acme/gateway/D-l"]).refused();
    assert!(
        refused.contains("acme/gateway/D-l is not blocked") && refused.contains("list-devices"),
        "{refused}"
    );
    let _ = site.store.proxy(&["unblock-device", name]).ok();
}
