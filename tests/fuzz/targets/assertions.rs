//! Signed documents and the packets in them: keys and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{Assertion, Checker, KeyTime, PublicKey, Ref};
use schema::digest::Sha3_384;

use super::fixtures::{CONTENT, KEY, SIGNATURE, SIGNED};
use super::{calm, settle};

/// One assertion.
pub(super) fn single(data: &[u8]) {
    let Some(assertion) = settle(Assertion::decode(data)) else { return };
    // One line feed at the end is normal, none and two are tolerated.
    let bytes = assertion.bytes();
    let same =
        [bytes, bytes.strip_suffix(b"\n").unwrap_or_default(), &[bytes, b"\n"].concat()].contains(&data);
    assert!(same, "other bytes are kept than were read");
    read_again(&assertion);
    let list = Assertion::decode_stream(data).expect("one assertion is a stream of one");
    assert_eq!(list, [assertion]);
}

/// Several, one after the other.
pub(super) fn stream(data: &[u8]) {
    let Some(list) = settle(Assertion::decode_stream(data)) else { return };
    for assertion in &list {
        read_again(assertion);
        assert_eq!(Assertion::decode(assertion.bytes()).expect("each for itself"), *assertion);
    }
    let texts: Vec<&[u8]> = list.iter().map(Assertion::bytes).collect();
    let joined = texts.join(&b"\n"[..]);
    assert_eq!(Assertion::decode_stream(&joined).expect("what was read, joined"), list);
    // Nothing of the input is lost, apart from the line feeds between.
    assert!(data.len() <= joined.len() + list.len() && joined.len() <= data.len() + 1, "bytes were lost");
}

/// What holds for every assertion that can be read.
fn read_again(assertion: &Assertion) {
    let text = std::str::from_utf8(assertion.bytes()).expect("all of it is UTF-8");
    let content = std::str::from_utf8(assertion.content()).expect("all of it is UTF-8");
    assert_eq!(format!("{content}\n\n{}\n", assertion.signature()), text, "content and signature");
    let (head, body) = divide(content);
    assert_eq!(body.as_bytes(), assertion.body(), "the second reader finds another body");
    for (name, value) in head.split('\n').filter_map(|line| line.split_once(": ")) {
        if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
        {
            assert_eq!(assertion.text(name), Some(value), "the second reader finds another {name}");
        }
    }

    let reference = assertion.reference();
    assert_eq!(Ref::new(reference.kind, reference.reduced().to_vec()), Ok(reference.clone()));
    assert!(!reference.to_string().chars().any(char::is_control), "{reference:?}");
    for needed in assertion.needed_to_check() {
        assert!(!needed.to_string().chars().any(char::is_control), "{needed:?}");
    }
    let checker = Checker { anchors: &SIGNED.anchors, source: &*SIGNED, time: KeyTime::DocumentTime };
    match checker.check(assertion) {
        Ok(_) => assert!(SIGNED.holds(assertion.content()), "nobody signed {assertion:?}"),
        Err(error) => calm(&error),
    }
}

/// Head and body, as the format's description divides them: line by line, with nothing shared with the decoder.
fn divide(content: &str) -> (&str, &str) {
    let (head, rest) = content.split_once("\n\n").unwrap_or((content, ""));
    let length = head.split('\n').find_map(|line| line.strip_prefix("body-length: "));
    let length: usize = length.map_or(0, |digits| digits.parse().expect("a length that was accepted"));
    assert_eq!(rest.len(), length, "a body of another length than announced");
    (head, rest)
}

/// A public key, as text and as the bytes inside.
pub(super) fn key_packet(data: &[u8]) {
    key_text(&String::from_utf8_lossy(data));
    key_text(&STANDARD.encode(data));
}

fn key_text(text: &str) {
    let Some(key) = settle(PublicKey::decode(text)) else { return };
    let flat: String = text.split('\n').collect();
    assert_eq!(key.encode().replace('\n', ""), flat, "one key, two spellings");
    let raw = STANDARD.decode(&flat).expect("base64");
    assert_eq!(key.id(), Sha3_384::of(&raw).to_base64url());
    if settle(key.check_strength()).is_some() {
        assert!((2048..=8192).contains(&key.bits()), "{} bits", key.bits());
    }
    match key.verify(CONTENT, &SIGNATURE) {
        Ok(()) => assert_eq!(key.id(), KEY.public().id(), "another key takes the signature"),
        Err(error) => calm(&error),
    }
}

/// A signature, as text and as the bytes inside, of a known content under a known key.
pub(super) fn signature_packet(data: &[u8]) {
    signature_text(&String::from_utf8_lossy(data));
    signature_text(&STANDARD.encode(data));
}

fn signature_text(text: &str) {
    if settle(KEY.public().verify(CONTENT, text)).is_none() {
        return;
    }
    // Only the holder of the key can make another value: what may differ is what is not signed.
    let (raw, ours) =
        [text, &SIGNATURE].map(|text| STANDARD.decode(text.replace('\n', "")).expect("base64")).into();
    let value = &ours[ours.len() - 256..];
    assert!(raw.ends_with(value), "a signature that the key did not make");
    let hashed = &ours[5..17];
    assert!(raw.windows(hashed.len()).any(|part| part == hashed), "other signed subpackets");
    assert!(KEY.public().verify(b"what the key did not sign", text).is_err());
}
