//! Groups, tags and rollouts, which are facts, and how devices took to the revision of a rollout.

use std::collections::{BTreeSet, HashMap};

use schema::api::admin::{RolloutState, RolloutWave};
use schema::rollout::{GroupRules, Share, Wave, Windows};
use schema::store::{Channel, DeviceId, SnapId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Database;
use super::engine::{Lane, Mode, Reader, Value, statements};
use super::error::StorageError;

statements! {
    // Within ten minutes everything is one visit. The newest contact counts, however late it arrives.
    UPSERT_CONTACT = "INSERT INTO rollout_devices (rollout, brand, model, serial, offers, offered_at, with_at, without_at, held, seen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (rollout, brand, model, serial) DO UPDATE SET
            offers = CASE WHEN excluded.offered_at >= rollout_devices.offered_at + 600000000
                THEN rollout_devices.offers + 1 ELSE rollout_devices.offers END,
            offered_at = CASE WHEN excluded.offered_at >= rollout_devices.offered_at + 600000000
                THEN excluded.offered_at ELSE rollout_devices.offered_at END,
            with_at = CASE WHEN rollout_devices.with_at = 0 THEN excluded.with_at ELSE rollout_devices.with_at END,
            without_at = CASE WHEN excluded.without_at > rollout_devices.without_at
                THEN excluded.without_at ELSE rollout_devices.without_at END,
            held = CASE WHEN excluded.seen_at >= rollout_devices.seen_at THEN excluded.held ELSE rollout_devices.held END,
            seen_at = CASE WHEN excluded.seen_at >= rollout_devices.seen_at
                THEN excluded.seen_at ELSE rollout_devices.seen_at END";
    SELECT_CONTACTS = "SELECT brand, model, serial, offers, with_at, without_at, held FROM rollout_devices WHERE rollout = $1";
}

/// How long a visit lasts at most, in microseconds: the statements have the same.
const VISIT: i64 = 600_000_000;
/// What a group is called in facts, before its name; a removed one is there as `null`.
pub(crate) const GROUP: &str = "group.";
/// What the tags of a device are called in facts, before the device.
pub(crate) const TAGS: &str = "device-tags.";
/// What a rollout is called in facts, before its name.
pub(crate) const ROLLOUT: &str = "rollout.";

/// The fact of a group, or of its removal.
pub(crate) fn group_fact(name: &str, rules: Option<&GroupRules>) -> (String, String) {
    (format!("{GROUP}{name}"), json!(rules).to_string())
}

/// The fact of a device's tags.
pub(crate) fn tags_fact(device: &DeviceId, tags: &BTreeSet<String>) -> (String, String) {
    (format!("{TAGS}{device}"), json!(tags).to_string())
}

/// Waves that open one after another while their devices do well: what rollouts and trains have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// Whom it takes, one after another.
    pub(crate) waves: Vec<Wave>,
    /// When each open wave was opened, in microseconds since 1970.
    pub(crate) opened: Vec<i64>,
    /// Decides with its name which devices come first.
    pub(crate) salt: String,
    /// Seconds between the last device that is done and the next wave.
    pub(crate) soak: u64,
    /// The share of a wave that may fail.
    pub(crate) max_failed: Share,
    /// The share of a wave that may fall silent.
    pub(crate) max_silent: Share,
    /// When it offers what it brings; always without.
    #[serde(default)]
    pub(crate) windows: Option<Windows>,
    /// How many people have to approve the start, each further wave and the end.
    #[serde(default)]
    pub(crate) approvals: u32,
    /// How far it is.
    pub(crate) state: RolloutState,
    /// Why it is paused.
    pub(crate) why: Option<String>,
    /// The devices because of which it stopped.
    pub(crate) stopped_by: BTreeSet<DeviceId>,
    /// Devices that count no longer, because an operator resumed knowing of them.
    pub(crate) excused: BTreeSet<DeviceId>,
    /// Who planned it.
    pub(crate) who: String,
    /// How its waves were doing when it ended; what devices do later is not its doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ended: Vec<RolloutWave>,
}

impl Course {
    /// Whether the wave that takes a device is open.
    pub(crate) fn is_open(&self, wave: Option<usize>) -> bool {
        wave.is_some_and(|wave| wave < self.opened.len())
    }

    /// Whether it offers what it brings to devices of open waves that do not have it yet.
    pub(crate) fn offers(&self, now_micros: i64) -> bool {
        self.state == RolloutState::Running
            && self.windows.as_ref().is_none_or(|windows| windows.are_open(now_micros))
    }

    /// When the next window begins, if the moment is in none.
    pub(crate) fn next_window(&self, now_micros: i64) -> Option<i64> {
        let windows = self.windows.as_ref().filter(|windows| !windows.are_open(now_micros))?;
        Some(windows.next(now_micros).unwrap_or(i64::MAX))
    }
}

/// A rollout. Stored as the fact `rollout.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RolloutRecord {
    /// The snap.
    pub(crate) snap_id: SnapId,
    /// The channel whose devices it is for.
    pub(crate) channel: Channel,
    /// The revision that they get.
    pub(crate) revision: u32,
    /// When it was started, as answers to devices tell it, RFC 3339; empty before.
    pub(crate) released_at: String,
    /// Its waves.
    #[serde(flatten)]
    pub(crate) course: Course,
}

impl RolloutRecord {
    /// The fact to store.
    pub(crate) fn fact(&self, name: &str) -> (String, String) {
        (format!("{ROLLOUT}{name}"), json!(self).to_string())
    }
}

/// What a device of an open wave said at a contact of what the wave brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    /// The rollout, or the train and its sequence as `ACCOUNT/NAME=SEQUENCE`.
    pub(crate) rollout: String,
    /// When, in microseconds since 1970.
    pub(crate) at_micros: i64,
    /// Whether it has the revision.
    pub(crate) has: bool,
    /// Whether it was offered the revision without having it.
    pub(crate) offered: bool,
    /// Whether it holds its updates.
    pub(crate) held: bool,
}

impl Contact {
    /// Whether it says what an earlier one of the same rollout said at the same visit.
    pub(crate) fn repeats(&self, earlier: &Contact) -> bool {
        let said = |of: &Contact| (of.has, of.offered, of.held);
        said(self) == said(earlier) && (self.at_micros - earlier.at_micros).abs() < VISIT
    }
}

/// How a device took to the revision of a rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// At how many visits it was offered.
    pub(crate) offers: i64,
    /// When the device was first seen with it, in microseconds since 1970; 0 for never.
    pub(crate) with_micros: i64,
    /// When it was last seen without it; 0 for never.
    pub(crate) without_micros: i64,
    /// Whether it held its updates at the last contact.
    pub(crate) held: bool,
}

impl Database {
    /// Records contacts in one transaction. To record one again changes nothing.
    pub(crate) async fn record_contacts(
        &self,
        contacts: Vec<(DeviceId, Contact)>,
    ) -> Result<(), StorageError> {
        let row = |(device, contact): (DeviceId, Contact)| -> Vec<Value> {
            let Contact { rollout, at_micros, has, offered, held } = contact;
            let when = |it: bool| Value::from(if it { at_micros } else { 0 });
            vec![
                rollout.into(),
                device.brand.into(),
                device.model.into(),
                device.serial.into(),
                offered.into(),
                when(offered),
                when(has),
                when(!has),
                held.into(),
                at_micros.into(),
            ]
        };
        let mut rows: Vec<Vec<Value>> = contacts.into_iter().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        // In key order, so that two servers cannot deadlock; stable, so that the order of a device's contacts stays.
        rows.sort_by(|one, other| one[..4].cmp(&other[..4]));
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await?;
        transaction.each(UPSERT_CONTACT, rows).await?;
        transaction.commit().await
    }

    /// How devices took to the revision of a rollout.
    pub(crate) async fn contacts(&self, rollout: &str) -> Result<HashMap<DeviceId, Taken>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_CONTACTS, vec![rollout.into()]).await?;
        let taken = |row| {
            let mut row = Reader::new("rollout_devices", row);
            let device = DeviceId {
                brand: row.text("brand")?,
                model: row.text("model")?,
                serial: row.text("serial")?,
            };
            let taken = Taken {
                offers: row.int("offers")?,
                with_micros: row.int("with_at")?,
                without_micros: row.int("without_at")?,
                held: row.truth("held")?,
            };
            Ok((device, taken))
        };
        rows.into_iter().map(taken).collect()
    }
}
