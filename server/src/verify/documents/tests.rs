//! Rows that no import writes; each is found once and with its cause.

use ::tests::world::{Revision, World};
use schema::assertion::Anchors;

use super::*;
use crate::storage::records::{BlobRecord, ComponentRecord, Origin, ReleaseRecord, RevisionRecord};

/// A store that holds one revision with a component, released to stable.
fn sound() -> (World, Revision, Snapshot) {
    let world = World::new();
    let revision = world.snap("hello").component("extra", 2).revision(7);
    let anchors = String::from_utf8(world.anchors()).unwrap();
    let row = |digest, size: usize| BlobRecord { digest, size: size as u64, blocks: Vec::new() };
    let component = &revision.components[0];
    let snapshot = Snapshot {
        anchors: vec![("root".into(), anchors)],
        assertions: revision.assertions().iter().rev().map(Into::into).collect(),
        blobs: vec![
            row(revision.image.digest, revision.image.bytes.len()),
            row(component.image.digest, component.image.bytes.len()),
        ],
        revisions: vec![RevisionRecord {
            snap_id: revision.snap.id.parse().unwrap(),
            revision: 7,
            blob: revision.image.digest,
            size: revision.image.bytes.len() as u64,
            version: "1".into(),
            architectures: vec![schema::store::Architecture::all()],
            base: None,
            epoch: schema::store::Epoch::default(),
            confinement: schema::store::Confinement::Strict,
            kind: schema::store::SnapType::App,
            provenance: "global-upload".into(),
            snap_yaml: String::new(),
            created_at: None,
        }],
        components: vec![ComponentRecord {
            snap_id: revision.snap.id.parse().unwrap(),
            name: "extra".into(),
            revision: 2,
            blob: component.image.digest,
            size: component.image.bytes.len() as u64,
            kind: "standard".into(),
            version: "1".into(),
            provenance: "global-upload".into(),
        }],
        releases: vec![ReleaseRecord {
            snap_id: revision.snap.id.parse().unwrap(),
            channel: "stable".parse().unwrap(),
            architecture: "amd64".parse().unwrap(),
            revision: 7,
            released_at: "2024-01-02T03:04:05Z".into(),
            origin: Origin::Imported,
        }],
        ..Snapshot::default()
    };
    (world, revision, snapshot)
}

fn kinds(snapshot: &Snapshot) -> Vec<VerifyKind> {
    let mut kinds: Vec<_> = check(snapshot).unwrap().into_iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds
}

#[test]
fn a_sound_store_in_any_order_has_no_findings() {
    let (_, _, mut snapshot) = sound();
    assert_eq!(check(&snapshot).unwrap(), []);
    snapshot.assertions.reverse();
    assert_eq!(check(&snapshot).unwrap(), []);
}

#[test]
fn rows_that_differ_from_what_was_signed_are_found() {
    use VerifyKind::{DanglingRelease, UnsignedRevision};
    type Spoil = fn(&mut Snapshot);
    let cases: [(Spoil, &[VerifyKind]); 6] = [
        (|it| it.revisions[0].size += 1, &[UnsignedRevision]),
        (|it| it.blobs[0].size += 1, &[UnsignedRevision]),
        (|it| it.revisions[0].blob = it.components[0].blob, &[UnsignedRevision]),
        (|it| it.components[0].revision = 3, &[UnsignedRevision]),
        (|it| it.revisions[0].revision = 8, &[UnsignedRevision, DanglingRelease]),
        (|it| it.releases[0].revision = 9, &[DanglingRelease]),
    ];
    for (number, (spoil, wanted)) in cases.into_iter().enumerate() {
        let (.., mut snapshot) = sound();
        spoil(&mut snapshot);
        assert_eq!(kinds(&snapshot), wanted, "case {number}");
    }
}

#[test]
fn a_forged_document_is_found_and_proves_nothing() {
    let (_, revision, mut snapshot) = sound();
    let stranger = World::rooted("stranger");
    let forged = revision.document().sign(&stranger.key("store"));
    let place = snapshot
        .assertions
        .iter()
        .position(|held| held.decode().unwrap().reference() == forged.reference())
        .unwrap();
    snapshot.assertions[place] = (&forged).into();
    let findings = check(&snapshot).unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    let owner = Owner { snap_id: revision.snap.id.clone(), part: Part::Revision(7) };
    assert!(findings.iter().all(|finding| finding.owners == [owner.clone()]), "{findings:?}");
    assert_eq!(kinds(&snapshot), [VerifyKind::InvalidAssertion, VerifyKind::UnsignedRevision]);
}

#[test]
fn a_key_that_vouches_for_itself_is_no_end_of_a_chain() {
    let (world, revision, mut snapshot) = sound();
    let own = world.key("nobody-vouches");
    let circle = world.account_key_of(&world.root_id, "circle", &own).sign(&own);
    let by_it = world.account_of("friend").sign(&own);
    // Its signature and references are right; only the chain leads nowhere.
    let anchors = Anchors::none().with_stream(&world.anchors()).unwrap();
    let mut believing = Assertions::default();
    believing.add(Arc::new(circle.clone()));
    let checker = Checker { anchors: &anchors, source: &believing, time: KeyTime::DocumentTime };
    checker.check(&circle).unwrap();
    snapshot.assertions.extend([(&circle).into(), (&by_it).into()]);
    assert_eq!(kinds(&snapshot), [VerifyKind::InvalidAssertion; 2]);
    // Without its anchor nothing verifies.
    snapshot.anchors.clear();
    snapshot.assertions = revision.assertions().iter().map(Into::into).collect();
    let count = snapshot.assertions.len();
    let invalid = kinds(&snapshot).iter().filter(|kind| **kind == VerifyKind::InvalidAssertion).count();
    assert_eq!(invalid, count);
}
