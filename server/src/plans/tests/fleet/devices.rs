//! Devices as the protocol shows them, on virtual time.

use schema::api::device::{Holders, Installed};
use schema::store::DeviceId;

use crate::imports::tests::world::JQ;

/// The revision in the channel.
pub(super) const OLD: i64 = 1;
/// The revision that is rolled out.
pub(super) const NEW: i64 = 5;

pub(super) const MINUTE: i64 = 60_000_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to `end`, without it.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        (self.number() % end.unsigned_abs()).cast_signed()
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        (self.number() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }
}

/// What becomes of a device that is offered the new revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// It takes it at once.
    Takes,
    /// It takes it at the second offer: an app was running, or a reboot had to wait.
    Later,
    /// A person holds its updates.
    Holds,
    /// The refresh fails each time and is undone.
    Refuses,
    /// It runs it for so many visits, and somebody reverts.
    Reverts(u8),
    /// It takes it, comes for so many visits more, and never again.
    Dies(u8),
}

/// A device.
pub(super) struct Device {
    /// Its identity.
    pub(super) id: DeviceId,
    /// The revision that it runs.
    pub(super) runs: i64,
    /// When it comes next; never if it is dead.
    pub(super) next: i64,
    /// Whether it was ever offered the new revision.
    pub(super) touched: bool,
    /// What becomes of it.
    pub(super) nature: Nature,
    /// The slot of its timer: a quarter of a day, or a day for one that is off at night.
    slot: i64,
    /// When its own day begins: its clock may be wrong.
    shift: i64,
    /// From when until when it is switched off.
    off: (i64, i64),
    offers: u8,
    /// Not before this does it try again.
    backs_off: i64,
    reverted: bool,
}

impl Device {
    pub(super) fn new(number: usize, random: &mut Random, nature: Nature, start: i64) -> Self {
        let id = format!("acme/gateway/{number}").parse().expect("a device");
        let slot = if random.chance(0.05) { DAY } else { DAY / 4 };
        let shift = random.below(DAY);
        // Hardly any is switched off for days.
        let off = start + random.below(20 * DAY);
        let off = if random.chance(0.001) { (off, off + DAY + random.below(2 * DAY)) } else { (0, 0) };
        let next = start - slot + random.below(slot);
        let (offers, backs_off, reverted) = (0, 0, false);
        Self { id, runs: OLD, next, touched: false, nature, slot, shift, off, offers, backs_off, reverted }
    }

    /// What it says of the snap.
    pub(super) fn installed(&self) -> Installed<'static> {
        let held = (self.nature == Nature::Holds).then(|| Holders { by: vec!["system".into()] });
        Installed {
            snap_id: JQ.into(),
            instance_key: JQ.into(),
            revision: self.runs,
            tracking_channel: "latest/stable".into(),
            epoch: None,
            cohort_key: None,
            ignore_validation: false,
            held,
            validation_sets: Vec::new(),
        }
    }

    /// Sets its timer: a random moment of its next slot, as snapd has it.
    pub(super) fn comes_again(&mut self, now: i64, random: &mut Random) {
        let slot_end = now - (now - self.shift).rem_euclid(self.slot) + self.slot;
        self.next = slot_end + random.below(self.slot);
        if (self.off.0..self.off.1).contains(&self.next) {
            self.next = self.off.1 + random.below(HOUR);
        }
    }

    /// The server did not answer: snapd tries again before its next slot.
    pub(super) fn unanswered(&mut self, until: i64, random: &mut Random) {
        self.next = until + MINUTE + random.below(HOUR);
    }

    /// Acts on the revision that it was offered.
    pub(super) fn acts(&mut self, offered: i64, now: i64) {
        self.touched |= offered == NEW;
        if self.runs == NEW {
            match &mut self.nature {
                Nature::Dies(0) => self.next = i64::MAX,
                Nature::Dies(visits) => *visits -= 1,
                Nature::Reverts(0) => (self.runs, self.reverted) = (OLD, true),
                Nature::Reverts(visits) => *visits -= 1,
                // It follows its channel down.
                _ => self.runs = offered,
            }
        } else if offered == NEW && now >= self.backs_off && !self.reverted {
            self.offers += 1;
            match self.nature {
                Nature::Holds => {}
                Nature::Later if self.offers < 2 => {}
                // 8 hours, 12 hours, 1, 2, 4 days: one revision after another failure.
                Nature::Refuses => {
                    let hours = [8, 12, 24, 48, 96][usize::from(self.offers.min(5)) - 1];
                    self.backs_off = now + hours * HOUR;
                }
                Nature::Dies(0) => (self.runs, self.next) = (NEW, i64::MAX),
                _ => self.runs = NEW,
            }
        }
    }
}
