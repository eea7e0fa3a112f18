//! Devices that change: their model, their board, their store.

use schema::assertion::{Assertion, Builder};
use tests::device::{Device, Snapd};
use tests::factory::Newborn;
use tests::http::Response;
use tests::server::{Server, Setup};
use tests::world::{Brand, Identity, World, stream};

use crate::signing::until;

/// A store that signs serials of two models.
struct Site {
    world: World,
    brand: Brand,
    store: Server,
}

impl Site {
    fn new() -> Self {
        let (world, store) = (World::new(), Setup::default().start());
        let brand = world.brand("acme");
        store.trust(&world);
        store.push_brand(&brand);
        store.make_key(&world, "factory-1", "acme");
        for (model, pattern) in [("gateway", "G-[0-9]+"), ("hub", "[GH]-[0-9]+")] {
            let model = format!("acme/{model}");
            let args =
                ["models", "add", &model, "--key", "factory-1", "--serial", "proposed", "--pattern", pattern];
            let _ = store.proxy(&args).ok();
        }
        Self { world, brand, store }
    }

    fn device(&self, name: &str, model: &str) -> Newborn {
        let key = self.world.key(&format!("device-{name}"));
        Newborn::new(&self.brand.model_in(model, "AcmeStore"), key)
    }

    /// What the store answers when the device of this serial asks to become one of the model of `to`.
    fn remodel(&self, to: &Newborn, was: &Assertion, edit: impl Fn(Builder) -> Builder) -> Response {
        let text = |name| was.text(name).expect("a serial is complete");
        let request = to
            .request_of(&to.id(&self.store))
            .header("original-brand-id", text("brand-id"))
            .header("original-model", text("model"))
            .header("original-serial", text("serial"));
        let documents = [edit(request).sign(&to.key), to.model.clone(), was.clone()];
        to.post(&self.store, &stream(&documents))
    }
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["error_list"][0]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn attack_a_device_gets_another_model_only_where_that_is_allowed() {
    let site = Site::new();
    let store = &site.store;
    let old = site.device("a", "gateway").proposing("G-1");
    let was = old.serial(&old.register(store));
    let new = site.device("a", "hub");
    let refused = |answer: Response, check: &str| assert_eq!(code(&answer), (403, check.to_owned()));
    refused(site.remodel(&new, &was, |request| request), "remodel");
    let _ = store.proxy(&["models", "allow-remodel", "acme/hub", "acme/gateway"]).ok();
    refused(site.remodel(&new, &was, |request| request), "remodel");
    let shown = store.proxy(&["models", "allow-remodel", "acme/gateway", "acme/hub"]).ok();
    assert!(shown.contains("Devices may come from: acme/gateway"), "{shown}");

    // Another device's serial, another one than is named, and one that nobody vouches for.
    let thief = site.device("b", "hub");
    refused(site.remodel(&thief, &was, |request| request), "original");
    refused(site.remodel(&new, &was, |request| request.header("original-serial", "G-2")), "original");
    let forged = Assertion::decode(was.bytes()).expect("a document");
    let forged = site.brand.serial_of("gateway", forged.text("serial").expect("a name"));
    let forged = forged
        .header("device-key", old.key.public().encode())
        .header("device-key-sha3-384", old.key.public().id())
        .sign(&site.world.key("acme-nobody"));
    refused(site.remodel(&new, &forged, |request| request), "original");
    let _ = store.proxy(&["block-device", "acme/gateway/G-1", "--unseen"]).ok();
    refused(site.remodel(&new, &was, |request| request), "blocked");
    let _ = store.proxy(&["unblock-device", "acme/gateway/G-1"]).ok();

    // It keeps its serial, and may have another one.
    let is = new.serial(&site.remodel(&new, &was, |request| request));
    assert_eq!((is.text("model"), is.text("serial")), (Some("hub"), Some("G-1")));
    assert_eq!(new.serial(&site.remodel(&new, &was, |request| request)), is, "to the byte");
    let other = site.device("c", "gateway").proposing("G-3");
    let other_was = other.serial(&other.register(store));
    let proposing = site.device("c", "hub").proposing("H-3");
    let answer = site.remodel(&proposing, &other_was, |request| request);
    assert_eq!(proposing.serial(&answer).text("serial"), Some("H-3"));
    // A new policy for the model leaves what is allowed, until it is forbidden.
    let args = ["models", "add", "acme/hub", "--key", "factory-1", "--serial", "assigned"];
    let _ = store.proxy(&args).ok();
    assert_eq!(new.serial(&site.remodel(&new, &was, |request| request)), is);
    let _ = store.proxy(&["models", "forbid-remodel", "acme/gateway", "acme/hub"]).ok();
    refused(site.remodel(&new, &was, |request| request), "remodel");
}

#[test]
fn a_device_changes_its_store_with_its_model() {
    let site = Site::new();
    let store = &site.store;
    let snaps = ["acme-one", "acme-two"].map(|name| site.world.snap(name).publisher("acme"));
    for (snap, id) in snaps.iter().zip(["AcmeStore", "OtherStore"]) {
        store.push_pair(&snap.revision(1), &["latest/stable"], id);
        store.push_store(id, "acme", &[snap]);
    }
    let device = site.device("a", "gateway").proposing("G-1");
    let serial = device.serial(&device.register(store));
    let sees = |model: &Assertion, name: &str| {
        let identity = Identity { model: model.clone(), serial: serial.clone(), key: device.key.clone() };
        let mut snapd = Device::new(store, Snapd::V2_77, &identity).trusting(&site.world);
        snapd.install_for_good(name, "stable").is_ok()
    };
    // The same brand and model, the same serial, another store.
    let after = site.brand.model_in("gateway", "OtherStore");
    for (model, seen, unseen) in [(&device.model, "acme-one", "acme-two"), (&after, "acme-two", "acme-one")] {
        assert!(sees(model, seen) && !sees(model, unseen), "{seen}");
    }
}

#[test]
fn attack_a_new_board_gets_the_serial_of_the_old_one_only_when_it_was_given_up() {
    let site = Site::new();
    let store = &site.store;
    let old = site.device("a", "gateway").proposing("G-1");
    let first = old.serial(&old.register(store));
    let new = site.device("b", "gateway").proposing("G-1");
    assert_eq!(code(&new.register(store)), (403, "serial-taken".to_owned()));
    let unknown = store.proxy(&["serials", "reissue", "acme/gateway/G-9"]).refused();
    assert!(unknown.contains("was not given out"), "{unknown}");
    // Sessions of a brand are checked once its store is known.
    let snap = site.world.snap("acme-one").publisher("acme");
    store.push_pair(&snap.revision(1), &["latest/stable"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&snap]);
    let mut before = Device::new(store, Snapd::V2_77, &old.identity(&old.register(store)));
    let mut later = Device::new(store, Snapd::V2_77, &old.identity(&old.register(store)));
    assert!(before.find("hello").is_ok());
    let reissued = store.proxy(&["serials", "reissue", "acme/gateway/G-1"]).ok();
    assert!(!reissued.contains(old.key.public().id()), "{reissued}");
    // From then on the old board has neither its session, nor a new one, nor the serial again.
    for device in [&mut before, &mut later] {
        let refused = device.find("hello").expect_err("it was taken").to_string();
        assert!(refused.contains("took the serial from this device"), "{refused}");
    }
    assert_eq!(code(&old.register(store)), (403, "serial-taken".to_owned()));
    let second = new.serial(&new.register(store));
    assert_eq!((second.text("serial"), first.revision(), second.revision()), (Some("G-1"), 0, 1));
    assert_eq!(new.serial(&new.register(store)), second);
    let mut after = Device::new(store, Snapd::V2_77, &new.identity(&new.register(store)));
    until("the new board is served", || after.find("hello").is_ok());
    // Nor does the old board take it along to another model.
    let _ = store.proxy(&["models", "allow-remodel", "acme/gateway", "acme/hub"]).ok();
    let moved = |name: &str, was| site.remodel(&site.device(name, "hub"), was, |request| request);
    assert_eq!(code(&moved("a", &first)), (403, "original".to_owned()));
    assert_eq!(site.device("b", "hub").serial(&moved("b", &second)).text("serial"), Some("G-1"));
    // Once.
    let third = site.device("c", "gateway").proposing("G-1");
    for device in [&old, &third] {
        assert_eq!(code(&device.register(store)), (403, "serial-taken".to_owned()));
    }
    let events = store.proxy(&["audit", "--json"]).json_lines();
    assert_eq!(
        events.iter().filter(|event| event["what"] == "reissue-serial" && event["outcome"] == "done").count(),
        1
    );
}
