//! The server dies, or its database fails, while it gives out a serial: the device starts over, as snapd does, and gets the
//! serial that it was given, or that was reserved for it. Nobody ever has two.

use tests::factory::Newborn;
use tests::http::exchange;
use tests::server::Server;

use super::scene::{Engine, Scene};

/// The serials that a store gave out or reserved.
fn held(store: &Server) -> Vec<String> {
    let list = store.proxy(&["serials", "list", "--json"]).json();
    let all = list["serials"].as_array().expect("a list").iter();
    all.map(|serial| serial["device"].as_str().expect("a device").to_owned()).collect()
}

#[test]
fn attack_a_device_has_one_serial_through_every_fault() {
    let scene = Scene::new(Engine::Sqlite);
    let prepared = scene.place();
    let store = prepared.start();
    store.make_key(&scene.world, "factory-1", "acme");
    let _ = store.proxy(&["models", "add", "acme/hub", "--key", "factory-1", "--serial", "assigned"]).ok();
    let _ = store.stop();
    let device =
        Newborn::new(&scene.world.brand("acme").model_in("hub", "AcmeStore"), scene.world.key("device-a"));
    let (mut points, mut kept) = (0, 0);
    for fault in ["step", "fail"] {
        for step in 1.. {
            let place = scene.place_like(&prepared.data());
            let doomed = place.start_doomed();
            let documents = device.documents(&device.id(&doomed));
            let request = device.request(&doomed, &documents);
            place.arm(&format!("{fault}:{step}"));
            let answer = exchange(doomed.address, &request);
            let when = format!("{fault} at step {step}");
            let given = answer
                .as_ref()
                .ok()
                .filter(|answer| answer.status == 200)
                .map(|answer| device.serial(answer));
            if let (Ok(answer), None) = (&answer, &given) {
                assert_eq!(answer.status, 503, "{when}: {answer:?}");
            }
            let _ = if answer.is_ok() { doomed.kill() } else { doomed.wait() };
            if place.fired().is_none() {
                assert!(given.is_some(), "{when}");
                break;
            }
            points += 1;
            let store = place.start();
            let before = held(&store);
            assert!(before.len() <= 1, "{when}: {before:?}");
            let serial = device.serial(&device.register(&store));
            if let Some(given) = given {
                assert_eq!(given, serial, "{when}");
            }
            if let Some(reserved) = before.first() {
                kept += 1;
                assert_eq!(
                    Some(reserved.as_str()),
                    serial.text("serial").map(|name| format!("acme/hub/{name}")).as_deref(),
                    "{when}"
                );
            }
            assert_eq!(held(&store).len(), 1, "{when}");
        }
    }
    println!("{points} points of a registration, after {kept} of them its serial was there");
    assert!(points >= 8 && kept >= 4, "only {points} points, {kept} with a serial");
}
