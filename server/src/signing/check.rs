//! The ordered check of a request for a serial: cheap things first, and nothing is remembered of a request that fails.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use schema::assertion::{Assertion, Checker, Details, KeyTime, PublicKey, is_strict_serial};
use schema::session::Nonce;
use schema::signing::Pattern;
use schema::store::{DeviceId, SERIES};
use serde_json::Value;
use time::OffsetDateTime;

use super::keys::{self, KeyState};
use super::models;
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
    RequestVsModel "request-vs-model",
    Policy "policy",
    SerialAuthority "serial-authority",
    ApiKey "api-key",
    Serial "serial",
    SerialTaken "serial-taken",
    SerialNotListed "serial-not-listed",
    SerialsUsedUp "serials-used-up",
    Blocked "blocked",
    NotApproved "not-approved",
}

/// The first check that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    check: Check,
    why: String,
}

impl Refusal {
    pub(super) fn new(check: Check, why: impl Into<String>) -> Self {
        Self { check, why: why.into() }
    }

    /// The check.
    pub(crate) fn check(&self) -> Check {
        self.check
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
    pub(super) wanted: Wanted,
    /// Its request id; `None` if this very request was accepted before, and waits.
    pub(super) nonce: Option<Nonce>,
    /// The serial that it proposes.
    pub(super) proposed: Option<String>,
    /// The hardware that it says it is.
    pub(super) hardware: Option<String>,
}

/// Checks a request against the catalog. `open_id` says whether a request id is from this store and still valid, or that it
/// need not be; `header` gives the value of a header of the request.
pub(super) fn check(
    body: &[u8],
    catalog: &Catalog,
    open_id: impl Fn(&str) -> Result<Option<Nonce>, String>,
    header: impl Fn(&str) -> Option<Vec<u8>>,
    now: OffsetDateTime,
) -> Result<Checked, Refusal> {
    let documents = Assertion::decode_stream(body)
        .map_err(|error| Refusal::new(Check::Decode, format!("the request cannot be read: {error}")))?;
    let [request, model] = documents.as_slice() else {
        return Err(Refusal::new(
            Check::Types,
            "it takes a serial-request and then the model, and nothing else",
        ));
    };
    let (Details::SerialRequest(asks), Details::Model(of)) = (request.details(), model.details()) else {
        return Err(Refusal::new(Check::Types, "it takes a serial-request and then the model"));
    };
    if request.format() > request.kind().max_format() {
        return Err(Refusal::new(Check::Types, "the request has a format that this store cannot read"));
    }
    if ["original-brand-id", "original-model", "original-serial"]
        .iter()
        .any(|name| request.text(name).is_some())
    {
        return Err(Refusal::new(
            Check::Types,
            "this store gives no serial to a device that had another model",
        ));
    }
    asks.device_key
        .check_strength()
        .map_err(|error| Refusal::new(Check::DeviceKey, format!("its key cannot be used: {error}")))?;
    request.verify_with(&asks.device_key).map_err(|error| {
        Refusal::new(Check::RequestSignature, format!("the request's signature: {error}"))
    })?;
    let nonce = open_id(&asks.request_id).map_err(|why| Refusal::new(Check::RequestId, why))?;
    let time = KeyTime::DocumentTime;
    let held = Checker { anchors: &catalog.anchors, source: &catalog.assertions, time };
    held.check(model).map_err(|error| {
        Refusal::new(Check::Model, format!("its model is not accepted: {error}: {}", error.problem))
    })?;
    if (&asks.brand_id, &asks.model) != (&of.brand_id, &of.model) || of.series != SERIES {
        return Err(Refusal::new(Check::RequestVsModel, "request and model speak of different models"));
    }
    let policy = models::find(catalog, &of.brand_id, &of.model);
    let Some(policy) = policy.filter(|policy| policy.closed.is_none()) else {
        let why = format!("this store signs no serials for {}/{}", of.brand_id, of.model);
        return Err(Refusal::new(Check::Policy, why));
    };
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
        let given = header(name).map(|value| hex(digest(&SHA256, &value).as_ref())).unwrap_or_default();
        if verify_slices_are_equal(given.as_bytes(), wanted.as_bytes()).is_err() {
            return Err(Refusal::new(Check::ApiKey, "it does not show the API key of its model"));
        }
    }
    let hardware = hardware_id(request.body());
    let wanted = wanted(&policy, asks.serial.as_deref(), hardware.as_deref())?;
    if let Wanted::Exactly(serial) = &wanted {
        not_blocked(catalog, &policy, serial)?;
    }
    let (device_key, proposed) = (asks.device_key.clone(), asks.serial.clone());
    Ok(Checked { model: model.clone(), policy, key, device_key, wanted, nonce, proposed, hardware })
}

/// Whether the operator has blocked the device with this serial.
pub(super) fn not_blocked(catalog: &Catalog, policy: &PolicyRecord, serial: &str) -> Result<(), Refusal> {
    let PolicyRecord { brand, model, .. } = policy;
    let device = DeviceId { brand: brand.clone(), model: model.clone(), serial: serial.to_owned() };
    match catalog.blocked().contains(&device) {
        true => Err(Refusal::new(Check::Blocked, format!("{device} is blocked in this store"))),
        false => Ok(()),
    }
}

/// The serial that the policy lets this device have; [`Source::Assigned`] leaves it to the caller.
fn wanted(policy: &PolicyRecord, proposed: Option<&str>, hardware: Option<&str>) -> Result<Wanted, Refusal> {
    match (policy.source, proposed) {
        (Source::Assigned, _) => Ok(Wanted::Exactly(String::new())),
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
        (Source::Listed, proposed) => Ok(Wanted::Listed {
            proposed: proposed.map(str::to_owned),
            hardware: hardware.map(str::to_owned),
        }),
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
