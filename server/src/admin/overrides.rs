//! Overrides: revisions that the operator puts above the imported channel map (operator contract §7.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use schema::api::admin::{Override, OverrideRequest, Overrides};
use schema::store::{Architecture, Channel, ChannelError, ChannelRequest};
use serde::Deserialize;
use serde_json::json;

use super::error::AdminError;
use super::{Admin, Operator};
use crate::catalog::{Catalog, Snap};
use crate::clock;
use crate::imports::rfc3339;
use crate::storage::error::CommitError;
use crate::storage::records::{AuditEvent, Change, Origin, ReleaseRecord};

/// Why a channel map is not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelMapError {
    /// No snap of this name.
    #[error("there is no snap {0} in this store: `proxy list-pushed-snaps` shows what was pushed")]
    UnknownSnap(String),
    /// Several snaps of this name.
    #[error("several snaps are called {name}: write the id of the one that you mean: {}", ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Whose it is.
        ids: Vec<String>,
    },
    /// The revision was not pushed.
    #[error(
        "revision {revision} of {name} is not held (held: {}): push it first with `proxy push-snap FILE`", held.join(", ")
    )]
    NotHeld {
        /// The snap.
        name: String,
        /// What was asked for.
        revision: u32,
        /// What there is.
        held: Vec<String>,
    },
    /// No channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Nothing to delete.
    #[error(
        "there is no override of {name} in {channel}: `proxy list-overrides {name}` shows those that there are"
    )]
    NoOverride {
        /// The snap.
        name: String,
        /// Where.
        channel: String,
    },
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ChannelMapError> for AdminError {
    fn from(error: ChannelMapError) -> Self {
        match &error {
            ChannelMapError::UnknownSnap(_) => Self::refused("unknown-snap", &error),
            ChannelMapError::Ambiguous { .. } => Self::refused("ambiguous-snap", &error),
            ChannelMapError::NotHeld { .. } => Self::refused("revision-not-held", &error),
            ChannelMapError::Channel(_) => Self::refused("invalid-channel", &error),
            ChannelMapError::NoOverride { .. } => Self::refused("no-override", &error),
            ChannelMapError::Commit(_) => Self::failed("channel-map-not-changed", &error),
        }
    }
}

/// The one snap of this name or id.
pub(super) fn snap_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Snap>, ChannelMapError> {
    let named: Vec<&Arc<Snap>> =
        catalog.snaps().iter().filter(|snap| snap.name == name || snap.id == name).collect();
    match named[..] {
        [snap] => Ok(snap),
        [] => Err(ChannelMapError::UnknownSnap(name.to_owned())),
        _ => Err(ChannelMapError::Ambiguous {
            name: name.to_owned(),
            ids: named.iter().map(|snap| snap.id.clone()).collect(),
        }),
    }
}

/// The channel that a text means for a snap.
pub(super) fn channel_of(snap: &Snap, text: &str) -> Result<Channel, ChannelMapError> {
    Ok(text.parse::<ChannelRequest>()?.on(&snap.default_track))
}

/// What a release of a held revision writes: one row for each of its architectures.
pub(super) fn rows(
    snap: &Snap,
    revision: u32,
    channel: &Channel,
    origin: Origin,
) -> Result<Vec<ReleaseRecord>, ChannelMapError> {
    let held = snap.revisions.get(&revision).ok_or_else(|| ChannelMapError::NotHeld {
        name: snap.name.clone(),
        revision,
        held: snap.revisions.keys().map(ToString::to_string).collect(),
    })?;
    let released_at = rfc3339(clock::now());
    let row = |architecture: &String| ReleaseRecord {
        snap_id: snap.id.clone(),
        track: channel.track.to_string(),
        risk: channel.risk.to_string(),
        branch: channel.branch.as_ref().map(ToString::to_string).unwrap_or_default(),
        architecture: architecture.clone(),
        revision,
        released_at: released_at.clone(),
        origin,
    };
    Ok(held.architectures.iter().map(row).collect())
}

/// Is a release in this channel?
pub(super) fn is_in(release: &ReleaseRecord, channel: &Channel) -> bool {
    release.track == channel.track.as_str()
        && release.risk == channel.risk.as_str()
        && release.branch == channel.branch.as_ref().map(|branch| branch.as_str()).unwrap_or_default()
}

/// What new rows for all architectures leave nothing of.
pub(super) fn replaced<'a>(
    held: &'a [ReleaseRecord],
    rows: &'a [ReleaseRecord],
) -> impl Iterator<Item = &'a ReleaseRecord> {
    let for_all = |row: &&ReleaseRecord| row.architecture == Architecture::ALL;
    held.iter().filter(move |held| {
        held.architecture != Architecture::ALL && rows.iter().filter(for_all).any(|row| row.is_beside(held))
    })
}

/// `POST /v1/overrides`
pub(super) async fn set(
    State(admin): State<Admin>,
    ConnectInfo(Operator(who)): ConnectInfo<Operator>,
    Json(wanted): Json<OverrideRequest>,
) -> Result<Json<Overrides>, AdminError> {
    let made = admin.store.change(|catalog| -> Result<_, ChannelMapError> {
        let snap = snap_of(catalog, &wanted.snap)?;
        let channel = channel_of(snap, &wanted.channel)?;
        let rows = rows(snap, wanted.revision, &channel, Origin::Override)?;
        let mut change = change(&who, "override", snap, &channel, Some(wanted.revision));
        change.releases_closed = replaced(&snap.overrides, &rows).map(ReleaseRecord::key).collect();
        let overrides = rows.iter().map(|row| describe(snap, &channel, row)).collect();
        change.releases = rows;
        Ok((change, Overrides { overrides }))
    });
    Ok(Json(made.await?))
}

/// Whose overrides.
#[derive(Debug, Deserialize)]
pub(super) struct OverridesQuery {
    #[serde(default)]
    snap: Option<String>,
}

/// `GET /v1/overrides`
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<OverridesQuery>,
) -> Result<Json<Overrides>, AdminError> {
    let catalog = admin.store.catalog();
    let snaps = match &query.snap {
        Some(name) => std::slice::from_ref(snap_of(&catalog, name)?),
        None => catalog.snaps(),
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
    Ok(Json(Overrides { overrides }))
}

/// Which override to delete.
#[derive(Debug, Deserialize)]
pub(super) struct OverrideQuery {
    snap: String,
    channel: String,
}

/// `DELETE /v1/overrides`
pub(super) async fn remove(
    State(admin): State<Admin>,
    ConnectInfo(Operator(who)): ConnectInfo<Operator>,
    Query(query): Query<OverrideQuery>,
) -> Result<Json<Overrides>, AdminError> {
    let removed = admin.store.change(|catalog| -> Result<_, ChannelMapError> {
        let snap = snap_of(catalog, &query.snap)?;
        let channel = channel_of(snap, &query.channel)?;
        let rows: Vec<&ReleaseRecord> = snap.overrides.iter().filter(|row| is_in(row, &channel)).collect();
        if rows.is_empty() {
            let (name, channel) = (snap.name.clone(), channel.short_name());
            return Err(ChannelMapError::NoOverride { name, channel });
        }
        let mut change = change(&who, "delete-override", snap, &channel, None);
        change.releases_closed = rows.iter().map(|row| row.key()).collect();
        // What was overridden for all architectures is told for each that the imported map knows.
        let mut places: BTreeSet<&str> = rows.iter().map(|row| &*row.architecture).collect();
        let imported = snap.imported.iter().filter(|row| is_in(row, &channel));
        let imported: BTreeSet<&str> = imported.map(|row| &*row.architecture).collect();
        if !imported.is_empty() && places.remove(Architecture::ALL) {
            places.extend(imported);
        }
        let left = |architecture: &str| Override {
            snap_name: snap.name.clone(),
            snap_id: snap.id.clone(),
            channel: channel.short_name(),
            architecture: architecture.to_owned(),
            revision: None,
            upstream_revision: upstream(snap, &channel, architecture),
        };
        Ok((change, Overrides { overrides: places.into_iter().map(left).collect() }))
    });
    Ok(Json(removed.await?))
}

fn change(who: &str, what: &str, snap: &Snap, channel: &Channel, revision: Option<u32>) -> Change {
    let event = AuditEvent {
        who: who.to_owned(),
        what: what.to_owned(),
        subject: format!("{} {}", snap.name, channel.short_name()),
        outcome: "done".into(),
        detail: json!({ "snap-id": snap.id, "revision": revision }),
    };
    Change::new(event, clock::micros())
}

/// The channel of a row, whole.
fn written(row: &ReleaseRecord) -> String {
    let branch = if row.branch.is_empty() { String::new() } else { format!("/{}", row.branch) };
    format!("{}/{}{branch}", row.track, row.risk)
}

fn describe(snap: &Snap, channel: &Channel, row: &ReleaseRecord) -> Override {
    Override {
        snap_name: snap.name.clone(),
        snap_id: snap.id.clone(),
        channel: channel.short_name(),
        architecture: row.architecture.clone(),
        revision: Some(row.revision),
        upstream_revision: upstream(snap, channel, &row.architecture),
    }
}

/// What was imported there: for the architecture itself, for all, or the same for each.
fn upstream(snap: &Snap, channel: &Channel, architecture: &str) -> Option<u32> {
    let here = || snap.imported.iter().filter(|row| is_in(row, channel));
    let of = |wanted: &str| here().find(|row| row.architecture == wanted).map(|row| row.revision);
    let each: BTreeSet<u32> = here().map(|row| row.revision).collect();
    let unanimous = || each.first().copied().filter(|_| each.len() == 1 && architecture == Architecture::ALL);
    of(architecture).or_else(|| of(Architecture::ALL)).or_else(unanimous)
}
