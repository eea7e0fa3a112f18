//! The ordered check of the three assertions with which a device authenticates. See
//! `schema/docs/assertions.md#device-sessions`.
//!
//! Cheap checks come before signatures, and nothing is remembered of a device that fails one. The keys of a brand
//! that this store does not serve are not required: such a device, most often a `generic` one, gets a session of
//! global scope, because snapd with a serial fails every request without a session.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use schema::api::device::SessionRequest;
use schema::assertion::{
    Assertion, AssertionSource, CheckError, Checker, Details, DeviceSessionRequest, KeyTime, Model, Problem,
    Ref, Serial, Stage,
};
use schema::session::Nonce;
use schema::store::{DeviceId, SERIES, StoreId};
use time::OffsetDateTime;

use super::memory::Documents;
use crate::catalog::{Catalog, Held};

/// What the assertions prove.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The device's identity.
    pub(crate) device: DeviceId,
    /// The store that its model names.
    pub(crate) store: Option<StoreId>,
    /// Whether model and serial were verified; not so if the store does not serve the brand.
    pub(crate) verified: bool,
    /// The nonce, not spent yet.
    pub(crate) nonce: Nonce,
}

/// Declares the checks with their stable names.
macro_rules! checks {
    ($($check:ident $name:literal,)+) => {
        /// A check of a session request. The first that fails is counted and told to the device.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Check {
            $(#[doc = $name] $check,)+
        }

        impl Check {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$check,)+];

            /// The stable name.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)+
                }
            }
        }
    };
}

checks! {
    Decode "decode",
    Types "types",
    RequestFormat "request-format",
    Nonce "nonce",
    RequestVsSerial "request-vs-serial",
    SerialVsModel "serial-vs-model",
    RequestKeyId "request-key-id",
    DeviceKeySize "device-key-size",
    RequestSignature "request-signature",
    ModelSigningKey "model-signing-key",
    ModelKeyTime "model-key-time",
    ModelKeyExpiredNow "model-key-expired-now",
    ModelKeyConstraints "model-key-constraints",
    ModelSignature "model-signature",
    SerialSigningKey "serial-signing-key",
    SerialKeyTime "serial-key-time",
    SerialKeyExpiredNow "serial-key-expired-now",
    SerialKeyConstraints "serial-key-constraints",
    SerialSignature "serial-signature",
    SerialAuthority "serial-authority",
    SerialSuperseded "serial-superseded",
    NotEntitled "not-entitled",
}

/// The first check that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRefusal {
    check: Check,
    why: String,
}

impl SessionRefusal {
    fn new(check: Check, why: impl Into<String>) -> Self {
        Self { check, why: why.into() }
    }

    /// The request cannot be parsed.
    pub(crate) fn decode(why: String) -> Self {
        Self::new(Check::Decode, why)
    }

    /// The nonce was already spent on another session.
    pub(crate) fn replayed() -> Self {
        Self::new(Check::Nonce, "the nonce was used already: ask for a new one")
    }

    /// The check.
    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// Whether the request is malformed, as opposed to a device that is not accepted.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.check, Check::Decode | Check::Types | Check::RequestFormat | Check::Nonce)
    }
}

impl fmt::Display for SessionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give this device a session: {}", self.why)
    }
}

impl std::error::Error for SessionRefusal {}

/// Checks a request against the catalog. `open_nonce` says whether a nonce is from this store and still valid;
/// `strict` is the time at which signing keys must also be valid, if the operator requires that.
pub(crate) fn check(
    request: &SessionRequest,
    catalog: &Catalog,
    open_nonce: impl Fn(&str) -> Result<Nonce, String>,
    strict: Option<OffsetDateTime>,
    remembered: &Documents,
) -> Result<Checked, SessionRefusal> {
    let read = |what: &str, text: &str| {
        Assertion::decode(text.as_bytes()).map_err(|error| SessionRefusal::decode(format!("{what}: {error}")))
    };
    let proof = read("device-session-request", &request.device_session_request)?;
    let serial = read("serial-assertion", &request.serial_assertion)?;
    let model = read("model-assertion", &request.model_assertion)?;
    let (Details::DeviceSessionRequest(wants), Details::Serial(is), Details::Model(of)) =
        (proof.details(), serial.details(), model.details())
    else {
        return Err(SessionRefusal::new(
            Check::Types,
            "it takes a device-session-request, a serial and a model",
        ));
    };
    if [&proof, &serial, &model].iter().any(|document| document.format() > document.kind().max_format()) {
        return Err(SessionRefusal::new(
            Check::RequestFormat,
            "a document has a format that this store cannot read",
        ));
    }
    let nonce = open_nonce(&wants.nonce).map_err(|why| SessionRefusal::new(Check::Nonce, why))?;
    belong_together(wants, is, of)?;
    signed_by_device(&proof, is)?;

    let brand_is_ours = catalog.knows_brand(&is.brand_id);
    if brand_is_ours {
        let digest = digest_of(&model, &serial);
        if !remembered.knows(&digest) {
            signed_by_brand(&model, &serial, is, of, catalog, strict)?;
            remembered.remember(digest);
        }
        not_superseded(&serial, is, catalog)?;
    }
    let device = DeviceId { brand: is.brand_id.clone(), model: is.model.clone(), serial: is.serial.clone() };
    if catalog.blocked().contains(&device) {
        return Err(SessionRefusal::new(Check::NotEntitled, "the device is blocked in this store"));
    }
    let store = match of.store.as_deref().filter(|_| brand_is_ours) {
        Some(store) => Some(store.parse().map_err(|_| {
            SessionRefusal::new(Check::NotEntitled, "the model names an impossible store id")
        })?),
        None => None,
    };
    Ok(Checked { device, store, verified: brand_is_ours, nonce })
}

/// Checks 5 and 6: one device, one model.
fn belong_together(wants: &DeviceSessionRequest, is: &Serial, of: &Model) -> Result<(), SessionRefusal> {
    if (&wants.brand_id, &wants.model, &wants.serial) != (&is.brand_id, &is.model, &is.serial) {
        return Err(SessionRefusal::new(
            Check::RequestVsSerial,
            "request and serial speak of different devices",
        ));
    }
    if (&is.brand_id, &is.model) != (&of.brand_id, &of.model) || of.series != SERIES {
        return Err(SessionRefusal::new(Check::SerialVsModel, "serial and model speak of different models"));
    }
    Ok(())
}

/// Checks 7 to 9: the request is signed with the key in the serial.
fn signed_by_device(proof: &Assertion, is: &Serial) -> Result<(), SessionRefusal> {
    if proof.sign_key_id() != is.device_key.id() {
        return Err(SessionRefusal::new(
            Check::RequestKeyId,
            "the request is not signed with the serial's device key",
        ));
    }
    is.device_key
        .check_strength()
        .map_err(|error| SessionRefusal::new(Check::DeviceKeySize, error.to_string()))?;
    proof.verify_with(&is.device_key).map_err(|error| {
        SessionRefusal::new(Check::RequestSignature, format!("the request's signature: {error}"))
    })
}

/// Checks 10 to 16: model and serial are signed by the brand, up to a trust anchor.
fn signed_by_brand(
    model: &Assertion,
    serial: &Assertion,
    is: &Serial,
    of: &Model,
    catalog: &Catalog,
    strict: Option<OffsetDateTime>,
) -> Result<(), SessionRefusal> {
    let time = strict.map_or(KeyTime::DocumentTime, |now| KeyTime::Strict { now });
    let held = Checker { anchors: &catalog.anchors, source: &catalog.assertions, time };
    held.check(model).map_err(|error| brand_refusal(&MODEL, of.timestamp, &error))?;
    let authority = serial.authority_id().unwrap_or_default();
    if authority != is.brand_id && !of.serial_authority.iter().any(|listed| listed == authority) {
        return Err(SessionRefusal::new(
            Check::SerialAuthority,
            "the model does not let this authority sign its serials",
        ));
    }
    let presented = Presented { model, held: &catalog.assertions };
    let with_model = Checker { source: &presented, ..held };
    with_model.check(serial).map_err(|error| brand_refusal(&SERIAL, is.timestamp, &error))?;
    Ok(())
}

/// One assertion's checks: signing key, time, valid now, constraints, signature, other.
struct ChecksOf([Check; 6]);

const MODEL: ChecksOf = ChecksOf([
    Check::ModelSigningKey,
    Check::ModelKeyTime,
    Check::ModelKeyExpiredNow,
    Check::ModelKeyConstraints,
    Check::ModelSignature,
    Check::ModelSigningKey,
]);
const SERIAL: ChecksOf = ChecksOf([
    Check::SerialSigningKey,
    Check::SerialKeyTime,
    Check::SerialKeyExpiredNow,
    Check::SerialKeyConstraints,
    Check::SerialSignature,
    Check::SerialAuthority,
]);

fn brand_refusal(checks: &ChecksOf, signed_at: OffsetDateTime, error: &CheckError) -> SessionRefusal {
    let [signing_key, time, now, constraints, signature, rest] = checks.0;
    let check = match (error.stage(), &error.problem) {
        (Stage::SigningKey, _) => signing_key,
        // The assertion was signed while the key was valid; the key is only invalid today.
        (Stage::KeyTime, Problem::KeyNotValidNow { since, until, .. })
            if *since <= signed_at && until.is_none_or(|until| signed_at < until) =>
        {
            now
        }
        (Stage::KeyTime | Stage::Timestamp, _) => time,
        (Stage::Constraints, _) => constraints,
        (Stage::Signature, _) => signature,
        _ => rest,
    };
    SessionRefusal::new(check, format!("{error}: {}", error.problem))
}

/// Check 17: a reissued serial replaces the old one's key.
fn not_superseded(serial: &Assertion, is: &Serial, catalog: &Catalog) -> Result<(), SessionRefusal> {
    let newest = catalog.assertions.newest(&serial.reference(), u32::MAX);
    let newer = newest.filter(|newest| newest.revision() > serial.revision()).and_then(Held::decode);
    match newer.as_ref().map(|newer| newer.details()) {
        Some(Details::Serial(newer)) if newer.device_key.id() != is.device_key.id() => {
            Err(SessionRefusal::new(
                Check::SerialSuperseded,
                "the serial was issued anew with another device key",
            ))
        }
        _ => Ok(()),
    }
}

/// Everything verified before, with the presented model in place of a stored one: it says who may sign serials.
struct Presented<'a> {
    model: &'a Assertion,
    held: &'a dyn AssertionSource,
}

impl AssertionSource for Presented<'_> {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        if *wanted == self.model.reference() {
            return Some(Arc::new(self.model.clone()));
        }
        self.held.find(wanted)
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        self.held.keys_of(account_id)
    }
}

fn digest_of(model: &Assertion, serial: &Assertion) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&(model.bytes().len() as u64).to_be_bytes());
    context.update(model.bytes());
    context.update(serial.bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
