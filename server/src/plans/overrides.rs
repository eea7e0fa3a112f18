//! Overrides: revisions that the operator pins above the imported channel map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schema::api::admin::Override;
use schema::assertion::{AssertionSource as _, AssertionType, Ref};
use schema::nearest::nearest;
use schema::store::{Architecture, Channel, ChannelError, ChannelRequest, Risk, SnapId};
use serde_json::json;
use time::OffsetDateTime;

use super::By;
use crate::catalog::{Catalog, CatalogRevision, Snap};
use crate::imports::rfc3339;
use crate::storage::error::CommitError;
use crate::storage::records::{AuditEvent, Change, Origin, ReleaseRecord};

/// Why a channel map is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelMapError {
    /// There is no snap of this name.
    #[error("there is no snap {0} in this store: `proxy list-pushed-snaps` shows what was pushed")]
    UnknownSnap(String),
    /// Several snaps have this name.
    #[error("several snaps are called {name}: write the id of the one that you mean: {}", ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The ids of these snaps.
        ids: Vec<String>,
    },
    /// The revision was not pushed.
    #[error(
        "revision {revision} of {name} is not held (held: {}): push it first with `proxy push-snap FILE`", held.join(", ")
    )]
    NotHeld {
        /// The snap.
        name: String,
        /// The requested revision.
        revision: u32,
        /// The held revisions.
        held: Vec<String>,
    },
    /// The snap has no such track.
    #[error("{}", no_track(name, track, known))]
    UnknownTrack {
        /// The snap.
        name: String,
        /// The track, as written.
        track: String,
        /// The tracks that it has.
        known: Vec<String>,
    },
    /// The text is not a channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// There is nothing to delete.
    #[error(
        "there is no override of {name} in {channel}: `proxy list-overrides {name}` shows those that there are"
    )]
    NoOverride {
        /// The snap.
        name: String,
        /// The channel.
        channel: String,
    },
    /// Two requests for one channel.
    #[error("{channel} of {name} is named twice: say once what it is to be")]
    Twice {
        /// The snap.
        name: String,
        /// The channel.
        channel: String,
    },
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl ChannelMapError {
    /// The snaps of these ids all have this name.
    pub(crate) fn several<'a>(name: &str, ids: impl IntoIterator<Item = &'a SnapId>) -> Self {
        let ids = ids.into_iter().map(ToString::to_string).collect();
        Self::Ambiguous { name: name.chars().take(80).collect(), ids }
    }
}

/// A track that does not exist is a new one, or a typing error in it or in a risk that stands alone.
fn no_track(name: &str, track: &str, known: &[String]) -> String {
    let words = Risk::ALL.iter().map(|risk| risk.as_str()).chain(known.iter().map(String::as_str));
    let meant = nearest(track, words).map(|word| format!("did you mean {word}? ")).unwrap_or_default();
    format!(
        "{name} has no track {track} (tracks: {}): {meant}--create-track makes a new one",
        known.join(", ")
    )
}

/// A requested channel change.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The snap's name or id.
    pub(crate) snap: String,
    /// The channel.
    pub(crate) channel: String,
    /// Its new revision; `None` deletes the override.
    pub(crate) revision: Option<u32>,
    /// Whether the track may be new.
    pub(crate) create_track: bool,
}

/// Plans all requests as one change, or none; returns the resulting channels in order.
pub(crate) fn plan_overrides(
    catalog: &Catalog,
    wishes: &[Wish],
    by: &By,
) -> Result<(Change, Vec<Override>), ChannelMapError> {
    let mut change = Change::new(AuditEvent::new(&by.who, "", ""), by.micros());
    let mut planned: BTreeMap<(SnapId, Channel), Option<u32>> = BTreeMap::new();
    let (mut report, mut done) = (Vec::new(), Vec::new());
    for wish in wishes {
        let snap = snap_of(catalog, &wish.snap)?;
        let channel = channel_of(snap, &wish.channel)?;
        if wish.revision.is_some() && !wish.create_track {
            check_track(snap, &channel)?;
        }
        let (name, place) = (snap.name.to_string(), channel.short_name());
        if planned.insert((snap.id.clone(), channel.clone()), wish.revision).is_some() {
            return Err(ChannelMapError::Twice { name, channel: place });
        }
        done.push((format!("{name} {place}"), json!({ "snap-id": snap.id, "revision": wish.revision })));
        match wish.revision {
            Some(revision) => set(snap, revision, &channel, by.now, &mut change, &mut report)?,
            None => delete(snap, &channel, &mut change, &mut report)?,
        }
    }
    let deletes = wishes.iter().all(|wish| wish.revision.is_none());
    change.audit.what = if deletes { "delete-override" } else { "override" }.into();
    (change.audit.subject, change.audit.detail) = match <[_; 1]>::try_from(done) {
        Ok([only]) => only,
        Err(several) => {
            let (subjects, details): (Vec<String>, Vec<_>) = several.into_iter().unzip();
            (subjects.join(", "), json!({ "overrides": details }))
        }
    };
    Ok((change, report))
}

fn set(
    snap: &Snap,
    revision: u32,
    channel: &Channel,
    now: OffsetDateTime,
    change: &mut Change,
    report: &mut Vec<Override>,
) -> Result<(), ChannelMapError> {
    let rows = rows(snap, revision, channel, Origin::Override, now)?;
    change.releases_closed.extend(replaced(&snap.overrides, &rows).map(ReleaseRecord::key));
    report.extend(rows.iter().map(|row| describe(snap, channel, row)));
    change.releases.extend(rows);
    Ok(())
}

fn delete(
    snap: &Snap,
    channel: &Channel,
    change: &mut Change,
    report: &mut Vec<Override>,
) -> Result<(), ChannelMapError> {
    let rows: Vec<&ReleaseRecord> = snap.overrides.iter().filter(|row| is_in(row, channel)).collect();
    if rows.is_empty() {
        return Err(ChannelMapError::NoOverride {
            name: snap.name.to_string(),
            channel: channel.short_name(),
        });
    }
    change.releases_closed.extend(rows.iter().map(|row| row.key()));
    // An override for all architectures is reported for each one in the imported map.
    let mut places: BTreeSet<&str> = rows.iter().map(|row| &*row.architecture).collect();
    let imported = snap.imported.iter().filter(|row| is_in(row, channel));
    let imported: BTreeSet<&str> = imported.map(|row| &*row.architecture).collect();
    if !imported.is_empty() && places.remove(Architecture::ALL) {
        places.extend(imported);
    }
    report.extend(places.into_iter().map(|architecture| Override {
        snap_name: snap.name.to_string(),
        snap_id: snap.id.to_string(),
        channel: channel.short_name(),
        architecture: architecture.to_owned(),
        revision: None,
        upstream_revision: upstream(snap, channel, architecture),
    }));
    Ok(())
}

/// The overrides of one snap or of all, sorted by name, channel and architecture.
pub(crate) fn list(catalog: &Catalog, name: Option<&str>) -> Result<Vec<Override>, ChannelMapError> {
    let snaps: Vec<&Arc<Snap>> = match name {
        Some(name) => vec![snap_of(catalog, name)?],
        None => catalog.snaps().collect(),
    };
    let mut overrides = Vec::new();
    for snap in snaps {
        let mut rows: Vec<(Channel, &ReleaseRecord)> = Vec::new();
        for row in &snap.overrides {
            rows.push((channel_of(snap, &written(row))?, row));
        }
        rows.sort_by(|(one, row), (other, beside)| {
            (one, &row.architecture).cmp(&(other, &beside.architecture))
        });
        overrides.extend(rows.iter().map(|(channel, row)| describe(snap, channel, row)));
    }
    Ok(overrides)
}

/// The name of a snap that is held or was held once; its id if no document tells.
pub(super) fn name_of(catalog: &Catalog, id: &SnapId) -> String {
    let declared = || {
        let at = Ref { kind: AssertionType::SnapDeclaration, key: vec!["16".into(), id.to_string()] };
        catalog.assertions.find(&at)?.text("snap-name").map(str::to_owned)
    };
    let held = catalog.snap_by_id(id).map(|snap| snap.name.to_string());
    held.or_else(declared).unwrap_or_else(|| id.to_string())
}

/// The only snap of this name or id.
pub(crate) fn snap_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Snap>, ChannelMapError> {
    let named: Vec<&Arc<Snap>> = catalog.snaps_named(name).iter().chain(catalog.snap_by_id(name)).collect();
    match named[..] {
        [snap] => Ok(snap),
        [] => Err(ChannelMapError::UnknownSnap(name.chars().take(80).collect())),
        _ => Err(ChannelMapError::several(name, named.iter().map(|snap| &snap.id))),
    }
}

/// A revision of a snap that is held.
pub(crate) fn held(snap: &Snap, revision: u32) -> Result<&Arc<CatalogRevision>, ChannelMapError> {
    snap.revisions.get(&revision).ok_or_else(|| ChannelMapError::NotHeld {
        name: snap.name.to_string(),
        revision,
        held: snap.revisions.keys().map(ToString::to_string).collect(),
    })
}

/// The channel that a text means for a snap.
pub(crate) fn channel_of(snap: &Snap, text: &str) -> Result<Channel, ChannelMapError> {
    Ok(text.parse::<ChannelRequest>()?.on(&snap.default_track))
}

/// Refuses a track that the snap does not have.
pub(crate) fn check_track(snap: &Snap, channel: &Channel) -> Result<(), ChannelMapError> {
    let rows = snap.imported.iter().chain(&snap.overrides).chain(&snap.closed);
    let mut known: BTreeSet<&str> = rows.map(|row| row.channel.track.as_str()).collect();
    known.extend(["latest", snap.default_track.as_str()]);
    match known.contains(channel.track.as_str()) {
        true => Ok(()),
        false => Err(ChannelMapError::UnknownTrack {
            name: snap.name.to_string(),
            track: channel.track.to_string(),
            known: known.into_iter().map(str::to_owned).collect(),
        }),
    }
}

/// The rows of a release: one per architecture of the revision.
pub(crate) fn rows(
    snap: &Snap,
    revision: u32,
    channel: &Channel,
    origin: Origin,
    now: OffsetDateTime,
) -> Result<Vec<ReleaseRecord>, ChannelMapError> {
    let held = held(snap, revision)?;
    let released_at = rfc3339(now);
    let row = |architecture: &Architecture| ReleaseRecord {
        snap_id: snap.id.clone(),
        channel: channel.clone(),
        architecture: architecture.clone(),
        revision,
        released_at: released_at.clone(),
        origin,
    };
    Ok(held.architectures.iter().map(row).collect())
}

/// Whether a release is in this channel.
pub(crate) fn is_in(release: &ReleaseRecord, channel: &Channel) -> bool {
    release.channel == *channel
}

/// The rows that new rows for all architectures replace completely.
pub(crate) fn replaced<'a>(
    held: &'a [ReleaseRecord],
    rows: &'a [ReleaseRecord],
) -> impl Iterator<Item = &'a ReleaseRecord> {
    let for_all = |row: &&ReleaseRecord| row.architecture.is_all();
    held.iter().filter(move |held| {
        !held.architecture.is_all() && rows.iter().filter(for_all).any(|row| row.is_beside(held))
    })
}

/// The channel of a row, whole.
pub(crate) fn written(row: &ReleaseRecord) -> String {
    row.channel.to_string()
}

fn describe(snap: &Snap, channel: &Channel, row: &ReleaseRecord) -> Override {
    Override {
        snap_name: snap.name.to_string(),
        snap_id: snap.id.to_string(),
        channel: channel.short_name(),
        architecture: row.architecture.to_string(),
        revision: Some(row.revision),
        upstream_revision: upstream(snap, channel, &row.architecture),
    }
}

/// The imported release: for the architecture itself, for all, or the same for each.
fn upstream(snap: &Snap, channel: &Channel, architecture: &str) -> Option<u32> {
    let here = || snap.imported.iter().filter(|row| is_in(row, channel));
    let of = |wanted: &str| here().find(|row| &*row.architecture == wanted).map(|row| row.revision);
    let each: BTreeSet<u32> = here().map(|row| row.revision).collect();
    let unanimous = || each.first().copied().filter(|_| each.len() == 1 && architecture == Architecture::ALL);
    of(architecture).or_else(|| of(Architecture::ALL)).or_else(unanimous)
}
