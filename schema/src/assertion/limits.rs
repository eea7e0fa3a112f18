//! Limits to the byte and to the second: the last accepted value, and the first rejected one.

use std::fmt::Write as _;

use super::fixtures::*;
use super::*;

/// An account whose head has this many bytes, with a body and a signature of any size.
fn sized(head: Option<usize>, body: usize, signature: usize) -> Result<Assertion, DecodeReason> {
    let key = decode("chain/brand.account.assert").sign_key_id().to_owned();
    let mut text = format!(
        "type: account\nauthority-id: a\naccount-id: a\ndisplay-name: d\nvalidation: v\ntimestamp: {WHEN}\n"
    );
    if body > 0 {
        let _ = writeln!(text, "body-length: {body}");
    }
    let _ = write!(text, "sign-key-sha3-384: {key}");
    if let Some(wanted) = head {
        let room = wanted - text.len() - "\nfiller: ".len();
        let _ = write!(text, "\nfiller: {}", "x".repeat(room));
        assert_eq!(text.len(), wanted);
    }
    if body > 0 {
        let _ = write!(text, "\n\n{}", "b".repeat(body));
    }
    let _ = write!(text, "\n\n{}\n", "A".repeat(signature));
    Assertion::decode(text.as_bytes()).map_err(|error| error.reason)
}

#[test]
fn head_body_and_signature_have_room_to_the_last_byte() {
    assert!(sized(Some(MAX_HEAD), 0, 4).is_ok());
    assert!(matches!(sized(Some(MAX_HEAD + 1), 0, 4), Err(DecodeReason::Head)));
    assert!(sized(None, MAX_BODY, 4).is_ok_and(|read| read.body().len() == MAX_BODY));
    assert!(matches!(sized(None, MAX_BODY + 1, 4), Err(DecodeReason::BodyTooLong)));
    assert!(sized(None, 0, MAX_SIGNATURE).is_ok());
    assert!(matches!(sized(None, 0, MAX_SIGNATURE + 1), Err(DecodeReason::SignatureTooLong)));
}

#[test]
fn maps_and_lists_nest_to_the_same_depth() {
    let nested = |step: &str, depth: usize| {
        let mut text = "a:".to_owned();
        for level in 1..depth {
            let _ = write!(text, "\n{}{step}", "  ".repeat(level));
        }
        Headers::parse(&format!("{text}\n{}{step} x", "  ".repeat(depth))).map_err(|error| error.problem)
    };
    for step in ["a:", "-"] {
        assert!(nested(step, MAX_DEPTH).is_ok(), "{step}");
        assert_eq!(nested(step, MAX_DEPTH + 1), Err("is nested too deeply"), "{step}");
    }
}

#[test]
fn errors_count_lines_from_one_and_documents_from_zero() {
    assert_eq!(Headers::parse("a: b\nc: d\nno colon").map_err(|error| error.line), Err(3));
    let good = read("chain/brand.account.assert");
    let stream = [&good[..], b"\n", &good, b"\n", b"type: account\n\nAAAA\n"].concat();
    let error = Assertion::decode_stream(&stream).expect_err("the third has no key");
    assert_eq!((error.index, error.offset), (2, 2 * (good.len() + 1)));
}

#[test]
fn a_key_is_good_from_its_first_second_until_its_last() {
    let text = account_key("acme-corp", "k", &dummy_key(1)).header("until", "2021-01-01T00:00:00Z");
    let document = forge(text, "a", dummy_key(1).id());
    let Details::AccountKey(key) = document.details() else { panic!("an account-key") };
    for (moment, good) in [
        ("2019-12-31T23:59:59Z", false),
        ("2020-01-01T00:00:00Z", true),
        ("2020-12-31T23:59:59Z", true),
        ("2021-01-01T00:00:00Z", false),
    ] {
        assert_eq!(key.is_valid_at(scalars::date(moment).expect("a date")), good, "{moment}");
    }
}
