//! Deltas for devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::DeltaFormat;

/// The deltas of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Deltas {
    /// Bytes that deltas may take; 0 where none are made.
    pub budget: u64,
    /// Bytes that those of all snaps take.
    pub used: u64,
    /// Those that are there or would be of use, most wanted first.
    pub deltas: Vec<DeltaStatus>,
}

/// How the delta from one revision to another stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaStatus {
    /// The snap's name.
    pub snap: String,
    /// The snap's id.
    pub snap_id: String,
    /// The revision that a device has.
    pub source: u32,
    /// The revision that it gets.
    pub target: u32,
    /// The format, as devices name it.
    pub format: DeltaFormat,
    /// Whether it is there.
    pub state: DeltaState,
    /// Bytes, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes of the whole target.
    pub full_size: u64,
    /// Why it is not there, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a delta is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeltaState {
    /// It is there and is offered.
    Made,
    /// It will be made.
    Waiting,
    /// It would be larger than `proxy.deltas.keep-ratio` allows.
    TooLarge,
    /// It could not be made.
    Failed,
    /// An operator dropped it.
    Dropped,
}

/// How much of what devices were offered and downloaded was deltas. The fields are named as the metrics are, `airlock_…_total`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaTraffic {
    /// Bytes of whole snaps that were sent.
    pub snaps_served_bytes: u64,
    /// How often a whole snap was downloaded right after a delta that leads to it, by a device that had not been offered it anew.
    pub deltas_fallbacks: u64,
    /// The deltas, by format; a format without any is left out.
    #[serde(default)]
    pub formats: Vec<FormatTraffic>,
}

/// Deltas of one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FormatTraffic {
    /// The format, as devices name it.
    pub format: DeltaFormat,
    /// Deltas in answers to devices. One that a device does not take is in the next answer again.
    #[serde(default)]
    pub deltas_offered: u64,
    /// Bytes of these deltas.
    #[serde(default)]
    pub deltas_offered_bytes: u64,
    /// Downloads of deltas, those of a part too.
    #[serde(default)]
    pub deltas_served: u64,
    /// Bytes of deltas that were sent.
    #[serde(default)]
    pub deltas_served_bytes: u64,
}

impl DeltaTraffic {
    /// What is said of a format.
    pub fn of(&mut self, format: DeltaFormat) -> &mut FormatTraffic {
        let place = match self.formats.binary_search_by_key(&format, |one| one.format) {
            Ok(place) => place,
            Err(place) => {
                self.formats.insert(place, FormatTraffic::none(format));
                place
            }
        };
        &mut self.formats[place]
    }

    /// Adds other traffic to this.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.snaps_served_bytes, other.snaps_served_bytes);
        add(&mut self.deltas_fallbacks, other.deltas_fallbacks);
        for other in &other.formats {
            let own = self.of(other.format);
            add(&mut own.deltas_offered, other.deltas_offered);
            add(&mut own.deltas_offered_bytes, other.deltas_offered_bytes);
            add(&mut own.deltas_served, other.deltas_served);
            add(&mut own.deltas_served_bytes, other.deltas_served_bytes);
        }
    }
}

impl FormatTraffic {
    fn none(format: DeltaFormat) -> Self {
        Self { format, deltas_offered: 0, deltas_offered_bytes: 0, deltas_served: 0, deltas_served_bytes: 0 }
    }
}

/// Deltas that a server holds, and what they came to at all servers of its database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaUse {
    /// Bytes that deltas may take; 0 where none are made.
    pub budget: u64,
    /// What this server holds, by format.
    pub held: Vec<HeldDeltas>,
    /// The hour under way and the 23 before it; `None` while the database does not answer.
    pub last_24_hours: Option<DeltaTraffic>,
    /// The day under way, in UTC, and the 29 before it; `None` while the database does not answer.
    pub last_30_days: Option<DeltaTraffic>,
}

impl DeltaUse {
    /// Whether there are no deltas, none were offered, and none will be made.
    pub fn is_nothing(&self) -> bool {
        let spans = [&self.last_24_hours, &self.last_30_days];
        self.budget == 0
            && self.held.is_empty()
            && spans.into_iter().flatten().all(|traffic| traffic.formats.is_empty())
    }
}

/// Deltas of one format that are offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldDeltas {
    /// The format, as devices name it.
    pub format: DeltaFormat,
    /// How many.
    pub deltas: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Has deltas made, or drops them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DeltaRequest {
    /// The snap's name, or its id.
    pub snap: String,
    /// The revision that a device has, and the one that it gets. Without these, all of the snap's deltas are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<(u32, u32)>,
    /// Are they to be dropped?
    #[serde(default)]
    pub drop: bool,
}
