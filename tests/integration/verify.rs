//! `proxy verify`: every kind of damage is found, kept from devices, and healed by the next push.

use std::fs;
use std::path::{Path, PathBuf};

use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::device::{Device, Snapd};
use tests::server::Server;
use tests::world::{Revision, World};

/// Where the server keeps a file.
pub(crate) fn blob(data_dir: &Path, digest: &Sha3_384) -> PathBuf {
    let name = digest.to_hex();
    data_dir.join("blobs").join(&name[..2]).join(&name)
}

/// A store with two snaps, large enough for several blocks.
fn scene() -> (World, Server, Vec<Revision>) {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let push = |name: &str| {
        let revision = world.snap(name).payload(2_500_000).revision(3);
        store.push_pair(&revision, &["latest/stable"], "ubuntu");
        revision
    };
    let revisions = vec![push("hello"), push("other")];
    (world, store, revisions)
}

/// Has a store checked, which must end with this code.
pub(crate) fn verify(store: &Server, code: i32) -> Value {
    let ran = store.proxy(&["verify", "--json"]);
    assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).expect("a report")
}

#[test]
fn a_sound_store_passes() {
    let (_, store, revisions) = scene();
    let report = verify(&store, 0);
    assert_eq!(report["problems"], json!([]));
    assert_eq!(
        (&report["blobs"], &report["revisions"], &report["releases"]),
        (&json!(2), &json!(2), &json!(2))
    );
    let bytes: usize = revisions.iter().map(|revision| revision.image.bytes.len()).sum();
    assert_eq!(report["bytes"], json!(bytes));
    let text = store.proxy(&["verify"]).ok();
    assert!(text.starts_with("Checked 2 files") && text.ends_with("All is well\n"), "{text}");
}

#[test]
fn damage_is_found_kept_from_devices_and_healed_by_a_push() {
    let (world, store, revisions) = scene();
    let (hello, other) = (&revisions[0], &revisions[1]);
    let path = blob(&store.data_dir, &hello.image.digest);
    let good = fs::read(&path).expect("the file is there");
    assert!(good.len() > 2 << 20, "{}", good.len());
    // In a block that a whole download would not come to before its answer has begun.
    let mut flipped = good.clone();
    flipped[(1 << 20) + 4711] ^= 1;
    let damages: [(&str, Option<&[u8]>); 4] = [
        ("flipped", Some(&flipped)),
        ("truncated", Some(&good[..good.len() / 2])),
        ("empty", Some(b"")),
        ("gone", None),
    ];
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let promised = device.install("hello", "stable").expect("an answer").snap.download;
    let set_aside = "A file is damaged, it is missing: push its snap again (`proxy push-snap`), or bring the file with \
                     `proxy verify --repair-from`";
    for (what, bytes) in damages {
        match bytes {
            Some(bytes) => fs::write(&path, bytes).expect("it can be written"),
            None => fs::remove_file(&path).expect("it can be removed"),
        }
        let report = verify(&store, 1);
        let message = report["problems"][0]["message"].as_str().unwrap_or_default();
        let why = match what {
            "flipped" => "its content has changed",
            "gone" => "it is missing",
            _ => "which is not its length",
        };
        assert!(message.contains(why), "{what}: {message}");
        assert_eq!(
            verify(&store, 1)["problems"],
            json!([{
                "kind": "damaged-blob",
                "subject": hello.image.digest.to_hex(),
                "message": set_aside,
                "affected": [{
                    "snap": "hello",
                    "snap-id": hello.snap.id,
                    "revision": 3,
                    "component": null,
                    "stores": ["ubuntu"],
                }],
            }]),
            "{what}"
        );
        let text = store.proxy(&["verify"]);
        assert_eq!(text.code, Some(1), "{what}");
        assert!(text.stdout.contains("hello revision 3 in ubuntu"), "{what}: {}", text.stdout);

        // Nothing but a push of the file ends it.
        store.push_pair(other, &["latest/edge"], "ubuntu");
        let refused = device.download(&promised).expect_err("a damaged file");
        assert_eq!(refused.status(), Some(503), "{what}: {refused}");
        let status = store.proxy(&["status"]);
        assert_eq!(status.code, Some(1), "{what}");
        assert!(status.stdout.contains("hello revision 3 is damaged"), "{what}: {}", status.stdout);
        device
            .install("other", "stable")
            .and_then(|outcome| device.download(&outcome.snap.download))
            .expect("whole");

        store.push_pair(hello, &["latest/stable"], "ubuntu");
        assert_eq!(verify(&store, 0)["problems"], json!([]), "{what}");
        device.download(&promised).unwrap_or_else(|trouble| panic!("{what}, healed: {trouble}"));
        let _ = store.proxy(&["status"]).ok();
        assert_eq!(fs::read(&path).expect("the file is back"), good, "{what}");
    }
    drop(world);
}

#[test]
fn a_file_put_back_by_hand_is_served_after_the_next_check() {
    let (_, store, revisions) = scene();
    let path = blob(&store.data_dir, &revisions[0].image.digest);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("it can be moved");
    let _ = verify(&store, 1);
    fs::rename(&aside, &path).expect("it can be moved back");
    let _ = verify(&store, 0);
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let outcome = device.install("hello", "stable").expect("an answer");
    device.download(&outcome.snap.download).expect("it is whole again");
}

#[test]
fn damaged_components_are_named() {
    let (world, store, _) = scene();
    let revision = world.snap("parts").component("extra", 2).revision(1);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let component = &revision.components[0];
    let path = blob(&store.data_dir, &component.image.digest);
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let _ = device.install("parts", "stable");
    let offered = || {
        let info = store.send(&device.info_get("parts", "revision,resources")).json();
        info["channel-map"][0]["resources"].as_array().map(Vec::len)
    };
    assert_eq!(offered(), Some(1));
    fs::write(&path, b"").expect("it can be written");
    let report = verify(&store, 1);
    assert_eq!(offered(), Some(0), "what is damaged is not offered");
    let affected = &report["problems"][0]["affected"];
    assert_eq!(affected[0]["component"], json!("extra 2"), "{report}");
    let status = store.proxy(&["status"]);
    assert!(status.stdout.contains("parts component extra 2 is damaged"), "{}", status.stdout);
}

#[test]
fn a_server_that_is_down_is_said_to_be() {
    let stopped = Server::start().stop();
    let ran = tests::server::proxy(&stopped.data_dir, &["verify"]);
    assert!(ran.refused().contains("not running"));
}
