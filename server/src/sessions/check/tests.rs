//! Every session triple of the test vectors, with its expected verdict.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use schema::assertion::{Anchors, AssertionType, Builder, SigningKey};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;
use crate::storage::records::{Snapshot, StoreRecord};

fn read(file: &str) -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/assertions");
    fs::read_to_string(fixtures.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn decode(file: &str) -> Assertion {
    Assertion::decode(read(file).as_bytes()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn files(manifest: &Value, list: &str) -> Vec<String> {
    let list = manifest[list].as_array().expect("a list of files");
    list.iter().map(|file| file.as_str().expect("a file").to_owned()).collect()
}

/// The database of the vectors, all of whose brands have a store here.
fn catalog(manifest: &Value, more: &[&str]) -> Catalog {
    let mut held = files(manifest, "database");
    held.extend(more.iter().map(|file| (*file).to_owned()));
    let store = |brand: &str| StoreRecord {
        store_id: format!("store-of-{brand}").parse().unwrap(),
        brand_id: brand.into(),
        name: brand.into(),
        parent: None,
        grants: Vec::new(),
        document: "{}".into(),
    };
    let snapshot = Snapshot {
        assertions: held.iter().map(|file| (&decode(file)).into()).collect(),
        stores: ["acme-corp", "OtherBrandOtherBrandOtherBrand01", "generic"].map(store).into(),
        ..Snapshot::default()
    };
    let mut catalog = Catalog::compile(snapshot, "http://store.test", None).expect("a catalog");
    let roots = files(manifest, "trusted").iter().map(|file| decode(file)).collect();
    let known = files(manifest, "predefined").iter().map(|file| decode(file)).collect();
    let anchors = Anchors::none().with(roots).and_then(|anchors| anchors.with_predefined(known));
    catalog.anchors = Arc::new(anchors.expect("anchors"));
    catalog
}

#[test]
fn every_session_triple_gets_its_verdict() {
    let manifest: Value = serde_json::from_str(&read("manifest.json")).expect("the manifest");
    let at = manifest["evaluation_time"].as_str().expect("a time");
    let now = OffsetDateTime::parse(at, &Rfc3339).expect("a time");
    let usual = catalog(&manifest, &[]);
    let reissued = catalog(&manifest, &["serials/a-2048-rev1.serial.assert"]);
    let triples = manifest["session_triples"].as_array().expect("triples");
    let (mut wrong, remembered) = (Vec::new(), Documents::none());
    for triple in triples {
        let file = |key: &str| read(triple[key].as_str().expect("a file"));
        let request = SessionRequest {
            device_session_request: file("request"),
            serial_assertion: file("serial"),
            model_assertion: file("model"),
        };
        let issued = triple["issued_nonce"].as_str().expect("a nonce");
        let spent = triple["nonce_already_spent"].as_bool().expect("a flag");
        let open_nonce = |nonce: &str| {
            let good = nonce == issued && !spent;
            let nonce = Nonce { epoch: 1, expires: u64::MAX, random: [0; 12] };
            good.then_some(nonce).ok_or_else(|| "not this one".to_owned())
        };
        let expected = triple["failing_check"].as_str().unwrap_or("accepted");
        let catalog = if expected == "serial-superseded" { &reissued } else { &usual };
        let verdict = |remembered: &Documents| match check(
            &request,
            digest_of(&request),
            catalog,
            open_nonce,
            Some(now),
            remembered,
        ) {
            Ok(_) => "accepted",
            Err(refusal) => refusal.check().name(),
        };
        // What is remembered of others, and of this one, changes no verdict.
        let (fresh, verdict) = (verdict(&Documents::none()), [verdict(&remembered), verdict(&remembered)]);
        if verdict != [fresh; 2] {
            wrong.push(format!("{}: {fresh} at first, {verdict:?} later", triple["name"]));
        }
        let verdict = fresh;
        // The manifest's own note allows rejecting shapes that no client produces.
        let stricter = verdict == "request-signature"
            && triple["note"].as_str().is_some_and(|note| note.contains("a stricter server may refuse"));
        if verdict != expected && !stricter {
            wrong.push(format!("{}: {verdict} instead of {expected}", triple["name"]));
        }
    }
    println!("{} session triples, {} matched", triples.len(), triples.len() - wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(triples.len() >= 99, "the manifest lost triples");
}

#[test]
fn an_expired_signing_key_locks_nobody_out_unless_the_operator_says_so() {
    let manifest: Value = serde_json::from_str(&read("manifest.json")).expect("the manifest");
    let catalog = catalog(&manifest, &[]);
    let triples = manifest["session_triples"].as_array().expect("triples");
    let late = triples.iter().filter(|triple| {
        triple["failing_check"].as_str().is_some_and(|check| check.ends_with("-key-expired-now"))
    });
    let mut count = 0;
    for triple in late {
        let file = |key: &str| read(triple[key].as_str().expect("a file"));
        let request = SessionRequest {
            device_session_request: file("request"),
            serial_assertion: file("serial"),
            model_assertion: file("model"),
        };
        let nonce = |_: &str| Ok(Nonce { epoch: 1, expires: u64::MAX, random: [0; 12] });
        assert!(
            check(&request, digest_of(&request), &catalog, nonce, None, &Documents::none()).is_ok(),
            "{}",
            triple["name"]
        );
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn a_brand_without_a_store_here_gets_a_session_of_global_scope() {
    let manifest: Value = serde_json::from_str(&read("manifest.json")).expect("the manifest");
    let nobody = Catalog::compile(Snapshot::default(), "http://store.test", None).expect("a catalog");
    let request = |request: &str| SessionRequest {
        device_session_request: read(request),
        serial_assertion: read("serials/a-2048.serial.assert"),
        model_assertion: read("models/edge-gw.model.assert"),
    };
    let nonce = |_: &str| Ok(Nonce { epoch: 1, expires: u64::MAX, random: [0; 12] });
    let verdict =
        |asked: &SessionRequest| check(asked, digest_of(asked), &nobody, nonce, None, &Documents::none());
    let good = verdict(&request("sessions/ok-a-2048.dsr.assert"));
    let good = good.expect("a session");
    assert!(!good.verified);
    assert_eq!(good.store.as_deref(), Some("acme-edge-store"), "it is told, and shows the device nothing");
    // Its own key is checked nevertheless.
    let forged = manifest["session_triples"].as_array().expect("triples").iter().find(|triple| {
        triple["failing_check"] == "request-signature" && triple["serial"] == "serials/a-2048.serial.assert"
    });
    let forged = forged.expect("a forged request")["request"].as_str().expect("a file");
    let refused = verdict(&request(forged));
    assert_eq!(refused.map(drop).map_err(|refusal| refusal.check().name()), Err("request-signature"));
}

#[test]
fn a_serial_is_superseded_by_a_newer_one_with_another_key() {
    let key = |name: &str| {
        SigningKey::from_pkcs8_pem(&read(&format!("keys/{name}.pem"))).expect("a key of the vectors")
    };
    let (device, other, brand) = (key("device-a-2048"), key("device-x-2048"), key("brand-serial"));
    let serial = |revision: u32, key: &SigningKey| {
        let presented = decode("serials/a-2048.serial.assert");
        let mut builder = Builder::new(AssertionType::Serial).revision(revision);
        for name in ["authority-id", "brand-id", "model", "serial", "timestamp"] {
            builder = builder.header(name, presented.text(name).expect("it has one"));
        }
        let key = key.public();
        builder.header("device-key", key.encode()).header("device-key-sha3-384", key.id()).sign(&brand)
    };
    let presented = serial(1, &device);
    let model = decode("models/edge-gw.model.assert");
    let enrolled = Enrolled::of(&Pair::of(&presented, &model).expect("a serial and a model"));
    for (held, superseded) in [
        (None, false),
        (Some(serial(0, &other)), false),
        (Some(serial(1, &device)), false),
        (Some(serial(1, &other)), false),
        (Some(serial(2, &device)), false),
        (Some(serial(2, &other)), true),
    ] {
        let what = format!("{held:?}");
        let assertions = held.iter().map(Into::into).collect();
        let snapshot = Snapshot { assertions, ..Snapshot::default() };
        let catalog = Catalog::compile(snapshot, "http://store.test", None).expect("a catalog");
        assert_eq!(not_superseded(&enrolled, &catalog).is_err(), superseded, "{what}");
    }
}

#[test]
fn a_key_that_is_over_now_is_told_from_one_that_was_over_then() {
    let at = |second: i64| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second);
    let named = |signed_at: i64, until: Option<i64>| {
        let problem = Problem::KeyNotValidNow { key_id: "k".into(), since: at(10), until: until.map(at) };
        let reference = Ref { kind: AssertionType::Model, key: Vec::new() };
        brand_refusal(&MODEL, at(signed_at), &CheckError { reference, revision: 0, problem }).check().name()
    };
    for (signed_at, until, expected) in [
        (9, Some(20), "model-key-time"),
        (10, Some(20), "model-key-expired-now"),
        (19, Some(20), "model-key-expired-now"),
        (20, Some(20), "model-key-time"),
        (10, None, "model-key-expired-now"),
    ] {
        assert_eq!(named(signed_at, until), expected, "signed at {signed_at}, good until {until:?}");
    }
}

#[test]
fn a_refusal_says_what_failed_and_whose_fault_it_is() {
    let decode = SessionRefusal::decode("it is not text".into());
    assert_eq!(decode.to_string(), "cannot give this device a session: it is not text");
    assert!(decode.is_malformed() && SessionRefusal::replayed().is_malformed());
    assert!(SessionRefusal::replayed().to_string().contains("ask for a new one"));
    assert!(!SessionRefusal::new(Check::ModelSignature, "x").is_malformed());
}

impl Enrolled {
    /// What the documents of one device say.
    pub(crate) fn any() -> Arc<Self> {
        let document = |name: &str| Assertion::decode(read(name).as_bytes()).expect("a document");
        let (serial, model) =
            (document("serials/a-2048.serial.assert"), document("models/edge-gw.model.assert"));
        Arc::new(Self::of(&Pair::of(&serial, &model).expect("a serial and a model")))
    }
}
