//! All import commands.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Site, Stub};

const ASSERTIONS: &str =
    include_str!("../../../tests/fixtures/assertions/snaps/hello-vectors_1.snap-revision.assert");
const SNAP: &[u8] = include_bytes!("../../../tests/fixtures/assertions/snaps/hello-vectors_1.snap");
const STORE: &str = include_str!("../../../tests/fixtures/assertions/store/acme-edge-store.store.assert");
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nmarker\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

fn pushed(name: &str, held: bool, map: bool) -> Value {
    json!({"snaps": [{"name": name, "snap-id": "id", "store": "ubuntu", "channel-map-updated": map, "channels": [],
        "revisions": [{"revision": 41, "already-held": held}, {"revision": 42, "already-held": false}]}],
        "warnings": []})
}

#[test]
fn a_bundle_is_sent_as_it_is() {
    let site = Site::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let file = site.file("core24-20240601T120000.tar.gz", &content);
    let stub = Stub::start(&site, &[("POST /v1/snaps", 200, pushed("core24", true, true))]);
    let done = site.run(["push-snap".as_ref(), file.as_os_str()]);
    assert_eq!(done.stderr, "", "no progress without a terminal");
    assert_eq!(
        done.ok(),
        "[snap core24] core24 revision 41 is already there\n\
         [snap core24] Uploaded snap blob and assertions for core24 revision 42\n\
         [snap core24] Channelmaps were successfully updated.\n"
    );
    let asked = &stub.asked()[0];
    assert_eq!(asked.line, "POST /v1/snaps?file=core24-20240601T120000.tar.gz&push-channel-map=false");
    assert_eq!(asked.length.as_deref(), Some("3000000"));
    assert!(asked.body == content, "byte for byte");
}

#[test]
fn both_spellings_and_the_inbox_work() {
    let site = Site::new();
    let inbox = site.data.join("snaps-to-push");
    std::fs::create_dir(&inbox).expect("a folder");
    std::fs::write(inbox.join("a b&c.tar"), "x").expect("a file");
    let stub = Stub::start(&site, &[("POST /v1/snaps", 200, pushed("a", false, false))]);
    let lines = site.run(["push-snaps", "a b&c.tar", "--push-channel-map"]).ok();
    assert!(!lines.contains("Channelmaps"), "{lines}");
    assert_eq!(stub.asked()[0].line, "POST /v1/snaps?file=a+b%26c.tar&push-channel-map=true");
}

#[test]
fn a_pair_becomes_a_bundle() {
    let site = Site::new();
    let snap = site.file("hello_42.snap", SNAP);
    site.file("hello_42.assert", ASSERTIONS);
    let stub = Stub::start(&site, &[("POST /v1/snaps", 200, pushed("hello", false, true))]);
    let snap = snap.display().to_string();
    site.run(["push-snap", &snap, "--channel", "stable", "--channel", "2.x/edge", "--store", "acme"]).ok();
    // The stores were asked for before, in case --store is a typing error.
    let asked = &stub.asked()[1];
    assert_eq!(asked.length, Some(asked.body.len().to_string()));
    let mut archive = tar::Archive::new(&asked.body[..]);
    let mut entries = archive.entries().expect("a tar");
    let mut next = || {
        let mut entry = entries.next().expect("an entry").expect("a whole one");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        (entry.path().expect("a path").display().to_string(), content)
    };
    let (name, manifest) = next();
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(name, "manifest.json");
    assert_eq!(manifest["store"], "acme");
    assert_eq!(manifest["releases"], json!([{"revision": 1, "channels": ["latest/stable", "2.x/edge"]}]));
    assert_eq!(manifest["files"][0], json!({"name": "hello_42.snap", "size": SNAP.len()}));
    assert_eq!(next(), ("hello_42.snap".into(), SNAP.to_vec()));
    assert_eq!(next(), ("hello_42.assert".into(), ASSERTIONS.into()));
}

#[test]
fn wrong_use_is_told_before_anything_is_sent() {
    let site = Site::new();
    site.file("hello_42.snap", "x");
    site.file("lonely_1.snap", "x");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.folder.path().join("pipe.tar"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a pipe");
    site.file("hello_42.assert", ASSERTIONS);
    site.file("b.tar.gz", "x");
    let stub = Stub::start(&site, &[]);
    for (line, code, text) in [
        ("push-snap", 2, "required"),
        ("push-snap hello_42.snap", 2, "--channel"),
        ("push-snap hello_42.snap --channel fast/track/x/y", 2, "invalid channel"),
        ("push-snap hello_42.snap --channel stable --store a/b", 2, "--store"),
        ("push-snap b.tar.gz --channel stable", 2, "a bundle brings its own"),
        ("push-snap b.tar.gz --store acme", 2, "a bundle brings its own"),
        ("push-snap missing.tar.gz", 1, "cannot read missing.tar.gz"),
        ("push-snap lonely_1.snap --channel stable", 1, "lonely_1.assert beside it"),
        ("push-snap pipe.tar", 1, "cannot read pipe.tar: it is not a regular file"),
        ("push-snap hello_42.snap --channel stable", 1, "hello_42.assert is not about hello_42.snap"),
        (
            "push-snap hello_42.snap --channel stable --dry-run",
            1,
            "hello_42.assert is not about hello_42.snap",
        ),
        ("push-snap data", 1, "cannot find bundles or snaps"),
        ("trust remove ../config", 2, "64 letters"),
        ("block-device acme/model", 2, "BRAND/MODEL/SERIAL"),
        ("register", 2, "--import"),
        (
            "register --offline --channel=edge --arch=amd64",
            2,
            "`proxy register --import offline-snap-store.tar.gz`",
        ),
        ("register --skip-questions", 2, "`proxy register --import offline-snap-store.tar.gz`"),
        ("register --https", 2, "`proxy register --import offline-snap-store.tar.gz`"),
    ] {
        let done = site.line(line);
        assert!(done.code == code && done.stderr.contains(text), "{line}: {done:?}");
        assert_eq!(done.stdout, "", "{line}");
    }
    assert!(stub.asked().is_empty());
}

#[test]
fn a_refused_file_does_not_keep_others_out_and_is_told_even_while_it_is_sent() {
    let site = Site::new();
    let large = site.file("large.tar", vec![0; 40 << 20]);
    let refusal = json!({"code": "too-large", "message": "the bundle is too large"});
    let stub = Stub::start(&site, &[("POST /v1/snaps", 413, refusal)]);
    let large = large.display().to_string();
    let done = site.run(["push-snap", &large, &large]);
    assert_eq!(done.code, 1);
    let line = format!("error: cannot push {large}: the bundle is too large\n");
    assert_eq!(done.stderr, line.repeat(2));
    assert_eq!(stub.asked().len(), 2);
}

#[test]
fn json_holds_what_the_server_said() {
    let site = Site::new();
    site.file("a.tar", "x");
    let mut answer = pushed("a", false, true);
    answer["warnings"] = json!(["base core24 is not there yet"]);
    let _stub = Stub::start(&site, &[("POST /v1/snaps", 200, answer.clone())]);
    let done = site.line("push-snap a.tar --json");
    assert_eq!(done.stderr, "warning: base core24 is not there yet\n");
    let json: Value = serde_json::from_str(&done.ok()).expect("JSON");
    assert_eq!(json["files"][0]["file"], "a.tar");
    assert_eq!(json["files"][0]["snaps"][0]["channel-map-updated"], true);
}

#[test]
fn a_name_that_is_no_text_is_reported_all_the_same() {
    let site = Site::new();
    let name = std::ffi::OsStr::from_bytes(b"a\xff.tar");
    std::fs::write(site.folder.path().join(name), "x").expect("a file");
    let _stub = Stub::start(&site, &[("POST /v1/snaps", 200, pushed("a", false, true))]);
    let done = site.run(["push-snap".as_ref(), name, "--json".as_ref()]);
    let json: Value = serde_json::from_str(&done.ok()).expect("JSON");
    assert_eq!(json["files"][0]["file"], "a\u{fffd}.tar");
}

#[test]
fn streams_go_to_their_routes() {
    let site = Site::new();
    site.file("keys.assert", "type: account-key\n");
    site.file("two.assert", "type: model\n");
    site.file("store.json", "{}");
    let stream =
        json!({"added": ["account-key/abc"], "already-held": ["account/acme"], "warnings": ["careful"]});
    let store = json!({"id": "s1", "name": "Acme", "brand-id": "acme", "parent": null, "snaps": ["a", "b"], "missing": ["b"]});
    let anchor = json!({"anchors": [{"fingerprint": "F".repeat(64), "account-id": "test"}]});
    let device = json!({"device": "acme/m/1", "blocked": true});
    let stub = Stub::start(
        &site,
        &[
            ("POST /v1/assertions", 200, stream),
            ("POST /v1/stores", 200, json!({"stores": [store], "warnings": []})),
            ("POST /v1/trust", 200, anchor.clone()),
            ("GET /v1/trust", 200, anchor),
            (&format!("DELETE /v1/trust/{}", "F".repeat(64)), 200, json!({"anchors": []})),
            ("PUT /v1/devices/block", 200, device),
            (
                "POST /v1/database/copy",
                200,
                json!({"counts": {"snaps": 2, "revisions": 3, "assertions": 7, "blocked-devices": 0}}),
            ),
        ],
    );
    let fingerprint = "F".repeat(64);
    let both = "Added account-key/abc\nAlready there: account/acme\n";
    let table = format!("{:64}  Account\n{fingerprint}  test\n", "Fingerprint");
    for (line, stdin, asked, printed) in [
        ("push-account-keys keys.assert", "", "POST /v1/assertions?file=keys.assert&as=account-keys", both),
        ("push-account-keys -", "type: x", "POST /v1/assertions?file=stdin&as=account-keys", both),
        ("push-assertions two.assert", "", "POST /v1/assertions?file=two.assert&as=assertions", both),
        (
            "push-brand-store-metadata store.json",
            "",
            "POST /v1/stores?file=store.json",
            "Imported store s1: Acme (brand acme, 2 snaps, 1 not pushed yet)\n",
        ),
        (
            "trust add keys.assert",
            "",
            "POST /v1/trust?file=keys.assert",
            &format!("Trusting {fingerprint} for test\n"),
        ),
        ("trust list", "", "GET /v1/trust", &table),
        (
            &format!("trust remove {fingerprint}"),
            "",
            &format!("DELETE /v1/trust/{fingerprint}"),
            &format!("No longer trusting {fingerprint}\n"),
        ),
        ("block-device acme/m/1", "", "PUT /v1/devices/block", "Blocked acme/m/1\n"),
        ("unblock-device acme/m/1", "", "PUT /v1/devices/block", "Unblocked acme/m/1\n"),
        (
            "migrate-database -",
            "postgresql://u:marker@h/d\n",
            "POST /v1/database/copy",
            "Copied 2 snaps, 3 revisions, 7 assertions, 0 blocked devices\nNext: `proxy config proxy.db.connection=postgresql://u:<redacted>@h/d`, then restart the server; it takes no changes until then\n",
        ),
    ] {
        let done = site.run_with(stdin, line.split_whitespace());
        assert_eq!(done.stdout, printed, "{line}: {done:?}");
        assert_eq!(done.code, 0, "{line}: {done:?}");
        assert_eq!(stub.asked().last().expect("a request").line, asked, "{line}");
    }
    let bodies: Vec<_> = stub.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies[1], "type: x");
    assert_eq!(bodies[7], r#"{"device":"acme/m/1","blocked":true}"#);
    assert_eq!(bodies[8], r#"{"device":"acme/m/1","blocked":false}"#);
    assert_eq!(bodies[9], r#"{"url":"postgresql://u:marker@h/d"}"#);
}

#[test]
fn a_registration_brings_its_store_and_its_key() {
    let site = Site::new();
    let bundle = json!({"domain": "snaps.internal", "private_key": PRIVATE, "public_key": PUBLIC,
        "store_id": "acme-edge-store", "store_assertion": STORE});
    site.file("registration_bundle.b64", STANDARD.encode(bundle.to_string()));
    site.file("store.assert", STORE);
    site.run(["config", "proxy.domain=snaps.internal"]).ok();
    let stream = json!({"added": ["store/Store1"], "already-held": [], "warnings": [], "store-id": "Store1"});
    let changed = json!({"values": {"proxy.key.private": "<redacted>"}, "after-restart": []});
    let stub =
        Stub::start(&site, &[("POST /v1/assertions", 200, stream), ("PATCH /v1/config", 200, changed)]);
    let done = site.line("register --import registration_bundle.b64");
    assert!(
        done.stderr.starts_with(
            "warning: the store assertion sends devices to https://snaps.acme.internal:8443/store/,"
        ),
        "{done:?}"
    );
    assert!(!done.stderr.contains("marker"));
    let next = "Next: `proxy device-kit > device-kit.sh`, and run that file on every device as root\n";
    assert_eq!(done.ok(), format!("Added store/Store1\nStore ID: Store1\n{next}"));
    let asked = stub.asked();
    assert_eq!(asked[0].line, "POST /v1/assertions?file=registration_bundle.b64&as=registration");
    assert_eq!(asked[0].body, STORE);
    let change: Value = serde_json::from_slice(&asked[1].body).expect("JSON");
    assert_eq!(change, json!({"values": {"proxy.key.private": PRIVATE, "proxy.key.public": PUBLIC}}));

    site.line("register --import store.assert").ok();
    assert_eq!(stub.asked().len(), 3, "a stream brings no key");
}

#[test]
fn a_registration_does_not_replace_another_key() {
    let site = Site::new();
    let bundle = json!({"private_key": PRIVATE, "public_key": PUBLIC, "store_id": "acme-edge-store", "store_assertion": STORE});
    site.file("bundle.b64", STANDARD.encode(bundle.to_string()));
    site.run(["config", &format!("proxy.key.private={}", PRIVATE.replace("marker", "other"))]).ok();
    let stub = Stub::start(&site, &[]);
    site.line("register --import bundle.b64").fails("`--force` replaces it");
    assert!(stub.asked().is_empty());
}
