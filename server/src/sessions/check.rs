//! The ordered check of the three assertions with which a device authenticates. See
//! `schema/docs/assertions.md#device-sessions`.
//!
//! Model and serial are read and verified once per catalog; a later session is one signature over a nonce. Cheap checks come
//! before signatures, and nothing is remembered of a device that fails one. The keys of a brand
//! that this store does not serve are not required: such a device, most often a `generic` one, gets a session of
//! global scope, because snapd with a serial fails every request without a session.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use schema::api::device::SessionRequest;
use schema::assertion::{
    Assertion, AssertionSource, CheckError, Checker, Details, KeyTime, Model, Problem, PublicKey, Ref,
    Serial, Stage,
};
use schema::session::Nonce;
use schema::store::{DeviceId, SERIES, StoreId};
use time::OffsetDateTime;

use super::enrolled::Enrolled;
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

/// Checks a request, whose model and serial have this digest, against the catalog. `open_nonce` says whether a nonce is from this store and still valid;
/// `strict` is the time at which signing keys must also be valid, if the operator requires that.
pub(crate) fn check(
    request: &SessionRequest,
    digest: [u8; 32],
    catalog: &Catalog,
    open_nonce: impl Fn(&str) -> Result<Nonce, String>,
    strict: Option<OffsetDateTime>,
    remembered: &Documents,
) -> Result<Checked, SessionRefusal> {
    let read = |what: &str, text: &str| {
        Assertion::decode(text.as_bytes()).map_err(|error| SessionRefusal::decode(format!("{what}: {error}")))
    };
    let proof = read("device-session-request", &request.device_session_request)?;
    let known = remembered.find(&digest);
    let presented = match &known {
        Some(_) => None,
        None => Some((
            read("serial-assertion", &request.serial_assertion)?,
            read("model-assertion", &request.model_assertion)?,
        )),
    };
    let types =
        || SessionRefusal::new(Check::Types, "it takes a device-session-request, a serial and a model");
    let Details::DeviceSessionRequest(wants) = proof.details() else { return Err(types()) };
    let pair = match &presented {
        None => None,
        Some((serial, model)) => Some(Pair::of(serial, model).ok_or_else(types)?),
    };
    let documents = presented.iter().flat_map(|(serial, model)| [serial, model]).chain([&proof]);
    if documents.into_iter().any(|document| document.format() > document.kind().max_format()) {
        return Err(SessionRefusal::new(
            Check::RequestFormat,
            "a document has a format that this store cannot read",
        ));
    }
    let nonce = open_nonce(&wants.nonce).map_err(|why| SessionRefusal::new(Check::Nonce, why))?;
    let said = || pair.as_ref().map(|pair| Arc::new(Enrolled::of(pair)));
    let enrolled = known.or_else(said).ok_or_else(types)?;
    let DeviceId { brand, model, serial } = &enrolled.device;
    if (&wants.brand_id, &wants.model, &wants.serial) != (brand, model, serial) {
        return Err(SessionRefusal::new(
            Check::RequestVsSerial,
            "request and serial speak of different devices",
        ));
    }
    if let Some(pair) = &pair {
        pair.belongs_together()?;
    }
    signed_by_device(&proof, &enrolled.device_key)?;

    let brand_is_ours = catalog.knows_brand(brand);
    if brand_is_ours {
        if let Some(pair) = &pair {
            pair.signed_by_brand(catalog, strict)?;
            remembered.remember(digest, Arc::clone(&enrolled));
        }
        not_superseded(&enrolled, catalog)?;
    }
    let device = enrolled.device.clone();
    if catalog.blocked().contains(&device) {
        return Err(SessionRefusal::new(Check::NotEntitled, "the device is blocked in this store"));
    }
    let store = match enrolled.store.as_deref().map(str::parse).transpose() {
        Err(_) if brand_is_ours => {
            return Err(SessionRefusal::new(Check::NotEntitled, "the model names an impossible store id"));
        }
        named => named.ok().flatten(),
    };
    Ok(Checked { device, store, verified: brand_is_ours, nonce })
}

impl Enrolled {
    fn of(pair: &Pair<'_>) -> Self {
        let Serial { brand_id, model, serial, .. } = pair.is;
        Self {
            device: DeviceId { brand: brand_id.clone(), model: model.clone(), serial: serial.clone() },
            device_key: pair.is.device_key.clone(),
            store: pair.of.store.clone(),
            revision: pair.serial.revision(),
            serial: pair.serial.reference(),
        }
    }
}

/// A serial and a model that were presented together.
struct Pair<'a> {
    serial: &'a Assertion,
    model: &'a Assertion,
    is: &'a Serial,
    of: &'a Model,
}

impl<'a> Pair<'a> {
    fn of(serial: &'a Assertion, model: &'a Assertion) -> Option<Self> {
        match (serial.details(), model.details()) {
            (Details::Serial(is), Details::Model(of)) => Some(Self { serial, model, is, of }),
            _ => None,
        }
    }

    /// Check 6: one model.
    fn belongs_together(&self) -> Result<(), SessionRefusal> {
        let Self { is, of, .. } = self;
        if (&is.brand_id, &is.model) != (&of.brand_id, &of.model) || of.series != SERIES {
            return Err(SessionRefusal::new(
                Check::SerialVsModel,
                "serial and model speak of different models",
            ));
        }
        Ok(())
    }

    /// Checks 10 to 16: both are signed by the brand, up to a trust anchor.
    fn signed_by_brand(
        &self,
        catalog: &Catalog,
        strict: Option<OffsetDateTime>,
    ) -> Result<(), SessionRefusal> {
        let Self { serial, model, is, of } = self;
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
}

/// Checks 7 to 9: the request is signed with the key in the serial.
fn signed_by_device(proof: &Assertion, device_key: &PublicKey) -> Result<(), SessionRefusal> {
    if proof.sign_key_id() != device_key.id() {
        return Err(SessionRefusal::new(
            Check::RequestKeyId,
            "the request is not signed with the serial's device key",
        ));
    }
    device_key
        .check_strength()
        .map_err(|error| SessionRefusal::new(Check::DeviceKeySize, error.to_string()))?;
    proof.verify_with(device_key).map_err(|error| {
        SessionRefusal::new(Check::RequestSignature, format!("the request's signature: {error}"))
    })
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
fn not_superseded(enrolled: &Enrolled, catalog: &Catalog) -> Result<(), SessionRefusal> {
    if catalog.taken(&enrolled.device).is_some_and(|taken| enrolled.revision <= taken.revision) {
        return Err(SessionRefusal::new(
            Check::SerialSuperseded,
            "the store's operators took the serial from this device, for another one",
        ));
    }
    let newest = catalog.assertions.newest(&enrolled.serial, u32::MAX);
    let newer = newest.filter(|newest| newest.revision() > enrolled.revision).and_then(Held::decode);
    match newer.as_ref().map(|newer| newer.details()) {
        Some(Details::Serial(newer)) if newer.device_key.id() != enrolled.device_key.id() => {
            Err(SessionRefusal::new(
                Check::SerialSuperseded,
                "the serial was issued anew with another device key",
            ))
        }
        _ => Ok(()),
    }
}

/// Everything verified before, with the presented model in place of a stored one: it says who may sign serials.
pub(crate) struct Presented<'a> {
    /// The model.
    pub(crate) model: &'a Assertion,
    /// Everything else.
    pub(crate) held: &'a dyn AssertionSource,
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

/// Identifies the model and serial of a request.
pub(super) fn digest_of(request: &SessionRequest) -> [u8; 32] {
    let (model, serial) = (&request.model_assertion, &request.serial_assertion);
    let mut context = Context::new(&SHA256);
    context.update(&(model.len() as u64).to_be_bytes());
    context.update(model.as_bytes());
    context.update(serial.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
