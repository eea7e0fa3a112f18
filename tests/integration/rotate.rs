//! `proxy rotate-secret`: earlier sessions stay valid through the overlap and end with it, whatever happens
//! meanwhile.

use std::time::{Duration, Instant};

use schema::config::{RotatedSecret, Settings};
use schema::session::key_id;
use tests::device::{Device, Snapd, asks_for_renewal};
use tests::http::Response;
use tests::server::{SECRET, Server, proxy};
use time::OffsetDateTime;

use super::sessions::Scene;

const KEY: &str = "proxy.device-auth.secret";

/// A device with a session that it cannot renew.
fn holding(scene: &Scene) -> Device {
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let mut held = Device::at(scene.store.address, &scene.store.url, Snapd::V2_77).trusting(&scene.world);
    held.session.clone_from(&device.session);
    held.store.clone_from(&device.store);
    held
}

fn ask(device: &Device) -> Response {
    device.send(&device.info_get("hello", "version")).expect("an answer")
}

fn assert_renewal_wanted(device: &Device) {
    let answer = ask(device);
    assert!(answer.status == 401 && asks_for_renewal(&answer), "{answer:?}");
}

fn signer(device: &Device) -> String {
    key_id(device.session.as_deref().expect("a session")).expect("a key")
}

fn rotate(store: &Server, keep: &str) -> schema::api::admin::SecretRotated {
    let report = store.proxy(&["rotate-secret", KEY, "--keep-old", keep, "--json"]).json();
    serde_json::from_value(report).expect("a report")
}

#[test]
fn both_keys_are_good_during_the_overlap_and_one_after() {
    let mut scene = Scene::new();
    let mut old = holding(&scene);
    let nonce_of_before = scene.device().nonce().expect("a nonce");
    let report = rotate(&scene.store, "30d");
    assert_eq!(report.old_keys.len(), 1);
    assert_eq!(report.old_keys[0].id, signer(&old));
    assert_ne!(report.in_force, signer(&old));
    assert_eq!(ask(&old).status, 200, "an earlier session");
    let triple = scene
        .device()
        .triple(&tests::device::session::session_request(&scene.identity, &nonce_of_before), &scene.identity);
    let begun = scene.store.send(&scene.device().session_post(&triple));
    assert_eq!(begun.status, 200, "an earlier nonce: {begun:?}");
    let mut new = holding(&scene);
    assert_eq!(signer(&new), report.in_force);
    let status = scene.store.proxy(&["status"]).stdout;
    let old_key = &report.old_keys[0];
    for line in [
        format!("{}: signs\n", report.in_force),
        format!("{}: accepted until {}\n", old_key.id, old_key.until),
    ] {
        assert!(status.contains(&line), "{line} in {status}");
    }
    // The secrets themselves are shown nowhere.
    let fresh = scene.store.proxy(&["config", KEY]).ok();
    let dump = scene.store.proxy(&["config"]).ok();
    for text in [&status, &dump, &scene.store.log()] {
        assert!(!text.contains(SECRET) && !text.contains(fresh.trim()), "{text}");
    }

    scene.store = scene.store.stop().start();
    for device in [&mut old, &mut new] {
        device.move_to(&scene.store);
        assert_eq!(ask(device).status, 200, "after a restart");
    }
    let _ = scene.store.proxy(&["config", "proxy.device-auth.old-secrets="]).ok();
    assert_renewal_wanted(&old);
    assert_eq!(ask(&new).status, 200);

    // With the new secret alone.
    scene.store = scene.store.stop().start();
    for device in [&mut old, &mut new] {
        device.move_to(&scene.store);
    }
    assert_renewal_wanted(&old);
    assert_eq!(ask(&new).status, 200);
    assert_eq!(scene.store.status().session_key, Some(report.in_force));
    scene.device().renew().expect("it gets another session");
}

#[test]
fn a_session_of_before_ends_with_the_overlap() {
    let scene = Scene::new();
    let old = holding(&scene);
    let report = rotate(&scene.store, "3s");
    let begun = Instant::now();
    let mut served = 0;
    // Repeated, so that the server's memory of the token is involved.
    while ask(&old).status == 200 {
        served += 1;
        assert!(begun.elapsed() < Duration::from_secs(20), "it is still accepted");
    }
    assert!(served > 0);
    assert_renewal_wanted(&old);
    let until = &report.old_keys[0].until;
    let until = OffsetDateTime::parse(until, &time::format_description::well_known::Rfc3339).expect("a time");
    assert!(OffsetDateTime::now_utc() >= until, "refused before {until}");
    assert!(scene.store.status().old_session_keys.is_empty());
    assert_eq!(ask(&holding(&scene)).status, 200);
}

#[test]
fn rotations_stack() {
    let scene = Scene::new();
    let first = holding(&scene);
    let _ = rotate(&scene.store, "1h");
    let second = holding(&scene);
    let report = rotate(&scene.store, "1h");
    assert_eq!(report.old_keys.len(), 2);
    for device in [first, second, holding(&scene)] {
        assert_eq!(ask(&device).status, 200);
    }
}

#[test]
fn a_secret_that_leaked_is_void_at_once() {
    let mut scene = Scene::new();
    let first = holding(&scene);
    let _ = rotate(&scene.store, "1h");
    let second = holding(&scene);
    assert!(rotate(&scene.store, "0s").old_keys.is_empty());
    for device in [&first, &second] {
        assert_renewal_wanted(device);
    }
    // Also for a clock that is set back to an earlier time.
    let mut held = [first, second, holding(&scene)];
    scene.store = scene.store.stop().start_with_clock(-7200);
    for device in &mut held {
        device.move_to(&scene.store);
    }
    let [first, second, new] = &held;
    assert_renewal_wanted(first);
    assert_renewal_wanted(second);
    assert_eq!(ask(new).status, 200);
}

/// The file is written first: a server that is cut off before the database knows goes on with the rotation.
#[test]
fn a_rotation_that_was_cut_off_is_finished_at_the_next_start() {
    let mut scene = Scene::new();
    let mut old = holding(&scene);
    let before = scene.store.status().session_key;
    let mut stopped = scene.store.kill();
    let mut settings = Settings::load(&stopped.data_dir).expect("settings");
    let now = OffsetDateTime::now_utc();
    let until = now + Duration::from_secs(3600);
    settings.rotate_secret(RotatedSecret::Sessions, &[7; 32], until, now).expect("rotated");
    settings.save(&stopped.data_dir).expect("saved");
    scene.store = stopped.try_start().unwrap_or_else(|failure| panic!("{failure}"));
    old.move_to(&scene.store);
    assert_eq!(ask(&old).status, 200);
    let after = scene.store.status().session_key;
    assert_ne!(after, before);

    // From now on this store does not accept the old secret any more.
    stopped = scene.store.stop();
    for (secret, starts) in [(SECRET.to_owned(), false), (settings.value(KEY).to_owned(), true)] {
        let values = [format!("{KEY}={secret}"), "proxy.device-auth.old-secrets=".to_owned()];
        let _ = proxy(&stopped.data_dir, &["config", &values[0], &values[1]]).ok();
        match stopped.try_start() {
            Ok(_) => assert!(starts, "with the old secret"),
            Err(failure) => assert!(!starts && failure.contains(KEY), "{failure}"),
        }
    }
}

#[test]
fn what_cannot_be_rotated_is_refused() {
    let scene = Scene::new();
    let old = holding(&scene);
    let ran = scene.store.proxy(&["rotate-secret", KEY, "--keep-old", "soon"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(ask(&old).status, 200);
    let bare = tests::server::Setup::default().config(KEY, "").config("proxy.airgap", "").start();
    let ran = bare.proxy(&["rotate-secret", KEY, "--keep-old", "1d"]);
    assert!(ran.refused().contains("enable-airgap-mode"));
}

#[test]
fn the_secret_of_valid_logins_is_not_replaced_without_a_word() {
    let store = Server::start();
    let replaced = |value: &str| store.proxy(&["config", &format!("proxy.auth.secret={value}")]);
    let (id, _) = store.site_login("admin");
    for value in ["", "/////////////////////////////////////////w8="] {
        let refused = replaced(value).refused();
        assert!(refused.contains("signed 1 logins") && refused.contains("--keep-old 7d"), "{refused}");
    }
    // A rotation says what it does, and a login that was revoked needs no secret.
    let _ = store.proxy(&["rotate-secret", "proxy.auth.secret", "--keep-old", "0s"]).ok();
    assert!(store.proxy(&["list-logins"]).ok().contains("void"));
    let (other, _) = store.site_login("admin");
    assert!(replaced("").refused().contains("signed 1 logins"));
    for id in [id, other] {
        let _ = store.proxy(&["revoke-login", &id]).ok();
    }
    let _ = replaced("").ok();
}
