//! Upkeep of what is held: releases by hand, closing, removing and pruning. Planned first, done when told so.
//!
//! Rows go, files and the signed documents of snaps stay: a later collection may take the files, and what was pushed
//! once may be pushed again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schema::api::admin::{Task, UpkeepPlan};
use schema::assertion::{AssertionSource as _, AssertionType, Details, Ref};
use schema::digest::Sha3_384;
use schema::store::{Architecture, Channel, SnapId};
use serde_json::json;
use time::OffsetDateTime;

use super::By;
use super::back::{Then, back};
use super::history::HistoryError;
use super::moves::moves;
use super::overrides::{ChannelMapError, channel_of, check_track, is_in, replaced, rows, snap_of};
use super::rollouts::in_the_way;
use crate::catalog::{Catalog, Held, Snap};
use crate::imports::rfc3339;
use crate::storage::blobs::BlobError;
use crate::storage::error::CommitError;
use crate::storage::records::{AuditEvent, Change, Origin, ReleaseRecord};

/// The most needs that a refusal names.
const NAMED: usize = 5;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpkeepError {
    #[error(transparent)]
    ChannelMap(#[from] ChannelMapError),
    #[error("cannot remove {what}: needed by {}", listed(by))]
    Needed { what: String, by: Vec<String> },
    #[error(
        "revision {revision} of {name} is not held: `proxy list-pushed-snaps --revisions` shows those that are"
    )]
    NoRevision { name: String, revision: u32 },
    #[error(
        "channel {channel} of {name} is not in the imported map: `proxy list-pushed-snaps --revisions` shows what is"
    )]
    NotOpen { name: String, channel: String },
    #[error(
        "cannot close {channel} of {name}: an override is there; delete it first with `proxy delete-override {name} {channel}`"
    )]
    Overridden { name: String, channel: String },
    #[error("store {0} is not known here: `proxy list-stores` shows those that are")]
    UnknownStore(String),
    #[error(
        "account key {0} is not held, or built in: `proxy list-account-keys` shows those that can be removed"
    )]
    UnknownKey(String),
    #[error("at least one revision has to stay: write --keep 1 or more")]
    KeepNothing,
    #[error(
        "cannot go back to generation {generation}: {} no longer held, or damaged: push what is missing with `proxy push-snap FILE`, \
         or go back with one snap by --snap",
        listed(gone)
    )]
    Gone { generation: i64, gone: Vec<String> },
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(
        "{channel} of {name} stays as it is while rollout {rollout} is under way: end it first, see `proxy rollout show {rollout}`"
    )]
    RollingOut { name: String, channel: Channel, rollout: String },
    #[error("cannot look at the files of the revisions that would be released")]
    Files(#[source] BlobError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl UpkeepError {
    /// Revisions that a generation needs and that are not here.
    pub(crate) fn gone(generation: i64, gone: impl IntoIterator<Item = (String, u32)>) -> Self {
        let gone: BTreeSet<(String, u32)> = gone.into_iter().collect();
        let gone = gone.into_iter().map(|(name, revision)| format!("{name} revision {revision}"));
        Self::Gone { generation, gone: gone.collect() }
    }
}

/// What a plan has to know of earlier generations.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// The revisions that are released in generations with a tag, with one of these tags.
    pub(crate) tagged: HashMap<(SnapId, u32), String>,
    /// On how many devices each revision runs, by the snap's id.
    pub(crate) running: HashMap<(String, u32), usize>,
    /// The generation to go back to.
    pub(crate) then: Then,
}

/// Old revisions that may go.
#[derive(Debug, Clone)]
pub(crate) struct Spare {
    /// How many.
    pub(crate) revisions: usize,
    /// Bytes that nothing else needs.
    pub(crate) bytes: u64,
    /// How many of each snap stay.
    pub(crate) keep: usize,
}

fn listed(all: &[String]) -> String {
    let more = if all.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}

/// Plans one task: the change, and the steps that it consists of.
pub(crate) fn plan_upkeep(
    catalog: &Catalog,
    task: &Task,
    by: &By,
    past: &Past,
) -> Result<(Change, UpkeepPlan), UpkeepError> {
    let mut work = Work::new(by, catalog, past);
    work.plan(task)?;
    Ok((work.change, work.report))
}

/// How a task and what it is done to are called in the audit log.
pub(crate) fn named(task: &Task) -> (&'static str, String) {
    match task {
        Task::Release { snap, revision, channel, .. } => ("release", format!("{snap} {revision} {channel}")),
        Task::CloseChannel { snap, channel } => ("close-channel", format!("{snap} {channel}")),
        Task::RemoveSnap { snap, revision } => {
            let number = revision.map(|number| format!(" {number}")).unwrap_or_default();
            ("remove-snap", format!("{snap}{number}"))
        }
        Task::RemoveStore { store } => ("remove-store", store.clone()),
        Task::RemoveAccountKey { key } => ("remove-account-key", key.clone()),
        Task::Prune { keep } => ("prune", format!("keep {keep}")),
        Task::Back { to, snap } => {
            let snap = snap.as_ref().map(|snap| format!(" {snap}")).unwrap_or_default();
            ("back", format!("{to}{snap}"))
        }
    }
}

/// A plan in the making.
struct Work<'a> {
    catalog: &'a Catalog,
    past: &'a Past,
    now: OffsetDateTime,
    change: Change,
    report: UpkeepPlan,
}

impl<'a> Work<'a> {
    fn new(by: &By, catalog: &'a Catalog, past: &'a Past) -> Self {
        let event = AuditEvent::new(&by.who, "", "");
        let change = Change::new(event, by.micros());
        Self { catalog, past, now: by.now, change, report: UpkeepPlan::default() }
    }

    fn plan(&mut self, task: &Task) -> Result<(), UpkeepError> {
        let catalog = self.catalog;
        match task {
            Task::Release { snap, revision, channel, create_track } => {
                self.release(snap_of(catalog, snap)?, *revision, channel, *create_track)?
            }
            Task::CloseChannel { snap, channel } => self.close(snap_of(catalog, snap)?, channel)?,
            Task::RemoveSnap { snap, revision } => self.remove_snap(snap_of(catalog, snap)?, *revision)?,
            Task::RemoveStore { store } => self.remove_store(store)?,
            Task::RemoveAccountKey { key } => self.remove_key(key)?,
            Task::Prune { keep } => self.prune(*keep)?,
            Task::Back { snap, .. } => self.back(snap.as_deref())?,
        }
        if let Some((rollout, snap)) = in_the_way(catalog, &self.change) {
            let (channel, rollout) = (rollout.record.channel.clone(), rollout.name.clone());
            return Err(UpkeepError::RollingOut { name: snap.name.to_string(), channel, rollout });
        }
        let (what, subject) = named(task);
        what.clone_into(&mut self.change.audit.what);
        self.change.audit.subject = subject;
        if let Task::Back { .. } = task {
            // History has every step.
            let moves = self.report.steps.len();
            self.change.audit.detail = json!({ "generation": self.past.then.generation, "moves": moves });
            return Ok(());
        }
        self.report.moves = moves(catalog, &self.change);
        let moved = self.report.moves.iter().map(ToString::to_string);
        self.report.steps = moved.chain(std::mem::take(&mut self.report.steps)).collect();
        self.change.audit.detail = json!({ "steps": self.report.steps });
        Ok(())
    }

    fn release(
        &mut self,
        snap: &Snap,
        revision: u32,
        channel: &str,
        create_track: bool,
    ) -> Result<(), UpkeepError> {
        let channel = channel_of(snap, channel)?;
        if !create_track {
            check_track(snap, &channel)?;
        }
        let rows = rows(snap, revision, &channel, Origin::Imported, self.now)?;
        let (name, short) = (&snap.name, channel.short_name());
        for row in &rows {
            let stays = |held: &&ReleaseRecord| held.key() == row.key() && held.revision == revision;
            if snap.imported.iter().any(|held| stays(&held)) {
                let step = format!("{name} {short} {}: stays at revision {revision}", row.architecture);
                self.report.steps.push(step);
            }
        }
        self.change.releases_closed.extend(replaced(&snap.imported, &rows).map(ReleaseRecord::key));
        if snap.overrides.iter().any(|over| is_in(over, &channel)) {
            self.report.warnings.push(format!(
                "An override of {name} {short} stays above it: `proxy delete-override {name} {short}`"
            ));
        }
        let shut = snap.closed.iter().filter(|closed| is_in(closed, &channel));
        self.change.releases_closed.extend(shut.map(ReleaseRecord::key));
        self.change.releases = rows;
        Ok(())
    }

    fn close(&mut self, snap: &Snap, channel: &str) -> Result<(), UpkeepError> {
        let channel = channel_of(snap, channel)?;
        let (name, short) = (snap.name.to_string(), channel.short_name());
        if snap.overrides.iter().any(|over| is_in(over, &channel)) {
            return Err(UpkeepError::Overridden { name, channel: short });
        }
        let here = snap.imported.iter().filter(|row| is_in(row, &channel));
        self.change.releases_closed.extend(here.map(ReleaseRecord::key));
        let open = snap.imported.iter().find(|row| is_in(row, &channel));
        let open = open.ok_or_else(|| UpkeepError::NotOpen { name: name.clone(), channel: short.clone() })?;
        self.report.steps.push(format!("{name} {short}: stays closed, whatever is imported"));
        self.change.releases.push(ReleaseRecord {
            architecture: Architecture::all(),
            released_at: rfc3339(self.now),
            origin: Origin::Closed,
            ..open.clone()
        });
        Ok(())
    }

    fn back(&mut self, only: Option<&str>) -> Result<(), UpkeepError> {
        let only = only.map(|name| snap_of(self.catalog, name)).transpose()?;
        let then = &self.past.then;
        let back = back(self.catalog, then, only.map(|snap| &**snap), self.now);
        if !back.gone.is_empty() {
            return Err(UpkeepError::gone(then.generation, back.gone));
        }
        self.report.steps = back.moves.iter().map(ToString::to_string).collect();
        let moves = back.moves.into_iter().map(|one| one.moved);
        self.report.moves = moves.filter(|one| one.moved.before != one.moved.after).collect();
        (self.change.releases, self.change.releases_closed) = (back.releases, back.closed);
        if then.grants_differ {
            let generation = then.generation;
            self.report.warnings.push(format!(
                "Grants stay as they are and differ from those of generation {generation}: `proxy diff {generation}` shows how"
            ));
        }
        Ok(())
    }

    fn remove_snap(&mut self, snap: &Snap, revision: Option<u32>) -> Result<(), UpkeepError> {
        let goes: BTreeSet<u32> = match revision {
            None => snap.revisions.keys().copied().collect(),
            Some(number) if snap.revisions.contains_key(&number) => BTreeSet::from([number]),
            Some(revision) => {
                return Err(UpkeepError::NoRevision { name: snap.name.to_string(), revision });
            }
        };
        let mut by: Vec<String> = goes.iter().flat_map(|number| self.needs(snap, *number)).collect();
        if revision.is_none() {
            by.extend(self.catalog.granting(snap).map(|store| {
                format!(
                    "store {}, which grants it until `proxy push-brand-store-metadata FILE` brings newer metadata",
                    store.store_id
                )
            }));
            let others = self.catalog.snaps().filter(|other| other.id != snap.id);
            let based = others
                .filter(|other| other.revisions.values().any(|one| one.base.as_deref() == Some(&*snap.name)));
            by.extend(
                based
                    .map(|other| format!("snap {0}, whose base it is (`proxy remove-snap {0}`)", other.name)),
            );
        }
        by.sort();
        by.dedup();
        if !by.is_empty() {
            let number = revision.map(|number| format!(" revision {number}")).unwrap_or_default();
            return Err(UpkeepError::Needed { what: format!("{}{number}", snap.name), by });
        }
        if revision.is_none() {
            self.report.steps.push(format!("{}: removed", snap.name));
            self.change.removed.snaps.push(snap.id.clone());
        }
        self.remove_revisions(snap, &goes);
        self.remove_blobs();
        Ok(())
    }

    /// What leads to a revision.
    fn needs(&self, snap: &Snap, revision: u32) -> Vec<String> {
        let released = |rows: &[ReleaseRecord], kind: &str, ends: &str| -> Vec<String> {
            let here = rows.iter().filter(|row| row.revision == revision);
            let place = |row: &ReleaseRecord| {
                let (channel, name) = (&row.channel, &snap.name);
                format!("{kind} {channel} ({}; `proxy {ends} {name} {channel}`)", row.architecture)
            };
            here.map(place).collect()
        };
        let mut needs = released(&snap.imported, "channel", "close-channel");
        needs.extend(released(&snap.overrides, "override of", "delete-override"));
        let rollout =
            self.catalog.live_rollout(&snap.id).filter(|rollout| rollout.record.revision == revision);
        needs.extend(rollout.map(|rollout| format!("rollout {0} (`proxy rollout show {0}`)", rollout.name)));
        let tag = self.past.tagged.get(&(snap.id.clone(), revision));
        needs.extend(tag.map(|tag| format!("tag {tag} (`proxy tag {tag} --remove`)")));
        for held in self.catalog.assertions.all_of_kind(AssertionType::ValidationSet) {
            let held = held.decode();
            let Some(Details::ValidationSet(set)) = held.as_ref().map(|held| held.details()) else {
                continue;
            };
            if set.snaps.iter().any(|pinned| pinned.id == *snap.id && pinned.revision == Some(revision)) {
                needs.push(format!("validation set {}/{}", set.account_id, set.name));
            }
        }
        needs
    }

    /// Takes out revisions, and the component revisions that no other revision goes with.
    fn remove_revisions(&mut self, snap: &Snap, goes: &BTreeSet<u32>) {
        for number in goes {
            let Some(held) = snap.revisions.get(number) else { continue };
            let Snap { name, id, .. } = snap;
            self.report.steps.push(format!("{name} revision {number} ({}): removed", held.version));
            self.change.removed.revisions.push((id.clone(), *number));
        }
        let whole = goes.len() == snap.revisions.len();
        // What the operator closed stays closed as long as there is a revision.
        for closed in snap.closed.iter().filter(|closed| goes.contains(&closed.revision)) {
            match snap.revisions.keys().rfind(|number| !goes.contains(number)) {
                Some(revision) => {
                    self.change.releases.push(ReleaseRecord { revision: *revision, ..closed.clone() });
                }
                None => {
                    self.report.steps.push(format!(
                        "{} {} ({}): kept closed no longer, so imports may open it",
                        snap.name, closed.channel, closed.architecture
                    ));
                    self.change.releases_closed.push(closed.key());
                }
            }
        }
        let leaves = |(component, revision): &(String, u32)| {
            let mut pairs = snap
                .pairs
                .iter()
                .filter(|pair| (&pair.component, &pair.component_revision) == (component, revision))
                .peekable();
            whole || (pairs.peek().is_some() && pairs.all(|pair| goes.contains(&pair.snap_revision)))
        };
        for (component, revision) in snap.components.keys().filter(|key| leaves(key)) {
            self.report
                .steps
                .push(format!("{} component {component} revision {revision}: removed", snap.name));
            self.change.removed.components.push((snap.id.clone(), component.clone(), *revision));
        }
    }

    /// Takes out the blobs that nothing names once the plan is done.
    fn remove_blobs(&mut self) {
        let removed = &self.change.removed;
        let (mut gone, mut kept): (BTreeMap<Sha3_384, u64>, BTreeSet<Sha3_384>) = Default::default();
        for snap in self.catalog.snaps() {
            let revisions = snap.revisions.values().map(|revision| {
                (removed.revisions.contains(&(snap.id.clone(), revision.number)), &revision.blob)
            });
            let components = snap.components.iter().map(|((name, revision), blob)| {
                (removed.components.contains(&(snap.id.clone(), name.clone(), *revision)), blob)
            });
            for (goes, blob) in revisions.chain(components) {
                match goes {
                    true => drop(gone.insert(blob.digest, blob.size)),
                    false => drop(kept.insert(blob.digest)),
                }
            }
            if let Some(blob) = self.catalog.icon_of(snap) {
                match removed.snaps.contains(&snap.id) {
                    true => drop(gone.insert(blob.digest, blob.size)),
                    false => drop(kept.insert(blob.digest)),
                }
            }
        }
        gone.retain(|digest, _| !kept.contains(digest));
        self.report.unused_bytes = gone.values().sum();
        self.change.removed.blobs = gone.into_keys().collect();
    }

    fn remove_store(&mut self, id: &str) -> Result<(), UpkeepError> {
        let stores = || self.catalog.stores();
        let store = self.catalog.store(id).ok_or_else(|| UpkeepError::UnknownStore(id.to_owned()))?;
        let children = stores().filter(|other| other.parent.as_deref() == Some(id));
        let mut by: Vec<String> = children
            .map(|other| format!("store {0}, which builds on it (`proxy remove-store {0}`)", other.store_id))
            .collect();
        let now = u64::try_from(self.now.unix_timestamp()).unwrap_or_default();
        let logins = self.catalog.logins().iter().filter(|(_, login)| {
            login.store.as_ref().is_some_and(|store| store.as_str() == id)
                && !login.revoked
                && login.expires > now
        });
        by.extend(logins.map(|(login, _)| format!("login {login} (`proxy revoke-login {login}`)")));
        if !by.is_empty() {
            return Err(UpkeepError::Needed { what: format!("store {id}"), by });
        }
        self.report.steps.push(format!(
            "store {id} ({}): removed with its {} grants",
            store.name,
            store.grants.len()
        ));
        for snap in self.catalog.snaps().filter(|snap| snap.stores.iter().any(|of| of == id)) {
            self.report.steps.push(format!("{}: no longer of store {id}", snap.name));
        }
        let brand = &store.brand_id;
        if stores().filter(|other| other.brand_id == *brand).count() == 1 {
            self.report.warnings.push(format!(
                "It is the last store of brand {brand}: its devices will no longer be checked against the brand's keys"
            ));
        }
        self.change.removed.stores.push(store.store_id.clone());
        Ok(())
    }

    fn remove_key(&mut self, id: &str) -> Result<(), UpkeepError> {
        let at = Ref { kind: AssertionType::AccountKey, key: vec![id.to_owned()] };
        let unknown = || UpkeepError::UnknownKey(id.to_owned());
        let held = self.catalog.assertions.find(&at).ok_or_else(unknown)?;
        let Details::AccountKey(key) = held.details() else { return Err(unknown()) };
        let all = self.catalog.assertions.all().filter_map(Held::decode);
        let signed = all.filter(|other| other.sign_key_id() == id);
        let mut by: Vec<String> = signed.map(|other| other.reference().to_string()).collect();
        by.sort();
        by.dedup();
        if self.catalog.assertions.keys_of(&key.account_id).len() == 1 {
            let stores = self.catalog.stores().filter(|store| store.brand_id == key.account_id);
            by.extend(stores.map(|store| format!("store {}, whose brand has no other key", store.store_id)));
        }
        if !by.is_empty() {
            return Err(UpkeepError::Needed { what: format!("account key {id}"), by });
        }
        let name = key.name.as_deref().unwrap_or("without a name");
        self.report.steps.push(format!("account key {id} ({} {name}): removed", key.account_id));
        self.report.warnings.push("Devices whose model or serial it signed get no new session".into());
        self.change.removed.assertions.push(at);
        Ok(())
    }

    fn prune(&mut self, keep: usize) -> Result<(), UpkeepError> {
        if keep == 0 {
            return Err(UpkeepError::KeepNothing);
        }
        let catalog = self.catalog;
        for snap in catalog.snaps().map(Arc::as_ref) {
            // A device goes from one epoch to the next through a revision that reads both.
            let mut counts: BTreeMap<(&Architecture, String), usize> = BTreeMap::new();
            let mut goes = BTreeSet::new();
            for revision in snap.revisions.values().rev() {
                let epoch = json!(revision.epoch).to_string();
                let mut stays = false;
                for architecture in &revision.architectures {
                    let count = counts.entry((architecture, epoch.clone())).or_default();
                    *count += 1;
                    stays |= *count <= keep;
                }
                let runs = self.past.running.contains_key(&(snap.id.to_string(), revision.number));
                if !stays && !runs && self.needs(snap, revision.number).is_empty() {
                    goes.insert(revision.number);
                }
            }
            if !goes.is_empty() {
                self.remove_revisions(snap, &goes);
            }
        }
        self.remove_blobs();
        Ok(())
    }
}
