//! Fetching snaps: the orders, the store's offers, their assertions, and the resulting bundles.
//!
//! ```text
//! orders ──► hauls (channel map, revisions) ──► documents, verified ──► downloads, hashed ──► bundles
//! ```
//!
//! Bundles are written while their files arrive, and get their names when everything is complete and verified. A failed
//! run leaves partial downloads, which the next run continues, and nothing that could be mistaken for a bundle.

pub(crate) mod anchors;
pub(crate) mod contents;
mod differences;
mod growth;
mod haul;
mod home;
mod keys;
mod known;
mod library;
mod metadata;
mod needs;
mod order;
mod pack;
mod parts;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::{Either, select};
use schema::assertion::{Anchors, Verified};
use schema::digest::Sha3_384;
use schema::store::{Architecture, SnapName, StoreId};
use serde::Serialize;
use time::OffsetDateTime;

pub(crate) use keys::{account_keys, check_key_ids};
pub(crate) use known::Known;
pub(crate) use library::Library;
pub(crate) use metadata::brand_stores;
use needs::check_account_id;
pub(crate) use needs::{SetRef, model_of};
pub(crate) use order::{Order, Pick, merge, read_list};
pub(crate) use pack::{Archive, stamp, stamps};

use self::haul::{Haul, ResolveError};
use self::pack::{Cargo, Packed};
use crate::output::{Output, note, plain, warning};
use crate::sender::SenderHome;
use crate::upstream::Upstream;

/// Everything that one run fetches.
pub(crate) struct Job<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) anchors: &'a Anchors,
    pub(crate) orders: Vec<Order>,
    pub(crate) architectures: Vec<Architecture>,
    /// Validation sets to include.
    pub(crate) sets: Vec<SetRef>,
    /// A model to include, with the other assertions in its file.
    pub(crate) model: Option<Vec<schema::assertion::Assertion>>,
    /// Whether to fetch dependencies, too.
    pub(crate) with_dependencies: bool,
    /// Whether to do without named snaps that the store does not have.
    pub(crate) skip_missing: bool,
    /// What the other side has.
    pub(crate) known: Known,
    /// Largest part of a parcel in bytes; `None` for a single part.
    pub(crate) part_size: Option<u64>,
    /// Whether a parcel carries no differences.
    pub(crate) whole_files: bool,
    /// The sender of parcels on this host.
    pub(crate) home: Option<SenderHome>,
    /// The folder for bundles.
    pub(crate) folder: PathBuf,
    /// Whether to write a single bundle.
    pub(crate) single: bool,
    /// Write a store archive instead of bundles; a snap that is missing in some places is taken from the others.
    pub(crate) archive: Option<Archive>,
}

/// The result of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Fetched {
    pub(crate) bundles: Vec<FetchedBundle>,
    /// What the bundles lack to be installable.
    pub(crate) missing: Vec<String>,
}

/// A written bundle.
#[derive(Debug, Serialize)]
pub(crate) struct FetchedBundle {
    #[serde(serialize_with = "crate::output::as_text")]
    pub(crate) file: PathBuf,
    /// Its parts in order; empty if it was not split.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::output::as_texts")]
    pub(crate) parts: Vec<PathBuf>,
    pub(crate) snaps: Vec<FetchedSnap>,
}

/// A snap in it.
#[derive(Debug, Serialize)]
pub(crate) struct FetchedSnap {
    pub(crate) name: SnapName,
    pub(crate) revisions: Vec<u32>,
}

impl Job<'_> {
    /// Runs the job and reports progress to people.
    ///
    /// # Errors
    /// Something is unavailable or does not verify; no bundle is written.
    pub(crate) async fn run(mut self, out: &Output) -> anyhow::Result<Fetched> {
        let mut parts = parts::PartsFolder::open(&self.folder)?;
        let mut library = Library::new(self.upstream, self.anchors);
        let mut needs = needs::Needs::default();
        let mut extra = match &mut self.archive {
            Some(archive) => std::mem::take(&mut archive.keys),
            None => needs.of_documents(&mut library, self.model.take(), &self.sets).await?,
        };
        let wished = needs.take_orders();
        if self.with_dependencies {
            order::merge(&mut self.orders, wished);
        } else {
            self.orders.iter_mut().for_each(|order| order::pin(order, &wished));
            wished.into_iter().for_each(|order| needs.miss(&order));
        }
        let hauls = self.resolve(&mut needs, out).await?;
        anyhow::ensure!(
            !hauls.is_empty() || self.archive.is_some(),
            "nothing to fetch: name a snap, or give --model with --with-dependencies"
        );

        let mut cargo = Vec::with_capacity(hauls.len());
        for haul in hauls {
            cargo.push(self.prove(haul, &mut library).await?);
        }
        let cargo: Vec<Cargo> = cargo.into_iter().filter_map(|cargo| self.news(cargo, &extra)).collect();
        if let Known::Site(site) = &self.known {
            extra.retain(|document| !site.has(&Sha3_384::of(document.bytes())));
        }
        let files: Vec<_> = cargo.iter().flat_map(Cargo::files).collect();
        parts.expect(&files);
        let parts = Arc::new(parts);
        let known: BTreeSet<String> = self.known.names().map(ToString::to_string).collect();
        let with_dependencies = self.with_dependencies;
        let downloads = parts.download(self.upstream, files.clone());
        let fetched = if self.needs_whole_files() {
            downloads.await?;
            self.packing(&parts, cargo, extra)()?
        } else {
            beside(downloads, self.packing(&parts, cargo, extra)).await?
        };
        parts.clear(&files);

        let missing = needs.missing(&known);
        missing.iter().for_each(warning);
        if needs.has_missed(&known) && !with_dependencies {
            note("use --with-dependencies to fetch what is missing, unless the site has it already");
        }
        if !out.is_json() {
            for packed in &fetched {
                out.lines(&packed.lines())?;
            }
        }
        Ok(Fetched { bundles: fetched.into_iter().map(Into::into).collect(), missing })
    }

    /// Queries the store for every order and its dependencies.
    async fn resolve(&mut self, needs: &mut needs::Needs, out: &Output) -> anyhow::Result<Vec<Haul>> {
        let mut hauls: Vec<Haul> = Vec::new();
        let several = self.orders.len() > 1;
        let mut absent: Vec<String> = Vec::new();
        let mut queue: std::collections::VecDeque<Order> = std::mem::take(&mut self.orders).into();
        while let Some(order) = queue.pop_front() {
            if !out.is_json() {
                out.lines(&[format!("Fetching channel map info for {}", order.name)])?;
            }
            // A dependency that one architecture lacks is no reason to leave the others without it.
            let what_is_there = self.archive.is_some() || self.skip_missing || order.needed_by.is_some();
            match Haul::resolve(self.upstream, &order, &self.architectures, what_is_there).await {
                Ok(mut haul) => {
                    haul.fell_back.iter().for_each(note);
                    if self.archive.is_none() {
                        haul.lacking.iter().for_each(|why| needs.lack(&order, why));
                    }
                    haul.home = self.home_of(&haul).await?;
                    needs.of_haul(&haul);
                    hauls.push(haul);
                }
                Err(ResolveError::NotThere(why)) if order.needed_by.is_some() => {
                    needs.miss(&order);
                    warning(plain(&why));
                }
                Err(ResolveError::NotThere(why)) => absent.push(plain(&why)),
                Err(ResolveError::Other(error)) => return Err(error),
            }
            for order in needs.take_orders() {
                let known = hauls.iter().map(|haul| &haul.name).chain(queue.iter().map(|order| &order.name));
                if known.into_iter().any(|name| *name == order.name) {
                    continue;
                }
                if self.with_dependencies {
                    queue.push_back(order);
                } else {
                    needs.miss(&order);
                }
            }
        }
        if !absent.is_empty() {
            self.upstream.check_login().await?;
        }
        anyhow::ensure!(
            absent.is_empty() || (self.skip_missing && !hauls.is_empty()),
            "{}{}",
            absent.join("; "),
            if several { "; --skip-missing fetches the rest" } else { "" }
        );
        needs.absent(absent);
        hauls.iter().for_each(|haul| needs.found(&haul.name));
        Ok(hauls)
    }

    /// The store of a snap: as the archive's store lists it, else as anybody sees it.
    async fn home_of(&self, haul: &Haul) -> anyhow::Result<StoreId> {
        match self.archive.as_ref().and_then(|archive| archive.homes.get(&haul.name)) {
            Some(home) => Ok(home.clone()),
            None => Ok(home::home_of(self.upstream, haul, &self.architectures).await?),
        }
    }

    /// Fetches and verifies the assertions of a haul.
    async fn prove(&self, haul: Haul, library: &mut Library<'_>) -> anyhow::Result<Cargo> {
        let mut documents: Vec<(u32, Vec<Verified>)> = Vec::new();
        for (number, offer) in &haul.revisions {
            let proof = library
                .proof_of(offer)
                .await
                .with_context(|| format!("cannot prove revision {number} of {}", haul.name))?;
            documents.push((*number, proof));
        }
        let icon = match &haul.icon {
            Some(url) => pack::Icon::fetch(self.upstream, &haul.name, url).await,
            None => None,
        };
        Cargo::new(haul, documents, icon)
    }

    /// Removes what was carried before; `None` if nothing is left.
    fn news(&self, mut cargo: Cargo, extra: &[Verified]) -> Option<Cargo> {
        if self.known.is_empty() {
            return Some(cargo);
        }
        let is_new = cargo.leave_out(&self.known, extra);
        if !is_new {
            note(format!(
                "nothing is new for {} since {}: no bundle is written",
                cargo.haul.name,
                if matches!(self.known, Known::Site(_)) { "the receipt" } else { "the earlier bundles" }
            ));
        }
        is_new.then_some(cargo)
    }

    /// Whether what is written cannot be begun before everything is there: a parcel is made of differences and counts as
    /// sent, and parts of an archive have their names from the start.
    fn needs_whole_files(&self) -> bool {
        matches!(self.known, Known::Site(_))
            || self.archive.as_ref().is_some_and(|archive| archive.split.is_some())
    }

    /// What writes the bundles.
    fn packing(
        self,
        parts: &Arc<parts::PartsFolder>,
        cargo: Vec<Cargo>,
        extra: Vec<Verified>,
    ) -> impl FnOnce() -> anyhow::Result<Vec<Packed>> + Send + use<> {
        let Self { folder, archive, home, known, single, part_size, whole_files, upstream, .. } = self;
        let store = upstream.store().cloned().unwrap_or_else(StoreId::global);
        let now = OffsetDateTime::now_utc();
        let writer = pack::Writer { folder, parts: Arc::clone(parts), store, now, extra, archive };
        move || {
            if let (Known::Site(site), Some(home)) = (known, &home) {
                return match cargo.is_empty() && writer.archive.is_none() {
                    true => Ok(Vec::new()),
                    false => Ok(vec![writer.write_parcel(cargo, home, *site, (part_size, whole_files))?]),
                };
            }
            if writer.archive.is_some() {
                return Ok(vec![writer.write_archive(cargo)?]);
            }
            let groups: Vec<Vec<Cargo>> = match single {
                true if cargo.is_empty() => Vec::new(),
                true => vec![cargo],
                false => cargo.into_iter().map(|one| vec![one]).collect(),
            };
            writer.write_all(groups)
        }
    }
}

/// Writes the bundles while their files arrive. If either fails, the other ends too.
async fn beside(
    downloads: impl Future<Output = anyhow::Result<()>>,
    packing: impl FnOnce() -> anyhow::Result<Vec<Packed>> + Send + 'static,
) -> anyhow::Result<Vec<Packed>> {
    let packing = tokio::task::spawn_blocking(packing);
    match select(pin!(downloads), packing).await {
        Either::Left((downloaded, packing)) => {
            let packed = packing.await?;
            downloaded?;
            packed
        }
        Either::Right((packed, downloads)) => {
            let packed = packed??;
            downloads.await?;
            Ok(packed)
        }
    }
}
