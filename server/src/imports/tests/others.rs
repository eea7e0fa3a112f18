//! Assertion streams, brand store metadata, trust anchors.

use schema::api::admin::{PushedAssertions, StreamKind};
use schema::assertion::Assertion;

use super::world::*;
use crate::imports::{
    ImportError, Stream, Views, plan_assertions, plan_stores, plan_trust, plan_trust_removal,
};
use crate::storage::records::{Change, Reason};

fn stream(assertions: &[Assertion]) -> Vec<u8> {
    assertions.iter().map(Assertion::bytes).collect::<Vec<_>>().join(&b"\n"[..])
}

fn names(names: &[&str]) -> Vec<Assertion> {
    names.iter().map(|name| assertion(name)).collect()
}

/// Verifies a file of assertions and plans its import.
fn push_stream(
    world: &World,
    bytes: &[u8],
    kind: StreamKind,
) -> Result<(Change, PushedAssertions), ImportError> {
    plan_assertions(world, &Stream::check(world, bytes, &context())?, kind, &Views::default(), &context())
}

#[test]
fn account_keys_in_any_order_and_all_or_nothing() {
    let mut keys = names(&[
        "chain/store.account-key.assert",
        "chain/brand.account.assert",
        "chain/brand-models.account-key.assert",
    ]);
    for _ in 0..keys.len() {
        keys.rotate_left(1);
        let mut world = World::new();
        let (change, report) =
            push_stream(&world, &stream(&keys), StreamKind::AccountKeys).expect("accepted");
        world.apply(change);
        assert_eq!((report.added.len(), world.assertions.len()), (3, 3));
        let (_, again) = push_stream(&world, &stream(&keys), StreamKind::AccountKeys).expect("accepted");
        assert_eq!((again.added.len(), again.already_held.len()), (0, 3));
        for at in 0..=keys.len() {
            let mut poisoned = keys.clone();
            poisoned.insert(at, assertion("chain-bad/untrusted-signer.account-key.assert"));
            let refused = push_stream(&world, &stream(&poisoned), StreamKind::AccountKeys);
            assert_eq!(refused.expect_err("one is bad").code(), "unverified-assertion");
        }
    }
    let world = World::new();
    let lonely = names(&["chain/brand-models.account-key.assert"]);
    let refused = push_stream(&world, &stream(&lonely), StreamKind::AccountKeys);
    assert_eq!(refused.expect_err("its signer is missing").code(), "missing-assertion");
    let cut = stream(&keys);
    let refused = push_stream(&world, &cut[..cut.len() - 40], StreamKind::AccountKeys);
    assert_eq!(refused.expect_err("the last one is cut").code(), "unverified-assertion");

    let mut world = World::new();
    world.push(&bundle(&[])).expect("accepted");
    let none = stream(&names(&["chain/brand.account.assert"]));
    let only = push_stream(&world, &none, StreamKind::AccountKeys);
    assert!(matches!(only, Err(ImportError::NoAccountKey)));
    let empty = push_stream(&world, b"", StreamKind::AccountKeys);
    assert!(matches!(empty, Err(ImportError::NoAssertions(_))));
}

#[test]
fn a_registration_is_one_verified_store() {
    let chain = ["chain/store.account-key.assert", "chain/brand.account.assert"];
    let with = |stores: &[&str]| stream(&names(&[&chain[..], stores].concat()));
    let register = |bytes: &[u8]| push_stream(&World::new(), bytes, StreamKind::Registration);
    let (change, report) = register(&with(&["store/acme-edge-store.store.assert"])).expect("accepted");
    assert_eq!(report.store_id.as_deref(), Some("acme-edge-store"));
    let mut world = World::new();
    world.apply(change);
    assert_eq!(world.meta["internal.store.id"], "acme-edge-store");
    assert!(world.meta["internal.store.url"].starts_with("http"));

    let (_, report) = register(&with(&["store/no-url.store.assert"])).expect("accepted");
    assert!(report.warnings.iter().any(|warning| warning.contains("URL")), "{:?}", report.warnings);
    let two = with(&["store/acme-edge-store.store.assert", "store/no-url.store.assert"]);
    assert!(matches!(register(&two), Err(ImportError::NotRegistration(2))));
    assert!(matches!(register(&with(&[])), Err(ImportError::NotRegistration(0))));
}

fn metadata_file(brand: &str, snaps: &str) -> Vec<u8> {
    format!(
        r#"{{"format":1,"stores":[{{"id":"acme-devices","brand-id":"{brand}","name":"Acme Devices","parent":"acme-base"}}],
            "snaps":{{"acme-devices":[{snaps}]}}}}"#
    )
    .into_bytes()
}

fn listed(id: &str, name: &str, rest: &str) -> String {
    format!(r#"{{"id":"{id}","name":"{name}","users":[{{"email":"a@b"}}]{rest}}}"#)
}

#[test]
fn metadata_makes_stores_and_grants() {
    let mut world = World::new();
    world.push(&bundle(&[6])).expect("accepted");
    let snaps = [
        listed(JQ, "jq", r#","store":"acme-devices""#),
        listed(YQ, "yq", r#","store":"acme-base","other-stores":["acme-devices"]"#),
        listed("CoreCoreCoreCoreCoreCoreCoreCore", "core24", r#","store":"ubuntu","essential":true"#),
    ];
    let (change, report) =
        plan_stores(&world, &metadata_file("acme-corp", &snaps.join(",")), &Views::default(), &context())
            .expect("accepted");
    world.apply(change);
    let held = &world.stores["acme-devices"];
    let reasons: Vec<_> = held.grants.iter().map(|grant| (grant.name.as_str(), grant.reason)).collect();
    assert_eq!(reasons, [("core24", Reason::Essential), ("jq", Reason::Own), ("yq", Reason::Included)]);
    assert!(!held.document.contains('@'));
    assert_eq!(report.stores[0].missing, ["core24", "yq"]);
    assert!(!report.warnings.iter().any(|warning| warning.contains("lists jq")), "{:?}", report.warnings);
    let renamed = metadata_file("acme-corp", &listed(JQ, "jql", ""));
    let (_, renamed) = plan_stores(&world, &renamed, &Views::default(), &context()).expect("accepted");
    assert!(
        renamed.warnings.iter().any(|warning| warning.contains("lists jq as jql")),
        "{:?}",
        renamed.warnings
    );
    let parent = r#"{"id":"acme-base","brand-id":"acme-corp","name":"Base"}"#;
    let child = r#"{"id":"acme-devices","brand-id":"acme-corp","name":"Devices","parent":"acme-base"}"#;
    let both = format!(r#"{{"format":1,"stores":[{parent},{child}],"snaps":{{}}}}"#);
    let (_, both) = plan_stores(&world, both.as_bytes(), &Views::default(), &context()).expect("accepted");
    assert!(!both.warnings.iter().any(|warning| warning.contains("builds on")), "{:?}", both.warnings);
    for wanted in ["acme-base", "core24, yq", "push-account-keys"] {
        assert!(
            report.warnings.iter().any(|warning| warning.contains(wanted)),
            "{wanted}: {:?}",
            report.warnings
        );
    }

    // Once the brand is known, nothing is said about it.
    let keys = names(&[
        "chain/store.account-key.assert",
        "chain/brand.account.assert",
        "chain/brand-models.account-key.assert",
    ]);
    let (change, _) = push_stream(&world, &stream(&keys), StreamKind::AccountKeys).expect("accepted");
    world.apply(change);
    // A list that names fewer snaps takes grants back; metadata without a list leaves them.
    let (change, report) = plan_stores(
        &world,
        &metadata_file("acme-corp", &listed(JQ, "jq", "")),
        &Views::default(),
        &context(),
    )
    .expect("accepted");
    assert!(
        !report.warnings.iter().any(|warning| warning.contains("push-account-keys")),
        "{:?}",
        report.warnings
    );
    world.apply(change);
    assert_eq!(world.stores["acme-devices"].grants.len(), 1);
    let bare = br#"{"store":{"id":"acme-devices","brand-id":"acme-corp","name":"New name"}}"#;
    let (change, _) = plan_stores(&world, bare, &Views::default(), &context()).expect("accepted");
    world.apply(change);
    let held = &world.stores["acme-devices"];
    assert_eq!((held.name.as_str(), held.grants.len()), ("New name", 1));
}

#[test]
fn a_bare_list_adds_to_the_stores_it_names() {
    let mut world = World::new();
    let bare = format!(
        r#"{{"snaps":[{}]}}"#,
        listed(YQ, "yq", r#","store":"acme-base","included-stores":["acme-devices"]"#)
    );
    let (_, report) = plan_stores(&world, bare.as_bytes(), &Views::default(), &context()).expect("accepted");
    assert!(report.stores.is_empty() && report.warnings[0].contains("yq"), "{report:?}");
    let (change, _) = plan_stores(
        &world,
        &metadata_file("acme-corp", &listed(JQ, "jq", "")),
        &Views::default(),
        &context(),
    )
    .expect("accepted");
    world.apply(change);
    let (change, _) = plan_stores(&world, bare.as_bytes(), &Views::default(), &context()).expect("accepted");
    world.apply(change);
    assert_eq!(world.stores["acme-devices"].grants.len(), 2);
    assert_eq!(world.stores.len(), 1);
}

#[test]
fn a_store_does_not_change_hands() {
    let mut world = World::new();
    let (change, _) = plan_stores(&world, &metadata_file("acme-corp", ""), &Views::default(), &context())
        .expect("accepted");
    world.apply(change);
    let refused = plan_stores(&world, &metadata_file("other-corp", ""), &Views::default(), &context())
        .expect_err("another brand");
    assert_eq!(refused.code(), "wrong-store");
    let global = br#"{"store":{"id":"ubuntu","brand-id":"acme-corp"}}"#;
    assert!(matches!(
        plan_stores(&world, global, &Views::default(), &context()),
        Err(ImportError::GlobalStore)
    ));
}

#[test]
fn trust_is_one_self_signed_root() {
    let mut world = World::new();
    let root = ["snapd-testkeys/root.account.assert", "snapd-testkeys/root.account-key.assert"];
    let (change, report) = plan_trust(&world, &stream(&names(&root)), &context()).expect("a root");
    assert_eq!(change.anchors_added.len(), 1);
    let fingerprint = report.anchors[0].fingerprint.clone();
    assert_eq!(change.anchors_added[0].0, fingerprint);
    world.apply(change);
    assert!(world.anchors.is_trusted(&report.anchors[0].account_id));
    let (again, _) = plan_trust(&world, &stream(&names(&root)), &context()).expect("a root");
    assert!(again.anchors_added.is_empty());

    for bad in [
        &[root[0]][..],
        &[root[1]],
        &[root[0], root[1], "trust/generic.account.assert"],
        &["chain/brand.account.assert", "chain/brand-models.account-key.assert"],
        &["trust/root.account.assert", "chain/store.account-key.assert"],
    ] {
        let refused = plan_trust(&world, &stream(&names(bad)), &context()).expect_err("no root");
        assert_eq!(refused.code(), "invalid-anchor", "{bad:?}");
    }

    let alone = plan_trust(&world, &stream(&names(&root[..1])), &context());
    assert!(matches!(alone, Err(ImportError::NotAnchor)), "an account without a key");
    let (change, left) = plan_trust_removal(&world, &fingerprint, &context()).expect("it was added");
    assert_eq!(change.anchors_removed, [fingerprint]);
    assert_eq!(left.anchors.len(), 1, "the root of these tests was added too");
    let built_in = schema::assertion::Anchors::production().fingerprints()[0].key_id.clone();
    for unknown in [built_in.as_str(), "", "x"] {
        assert!(matches!(
            plan_trust_removal(&world, unknown, &context()),
            Err(ImportError::UnknownAnchor(_))
        ));
    }
}
