//! Who sees which snap, and who may read which type of assertion: two brands, five callers.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::storage::records::{Grant, Reason, SnapRecord, Snapshot};

const HELLO: &str = "HelloVectorsSnapId00000000000001";
const GADGET: &str = "AcmeGadgetSnapId0000000000000002";
const PUBLIC: &str = "PublicPublicPublicPublicPublic01";
const SNAPD: &str = INCLUDED_EVERYWHERE[0];
const HIDDEN_BASE: &str = INCLUDED_EVERYWHERE[1];
const OTHER: &str = "OtherBrandOtherBrandOtherBrand01";

fn document(file: &str) -> Arc<Assertion> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/assertions").join(file);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Arc::new(Assertion::decode(&bytes).unwrap_or_else(|error| panic!("{file}: {error}")))
}

/// Assertions of the vectors, and who may read each: anonymous, acme's store, acme without a store, the other brand,
/// and everybody if no store of acme is known.
const DOCUMENTS: [(&str, [bool; 4], bool); 19] = [
    ("snaps/hello-vectors.snap-declaration.assert", OF_SNAP, false),
    ("snaps/hello-vectors_2.snap-revision.assert", OF_SNAP, false),
    ("snaps/extra_1.snap-resource-revision.assert", OF_SNAP, false),
    ("snaps/extra_1-on-1.snap-resource-pair.assert", OF_SNAP, false),
    ("snaps/hello-vectors_1.snap-build.assert", OF_SNAP, false),
    ("snaps/hello-vectors.snap-developer.assert", OF_SNAP, false),
    // About two snaps, one of which the other brand has.
    ("snaps/gating.validation.assert", OF_SNAP, false),
    ("valset/edge-set-1.validation-set.assert", OF_BRAND, true),
    ("serials/a-2048.serial.assert", OF_BRAND, false),
    ("others/ops.system-user.assert", OF_BRAND, false),
    ("others/edge.preseed.assert", OF_BRAND, false),
    ("others/c-4096.confdb-control.assert", OF_BRAND, false),
    ("others/net.confdb-schema.assert", OF_BRAND, true),
    ("others/c1.cluster.assert", OF_BRAND, true),
    ("others/unit.hardware-identity.assert", OF_BRAND, true),
    ("others/do.request-message.assert", OF_BRAND, true),
    ("chain/brand.account.assert", OF_ALL, true),
    ("chain/brand-models.account-key.assert", OF_ALL, true),
    ("models/edge-gw.model.assert", OF_ALL, true),
];
const OF_SNAP: [bool; 4] = [false, true, false, false];
const OF_BRAND: [bool; 4] = [false, true, true, false];
const OF_ALL: [bool; 4] = [true; 4];

fn store(id: &str, brand: &str, parent: Option<&str>, grants: &[&str]) -> StoreRecord {
    let grant = |id: &&str| Grant {
        snap_id: id.parse().unwrap(),
        name: "granted".parse().unwrap(),
        reason: Reason::Own,
    };
    StoreRecord {
        store_id: id.parse().unwrap(),
        brand_id: brand.into(),
        name: id.into(),
        parent: parent.map(|id| id.parse().unwrap()),
        grants: grants.iter().map(grant).collect(),
        document: "{}".into(),
    }
}

fn catalog(stores: Vec<StoreRecord>) -> Catalog {
    let snap = |(id, pushed_for): (&str, &[&str])| SnapRecord {
        snap_id: id.parse().unwrap(),
        name: format!("snap-{}", id.to_ascii_lowercase()).parse().unwrap(),
        kind: schema::store::SnapType::App,
        private: false,
        stores: pushed_for.iter().map(|id| id.parse().unwrap()).collect(),
        text: serde_json::json!({}),
    };
    let snaps: [(&str, &[&str]); 5] = [
        (HELLO, &["acme-devices"]),
        (GADGET, &["acme-base", "other-store"]),
        (PUBLIC, &["ubuntu"]),
        (SNAPD, &["ubuntu"]),
        (HIDDEN_BASE, &["acme-base"]),
    ];
    let snapshot = Snapshot {
        assertions: DOCUMENTS.iter().map(|(file, ..)| (&*document(file)).into()).collect(),
        snaps: snaps.map(snap).into(),
        stores,
        ..Snapshot::default()
    };
    Catalog::compile(snapshot, "http://store.test", None).expect("a catalog")
}

fn town() -> Catalog {
    catalog(vec![
        store("acme-devices", "acme-corp", Some("acme-base"), &[HELLO]),
        store("acme-base", "acme-corp", None, &[GADGET]),
        store("acme-odd", "acme-corp", Some("other-store"), &[]),
        store("other-store", OTHER, None, &[GADGET]),
    ])
}

fn device(brand: &str, store: Option<&str>, verified: bool) -> Principal {
    Principal::Device(Arc::new(Session {
        device: format!("{brand}/model/1").parse().expect("a device"),
        store: store.map(|store| store.parse().expect("a store id")),
        verified,
        issued: 0,
        expires: 1,
    }))
}

fn login(store: Option<&str>, acls: &[Acl]) -> Principal {
    Principal::Service(Arc::new(ServiceLogin {
        id: "0123456789abcdef".into(),
        store: store.map(|store| store.parse().expect("a store id")),
        acls: acls.iter().copied().collect(),
        expires: 1,
    }))
}

fn view<'a>(catalog: &'a Catalog, principal: &Principal) -> View<'a> {
    catalog.view(Scope::of(principal, catalog).expect("not stale"))
}

fn callers() -> [Principal; 4] {
    [
        Principal::Anonymous,
        device("acme-corp", Some("acme-devices"), true),
        device("acme-corp", None, true),
        device(OTHER, Some("other-store"), true),
    ]
}

#[test]
fn a_store_shows_what_it_and_its_parent_grant() {
    let catalog = town();
    let everything = [HELLO, GADGET, PUBLIC, SNAPD, HIDDEN_BASE];
    for (principal, what, seen) in [
        (Principal::Anonymous, "anonymous", &[PUBLIC, SNAPD][..]),
        (device("nobody", Some("acme-devices"), false), "an unknown brand", &[PUBLIC, SNAPD]),
        (device("acme-corp", None, true), "no store", &[PUBLIC, SNAPD]),
        (device("acme-corp", Some("ubuntu"), true), "the global store", &[PUBLIC, SNAPD]),
        (device("acme-corp", Some("acme-devices"), true), "a store and its parent", &[HELLO, GADGET, SNAPD]),
        (device("acme-corp", Some("acme-base"), true), "the parent alone", &[GADGET, SNAPD]),
        (device("acme-corp", Some("other-store"), true), "a store of another brand", &[SNAPD]),
        (device("acme-corp", Some("acme-odd"), true), "a parent of another brand", &[SNAPD]),
        (device(OTHER, Some("other-store"), true), "the other brand", &[GADGET, SNAPD]),
        (login(Some("acme-base"), &[Acl::PackageAccess]), "a login", &[GADGET, SNAPD]),
        (login(Some("acme-base"), &[Acl::StoreAdmin]), "a login without access", &[PUBLIC, SNAPD]),
        (login(Some("no-such"), &[Acl::PackageAccess]), "a login of no store", &[PUBLIC, SNAPD]),
        (login(None, &[Acl::Admin]), "a login for the site", &[PUBLIC, SNAPD]),
    ] {
        let view = view(&catalog, &principal);
        let mut listed: Vec<&str> = view.snaps().map(|snap| snap.id.as_str()).collect();
        let mut expected = seen.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected, "{what}");
        for id in everything {
            assert_eq!(view.snap(id).is_some(), seen.contains(&id), "{what}: {id}");
            assert_eq!(
                view.snap_named(&format!("snap-{}", id.to_ascii_lowercase())).is_some(),
                seen.contains(&id),
                "{what}: {id}"
            );
        }
    }
}

#[test]
fn a_session_of_before_the_brand_was_known_is_stale() {
    let catalog = town();
    assert_eq!(Scope::of(&device("acme-corp", None, false), &catalog).map(drop), Err(NotAdmitted::Stale));
    assert!(Scope::of(&device("nobody", None, false), &catalog).is_ok());
    let shown = |principal: &Principal| principal.device().map(ToString::to_string);
    assert_eq!(shown(&device("acme-corp", None, true)).as_deref(), Some("acme-corp/model/1"));
    assert_eq!(shown(&login(None, &[])), None);
}

#[test]
fn each_kind_of_document_has_its_readers() {
    let (town, nobody) = (town(), catalog(Vec::new()));
    for (file, readers, where_unknown) in DOCUMENTS {
        let document = document(file);
        let reads = |view: &View<'_>| view.assertion(&document.reference(), u32::MAX).is_some();
        let found = callers().map(|principal| reads(&view(&town, &principal)));
        assert_eq!(found, readers, "{file}");
        assert_eq!(
            reads(&view(&nobody, &Principal::Anonymous)),
            where_unknown,
            "{file}, of an unknown brand"
        );
        if let Some((last, key)) =
            document.reference().key.split_last().filter(|_| document.kind().is_sequence())
        {
            let latest = |principal: &Principal| {
                view(&town, principal)
                    .latest_in_sequence(&Target::anyone(0), document.kind(), key, 1, u32::MAX)
                    .cloned()
            };
            let found = callers().map(|principal| latest(&principal).is_some());
            assert_eq!(found, readers, "{file}, the latest of its sequence");
            let latest = latest(&callers()[1]).expect("acme reads it");
            assert_eq!(latest.decode().unwrap().reference().key.last(), Some(last), "{file}");
        }
    }
}

#[test]
fn a_login_is_told_of_its_own_store() {
    let catalog = town();
    let admin = view(&catalog, &login(Some("acme-devices"), &[Acl::StoreAdmin]));
    assert_eq!(admin.own_store().map(|store| store.store_id.as_str()), Some("acme-devices"));
    assert_eq!(admin.own_keys().len(), 1);
    for (id, told) in
        [("acme-devices", true), ("acme-base", true), ("acme-odd", false), ("other-store", false)]
    {
        assert_eq!(admin.administered(id).map(|store| store.store_id.as_str()), told.then_some(id), "{id}");
    }
    let odd = view(&catalog, &login(Some("acme-odd"), &[Acl::StoreAdmin]));
    assert!(odd.administered("other-store").is_none(), "the parent is another brand's");
    let reader = view(&catalog, &login(Some("acme-devices"), &[Acl::PackageAccess]));
    assert!(reader.administered("acme-devices").is_none() && reader.own_store().is_some());
    let nobody = view(&catalog, &callers()[1]);
    assert!(nobody.own_store().is_none() && nobody.own_keys().is_empty());
}
