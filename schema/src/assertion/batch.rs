//! Checks a set of assertions that may depend on each other, in any order: all or nothing.
//!
//! Verified members of a batch count as known for the rest of it, including newer revisions: a batch that revokes a
//! key and brings something signed by that key is refused. See `schema/docs/assertions.md#adding-assertions`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::{Checker, Signature, Verified};
use super::prerequisites;
use super::reference::Ref;
use super::refusal::{CheckError, Stage};
use super::trust::{AssertionSource, account_key};
use super::{Assertion, AssertionType, Details};

/// The result of a batch.
#[derive(Debug, Clone, Default)]
pub struct BatchOutcome {
    /// To be stored: verified, each after its prerequisites.
    pub verified: Vec<Verified>,
    /// Not to be stored: the same or a newer revision is known, or the batch holds a newer one.
    pub already_held: Vec<Ref>,
    /// Not to be stored: another text with the same revision is known or was preferred within the batch. Somebody
    /// signed two different assertions under one name.
    pub conflicts: Vec<Ref>,
}

/// Why a batch is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot accept the assertions: one of them is not verified")]
pub struct BatchError {
    /// The first assertion that fails, in dependency order.
    #[source]
    pub cause: CheckError,
}

impl BatchError {
    /// The part of the check that failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.cause.stage()
    }
}

/// Checks assertions against anchors, source and each other. The order of `new` does not affect the result.
///
/// Several formats of one assertion are kept if the higher formats are newer, so that older clients find one they
/// understand.
///
/// # Errors
/// [`BatchError`] if an assertion that would have to be stored does not verify, or if one that need not be is neither known to the byte
/// nor signed by its key.
pub fn check_batch(new: Vec<Assertion>, checker: &Checker<'_>) -> Result<BatchOutcome, BatchError> {
    recheck_batch(new, checker, &[])
}

/// As [`check_batch`], for a batch that was checked `before` against other knowledge. Everything is judged anew but the
/// signatures of the documents that were verified then.
///
/// # Errors
/// [`BatchError`] when one assertion that would have to be stored does not verify.
pub fn recheck_batch(
    new: Vec<Assertion>,
    checker: &Checker<'_>,
    before: &[Verified],
) -> Result<BatchOutcome, BatchError> {
    let proven: BTreeSet<&[u8]> = before.iter().map(|verified| verified.bytes()).collect();
    let mut outcome = BatchOutcome::default();
    let Selected { candidates, beside } = select(new, checker, &mut outcome);
    let mut overlay = Overlay { base: checker.source, new: BTreeMap::new(), keys: BTreeMap::new() };
    for index in order(&candidates) {
        let checker = Checker { source: &overlay, ..*checker };
        let candidate = Arc::clone(&candidates[index]);
        let is_proven = proven.contains(candidate.bytes());
        let signature = if is_proven { Signature::Proven } else { Signature::Check };
        let verified = checker.check_shared(candidate, signature).map_err(|cause| BatchError { cause })?;
        overlay.add(verified.assertion());
        outcome.verified.push(verified);
    }
    let checker = Checker { source: &overlay, ..*checker };
    for left_out in beside.iter().filter(|left_out| !proven.contains(left_out.bytes())) {
        checker.refuse_altered(left_out).map_err(|cause| BatchError { cause })?;
    }
    for list in [&mut outcome.already_held, &mut outcome.conflicts] {
        list.sort();
        list.dedup();
    }
    Ok(outcome)
}

/// The assertions of a batch.
struct Selected {
    /// Those worth checking: newer than what is known, and not superseded within the batch.
    candidates: Vec<Arc<Assertion>>,
    /// Those that will not be stored, and are another text than what is.
    beside: Vec<Assertion>,
}

fn select(mut new: Vec<Assertion>, checker: &Checker<'_>, outcome: &mut BatchOutcome) -> Selected {
    // Lower formats and higher revisions first; ties are broken by bytes, so that the input order does not matter.
    new.sort_by(|a, b| {
        let rank = |a: &Assertion| (a.format(), Reverse(a.revision()));
        a.reference
            .cmp(&b.reference)
            .then_with(|| rank(a).cmp(&rank(b)))
            .then_with(|| a.bytes().cmp(b.bytes()))
    });
    new.dedup();
    let (mut chosen, mut beside): (Vec<Arc<Assertion>>, Vec<Assertion>) = Default::default();
    for candidate in new {
        let reference = &candidate.reference;
        let anchor = checker.anchors.find(reference);
        let replaces = |other: &Arc<Assertion>| other.revision() >= candidate.revision();
        let known = checker.source.find_format(reference, candidate.format()).filter(replaces);
        // The last one chosen has the highest revision of all lower formats, or it would not have been chosen.
        let chosen_before =
            chosen.last().filter(|last| last.reference == *reference && replaces(last)).cloned();
        let is_root_key = anchor.is_some() && reference.kind == AssertionType::AccountKey;
        match anchor.or(known).or(chosen_before) {
            None => chosen.push(Arc::new(candidate)),
            Some(other) if *other == candidate => outcome.already_held.push(candidate.reference),
            Some(other) => {
                // No text from outside changes what is trusted, not even one that ends it.
                let is_conflict = is_root_key || other.revision() == candidate.revision();
                let list = if is_conflict { &mut outcome.conflicts } else { &mut outcome.already_held };
                list.push(candidate.reference.clone());
                beside.push(candidate);
            }
        }
    }
    Selected { candidates: chosen, beside }
}

/// Indices of `candidates`, each after its dependencies. Cycles are cut anywhere: their members fail the check.
fn order(candidates: &[Arc<Assertion>]) -> Vec<usize> {
    let mut by_reference: BTreeMap<&Ref, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        by_reference.entry(&candidate.reference).or_default().push(index);
    }
    let needs = |index: usize| -> Vec<usize> {
        let needed = prerequisites::needed_to_check(&candidates[index]);
        needed.iter().filter_map(|reference| by_reference.get(reference)).flatten().copied().collect()
    };
    let mut sorted = Vec::with_capacity(candidates.len());
    let mut seen = vec![false; candidates.len()];
    for start in 0..candidates.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        // Depth first without recursion: a chain can be as long as the batch.
        let mut path = vec![(start, needs(start))];
        while let Some((index, open)) = path.last_mut() {
            match open.pop() {
                Some(next) if std::mem::replace(&mut seen[next], true) => {}
                Some(next) => path.push((next, needs(next))),
                None => {
                    sorted.push(*index);
                    path.pop();
                }
            }
        }
    }
    sorted
}

/// What was known before, plus what the batch has verified so far.
struct Overlay<'a> {
    base: &'a dyn AssertionSource,
    /// The newest revision of the batch.
    new: BTreeMap<Ref, Arc<Assertion>>,
    /// Account-keys of the batch by account.
    keys: BTreeMap<String, BTreeSet<Ref>>,
}

impl Overlay<'_> {
    fn add(&mut self, assertion: &Arc<Assertion>) {
        if let Some(key) = account_key(assertion) {
            self.keys.entry(key.account_id.clone()).or_default().insert(assertion.reference());
        }
        let newest = self.new.entry(assertion.reference()).or_insert_with(|| Arc::clone(assertion));
        if newest.revision() < assertion.revision() {
            *newest = Arc::clone(assertion);
        }
    }
}

impl AssertionSource for Overlay<'_> {
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        let (new, old) = (self.new.get(reference).cloned(), self.base.find(reference));
        match (new, old) {
            (Some(new), Some(old)) if old.revision() > new.revision() => Some(old),
            (new, old) => new.or(old),
        }
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let mut references = self.keys.get(account_id).cloned().unwrap_or_default();
        references.extend(self.base.keys_of(account_id).iter().map(|key| key.reference()));
        let still_theirs = |key: &Arc<Assertion>| match key.details() {
            Details::AccountKey(key) => key.account_id == account_id,
            _ => false,
        };
        references.iter().filter_map(|reference| self.find(reference)).filter(still_theirs).collect()
    }
}
