//! All assertions held, by address.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schema::assertion::{Assertion, AssertionSource, AssertionType, Details, Ref};

/// Assertions by type and primary key, every format's newest revision.
#[derive(Default)]
pub(crate) struct Assertions {
    by_ref: HashMap<(AssertionType, String), Vec<Arc<Assertion>>>,
    /// Points of each sequence.
    sequences: HashMap<(AssertionType, String), BTreeSet<u32>>,
    keys_of: HashMap<String, Vec<Arc<Assertion>>>,
    count: usize,
}

impl Assertions {
    /// Takes one in; of the same format, the higher revision stays.
    pub(crate) fn add(&mut self, assertion: Arc<Assertion>) {
        let at = assertion.reference();
        if at.kind.is_sequence()
            && let Some((number, key)) = at.key.split_last()
            && let Ok(number) = number.parse()
        {
            self.sequences.entry((at.kind, key.join("/"))).or_default().insert(number);
        }
        if let Details::AccountKey(key) = assertion.details() {
            let keys = self.keys_of.entry(key.account_id.clone()).or_default();
            keys.retain(|held| held.reference() != at);
            keys.push(assertion.clone());
        }
        let held = self.by_ref.entry((at.kind, at.key_text())).or_default();
        match held.iter_mut().find(|held| held.format() == assertion.format()) {
            Some(same) if same.revision() < assertion.revision() => *same = assertion,
            Some(_) => {}
            None => {
                held.push(assertion);
                self.count += 1;
            }
        }
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The keys of an account.
    pub(crate) fn keys_held(&self, account_id: &str) -> &[Arc<Assertion>] {
        self.keys_of.get(account_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// All of one type.
    pub(crate) fn of_kind(&self, kind: AssertionType) -> impl Iterator<Item = &Arc<Assertion>> {
        let of_kind = self.by_ref.iter().filter(move |((of, _), _)| *of == kind);
        of_kind.filter_map(|(_, held)| held.iter().max_by_key(|held| held.revision()))
    }

    /// All of them, in every format.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Assertion>> {
        self.by_ref.values().flatten()
    }

    /// The highest revision whose format is at most `max_format` (assertions §4.5).
    pub(crate) fn newest(&self, wanted: &Ref, max_format: u32) -> Option<&Arc<Assertion>> {
        let held = self.by_ref.get(&(wanted.kind, wanted.key_text()))?;
        held.iter()
            .filter(|held| held.format() <= max_format)
            .max_by_key(|held| (held.revision(), held.format()))
    }

    /// An assertion behind its prerequisites and signing keys, as far as they are held.
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
        let Some(assertion) = self.newest(&wanted, u32::MAX) else { return };
        let signer = vec![assertion.sign_key_id().to_owned()];
        let signer = Ref { kind: AssertionType::AccountKey, key: signer };
        for needed in assertion.prerequisites().into_iter().chain([signer]) {
            self.follow(needed, seen, found);
        }
        found.push(assertion.clone());
    }

    /// The latest point from `from` on that has an assertion of a fitting format.
    pub(crate) fn latest_in_sequence(
        &self,
        kind: AssertionType,
        sequence_key: &[String],
        from: u32,
        max_format: u32,
    ) -> Option<&Arc<Assertion>> {
        let points = self.sequences.get(&(kind, sequence_key.join("/")))?;
        points.range(from..).rev().find_map(|point| {
            let mut key = sequence_key.to_vec();
            key.push(point.to_string());
            self.newest(&Ref { kind, key }, max_format)
        })
    }
}

impl AssertionSource for Assertions {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        self.newest(wanted, u32::MAX).cloned()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        self.keys_held(account_id).to_vec()
    }
}
