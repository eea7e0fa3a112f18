//! `POST /v2/snaps/refresh`: results that crash the daemon, freeze a fleet, or lose their meaning.

use schema::assertion::HeaderValue;
use serde_json::{Value, json};
use tests::device::{Action, Installed, Trouble, Wanted};
use tests::http::Response;
use tests::world::{map, stream};

use super::Shop;

fn ask(shop: &Shop, body: &Value) -> Response {
    let bytes = serde_json::to_vec(body).expect("JSON of plain values");
    shop.store.send(&shop.device.refresh_post(&bytes))
}

#[test]
fn results_follow_the_actions() {
    let mut shop = Shop::new();
    let (hello, other) = (shop.hello.clone(), shop.world.snap("other"));
    // Everything installed has news; one action is sent.
    shop.device.installed = vec![
        Installed::new("hello", &hello.id, 7, "latest/edge"),
        Installed::new("other", &other.id, 1, "latest/stable"),
    ];
    let refreshed =
        shop.device.act(&[Action::Refresh(other.id.clone(), Wanted::default())]).expect("no crash");
    let names: Vec<_> = refreshed.iter().flatten().map(|outcome| outcome.snap.name.as_str()).collect();
    assert_eq!(names, ["other"]);
    let installed = shop.device.install("hello", "edge").expect("an install beside the installed one");
    assert_eq!(installed.snap.revision, 2);
    // Context alone is legal and asks for nothing.
    let nothing = ask(
        &shop,
        &json!({"context": [{"snap-id": hello.id, "instance-key": hello.id, "revision": 1,
        "tracking-channel": "stable", "epoch": {"read": [0], "write": [0]}}], "actions": []}),
    );
    assert_eq!((nothing.status, &nothing.json()["results"]), (200, &json!([])));
    // Two instances of a snap are told apart by their keys.
    let second = format!("{}:SS-YjCli3x_AqWMbhY9dLCnsq3ov8xPhTVgGDjZap-A", hello.id);
    let mut instance = Installed::new("hello", &hello.id, 1, "latest/stable");
    instance.instance_key.clone_from(&second);
    shop.device.installed.push(instance);
    let both = [
        Action::Refresh(hello.id.clone(), Wanted::default()),
        Action::Refresh(second.clone(), Wanted::default()),
    ];
    let outcomes = shop.device.act(&both).expect("both instances");
    let told: Vec<_> = outcomes
        .iter()
        .flatten()
        .map(|outcome| (outcome.instance_key.as_str(), outcome.snap.revision))
        .collect();
    assert_eq!(told, [(hello.id.as_str(), 2), (second.as_str(), 1)]);
}

#[test]
fn errors_are_tied_to_their_snap() {
    let mut shop = Shop::new();
    let unknown = "unknownunknownunknownunknown1234";
    shop.device.installed = vec![Installed::new("gone", unknown, 7, "latest/stable")];
    let actions = [
        Action::Install("never-was".to_owned(), Wanted::channel("stable")),
        Action::Install("hello".to_owned(), Wanted::channel("9/stable")),
        Action::Download("hello".to_owned(), Wanted::revision(99)),
        Action::Refresh(unknown.to_owned(), Wanted::default()),
    ];
    let outcomes = shop.device.act(&actions).expect("an answer");
    let told: Vec<(String, String)> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Err(Trouble::Snap { code, name, .. }) => (code, name),
            other => panic!("{other:?}"),
        })
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(code, name)| (code.as_str(), name.as_str())).collect();
    assert_eq!(
        told[..3],
        [("name-not-found", "never-was"), ("revision-not-found", "hello"), ("revision-not-found", "hello"),]
    );
    assert_eq!(told[3].0, "id-not-found");
    assert!(!told[3].1.is_empty(), "the error of a refresh is tied by its key");
}

#[test]
fn nothing_new_is_the_installed_revision() {
    let mut shop = Shop::new();
    let hello = shop.hello.clone();
    shop.device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
    let outcome = shop.device.act_on_one(Action::Refresh(hello.id, Wanted::channel("latest/stable")));
    assert_eq!(outcome.expect("the right way to say it").snap.revision, 1);
}

#[test]
fn an_enforced_set_pins_its_revision() {
    let shop = &mut Shop::new();
    let brand = shop.world.brand("acme");
    shop.store.push_brand(&brand);
    let entry = |revision: &str| map(&[("name", "hello"), ("id", &shop.hello.id), ("revision", revision)]);
    let points = [
        brand.validation_set("line-a", 1, vec![entry("1")]),
        brand.validation_set("line-a", 2, vec![entry("9")]),
    ];
    let _ = shop.store.try_push_assertions(&stream(&points)).ok();
    let under = |point: &str| Wanted {
        validation_sets: vec![["16", "acme", "line-a", point].map(str::to_owned)],
        ..Wanted::channel("edge")
    };
    for (wanted, answer) in [
        (under("1"), Ok(1)),
        (under("2"), Err("revision-not-found")),
        // A set that is not here pins nothing; nor does one that is to be ignored.
        (under("3"), Ok(2)),
        (Wanted { ignore_validation: Some(true), ..under("1") }, Ok(2)),
        (Wanted { revision: Some(2), ..under("1") }, Ok(2)),
    ] {
        let got = match shop.device.act_on_one(Action::Install("hello".to_owned(), wanted.clone())) {
            Ok(outcome) => Ok(outcome.snap.revision),
            Err(Trouble::Snap { code, .. }) => Err(code),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(got, answer.map_err(str::to_owned), "{wanted:?}");
    }
}

#[test]
fn an_installed_snap_remembers_that_gates_do_not_count() {
    let shop = &mut Shop::new();
    let (gated, account) = (shop.world.snap("gated"), "gatekeeper");
    let gates = HeaderValue::List(vec![gated.id.as_str().into()]);
    let gate = shop.world.snap("gate").publisher(account).declared("refresh-control", gates);
    for pair in [gate.revision(1), gated.revision(1), gated.revision(2)] {
        shop.store.push_pair(&pair, &["latest/stable"], "ubuntu");
    }
    shop.device.installed = vec![
        Installed::new("gated", &gated.id, 1, "latest/stable"),
        Installed::new("gate", &gate.id, 1, "latest/stable"),
    ];
    // What the snap remembers, what the action says, what it gets.
    for (remembered, said, revision) in
        [(false, None, 1), (true, None, 2), (false, Some(true), 2), (true, Some(false), 1)]
    {
        shop.device.installed[0].ignore_validation = remembered;
        let wanted = Wanted { ignore_validation: said, ..Wanted::default() };
        let outcome = shop.device.act_on_one(Action::Refresh(gated.id.clone(), wanted)).expect("an answer");
        assert_eq!(outcome.snap.revision, revision, "{remembered} {said:?}");
    }
}

#[test]
fn a_step_between_epochs_stays_in_the_channel() {
    let shop = &mut Shop::new();
    for (place, taken) in
        [("latest/edge", 1), ("latest/stable/fix", 1), ("2/stable", 1), ("latest/stable", 2)]
    {
        let name = format!("step-{}", place.replace('/', "-"));
        let plain = shop.world.snap(&name);
        let (both, later) = (plain.clone().yaml("epoch: 1*\n"), plain.clone().yaml("epoch: 2\n"));
        shop.store.push_pair(&plain.revision(1), &["latest/stable"], "ubuntu");
        shop.store.push_pair(&both.revision(2), &[place], "ubuntu");
        shop.store.push_pair(&later.revision(3), &["latest/stable"], "ubuntu");
        shop.device.installed = vec![Installed::new(&name, &plain.id, 1, "latest/stable")];
        let wanted = Wanted::channel("latest/stable");
        let outcome = shop.device.act_on_one(Action::Refresh(plain.id.clone(), wanted)).expect("an answer");
        assert_eq!(outcome.snap.revision, taken, "between them in {place}");
    }
}

#[test]
fn an_architecture_that_cannot_be_read_is_not_every_one() {
    let shop = &mut Shop::new();
    let arm = shop.world.snap("arm").architectures(&["arm64"]);
    shop.store.push_pair(&arm.revision(1), &["latest/stable"], "ubuntu");
    for (named, installs) in
        [("arm64", true), ("amd64", false), ("ARM64", false), ("arm 64", false), ("", false)]
    {
        shop.device.architecture = named.to_owned();
        assert_eq!(shop.device.install("arm", "stable").is_ok(), installs, "{named:?}");
        assert!(shop.device.install("hello", "stable").is_ok(), "{named:?}: all architectures");
    }
}

#[test]
fn a_short_request_gets_no_endless_answer() {
    let shop = &mut Shop::new();
    let wide = shop.world.snap("wide").yaml(&format!("# {}\n", "-".repeat(200_000)));
    shop.store.push_pair(&wide.revision(1), &["latest/stable"], "ubuntu");
    let install = json!({"action": "install", "instance-key": "a", "name": "wide"});
    let asked = |count: usize, fields: Value| {
        let response = ask(shop, &json!({"actions": vec![install.clone(); count], "fields": fields}));
        (response.status, response.json()["error-list"][0]["code"].as_str().map(str::to_owned))
    };
    assert_eq!(asked(60, json!([])), (200, None));
    assert_eq!(asked(100, json!([])), (400, Some("answer-too-large".into())));
    assert_eq!(asked(2000, json!(["revision"])), (200, None));
    assert_eq!(asked(2001, json!(["revision"])), (400, Some("invalid-request".into())));
}

#[test]
fn unknown_fields_are_ignored() {
    let shop = Shop::new();
    let hello = shop.hello.clone();
    let body = json!({
        "context": [{"snap-id": hello.id, "instance-key": hello.id, "revision": 1, "tracking-channel": "latest/stable",
            "epoch": null, "held": {"by": ["system", "gadget"]}, "validation-sets": [["16", "a", "b", "1"]],
            "refreshed-date": "not a date", "from-the-future": {"deep": [1, 2, {"x": null}]}}],
        "actions": [{"action": "refresh", "instance-key": hello.id, "snap-id": hello.id, "channel": "latest/edge",
            "ignore-validation": null, "validation-sets": null, "cohort-key": "whatever", "from-the-future": true}],
        "fields": ["revision", "field-of-the-future"],
        "assertion-max-formats": {"type-of-the-future": 99},
        "from-the-future": []
    });
    let response = ask(&shop, &body);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["results"][0]["snap"]["revision"], 2, "{response:?}");
    for wrong in ["", "[]", "{", "{\"context\": 1, \"actions\": []}", "{\"actions\": [{}]}", "null"] {
        let response = shop.store.send(&shop.device.refresh_post(wrong.as_bytes()));
        assert!(matches!(response.status, 200 | 400), "{wrong}: {response:?}");
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{wrong}");
    }
}

/// The strict reader of the test device refuses every wrong type, so reading all answers is the check.
#[test]
fn types_of_fields_are_exact() {
    let shop = &mut Shop::new();
    for (name, kind, expected) in [
        ("a-base", "base", "base"),
        ("core", "os", "os"),
        ("snapd", "snapd", "snapd"),
        ("gear", "gadget", "gadget"),
    ] {
        let snap = shop.world.snap(name).kind(kind);
        shop.store.push_pair(&snap.revision(1), &["latest/stable"], "ubuntu");
        let outcome = shop.device.install(name, "stable").expect("a type that snapd knows");
        assert_eq!(outcome.snap.kind, expected);
    }
    let odd = shop
        .world
        .snap("odd")
        .yaml("epoch: 2*\nassumes: [snapd2.50]\nlinks:\n  contact: [mailto:a@b.example]\n");
    shop.store.push_pair(&odd.versioned(1, "007"), &["latest/stable"], "ubuntu");
    let outcome = shop.device.install("odd", "stable").expect("an epoch that snapd reads");
    assert_eq!(outcome.snap.version, "007");
    for name in ["hello", "odd", "core", "gear"] {
        shop.device.info(name).expect("types and times that snapd reads");
    }
    let found = shop.device.find("").or_else(|_| shop.device.find("hello")).expect("types that snapd reads");
    assert!(!found.is_empty());
}

#[test]
fn digests_are_spelled_for_their_place() {
    let mut shop = Shop::new();
    let outcome = shop.device.install("hello", "stable").expect("an install");
    let hex = outcome.snap.download.sha3_384.clone().expect("a digest");
    assert!(hex.len() == 96 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{hex}");
    shop.device.fetch_and_check(&outcome).expect("hexadecimal in answers, base64url in documents");
}
