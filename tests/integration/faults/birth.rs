//! A store that is killed, or refused a write, while it is born: folders, schema and all on a data directory that holds
//! nothing but the settings. However often that goes wrong, the next start ends where an undisturbed one would have.

use std::collections::BTreeSet;

use tests::server::Setup;

use super::operations::first_push;
use super::scene::{Engine, Order, Place, Scene, files, verified};
use super::{kills, long};

/// Starts with the fault at every step until one start gets through; how many did not.
fn births(scene: &Scene, fault: &str) -> u32 {
    let push = first_push(scene);
    let born = |place: &Place| -> BTreeSet<String> {
        let store = place.start();
        Order::new("POST", "/v1/trust", scene.world.anchors()).obeyed(&store);
        push.obeyed(&store);
        verified(&store, fault);
        let _ = store.stop();
        files(&place.data())
    };
    let clean = born(&scene.empty_place());
    for step in 1.. {
        let place = scene.empty_place();
        let doomed = Setup::empty().failpoint(&format!("{fault}:{step}")).start_at(&place.data());
        let (hit, started) = (place.fired(), doomed.is_ok());
        drop(doomed);
        let Some(point) = hit else {
            assert!(started, "{fault} {step}");
            return step - 1;
        };
        assert_eq!(born(&place), clean, "{fault} at step {step} ({point})");
    }
    0
}

#[test]
fn a_store_is_born_through_every_fault() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if engine == Engine::Postgres && !long() {
            continue;
        }
        let scene = Scene::new(engine);
        for fault in if long() { &["step", "fail"][..] } else { &["step"] } {
            let ended = births(&scene, fault);
            println!("{engine:?}: {ended} births ended by `{fault}`");
            assert!(ended >= kills::BIRTHS, "only {ended} births");
        }
    }
}
