//! The signing desk: keys that cannot sign, and devices that get no serial.

use schema::api::admin::Urgency::{Advice, Now, Soon};
use schema::signing::Purpose;

use super::Found;

/// What is known of the desk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    /// Keys that the signer cannot use.
    pub(crate) locked: Vec<Locked>,
    /// Models that are closed since a restore, and the command that opens each.
    pub(crate) restored: Vec<(String, String)>,
    /// Keys that sign nothing although an open model has its serials signed by them: key, its state, and the model.
    pub(crate) not_ready: Vec<(String, &'static str, String)>,
    /// Keys that have signed as much as they may today.
    pub(crate) at_limit: Vec<(String, u32)>,
    /// Requests for a serial that failed within a day: model, check, how often, and what the last device was told.
    pub(crate) refused: Vec<(String, String, u64, String)>,
}

/// A key that the signer cannot use.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    /// Its name.
    pub(crate) key: String,
    /// What it signs.
    pub(crate) purpose: Purpose,
    /// What the signer says.
    pub(crate) why: String,
    /// The command that comes next.
    pub(crate) mend: String,
}

pub(super) fn examine(desk: &Desk, found: &mut Found) {
    for Locked { key, purpose, why, mend } in &desk.locked {
        let what = format!("Key {key} cannot sign: {why}.");
        let waits = match purpose {
            Purpose::Serial => "Devices of its models get no serial.",
            Purpose::SystemUser => "`proxy break-glass` makes no user with it.",
            Purpose::ValidationSet => "`proxy train sign` and `proxy train back` sign nothing with it.",
            Purpose::Model => "`snap sign` and snapcraft sign nothing with it.",
        };
        found.add(Now, "key-locked", what, waits, mend);
    }
    for (model, again) in &desk.restored {
        let what = format!(
            "The policy of {model} is closed since the restore: the backup does not tell which serials were given out after it."
        );
        found.add(Now, "model-restored", what, "Devices of the model get no serial.", again);
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
