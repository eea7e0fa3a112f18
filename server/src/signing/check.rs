//! The ordered check of a request for a serial: cheap things first, and nothing is remembered of a request that fails.

use std::fmt;
use std::time::Instant;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use schema::assertion::{
    Assertion, Checker, Details, KeyTime, Model, PublicKey, SerialRequest, is_strict_serial,
};
use schema::session::Nonce;
use schema::signing::Pattern;
use schema::store::{DeviceId, SERIES};
use serde_json::Value;
use time::OffsetDateTime;

use super::guesses::Guesses;
use super::hardware;
use super::keys::{self, KeyState};
use super::models;
use super::proven::Proven;
use crate::catalog::Catalog;
use crate::storage::policies::{KeyRecord, PolicyRecord, Source};
use crate::storage::serials::Wanted;

/// Longest serial that a device may propose, in bytes.
const LONGEST: usize = 128;

/// Declares the checks with their stable names.
macro_rules! checks {
    ($($check:ident $name:literal,)+) => {
        /// A check of a request for a serial, in order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Check {
            $(#[doc = $name] $check,)+
        }

        impl Check {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$check),+];

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
    DeviceKey "device-key",
    RequestSignature "request-signature",
    RequestId "request-id",
    Model "model",
    Original "original",
    RequestVsModel "request-vs-model",
    Policy "policy",
    Remodel "remodel",
    SerialAuthority "serial-authority",
    ApiKey "api-key",
    TooManyGuesses "too-many-guesses",
    Hardware "hardware",
    Serial "serial",
    SerialTaken "serial-taken",
    SerialNotListed "serial-not-listed",
    SerialsUsedUp "serials-used-up",
    Blocked "blocked",
    NotApproved "not-approved",
    DayLimit "day-limit",
}

/// The first check that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    check: Check,
    why: String,
    /// `BRAND/MODEL` of the signed model; empty as long as there is none.
    model: String,
}

impl Refusal {
    pub(super) fn new(check: Check, why: impl Into<String>) -> Self {
        Self { check, why: why.into(), model: String::new() }
    }

    /// The same, of a device of this model.
    pub(super) fn of(self, brand: &str, model: &str) -> Self {
        Self { model: format!("{brand}/{model}"), ..self }
    }

    /// `BRAND/MODEL` of the signed model; empty if there is none.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// The check.
    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// Whether the device did nothing wrong, and asks again later.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.check, Check::TooManyGuesses | Check::DayLimit)
    }

    /// Whether the request is malformed, as opposed to a device that gets no serial.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(
            self.check,
            Check::Decode | Check::Types | Check::DeviceKey | Check::RequestSignature | Check::RequestId
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give this device a serial: {}", self.why)
    }
}

impl std::error::Error for Refusal {}

/// A request that may get a serial.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) model: Assertion,
    pub(super) policy: PolicyRecord,
    pub(super) key: KeyRecord,
    pub(super) device_key: PublicKey,
    /// The serial that it may have, unless its key has one already.
    pub(super) wanted: Result<Wanted, Refusal>,
    /// Its request id; `None` if this very request was accepted before, and waits.
    pub(super) nonce: Option<Nonce>,
    /// The serial that it proposes.
    pub(super) proposed: Option<String>,
    /// The hardware that it says it is.
    pub(super) hardware: Option<String>,
    /// What it was before it got another model.
    pub(super) original: Option<DeviceId>,
}

/// Checks a request against the catalog. `open_id` says whether a request id is from this store and still valid, or that it
/// need not be; `header` gives the value of a header of the request.
pub(super) fn check(
    body: &[u8],
    catalog: &Catalog,
    open_id: impl Fn(&str) -> Result<Option<Nonce>, String>,
    header: impl Fn(&str) -> Option<Vec<u8>>,
    (guesses, proven): (&Guesses, &Proven),
    now: OffsetDateTime,
) -> Result<Checked, Refusal> {
    let documents = Assertion::decode_stream(body)
        .map_err(|error| Refusal::new(Check::Decode, format!("the request cannot be read: {error}")))?;
    let [request, model, rest @ ..] = documents.as_slice() else {
        return Err(Refusal::new(Check::Types, "it takes a serial-request and then the model"));
    };
    let (Details::SerialRequest(asks), Details::Model(of)) = (request.details(), model.details()) else {
        return Err(Refusal::new(Check::Types, "it takes a serial-request and then the model"));
    };
    if request.format() > request.kind().max_format() {
        return Err(Refusal::new(Check::Types, "the request has a format that this store cannot read"));
    }
    let original = Original::of(request, rest)?;
    asks.device_key
        .check_strength()
        .map_err(|error| Refusal::new(Check::DeviceKey, format!("its key cannot be used: {error}")))?;
    if !asks.device_key.has_usual_exponent() {
        return Err(Refusal::new(Check::DeviceKey, "its key cannot be used: its exponent is not 65537"));
    }
    request.verify_with(&asks.device_key).map_err(|error| {
        Refusal::new(Check::RequestSignature, format!("the request's signature: {error}"))
    })?;
    let nonce = open_id(&asks.request_id).map_err(|why| Refusal::new(Check::RequestId, why))?;
    let time = KeyTime::DocumentTime;
    let held = Checker { anchors: &catalog.anchors, source: &catalog.assertions, time };
    proven.check(&held, model).map_err(|error| {
        Refusal::new(Check::Model, format!("its model is not accepted: {error}: {}", error.problem))
    })?;
    if let Some(original) = &original {
        original.check(&held, &asks.device_key)?;
    }
    if (&asks.brand_id, &asks.model) != (&of.brand_id, &of.model) || of.series != SERIES {
        return Err(Refusal::new(Check::RequestVsModel, "request and model speak of different models"));
    }
    let parts = Parts { asks, of, model, original, nonce, about: request.body() };
    parts.check(catalog, header, guesses, now).map_err(|refusal| refusal.of(&of.brand_id, &of.model))
}

/// A request whose documents are sound.
struct Parts<'a> {
    asks: &'a SerialRequest,
    of: &'a Model,
    model: &'a Assertion,
    original: Option<Original<'a>>,
    nonce: Option<Nonce>,
    /// What the gadget says of the device.
    about: &'a [u8],
}

impl Parts<'_> {
    /// Whether the policy of its model lets the device have a serial.
    fn check(
        self,
        catalog: &Catalog,
        header: impl Fn(&str) -> Option<Vec<u8>>,
        guesses: &Guesses,
        now: OffsetDateTime,
    ) -> Result<Checked, Refusal> {
        let Parts { asks, of, model, original, nonce, about } = self;
        let policy = match models::find(catalog, &of.brand_id, &of.model) {
            Some(policy) if policy.closed.is_none() => policy,
            Some(policy) if policy.is_restored() => {
                let why = format!(
                    "the store was restored, and the operator has to open {}/{} again with `proxy models add`",
                    of.brand_id, of.model
                );
                return Err(Refusal::new(Check::Policy, why));
            }
            _ => {
                let why = format!("this store signs no serials for {}/{}", of.brand_id, of.model);
                return Err(Refusal::new(Check::Policy, why));
            }
        };
        if let Some(original) = &original {
            if !policy.from.contains(&original.model()) {
                let why = format!(
                    "a device of {} may not become one of {}/{}",
                    original.model(),
                    of.brand_id,
                    of.model
                );
                return Err(Refusal::new(Check::Remodel, why));
            }
            is_not_blocked(catalog, &original.device)?;
        }
        let Some(key) = keys::find(catalog, &policy.key) else {
            return Err(Refusal::new(Check::Policy, "the key of its model is gone"));
        };
        if !matches!(KeyState::of(&key, catalog, now), KeyState::Ready { .. }) {
            return Err(Refusal::new(
                Check::Policy,
                "the key for its model is not ready: the operator sees why in `proxy keys list`",
            ));
        }
        let account = &key.label.account;
        if *account != of.brand_id && !of.serial_authority.iter().any(|listed| listed == account) {
            let why = format!("its model does not let {account} sign its serials");
            return Err(Refusal::new(Check::SerialAuthority, why));
        }
        if let Some((name, wanted)) = &policy.api_key {
            if !guesses.are_few(Instant::now()) {
                return Err(Refusal::new(
                    Check::TooManyGuesses,
                    "too many wrong API keys: it asks again in a minute",
                ));
            }
            let given = header(name).map(|value| hex(digest(&SHA256, &value).as_ref())).unwrap_or_default();
            if verify_slices_are_equal(given.as_bytes(), wanted.as_bytes()).is_err() {
                guesses.count(Instant::now());
                return Err(Refusal::new(Check::ApiKey, "it does not show the API key of its model"));
            }
        }
        let hardware = match policy.hardware {
            false => hardware_id(about),
            true => {
                let proven = hardware::proven(about, &asks.request_id, &of.brand_id, &catalog.assertions);
                Some(proven.map_err(|why| Refusal::new(Check::Hardware, why))?)
            }
        };
        let kept = original.as_ref().map(|original| &*original.device.serial);
        let wanted = wanted(&policy, asks.serial.as_deref(), kept, hardware.as_deref());
        let wanted = wanted.map_err(|refusal| refusal.of(&of.brand_id, &of.model));
        if let Ok(Wanted::Exactly(serial)) = &wanted {
            not_blocked(catalog, &policy, serial)?;
        }
        let (device_key, proposed) = (asks.device_key.clone(), asks.serial.clone());
        let original = original.map(|original| original.device);
        let model = model.clone();
        Ok(Checked { model, policy, key, device_key, wanted, nonce, proposed, hardware, original })
    }
}

/// What a device was before it got another model.
struct Original<'a> {
    device: DeviceId,
    serial: &'a Assertion,
}

impl<'a> Original<'a> {
    /// What the request names, with the serial that follows the model; `None` for a device that was nothing before.
    fn of(request: &Assertion, rest: &'a [Assertion]) -> Result<Option<Self>, Refusal> {
        let named = ["original-brand-id", "original-model", "original-serial"].map(|name| request.text(name));
        match (named, rest) {
            ([None, None, None], []) => Ok(None),
            ([Some(brand), Some(model), Some(name)], [serial]) => {
                let [brand, model, name] = [brand, model, name].map(str::to_owned);
                Ok(Some(Self { device: DeviceId { brand, model, serial: name }, serial }))
            }
            ([None, None, None], _) => Err(Refusal::new(
                Check::Types,
                "it takes a serial-request and then the model, and nothing else",
            )),
            _ => Err(Refusal::new(
                Check::Types,
                "a device that had another model names it, and sends its serial of then after the new model",
            )),
        }
    }

    /// `BRAND/MODEL`.
    fn model(&self) -> String {
        format!("{}/{}", self.device.brand, self.device.model)
    }

    /// Whether this is the serial that the request names, of the device that asks.
    fn check(&self, held: &Checker<'_>, device_key: &PublicKey) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::new(Check::Original, why));
        let Details::Serial(of) = self.serial.details() else {
            return refused("its earlier serial is another document".to_owned());
        };
        let DeviceId { brand, model, serial } = &self.device;
        if (brand, model, serial) != (&of.brand_id, &of.model, &of.serial) {
            return refused("the request names another serial than the one that it brings".to_owned());
        }
        if of.device_key_id != device_key.id() {
            return refused("its earlier serial belongs to another device key".to_owned());
        }
        match held.check(self.serial) {
            Ok(_) => Ok(()),
            Err(error) => refused(format!("its earlier serial is not accepted: {error}: {}", error.problem)),
        }
    }
}

/// Whether the operator has blocked the device with this serial.
pub(super) fn not_blocked(catalog: &Catalog, policy: &PolicyRecord, serial: &str) -> Result<(), Refusal> {
    let PolicyRecord { brand, model, .. } = policy;
    let device = DeviceId { brand: brand.clone(), model: model.clone(), serial: serial.to_owned() };
    is_not_blocked(catalog, &device)
}

fn is_not_blocked(catalog: &Catalog, device: &DeviceId) -> Result<(), Refusal> {
    match catalog.blocked().contains(device) {
        true => Err(Refusal::new(Check::Blocked, format!("{device} is blocked in this store"))),
        false => Ok(()),
    }
}

/// The serial that the policy lets this device have: what it proposes, or else the one that it had as another model. An empty
/// one stands for a random one.
fn wanted(
    policy: &PolicyRecord,
    proposed: Option<&str>,
    kept: Option<&str>,
    hardware: Option<&str>,
) -> Result<Wanted, Refusal> {
    let named = proposed.or(kept);
    match (policy.source, named) {
        (Source::Assigned, _) => {
            let kept = kept.filter(|serial| is_strict_serial(serial) && serial.len() <= LONGEST);
            Ok(Wanted::Exactly(kept.unwrap_or_default().to_owned()))
        }
        (Source::Proposed, None) => {
            Err(Refusal::new(Check::Serial, "its gadget proposes no serial, and its model needs that"))
        }
        (Source::Proposed, Some(serial)) => {
            let pattern = policy.pattern.as_deref().and_then(|pattern| Pattern::new(pattern).ok());
            let fits = pattern.is_some_and(|pattern| pattern.fits(serial));
            if !fits || !is_strict_serial(serial) || serial.len() > LONGEST {
                return Err(Refusal::new(
                    Check::Serial,
                    "the serial that it proposes is not one of its model",
                ));
            }
            Ok(Wanted::Exactly(serial.to_owned()))
        }
        (Source::Listed, named) => {
            Ok(Wanted::Listed { proposed: named.map(str::to_owned), hardware: hardware.map(str::to_owned) })
        }
    }
}

/// The hardware id in the body of a request: a member of a JSON object, or a line `hardware-id: ID`.
fn hardware_id(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let json: Option<Value> = serde_json::from_str(text).ok();
    let member = json.as_ref().and_then(|json| json.get("hardware-id")?.as_str());
    let line = || text.lines().find_map(|line| line.strip_prefix("hardware-id:"));
    member.or_else(line).map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_says_what_it_is_in_either_form() {
        let id = |text: &str| hardware_id(text.as_bytes());
        assert_eq!(id("{\"hardware-id\": \"00:16:3e\", \"x\": 1}").as_deref(), Some("00:16:3e"));
        assert_eq!(id("mac: aa\nhardware-id: 00:16:3e \n").as_deref(), Some("00:16:3e"));
        for none in ["", "{}", "{\"hardware-id\": 5}", "hardware-id:", "x-hardware-id: a", "[1]"] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
