//! Components of a snap: the revisions they belong to, and the warnings about those that belong to none.

use schema::assertion::{Assertion, AssertionType as T};
use schema::bundle::ComponentYaml;
use schema::digest::Sha3_384;

use super::world::*;
use crate::imports::receive::{Bundle, ComponentFile};
use crate::storage::records::BlobRecord;

const PUBLISHER: (&str, &str) = ("developer-id", "PublisherPublisherPublisherPub01");

/// Revision `number` of the component `jq+extra`, with any content.
fn component(content: &str, number: u32) -> (ComponentFile, Assertion) {
    let digest = Sha3_384::of(content.as_bytes());
    let (shown, size, number) = (digest.to_base64url(), content.len().to_string(), number.to_string());
    let headers = [
        ("snap-id", JQ),
        ("resource-name", "extra"),
        ("resource-sha3-384", shown.as_str()),
        ("resource-size", &size),
        ("resource-revision", &number),
        PUBLISHER,
    ];
    let file = ComponentFile {
        name: format!("jq+extra_{content}.comp"),
        blob: BlobRecord { digest, size: content.len() as u64, blocks: vec![0; 32] },
        yaml: ComponentYaml::parse("component: jq+extra\ntype: standard\nversion: 1\n").expect("a component"),
    };
    (file, signed(T::SnapResourceRevision, 0, &headers))
}

fn pair(snap_id: &str, snap_revision: u32, component_revision: u32) -> Assertion {
    let (snap, component) = (snap_revision.to_string(), component_revision.to_string());
    let headers = [
        ("snap-id", snap_id),
        ("resource-name", "extra"),
        ("resource-revision", component.as_str()),
        ("snap-revision", &snap),
        PUBLISHER,
    ];
    signed(T::SnapResourcePair, 0, &headers)
}

/// A bundle of `jq` with components and pairs.
fn with(revisions: &[u32], components: &[(&str, u32)], pairs: &[(u32, u32)]) -> Bundle {
    let mut bundle = bundle(revisions);
    for (content, number) in components {
        let (file, document) = component(content, *number);
        bundle.components.push(file);
        bundle.assertions.push(document);
    }
    bundle.assertions.extend(pairs.iter().map(|(snap, component)| pair(JQ, *snap, *component)));
    bundle
}

/// The warnings about components, and the resulting pairs: `6: extra 1`.
fn push(world: &mut World, bundle: &Bundle) -> (usize, Vec<String>) {
    let report = world.push(bundle).expect("accepted");
    let lonely = report.warnings.iter().filter(|warning| warning.contains("goes with no revision")).count();
    let revisions = report.snaps[0].revisions.iter();
    let paired =
        revisions.flat_map(|one| one.components.iter().map(move |name| format!("{}: {name}", one.revision)));
    (lonely, paired.collect())
}

#[test]
fn a_pair_counts_when_both_of_its_sides_are_here() {
    for (bundle, lonely, pairs) in [
        (with(&[6], &[("one", 1)], &[(6, 1)]), 0, &["6: extra 1"][..]),
        (with(&[6], &[("one", 1)], &[]), 1, &[]),
        (with(&[6], &[("one", 1)], &[(7, 1)]), 1, &[]),
        (with(&[6], &[("one", 1)], &[(6, 2)]), 1, &[]),
        (with(&[6], &[], &[(6, 1)]), 0, &[]),
        (with(&[6], &[("one", 1), ("two", 2)], &[(6, 1)]), 1, &["6: extra 1"]),
        (with(&[6, 7], &[("one", 1), ("two", 2)], &[(6, 1), (7, 2)]), 0, &["6: extra 1", "7: extra 2"]),
    ] {
        let what = format!("{:?}", bundle.assertions);
        assert_eq!(
            push(&mut World::new(), &bundle),
            (lonely, pairs.iter().map(ToString::to_string).collect()),
            "{what}"
        );
    }
    // Earlier imports count: a component, and then the revision it belongs to.
    let mut world = World::new();
    push(&mut world, &with(&[6], &[("one", 1)], &[(6, 1)]));
    let mut newer = with(&[7], &[], &[(7, 1)]);
    newer.assertions.push(component("one", 1).1);
    let (change, _) =
        crate::imports::plan_snaps(&world, &newer, &Default::default(), &context()).expect("accepted");
    let made: Vec<_> =
        change.pairs.iter().map(|pair| (pair.snap_revision, pair.component_revision)).collect();
    assert_eq!(made, [(7, 1)]);
    // A pair of another snap with the same numbers does not count here.
    let mut other = with(&[6], &[("one", 1)], &[]);
    other.assertions.extend([declaration(YQ, "yq", 0), pair(YQ, 6, 1)]);
    assert_eq!(push(&mut World::new(), &other), (1, Vec::new()));
}

#[test]
fn one_number_of_a_component_is_one_file() {
    let twice = with(&[6], &[("one", 1), ("other", 1)], &[(6, 1)]);
    assert_eq!(World::new().push(&twice).expect_err("two files for revision 1").code(), "conflict");
    let mut same = with(&[6], &[("one", 1)], &[(6, 1)]);
    same.components.push(same.components[0].clone());
    assert_eq!(push(&mut World::new(), &same).1, ["6: extra 1"]);
}
