//! Nobody signs a manifest, a snap's metadata or a store's: none of their words lets others see more (M2).

use serde_json::{Value, json};
use tests::bundle::{Bundle, Member, archive, gzip, store_metadata};
use tests::device::{Device, Snapd};
use tests::server::Server;
use tests::world::{Brand, Revision, World};

/// A private snap of acme's, and bolt next door.
struct Town {
    world: World,
    acme: Brand,
    bolt: Brand,
    app: Revision,
    store: Server,
}

impl Town {
    fn new() -> Self {
        let world = World::new();
        let store = Server::start();
        store.trust(&world);
        let (acme, bolt) = (world.brand("acme"), world.brand("bolt"));
        let app = world.snap("acme-app").publisher("dev").revision(1);
        store.push_brand(&acme);
        store.push_brand(&bolt);
        store.push_store("BoltStore", "bolt", &[]);
        Self { world, acme, bolt, app, store }
    }

    fn sees(&self, brand: Option<(&Brand, &str)>) -> bool {
        let mut device = match brand {
            None => Device::anonymous(&self.store, Snapd::V2_77),
            Some((brand, store)) => {
                let identity = brand.device(&brand.model_in("box", store), "SN-1");
                Device::new(&self.store, Snapd::V2_77, &identity)
            }
        };
        device.install("acme-app", "stable").is_ok()
    }

    /// Everybody, acme's devices, bolt's devices.
    fn views(&self) -> [bool; 3] {
        [None, Some((&self.acme, "AcmeStore")), Some((&self.bolt, "BoltStore"))].map(|who| self.sees(who))
    }

    /// A bundle of a revision that says which store it is from and whether it is private.
    fn bundle(&self, revision: &Revision, store: &str, private: bool) -> Vec<u8> {
        let bundle = Bundle::new(&revision.snap, &[(revision, &["latest/stable"])]).from_store(store);
        let mut members: Vec<Member> = bundle.members();
        for member in members.iter_mut().filter(|member| member.name == "metadata.json") {
            let mut metadata: Value = serde_json::from_slice(&member.bytes).expect("JSON");
            metadata["snap"]["private"] = json!(private);
            member.bytes = metadata.to_string().into_bytes();
        }
        let manifest = bundle.manifest(&members);
        gzip(&archive(std::iter::once(&manifest).chain(&members)))
    }

    fn push(&self, file: &[u8], more: &[&str]) -> tests::server::Ran {
        self.store.with_file("acme-app-20240102T030405.tar.gz", file, |path| {
            self.store.proxy(&[&["push-snap", path][..], more].concat())
        })
    }
}

#[test]
fn signed_documents_tell_whose_view_changes() {
    let town = Town::new();
    let _ = town.push(&town.bundle(&town.app, "AcmeStore", true), &[]).ok();
    town.store.push_store("AcmeStore", "acme", &[&town.app.snap]);
    town.store.push_store("BoltStore", "bolt", &[]);
    // Bolt lists what it is signed to publish from now on.
    let sold = town.app.snap.clone().publisher("bolt").declaration_at(1, 0);
    let bolts = store_metadata("BoltStore", "bolt", &[&sold]);
    let said = town.store.try_push_stores(&bolts, &[]).refused();
    assert!(said.contains("acme-app: seen by the devices of store BoltStore"), "{said}");
    let stream = tests::world::stream(&[sold.declaration()]);
    let push = |more: &[&str]| {
        town.store.with_file("sold.assert", &stream, |path| {
            town.store.proxy(&[&["push-assertions", path][..], more].concat()).ok()
        })
    };
    let dry = push(&["--dry-run"]);
    assert!(dry.contains("Would add snap-declaration/16/"), "{dry}");
    assert_eq!(push(&["--dry-run"]), dry, "nothing was kept");
    let _ = push(&[]);
    let _ = town.store.try_push_stores(&bolts, &[]).ok();
    assert_eq!(town.views(), [false, true, true]);
    // Sold again: bolt's devices no longer see it.
    let again = town.app.snap.clone().publisher("acme").declaration_at(2, 0);
    let stream = tests::world::stream(&[again.declaration()]);
    for more in [&["--dry-run"][..], &[]] {
        let told = town.store.with_file("again.assert", &stream, |path| {
            town.store.proxy(&[&["push-assertions", path][..], more].concat()).ok()
        });
        assert!(told.contains("acme-app: no longer seen by the devices of store BoltStore"), "{told}");
    }
    assert_eq!(town.views(), [false, true, false]);
    let _ = &town.world;
}

#[test]
fn words_that_nobody_signed_widen_nothing() {
    let town = Town::new();
    // Bolt claims a snap before anybody has it; then it comes for acme.
    let claim = store_metadata("BoltStore", "bolt", &[&town.app.snap]);
    let _ = town.store.try_push_stores(&claim, &[]).ok();
    let _ = town.push(&town.bundle(&town.app, "AcmeStore", true), &[]).ok();
    assert_eq!(town.views(), [false, false, false], "nobody's list counts yet");
    town.store.push_store("BoltStore", "bolt", &[]);
    town.store.push_store("AcmeStore", "acme", &[&town.app.snap]);
    let acme_alone = [false, true, false];
    assert_eq!(town.views(), acme_alone);

    // An honest new revision with dishonest words, a map without one, a pair for the store that is the default.
    let next = town.app.snap.revision(2);
    let open = town.bundle(&next, "ubuntu", false);
    let said = town.push(&open, &[]).refused();
    assert!(
        said.contains("acme-app: seen by devices without a brand store") && said.contains("--widen acme-app"),
        "{said}"
    );
    let again = town.bundle(&town.app, "ubuntu", false);
    let said = town.push(&again, &["--push-channel-map"]).refused();
    assert!(said.contains("acme-app: seen by devices without a brand store"), "{said}");
    let _ = town.store.try_push_pair(&next, &["latest/stable"], "BoltStore").refused();
    // A dry run tells it, and ends as the push would.
    let dry = town.push(&open, &["--dry-run"]);
    assert_eq!(dry.code, Some(1), "{dry:?}");
    assert!(
        dry.stdout
            .contains("acme-app: seen by devices without a brand store (refused without --widen acme-app)"),
        "{dry:?}"
    );
    assert_eq!(town.views(), acme_alone);

    // Bolt's list, with whatever it says of the snap and of itself; and acme's list in a file of bolt's.
    let mut lists = vec![claim.clone()];
    let mut inclusive = claim.clone();
    inclusive["stores"][0]["allowed-inclusion-source-stores"] = json!(["AcmeStore"]);
    inclusive["stores"][0]["parent"] = json!("AcmeStore");
    inclusive["snaps"]["BoltStore"][0]["store"] = json!("AcmeStore");
    inclusive["snaps"]["BoltStore"][0]["other-stores"] = json!(["BoltStore"]);
    lists.push(inclusive);
    let bare = json!({"snaps": [{"id": town.app.snap.id, "name": "acme-app", "store": "AcmeStore",
        "other-stores": ["BoltStore"]}]});
    lists.push(bare);
    let mut emptied = store_metadata("BoltStore", "bolt", &[]);
    emptied["snaps"] = json!({"AcmeStore": []});
    lists.push(emptied);
    for list in &lists {
        let said = town.store.try_push_stores(list, &[]).refused();
        assert!(
            said.contains("AcmeStore") || said.contains("acme-app: seen by the devices of store BoltStore"),
            "{said}"
        );
        assert_eq!(town.views(), acme_alone, "{list}");
    }

    // The operator's word does it, and is on record.
    let _ = town.store.try_push_stores(&claim, &["--widen", "acme-app"]).ok();
    assert_eq!(town.views(), [false, true, true]);
    let _ = town.push(&open, &["--widen", "acme-app"]).ok();
    assert_eq!(town.views(), [true, true, true]);
    let audit = town.store.proxy(&["audit", "--json"]).ok();
    assert!(
        audit.contains("widened") && audit.contains("acme-app: seen by devices without a brand store"),
        "{audit}"
    );
    // Closing it again is told as well.
    let third = town.app.snap.revision(3);
    let closed = town.bundle(&third, "AcmeStore", true);
    let told = town.push(&closed, &["--dry-run"]).ok();
    assert!(told.contains("acme-app: no longer seen by devices without a brand store"), "{told}");
    let _ = town.push(&closed, &[]).ok();
    assert_eq!(town.views(), [false, true, true]);
    let _ = &town.world;
}
