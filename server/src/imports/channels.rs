//! What an import does to the channel map of a snap.
//!
//! The metadata of a bundle brings a whole map, which replaces the one held for each architecture that it names: snaps are
//! fetched one architecture after another. The releases of a manifest are added to what is held. Both are left out when the bundle brings nothing new, or looks older than what is
//! held, so that an old medium does not take devices back; the operator can insist. What points at a revision
//! that is not here is never written: where something is released to that channel already, it stays.

use std::collections::BTreeMap;

use schema::store::Channel;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rfc3339;
use crate::storage::records::{Origin, ReleaseKey, ReleaseRecord};

/// A release that a bundle asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) channel: Channel,
    pub(super) architecture: String,
    pub(super) revision: u32,
    pub(super) released_at: Option<OffsetDateTime>,
}

/// What is known when a channel map is planned.
pub(super) struct Situation<'a> {
    pub(super) snap_id: &'a str,
    pub(super) name: &'a str,
    /// As it was imported before.
    pub(super) held: &'a [ReleaseRecord],
    /// Is what is asked for the whole map?
    pub(super) whole: bool,
    /// Is the snap new?
    pub(super) new_snap: bool,
    /// Does the bundle bring a revision that is not held?
    pub(super) new_revision: bool,
    /// Does the operator insist?
    pub(super) insists: bool,
    pub(super) now: OffsetDateTime,
}

/// What becomes of the channel map.
#[derive(Debug, Default)]
pub(super) struct MapPlan {
    /// Is it written at all?
    pub(super) written: bool,
    pub(super) releases: Vec<ReleaseRecord>,
    pub(super) closed: Vec<ReleaseKey>,
    /// The imported map as it will be.
    pub(super) outcome: Vec<ReleaseRecord>,
    pub(super) warnings: Vec<String>,
}

type Place = (String, String, String, String);

fn place(release: &ReleaseRecord) -> Place {
    let ReleaseRecord { track, risk, branch, architecture, .. } = release.clone();
    (track, risk, branch, architecture)
}

/// Plans the map. `exists` tells whether a revision is in the bundle or held.
pub(super) fn plan(wanted: &[Wanted], exists: impl Fn(u32) -> bool, at: &Situation<'_>) -> MapPlan {
    let mut plan = MapPlan { outcome: at.held.to_vec(), ..MapPlan::default() };
    if wanted.is_empty() {
        return plan;
    }
    let asked: Vec<(ReleaseRecord, &Wanted)> = wanted.iter().map(|one| (record(one, at), one)).collect();
    let held: BTreeMap<Place, &ReleaseRecord> = at.held.iter().map(|one| (place(one), one)).collect();
    let older = asked.iter().any(|(release, one)| {
        held.get(&place(release)).is_some_and(|held| {
            let held_at = OffsetDateTime::parse(&held.released_at, &Rfc3339).ok();
            held.revision != one.revision
                && held_at.zip(one.released_at).is_some_and(|(held, new)| new < held)
        })
    });
    if !at.insists && !at.new_snap && (older || !at.new_revision) {
        let differs = |(release, one): &(ReleaseRecord, &Wanted)| {
            held.get(&place(release)).is_none_or(|held| held.revision != one.revision)
        };
        if asked.iter().any(differs) {
            let why = if older { "is older than the one held" } else { "comes with no new revision" };
            plan.warnings.push(format!(
                "The channel map of {} was left as it is: the bundle's {why}. Push again with --push-channel-map \
                 to replace it",
                at.name
            ));
        }
        return plan;
    }

    let mut outcome: BTreeMap<Place, ReleaseRecord> = BTreeMap::new();
    // A release for all architectures is part of every map.
    let replaced = |held: &ReleaseRecord| {
        held.architecture == "all"
            || wanted.iter().any(|one| one.architecture == held.architecture || one.architecture == "all")
    };
    let kept = at.held.iter().filter(|held| !at.whole || !replaced(held)).cloned();
    outcome.extend(kept.map(|held| (place(&held), held)));
    if at.whole {
        plan.releases.extend(outcome.values().cloned());
    }
    let mut left_out = Vec::new();
    for (release, one) in asked {
        let at_place = place(&release);
        if exists(one.revision) {
            if !at.whole && one.architecture == "all" {
                outcome.retain(|other, held| {
                    let hidden = (&other.0, &other.1, &other.2) == (&at_place.0, &at_place.1, &at_place.2);
                    if hidden && other.3 != "all" {
                        plan.closed.push(held.key());
                    }
                    !hidden
                });
            }
            plan.releases.push(release.clone());
            outcome.insert(at_place, release);
        } else {
            left_out.push(describe(&release));
            // What is released there stays, for this architecture or for all.
            let (track, risk, branch, _) = at_place.clone();
            let for_all = (track, risk, branch, "all".to_owned());
            if let Some(held) = held.get(&at_place).or_else(|| held.get(&for_all)) {
                if at.whole {
                    plan.releases.push((*held).clone());
                }
                outcome.insert(place(held), (*held).clone());
            }
        }
    }
    if !left_out.is_empty() {
        let count = left_out.len();
        left_out.truncate(5);
        let more = if count > left_out.len() { ", ..." } else { "" };
        plan.warnings.push(format!(
            "{count} channels of {} were left out because their revisions were not pushed: {}{more}",
            at.name,
            left_out.join(", ")
        ));
    }
    plan.written = true;
    plan.outcome = outcome.into_values().collect();
    plan
}

fn record(wanted: &Wanted, at: &Situation<'_>) -> ReleaseRecord {
    ReleaseRecord {
        snap_id: at.snap_id.to_owned(),
        track: wanted.channel.track.to_string(),
        risk: wanted.channel.risk.to_string(),
        branch: wanted.channel.branch.as_ref().map(ToString::to_string).unwrap_or_default(),
        architecture: wanted.architecture.clone(),
        revision: wanted.revision,
        released_at: rfc3339(wanted.released_at.unwrap_or(at.now)),
        origin: Origin::Imported,
    }
}

/// `latest/stable amd64 -> 6`
pub(super) fn describe(release: &ReleaseRecord) -> String {
    let branch = if release.branch.is_empty() { String::new() } else { format!("/{}", release.branch) };
    let ReleaseRecord { track, risk, architecture, revision, .. } = release;
    format!("{track}/{risk}{branch} {architecture} -> {revision}")
}
