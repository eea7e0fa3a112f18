//! What deltas save, and where one was of no use.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use schema::digest::Sha3_384;
use schema::store::{DeltaFormat, DeviceId};

use super::count::Counter;
use super::text::Text;

/// How many downloads of deltas are remembered. A newer one may take the place of an older one.
const REMEMBERED: usize = 4096;

/// Who downloads: a device, or what is known of anybody else.
pub(crate) type Client<'a> = (Option<&'a DeviceId>, Option<IpAddr>);

/// What is counted of one format.
#[derive(Default)]
struct ByFormat {
    offered: Counter,
    offered_bytes: Counter,
    served: Counter,
    served_bytes: Counter,
}

/// One of the counts of a format.
type CountOf = fn(&ByFormat) -> &Counter;

/// Deltas in answers.
pub(crate) const OFFERED: &str = "airlock_deltas_offered_total";
/// Bytes of these.
pub(crate) const OFFERED_BYTES: &str = "airlock_deltas_offered_bytes_total";
/// Downloads of deltas.
pub(crate) const SERVED: &str = "airlock_deltas_served_total";
/// Bytes of deltas that were sent.
pub(crate) const SERVED_BYTES: &str = "airlock_deltas_served_bytes_total";
/// Downloads of whole snaps right after a delta.
pub(crate) const FALLBACKS: &str = "airlock_deltas_fallbacks_total";
/// Bytes of whole snaps that were sent.
pub(crate) const WHOLE_BYTES: &str = "airlock_snaps_served_bytes_total";

/// What is counted of each format.
const BY_FORMAT: [(&str, &str, CountOf); 4] = [
    (OFFERED, "Deltas in answers to devices.", |own| &own.offered),
    (OFFERED_BYTES, "Bytes of these deltas.", |own| &own.offered_bytes),
    (SERVED, "Downloads of deltas.", |own| &own.served),
    (SERVED_BYTES, "Bytes of deltas that were sent.", |own| &own.served_bytes),
];

/// What deltas save.
pub(crate) struct Deltas {
    /// Deltas that were made.
    pub(crate) made: Counter,
    /// Attempts that went wrong.
    pub(crate) failed: Counter,
    formats: [ByFormat; DeltaFormat::ALL.len()],
    fallbacks: Counter,
    whole_bytes: Counter,
    hasher: RandomState,
    last: Box<[AtomicU64]>,
}

impl Deltas {
    pub(super) fn new() -> Self {
        Self {
            made: Counter::default(),
            failed: Counter::default(),
            formats: Default::default(),
            fallbacks: Counter::default(),
            whole_bytes: Counter::default(),
            hasher: RandomState::new(),
            last: (0..REMEMBERED).map(|_| AtomicU64::default()).collect(),
        }
    }

    /// Counts a delta in an answer.
    pub(crate) fn offered(&self, format: DeltaFormat, bytes: u64) {
        let own = self.of(format);
        own.offered.add(1);
        own.offered_bytes.add(bytes);
    }

    /// Counts bytes of a delta that a client is sent on the way to this file.
    pub(crate) fn served(&self, format: DeltaFormat, client: Client<'_>, target: &Sha3_384, bytes: u64) {
        let own = self.of(format);
        own.served.add(1);
        own.served_bytes.add(bytes);
        let (place, mark) = self.mark(client, target);
        place.store(mark, Ordering::Relaxed);
    }

    /// A client is offered this file: a delta that it was sent on the way there before belongs to another update.
    pub(crate) fn update_begins(&self, client: Client<'_>, target: &Sha3_384) {
        let _ = self.was_sent_a_delta(client, target);
    }

    /// Counts bytes of a whole file that a client is sent. Answers whether it fell back: whether a delta that leads to the file was
    /// the last that it was sent, and it was not offered the file since then.
    pub(crate) fn served_whole(&self, client: Client<'_>, target: &Sha3_384, bytes: u64) -> bool {
        self.whole_bytes.add(bytes);
        let falls_back = self.was_sent_a_delta(client, target);
        self.fallbacks.add(falls_back.into());
        falls_back
    }

    /// What is counted of offers and downloads: metric, label, count.
    pub(super) fn counted(&self) -> Vec<(&'static str, &'static str, u64)> {
        let each = BY_FORMAT.iter().flat_map(|(name, _, count)| {
            DeltaFormat::ALL.map(|format| (*name, format.as_str(), count(self.of(format)).get()))
        });
        let whole = [(FALLBACKS, "", self.fallbacks.get()), (WHOLE_BYTES, "", self.whole_bytes.get())];
        each.chain(whole).collect()
    }

    fn of(&self, format: DeltaFormat) -> &ByFormat {
        match format {
            DeltaFormat::Plain => &self.formats[0],
            DeltaFormat::Contents => &self.formats[1],
        }
    }

    /// Whether a client was sent a delta that leads to this file. It is told once.
    fn was_sent_a_delta(&self, client: Client<'_>, target: &Sha3_384) -> bool {
        let (place, mark) = self.mark(client, target);
        place.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn mark(&self, client: Client<'_>, target: &Sha3_384) -> (&AtomicU64, u64) {
        // Not zero, which stands for nobody.
        let mark = self.hasher.hash_one((client, target)) | 1;
        let place = usize::try_from(mark >> 1).unwrap_or_default() % REMEMBERED;
        (&self.last[place], mark)
    }

    /// Writes all of it.
    pub(super) fn write(&self, text: &mut Text) {
        text.counter("airlock_deltas_total", "Deltas that were made, or could not be.");
        for (outcome, count) in [("made", &self.made), ("failed", &self.failed)] {
            text.sample(&[("outcome", outcome)], count.get());
        }
        for (name, help, count) in BY_FORMAT {
            text.counter(name, help);
            for format in DeltaFormat::ALL {
                text.sample(&[("format", format.as_str())], count(self.of(format)).get());
            }
        }
        for (name, help, count) in [
            (
                FALLBACKS,
                "Downloads of whole snaps by devices that had just downloaded a delta.",
                &self.fallbacks,
            ),
            (WHOLE_BYTES, "Bytes of whole snaps that were sent.", &self.whole_bytes),
        ] {
            text.counter(name, help);
            text.sample(&[], count.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_download_counts_once_and_only_right_after_a_delta_of_the_same_client() {
        let (deltas, target) = (Deltas::new(), Sha3_384::of(b"target"));
        let client = |last: u8| (None, Some(IpAddr::from([10, 0, 0, last])));
        assert!(!deltas.served_whole(client(1), &target, 7));
        deltas.served(DeltaFormat::Contents, client(1), &target, 50);
        assert!(!deltas.served_whole(client(2), &target, 7));
        assert!(!deltas.served_whole(client(1), &Sha3_384::of(b"another"), 7));
        assert!(deltas.served_whole(client(1), &target, 7));
        assert!(!deltas.served_whole(client(1), &target, 7));
        // The delta was applied, and later the device asks again.
        deltas.served(DeltaFormat::Contents, client(1), &target, 50);
        deltas.update_begins(client(1), &target);
        assert!(!deltas.served_whole(client(1), &target, 7));
        let counted = deltas.counted();
        for (metric, label, count) in
            [(SERVED_BYTES, "snap-1-1-xdelta3", 100), (FALLBACKS, "", 1), (WHOLE_BYTES, "", 42)]
        {
            assert!(counted.contains(&(metric, label, count)), "{metric}: {counted:?}");
        }
    }
}
