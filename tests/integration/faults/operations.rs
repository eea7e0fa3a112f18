//! What operators do, each as one request.

use std::collections::BTreeMap;

use schema::api::admin::{
    CleanUp, ConfigChange, DeviceBlock, OverrideRequest, SecretRotation, Task, UpkeepRequest,
};
use tests::bundle::{Bundle, store_metadata};
use tests::world::World;

use super::scene::{Order, Scene};
use crate::archives::Freight;

/// One of them, and how it is made from the scene.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) order: fn(&Scene) -> Order,
}

/// All of them.
pub(super) const OPERATIONS: [Operation; 19] = [
    Operation { name: "first-push", order: first_push },
    Operation { name: "second-push", order: second_push },
    Operation { name: "archive", order: archive },
    Operation { name: "metadata", order: metadata },
    Operation { name: "keys", order: keys },
    Operation { name: "trust", order: trust },
    Operation { name: "registration", order: registration },
    Operation { name: "domain", order: |_| config("proxy.domain", "localhost") },
    Operation { name: "setting", order: |_| config("proxy.device-auth.session-lifetime", "3d") },
    Operation { name: "rotation", order: |_| rotation("proxy.device-auth.secret") },
    Operation { name: "login-rotation", order: |_| rotation("proxy.auth.secret") },
    Operation { name: "override", order: override_channel },
    Operation { name: "release", order: |_| upkeep(release()) },
    Operation { name: "close-channel", order: |_| upkeep(close_channel()) },
    Operation { name: "remove-snap", order: |_| upkeep(remove_snap()) },
    Operation { name: "remove-store", order: |_| upkeep(remove_store()) },
    Operation { name: "prune", order: |_| upkeep(Task::Prune { keep: 1 }) },
    Operation { name: "block-device", order: block_device },
    Operation { name: "gc", order: clean_up },
];

/// The operation of this name.
pub(super) fn operation(name: &str) -> &'static Operation {
    OPERATIONS.iter().find(|operation| operation.name == name).expect("an operation of the table")
}

/// Two revisions and a component of a snap that was not there.
pub(super) fn first_push(scene: &Scene) -> Order {
    let snap = scene.world.snap("fresh");
    let (stable, edge) = (snap.clone().component("part", 1).revision(1), snap.revision(2));
    Order::push(&Bundle::new(&snap, &[(&stable, &["latest/stable"]), (&edge, &["latest/edge"])]))
}

/// A newer revision of a snap that is there.
pub(super) fn second_push(scene: &Scene) -> Order {
    let snap = scene.world.snap("hello");
    Order::push(&Bundle::new(&snap, &[(&snap.revision(4), &["latest/stable"])]))
}

fn archive(_: &Scene) -> Order {
    let freight = Freight::new();
    Order::new("POST", "/v1/archives?file=export.tar.gz", freight.pack(&freight.members()))
}

fn metadata(scene: &Scene) -> Order {
    let snaps = ["gate", "hello"].map(|name| scene.world.snap(name));
    let metadata = store_metadata("AcmeStore", "acme", &[&snaps[0], &snaps[1]]);
    Order::json("POST", "/v1/stores?file=store.json", &metadata)
}

fn keys(scene: &Scene) -> Order {
    let keys = scene.world.brand("beta").account_keys();
    Order::new("POST", "/v1/assertions?file=keys&as=account-keys", keys)
}

fn trust(_: &Scene) -> Order {
    Order::new("POST", "/v1/trust", World::rooted("other").anchors())
}

fn registration(scene: &Scene) -> Order {
    let file = scene.world.registration("SiteStore", "acme", "https://store.example");
    Order::new("POST", "/v1/assertions?file=store&as=registration", file)
}

fn config(key: &str, value: &str) -> Order {
    let values = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Order::json("PATCH", "/v1/config", &ConfigChange { values })
}

fn rotation(key: &str) -> Order {
    let wanted = SecretRotation { key: key.to_owned(), keep_old_seconds: 86_400 };
    Order::json("POST", "/v1/secrets/rotate", &wanted)
}

fn override_channel(_: &Scene) -> Order {
    let wanted = OverrideRequest { snap: "hello".to_owned(), channel: "candidate".to_owned(), revision: 1 };
    Order::json("POST", "/v1/overrides", &wanted)
}

fn upkeep(task: Task) -> Order {
    Order::json("POST", "/v1/upkeep", &UpkeepRequest { apply: true, task })
}

fn release() -> Task {
    Task::Release { snap: "hello".to_owned(), revision: 1, channel: "candidate".to_owned() }
}

fn close_channel() -> Task {
    Task::CloseChannel { snap: "hello".to_owned(), channel: "edge".to_owned() }
}

fn remove_snap() -> Task {
    Task::RemoveSnap { snap: "hello".to_owned(), revision: Some(1) }
}

fn remove_store() -> Task {
    Task::RemoveStore { store: "AcmeStore".to_owned() }
}

fn block_device(scene: &Scene) -> Order {
    let device = scene.witness.identity.name().parse().expect("the name of a device");
    Order::json("PUT", "/v1/devices/block", &DeviceBlock { device, blocked: true })
}

fn clean_up(_: &Scene) -> Order {
    Order::json("POST", "/v1/gc", &CleanUp { dry_run: false, now: true })
}
