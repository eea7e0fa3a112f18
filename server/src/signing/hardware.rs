//! Proof that a device is the hardware that its maker vouched for: a signature over the request id, by the key of a
//! `hardware-identity` of the brand. A gadget makes it in its hook `prepare-serial-request`.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1,
    ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{AssertionSource, AssertionType, Ref};
use serde_json::Value;

/// Nothing on the wire names the hash; each of these is safe.
static WAYS: [&dyn VerificationAlgorithm; 8] = [
    &ECDSA_P256_SHA256_ASN1,
    &ECDSA_P256_SHA512_ASN1,
    &ECDSA_P384_SHA384_ASN1,
    &ECDSA_P384_SHA512_ASN1,
    &ECDSA_P521_SHA512_ASN1,
    &RSA_PKCS1_2048_8192_SHA256,
    &RSA_PKCS1_2048_8192_SHA384,
    &RSA_PKCS1_2048_8192_SHA512,
];

/// The hardware id that a request proves to be of, or what its proof lacks.
pub(super) fn proven(
    body: &[u8],
    request_id: &str,
    brand: &str,
    held: &dyn AssertionSource,
) -> Result<String, &'static str> {
    let says: Value = serde_json::from_slice(body).unwrap_or_default();
    let member = |name: &str| says.get(name).and_then(Value::as_str);
    let key = member("hardware-id-key-sha3-384").or_else(|| member("hardware-id-key-sha384"));
    let (Some(key), Some(signature)) = (key, member("request-id-signature")) else {
        return Err("its model needs proof of the hardware, and its gadget sends none");
    };
    let wanted = Ref { kind: AssertionType::HardwareIdentity, key: vec![brand.to_owned(), key.to_owned()] };
    let identity = held.find(&wanted).ok_or("its brand has vouched for no such hardware here")?;
    let decoded = |text: &str| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok();
    let public = identity.text("hardware-id-key").and_then(decoded).unwrap_or_default();
    let signature = decoded(signature).unwrap_or_default();
    let verifies = |way: &&&'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(**way, &public).verify(request_id.as_bytes(), &signature).is_ok()
    };
    WAYS.iter().find(verifies).ok_or("the proof of its hardware does not verify")?;
    Ok(identity.text("hardware-id").unwrap_or_default().to_owned())
}
