//! Compares our verdicts on the test vectors with those of real signing and checking code.
//!
//! `tests/fixtures/assertions/README.md` describes the files. Each test prints how many entries it checked; entries
//! where we differ on purpose are listed with the reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use super::fixtures::*;
use super::*;
use crate::digest::Sha3_384;

/// Prints the count and fails when something differs.
fn report(what: &str, entries: usize, differences: &[String]) {
    println!("{what}: {entries} entries, {} matched", entries - differences.len());
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    assert!(entries > 0, "{what}: nothing was tested");
}

#[test]
fn every_decode_verdict_is_matched() {
    // An empty input is a valid empty stream, but not an assertion.
    const EMPTY_IS_A_STREAM: &str = "malformed/02-empty-file.assert";
    let manifest = manifest();
    let mut differences = Vec::new();
    for entry in &manifest.assertions {
        let bytes = read(&entry.file);
        let stream = Assertion::decode_stream(&bytes);
        let stream_expected = entry.decodes() || entry.file == EMPTY_IS_A_STREAM;
        if stream.is_ok() != stream_expected {
            differences.push(format!("{}: as a stream {stream:?}", entry.file));
        }
        if !entry.is_stream() {
            let single = Assertion::decode(&bytes);
            if single.is_ok() != entry.decodes() {
                differences.push(format!("{}: {single:?}", entry.file));
            }
        } else if let (Some(count), Ok(stream)) = (entry.stream_count, stream)
            && stream.len() != count
        {
            differences.push(format!("{}: {} assertions in the stream", entry.file, stream.len()));
        }
    }
    report("decode", manifest.assertions.len(), &differences);
}

#[test]
fn every_decoded_value_is_matched() {
    let manifest = manifest();
    let (mut entries, mut differences) = (0, Vec::new());
    for entry in manifest.assertions.iter().filter(|entry| entry.decodes() && !entry.is_stream()) {
        entries += 1;
        let assertion = decode(&entry.file);
        let (key, device_key) = match assertion.details() {
            Details::AccountKey(key) => (Some(key.public_key.id().to_owned()), None),
            Details::AccountKeyRequest(key) => (Some(key.public_key.id().to_owned()), None),
            Details::Serial(serial) => (None, Some(serial.device_key.id().to_owned())),
            Details::SerialRequest(request) => (None, Some(request.device_key.id().to_owned())),
            _ => (None, None),
        };
        let expected_key = entry.primary_key.clone().unwrap_or_default();
        let same = Some(assertion.kind().name()) == entry.r#type.as_deref()
            && assertion.reference().key == expected_key
            && assertion.authority_id() == entry.authority_id.as_deref()
            && assertion.revision() == entry.revision
            && assertion.format() == entry.format
            && assertion.body().len() == entry.body_length
            && Some(assertion.sign_key_id()) == entry.sign_key_id.as_deref()
            && key == entry.public_key_id
            && device_key == entry.device_key_id
            && Some(Sha3_384::of(assertion.content()).to_base64url()) == entry.content_sha3_384;
        if !same {
            differences.push(format!("{}: {assertion:?}", entry.file));
        }
    }
    report("decoded values", entries, &differences);
}

#[test]
fn decoded_bytes_are_the_bytes_of_the_file() {
    // These end without the final line feed that every stored assertion has, or with a blank line too many.
    const OTHER_END: [&str; 2] =
        ["sessions/sig-no-final-newline.dsr.assert", "malformed/51-trailing-blank-line.assert"];
    let manifest = manifest();
    let (mut entries, mut differences) = (0, Vec::new());
    for entry in manifest.assertions.iter().filter(|entry| entry.decodes() && !entry.is_stream()) {
        entries += 1;
        let (assertion, file) = (decode(&entry.file), read(&entry.file));
        let again = Assertion::decode(assertion.bytes()).expect("what was decoded decodes again");
        let trimmed = [file.trim_ascii_end(), b"\n"].concat();
        let same = if OTHER_END.contains(&entry.file.as_str()) { file != trimmed } else { file == trimmed };
        if !same || assertion.bytes() != trimmed || again != assertion {
            differences.push(entry.file.clone());
        }
    }
    report("bytes kept", entries, &differences);
}

/// The name that the manifest gives to a stage.
fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Anchored => "anchored",
        Stage::Format => "format",
        Stage::SigningKey => "signing-key",
        Stage::KeyTime => "key-time",
        Stage::Constraints | Stage::Signature => "signature",
        Stage::Timestamp => "timestamp",
        Stage::Consistency => "consistency",
    }
}

#[test]
fn every_check_verdict_and_stage_is_matched() {
    let manifest = manifest();
    let anchors = anchors(&manifest);
    let source = Known::of(decode_all(&manifest.database));
    let time = KeyTime::Strict { now: evaluation_time(&manifest) };
    let checker = Checker { anchors: &anchors, source: &source, time };
    let (mut entries, mut differences) = (0, Vec::new());
    for entry in manifest.assertions.iter().filter(|entry| entry.decodes() && !entry.is_stream()) {
        entries += 1;
        let assertion = decode(&entry.file);
        let verdict = match assertion.details() {
            // Signed by the key it carries; a server checks it without the database.
            Details::SerialRequest(request) => {
                assertion.verify_with(&request.device_key).map_err(|_| "signature".to_owned())
            }
            _ => checker.check(&assertion).map(drop).map_err(|error| stage_name(error.stage()).to_owned()),
        };
        let expected = match (entry.db_check.as_str(), entry.rejected_at.as_deref()) {
            ("ok", None) => Ok(()),
            // A weak device key: the serial is well signed, but the key must not be used.
            ("ok", Some("policy")) => match assertion.details() {
                Details::Serial(serial) if serial.device_key.check_strength().is_err() => Ok(()),
                _ => Err("policy".to_owned()),
            },
            ("reject", Some(stage)) => Err(stage.to_owned()),
            // Types without such a check.
            ("n/a", None) => Err("format".to_owned()),
            other => panic!("{}: unknown verdict {other:?}", entry.file),
        };
        if verdict != expected {
            differences.push(format!("{}: {verdict:?} instead of {expected:?}", entry.file));
        }
    }
    report("check", entries, &differences);
}

#[test]
fn by_default_a_key_is_judged_at_the_document_time() {
    let manifest = manifest();
    let anchors = anchors(&manifest);
    let source = Known::of(decode_all(&manifest.database));
    let checker = Checker { anchors: &anchors, source: &source, time: KeyTime::DocumentTime };
    let cases = [
        ("models/edge-old-expired-key.model.assert", None),
        ("serials-bad/expired-key.serial.assert", None),
        ("serials-bad/expired-key-late.serial.assert", Some(Stage::Timestamp)),
        ("serials-bad/revoked-key.serial.assert", Some(Stage::KeyTime)),
        ("serials-bad/future-key.serial.assert", Some(Stage::Timestamp)),
        ("serials-bad/timestamp-before-key.serial.assert", Some(Stage::Timestamp)),
    ];
    let listed: BTreeSet<_> = cases.iter().map(|(file, _)| *file).collect();
    let timed = |entry: &&Entry| matches!(entry.rejected_at.as_deref(), Some("key-time" | "timestamp"));
    let all: BTreeSet<_> =
        manifest.assertions.iter().filter(timed).map(|entry| entry.file.as_str()).collect();
    assert_eq!(listed, all, "all entries that depend on time are listed");
    let mut differences = Vec::new();
    for (file, expected) in cases {
        let stage = checker.check(&decode(file)).err().map(|error| error.stage());
        if stage != expected {
            differences.push(format!("{file}: {stage:?} instead of {expected:?}"));
        }
    }
    report("document time", cases.len(), &differences);
}

#[test]
fn every_key_is_matched() {
    let manifest = manifest();
    let mut differences = Vec::new();
    for key in &manifest.keys {
        let public = PublicKey::decode(&key.encoded_public_key).expect("the manifest holds encoded keys");
        let pem = String::from_utf8(read(&key.file)).expect("a PEM file is text");
        let private = SigningKey::from_pkcs8_pem(&pem);
        let same = public.id() == key.key_id
            && public.bits() == key.bits
            && public.encode() == key.encoded_public_key;
        let usable = key.bits >= 2048;
        let same_pair = match &private {
            Ok(private) => usable && *private.public() == public,
            Err(error) => !usable && *error == SigningKeyError::Rejected,
        };
        if !same || !same_pair || public.check_strength().is_ok() != usable {
            differences.push(format!("{}: {public:?}, {private:?}", key.file));
        }
    }
    report("keys", manifest.keys.len(), &differences);
    let curve = String::from_utf8(read("keys/hwid-p256.pem")).expect("a PEM file is text");
    assert!(matches!(SigningKey::from_pkcs8_pem(&curve), Err(SigningKeyError::Rejected)));
}

#[test]
fn what_we_sign_verifies_and_is_canonical() {
    // Valid, but not how a current signer would write it.
    const NOT_CANONICAL: [&str; 6] = [
        "wellformed/body-length-zero-extra-separator.assert",
        "wellformed/explicit-defaults.assert",
        "wellformed/nested-values.assert",
        "wellformed/non-canonical-order.assert",
        "snaps/explicit-default-provenance.snap-revision.assert",
        "snaps/revision-plus-sign.snap-revision.assert",
    ];
    let manifest = manifest();
    let (mut entries, mut differences) = (0, Vec::new());
    for entry in manifest.assertions.iter().filter(|entry| entry.decodes() && !entry.is_stream()) {
        let Some(key) = &entry.sign_key_file else {
            continue;
        };
        let pem = String::from_utf8(read(key)).expect("a PEM file is text");
        let Ok(key) = SigningKey::from_pkcs8_pem(&pem) else {
            continue;
        };
        entries += 1;
        let original = decode(&entry.file);
        let mut builder = Builder::new(original.kind())
            .body(original.body())
            .revision(original.revision())
            .format(original.format());
        for (name, value) in original.headers().iter() {
            let by_builder =
                ["type", "format", "revision", "body-length", "sign-key-sha3-384"].contains(&name);
            // A default that the decoder filled in.
            let filled_in =
                name == "provenance" && !original.content().windows(13).any(|text| text == b"\nprovenance: ");
            if !by_builder && !filled_in {
                builder = builder.header(name, value.clone());
            }
        }
        let canonical = builder.content(original.sign_key_id()) == original.content();
        let verified = if key.public().id() == original.sign_key_id() {
            builder.try_sign(&key).is_ok_and(|signed| signed.verify_with(key.public()).is_ok())
        } else {
            // The key in the file lies; the decoder binds some of these to their own key.
            key.public().verify(b"text", &key.sign(b"text", 0)).is_ok()
        };
        if !verified || canonical == NOT_CANONICAL.contains(&entry.file.as_str()) {
            differences.push(format!("{}: verified {verified}, canonical {canonical}", entry.file));
        }
    }
    report("signed anew", entries, &differences);
}

fn json_value(value: &Value) -> HeaderValue {
    match value {
        Value::String(text) => text.into(),
        Value::Array(items) => HeaderValue::List(items.iter().map(json_value).collect()),
        Value::Object(entries) => {
            HeaderValue::Map(entries.iter().map(|(name, value)| (name.clone(), json_value(value))).collect())
        }
        other => panic!("no header value: {other}"),
    }
}

#[test]
fn the_header_grammar_is_matched() {
    let grammar: Value =
        serde_json::from_slice(&read("grammar/headers.json")).expect("the grammar file is JSON");
    let cases = |name: &str| grammar[name].as_array().cloned().unwrap_or_default();
    let mut differences = Vec::new();

    let parse = cases("parse");
    for case in &parse {
        let text = case["text"].as_str().expect("each case has a text");
        let headers = Headers::parse(text);
        let same = match (&headers, case["error"].as_bool()) {
            (Ok(headers), Some(false)) => HeaderValue::Map(headers.0.clone()) == json_value(&case["headers"]),
            (Err(_), Some(true)) => true,
            _ => false,
        };
        if !same {
            differences.push(format!("parse {}: {headers:?}", case["name"]));
        }
    }

    let emit = cases("emit");
    for case in &emit {
        let mut text = String::new();
        let value = json_value(&case["headers"]["hdr"]);
        headers::write_entry(&mut text, "hdr", &value, 0);
        let expected = case["text"].as_str().expect("each case has a text");
        if text.strip_suffix('\n').unwrap_or(&text) != expected {
            differences.push(format!("emit {}: {text:?}", case["name"]));
        }
        if !expected.is_empty()
            && Headers::parse(expected).ok().as_ref().and_then(|h| h.get("hdr")) != Some(&value)
        {
            differences.push(format!("emit {}: does not read back", case["name"]));
        }
    }

    // Recorded with Go 1.19, which takes an offset that later ones refuse.
    let timestamps: Vec<_> =
        cases("timestamps").into_iter().filter(|case| case["value"] != "2024-01-01T00:00:00+25:00").collect();
    for case in &timestamps {
        let date = scalars::date(case["value"].as_str().expect("each case has a value"));
        let unix = date.map(OffsetDateTime::unix_timestamp);
        if unix != case["unix"].as_i64() || date.is_some() != (case["accepted"] == true) {
            differences.push(format!("timestamp {}: {date:?}", case["value"]));
        }
    }
    report("grammar", parse.len() + emit.len() + timestamps.len(), &differences);
}

#[test]
fn newer_revisions_supersede_older_ones() {
    let manifest = manifest();
    let anchors = anchors(&manifest);
    let mut differences = Vec::new();
    for pair in &manifest.supersedes {
        let (newer, older) = (decode(&pair.newer), decode(&pair.older));
        let mut database = decode_all(&manifest.database);
        database.retain(|assertion| assertion.reference() != newer.reference());
        let source = Known::of(database);
        let checker = Checker { anchors: &anchors, source: &source, time: KeyTime::DocumentTime };
        let both =
            check_batch(vec![older.clone(), newer.clone()], &checker).map(|outcome| outcome.verified.len());
        let mut holding = Known(source.0.clone());
        holding.0.insert(newer.reference(), Arc::new(newer.clone()));
        let after = Checker { source: &holding, ..checker };
        let late = check_batch(vec![older.clone()], &after).map(|outcome| outcome.already_held);
        // Other sequence points and lower formats stay useful beside the newer one.
        let (kept, held) = if pair.why.is_some() { (2, Vec::new()) } else { (1, vec![older.reference()]) };
        if both.as_ref().ok() != Some(&kept) || late.as_ref().ok() != Some(&held) {
            differences.push(format!("{}: {both:?}, {late:?}", pair.newer));
        }
    }
    report("supersedes", manifest.supersedes.len(), &differences);
}

#[test]
fn the_maximum_formats_are_matched() {
    let manifest = manifest();
    let different = |kind: &&AssertionType| {
        kind.max_format() != manifest.max_formats.get(kind.name()).copied().unwrap_or(0)
    };
    let differences: Vec<_> = AssertionType::ALL.iter().filter(different).map(ToString::to_string).collect();
    report("formats", AssertionType::ALL.len(), &differences);
    for kind in AssertionType::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
}

#[test]
fn snap_files_have_their_digests() {
    let manifest = manifest();
    let different = |file: &&SnapFile| Sha3_384::of(&read(&file.file)).to_base64url() != file.sha3_384;
    let differences: Vec<_> =
        manifest.snap_files.iter().filter(different).map(|file| file.file.clone()).collect();
    report("snap files", manifest.snap_files.len(), &differences);
}

fn check_world(name: &str, world: &World, anchors: &Anchors, times: &[KeyTime]) {
    let files: Vec<_> = world.files.iter().map(|file| decode(&file.file)).collect();
    let mut differences = Vec::new();
    for (file, assertion) in world.files.iter().zip(&files) {
        let key = match assertion.details() {
            Details::AccountKey(key) => Some(key.public_key.id()),
            _ => None,
        };
        if assertion.kind().name() != file.r#type
            || assertion.reference().key != file.primary_key
            || assertion.revision() != file.revision
            || assertion.sign_key_id() != file.sign_key_id
            || key != file.public_key_id.as_deref()
        {
            differences.push(format!("{}: {assertion:?}", file.file));
        }
    }
    for &time in times {
        let nothing = Known::default();
        let checker = Checker { anchors, source: &nothing, time };
        match check_batch(files.iter().rev().cloned().collect(), &checker) {
            Ok(outcome) => {
                let anchored = files.iter().filter(|file| anchors.holds(&file.reference())).count();
                let counts = (outcome.verified.len(), outcome.already_held.len(), outcome.conflicts.len());
                if counts != (files.len() - anchored, anchored, 0) {
                    differences.push(format!("{time:?}: {outcome:?}"));
                }
            }
            Err(error) => differences.push(format!("{time:?}: {}: {}", error.cause, error.cause.problem)),
        }
    }
    report(name, files.len(), &differences);
}

#[test]
fn the_production_world_verifies() {
    let world = manifest().public_production;
    let later = |text| KeyTime::Strict { now: scalars::date(text).expect("a date") };
    let times = [KeyTime::DocumentTime, later("2017-07-27T00:00:00Z"), later("2035-01-01T00:00:00Z")];
    check_world("production, own anchors", &world, &Anchors::production(), &times);
    let given = Anchors::none().with(decode_all(&world.trusted)).expect("the trusted files are a root");
    check_world("production, given anchors", &world, &given, &times);
    assert_eq!(given.fingerprints(), Anchors::production().fingerprints());
}

#[test]
fn the_published_test_world_verifies() {
    let world = manifest().snapd_testkeys;
    let anchors = Anchors::none().with(decode_all(&world.trusted)).expect("the trusted files are a root");
    check_world("published test keys", &world, &anchors, &[KeyTime::DocumentTime]);
    let nothing = Known::default();
    let production =
        Checker { anchors: &Anchors::production(), source: &nothing, time: KeyTime::DocumentTime };
    let files: Vec<_> = world.files.iter().map(|file| decode(&file.file)).collect();
    let error = check_batch(files, &production).expect_err("test keys prove nothing in production");
    assert_eq!(error.stage(), Stage::SigningKey);
}

#[test]
fn a_stream_verifies_in_any_order() {
    let manifest = manifest();
    let anchors = anchors(&manifest);
    let nothing = Known::default();
    let checker = Checker { anchors: &anchors, source: &nothing, time: KeyTime::DocumentTime };
    let mut database: Vec<_> = decode_all(&manifest.database);
    let mut first: Option<Vec<Ref>> = None;
    for turn in 0..database.len() {
        database.rotate_left(1);
        if turn % 2 == 1 {
            database.reverse();
        }
        let outcome = check_batch(database.clone(), &checker).expect("the database verifies as one batch");
        let order: Vec<_> = outcome.verified.iter().map(|verified| verified.reference()).collect();
        assert_eq!(order.len(), manifest.database.len());
        assert_eq!(*first.get_or_insert(order.clone()), order, "turn {turn}");
    }
    for file in ["snaps/hello-vectors_1.stream.assert", "snaps/hello-vectors_1-reverse.stream.assert"] {
        let stream = Assertion::decode_stream(&read(file)).expect("the stream decodes");
        let mut known = Known::default();
        let outcome = check_batch(stream.clone(), &checker).expect("the stream is complete");
        assert_eq!(outcome.verified.len(), 4);
        known.add(&outcome.verified);
        let again = check_batch(stream, &Checker { source: &known, ..checker }).expect("twice is harmless");
        assert_eq!((again.verified.len(), again.already_held.len(), again.conflicts.len()), (0, 4, 0));
    }
}

#[test]
fn every_signature_shape_is_matched() {
    // The reference verifier accepts these, but no known client produces them: an old packet header, a five byte
    // length, carriage returns in the base64, another hash. We accept one form only, so they are rejected.
    const STRICTER: [&str; 4] = [
        "sessions/sig-old-format-header.dsr.assert",
        "sessions/sig-five-octet-length.dsr.assert",
        "sessions/sig-crlf-base64.dsr.assert",
        "sessions/sig-sha256.dsr.assert",
    ];
    let manifest = manifest();
    let (mut entries, mut differences) = (0, Vec::new());
    for triple in &manifest.session_triples {
        // Triples that fail at another stage say nothing about the request's signature.
        let expected = match triple.failing_check.as_deref() {
            None => !STRICTER.contains(&triple.request.as_str()),
            Some("request-signature") => false,
            Some(_) => continue,
        };
        entries += 1;
        let (request, serial) = (decode(&triple.request), decode(&triple.serial));
        let Details::Serial(serial) = serial.details() else {
            panic!("{} is a serial", triple.serial);
        };
        let verdict = request.verify_with(&serial.device_key);
        if verdict.is_ok() != expected {
            differences.push(format!("{}: {verdict:?}", triple.request));
        }
    }
    report("signatures", entries, &differences);
}
