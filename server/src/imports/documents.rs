//! The verified assertions of one import, together with the stored ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schema::assertion::{
    Assertion, AssertionSource, AssertionType, BatchOutcome, Checker, Details, Ref, Verified, recheck_batch,
};
use schema::store::SERIES;

use super::{Context, ImportError, KnownState};

/// The outcome of verifying an import's assertions, and the store's generation it applies to. At another generation
/// everything except the signatures is verified again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proof {
    generation: Option<i64>,
    outcome: BatchOutcome,
}

impl Proof {
    /// Verifies the import, all or nothing, unless `before` already has the outcome.
    pub(super) fn check(
        known: &dyn KnownState,
        brought: &[Assertion],
        before: &Self,
        what: &'static str,
        cx: &Context,
    ) -> Result<Self, ImportError> {
        let generation = Some(known.generation());
        if before.generation == generation {
            return Ok(before.clone());
        }
        let checker = Checker { anchors: known.anchors(), source: known, time: cx.keys };
        let outcome = recheck_batch(brought.to_vec(), &checker, &before.outcome.verified)
            .map_err(|error| ImportError::Unverified { what, source: Box::new(error.cause) })?;
        Ok(Self { generation, outcome })
    }
}

/// The imported assertions, all verified up to an anchor; if they were imported before, the stored ones count.
pub(super) struct Documents<'a> {
    known: &'a dyn KnownState,
    /// To be stored, each after its prerequisites.
    pub(super) verified: Vec<Verified>,
    /// Imported, but already stored.
    pub(super) already_held: Vec<Ref>,
    /// Imported, but another text of the same revision, or of a trusted root key, is held and stays.
    pub(super) conflicts: Vec<Ref>,
    /// The newest revision of everything that is new.
    new: BTreeMap<Ref, Arc<Assertion>>,
    /// Everything in the import.
    brought: BTreeSet<Ref>,
}

impl<'a> Documents<'a> {
    /// Verifies the import, all or nothing; a `proof` of an earlier check saves what it can. Stored assertions were
    /// verified the same way, so the closure is complete: each assertion's prerequisites and keys are in the import or
    /// stored, up to an anchor.
    pub(super) fn check(
        known: &'a dyn KnownState,
        brought: &[Assertion],
        proof: &Proof,
        what: &'static str,
        cx: &Context,
    ) -> Result<Self, ImportError> {
        let Proof { outcome, .. } = Proof::check(known, brought, proof, what, cx)?;
        let mut new: BTreeMap<Ref, Arc<Assertion>> = BTreeMap::new();
        for verified in &outcome.verified {
            let assertion = verified.assertion();
            let newest = new.entry(assertion.reference()).or_insert_with(|| assertion.clone());
            if newest.revision() < assertion.revision() {
                *newest = assertion.clone();
            }
        }
        Ok(Self {
            known,
            verified: outcome.verified,
            already_held: outcome.already_held,
            conflicts: outcome.conflicts,
            new,
            brought: brought.iter().map(Assertion::reference).collect(),
        })
    }

    /// The newest revision, imported or stored.
    pub(super) fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        let held = self.known.anchors().find(reference).or_else(|| self.known.find(reference));
        match (self.new.get(reference), held) {
            (Some(new), Some(held)) if held.revision() > new.revision() => Some(held),
            (Some(new), _) => Some(new.clone()),
            (None, held) => held,
        }
    }

    /// The imported assertions of one type, in their newest revision.
    pub(super) fn brought(&self, kind: AssertionType) -> impl Iterator<Item = Arc<Assertion>> {
        self.brought
            .iter()
            .filter(move |reference| reference.kind == kind)
            .filter_map(|found| self.find(found))
    }

    /// The declaration of a snap.
    pub(super) fn declaration(&self, snap_id: &str) -> Option<Arc<Assertion>> {
        self.find(&Ref { kind: AssertionType::SnapDeclaration, key: vec![SERIES.into(), snap_id.into()] })
    }

    /// Snap revisions with this file, of any provenance; of the stored ones, only the default provenance.
    pub(super) fn snap_revisions(&self, digest: &str, provenance: &str) -> Vec<Arc<Assertion>> {
        let held = Ref { kind: AssertionType::SnapRevision, key: vec![digest.into(), provenance.into()] };
        let names = |found: &Arc<Assertion>| match found.details() {
            Details::SnapRevision(revision) => revision.snap_sha3_384 == digest,
            _ => false,
        };
        let mut found: Vec<_> = self.brought(AssertionType::SnapRevision).filter(names).collect();
        if found.is_empty() {
            found.extend(self.find(&held));
        }
        found
    }

    /// Component revisions with this file.
    pub(super) fn resource_revisions(&self, digest: &str) -> Vec<Arc<Assertion>> {
        let names = |found: &Arc<Assertion>| match found.details() {
            Details::SnapResourceRevision(revision) => revision.resource_sha3_384 == digest,
            _ => false,
        };
        self.brought(AssertionType::SnapResourceRevision).filter(names).collect()
    }

    /// Warnings about assertions that were left out.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.conflicts
            .iter()
            .map(|conflict| format!("{conflict} is here with another text; the one held stays"))
    }
}
