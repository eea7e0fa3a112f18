//! Documents: what "not found" looks like, and when it must not be said.

use serde_json::{Value, json};
use tests::device::Trouble;
use tests::device::assertions::read_assertion;
use tests::world::{map, stream};

use super::Shop;

#[test]
fn not_found_has_its_exact_shape() {
    let shop = Shop::new();
    let digest = "A".repeat(64);
    for path in [
        "snap-declaration/16/nothing",
        "account/nobody",
        "store/nowhere",
        "validation-set/16/acme/line-a/1",
        "validation-set/16/acme/line-a?sequence=latest",
        "validation/16/a/b/1",
        "model/16/acme/none",
        "serial/acme/none/1",
        &format!("snap-revision/{digest}"),
        &format!("snap-revision/{digest}/other-provenance"),
        &format!("account-key/{digest}"),
        "confdb-schema/acme/net",
        "system-user/acme/someone@acme.example",
        "base-declaration/16",
        "no-such-type/a",
        "snap-declaration",
        "snap-declaration/16/a/b/c",
        "snap-declaration/16/%ff",
        "validation-set/16/acme/line-a?sequence=0",
    ] {
        let query = if path.contains('?') { "&max-format=0" } else { "?max-format=0" };
        let response = shop.store.send(&shop.device.assertion_get(&format!("/v2/assertions/{path}{query}")));
        assert_eq!(response.status, 404, "{path}: {response:?}");
        assert_eq!(read_assertion(&response).map(|_| ()), Err(Trouble::NotFound), "{path}");
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{path}");
    }
}

/// Entries of an update with the revision that a device holds.
fn held(kind: &str, key: Value) -> Value {
    json!({"type": kind, "primary-key": key, "if-newer-than": 0})
}

#[test]
fn what_a_device_holds_is_never_not_found() {
    let mut shop = Shop::new();
    let hello = shop.hello.clone();
    let foreign = vec![
        held("snap-declaration", json!(["16", "unknownunknownunknownunknown1234"])),
        held("account", json!(["somebody-elsewhere"])),
        held("account-key", json!(["A".repeat(64)])),
        held("store", json!(["store-elsewhere"])),
        json!({"type": "validation-set", "sequence-key": ["16", "elsewhere", "set"],
            "if-sequence-equal-or-newer-than": 1, "if-newer-than": 0}),
        json!({"type": "type-of-the-future", "primary-key": ["a"], "if-newer-than": 0}),
    ];
    let current = vec![held("snap-declaration", json!(["16", hello.id]))];
    let groups = [("Ag", foreign), ("BA", current)];
    let answered = shop.device.fetch_assertions(&groups).expect("an update");
    assert_eq!(answered.len(), 2);
    for (group, _) in &answered {
        assert!(group.errors.is_empty() && group.urls.is_empty(), "{group:?}");
    }

    // A newer one arrives; the group that lists it gets a stream with it.
    let newer = hello.clone().declaration_at(3, 0).declaration();
    let _ = shop.store.try_push_assertions(newer.bytes()).ok();
    let answered = shop.device.fetch_assertions(&groups).expect("an update");
    let documents = &answered.iter().find(|(group, _)| group.key == "BA").expect("the second group").1;
    assert_eq!(documents.iter().map(|document| document.bytes()).collect::<Vec<_>>(), [newer.bytes()]);

    // Only what the device has never had may be told missing, and with type and key.
    let wanted = vec![
        json!({"type": "snap-declaration", "primary-key": ["16", "unknownunknownunknownunknown1234"]}),
        json!({"type": "snap-declaration", "primary-key": ["16", hello.id]}),
    ];
    let answered = shop.device.fetch_assertions(&[("CA", wanted)]).expect("an update");
    assert_eq!(answered[0].0.errors, ["not-found snap-declaration 16/unknownunknownunknownunknown1234"]);
    let wanted = vec![json!({"type": "validation-set", "sequence-key": ["16", "acme", "line-a"]})];
    let answered = shop.device.fetch_assertions(&[("DA", wanted)]).expect("an update");
    assert_eq!(answered[0].0.errors, ["not-found validation-set 16/acme/line-a"]);
}

#[test]
fn a_key_that_is_cut_elsewhere_names_nothing() {
    let mut shop = Shop::new();
    let brand = shop.world.brand("acme");
    shop.store.push_brand(&brand);
    let entry = map(&[("name", "hello"), ("id", &shop.hello.id), ("presence", "optional")]);
    let set = brand.validation_set("line-a", 1, vec![entry]);
    let _ = shop.store.try_push_assertions(&stream(&[set])).ok();
    for (key, found) in [
        (json!(["16", "acme", "line-a"]), true),
        (json!(["16/acme", "line-a"]), false),
        (json!(["16", "acme/line-a"]), false),
        (json!(["16/acme/line-a"]), false),
        (json!(["16", "acme", "line-a", "1"]), false),
    ] {
        let wanted = vec![json!({"type": "validation-set", "sequence-key": key})];
        let answered = shop.device.fetch_assertions(&[("A", wanted)]).expect("an update");
        assert_eq!(answered[0].0.errors.is_empty(), found, "{key}");
    }
}

#[test]
fn groups_echo_their_key() {
    let mut shop = Shop::new();
    let keys: Vec<String> = (0..256).map(|number| format!("k{number}\u{e9}")).collect();
    let groups: Vec<(&str, Vec<Value>)> =
        keys.iter().map(|key| (key.as_str(), vec![held("account", json!([key]))])).collect();
    let answered = shop.device.fetch_assertions(&groups).expect("an update of 256 groups");
    let mut echoed: Vec<&str> = answered.iter().map(|(group, _)| group.key.as_str()).collect();
    echoed.sort_unstable();
    let mut sent: Vec<&str> = keys.iter().map(String::as_str).collect();
    sent.sort_unstable();
    assert_eq!(echoed, sent);
}

#[test]
fn accounts_and_keys_need_no_session() {
    let mut shop = Shop::new();
    for document in shop.hello.revision(1).assertions() {
        let served = shop.device.assertion(&document.reference()).expect("without a session");
        assert_eq!(served.bytes(), document.bytes());
    }
}
