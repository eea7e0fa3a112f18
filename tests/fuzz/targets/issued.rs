//! Issued credentials for the seeds: without them, no input would ever be accepted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{AssertionType, Builder};

use super::credentials::ISSUED;
use super::fixtures::{KEY, SIGNATURE, SIGNED};

/// Every credential.
pub(crate) fn texts() -> Vec<Vec<u8>> {
    ISSUED.iter().flatten().map(|text| text.clone().into_bytes()).collect()
}

/// A macaroon.
pub(crate) fn macaroon() -> String {
    ISSUED[1][0].clone()
}

/// The good signature, and one of another content.
pub(crate) fn signatures() -> (Vec<u8>, Vec<u8>) {
    let raw = |text: &str| STANDARD.decode(text.replace('\n', "")).expect("base64");
    (raw(&SIGNATURE), raw(&KEY.sign(b"another content", 1_700_000_000)))
}

/// The three assertions of a device of the fixtures, signed over one of our nonces.
pub(crate) fn session_request() -> Vec<u8> {
    let of = |kind| SIGNED.all().find(|found| found.kind() == kind).expect("a document of the fixtures");
    let (model, serial) = (of(AssertionType::Model), of(AssertionType::Serial));
    let request = Builder::new(AssertionType::DeviceSessionRequest)
        .header("brand-id", serial.text("brand-id").unwrap_or_default())
        .header("model", serial.text("model").unwrap_or_default())
        .header("serial", serial.text("serial").unwrap_or_default())
        .header("nonce", ISSUED[2][0].as_str())
        .header("timestamp", "2026-09-01T00:00:00Z")
        .sign(&KEY);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = serde_json::json!({
        "device-session-request": text(request.bytes()),
        "serial-assertion": text(serial.bytes()),
        "model-assertion": text(model.bytes()),
    });
    body.to_string().into_bytes()
}
