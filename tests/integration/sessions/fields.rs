//! Each field of the three assertions changed alone, with or without a new signature: none buys a session (C4).

use schema::assertion::Assertion;
use tests::device::session::{session_request, session_request_of};
use tests::world::Identity;

use super::{Scene, assert_refused};

#[test]
fn attack_every_field_altered_alone_buys_nothing() {
    let scene = Scene::new();
    let device = scene.device();
    let mut tried = 0;
    let documents = ["the request", "the serial", "the model"];
    for (place, document) in documents.iter().enumerate() {
        let nonce = device.nonce().expect("a nonce");
        let request = session_request(&scene.identity, &nonce);
        let texts = [&request, &scene.identity.serial, &scene.identity.model]
            .map(|document: &Assertion| String::from_utf8_lossy(document.bytes()).into_owned());
        let lines: Vec<&str> = texts[place].split('\n').collect();
        for (number, line) in lines.iter().enumerate() {
            // One letter of each line: names, values, keys, the signature.
            for at in [0, line.find(": ").map_or(0, |colon| colon + 2), line.len().saturating_sub(1)] {
                let Some(letter) = line.get(at..).and_then(|rest| rest.chars().next()) else { continue };
                let other = if letter == 'x' { 'y' } else { 'x' };
                let mut altered: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                altered[number].replace_range(at..at + letter.len_utf8(), &other.to_string());
                let mut triple = texts.clone();
                triple[place] = altered.join("\n");
                let body = serde_json::json!({"device-session-request": triple[0], "serial-assertion": triple[1],
                    "model-assertion": triple[2]});
                let answer = scene.store.send(&device.session_post(body.to_string().as_bytes()));
                assert_refused(
                    &answer,
                    &format!("{document}, line {number} altered at {at}: {:?}", altered[number]),
                );
                tried += 1;
            }
        }
    }
    println!("{tried} documents altered by one letter");
    assert!(tried > 100, "{tried}");
}

#[test]
fn attack_fields_that_differ_are_refused_though_rightly_signed() {
    let scene = Scene::new();
    let (brand, identity) = (&scene.brand, &scene.identity);
    let device = scene.device();
    let partner = scene.world.brand("partner");
    scene.store.push_brand(&partner);
    let refuse = |what: &str, change: &dyn Fn(&str) -> (Assertion, Identity)| {
        let nonce = device.nonce().expect("a nonce");
        let (request, shows) = change(&nonce);
        let answer = scene.store.send(&device.session_post(&device.triple(&request, &shows)));
        assert_refused(&answer, what);
    };
    // The request says another value, and is signed by the device.
    for (field, value) in [("brand-id", "partner"), ("model", "other"), ("serial", "SN-2"), ("nonce", "AAAA")]
    {
        refuse(&format!("a request with another {field}"), &|nonce| {
            let request = session_request_of(identity, nonce).header(field, value);
            (request.sign(&identity.key), identity.clone())
        });
    }
    // The serial says another value, and is signed by whoever it should be.
    let serials = [
        ("another brand", partner.serial_of("gateway", "SN-1").sign(&partner.serial_key())),
        ("another model", brand.serial_of("other", "SN-1").sign(&brand.serial_key())),
        ("another serial", brand.serial_of("gateway", "SN-2").sign(&brand.serial_key())),
        ("another key", {
            let key = brand.device_key("SN-9");
            let document = brand.serial_of("gateway", "SN-1").header("device-key", key.public().encode());
            document.header("device-key-sha3-384", key.public().id()).sign(&brand.serial_key())
        }),
        ("another authority", {
            let document = brand.serial_of("gateway", "SN-1").header("authority-id", "partner");
            document.sign(&partner.serial_key())
        }),
        ("the key for models", brand.serial_of("gateway", "SN-1").sign(&partner.model_key())),
    ];
    for (what, serial) in serials {
        refuse(&format!("a serial of {what}"), &|nonce| {
            (session_request(identity, nonce), Identity { serial: serial.clone(), ..identity.clone() })
        });
    }
    // The model says another value.
    let models = [
        ("another brand", partner.model_in("gateway", "AcmeStore")),
        ("another name", brand.model_in("other", "AcmeStore")),
        ("a brand that did not sign it", brand.model_of("gateway").sign(&partner.model_key())),
    ];
    for (what, model) in models {
        refuse(&format!("a model of {what}"), &|nonce| {
            (session_request(identity, nonce), Identity { model: model.clone(), ..identity.clone() })
        });
    }
    // The documents in each other's places.
    let nonce = device.nonce().expect("a nonce");
    let request = session_request(identity, &nonce);
    let texts = [&request, &identity.serial, &identity.model]
        .map(|document: &Assertion| String::from_utf8_lossy(document.bytes()).into_owned());
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 0, 2], [0, 1, 1]] {
        let body = serde_json::json!({"device-session-request": texts[order[0]], "serial-assertion": texts[order[1]],
            "model-assertion": texts[order[2]]});
        let answer = scene.store.send(&device.session_post(body.to_string().as_bytes()));
        assert_refused(&answer, &format!("documents in the order {order:?}"));
    }
    let body = device.triple(&request, identity);
    assert_eq!(scene.store.send(&device.session_post(&body)).status, 200, "as they belong");
}
