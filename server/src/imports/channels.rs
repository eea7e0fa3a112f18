//! How an import changes a snap's channel map.
//!
//! The metadata of a bundle brings a whole map, and a manifest single releases. Unless the operator insists, either opens
//! channels and takes them forward, and does nothing else: no channel goes back to a lower revision, none is closed, and
//! what was decided on site stays: a channel that the operator closed, and a release later than the file's own. What is
//! left undone is told, with the option that does it. A file that brings nothing new changes no channel, so that importing one again is harmless.
//!
//! While a rollout is live, no import moves its channel, whoever insists: what is in it is what devices outside open waves get.
//!
//! If the operator insists, a whole map replaces the stored one for each architecture that it names, because snaps
//! are fetched one architecture at a time. A release of a revision that is not held is never written; what is already
//! released to that channel stays.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::ChannelMove;
use schema::store::{Architecture, Channel, SnapId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rfc3339;
use crate::storage::records::{Origin, ReleaseKey, ReleaseRecord};

/// The most channels named in one warning.
const NAMED: usize = 5;

/// A release requested by a bundle.
#[derive(Debug, Clone)]
pub(super) struct WantedRelease {
    pub(super) channel: Channel,
    pub(super) architecture: Architecture,
    pub(super) revision: u32,
    pub(super) released_at: Option<OffsetDateTime>,
}

/// The input for planning a channel map.
pub(super) struct Situation<'a> {
    pub(super) snap_id: &'a SnapId,
    pub(super) name: &'a str,
    /// The previously imported map.
    pub(super) held: &'a [ReleaseRecord],
    /// Channels that the operator closed.
    pub(super) closed: &'a [ReleaseRecord],
    /// The live rollout's channel, and its name.
    pub(super) rolling: Option<(&'a Channel, &'a str)>,
    /// Is what is asked for the whole map?
    pub(super) whole: bool,
    /// Whether the file brings anything new, so that its channels apply.
    pub(super) speaks: bool,
    /// Revisions in the bundle that were not held before.
    pub(super) new: &'a BTreeSet<u32>,
    /// Whether the operator insists.
    pub(super) insists: bool,
    pub(super) now: OffsetDateTime,
}

impl Situation<'_> {
    fn is_rolling(&self, channel: &Channel) -> bool {
        self.rolling.is_some_and(|(rolling, _)| rolling == channel)
    }
}

/// The planned channel map.
#[derive(Debug, Default)]
pub(super) struct MapPlan {
    /// Whether the bundle's description of the snap is used.
    pub(super) written: bool,
    /// Whether `releases` replaces everything imported before.
    pub(super) replaces: bool,
    pub(super) releases: Vec<ReleaseRecord>,
    pub(super) closed: Vec<ReleaseKey>,
    /// The resulting imported map.
    pub(super) outcome: Vec<ReleaseRecord>,
    /// The changes.
    pub(super) moves: Vec<ChannelMove>,
    /// The changes that are not applied.
    pub(super) left: Vec<ChannelMove>,
    pub(super) warnings: Vec<String>,
}

/// A channel as it is written, in whose order changes are told, and an architecture.
type Place = (String, Architecture);
type Map = BTreeMap<Place, ReleaseRecord>;

fn place(release: &ReleaseRecord) -> Place {
    (release.channel.to_string(), release.architecture.clone())
}

/// Plans the map. `exists` says whether a revision is in the bundle or held.
pub(super) fn plan(wanted: &[WantedRelease], exists: impl Fn(u32) -> bool, at: &Situation<'_>) -> MapPlan {
    let mut plan = MapPlan { outcome: at.held.to_vec(), ..MapPlan::default() };
    if wanted.is_empty() {
        return plan;
    }
    let mut asked: Vec<(ReleaseRecord, &WantedRelease)> =
        wanted.iter().map(|one| (record(one, at), one)).collect();
    for (release, _) in asked.extract_if(.., |(release, _)| at.is_rolling(&release.channel)) {
        let here = at.held.iter().filter(|held| held.is_beside(&release));
        let fits =
            |held: &&ReleaseRecord| held.architecture == release.architecture || held.architecture.is_all();
        if !here.clone().any(|held| fits(&held) && held.revision == release.revision) {
            let (place, name) = (describe(&release), at.name);
            let rollout = at.rolling.map(|(_, rollout)| rollout).unwrap_or_default();
            plan.warnings
                .push(format!("{place} of {name} is left out: rollout {rollout} is under way there"));
        }
    }
    asked.sort_by_key(|(release, _)| place(release));
    let (here, missing): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(release, _)| exists(release.revision));
    let held: Map = at.held.iter().map(|one| (place(one), one.clone())).collect();
    let outcome = match at.insists {
        true => as_told(&here, &missing, &held, at, &mut plan),
        false => forward(&here, &held, at, &mut plan),
    };
    plan.moves = differences(&held, &outcome);
    if at.insists || at.speaks {
        warn_of_missing(&missing, at.name, &mut plan.warnings);
    }
    for left in plan.left.iter().filter(|left| left.after.is_some()) {
        let (place, before) = (format!("{} {} of {}", left.channel, left.architecture, at.name), left.before);
        let is_closed = at.closed.iter().any(|row| row.channel.to_string() == left.channel);
        let stays = match before {
            Some(revision) => format!("stays at {revision}"),
            None if is_closed => "stays closed".to_owned(),
            None => "is not opened".to_owned(),
        };
        let says = left.after.unwrap_or_default();
        plan.warnings
            .push(format!("{place} {stays} and the file says {says}: --push-channel-map follows it"));
    }
    let closing = plan.left.iter().filter(|left| left.after.is_none());
    let closing: Vec<String> =
        closing.map(|left| format!("{} {}", left.channel, left.architecture)).collect();
    if !closing.is_empty() {
        plan.warnings.push(format!(
            "Channels of {} that the file does not have stay open: {} (--push-channel-map closes them)",
            at.name,
            first(&closing)
        ));
    }
    plan.outcome = outcome.into_values().collect();
    plan
}

/// Opens channels and moves them forward.
fn forward(
    here: &[(ReleaseRecord, &WantedRelease)],
    held: &Map,
    at: &Situation<'_>,
    plan: &mut MapPlan,
) -> Map {
    let mut outcome = held.clone();
    let mut stayed = false;
    for (release, one) in here {
        let beside: Vec<&ReleaseRecord> = outcome.values().filter(|held| held.is_beside(release)).collect();
        let of = |architecture: &str| beside.iter().find(|held| &*held.architecture == architecture).copied();
        // A release for exactly this architecture wins over one for all.
        let (exact, general) = (of(&release.architecture), of(Architecture::ALL));
        if exact.or(general).is_some_and(|held| held.revision == release.revision) {
            continue;
        }
        let is_new = at.new.contains(&release.revision);
        let stays =
            |held: &ReleaseRecord| held.revision > release.revision || (!is_new && is_older(one, held));
        let is_shut = at.closed.iter().any(|closed| closed.is_beside(release));
        if !at.speaks || is_shut || exact.into_iter().chain(general).any(stays) {
            stayed = true;
            let before = exact.or(general).map(|held| held.revision);
            plan.left.push(moved(release, before, Some(release.revision)));
            continue;
        }
        if release.architecture.is_all() {
            // Releases it would hide are dropped, except higher or more recently decided ones.
            let hidden: Vec<ReleaseRecord> =
                beside.into_iter().filter(|held| !stays(held)).cloned().collect();
            for held in hidden.iter().filter(|held| !held.architecture.is_all()) {
                plan.closed.push(held.key());
                outcome.remove(&place(held));
            }
        }
        plan.releases.push(release.clone());
        outcome.insert(place(release), release.clone());
    }
    if at.whole && at.speaks {
        let named: BTreeSet<Place> = here.iter().map(|(release, _)| place(release)).collect();
        let architectures: BTreeSet<&str> = here.iter().map(|(release, _)| &*release.architecture).collect();
        let unnamed = held.iter().filter(|(at_place, held)| {
            !at.is_rolling(&held.channel)
                && architectures.contains(&*held.architecture)
                && !named.contains(*at_place)
        });
        plan.left.extend(unnamed.map(|(_, held)| moved(held, Some(held.revision), None)));
    }
    plan.written = at.speaks && (!stayed || !plan.releases.is_empty());
    outcome
}

/// Whether the stored release is newer than the one in the file.
fn is_older(asked: &WantedRelease, held: &ReleaseRecord) -> bool {
    let held_at = OffsetDateTime::parse(&held.released_at, &Rfc3339).ok();
    held_at.zip(asked.released_at).is_some_and(|(held, asked)| asked < held)
}

/// Applies the bundle's map as it is, including lower revisions and closed channels.
fn as_told(
    here: &[(ReleaseRecord, &WantedRelease)],
    missing: &[(ReleaseRecord, &WantedRelease)],
    held: &Map,
    at: &Situation<'_>,
    plan: &mut MapPlan,
) -> Map {
    let all = || here.iter().chain(missing);
    // A release for all architectures is part of every map.
    let replaced = |held: &ReleaseRecord| {
        held.architecture.is_all()
            || all().any(|(asked, _)| asked.architecture == held.architecture || asked.architecture.is_all())
    };
    let mut outcome: Map = held.clone();
    outcome.retain(|_, held| !at.whole || !replaced(held) || at.is_rolling(&held.channel));
    for (release, _) in missing {
        // An existing release stays, for this architecture or for all.
        let for_all = (release.channel.to_string(), Architecture::all());
        if let Some(held) = held.get(&place(release)).or_else(|| held.get(&for_all)) {
            outcome.insert(place(held), held.clone());
        }
    }
    for (release, _) in here {
        if !at.whole && release.architecture.is_all() {
            outcome.retain(|_, held| {
                let hidden = held.is_beside(release);
                if hidden && !held.architecture.is_all() {
                    plan.closed.push(held.key());
                }
                !hidden
            });
        }
        plan.releases.push(release.clone());
        outcome.insert(place(release), release.clone());
    }
    let opened = at.closed.iter().filter(|closed| here.iter().any(|(release, _)| closed.is_beside(release)));
    plan.closed.extend(opened.map(ReleaseRecord::key));
    (plan.written, plan.replaces) = (true, at.whole);
    if at.whole {
        plan.releases = outcome.values().cloned().collect();
    }
    outcome
}

/// The revisions of channels before and after.
fn differences(before: &Map, after: &Map) -> Vec<ChannelMove> {
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let moves = places.into_iter().filter_map(|at| {
        let (old, new) = (before.get(at), after.get(at));
        let (from, to) = (old.map(|held| held.revision), new.map(|held| held.revision));
        (from != to).then(|| old.or(new).map(|any| moved(any, from, to)))?
    });
    moves.collect()
}

fn moved(release: &ReleaseRecord, before: Option<u32>, after: Option<u32>) -> ChannelMove {
    ChannelMove {
        channel: release.channel.to_string(),
        architecture: release.architecture.to_string(),
        before,
        after,
    }
}

fn warn_of_missing(missing: &[(ReleaseRecord, &WantedRelease)], name: &str, warnings: &mut Vec<String>) {
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().map(|(release, _)| describe(release)).collect();
        warnings.push(format!(
            "{} channels of {name} were left out because their revisions were not pushed: {}",
            missing.len(),
            first(&named)
        ));
    }
}

/// The first few of many.
fn first(names: &[String]) -> String {
    let more = if names.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

fn record(wanted: &WantedRelease, at: &Situation<'_>) -> ReleaseRecord {
    ReleaseRecord {
        snap_id: at.snap_id.clone(),
        channel: wanted.channel.clone(),
        architecture: wanted.architecture.clone(),
        revision: wanted.revision,
        released_at: rfc3339(wanted.released_at.unwrap_or(at.now)),
        origin: Origin::Imported,
    }
}

/// `latest/stable amd64 -> 6`
pub(super) fn describe(release: &ReleaseRecord) -> String {
    format!("{} {} -> {}", release.channel, release.architecture, release.revision)
}
