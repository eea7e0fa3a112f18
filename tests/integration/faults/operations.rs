//! What operators do, each as one request.

use std::collections::BTreeSet;

use schema::api::admin::{
    CleanUp, ConfigChange, DeviceBlock, LoginRequest, OverrideRequest, SecretRotation, Task, UpkeepRequest,
};
use schema::assertion::Assertion;
use schema::service_login::Acl;
use schema::tls::{Stamp, self_signed};
use tests::bundle::{Bundle, store_metadata};
use tests::world::World;
use time::OffsetDateTime;

use super::scene::{Order, Scene, rusty};
use crate::archives::Freight;

/// One of them, and how it is made from the scene.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// What is done before, to have something to undo; `{id}` in the order's target stands for the id
    /// that it answered.
    pub(super) first: Option<fn(&Scene) -> Order>,
    pub(super) order: fn(&Scene) -> Order,
    /// Is the file of the snap `rusty` damaged before it, and after it?
    pub(super) damage: Damage,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    Nothing,
    Stays,
    Healed,
}

const fn plain(name: &'static str, order: fn(&Scene) -> Order) -> Operation {
    Operation { name, first: None, order, damage: Damage::Nothing }
}

const fn undo(name: &'static str, first: fn(&Scene) -> Order, order: fn(&Scene) -> Order) -> Operation {
    Operation { name, first: Some(first), order, damage: Damage::Nothing }
}

const fn damaged(name: &'static str, order: fn(&Scene) -> Order, damage: Damage) -> Operation {
    Operation { name, first: None, order, damage }
}

/// All of them.
pub(super) const OPERATIONS: [Operation; 28] = [
    plain("first-push", first_push),
    plain("second-push", second_push),
    plain("archive", archive),
    plain("metadata", metadata),
    plain("keys", keys),
    plain("trust", trust),
    plain("registration", registration),
    plain("domain", |_| config(&[("proxy.domain", "localhost")])),
    plain("setting", |_| config(&[("proxy.device-auth.session-lifetime", "3d")])),
    plain("rotation", |_| rotation("proxy.device-auth.secret")),
    plain("login-rotation", |_| rotation("proxy.auth.secret")),
    plain("certificate", certificate),
    plain("override", override_channel),
    undo("delete-override", override_channel, delete_override),
    plain("release", |_| upkeep(release())),
    plain("close-channel", |_| upkeep(close_channel())),
    plain("remove-snap", |_| upkeep(remove_snap())),
    plain("remove-store", |_| upkeep(remove_store())),
    plain("prune", |_| upkeep(Task::Prune { keep: 1 })),
    plain("block-device", |scene| block_device(scene, true)),
    undo("unblock-device", |scene| block_device(scene, true), |scene| block_device(scene, false)),
    plain("create-login", create_login),
    undo("revoke-login", create_login, |_| Order::new("DELETE", "/v1/logins/{id}", *b"")),
    undo("distrust", trust, distrust),
    plain("gc", clean_up),
    damaged("verify", |_| Order::new("POST", "/v1/verify", *b"{}"), Damage::Stays),
    damaged("repair", |scene| Order::new("POST", "/v1/repair", rusty(&scene.world).pack()), Damage::Healed),
    damaged("push-again", |scene| Order::push(&rusty(&scene.world)), Damage::Healed),
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

fn distrust(_: &Scene) -> Order {
    let root = Assertion::decode_stream(&World::rooted("other").anchors()).expect("documents");
    let key = root.iter().find_map(|document| document.headers().text("public-key-sha3-384"));
    let id = key.expect("the key of an account");
    Order::new("DELETE", &format!("/v1/trust/{id}"), *b"")
}

fn registration(scene: &Scene) -> Order {
    let file = scene.world.registration("SiteStore", "acme", "https://store.example");
    Order::new("POST", "/v1/assertions?file=store&as=registration", file)
}

fn config(values: &[(&str, &str)]) -> Order {
    let values = values.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    Order::json("PATCH", "/v1/config", &ConfigChange { values, seen: [].into() })
}

fn certificate(_: &Scene) -> Order {
    let stamp = Stamp { serial: [7; 16], now: OffsetDateTime::now_utc() };
    let pair = self_signed("127.0.0.1", 30, stamp).expect("a certificate");
    let key = pair.key_pem();
    config(&[
        ("proxy.tls.cert", pair.cert_pem().as_str()),
        ("proxy.tls.key", key.as_str()),
        ("proxy.port.https", "0"),
    ])
}

fn rotation(key: &str) -> Order {
    let wanted = SecretRotation { key: key.to_owned(), keep_old_seconds: 86_400 };
    Order::json("POST", "/v1/secrets/rotate", &wanted)
}

fn override_channel(_: &Scene) -> Order {
    let wanted = OverrideRequest {
        snap: "hello".to_owned(),
        channel: "candidate".to_owned(),
        revision: 1,
        create_track: false,
    };
    Order::json("POST", "/v1/overrides", &wanted)
}

fn delete_override(_: &Scene) -> Order {
    Order::new("DELETE", "/v1/overrides?snap=hello&channel=candidate", *b"")
}

fn create_login(_: &Scene) -> Order {
    let store = Some("AcmeStore".parse().expect("the id of a store"));
    let acls = BTreeSet::from([Acl::PackageAccess]);
    Order::json("POST", "/v1/logins", &LoginRequest { store, acls, lifetime_seconds: 86_400 })
}

fn upkeep(task: Task) -> Order {
    Order::json("POST", "/v1/upkeep", &UpkeepRequest { apply: true, task })
}

fn release() -> Task {
    Task::Release {
        snap: "hello".to_owned(),
        revision: 1,
        channel: "candidate".to_owned(),
        create_track: false,
    }
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

fn block_device(scene: &Scene, blocked: bool) -> Order {
    let device = scene.witness.identity.name().parse().expect("the name of a device");
    Order::json("PUT", "/v1/devices/block", &DeviceBlock { device, blocked, unseen: true })
}

fn clean_up(_: &Scene) -> Order {
    Order::json("POST", "/v1/gc", &CleanUp { dry_run: false, now: true })
}
