//! The index finds what reading every snap finds, whatever was put in, changed and removed before.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schema::service_login::{Acl, ServiceLogin};
use schema::store::StoreId;
use serde_json::json;

use super::*;
use crate::catalog::{Catalog, Principal, Scope};
use crate::storage::contract::fixture;
use crate::storage::records::{Change, Grant, Origin, Reason, Snapshot, StoreRecord};
use crate::storage::{Increment, Touched};

/// A store whose list names a few snaps, one that builds on it, and one whose list names most.
const STORES: [(&str, Option<&str>, usize); 3] =
    [("acme-few", None, 40), ("acme-child", Some("acme-few"), 70), ("acme-most", None, 2)];
/// Words with ends that others contain, of several alphabets, and separators that are no spaces.
const TEXTS: [&str; 10] = [
    "Network manager",
    "net\u{a0}work of\tthings\nand more",
    "ΟΔΟΣ Straße ÄRGER",
    "文字 检索器",
    "a",
    "",
    "Manages a nett worker's 10.5 GiB",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
    "İstanbul ǅ",
    "snap-7 of snap-77",
];
const CATEGORIES: [&str; 3] = ["utilities", "featured", "net"];
const CONFINEMENTS: [&str; 2] = ["strict", "classic"];

/// The rows of some snaps, of which `variant` changes all that a search looks at.
fn rows(snaps: impl Iterator<Item = (usize, usize)>) -> Change {
    let mut change = fixture::change("push");
    for (number, variant) in snaps {
        let id = format!("snap{number:0>28}");
        fixture::add_revision(&mut change, &id, 1);
        let (snap, revision) = (change.snaps.last_mut().unwrap(), change.revisions.last_mut().unwrap());
        let text = |salt: usize| TEXTS[(number * 7 + variant * 3 + salt) % TEXTS.len()];
        // Several brands use the same name.
        let named = if variant % 5 == 4 { number / 2 } else { number };
        snap.name = format!("snap-{named}").parse().unwrap();
        snap.private = (number + variant) % 9 == 8;
        snap.text = json!({
            "title": text(0), "summary": text(1), "description": text(2),
            "categories": [{ "name": CATEGORIES[(number + variant) % 3] }],
            "common-ids": [format!("org.example.App{}", (number + variant) % 4)],
            "media": [],
        });
        revision.confinement = CONFINEMENTS[number % 2].parse().unwrap();
        if variant % 6 < 5 {
            let mut release = fixture::release(&id, 1, Origin::Imported);
            if number % 4 == 3 {
                release.channel = "edge".parse().unwrap();
            }
            change.releases.push(release);
        }
    }
    change
}

fn snapshot(change: Change) -> Snapshot {
    let Change { blobs, snaps, revisions, releases, .. } = change;
    Snapshot { blobs, snaps, revisions, releases, ..Snapshot::default() }
}

fn stores(snaps: usize) -> Vec<StoreRecord> {
    let store = |(id, parent, each): (&str, Option<&str>, usize)| {
        let granted = (0..snaps).step_by(each).map(|number| Grant {
            snap_id: fixture::snap_id(&format!("snap{number:0>28}")),
            name: "xx".parse().unwrap(),
            reason: Reason::Told,
        });
        StoreRecord {
            store_id: id.parse().unwrap(),
            brand_id: "acme".into(),
            name: id.into(),
            parent: parent.map(|id| id.parse().unwrap()),
            grants: granted.collect(),
            document: "{}".into(),
        }
    };
    STORES.map(store).into()
}

fn callers() -> impl Iterator<Item = Principal> {
    let login = |(id, ..): (&str, Option<&str>, usize)| {
        Principal::Service(Arc::new(ServiceLogin {
            id: "0123456789abcdef".into(),
            store: Some(id.parse::<StoreId>().unwrap()),
            acls: [Acl::PackageAccess].into(),
            expires: 1,
        }))
    };
    [Principal::Anonymous].into_iter().chain(STORES.map(login))
}

/// Reads every snap, as the index does not.
fn read_all<'a>(view: &View<'a>, query: &Query, target: &Target<'_>) -> Vec<Hit<'a>> {
    let words: Vec<String> =
        query.text.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
    let has_all = |snap: &Snap| words.iter().all(|word| snap.haystack.contains(word));
    let fitting = view.snaps().filter(|snap| has_all(snap) && query.fits(snap));
    let mut hits: Vec<Hit<'a>> = fitting.filter_map(|snap| query.best_release(view, snap, target)).collect();
    hits.sort_by_key(|(snap, ..)| !words.iter().all(|word| snap.name.contains(word)));
    hits.truncate(MOST);
    hits
}

fn queries(text: Option<&str>, name: Option<&str>) -> Vec<(Query, Option<&'static str>)> {
    let plain = || Query { text: text.map(str::to_owned), name: name.map(str::to_owned), ..Query::default() };
    let word = |word: &str| Some(word.to_owned());
    let anywhere = [
        Query { category: word("featured"), ..plain() },
        Query { category: word("net"), ..plain() },
        Query { category: word("no-such"), ..plain() },
        Query { common_id: word("org.example.App2"), ..plain() },
        Query { common_id: word("org.example.App"), ..plain() },
        Query { stable_only: true, category: word("utilities"), ..plain() },
        Query { confinements: vec!["classic".into()], common_id: word("org.example.App1"), ..plain() },
    ];
    let on = [None, Some("arm64"), Some("amd64")];
    let mut all: Vec<_> = on.into_iter().map(|architecture| (plain(), architecture)).collect();
    all.extend(anywhere.into_iter().map(|query| (query, None)));
    all
}

/// Every form of a search, by every caller, is answered as if all snaps had been read. Answers how many found something.
pub(in crate::catalog) fn compare_with_reading_all(
    catalog: &Catalog,
    texts: &[&str],
    names: &[&str],
) -> usize {
    let some = |words: &[&str]| {
        [None]
            .into_iter()
            .chain(words.iter().map(|word| Some(*word)))
            .map(|word| word.map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut found = 0;
    for caller in callers() {
        let Ok(scope) = Scope::admit(&caller, catalog) else { continue };
        let view = catalog.view(scope);
        for (text, name) in
            some(texts).iter().flat_map(|text| some(names).into_iter().map(move |name| (text, name)))
        {
            for (query, architecture) in queries(text.as_deref(), name.as_deref()) {
                let target = Target { architecture, ..Target::anyone(0) };
                let key = |(snap, release, revision): Hit<'_>| {
                    (snap.name.clone(), snap.id.clone(), release.channel.to_string(), revision.number)
                };
                let indexed: Vec<_> = view.search(&query, &target).into_iter().map(key).collect();
                let read: Vec<_> = read_all(&view, &query, &target).into_iter().map(key).collect();
                assert_eq!(indexed, read, "{query:?} on {architecture:?} of {caller:?}");
                found += usize::from(!read.is_empty());
            }
        }
    }
    found
}

#[test]
fn a_search_finds_what_reading_every_snap_finds() {
    const SNAPS: usize = 700;
    let changes = prop::collection::vec((0..SNAPS, 1_usize..60, prop::option::of(0_usize..30)), 1..12);
    let texts = [
        "net",
        "a",
        "snap-7",
        "ärger ο",
        "10.5 gib",
        "索",
        "s",
        "snap work",
        &"a".repeat(60),
        "ss",
        "i̇stanbul",
        "zzz",
    ];
    let names = ["snap-7", "x"];
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(4) });
    let outcome = runner.run(&(changes, 0..SNAPS), |(changes, begin)| {
        let mut first = snapshot(rows((0..begin).map(|number| (number, number % 11))));
        first.stores = stores(SNAPS);
        let mut catalog = Catalog::compile(first, "http://store.test", None).unwrap();
        let mut found = compare_with_reading_all(&catalog, &texts, &names);
        for (from, many, variant) in changes {
            let numbers = from..SNAPS.min(from + many);
            let ids: BTreeSet<String> = numbers.clone().map(|number| format!("snap{number:0>28}")).collect();
            let left = variant.map(|variant| rows(numbers.map(|number| (number, variant))));
            let rows = left.map(snapshot).unwrap_or_default();
            let touched = Touched { snaps: ids, ..Touched::default() };
            let before = catalog.clone();
            catalog = catalog.advance(Increment { touched, rows }).unwrap().unwrap();
            found += compare_with_reading_all(&catalog, &texts[..4], &names[..1]);
            // What was shared with the new one has not changed.
            let _ = compare_with_reading_all(&before, &texts[..2], &names[..1]);
        }
        prop_assert!(found > 100, "only {found} searches found something");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_search_reads_few_other_snaps_than_it_finds() {
    let snaps = (0..1000).map(|number| (number, number % 4));
    let catalog = Catalog::compile(snapshot(rows(snaps)), "http://store.test", None).unwrap();
    let read = |words: &[&str], field| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        catalog.search.like("", fragments_of(field, &words).collect()).count()
    };
    assert!(read(&["snap-999"], Field::Name) < 30, "{}", read(&["snap-999"], Field::Name));
    assert_eq!(read(&["zzzzz"], Field::Text), 0);
    let before = catalog.search.like("snap-999", Vec::new()).position(|snap| snap.name == "snap-999");
    assert!(before.is_some_and(|before| before < 64), "{before:?}");
    let scope = catalog.view(Scope::anonymous());
    let first = scope.candidates(&Query::default(), Field::Name, &[], None).next();
    assert_eq!(first.map(|snap| snap.name.as_str()), Some("snap-0"));
}
