//! Break glass: a user for one device, signed on site, after two other people have approved it.

use std::fs;

use schema::assertion::{Anchors, Assertion, AssertionType, Checker, KeyTime, check_batch};
use tempfile::TempDir;
use tests::server::Setup;
use tests::world::World;

const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFyGlVHFmwtkE5xpk1p3vBdOmDJGtQ5xjxSr+ELBLJSe alice@desk";

#[test]
fn attack_a_user_is_for_one_device_and_some_hours_and_takes_approvals() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    store.push_brand(&world.brand("acme"));
    let folder = TempDir::new().expect("there is room");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    fs::write(path("alice.pub"), format!("{SSH_KEY}\n")).expect("a file");
    let ssh_key = path("alice.pub");
    let glass = |out: &str, more: &[&str]| {
        let args = ["break-glass", "acme/gateway/G-1", "--ssh-key", &ssh_key, "--hours", "8", "--out", out];
        store.proxy(&[&args[..], more].concat())
    };
    let out = path("auto-import.assert");
    assert!(glass(&out, &[]).refused().contains("keys create"), "there is no key");
    store.make_key_for(&world, "users-1", "system-user", "acme", &[]);

    // Two other people are needed unless the key says otherwise, and no file is left meanwhile.
    let waits = glass(&out, &[]).refused();
    assert!(waits.contains("waits as request 1 until two other people"), "{waits}");
    assert!(!fs::exists(&out).expect("a folder"));
    let shown = store.proxy(&["approvals", "show", "1"]).ok();
    assert!(shown.contains("SHA256:GdVeh+phY4AVjN2QLEK7P6UVtYOADPzXBSwNVOEOGMc"), "{shown}");
    assert!(store.proxy(&["approvals", "approve", "1"]).refused().contains("made by you"));

    store.make_key_for(&world, "users-2", "system-user", "acme", &["--approvals", "0"]);
    assert!(glass(&out, &[]).refused().contains("name one with --key"));
    let said = glass(&out, &["--key", "users-2", "--user", "alice"]).ok();
    assert!(said.contains("User alice of acme/gateway/G-1"), "{said}");
    assert!(glass(&out, &["--key", "users-2"]).refused().contains("cannot make"), "the file is there");

    // The file has everything that a device needs to check it.
    let file = fs::read(&out).expect("the file");
    let documents = Assertion::decode_stream(&file).expect("a stream");
    let anchors = Anchors::none().with_stream(&world.anchors()).expect("anchors");
    let checker = Checker { anchors: &anchors, source: &anchors, time: KeyTime::DocumentTime };
    let outcome = check_batch(documents, &checker).expect("nothing else is needed to check it");
    let users = outcome.verified.iter().filter(|found| found.kind() == AssertionType::SystemUser);
    let [user] = &users.collect::<Vec<_>>()[..] else { panic!("{}", String::from_utf8_lossy(&file)) };
    let text = String::from_utf8_lossy(user.bytes()).into_owned();
    for line in [
        "format: 2",
        "authority-id: acme",
        "models:\n  - gateway",
        "serials:\n  - G-1",
        "username: alice",
        "user-presence: until-expiration",
        &format!("ssh-keys:\n  - {SSH_KEY}"),
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    // Another one is another document, which a device takes as well; one for old devices has the format that they know.
    let stays = path("stays.assert");
    let _ = glass(&stays, &["--key", "users-2", "--stays"]).ok();
    let older = fs::read_to_string(&stays).expect("the file");
    assert!(older.contains("format: 1\n") && !older.contains("user-presence"), "{older}");
    for (args, wanted) in
        [(["--user", "Alice"], "name of a user"), (["--key", "users-9"], "there is no key users-9")]
    {
        let refused = glass(&path("none"), &args).refused();
        assert!(refused.contains(wanted), "{refused}");
    }
    fs::write(&ssh_key, "-----BEGIN OPENSSH PRIVATE KEY-----\n").expect("a file");
    assert!(glass(&path("none"), &["--key", "users-2"]).refused().contains("one public key"));
    // Its key signs nothing else.
    let serials = ["models", "add", "acme/gateway", "--key", "users-2", "--serial", "assigned"];
    assert!(store.proxy(&serials).refused().contains("signs no serials"));
    let events = store.proxy(&["audit", "--json"]).json_lines();
    let made = events.iter().filter(|event| event["what"] == "break-glass" && event["outcome"] == "done");
    assert_eq!(made.filter(|event| event["detail"]["ssh-keys"][0].is_string()).count(), 2);
}
