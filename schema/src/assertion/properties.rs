//! Properties of any input: what is written reads back, and no input makes the reader panic or run long.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::fixtures::{decode, files, read, signing_key};
use super::*;

/// Nanoseconds of CPU that this thread has used.
fn cpu_time() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel accounts threads");
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.expect("the first number is the time on a CPU")
}

/// Milliseconds of CPU that `work` takes.
fn cost(work: impl FnOnce()) -> f64 {
    let before = cpu_time();
    work();
    (cpu_time() - before) as f64 / 1e6
}

fn name() -> impl Strategy<Value = String> {
    "[a-z](-?[a-z0-9]){0,6}"
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let text =
        prop_oneof!["[^\n]{0,12}", "[ \\-:a\r]{0,6}(\n[ \\-:a\r]{0,6}){0,4}"].prop_map(HeaderValue::Text);
    text.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(HeaderValue::List),
            btree_map(name(), inner, 1..4).prop_map(HeaderValue::Map),
        ]
    })
}

/// An account signed by a fixed key, with any other headers and body.
fn account(extra: &BTreeMap<String, HeaderValue>, body: &str) -> Assertion {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| signing_key("keys/device-a-2048.pem"));
    let mut builder = Builder::new(AssertionType::Account).body(body.as_bytes());
    for (name, value) in extra {
        builder = builder.header(&format!("x-{name}"), value.clone());
    }
    builder
        .header("authority-id", "acme")
        .header("account-id", "acme")
        .header("display-name", "Acme")
        .header("validation", "unproven")
        .header("timestamp", "2024-01-01T00:00:00Z")
        .sign(&KEY)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn headers_read_back(entries in btree_map(name(), value(), 1..6)) {
        let mut text = String::new();
        for (name, value) in &entries {
            headers::write_entry(&mut text, name, value, 0);
        }
        let text = text.strip_suffix('\n').unwrap_or(&text);
        prop_assert!(!text.contains("\n\n"));
        prop_assert_eq!(Headers::parse(text), Ok(Headers(entries)));
    }

    #[test]
    fn assertions_read_back(extra in btree_map(name(), value(), 0..4), body in "(\n|[^\n]){0,40}") {
        let first = account(&extra, &body);
        prop_assert_eq!(first.body(), body.as_bytes());
        for (name, value) in &extra {
            prop_assert_eq!(first.headers().get(&format!("x-{name}")), Some(value));
        }
        let again = Assertion::decode(first.bytes()).expect("what was signed decodes");
        prop_assert_eq!(&again, &first);
        prop_assert_eq!(again.content(), first.content());
        let twice = [first.bytes(), b"\n", first.bytes()].concat();
        prop_assert_eq!(Assertion::decode_stream(&twice).expect("a stream"), vec![first.clone(), first]);
    }

    #[test]
    fn damaged_files_do_not_panic(
        file in any::<Index>(),
        edits in vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..5),
        other in any::<Index>(),
    ) {
        static FILES: LazyLock<Vec<String>> = LazyLock::new(files);
        let mut bytes = read(&FILES[file.index(FILES.len())]);
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len() + 1);
            match edit {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
_ => bytes.extend(read(&FILES[other.index(FILES.len())]).iter().take(at.min(64))),
            }
        }
        if let Ok(assertions) = Assertion::decode_stream(&bytes) {
            for assertion in assertions {
                prop_assert!(Assertion::decode(assertion.bytes()).is_ok_and(|again| again == assertion));
                let _ = (assertion.prerequisites(), assertion.reference().to_string());
            }
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Headers::parse(text);
            let _ = scalars::date(text);
        }
    }

    #[test]
    fn a_changed_content_never_verifies(at in any::<Index>(), bit in 0..8_u8) {
        static SIGNED: LazyLock<Assertion> = LazyLock::new(|| account(&BTreeMap::new(), "body"));
        let mut content = SIGNED.content().to_vec();
        let at = at.index(content.len());
        content[at] ^= 1 << bit;
        let key = signing_key("keys/device-a-2048.pem");
        prop_assert!(key.public().verify(&content, SIGNED.signature()).is_err());
        prop_assert!(key.public().verify(SIGNED.content(), SIGNED.signature()).is_ok());
    }

    #[test]
    fn damaged_packets_do_not_panic(at in any::<Index>(), byte in any::<u8>(), cut in any::<Index>()) {
        let signed = account(&BTreeMap::new(), "");
        let mut raw = packet::decode_text(signed.signature()).expect("our own signature");
        let index = at.index(raw.len());
        raw[index] = byte;
        let key = signing_key("keys/device-a-2048.pem");
        for end in [raw.len(), cut.index(raw.len())] {
            let _ = key.public().verify(signed.content(), &packet::encode_text(&raw[..end]));
        }
        let mut raw = packet::decode_text(&key.public().encode()).expect("our own key");
        let index = at.index(raw.len());
        raw[index] = byte;
        for end in [raw.len(), cut.index(raw.len())] {
            if let Ok(key) = PublicKey::decode(&packet::encode_text(&raw[..end])) {
                prop_assert_eq!(key.encode(), packet::encode_text(&raw[..end]));
            }
        }
    }
}

/// Devices reject white space in base64, so an assertion with some in its signature must not be accepted.
#[test]
fn white_space_around_a_signature_is_no_part_of_it() {
    let signed = account(&BTreeMap::new(), "body");
    let key = signing_key("keys/device-a-2048.pem");
    assert!(signed.verify_with(key.public()).is_ok());
    for (before, after) in [("", " "), ("", "\t"), ("", "\r"), (" ", "")] {
        let content = std::str::from_utf8(signed.content()).expect("text");
        let text = format!("{content}\n\n{before}{}{after}\n", signed.signature());
        let read = Assertion::decode(text.as_bytes()).expect("the shape of an assertion");
        assert_eq!(read.verify_with(key.public()), Err(PacketError::Base64.into()), "{before:?} {after:?}");
    }
}

#[test]
fn hostile_keys_are_refused_before_any_arithmetic() {
    let request = decode("sessions/ok-a-2048.dsr.assert");
    let expected = [
        ("serials-weak/exponent-1.serial.assert", Some(WeakKey::Exponent(1))),
        ("serials-weak/exponent-2.serial.assert", Some(WeakKey::Exponent(2))),
        ("serials-weak/exponent-16777215.serial.assert", Some(WeakKey::Exponent(16_777_215))),
        ("serials-weak/modulus-even.serial.assert", Some(WeakKey::EvenModulus)),
        ("serials-weak/modulus-512.serial.assert", Some(WeakKey::Size(512))),
        ("serials-weak/modulus-2047.serial.assert", Some(WeakKey::Size(2047))),
        ("serials-weak/modulus-16384.serial.assert", Some(WeakKey::Size(16_384))),
        ("serials-weak/e3-4096.serial.assert", None),
        ("serials/d-8192.serial.assert", None),
    ];
    for (file, weakness) in expected {
        let milliseconds = cost(|| {
            let assertion = decode(file);
            let Details::Serial(serial) = assertion.details() else { panic!("{file} is a serial") };
            assert_eq!(serial.device_key.check_strength().err(), weakness, "{file}");
            let verdict = request.verify_with(&serial.device_key);
            let expected = weakness.map_or(SignatureError::Mismatch, SignatureError::Key);
            assert_eq!(verdict, Err(expected), "{file}");
        });
        println!("{file}: {milliseconds:.2} ms of CPU");
        assert!(milliseconds < 20.0, "{file} takes {milliseconds} ms of CPU");
    }
}

#[test]
fn hostile_headers_cost_no_more_than_their_length() {
    let lines = |line: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for number in 0.. {
            let next = line(number);
            if text.len() + next.len() > MAX_HEAD - 2 {
                break;
            }
            text.push_str(&next);
        }
        text
    };
    let deep = |number: usize| match number % MAX_DEPTH {
        0 => format!("a{number}:\n"),
        level if level == MAX_DEPTH - 1 => format!("{}k: x\n", "  ".repeat(level)),
        level => format!("{}k:\n", "  ".repeat(level)),
    };
    let cases = [
        ("many names", lines(&|number| format!("n{number}: x\n"))),
        ("many items", format!("list:\n{}", lines(&|_| "  - x\n".to_owned()))),
        ("many empty lines of text", format!("text:\n{}", lines(&|_| "    \n".to_owned()))),
        ("deep again and again", lines(&deep)),
        ("one long line", format!("text: {}", "x".repeat(MAX_HEAD))),
        ("only spaces", " ".repeat(MAX_HEAD)),
        ("only colons", ":\n".repeat(MAX_HEAD / 2)),
        (
            "deeper than allowed",
            format!("a:\n{}", (1..300).map(|n| format!("{}-\n", " ".repeat(2 * n))).collect::<String>()),
        ),
    ];
    for (name, text) in cases {
        let milliseconds = cost(|| drop(Headers::parse(text.trim_end_matches('\n'))));
        println!("{name}: {} bytes, {milliseconds:.2} ms of CPU", text.len());
        assert!(milliseconds < 250.0, "{name} takes {milliseconds} ms of CPU");
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        let lists: String = (1..depth).map(|level| format!("{}-\n", " ".repeat(2 * level))).collect();
        format!("a:\n{lists}{}- x", " ".repeat(2 * depth))
    };
    assert!(Headers::parse(&nested(MAX_DEPTH)).is_ok());
    let error = Headers::parse(&nested(MAX_DEPTH + 1)).expect_err("one level too many");
    assert_eq!(error.problem, "is nested too deeply");
    // The limit holds where the recursion would otherwise end the process.
    let error = Headers::parse(&nested(350)).expect_err("far too many levels");
    assert_eq!(error.problem, "is nested too deeply");
}

#[test]
fn bodies_are_limited() {
    let sized = |length: usize| {
        let text = decode("wellformed/revision-5.assert");
        let body = "x".repeat(length);
        let builder =
            Builder::new(AssertionType::Account).body(body.as_bytes()).header("authority-id", "acme");
        let builder =
            builder.header("account-id", "acme").header("display-name", "A").header("validation", "unproven");
        let mut bytes = builder.header("timestamp", "2024-01-01T00:00:00Z").content(text.sign_key_id());
        bytes.extend(b"\n\nAAAA\n");
        Assertion::decode(&bytes).map(|read| read.body().len()).map_err(|error| error.reason)
    };
    assert!(matches!(sized(MAX_BODY), Ok(MAX_BODY)));
    assert!(matches!(sized(MAX_BODY + 1), Err(DecodeReason::BodyTooLong)));
}

#[test]
fn hostile_constraints_cost_little() {
    let key = signing_key("keys/device-a-2048.pem");
    // Just below the limit of one pattern, repeated up to the limit per key.
    let patterns = vec!["(a{20}){20}"; 62];
    let headers = Map::from([("type".to_owned(), "model".into()), ("model".to_owned(), patterns.into())]);
    let constraints = vec![Map::from([("headers".to_owned(), HeaderValue::Map(headers))])];
    let milliseconds = cost(|| {
        let read = Builder::new(AssertionType::AccountKey)
            .format(1)
            .header("authority-id", "acme")
            .header("account-id", "acme")
            .header("public-key-sha3-384", key.public().id())
            .header("since", "2024-01-01T00:00:00Z")
            .header("constraints", constraints)
            .body(key.public().encode())
            .try_sign(&key);
        assert!(read.is_ok(), "{:?}", read.map_err(|error| error.reason));
    });
    println!("constraints: {milliseconds:.2} ms of CPU");
    assert!(milliseconds < 2000.0, "constraints take {milliseconds} ms of CPU");
}
