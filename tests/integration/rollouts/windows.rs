//! A rollout offers its revision in its windows only (M26, M52).

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::device::{Device, Dialect, Snapd};
use tests::server::Setup;

use super::{Clock, Scene, all_are, dashboard, offers, refreshed, takes};

/// The channel of the newest release in the store's list, as that login reads it.
fn newest(scene: &Scene, token: &str) -> Value {
    let mut reader = Device::anonymous(&scene.store, Snapd::V2_77);
    let response = reader.call(|device| {
        let mut headers = device.headers(Dialect::V2, "application/json");
        headers.insert("Authorization", format!("Macaroon {token}"));
        device.request("GET", "/api/v2/stores/AcmeStore/snaps", &headers, None)
    });
    response.expect("an answer").json()["snaps"][0]["latest-release"]["channel"].clone()
}

#[test]
fn it_offers_in_its_windows_only() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = Clock(&folder.path().join("clock"));
    clock.set(0.0);
    let scene = Scene::new(Setup::default().clock(clock.0));
    let (mut first, mut second) = (scene.device("in-1"), scene.device("in-2"));
    scene.group("lab", "in-*");
    // The hour that comes five hours from now, in a zone that has no clock changes.
    let hour = |ahead: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        (now / 3600 + ahead + 4) % 24
    };
    let window = format!("daily {:02}:00-{:02}:00", hour(5), (hour(5) + 2) % 24);
    let zone = ["--window", &window, "--zone", "Asia/Dubai", "--max-failed", "100%", "--max-silent", "100%"];
    scene.start(&["group=lab", "100%"], &zone);
    let shown = scene.rollout();
    assert_eq!(shown["windows"], format!("{window} (Asia/Dubai)"));
    let next = shown["next-window"].as_str().expect("a window is to come").to_owned();
    assert_eq!((refreshed(&mut first), refreshed(&mut second)), (1, 1), "before the window");
    for said in [&["rollout", "why", "acme/gateway/in-1"][..], &["explain", "acme/gateway/in-1", "hello"]] {
        let said = scene.store.proxy(said).ok();
        assert!(said.contains(&window) && said.contains(&next), "{next}: {said}");
    }
    let (_, token) = scene.store.login("AcmeStore", "package_access,store_admin");
    all_are(&offers(&mut second), 1, "before the window");
    clock.set(6.0);
    assert_eq!(scene.rollout()["next-window"], Value::Null);
    assert_eq!(takes(&mut first), 2, "in the window");
    all_are(&offers(&mut second), 2, "in the window");
    assert_eq!(dashboard(&scene, &token), 1, "the first wave is not everybody");
    let _ = scene.store.proxy(&["rollout", "next", "spring"]).ok();
    assert_eq!((dashboard(&scene, &token), newest(&scene, &token)), (2, json!("latest/stable")));
    clock.set(9.0);
    assert_eq!(refreshed(&mut first), 2, "it keeps it");
    all_are(&offers(&mut second), 1, "after the window");
    assert_eq!((dashboard(&scene, &token), newest(&scene, &token)), (1, json!("latest/candidate")));

    let plan = |more: &[&str]| {
        let plan = ["rollout", "plan", "summer", "--snap", "hello", "--to", "2", "--wave", "100%"];
        scene.store.proxy(&[&plan, more].concat()).refused()
    };
    let _ = scene.store.proxy(&["rollout", "back", "spring"]).ok();
    let refused = plan(&["--window", "mon 01:00-02:00", "--zone", "Europe/Atlantis"]);
    assert!(
        refused.contains("there is no time zone \"Europe/Atlantis\": name one such as Europe/Vienna"),
        "{refused}"
    );
}
