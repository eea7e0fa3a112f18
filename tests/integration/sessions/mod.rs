//! Device sessions: what buys one, what does not, and how long one is good.

pub(crate) mod restart;
mod tokens;

use std::collections::BTreeMap;

use tests::device::session::{read_session, session_request, session_request_of};
use tests::device::{Device, Snapd};
use tests::http::Response;
use tests::server::{Server, Setup};
use tests::world::{Brand, Identity, World};

/// A brand with a store of its own, one snap in it, and one device.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) brand: Brand,
    pub(crate) identity: Identity,
    pub(crate) store: Server,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::on(Setup::default())
    }

    pub(crate) fn on(setup: Setup) -> Self {
        let world = World::new();
        let brand = world.brand("acme");
        let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
        let store = setup.start();
        store.trust(&world);
        let hello = world.snap("hello").publisher("acme").payload(200_000);
        store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
        store.push_store("AcmeStore", "acme", &[&hello]);
        store.push_brand(&brand);
        Self { world, brand, identity, store }
    }

    pub(crate) fn device(&self) -> Device {
        Device::new(&self.store, Snapd::V2_77, &self.identity).trusting(&self.world)
    }

    /// Posts a triple for this nonce and these documents.
    fn post(&self, identity: &Identity, nonce: &str) -> Response {
        let device = self.device();
        let triple = device.triple(&session_request(identity, nonce), identity);
        self.store.send(&device.session_post(&triple))
    }
}

/// Neither a session nor our fault.
pub(crate) fn assert_refused(response: &Response, what: &str) {
    assert!(matches!(response.status, 400 | 403), "{what}: {response:?}");
    assert!(read_session(response).is_err(), "{what}: {response:?}");
}

#[test]
fn a_repeated_request_gets_the_same_session() {
    let scene = Scene::new();
    let device = scene.device();
    let nonce = device.nonce().expect("a nonce");
    let triple = device.triple(&session_request(&scene.identity, &nonce), &scene.identity);
    let first = read_session(&scene.store.send(&device.session_post(&triple))).expect("a session");
    for _ in 0..5 {
        let again = read_session(&scene.store.send(&device.session_post(&triple))).expect("the same session");
        assert_eq!(again, first);
    }
    // The previous session that a renewal sends along is a hint, not part of the request.
    let mut renewing = scene.device();
    renewing.session = Some(first.clone());
    assert_eq!(read_session(&scene.store.send(&renewing.session_post(&triple))), Ok(first));
}

#[test]
fn a_nonce_buys_one_session() {
    let scene = Scene::new();
    let device = scene.device();
    let nonce = device.nonce().expect("a nonce");
    read_session(&scene.post(&scene.identity, &nonce)).expect("a session");
    let other = session_request_of(&scene.identity, &nonce).header("timestamp", "2026-11-20T18:00:00Z");
    let triple = device.triple(&other.sign(&scene.identity.key), &scene.identity);
    assert_refused(&scene.store.send(&device.session_post(&triple)), "a spent nonce with another request");
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    assert_refused(&scene.post(&sibling, &nonce), "a spent nonce with another device");
}

#[test]
fn of_many_at_once_one_wins() {
    let scene = Scene::new();
    let device = scene.device();
    for round in 0..5 {
        let nonce = device.nonce().expect("a nonce");
        let posts: Vec<_> = (0..8)
            .map(|second| {
                let time = format!("2026-11-20T18:00:{second:02}Z");
                let request = session_request_of(&scene.identity, &nonce).header("timestamp", time);
                device.session_post(&device.triple(&request.sign(&scene.identity.key), &scene.identity))
            })
            .collect();
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let threads: Vec<_> = posts.iter().map(|post| scope.spawn(|| scene.store.send(post))).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        let won = answers.iter().filter(|answer| read_session(answer).is_ok()).count();
        assert_eq!(won, 1, "round {round}: {answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400 | 403)), "{answers:?}");
    }
}

#[test]
fn a_nonce_that_was_not_issued_here_buys_nothing() {
    let scene = Scene::new();
    let nonce = scene.device().nonce().expect("a nonce");
    let other_store = Setup::default()
        .config("proxy.device-auth.secret", "/////////////////////////////////////////w8=")
        .start();
    let foreign = Device::anonymous(&other_store, Snapd::V2_77).nonce().expect("a nonce of another store");
    assert_refused(&scene.post(&scene.identity, &foreign), "a nonce of another store");
    for (place, old) in nonce.char_indices() {
        let new = if old == 'A' { 'B' } else { 'A' };
        let forged = format!("{}{new}{}", &nonce[..place], &nonce[place + 1..]);
        assert_refused(&scene.post(&scene.identity, &forged), &format!("{forged} for {nonce}"));
    }
    for odd in ["1788250000:837261", "x", &nonce[1..], &format!("{nonce}A"), &nonce.to_lowercase()] {
        assert_refused(&scene.post(&scene.identity, odd), odd);
    }
    read_session(&scene.post(&scene.identity, &nonce)).expect("the real one is still good");
}

#[test]
fn documents_that_do_not_belong_together_buy_nothing() {
    let scene = Scene::new();
    let (brand, identity) = (&scene.brand, &scene.identity);
    let device = scene.device();
    let other_model = brand.model_in("other", "AcmeStore");
    let other_key = brand.device_key("SN-9");
    let stranger = World::rooted("stranger").brand("acme");
    let serial = |model: &str, name: &str| brand.serial_of(model, name).sign(&brand.serial_key());

    let mut cases: BTreeMap<&str, (Identity, Identity)> = BTreeMap::new();
    let mut case = |name, signs: &Identity, shows: Identity| cases.insert(name, (signs.clone(), shows));
    case(
        "a serial of another model",
        identity,
        Identity { serial: serial("other", "SN-1"), ..identity.clone() },
    );
    case("another model", identity, Identity { model: other_model, ..identity.clone() });
    case("another serial", identity, Identity { serial: serial("gateway", "SN-7"), ..identity.clone() });
    case("a request by another key", &Identity { key: other_key, ..identity.clone() }, identity.clone());
    let forged = brand.serial_of("gateway", "SN-1").sign(&stranger.serial_key());
    case("a serial by a stranger's key", identity, Identity { serial: forged, ..identity.clone() });
    let forged = stranger.model_of("gateway").header("store", "AcmeStore").sign(&stranger.model_key());
    case("a model by a stranger's key", identity, Identity { model: forged, ..identity.clone() });
    let forged =
        brand.serial_of("gateway", "SN-1").header("authority-id", "stranger").sign(&brand.serial_key());
    case(
        "a serial that the model lets nobody sign",
        identity,
        Identity { serial: forged, ..identity.clone() },
    );

    for (what, (signs, shows)) in &cases {
        let nonce = device.nonce().expect("a nonce");
        let triple = device.triple(&session_request(signs, &nonce), shows);
        assert_refused(&scene.store.send(&device.session_post(&triple)), what);
    }
    for (what, body) in [
        ("nothing", &b""[..]),
        ("no JSON", b"type: model"),
        ("too little", b"{\"serial-assertion\": \"\"}"),
        (
            "wrong types",
            b"{\"device-session-request\": 1, \"model-assertion\": [], \"serial-assertion\": null}",
        ),
    ] {
        assert_refused(&scene.store.send(&device.session_post(body)), what);
    }
}

#[test]
fn the_clock_of_a_device_decides_nothing() {
    let scene = Scene::new();
    let device = scene.device();
    for time in ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "2026-01-01T00:00:00+14:00"] {
        let nonce = device.nonce().expect("a nonce");
        let request =
            session_request_of(&scene.identity, &nonce).header("timestamp", time).sign(&scene.identity.key);
        let answer = scene.store.send(&device.session_post(&device.triple(&request, &scene.identity)));
        read_session(&answer).unwrap_or_else(|trouble| panic!("{time}: {trouble}"));
    }
}

#[test]
fn a_device_of_an_unknown_brand_gets_a_session_of_global_scope() {
    let scene = Scene::new();
    scene.store.push_pair(&scene.world.snap("public").revision(1), &["latest/stable"], "ubuntu");
    let elsewhere = World::rooted("elsewhere").brand("generic");
    let identity = elsewhere.device(&elsewhere.model_in("generic-classic", "AcmeStore"), "g-1");
    let mut device = Device::new(&scene.store, Snapd::V2_57, &identity);
    device.info("public").expect("what is public");
    assert!(device.session.is_some());
    assert!(device.info("hello").is_err(), "its model names a store, its brand has none");

    // Its request is checked all the same.
    let forged = Identity { key: elsewhere.device_key("g-2"), ..identity };
    let nonce = device.nonce().expect("a nonce");
    assert_refused(&scene.post(&forged, &nonce), "signed by another key than the serial's");
}

#[test]
fn a_serial_of_a_listed_authority_is_good_for_that_model_only() {
    let scene = Scene::new();
    let brand = &scene.brand;
    let partner = scene.world.brand("partner");
    scene.store.push_brand(&partner);
    let listed = brand
        .model_of("gateway")
        .header("store", "AcmeStore")
        .header("serial-authority", vec!["partner"])
        .sign(&brand.model_key());
    let by_partner =
        brand.serial_of("gateway", "SN-1").header("authority-id", "partner").sign(&partner.serial_key());
    let good = Identity { model: listed, serial: by_partner, ..scene.identity.clone() };
    let nonce = scene.device().nonce().expect("a nonce");
    read_session(&scene.post(&good, &nonce)).expect("the model lists the partner");
    let unlisted = Identity { model: scene.identity.model.clone(), ..good };
    let nonce = scene.device().nonce().expect("a nonce");
    assert_refused(&scene.post(&unlisted, &nonce), "this model does not list the partner");
}
