//! Store archives: the stores are judged with the archive's other contents, and with what is stored.

use schema::assertion::Assertion;

use super::world::*;
use crate::imports::receive::Bundle;
use crate::imports::{SnapOptions, plan_archive};

/// An archive of `jq`, a store of acme that builds on `acme-base`, and more documents.
fn archive(revision: u32, more: &[&str]) -> Bundle {
    let store = r#"{"id":"acme-devices","brand-id":"acme-corp","name":"Devices","parent":"acme-base"}"#;
    let snap = format!(r#"{{"id":"{JQ}","name":"jq","store":"acme-devices"}}"#);
    let text = format!(r#"{{"format":1,"stores":[{store}],"snaps":{{"acme-devices":[{snap}]}}}}"#);
    let mut bundle = Bundle { stores: Some(text.into_bytes()), ..bundle(&[revision]) };
    bundle.assertions.extend(documents(more));
    bundle
}

fn documents(names: &[&str]) -> Vec<Assertion> {
    names.iter().map(|name| assertion(name)).collect()
}

const ACCOUNT: &str = "chain/brand.account.assert";
const KEY: &str = "chain/brand-models.account-key.assert";

/// Pushes it and returns which of the three warnings appeared: account, keys, parent.
fn push(world: &mut World, bundle: &Bundle) -> [bool; 3] {
    let (change, report) =
        plan_archive(world, bundle, &SnapOptions::default(), &context()).expect("accepted");
    world.apply(change);
    assert!(!report.warnings.iter().any(|warning| warning.contains("not pushed yet: jq")), "jq came along");
    ["Account acme-corp", "No key of acme-corp", "builds on store acme-base"]
        .map(|wanted| report.warnings.iter().any(|warning| warning.contains(wanted)))
}

#[test]
fn what_comes_along_and_what_is_held_counts() {
    assert_eq!(push(&mut World::new(), &archive(1, &[])), [true, false, true]);
    assert_eq!(push(&mut World::new(), &archive(1, &[ACCOUNT])), [false, true, true]);
    let mut world = World::new();
    assert_eq!(push(&mut world, &archive(1, &[ACCOUNT, KEY])), [false, false, true]);
    // The next archive brings neither.
    assert_eq!(push(&mut world, &archive(2, &[])), [false, false, true]);
    let parent = br#"{"store":{"id":"acme-base","brand-id":"acme-corp","name":"Base"}}"#.to_vec();
    let base = Bundle { stores: Some(parent), ..bundle(&[3]) };
    assert_eq!(push(&mut world, &base), [false; 3]);
    assert_eq!(push(&mut world, &archive(4, &[])), [false; 3]);
}
