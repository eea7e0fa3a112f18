//! Parcels that wait until somebody else has approved them.

use std::fs;

use serde_json::Value;

use super::Scene;
use crate::approvals::Voter;

fn waiting(scene: &Scene) -> Vec<Value> {
    let listed = scene.site.proxy(&["imports", "list", "--json"]).json();
    listed["imports"].as_array().expect("a list").clone()
}

fn is_visible(scene: &Scene) -> bool {
    scene.device(&scene.site).install("acme-app", "stable").is_ok()
}

#[test]
fn a_parcel_waits_and_is_released_or_leaves_nothing() {
    let scene = Scene::new();
    let alice = Voter::new(&scene.site);
    // Devices of this test come over plain HTTP.
    let _ = scene.site.proxy(&["config", &format!("proxy.public-url=http://{}", scene.site.address)]).ok();
    let _ = scene.site.proxy(&["config", "proxy.imports.quarantine=parcels"]).ok();
    let printed = scene.deliver("first");
    assert!(
        printed.contains("Would import parcel 1 of harbour") && printed.contains("request 1"),
        "{printed}"
    );
    assert!(!is_visible(&scene));
    let [one] = &waiting(&scene)[..] else { panic!("a parcel waits") };
    assert_eq!(one["kind"], "parcel");
    // Nothing of it counts as held: the next parcel brings it again.
    let receipt = scene.receipt("second.receipt");
    let printed = scene.fetch(&receipt, "second", &[]).ok();
    assert!(printed.contains("carries 3 files"), "{printed}");

    // One that somebody refuses leaves nothing.
    let id = |one: &Value| one["id"].as_str().expect("an id").to_owned();
    let _ = scene.site.proxy(&["imports", "refuse", &id(one)]).ok();
    assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
    for folder in ["parcels", "quarantine", "staging"] {
        let left = fs::read_dir(scene.site.data_dir.join(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder}");
    }

    let pushed = scene.site.proxy(&["push-parcel", &scene.text("second")]).ok();
    assert!(pushed.contains("request 2"), "{pushed}");
    let [one] = &waiting(&scene)[..] else { panic!("a parcel waits") };
    let own = scene.site.proxy(&["imports", "release", &id(one)]).refused();
    assert!(own.contains("made by you"), "{own}");
    alice.approve(&scene.site, 2);
    assert!(!is_visible(&scene));
    let released = scene.site.proxy(&["imports", "release", &id(one)]).ok();
    assert!(released.contains("Devices see import"), "{released}");
    scene.is_same(&[&scene.app.revision(1)]);
    assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
    let again = scene.site.proxy(&["push-parcel", &scene.text("second")]).ok();
    assert_eq!(again, "Parcel 2 of harbour was imported before\n");
    // The first one is older now.
    let older = scene.site.proxy(&["push-parcel", &scene.text("first")]).refused();
    assert!(older.contains("older"), "{older}");
}
