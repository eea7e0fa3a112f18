//! What a check has found is carried along, and counts while the store stays as it was.

use schema::assertion::AssertionType;

use super::world::*;
use crate::imports::documents::Proof;
use crate::imports::{SnapOptions, plan_snaps};

/// Without the key of the store, nothing that the bundle brings verifies.
fn without_keys() -> World {
    let mut world = World::new();
    world.anchors = schema::assertion::Anchors::none();
    world
}

#[test]
fn a_proof_counts_at_its_generation_and_no_other() {
    let mut brought = bundle(&[1]);
    assert!(brought.assertions.iter().any(|one| one.kind() == AssertionType::SnapRevision));
    let plan = |world: &World, bundle: &_| plan_snaps(world, bundle, &SnapOptions::default(), &context());
    let (world, mut other) = (World::new(), without_keys());
    assert_eq!(plan(&other, &brought).expect_err("nobody vouches for it").code(), "missing-assertion");

    brought.proof = Proof::check(&world, &brought.assertions, &Proof::default(), "the bundle", &context())
        .expect("signed");
    let (first, _) = plan(&world, &brought).expect("accepted");
    // What is known is not asked while the generation is the one of the proof.
    let (again, _) = plan(&other, &brought).expect("accepted as before");
    assert_eq!(first.assertions, again.assertions);

    // After a change the keys count that are known then, whatever was verified before.
    other.generation += 1;
    assert_eq!(plan(&other, &brought).expect_err("nobody vouches for it now").code(), "missing-assertion");
    let later = World { generation: 1, ..World::new() };
    let (later, _) = plan(&later, &brought).expect("accepted still");
    assert_eq!(first.assertions, later.assertions);
}
