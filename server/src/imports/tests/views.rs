//! Visibility after every possible field of a file: the rows are the fields of the formats, as their types list them.

use std::collections::BTreeSet;

use schema::bundle::{BrandStore, ListedSnap, Manifest, ManifestFile, ManifestRelease, Metadata, SnapText};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::world::*;
use crate::imports::receive::Bundle;
use crate::imports::visibility::audience;
use crate::imports::{ImportError, SnapOptions, Views, plan_stores};

/// A file that an operator is handed, before it says anything hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    File,
    Release,
    Metadata,
    Text,
    Store,
    Listed,
}
use Part::{File, Listed, Manifest as Said, Metadata as Answer, Release, Store, Text};

/// Each field with its worst value for acme's private snap; `null` if it only repeats what is checked elsewhere.
fn rows() -> Vec<(Part, &'static str, Value)> {
    let of = |part, fields: &[(&'static str, Value)]| {
        fields.iter().map(move |(field, value)| (part, *field, value.clone())).collect::<Vec<_>>()
    };
    [
        of(
            Said,
            &[
                ("format", json!(1)),
                ("tool", json!("proxy")),
                ("time", json!("2036-01-01T00:00:00Z")),
                ("store", json!("ubuntu")),
                ("stores", json!({ "jq": "BoltStore" })),
                ("files", json!([])),
                ("releases", json!([{ "revision": 1, "channels": ["stable"] }])),
            ],
        ),
        of(File, &[("name", Value::Null), ("size", Value::Null), ("sha3-384", Value::Null)]),
        of(Release, &[("revision", json!(1)), ("channels", json!(["latest/stable"]))]),
        of(
            Answer,
            &[
                ("name", json!("jq")),
                ("snap-id", json!(JQ)),
                ("default-track", json!("2")),
                ("snap", json!({ "private": false })),
                ("channel-map", json!([])),
            ],
        ),
        of(
            Text,
            &[
                ("title", json!("ubuntu")),
                ("summary", json!("public")),
                ("description", json!("public")),
                ("license", json!("MIT")),
                ("contact", json!("BoltStore")),
                ("website", json!("http://bolt.example")),
                ("store-url", json!("http://bolt.example")),
                ("private", json!(false)),
                ("links", json!({ "contact": ["BoltStore"] })),
                ("categories", json!([{ "name": "public" }])),
                ("common-ids", json!(["public"])),
                ("name", json!("jq")),
                ("snap-id", json!(JQ)),
            ],
        ),
        of(
            Store,
            &[
                ("id", json!("AcmeStore")),
                ("brand-id", json!("bolt-corp")),
                ("name", json!("AcmeStore")),
                ("parent", json!("AcmeStore")),
                ("private", json!(false)),
                ("manual-review-policy", json!("allow")),
                ("store-whitelist", json!(["AcmeStore", "BoltStore"])),
                ("allowed-inclusion-source-stores", json!(["AcmeStore"])),
                ("allowed-inclusion-target-stores", json!(["AcmeStore", "BoltStore"])),
                ("snap-name-prefixes", json!([{ "prefix": "jq" }])),
            ],
        ),
        of(
            Listed,
            &[
                ("id", json!(JQ)),
                ("name", json!("jq")),
                ("store", json!("BoltStore")),
                ("other-stores", json!(["BoltStore"])),
                ("included-stores", json!(["BoltStore"])),
                ("essential", json!(true)),
                ("private", json!(false)),
            ],
        ),
    ]
    .concat()
}

/// The fields of a type, as serde reads them.
fn fields<'a, T: Deserialize<'a>>() -> BTreeSet<&'static str> {
    struct Fields<'f>(&'f mut Vec<&'static str>);
    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = serde::de::value::Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("only structs have fields"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend(fields);
            self.deserialize_any(visitor)
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut found = Vec::new();
    let _ = T::deserialize(Fields(&mut found));
    assert!(!found.is_empty());
    found.into_iter().collect()
}

/// The fields of a store: those of its own, and the settings that are kept.
fn store_fields() -> BTreeSet<&'static str> {
    let store: BrandStore = serde_json::from_value(json!({ "id": "a", "brand-id": "a" })).expect("a store");
    let own = json!(store);
    let own: Vec<&'static str> = own
        .as_object()
        .expect("an object")
        .keys()
        .map(|key| &*Box::leak(key.clone().into_boxed_str()))
        .collect();
    own.into_iter().chain(BrandStore::SETTINGS).collect()
}

#[test]
fn every_field_of_every_format_has_a_row() {
    let listed = [
        (Said, fields::<Manifest>()),
        (File, fields::<ManifestFile>()),
        (Release, fields::<ManifestRelease>()),
        (Answer, fields::<Metadata>()),
        (Text, fields::<SnapText>()),
        (Store, store_fields()),
        (Listed, fields::<ListedSnap>()),
    ];
    for (part, fields) in listed {
        let rows: BTreeSet<&str> =
            rows().into_iter().filter(|(of, ..)| *of == part).map(|(_, field, _)| field).collect();
        assert_eq!(rows, fields, "{part:?}: a field that nobody tried, or a row without a field");
    }
}

/// A store with a private snap of acme's, and a store of bolt's with nothing.
fn town() -> World {
    let mut world = World::new();
    world.push(&parcel(&[1], &[])).expect("acme's own");
    for (store, brand, list) in [("AcmeStore", "acme-corp", true), ("BoltStore", "bolt-corp", false)] {
        let snap = json!({ "id": JQ, "name": "jq", "store": store, "private": true });
        let snaps = if list { vec![snap] } else { vec![] };
        let file = json!({ "store": { "id": store, "brand-id": brand }, "snaps": snaps });
        let (change, _) = plan_stores(&world, file.to_string().as_bytes(), &Views::default(), &context())
            .unwrap_or_else(|error| panic!("{store}: {error}"));
        world.apply(change);
    }
    assert_eq!(seen(&world), [Some("AcmeStore".to_owned())]);
    world
}

fn seen(world: &World) -> Vec<Option<String>> {
    audience(world, &world.snaps[JQ]).into_iter().map(|store| store.map(String::from)).collect()
}

/// A bundle of acme's private snap with these values.
fn parcel(revisions: &[u32], words: &[(Part, &str, Value)]) -> Bundle {
    let mut manifest = json!({ "format": 1, "store": "AcmeStore" });
    let mut answer = json!({ "name": "jq", "snap-id": JQ, "snap": { "private": true }, "channel-map": [
        { "channel": { "architecture": "amd64", "name": "stable", "track": "latest", "risk": "stable" }, "revision": 1 }] });
    for (part, field, value) in words.iter().filter(|(_, _, value)| !value.is_null()) {
        match part {
            Said => manifest[field] = value.clone(),
            Answer => answer[field] = value.clone(),
            Text => answer["snap"][field] = value.clone(),
            Release => manifest["releases"] = json!([{ "revision": 1, "channels": ["edge"] }]),
            File | Store | Listed => {}
        }
    }
    Bundle {
        manifest: Some(Manifest::parse(manifest.to_string().as_bytes()).expect("a manifest")),
        metadata: vec![Metadata::parse(answer.to_string().as_bytes()).expect("metadata")],
        file_digest: format!("{revisions:?} {words:?}"),
        ..bundle(revisions)
    }
}

/// Metadata of bolt's store that lists acme's snap, with these values.
fn claim(words: &[(Part, &str, Value)]) -> Vec<u8> {
    let mut store = json!({ "id": "BoltStore", "brand-id": "bolt-corp" });
    let mut snap = json!({ "id": JQ, "name": "jq", "store": "AcmeStore", "private": true });
    for (part, field, value) in words {
        match part {
            Store => store[field] = value.clone(),
            Listed => snap[field] = value.clone(),
            _ => {}
        }
    }
    json!({ "store": store, "snaps": [snap] }).to_string().into_bytes()
}

/// Pushes a bundle and ignores the result.
fn push(world: &mut World, bundle: &Bundle) -> Result<(), ImportError> {
    world.push_with(bundle, &SnapOptions { push_channel_map: true, ..SnapOptions::default() }).map(drop)
}

fn push_claim(world: &mut World, words: &[(Part, &str, Value)], widen: &[&str]) -> Result<(), ImportError> {
    let views = Views { widen: widen.iter().map(ToString::to_string).collect(), dry_run: false };
    let (change, _) = plan_stores(world, &claim(words), &views, &context())?;
    world.apply(change);
    Ok(())
}

#[test]
fn no_word_of_a_file_widens_what_is_seen() {
    let alone = [Some("AcmeStore".to_owned())];
    // Each value alone and beside the two most powerful ones, because two may do what neither does alone; each after
    // all earlier ones.
    let mut world = town();
    for row in rows() {
        let place = format!("{:?}.{}", row.0, row.1);
        for beside in
            [vec![], vec![(Said, "store", json!("BoltStore"))], vec![(Text, "private", json!(false))]]
        {
            let words = [beside, vec![row.clone()]].concat();
            for revisions in [&[1][..], &[1, 2]] {
                let _ = push(&mut world, &parcel(revisions, &words));
                assert_eq!(seen(&world), alone, "{place}: a bundle of {revisions:?}");
            }
            let refused = push_claim(&mut world, &words, &[]);
            assert!(refused.is_err(), "{place}: bolt's claim was taken");
            assert_eq!(seen(&world), alone, "{place}: a claim");
        }
    }
    // All of them at once.
    assert!(push(&mut world, &parcel(&[3], &rows())).is_err());
    assert!(push_claim(&mut world, &rows(), &[]).is_err());
    assert_eq!(seen(&world), alone);
}

#[test]
fn a_claim_that_comes_before_the_snap_shows_nothing() {
    // Bolt's metadata names what nobody pushed yet; then acme's things arrive.
    let mut world = World::new();
    push_claim(&mut world, &[(Listed, "store", json!("BoltStore"))], &[]).expect("nobody sees it");
    push(&mut world, &parcel(&[1], &[])).expect("acme's own");
    assert!(seen(&world).is_empty(), "{:?}", seen(&world));
}

#[test]
fn the_operator_widens_by_name_and_once() {
    let mut world = town();
    let words = [(Said, "store", json!("ubuntu")), (Text, "private", json!(false))];
    let refused = push(&mut world, &parcel(&[2], &words)).expect_err("everybody would see it");
    assert_eq!(refused.code(), "wider-view");
    assert!(
        refused.to_string().contains("jq: seen by devices without a brand store")
            && refused.to_string().contains("--widen jq")
    );
    // Naming another snap does not allow this one.
    let mut options = SnapOptions { push_channel_map: true, ..SnapOptions::default() };
    options.views.widen = vec!["yq".into()];
    assert!(world.push_with(&parcel(&[2], &words), &options).is_err());
    // A dry run reports all changes.
    options.views = Views { widen: vec![], dry_run: true };
    let (_, report) =
        crate::imports::plan_snaps(&world, &parcel(&[2], &words), &options, &context()).expect("told");
    assert!(report.visibility.iter().any(|change| change.refused), "{report:?}");

    push_claim(&mut world, &[], &["jq"]).expect("as told");
    assert_eq!(seen(&world), [Some("AcmeStore".to_owned()), Some("BoltStore".to_owned())]);
    // The permission stays, so the same file is accepted again.
    push_claim(&mut world, &[], &[]).expect("nothing new");
    options.views = Views { widen: vec!["jq".into()], dry_run: false };
    let (change, _) =
        crate::imports::plan_snaps(&world, &parcel(&[2], &words), &options, &context()).expect("as told");
    assert!(
        change.audit.detail["widened"].to_string().contains("seen by devices without a brand store"),
        "{:?}",
        change.audit
    );
    world.apply(change);
    assert!(seen(&world).contains(&None));
    // Becoming private again is reported too.
    let (change, report) =
        crate::imports::plan_snaps(&world, &parcel(&[4], &[]), &SnapOptions::default(), &context())
            .expect("narrower");
    world.apply(change);
    assert!(!seen(&world).contains(&None));
    assert!(report.visibility.iter().any(|change| !change.seen && change.store.is_none()), "{report:?}");
}

/// Pushes metadata of a store with settings and a list.
fn stores(world: &mut World, stores: &[Value], lists: &Value) -> Result<(), ImportError> {
    let file = json!({ "format": 1, "stores": stores, "snaps": lists });
    let (change, _) = plan_stores(world, file.to_string().as_bytes(), &Views::default(), &context())?;
    world.apply(change);
    Ok(())
}

#[test]
fn stores_share_where_both_name_each_other() {
    let snap = json!({ "id": JQ, "name": "jq", "store": "AcmeStore", "private": true });
    let home = |targets: Value| json!({ "id": "AcmeStore", "brand-id": "acme-corp", "allowed-inclusion-target-stores": targets });
    let other = |id: &str, brand: &str, sources: Value| json!({ "id": id, "brand-id": brand, "allowed-inclusion-source-stores": sources });
    for (id, brand) in [("AcmeTwo", "acme-corp"), ("BoltStore", "bolt-corp")] {
        for (targets, sources, shared) in [
            (json!([]), json!([]), false),
            (json!([id]), json!([]), false),
            (json!([]), json!(["AcmeStore"]), false),
            (json!([id]), json!(["AcmeStore"]), true),
        ] {
            let mut world = town();
            stores(&mut world, &[home(targets.clone())], &json!({})).expect("acme's own");
            let taken = stores(&mut world, &[other(id, brand, sources.clone())], &json!({ (id): [snap] }));
            // Two brands do not share by their lists, which nobody signed, but by the operator's word.
            let shared = shared && brand == "acme-corp";
            assert_eq!(taken.is_ok(), shared, "{id} {targets} {sources}");
            assert_eq!(seen(&world).contains(&Some(id.to_owned())), shared, "{id} {targets} {sources}");
        }
    }
    let both = [home(json!(["BoltStore"])), other("BoltStore", "bolt-corp", json!(["AcmeStore"]))];
    let refused = stores(&mut town(), &both, &json!({ "BoltStore": [snap] })).expect_err("two brands");
    assert_eq!(refused.code(), "wider-view");
    // Nor does the order of files matter: lists that agree after the grant came show nothing.
    let mut world = World::new();
    stores(&mut world, &both, &json!({ "AcmeStore": [snap], "BoltStore": [snap] })).expect("nothing to see");
    push(&mut world, &parcel(&[1], &[])).expect("acme's own");
    stores(&mut world, &both[..1], &json!({})).expect("acme's again");
    stores(&mut world, &both[1..], &json!({})).expect("bolt's again");
    assert_eq!(seen(&world), [Some("AcmeStore".to_owned())]);
    push_claim(&mut world, &[], &["jq"]).expect("as told");
    assert_eq!(seen(&world), [Some("AcmeStore".to_owned()), Some("BoltStore".to_owned())]);
    // A store and the one that it builds on share.
    let mut world = town();
    let child = json!({ "id": "AcmeTwo", "brand-id": "acme-corp", "parent": "AcmeStore" });
    stores(&mut world, &[child], &json!({ "AcmeTwo": [snap] })).expect("of one brand");
    assert!(seen(&world).contains(&Some("AcmeTwo".to_owned())));
}

#[test]
fn a_file_changes_its_own_store_alone() {
    let snap = json!({ "id": JQ, "name": "jq", "store": "AcmeStore", "other-stores": ["BoltStore"] });
    let mut world = town();
    let bolt = json!({ "id": "BoltStore", "brand-id": "bolt-corp" });
    let refused = stores(&mut world, &[bolt], &json!({ "AcmeStore": [] })).expect_err("acme's list");
    assert_eq!(refused.code(), "wrong-store");
    assert!(
        refused.to_string().contains("AcmeStore") && refused.to_string().contains("BoltStore"),
        "{refused}"
    );
    let bare = json!({ "snaps": [snap] }).to_string();
    let refused =
        plan_stores(&world, bare.as_bytes(), &Views::default(), &context()).expect_err("whose list?");
    assert_eq!(refused.code(), "wrong-store");
    assert_eq!(seen(&world), [Some("AcmeStore".to_owned())]);
}
