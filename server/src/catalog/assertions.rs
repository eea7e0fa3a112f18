//! All stored assertions, by address.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use schema::assertion::{Assertion, AssertionSource, AssertionType, Details, Ref};

use super::hashed::HashedMap;

/// The newest revision of each format at one address.
type Formats = Arc<[Held]>;

/// Assertions by type and primary key. A clone shares everything with its original.
#[derive(Clone, Default)]
pub(crate) struct Assertions {
    by_kind: HashedMap<AssertionType, RedBlackTreeMapSync<Arc<str>, Formats>>,
    /// Points of each sequence.
    sequences: HashedMap<AssertionType, RedBlackTreeMapSync<Arc<str>, BTreeSet<u32>>>,
    keys_of: HashedMap<String, Vec<Arc<Assertion>>>,
    count: usize,
}

/// A stored assertion: its text, and the fields that are needed without decoding.
#[derive(Clone)]
pub(crate) struct Held {
    text: Text,
    revision: u32,
    format: u32,
    readers: Readers,
}

#[derive(Clone)]
enum Text {
    /// Decoded: a type with few instances, or one that signatures are checked with.
    Decoded(Arc<Assertion>),
    /// Undecoded: a type that comes with every snap or device; decoded on demand.
    Bytes(Arc<[u8]>),
}

/// Who may read an assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readers {
    /// Everybody; keys and accounts first.
    All,
    /// Those who see the snap.
    OfSnap(Arc<str>),
    /// Those who see both snaps.
    OfSnaps(Arc<str>, Arc<str>),
    /// Devices of the brand, or everybody if no store of that brand is here.
    OfStoreOrAll(Arc<str>),
    /// Devices of the brand.
    OfBrand(Arc<str>),
    /// Nobody: it does not say what it is about.
    Nobody,
}

impl Readers {
    fn of(assertion: &Assertion) -> Self {
        match assertion.details() {
            Details::SnapDeclaration(of) => Self::OfSnap(of.snap_id.as_str().into()),
            Details::SnapRevision(of) => Self::OfSnap(of.snap_id.as_str().into()),
            Details::SnapResourceRevision(of) => Self::OfSnap(of.snap_id.as_str().into()),
            Details::SnapResourcePair(of) => Self::OfSnap(of.snap_id.as_str().into()),
            Details::Validation(of) => {
                Self::OfSnaps(of.snap_id.as_str().into(), of.approved_snap_id.as_str().into())
            }
            Details::ValidationSet(of) => Self::OfStoreOrAll(of.account_id.as_str().into()),
            Details::Serial(of) => Self::OfBrand(of.brand_id.as_str().into()),
            _ => match assertion.kind() {
                AssertionType::SnapBuild | AssertionType::SnapDeveloper => {
                    assertion.text("snap-id").map_or(Self::Nobody, |id| Self::OfSnap(id.into()))
                }
                AssertionType::SystemUser | AssertionType::Preseed | AssertionType::ConfdbControl => {
                    assertion.text("brand-id").map_or(Self::Nobody, |brand| Self::OfBrand(brand.into()))
                }
                AssertionType::ConfdbSchema
                | AssertionType::Cluster
                | AssertionType::HardwareIdentity
                | AssertionType::RequestMessage => {
                    assertion.authority_id().map_or(Self::Nobody, |brand| Self::OfStoreOrAll(brand.into()))
                }
                _ => Self::All,
            },
        }
    }
}

impl Held {
    /// The exact text.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.text {
            Text::Decoded(assertion) => assertion.bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }

    /// Its revision among those with the same primary key.
    pub(crate) fn revision(&self) -> u32 {
        self.revision
    }

    /// Who may read it.
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Decodes it. Never `None`: it was decoded before it was stored.
    pub(crate) fn decode(&self) -> Option<Arc<Assertion>> {
        match &self.text {
            Text::Decoded(assertion) => Some(assertion.clone()),
            Text::Bytes(bytes) => Assertion::decode(bytes).ok().map(Arc::new),
        }
    }
}

impl From<Arc<Assertion>> for Held {
    fn from(assertion: Arc<Assertion>) -> Self {
        let (revision, format) = (assertion.revision(), assertion.format());
        let readers = Readers::of(&assertion);
        let text = match assertion.kind() {
            AssertionType::Account
            | AssertionType::AccountKey
            | AssertionType::Model
            | AssertionType::Store
            | AssertionType::ValidationSet => Text::Decoded(assertion),
            _ => Text::Bytes(assertion.bytes().into()),
        };
        Self { text, revision, format, readers }
    }
}

impl Assertions {
    /// Adds an assertion; among those of the same format, the higher revision stays.
    pub(crate) fn add(&mut self, assertion: Arc<Assertion>) {
        self.hold(&assertion.reference(), assertion.into());
    }

    /// As [`Assertions::add`], for one whose fields were read.
    pub(super) fn hold(&mut self, at: &Ref, new: Held) {
        let mut formats: Vec<Held> = self.formats(at).unwrap_or_default().to_vec();
        if !formats.is_empty() {
            if formats.iter().any(|held| held.format == new.format && held.revision >= new.revision) {
                return;
            }
            formats.retain(|held| held.format != new.format);
            self.forget(at.kind, &at.key_text());
        }
        formats.push(new);
        self.put(at, formats);
    }

    /// Removes everything at an address.
    pub(crate) fn forget(&mut self, kind: AssertionType, key: &str) {
        let Some(formats) = self.by_kind.get(&kind).and_then(|of_kind| of_kind.get(key)).cloned() else {
            return;
        };
        self.count -= formats.len();
        for key in formats.iter().filter_map(|held| held.key_of_account()) {
            let (account_id, at) = key;
            if let Some(keys) = self.keys_of.get_mut(&account_id) {
                keys.retain(|held| held.reference() != at);
            }
            if self.keys_of.get(&account_id).is_some_and(Vec::is_empty) {
                self.keys_of.remove_mut(&account_id);
            }
        }
        if let Some(of_kind) = self.by_kind.get_mut(&kind) {
            of_kind.remove_mut(key);
        }
        if let Some((sequence, number)) = point(kind, key)
            && let Some(sequences) = self.sequences.get_mut(&kind)
            && let Some(points) = sequences.get(sequence)
        {
            let mut points = points.clone();
            points.remove(&number);
            match points.is_empty() {
                true => drop(sequences.remove_mut(sequence)),
                false => sequences.insert_mut(sequence.into(), points),
            }
        }
    }

    /// Adds the formats of an address that is empty.
    fn put(&mut self, at: &Ref, mut formats: Vec<Held>) {
        formats.sort_by_key(|held| held.format);
        let key = at.key_text();
        if let Some((sequence, number)) = point(at.kind, &key) {
            let mut sequences = self.sequences.get(&at.kind).cloned().unwrap_or_default();
            let mut points = sequences.get(sequence).cloned().unwrap_or_default();
            points.insert(number);
            sequences.insert_mut(sequence.into(), points);
            self.sequences.insert_mut(at.kind, sequences);
        }
        for held in &formats {
            if let Text::Decoded(assertion) = &held.text
                && let Details::AccountKey(key) = assertion.details()
            {
                let mut keys = self.keys_of.get(&key.account_id).cloned().unwrap_or_default();
                keys.retain(|held| held.reference() != *at);
                keys.push(assertion.clone());
                keys.sort_by(|one, other| {
                    one.text("public-key-sha3-384").cmp(&other.text("public-key-sha3-384"))
                });
                self.keys_of.insert_mut(key.account_id.clone(), keys);
            }
        }
        self.count += formats.len();
        match self.by_kind.get_mut(&at.kind) {
            Some(of_kind) => of_kind.insert_mut(key.into(), formats.into()),
            None => {
                let mut of_kind = RedBlackTreeMapSync::default();
                of_kind.insert_mut(key.into(), formats.into());
                self.by_kind.insert_mut(at.kind, of_kind);
            }
        }
    }

    fn formats(&self, at: &Ref) -> Option<&[Held]> {
        Some(self.by_kind.get(&at.kind)?.get(at.key_text().as_str())?)
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The keys of an account, by their ids.
    pub(crate) fn keys_held(&self, account_id: &str) -> &[Arc<Assertion>] {
        self.keys_of.get(account_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The newest of each address of one type.
    pub(crate) fn of_kind(&self, kind: AssertionType) -> impl Iterator<Item = Arc<Assertion>> {
        let of_kind = self.by_kind.get(&kind).into_iter().flat_map(RedBlackTreeMapSync::values);
        of_kind.filter_map(|held| held.iter().max_by_key(|held| held.revision)?.decode())
    }

    /// All of one type, in every format.
    pub(crate) fn all_of_kind(&self, kind: AssertionType) -> impl Iterator<Item = &Held> {
        let of_kind = self.by_kind.get(&kind).into_iter().flat_map(RedBlackTreeMapSync::values);
        of_kind.flat_map(|formats| formats.iter())
    }

    /// All of them, in every format.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Held> {
        self.by_kind.values().flat_map(RedBlackTreeMapSync::values).flat_map(|formats| formats.iter())
    }

    /// The highest revision whose format is at most `max_format`.
    pub(crate) fn newest(&self, wanted: &Ref, max_format: u32) -> Option<&Held> {
        let held = self.formats(wanted)?.iter().filter(|held| held.format <= max_format);
        held.max_by_key(|held| (held.revision, held.format))
    }

    /// An assertion after its prerequisites and signing keys, as far as they are stored.
    pub(crate) fn closure(&self, wanted: Ref) -> Vec<Arc<Assertion>> {
        let mut found = Vec::new();
        self.follow(wanted, &mut Vec::new(), &mut found);
        found
    }

    fn follow(&self, wanted: Ref, seen: &mut Vec<Ref>, found: &mut Vec<Arc<Assertion>>) {
        if seen.contains(&wanted) {
            return;
        }
        seen.push(wanted.clone());
        let Some(assertion) = self.find(&wanted) else { return };
        let signer = vec![assertion.sign_key_id().to_owned()];
        let signer = Ref { kind: AssertionType::AccountKey, key: signer };
        for needed in assertion.prerequisites().into_iter().chain([signer]) {
            self.follow(needed, seen, found);
        }
        found.push(assertion);
    }

    /// The sequence points that are held, in rising order.
    pub(super) fn points(&self, kind: AssertionType, sequence_key: &str) -> Vec<u32> {
        let points = self.sequences.get(&kind).and_then(|sequences| sequences.get(sequence_key));
        points.into_iter().flatten().copied().collect()
    }

    /// The latest sequence point of these, with a suitable format.
    pub(crate) fn latest_in_sequence(
        &self,
        kind: AssertionType,
        sequence_key: &[String],
        among: RangeInclusive<u32>,
        max_format: u32,
    ) -> Option<&Held> {
        // To ask a set for an empty range is a fault.
        let among = Some(among).filter(|among| !among.is_empty())?;
        let points = self.sequences.get(&kind)?.get(sequence_key.join("/").as_str())?;
        points.range(among).rev().find_map(|point| {
            let mut key = sequence_key.to_vec();
            key.push(point.to_string());
            self.newest(&Ref { kind, key }, max_format)
        })
    }
}

impl Held {
    /// The account and the address, if this is a key.
    fn key_of_account(&self) -> Option<(String, Ref)> {
        match &self.text {
            Text::Decoded(assertion) => match assertion.details() {
                Details::AccountKey(key) => Some((key.account_id.clone(), assertion.reference())),
                _ => None,
            },
            Text::Bytes(_) => None,
        }
    }
}

/// The sequence of a primary key, and its point.
fn point(kind: AssertionType, key: &str) -> Option<(&str, u32)> {
    let (sequence, number) = key.rsplit_once('/').filter(|_| kind.is_sequence())?;
    Some((sequence, number.parse().ok()?))
}

impl AssertionSource for Assertions {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        self.newest(wanted, u32::MAX)?.decode()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        self.keys_held(account_id).to_vec()
    }
}
