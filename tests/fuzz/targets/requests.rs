//! What devices send: bodies and headers.

use schema::api::device::{RefreshRequest, SessionRequest};
use schema::api::range::Asked;
use schema::api::{credential, device, object};
use schema::assertion::{Assertion, AssertionType, Details, Ref};
use schema::store::{Architecture, Channel, ChannelRequest, DeviceId, SnapId, SnapName, Track};
use serde_json::Value;

use super::{credentials, settle};

/// The three documents by which a device logs in.
pub(super) fn session(data: &[u8]) {
    let Some(request) = settle(object::read::<SessionRequest>(data)) else { return };
    let texts = [&request.device_session_request, &request.serial_assertion, &request.model_assertion];
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        for (name, text) in
            ["device-session-request", "serial-assertion", "model-assertion"].iter().zip(texts)
        {
            assert_eq!(value[name].as_str(), Some(text.as_str()), "the second reader finds another {name}");
        }
    }
    let documents: Vec<Assertion> =
        texts.iter().filter_map(|text| settle(Assertion::decode(text.as_bytes()))).collect();
    for document in &documents {
        if let Details::DeviceSessionRequest(wants) = document.details() {
            credentials::check_nonce(&wants.nonce);
        }
    }
    let [proof, serial, _] = &documents[..] else { return };
    let Details::Serial(is) = serial.details() else { return };
    if settle(proof.verify_with(&is.device_key)).is_some() {
        let other = [proof.content(), b"x"].concat();
        assert!(
            is.device_key.verify(&other, proof.signature()).is_err(),
            "the proof fits another request too"
        );
    }
}

/// The wishes of a device.
pub(super) fn refresh(data: &[u8]) {
    let Some(request) = settle(object::read::<RefreshRequest>(data)) else { return };
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let counted = |name: &str| value[name].as_array().map_or(0, Vec::len);
        assert_eq!((counted("actions"), counted("context")), (request.actions.len(), request.context.len()));
        for (action, seen) in request.actions.iter().zip(value["actions"].as_array().into_iter().flatten()) {
            assert_eq!(seen["action"].as_str(), Some(action.action.as_str()));
            assert_eq!(seen["revision"].as_i64(), action.revision);
        }
    }
    let _ = request.fields.want_snap_yaml();
    for installed in &request.context {
        names(&installed.snap_id);
        names(&installed.tracking_channel);
    }
    for action in &request.actions {
        [&action.name, &action.snap_id, &action.channel].into_iter().flatten().for_each(|text| names(text));
        action.assertions.iter().for_each(wanted);
    }
}

fn wanted(asked: &device::WantedAssertion) {
    let Ok(kind) = asked.kind.parse::<AssertionType>() else { return };
    if let Some(reference) = asked.primary_key.clone().and_then(|key| settle(Ref::new(kind, key))) {
        assert_eq!(Ref::new(kind, reference.reduced().to_vec()), Ok(reference));
    }
}

/// What can be read as a name is written as it was read.
fn names(text: &str) {
    if let Some(asked) = settle(text.parse::<ChannelRequest>()) {
        let channel = asked.on(&Track::latest());
        assert_eq!(settle(channel.to_string().parse::<Channel>()).as_ref(), Some(&channel));
        let short: ChannelRequest = channel.short_name().parse().expect("a short name is a channel");
        assert_eq!(short.on(&Track::latest()), channel);
    }
    macro_rules! spelled_alike {
        ($($kind:ty),*) => {$(
            if let Some(name) = settle(text.parse::<$kind>()) {
                assert_eq!(name.to_string(), text);
            }
        )*};
    }
    spelled_alike!(SnapName, SnapId, Architecture, DeviceId);
}

/// Headers of a download: the first line is a range, the second the size of the body, the rest are credentials.
pub(super) fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let range = lines.next().unwrap_or_default();
    let size = lines.next().and_then(|line| line.parse().ok()).unwrap_or(u64::MAX);
    let asked = Asked::of(range, size);
    match &asked {
        Asked::Part(part) => assert!(part.start < part.end && part.end <= size, "{part:?} of {size}"),
        Asked::Beyond | Asked::Whole => {}
    }
    assert_eq!(asked, said(range, size), "the second reader reads {range:?} of {size} otherwise");
    lines.for_each(credentials_of);
}

/// RFC 9110 §14.1.2 once more, with numbers that cannot overflow.
fn said(range: &str, size: u64) -> Asked {
    let number = |digits: &str| -> Option<u128> {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().unwrap_or(u64::MAX).into())
    };
    let spec = range.get(..6).filter(|unit| unit.eq_ignore_ascii_case("bytes=")).map(|_| range[6..].trim());
    let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else { return Asked::Whole };
    let wide = u128::from(size);
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, wide.min(last.saturating_add(1))),
        (Some(first), None) if last.is_empty() => (first, wide),
        (None, Some(count)) if first.is_empty() => (wide.saturating_sub(count), wide),
        _ => return Asked::Whole,
    };
    match (u64::try_from(start), u64::try_from(end)) {
        (Ok(start), Ok(end)) if start < end => Asked::Part(start..end),
        _ => Asked::Beyond,
    }
}

fn credentials_of(value: &str) {
    if let Some(token) = credential::session(value) {
        assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b','));
        assert_eq!(credential::session(&format!("Macaroon root=\"{token}\"")), Some(token));
        assert_eq!(credential::login(value), Some(token), "one credential, two readings");
    }
    if let Some(token) = credential::login(value) {
        assert!(value.contains(token));
        assert!(value.trim().get(..6).is_some_and(|word| {
            word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("macaro")
        }));
    }
}
