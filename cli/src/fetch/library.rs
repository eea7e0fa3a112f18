//! The assertions of a run. Each is fetched once, in every format that the store has, and verified in closures that
//! reach a trust anchor. See `schema/docs/assertions.md#fetching`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use schema::assertion::{
    Anchors, Assertion, AssertionType as T, Checker, DEFAULT_PROVENANCE, Details, KeyTime, Ref, Verified,
    check_batch,
};
use schema::digest::Sha3_384;

use super::anchors::unproven;
use crate::upstream::{Link, Offer, Resource, Upstream};

/// Larger than any legitimate closure.
const MOST: usize = 2000;

/// The assertions of a run.
pub(crate) struct Library<'a> {
    upstream: &'a Upstream,
    anchors: &'a Anchors,
    /// All formats of each requested assertion; empty if the store has none.
    shelf: BTreeMap<Ref, Vec<Assertion>>,
}

impl<'a> Library<'a> {
    pub(crate) fn new(upstream: &'a Upstream, anchors: &'a Anchors) -> Self {
        Self { upstream, anchors, shelf: BTreeMap::new() }
    }

    /// Adds an assertion from elsewhere.
    pub(crate) fn add(&mut self, document: Assertion) {
        self.shelf.entry(document.reference()).or_default().push(document);
    }

    /// These assertions and everything needed to verify them, each after its prerequisites.
    ///
    /// # Errors
    /// The store lacks one of them, or one does not verify.
    pub(crate) async fn closure(&mut self, seeds: &[Ref]) -> anyhow::Result<Vec<Verified>> {
        let mut wanted: Vec<(Ref, Option<Ref>)> = seeds.iter().map(|seed| (seed.clone(), None)).collect();
        let mut seen = BTreeSet::new();
        let mut documents = Vec::new();
        while let Some((reference, needed_by)) = wanted.pop() {
            if self.anchors.holds(&reference) || !seen.insert(reference.clone()) {
                continue;
            }
            ensure!(seen.len() <= MOST, "the chain of documents has more than {MOST} links");
            let found = self.look_up(&reference).await?;
            if found.is_empty() {
                let why = needed_by.map(|by| format!(", which {by} needs")).unwrap_or_default();
                bail!("the store has no {reference}{why}: devices would refuse the snap");
            }
            for document in found {
                let needed = document.needed_to_check().into_iter();
                wanted.extend(needed.map(|needed| (needed, Some(reference.clone()))));
                documents.push(document.clone());
            }
        }
        self.check(documents)
    }

    fn check(&self, documents: Vec<Assertion>) -> anyhow::Result<Vec<Verified>> {
        let checker = Checker { anchors: self.anchors, source: self.anchors, time: KeyTime::DocumentTime };
        let outcome = check_batch(documents, &checker).map_err(unproven)?;
        if let Some(conflict) = outcome.conflicts.first() {
            bail!("two different documents call themselves {conflict} with one revision");
        }
        Ok(outcome.verified)
    }

    /// An assertion in every format that the store has, newest first; empty if it has none.
    pub(crate) async fn look_up(&mut self, reference: &Ref) -> anyhow::Result<&[Assertion]> {
        if !self.shelf.contains_key(reference) {
            let mut all = Vec::new();
            let mut max_format = reference.kind.max_format();
            while let Some(found) = self.upstream.assertion(reference, max_format).await? {
                let format = found.format();
                ensure!(
                    format <= max_format,
                    "the store answers {reference} in format {format}, asked for {max_format} at most"
                );
                all.push(found);
                match format.checked_sub(1) {
                    Some(lower) => max_format = lower,
                    None => break,
                }
            }
            self.shelf.insert(reference.clone(), all);
        }
        Ok(self.shelf.get(reference).map(Vec::as_slice).unwrap_or_default())
    }

    /// A sequence point, or the latest one.
    pub(crate) async fn point(
        &mut self,
        sequence: &[&str],
        number: Option<u32>,
    ) -> anyhow::Result<Option<Assertion>> {
        let found = self.upstream.point(T::ValidationSet, sequence, number).await?;
        if let Some(found) = &found {
            self.shelf.insert(found.reference(), vec![found.clone()]);
        }
        Ok(found)
    }

    /// The assertions of a revision and its components, verified and compared with the offer.
    ///
    /// # Errors
    /// As [`closure`](Self::closure), and if they contradict the offer.
    pub(crate) async fn proof_of(&mut self, offer: &Offer) -> anyhow::Result<Vec<Verified>> {
        let provenance = offer.provenance();
        let digest = digest_of(&offer.download)?;
        let mut seeds = vec![Ref::new(T::SnapRevision, vec![digest.to_base64url(), provenance.clone()])?];
        for resource in offer.components() {
            seeds.extend(self.documents_of(offer, resource, &provenance).await?);
        }
        let proof = self.closure(&seeds).await?;
        check_revision(offer, &digest, &proof)?;
        for resource in offer.components() {
            check_resource(offer, resource, &proof)?;
        }
        Ok(proof)
    }

    /// The references of a component's assertions; the store's answer does not include their provenance.
    async fn documents_of(
        &mut self,
        offer: &Offer,
        resource: &Resource,
        provenance: &str,
    ) -> anyhow::Result<[Ref; 2]> {
        let (id, name) = (offer.snap_id.to_string(), resource.name.to_string());
        let digest = digest_of(&resource.download)?.to_base64url();
        let revision = |provenance: &str| {
            Ref::new(
                T::SnapResourceRevision,
                vec![id.clone(), name.clone(), digest.clone(), provenance.to_owned()],
            )
        };
        let mut used = DEFAULT_PROVENANCE;
        if provenance != used && self.look_up(&revision(used)?).await?.is_empty() {
            used = provenance;
        }
        let numbers = [resource.revision.to_string(), offer.revision.to_string()];
        let pair = [id.clone(), name.clone()].into_iter().chain(numbers).chain([used.to_owned()]).collect();
        Ok([revision(used)?, Ref::new(T::SnapResourcePair, pair)?])
    }
}

fn digest_of(link: &Link) -> anyhow::Result<Sha3_384> {
    Sha3_384::from_hex(&link.sha3_384).context("the store gives a wrong digest")
}

fn check_revision(offer: &Offer, digest: &Sha3_384, proof: &[Verified]) -> anyhow::Result<()> {
    let name = &offer.name;
    let revision = proof.iter().find_map(|document| match document.details() {
        Details::SnapRevision(revision) if revision.snap_sha3_384 == digest.to_base64url() => Some(revision),
        _ => None,
    });
    let signed = revision.with_context(|| format!("nobody signed the file of {name}"))?;
    ensure!(
        signed.snap_id == offer.snap_id.as_str()
            && signed.snap_revision == offer.revision
            && signed.snap_size == offer.download.size,
        "the store offers revision {} of {name} with {} bytes, signed is revision {} of {} with {} bytes",
        offer.revision,
        offer.download.size,
        signed.snap_revision,
        signed.snap_id,
        signed.snap_size
    );
    let declared = proof.iter().any(|document| match document.details() {
        Details::SnapDeclaration(declaration) => {
            declaration.snap_id == signed.snap_id && declaration.snap_name == name.as_str()
        }
        _ => false,
    });
    ensure!(declared, "the declaration of {name} gives it another name, or was withdrawn");
    Ok(())
}

fn check_resource(offer: &Offer, resource: &Resource, proof: &[Verified]) -> anyhow::Result<()> {
    let digest = digest_of(&resource.download)?.to_base64url();
    let signed = proof.iter().any(|document| match document.details() {
        Details::SnapResourceRevision(signed) => {
            signed.resource_sha3_384 == digest
                && signed.resource_size == resource.download.size
                && signed.resource_revision == resource.revision
                && signed.resource_name == resource.name.as_str()
                && signed.snap_id == offer.snap_id.as_str()
        }
        _ => false,
    });
    ensure!(
        signed,
        "component {} of {} is not offered as it is signed: revision or size differ",
        resource.name,
        offer.name
    );
    Ok(())
}
