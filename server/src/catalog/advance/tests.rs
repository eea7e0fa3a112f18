//! A catalog that changes by parts equals the fully compiled one, after any changes in any order.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schema::assertion::{AssertionType, Ref};
use schema::digest::Sha3_384;
use serde_json::{Value, json};

use super::*;
use crate::catalog::search::tests::compare_with_reading_all;
use crate::storage::Database;
use crate::storage::contract::fixture::{self, Store};
use crate::storage::records::{
    Change, ComponentRecord, Grant, LoginRecord, Origin, PairRecord, Reason, ReleaseKey, StoreRecord,
};

const LINKS: &str = "http://store.test";
const SNAPS: [&str; 3] = [
    "snapidsnapidsnapidsnapidsnapid01",
    "snapidsnapidsnapidsnapidsnapid02",
    "snapidsnapidsnapidsnapidsnapid03",
];
const ACCOUNTS: [&str; 2] = ["acme", "globex"];
const STORES: [&str; 2] = ["acme-store", "globex-store"];

/// One part of a change. Numbers choose among a few of everything, so that changes interact.
#[derive(Debug, Clone)]
enum Step {
    Push { snap: usize, revision: u32, icon: Option<usize>, public: bool, renamed: bool },
    Icon(usize),
    Component { snap: usize, revision: u32 },
    Release { snap: usize, revision: u32, origin: Origin, replace: bool },
    Close { snap: usize, origin: Origin },
    Remove { snap: usize, revision: u32 },
    RemoveSnap(usize),
    RemoveIcon(usize),
    Store { which: usize, grants: usize },
    RemoveStore(usize),
    Account { which: usize, revision: u32 },
    Declaration { snap: usize, publisher: usize, revision: u32, gating: bool },
    RemoveDeclaration(usize),
    Key { which: usize, account: usize, revision: u32 },
    RemoveKey(usize),
    Set { sequence: u32, revision: u32 },
    RemoveSet(u32),
    Block { serial: usize, blocked: bool },
    Fact { which: usize, value: u32 },
    Login { which: usize, revoked: bool },
    Anchors(bool),
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let snap = || 0..SNAPS.len();
    let revision = || 1_u32..4;
    let origin = || prop_oneof![Just(Origin::Imported), Just(Origin::Override)];
    prop_oneof![
        6 => (snap(), revision(), prop::option::of(0_usize..2), any::<bool>(), any::<bool>()).prop_map(
            |(snap, revision, icon, public, renamed)| Step::Push { snap, revision, icon, public, renamed }
        ),
        1 => (0_usize..2).prop_map(Step::Icon),
        2 => (snap(), revision()).prop_map(|(snap, revision)| Step::Component { snap, revision }),
        4 => (snap(), revision(), origin(), any::<bool>())
            .prop_map(|(snap, revision, origin, replace)| Step::Release { snap, revision, origin, replace }),
        2 => (snap(), origin()).prop_map(|(snap, origin)| Step::Close { snap, origin }),
        2 => (snap(), revision()).prop_map(|(snap, revision)| Step::Remove { snap, revision }),
        1 => snap().prop_map(Step::RemoveSnap),
        1 => (0_usize..2).prop_map(Step::RemoveIcon),
        2 => (0..STORES.len(), 0_usize..8).prop_map(|(which, grants)| Step::Store { which, grants }),
        1 => (0..STORES.len()).prop_map(Step::RemoveStore),
        2 => (0..ACCOUNTS.len(), 0_u32..4).prop_map(|(which, revision)| Step::Account { which, revision }),
        2 => (snap(), 0..ACCOUNTS.len(), 0_u32..4, any::<bool>()).prop_map(
            |(snap, publisher, revision, gating)| Step::Declaration { snap, publisher, revision, gating }
        ),
        1 => snap().prop_map(Step::RemoveDeclaration),
        1 => (0_usize..3, 0..ACCOUNTS.len(), 0_u32..3)
            .prop_map(|(which, account, revision)| Step::Key { which, account, revision }),
        1 => (0_usize..3).prop_map(Step::RemoveKey),
        1 => (1_u32..4, 0_u32..3).prop_map(|(sequence, revision)| Step::Set { sequence, revision }),
        1 => (1_u32..4).prop_map(Step::RemoveSet),
        1 => (0_usize..3, any::<bool>()).prop_map(|(serial, blocked)| Step::Block { serial, blocked }),
        1 => (0_usize..2, 0_u32..9).prop_map(|(which, value)| Step::Fact { which, value }),
        1 => (0_usize..2, any::<bool>()).prop_map(|(which, revoked)| Step::Login { which, revoked }),
        1 => any::<bool>().prop_map(Step::Anchors),
        1 => Just(Step::Nothing),
    ]
}

fn icon(which: usize) -> Sha3_384 {
    Sha3_384::of(format!("icon {which}").as_bytes())
}

impl Step {
    fn apply(&self, change: &mut Change) {
        match *self {
            Step::Push { snap, revision, icon: pictured, public, renamed } => {
                let mut one = fixture::change("push");
                fixture::add_revision(&mut one, SNAPS[snap], revision);
                let record = &mut one.snaps[0];
                record.private = !public;
                if renamed {
                    // Two brands may use the same snap name.
                    record.name = "the-same".parse().unwrap();
                }
                if let Some(which) = pictured {
                    record.text["icon"] = json!({ "sha3-384": icon(which).to_hex(), "format": "png" });
                }
                change.blobs.append(&mut one.blobs);
                change.snaps.append(&mut one.snaps);
                change.revisions.append(&mut one.revisions);
            }
            Step::Icon(which) => {
                change.blobs.push(BlobRecord { digest: icon(which), size: 10, blocks: vec![7; 32] });
            }
            Step::Component { snap, revision } => {
                let digest = Sha3_384::of(b"component");
                change.blobs.push(BlobRecord { digest, size: 20, blocks: vec![8; 32] });
                change.components.push(ComponentRecord {
                    snap_id: SNAPS[snap].parse().unwrap(),
                    name: "extra".into(),
                    revision,
                    blob: digest,
                    size: 20,
                    kind: "standard".into(),
                    version: format!("{revision}"),
                    provenance: "global-upload".into(),
                });
                change.pairs.push(PairRecord {
                    snap_id: SNAPS[snap].parse().unwrap(),
                    snap_revision: revision,
                    component: "extra".into(),
                    component_revision: revision,
                });
            }
            Step::Release { snap, revision, origin, replace } => {
                if replace {
                    change.replace_channel_map_of.push(SNAPS[snap].parse().unwrap());
                }
                change.releases.push(fixture::release(SNAPS[snap], revision, origin));
            }
            Step::Close { snap, origin } => {
                let key: ReleaseKey = fixture::release(SNAPS[snap], 1, origin).key();
                change.releases_closed.push(key);
            }
            Step::Remove { snap, revision } => {
                change.removed.revisions.push((SNAPS[snap].parse().unwrap(), revision))
            }
            Step::RemoveSnap(snap) => {
                change.replace_channel_map_of.push(SNAPS[snap].parse().unwrap());
                let override_of = fixture::release(SNAPS[snap], 1, Origin::Override);
                change.releases_closed.push(override_of.key());
                for revision in 1..4 {
                    change.removed.revisions.push((SNAPS[snap].parse().unwrap(), revision));
                    change.removed.components.push((SNAPS[snap].parse().unwrap(), "extra".into(), revision));
                }
                change.removed.snaps.push(SNAPS[snap].parse().unwrap());
            }
            Step::RemoveIcon(which) => change.removed.blobs.push(icon(which)),
            Step::Store { which, grants } => change.stores.push(Arc::new(StoreRecord {
                store_id: STORES[which].parse().unwrap(),
                brand_id: ACCOUNTS[which].into(),
                name: format!("{grants}"),
                parent: None,
                // Unsorted, as in files.
                grants: (SNAPS.iter().enumerate().rev())
                    .filter(|(at, _)| grants & (1 << at) != 0)
                    .map(|(_, id)| Grant {
                        snap_id: id.parse().unwrap(),
                        name: "xx".parse().unwrap(),
                        reason: Reason::Own,
                    })
                    .collect(),
                document: "{}".into(),
            })),
            Step::RemoveStore(which) => change.removed.stores.push(STORES[which].parse().unwrap()),
            Step::Account { which, revision } => {
                let name = format!("Number {revision}");
                change.assertions.push(fixture::account(ACCOUNTS[which], revision, &name));
            }
            Step::Declaration { snap, publisher, revision, gating } => {
                let gates: &[&str] = if gating { &SNAPS[..1] } else { &[] };
                let publisher = ACCOUNTS[publisher];
                change.assertions.push(fixture::declaration(SNAPS[snap], revision, publisher, gates));
            }
            Step::RemoveDeclaration(snap) => change.removed.assertions.push(Ref {
                kind: AssertionType::SnapDeclaration,
                key: vec!["16".into(), SNAPS[snap].parse().unwrap()],
            }),
            Step::Key { which, account, revision } => {
                change.assertions.push(fixture::account_key(which, ACCOUNTS[account], revision));
            }
            Step::RemoveKey(which) => {
                let key = fixture::account_key(which, ACCOUNTS[0], 0);
                change.removed.assertions.push(key.assertion().reference());
            }
            Step::Set { sequence, revision } => {
                change.assertions.push(fixture::validation_set(sequence, revision));
            }
            Step::RemoveSet(sequence) => {
                let set = fixture::validation_set(sequence, 0);
                change.removed.assertions.push(set.assertion().reference());
            }
            Step::Block { serial, blocked } => {
                change.device_blocks.push(fixture::block(["a", "b/c", "d\"e"][serial], blocked));
            }
            Step::Fact { which, value } => change.meta.push((format!("fact-{which}"), value.to_string())),
            Step::Login { which, revoked } => {
                let login = LoginRecord {
                    store: None,
                    acls: Default::default(),
                    created: 1,
                    expires: 2,
                    revoked,
                    key: None,
                    by: None,
                };
                change.meta.push(login.fact(&format!("login-{which}")));
            }
            Step::Anchors(added) if added => {
                change.anchors_added.push(("fingerprint".into(), String::new()));
            }
            Step::Anchors(_) => change.anchors_removed.push("fingerprint".into()),
            Step::Nothing => {}
        }
    }
}

/// Everything that a catalog knows, for comparison.
fn image(catalog: &Catalog) -> Value {
    let digests = |of: &mut dyn Iterator<Item = Sha3_384>| {
        let mut of: Vec<String> = of.map(|digest| digest.to_hex()).collect();
        of.sort();
        of
    };
    let snap = |snap: &Arc<Snap>| {
        let mut about = String::new();
        catalog.push_about(snap, &mut about);
        let about: Value = serde_json::from_str(&format!("{{{about}}}")).unwrap();
        let revisions = snap.revisions.values().map(|one| {
            json!([
                one.number,
                one.version,
                one.architectures,
                one.base,
                one.epoch,
                one.confinement,
                one.blob.digest.to_hex(),
                one.json,
                one.snap_yaml_json,
                one.resources.iter().map(|(_, json)| json).collect::<Vec<_>>()
            ])
        });
        let releases = snap.releases.iter().map(|one| format!("{one:?}"));
        json!({
            "id": snap.id, "about": about, "text": snap.text, "title": snap.title, "summary": snap.summary,
            "public": snap.is_public(), "kind": snap.kind, "stores": snap.stores, "gates": snap.gates,
            "publisher": snap.publisher_id, "track": snap.default_track.as_str(),
            "revisions": revisions.collect::<Vec<_>>(), "releases": releases.collect::<Vec<_>>(),
            "imported": format!("{:?}", snap.imported), "overrides": format!("{:?}", snap.overrides),
            "closed": format!("{:?}", snap.closed),
            "components": snap.components.iter().map(|(of, blob)| format!("{of:?} {}", blob.digest.to_hex())).collect::<Vec<_>>(),
            "pairs": format!("{:?}", snap.pairs), "categories": snap.categories, "common-ids": snap.common_ids,
            "haystack": snap.haystack, "icon-held": catalog.icon_of(snap).is_some(),
            "by-id": catalog.snap_by_id(&snap.id).is_some_and(|same| Arc::ptr_eq(same, snap)),
            "gated-by": catalog.gates.get(snap.id.as_str()),
            "granting": catalog.granting(snap).map(|store| &store.store_id).collect::<Vec<_>>(),
        })
    };
    let mut documents: Vec<String> = (catalog.assertions.all())
        .map(|held| {
            let text = String::from_utf8_lossy(held.bytes());
            format!("{text} {} {:?}", held.revision(), held.readers())
        })
        .collect();
    documents.sort();
    let keys = |account: &str| {
        let held = catalog.assertions.keys_held(account);
        held.iter().map(|key| format!("{} {}", key.reference(), key.revision())).collect::<Vec<_>>()
    };
    let set = ["16", "root", "base-set"].map(str::to_owned);
    let latest = |from| {
        let found = catalog.assertions.latest_in_sequence(
            AssertionType::ValidationSet,
            &set,
            from..=u32::MAX,
            u32::MAX,
        );
        found.and_then(|found| Some(found.decode()?.reference().to_string()))
    };
    let pictures = [0, 1].map(|which| catalog.icon(&icon(which), "png").is_some());
    let mut blocked: Vec<String> = catalog.blocked().iter().map(ToString::to_string).collect();
    blocked.sort();
    json!({
        "position": format!("{:?}", catalog.position),
        "snaps": catalog.snaps().map(snap).collect::<Vec<_>>(),
        "count": catalog.count_snaps(),
        "stores": catalog.stores().map(|store| format!("{store:?}")).collect::<Vec<_>>(),
        "documents": documents,
        "documents-held": catalog.assertions.len(),
        "keys": ACCOUNTS.map(keys),
        "latest": [latest(1), latest(2), latest(3)],
        "meta": catalog.meta.iter().collect::<Vec<_>>(),
        "logins": catalog.logins().iter().map(|login| format!("{login:?}")).collect::<Vec<_>>(),
        "blocked": blocked,
        "blobs": digests(&mut catalog.blobs().map(|blob| blob.digest)),
        "icons": pictures,
    })
}

async fn everything(database: &Database) -> Catalog {
    Catalog::compile(database.load().await.unwrap(), LINKS, None).unwrap()
}

async fn follow(catalog: &Catalog, database: &Database) -> Catalog {
    let increment = database.load_since(catalog.position).await.unwrap().expect("an increment");
    match catalog.advance(increment).unwrap() {
        Some(next) => next,
        None => everything(database).await,
    }
}

/// Applies changes; one server takes over each of them, another one only some, and both must end up equal.
async fn compare(store: Store, changes: &[(Vec<Step>, bool)]) -> usize {
    let database = store.migrated().await;
    let (mut near, mut far) = (everything(database).await, everything(database).await);
    let mut done = 0;
    for (steps, noticed) in changes {
        let mut change = fixture::change("change");
        steps.iter().for_each(|step| step.apply(&mut change));
        // A change that the database refuses leaves everything unchanged.
        done += usize::from(database.commit(&change, &[], near.position.generation).await.is_ok());
        near = follow(&near, database).await;
        if *noticed {
            far = follow(&far, database).await;
        }
        let whole = image(&everything(database).await);
        assert_eq!(image(&near), whole, "after {steps:?}");
        compare_with_reading_all(&near, &["title", "same"], &["the"]);
        if *noticed {
            assert_eq!(image(&far), whole, "at the other server, after {steps:?}");
        }
    }
    done
}

/// `AIRLOCK_LONG=1` tries a thousand sequences.
#[test]
fn a_catalog_that_changed_by_parts_is_the_one_that_everything_compiles_to() {
    #[expect(clippy::disallowed_methods, reason = "a longer run of this test")]
    let sequences = if std::env::var_os("AIRLOCK_LONG").is_some() { 1000 } else { 24 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let changes = prop::collection::vec((prop::collection::vec(step(), 0..4), any::<bool>()), 1..40);
    let (tried, taken) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(sequences) });
    let outcome = runner.run(&changes, |changes| {
        let done = runtime.block_on(async { compare(Store::sqlite().await, &changes).await });
        tried.set(tried.get() + changes.len());
        taken.set(taken.get() + done);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{sequences} sequences, {} changes, {} of them taken", tried.get(), taken.get());
    assert!(taken.get() * 3 > tried.get(), "only {} of {} changes were taken", taken.get(), tried.get());
}
