//! The signing desk: keys that cannot sign, and devices that get no serial.

use schema::api::admin::Urgency::{Advice, Now, Soon};

use super::Found;

/// What is known of the desk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    /// Keys that the signer cannot use, whether an HSM holds them, and why.
    pub(crate) locked: Vec<(String, bool, String)>,
    /// Keys that sign nothing although an open model has its serials signed by them: key, its state, and the model.
    pub(crate) not_ready: Vec<(String, &'static str, String)>,
    /// Keys that have signed as much as they may today.
    pub(crate) at_limit: Vec<(String, u32)>,
    /// Requests for a serial that failed within a day: model, check, how often, and what the last device was told.
    pub(crate) refused: Vec<(String, String, u64, String)>,
}

pub(super) fn examine(desk: &Desk, found: &mut Found) {
    for (name, on_token, why) in &desk.locked {
        let what = format!("Key {name} cannot sign: {why}.");
        let mend = match on_token {
            true => "proxy config proxy.signing.pkcs11.module= proxy.signing.pkcs11.pin-file=",
            false => "proxy config --import-yaml",
        };
        found.add(Now, "key-locked", what, "What it signs waits: devices get no serial.", mend);
    }
    for (name, state, model) in &desk.not_ready {
        let what = format!("Key {name} signs the serials of {model}, and is {state}.");
        let mend = match *state {
            "requested" => format!("proxy keys request {name}"),
            _ => "proxy keys create NAME --for serial --account BRAND".to_owned(),
        };
        found.add(Now, "key-not-ready", what, "Devices of the model get no serial.", mend);
    }
    for (name, limit) in &desk.at_limit {
        let what = format!("Key {name} has signed the {limit} documents that it may sign in a day.");
        let why = "What it signs waits until midnight UTC.";
        found.add(Soon, "key-at-its-limit", what, why, format!("proxy keys limit {name} --none"));
    }
    for (model, check, times, why) in &desk.refused {
        let of = if model.is_empty() { "devices".to_owned() } else { format!("devices of {model}") };
        let what = format!("{times} requests for a serial by {of} failed ({check}). The last one: {why}.");
        let because = "A device without a serial sees the global store only.";
        found.add(Advice, "registrations-refused", what, because, "proxy list-misses");
    }
}
