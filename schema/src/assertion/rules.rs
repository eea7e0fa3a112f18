//! The header rules of each type: a valid assertion with one header changed, and the effect.

mod models;

use super::fixtures::decode;
use super::*;

/// What is done to a header.
enum Edit {
    /// Takes it away.
    Drop(&'static str),
    /// Gives it the value of this text, as it would stand in the headers: after a space, or from the next line on.
    Set(&'static str, &'static str),
}
use Edit::{Drop, Set};

/// Reads the document with the changes made. The signature is not looked at.
fn edited(file: &str, edits: &[Edit]) -> Result<Assertion, String> {
    let original = decode(file);
    let mut format = original.format();
    let mut builder = Builder::new(original.kind()).body(original.body()).revision(original.revision());
    let mut headers = original.headers().clone();
    for edit in edits {
        match edit {
            Drop(name) => drop(headers.0.remove(*name)),
            Set("format", text) => format = text.trim().parse().expect("a number"),
            Set(name, text) => {
                let parsed = Headers::parse(&format!("{name}:{text}")).expect("the test writes headers");
                headers.0.extend(parsed.0);
            }
        }
    }
    for (name, value) in headers.iter() {
        if !["type", "format", "revision", "body-length", "sign-key-sha3-384"].contains(&name) {
            builder = builder.header(name, value.clone());
        }
    }
    let mut text = builder.format(format).content(original.sign_key_id());
    text.extend(b"\n\nAAAA\n");
    Assertion::decode(&text).map_err(|error| match error.reason {
        DecodeReason::Rule(rule) => rule.header,
        other => format!("{other:?}"),
    })
}

fn check(file: &str, cases: &[(&[Edit], Option<&str>)]) {
    assert!(edited(file, &[]).is_ok(), "{file} is good");
    for (number, (edits, expected)) in cases.iter().enumerate() {
        let result = edited(file, edits);
        assert_eq!(result.as_ref().err().map(String::as_str), *expected, "{file}, case {number}: {result:?}");
    }
}

const GOOD: Option<&str> = None;

#[test]
fn common_rules() {
    check(
        "chain/brand.account.assert",
        &[
            (&[Set("account-id", " a/b")], Some("account-id")),
            (&[Set("account-id", " ")], Some("account-id")),
            (&[Set("account-id", "\n  - a")], Some("account-id")),
            (&[Set("account-id", " weird .. %2F \u{e9} id")], GOOD),
            (&[Drop("authority-id")], Some("authority-id")),
            (&[Set("unknown", "\n  - ignored")], GOOD),
            (&[Set("display-name", " ")], Some("display-name")),
            (&[Set("username", "\n  - a")], Some("username")),
            (&[Drop("username")], GOOD),
            (&[Set("validation", " invented-later")], GOOD),
            (&[Drop("validation")], Some("validation")),
            (&[Set("timestamp", " yesterday")], Some("timestamp")),
        ],
    );
    let long = "x".repeat(MAX_KEY_VALUE + 1);
    let text = |id: &str| {
        let head =
            "type: account\nauthority-id: a\ndisplay-name: d\nvalidation: v\ntimestamp: 2024-01-01T00:00:00Z";
        let key = decode("chain/brand.account.assert").sign_key_id().to_owned();
        format!("{head}\naccount-id: {id}\nsign-key-sha3-384: {key}\n\nAAAA\n")
    };
    assert!(Assertion::decode(text(&long[1..]).as_bytes()).is_ok());
    assert!(Assertion::decode(text(&long).as_bytes()).is_err());
    let certified =
        edited("chain/brand.account.assert", &[Set("validation", " certified")]).expect("an old word");
    assert!(matches!(certified.details(), Details::Account(account) if account.validation == "verified"));
}

#[test]
fn account_keys() {
    check(
        "chain/brand-models.account-key.assert",
        &[
            (&[Set("name", " Upper")], Some("name")),
            (&[Set("name", " 123")], Some("name")),
            (&[Drop("name")], GOOD),
            (&[Drop("since")], Some("since")),
            (&[Set("until", " ")], Some("until")),
            (&[Set("until", " 2019-12-31T23:59:59Z")], Some("until")),
            (&[Set("until", " 2020-01-01T00:00:00Z")], GOOD),
            (&[Drop("account-id")], Some("account-id")),
        ],
    );
    check(
        "others/new-key.account-key-request.assert",
        &[(&[Drop("name")], Some("name")), (&[Set("authority-id", " acme-corp")], Some("authority-id"))],
    );
    // The request must be signed with the requested key; the reference client does not check this.
    let request = decode("others/new-key.account-key-request.assert");
    let text = String::from_utf8(request.bytes().to_vec()).expect("text");
    let other = decode("chain/brand.account.assert");
    let signed_by = format!("sign-key-sha3-384: {}", request.sign_key_id());
    let text = text.replace(&signed_by, &format!("sign-key-sha3-384: {}", other.sign_key_id()));
    assert!(Assertion::decode(text.as_bytes()).is_err());
}

#[test]
fn snap_declarations() {
    let authority =
        |rest: &str| format!("\n  -\n    account-id: acme-corp\n    provenance:\n      - p\n{rest}");
    check(
        "snaps/delegated.snap-declaration.assert",
        &[
            (&[Set("snap-name", " ")], GOOD),
            (&[Drop("snap-name")], Some("snap-name")),
            (&[Drop("publisher-id")], Some("publisher-id")),
            (&[Set("refresh-control", " text")], Some("refresh-control")),
            (&[Set("plugs", "\n  anything:\n    of-next-year: true")], GOOD),
            (&[Set("plugs", " text")], Some("plugs")),
            (&[Set("auto-aliases", "\n  - -bad")], Some("auto-aliases[0]")),
            (&[Set("aliases", "\n  -\n    name: a.b\n    target: app")], GOOD),
            (&[Set("aliases", "\n  -\n    name: a.b")], Some("aliases[0].target")),
            (
                &[Set("aliases", "\n  -\n    name: a\n    target: x\n  -\n    name: a\n    target: y")],
                Some("aliases[1].name"),
            ),
            (
                &[Set("revision-authority", "\n  -\n    account-id: acme-corp")],
                Some("revision-authority[0].provenance"),
            ),
            (
                &[Set("revision-authority", "\n  -\n    account-id: a\n    provenance:\n      - p")],
                Some("revision-authority[0].account-id"),
            ),
        ],
    );
    for (rest, expected) in [
        ("    min-revision: 0", Some("revision-authority[0].min-revision")),
        ("    min-revision: 3\n    max-revision: 2", Some("revision-authority[0].max-revision")),
        ("    min-revision: 3\n    max-revision: 3", None),
        ("    on-store:\n      - a b", Some("revision-authority[0].on-store[0]")),
        ("    on-model:\n      - acme-corp", Some("revision-authority[0].on-model[0]")),
        ("    on-model:\n      - acme-corp/edge-gw", None),
        ("    on-model:\n      - acme-corp/edge gw", Some("revision-authority[0].on-model[0]")),
        ("    on-model:\n      - A/edge-gw", Some("revision-authority[0].on-model[0]")),
    ] {
        let value: &'static str = Box::leak(authority(rest).into_boxed_str());
        check("snaps/delegated.snap-declaration.assert", &[(&[Set("revision-authority", value)], expected)]);
    }
}

#[test]
fn snap_files() {
    check(
        "snaps/hello-vectors_2.snap-revision.assert",
        &[
            (&[Set("snap-size", " +1")], Some("snap-size")),
            (&[Set("snap-size", " 18446744073709551615")], GOOD),
            (&[Set("snap-revision", " 0")], Some("snap-revision")),
            (&[Set("snap-revision", " 4294967296")], Some("snap-revision")),
            (&[Drop("developer-id")], Some("developer-id")),
            (&[Set("provenance", " a--b")], Some("provenance")),
            (&[Set("provenance", " ")], Some("provenance")),
            (&[Drop("provenance")], GOOD),
            (&[Drop("integrity")], GOOD),
            (&[Set("integrity", "\n  -\n    type: other")], Some("integrity[0].type")),
        ],
    );
    check(
        "snaps/extra_1.snap-resource-revision.assert",
        &[
            (&[Set("resource-name", " x")], Some("resource-name")),
            (&[Set("resource-sha3-384", " short")], Some("resource-sha3-384")),
            (&[Set("resource-size", " 01")], Some("resource-size")),
            (&[Set("resource-revision", " 0")], Some("resource-revision")),
        ],
    );
    check(
        "snaps/extra_1-on-1.snap-resource-pair.assert",
        &[
            (&[Set("snap-revision", " 0")], Some("snap-revision")),
            (&[Drop("developer-id")], Some("developer-id")),
        ],
    );
    check("snaps/hello-vectors_1.snap-build.assert", &[(&[Drop("grade")], Some("grade"))]);
    check(
        "snaps/hello-vectors.snap-developer.assert",
        &[
            (&[Drop("developers")], GOOD),
            (&[Set("developers", "\n  -\n    developer-id: acme-corp")], Some("developers[0].since")),
            (
                &[Set(
                    "developers",
                    "\n  -\n    developer-id: acme-corp\n    since: 2024-01-01T00:00:00Z\n    until: 2024-01-01T00:00:00Z\n  -\n    developer-id: acme-corp\n    since: 2025-01-01T00:00:00Z",
                )],
                Some("developers[1].developer-id"),
            ),
            // Two periods of one developer are not a revocation.
            (
                &[Set(
                    "developers",
                    "\n  -\n    developer-id: acme-corp\n    since: 2024-01-01T00:00:00Z\n    until: 2024-02-01T00:00:00Z\n  -\n    developer-id: acme-corp\n    since: 2025-01-01T00:00:00Z",
                )],
                GOOD,
            ),
        ],
    );
    let integrity = |digest: &str| -> &'static str {
        let sizes = "    data-block-size: 4096\n    hash-block-size: 4096\n    version: 1";
        let text = format!(
            "\n  -\n    type: dm-verity\n    hash-algorithm: sha256\n{sizes}\n    digest: {digest}\n    salt: {}",
            "0".repeat(64)
        );
        Box::leak(text.into_boxed_str())
    };
    for (digest, expected) in [
        ("a".repeat(64), GOOD),
        ("a".repeat(63), Some("integrity[0].digest")),
        ("x".repeat(64), Some("integrity[0].digest")),
    ] {
        check(
            "snaps/hello-vectors_2.snap-revision.assert",
            &[(&[Set("integrity", integrity(&digest))], expected)],
        );
    }
    check("snaps/gating.validation.assert", &[(&[Set("revoked", " yes")], Some("revoked"))]);
}

#[test]
fn devices() {
    macro_rules! group {
        ($view:literal) => {
            concat!(
                "\n  -\n    authentications:\n      - store\n    operators:\n      - acme-corp\n    views:\n      - ",
                $view
            )
        };
    }
    check(
        "serials/a-2048.serial.assert",
        &[
            (&[Set("brand-id", " A_B")], Some("brand-id")),
            (&[Set("model", " Edge")], Some("model")),
            (&[Set("serial", " any text: it is free!")], GOOD),
            (&[Drop("device-key")], Some("device-key")),
            (&[Drop("device-key-sha3-384")], Some("device-key-sha3-384")),
            (&[Drop("timestamp")], Some("timestamp")),
        ],
    );
    check(
        "sessions/ok-a-2048.dsr.assert",
        &[
            (&[Set("model", " Edge")], Some("model")),
            (&[Set("brand-id", " No Pattern")], GOOD),
            (&[Set("nonce", " ")], Some("nonce")),
        ],
    );
    check(
        "registration/initial.serial-request.assert",
        &[
            (&[Drop("brand-id")], Some("brand-id")),
            (&[Set("request-id", " ")], Some("request-id")),
            (&[Set("original-model", "\n  - x")], Some("original-model")),
        ],
    );
    check(
        "others/c-4096.confdb-control.assert",
        &[
            (&[Set("serial", " a.b")], Some("serial")),
            (&[Drop("groups")], Some("groups")),
            (&[Set("groups", "\n  -\n    operators:\n      - acme-corp")], Some("groups[0].authentications")),
            (&[Set("groups", group!("acme-corp/net/wifi"))], GOOD),
            (&[Set("groups", group!("acme-corp/net"))], Some("groups[0].views[0]")),
            (&[Set("groups", group!("acme-corp//wifi"))], Some("groups[0].views[0]")),
        ],
    );
    check(
        "others/unit.hardware-identity.assert",
        &[
            (&[Set("authority-id", " other")], Some("authority-id")),
            (&[Set("hardware-id-key", " other")], Some("hardware-id-key-sha3-384")),
            (&[Drop("manufacturer")], Some("manufacturer")),
        ],
    );
}

#[test]
fn stores_and_sets() {
    check(
        "store/acme-edge-store.store.assert",
        &[
            (&[Drop("operator-id")], Some("operator-id")),
            (&[Set("url", " https:/\\evil")], Some("url")),
            (&[Set("url", " file:///etc")], Some("url")),
            (&[Set("url", " http://user@host:80/path")], GOOD),
            (&[Set("url", " ")], Some("url")),
            (&[Set("friendly-stores", "\n  - a b")], Some("friendly-stores[0]")),
            (&[Set("location", "\n  - x")], Some("location")),
        ],
    );
    let snap = |rest: &str| {
        let text = format!("\n  -\n    name: one\n    id: {}\n{rest}", "a".repeat(32));
        &*Box::leak(text.trim_end_matches('\n').to_owned().into_boxed_str())
    };
    check(
        "valset/edge-set-1.validation-set.assert",
        &[
            (&[Set("name", " Set")], Some("name")),
            (&[Set("sequence", " +1")], GOOD),
            (&[Set("snaps", snap(""))], GOOD),
            (&[Set("snaps", snap("    presence: never"))], Some("snaps[0].presence")),
            (&[Set("snaps", snap("    revision: 0"))], Some("snaps[0].revision")),
            (&[Set("snaps", snap("    components:\n      one: required"))], GOOD),
            (
                &[Set("snaps", snap("    revision: 2\n    components:\n      one: required"))],
                Some("snaps[0].components.one"),
            ),
            (&[Set("snaps", snap("    revision: 2\n    components:\n      one: invalid"))], GOOD),
            (
                &[Set(
                    "snaps",
                    snap("    components:\n      one:\n        presence: required\n        revision: 1"),
                )],
                Some("snaps[0].components.one"),
            ),
            (
                &[Set("snaps", snap("    components:\n      one:\n        revision: 1"))],
                Some("snaps[0].components.one.presence"),
            ),
            (
                &[Set(
                    "snaps",
                    snap(
                        "    revision: 2\n    components:\n      one:\n        presence: invalid\n        revision: 1",
                    ),
                )],
                Some("snaps[0].components.one"),
            ),
        ],
    );
}

#[test]
fn types_that_are_only_handed_out() {
    check(
        "others/ops-serials.system-user.assert",
        &[
            (&[Drop("serials"), Drop("models")], GOOD),
            (&[Drop("serials"), Drop("models"), Set("until", " 2028-01-01T00:00:00Z")], Some("until")),
            (&[Set("models", "\n  - a\n  - b")], Some("serials")),
            (&[Set("email", " nobody")], Some("email")),
            (&[Set("email", " @acme.example")], Some("email")),
            (&[Set("email", " ops@")], Some("email")),
            (&[Set("username", " Root")], Some("username")),
            (&[Set("username", " .ops")], Some("username")),
            (&[Set("username", " o:ps")], Some("username")),
            (&[Set("username", " 1.o-p_s")], GOOD),
            (&[Set("password", " plain")], Some("password")),
            (&[Set("password", " $1$salt$hash")], Some("password")),
            (&[Set("password", " $6$rounds=10$salt$hash")], Some("password")),
            (&[Set("password", " $6$salt$hash")], GOOD),
            (&[Set("password", " $6$$hash")], Some("password")),
            (&[Set("password", " $6$sa:lt$hash")], Some("password")),
            (&[Set("force-password-change", " true")], GOOD),
            (&[Drop("password"), Set("force-password-change", " true")], Some("force-password-change")),
            (&[Set("user-presence", " until-expiration")], Some("user-presence")),
            (&[Set("format", " 2"), Set("user-presence", " until-expiration")], GOOD),
            (&[Set("format", " 2"), Set("user-presence", " always")], Some("user-presence")),
            (&[Set("until", " 2020-01-01T00:00:00Z")], Some("until")),
            (&[Set("until", " 2026-01-01T00:00:00Z")], GOOD),
            (&[Drop("serials"), Drop("models"), Set("until", " 2027-01-02T00:00:00Z")], GOOD),
            (&[Drop("serials"), Drop("models"), Set("until", " 2027-01-02T00:00:01Z")], Some("until")),
        ],
    );
    check(
        "others/fix.repair.assert",
        &[
            (&[Set("repair-id", " 0")], Some("repair-id")),
            (&[Set("summary", "\n    two\n    lines")], Some("summary")),
            (&[Set("modes", "\n  - install")], Some("modes[0]")),
            (&[Set("bases", "\n  - core18")], Some("bases")),
            (&[Set("disabled", " maybe")], Some("disabled")),
        ],
    );
    check(
        "others/edge.preseed.assert",
        &[
            (&[Set("system-label", " A")], Some("system-label")),
            (&[Drop("snaps")], Some("snaps")),
            (&[Set("snaps", "\n  -\n    name: one\n    revision: 1")], Some("snaps[0].id")),
            (&[Set("snaps", "\n  -\n    name: one")], GOOD),
        ],
    );
    check(
        "others/c1.cluster.assert",
        &[
            (&[Set("sequence", " 0")], Some("sequence")),
            (&[Set("devices", "\n  -\n    device: s.m.acme\n    id: 2")], Some("subclusters[0].devices")),
            (&[Set("devices", "\n  -\n    device: acme\n    id: 1")], Some("devices[0].device")),
            (
                &[Set(
                    "devices",
                    "\n  -\n    device: s.m.acme\n    id: 1\n  -\n    device: t.m.acme\n    id: 1",
                )],
                Some("devices[1].id"),
            ),
        ],
    );
    check(
        "others/do.request-message.assert",
        &[
            (&[Set("message-id", " abc")], Some("message-id")),
            (&[Set("message-id", " abcd-0")], Some("message-id")),
            (&[Set("message-kind", " Confdb")], Some("message-kind")),
            (&[Drop("devices")], Some("devices")),
            (&[Set("devices", "\n  - a.b.cc\n  - a.b.cc")], Some("devices")),
            (&[Drop("valid-until")], Some("valid-until")),
        ],
    );
    check(
        "others/done.response-message.assert",
        &[(&[Set("status", " fine")], Some("status")), (&[Set("device", " a.b")], Some("device"))],
    );
    check(
        "others/net.confdb-schema.assert",
        &[
            (&[Set("account-id", " other")], Some("authority-id")),
            (&[Set("account-id", " system")], GOOD),
            (&[Set("name", " Net")], Some("name")),
            (&[Drop("views")], Some("views")),
        ],
    );
    check("others/base.base-declaration.assert", &[(&[Set("slots", " all")], Some("slots"))]);
}
