//! Which releases there were, and when; and the generations that moved them, or what [`grant_history`] tells of.
//!
//! A commit compares the releases of the snaps that it touched with those that history has in force, and ends and begins
//! rows where they differ. So history follows whatever a change does to releases, and a change costs what it touches.

use std::collections::{BTreeMap, BTreeSet};

use schema::store::{Architecture, Channel, SnapId};

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, Transaction, Value, statements};
use super::error::StorageError;
use super::grant_history::{self, Described};
use super::records::{Change, Origin, ReleaseRecord};
use super::snapshot;
use super::span::{Span, span};

statements! {
    END_RELEASES = "UPDATE release_history SET ended = $2 WHERE snap_id = $1 AND ended IS NULL AND NOT EXISTS (
            SELECT 1 FROM releases AS r WHERE r.snap_id = release_history.snap_id AND r.track = release_history.track
                AND r.risk = release_history.risk AND r.branch = release_history.branch
                AND r.architecture = release_history.architecture AND r.origin = release_history.origin
                AND r.revision = release_history.revision AND r.released_at = release_history.released_at)
        RETURNING began";
    BEGIN_RELEASES = "INSERT INTO release_history (snap_id, track, risk, branch, architecture, origin, revision, released_at, began)
        SELECT r.snap_id, r.track, r.risk, r.branch, r.architecture, r.origin, r.revision, r.released_at, CAST($2 AS BIGINT)
        FROM releases AS r WHERE r.snap_id = $1 AND NOT EXISTS (
            SELECT 1 FROM release_history AS h WHERE h.snap_id = r.snap_id AND h.track = r.track AND h.risk = r.risk
                AND h.branch = r.branch AND h.architecture = r.architecture AND h.origin = r.origin AND h.ended IS NULL)
        RETURNING began";
    INSERT_GENERATION = "INSERT INTO generations (generation, event) VALUES ($1, $2)";
    SELECT_START = "SELECT g.generation, COALESCE(a.at, 0), COALESCE(a.who, ''), COALESCE(a.what, ''), COALESCE(a.subject, '')
        FROM generations AS g LEFT JOIN audit AS a ON a.sequence = g.event ORDER BY g.generation LIMIT 1";
    // Where the history of grants starts, no grant moved: a release may have.
    SELECT_STEPS = "SELECT g.generation, COALESCE(a.at, 0), COALESCE(a.who, ''), COALESCE(a.what, ''), COALESCE(a.subject, '')
        FROM generations AS g LEFT JOIN audit AS a ON a.sequence = g.event
        WHERE g.generation < $1 AND g.generation > (SELECT min(generation) FROM generations)
            AND (g.generation <> (SELECT value FROM counters WHERE name = 'grants-since')
                OR EXISTS (SELECT 1 FROM release_history AS h WHERE h.began = g.generation OR h.ended = g.generation))
        ORDER BY g.generation DESC LIMIT $2";
    SELECT_STEPS_OF = "SELECT g.generation, COALESCE(a.at, 0), COALESCE(a.who, ''), COALESCE(a.what, ''), COALESCE(a.subject, '')
        FROM generations AS g LEFT JOIN audit AS a ON a.sequence = g.event
        WHERE g.generation < $1 AND g.generation > (SELECT min(generation) FROM generations)
            AND (g.generation IN (SELECT began FROM release_history WHERE snap_id = $3
                    UNION SELECT ended FROM release_history WHERE snap_id = $3 AND ended IS NOT NULL)
                OR (g.generation > (SELECT value FROM counters WHERE name = 'grants-since') AND g.generation IN (
                    SELECT began FROM grant_history WHERE snap_id = $3
                    UNION SELECT ended FROM grant_history WHERE snap_id = $3 AND ended IS NOT NULL
                    UNION SELECT began FROM snap_history WHERE snap_id = $3
                    UNION SELECT ended FROM snap_history WHERE snap_id = $3 AND ended IS NOT NULL
                    UNION SELECT began FROM snap_store_history WHERE snap_id = $3
                    UNION SELECT ended FROM snap_store_history WHERE snap_id = $3 AND ended IS NOT NULL)))
        ORDER BY g.generation DESC LIMIT $2";
    SELECT_GENERATION_AT = "SELECT g.generation FROM generations AS g LEFT JOIN audit AS a ON a.sequence = g.event
        WHERE COALESCE(a.at, 0) <= $1 ORDER BY g.generation DESC LIMIT 1";
    SELECT_MAP = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin FROM release_history
        WHERE began <= $1 AND (ended IS NULL OR ended > $1)";
    SELECT_MAP_OF = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin FROM release_history
        WHERE snap_id = $2 AND began <= $1 AND (ended IS NULL OR ended > $1)";
    SELECT_SPANS = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin, began, COALESCE(ended, 0)
        FROM release_history WHERE (began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2)";
    SELECT_SPANS_OF = "SELECT snap_id, track, risk, branch, architecture, revision, released_at, origin, began, COALESCE(ended, 0)
        FROM release_history WHERE snap_id = $3 AND ((began > $1 AND began <= $2) OR (ended > $1 AND ended <= $2))";
}

/// What a cohort keeps of these releases: an override wins over the imported map, and branches are not for everybody who
/// gets the key.
pub(crate) fn kept<'a>(
    releases: impl Iterator<Item = (&'a Channel, &'a Architecture, u32, Origin)>,
) -> Vec<(Channel, Architecture, u32)> {
    let mut kept: BTreeMap<(&Channel, &Architecture), u32> = BTreeMap::new();
    for (channel, architecture, revision, origin) in releases {
        if channel.branch.is_some() || origin == Origin::Closed {
            continue;
        }
        let held = kept.entry((channel, architecture)).or_insert(revision);
        if origin == Origin::Override {
            *held = revision;
        }
    }
    kept.into_iter()
        .map(|((channel, architecture), revision)| (channel.clone(), architecture.clone(), revision))
        .collect()
}

/// What began or ended between two generations.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spans {
    /// Releases.
    pub(crate) releases: Vec<Span<ReleaseRecord>>,
    /// The generation with which the history of everything else starts.
    pub(crate) since: i64,
    /// Everything else, as far as it began or ended after that generation.
    pub(crate) described: Described,
}

/// A generation that moved something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The generation.
    pub(crate) generation: i64,
    /// When, in microseconds since 1970; 0 if no audit event tells.
    pub(crate) at_micros: i64,
    /// The operator.
    pub(crate) who: String,
    /// The action.
    pub(crate) what: String,
    /// What it was done to.
    pub(crate) subject: String,
}

/// Lets history follow the releases that `change` touched; answers whether any moved.
pub(super) async fn follow(
    on: &mut Transaction,
    change: &Change,
    generation: i64,
) -> Result<bool, StorageError> {
    let touched: BTreeSet<&SnapId> = (change.replace_channel_map_of.iter())
        .chain(change.releases_closed.iter().map(|key| &key.snap_id))
        .chain(change.releases.iter().map(|row| &row.snap_id))
        .collect();
    let sets: Vec<Vec<Value>> =
        touched.into_iter().map(|snap| vec![snap.as_str().into(), generation.into()]).collect();
    let ended = on.each(END_RELEASES, sets.clone()).await?;
    let begun = on.each(BEGIN_RELEASES, sets).await?;
    Ok(ended.iter().chain(&begun).any(|rows| !rows.is_empty()))
}

/// Records the audit event of a generation that moved something.
pub(super) async fn note(on: &mut Transaction, generation: i64, event: i64) -> Result<(), StorageError> {
    on.query(INSERT_GENERATION, vec![generation.into(), event.into()]).await.map(drop)
}

impl Database {
    /// Where history starts: the releases of this generation are known, and those of all later ones.
    pub(crate) async fn history_start(&self) -> Result<Step, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_START, Vec::new()).await?;
        step(rows.into_iter().next().unwrap_or_default())
    }

    /// The last `limit` generations below `before` that moved something, of all snaps or of one; newest first.
    pub(crate) async fn steps(
        &self,
        before: i64,
        limit: u32,
        snap: Option<&SnapId>,
    ) -> Result<Vec<Step>, StorageError> {
        let mut values = vec![before.into(), limit.into()];
        let sql = match snap {
            Some(snap) => {
                values.push(snap.as_str().into());
                SELECT_STEPS_OF
            }
            None => SELECT_STEPS,
        };
        self.engine.read(Lane::Operator, sql, values).await?.into_iter().map(step).collect()
    }

    /// The last generation that moved something up to a moment; `None` if history starts later.
    pub(crate) async fn generation_at(&self, at_micros: i64) -> Result<Option<i64>, StorageError> {
        let rows = self.engine.read(Lane::Operator, SELECT_GENERATION_AT, vec![at_micros.into()]).await?;
        rows.into_iter().next().map(|row| Reader::new("generations", row).int("generation")).transpose()
    }

    /// The releases that were in force after each of these generations, read in one transaction.
    pub(crate) async fn maps_at(&self, generations: &[i64]) -> Result<Vec<Vec<ReleaseRecord>>, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let sets = generations.iter().map(|generation| vec![(*generation).into()]).collect();
        let maps = transaction.each(SELECT_MAP, sets).await?;
        transaction.commit().await?;
        let release = |row| snapshot::release(&mut Reader::new("release_history", row));
        maps.into_iter().map(|rows| rows.into_iter().map(release).collect()).collect()
    }

    /// The releases of a snap that were in force at a moment, or where history starts if that is later.
    pub(crate) async fn map_of(
        &self,
        snap: &SnapId,
        at_micros: i64,
    ) -> Result<Vec<ReleaseRecord>, StorageError> {
        let generation = match self.generation_at(at_micros).await? {
            Some(generation) => generation,
            None => self.history_start().await?.generation,
        };
        let values = vec![generation.into(), snap.as_str().into()];
        let rows = self.engine.read(Lane::Operator, SELECT_MAP_OF, values).await?;
        let release = |row| snapshot::release(&mut Reader::new("release_history", row));
        rows.into_iter().map(release).collect()
    }

    /// What began or ended after a generation, up to another one, of everything or of one snap.
    pub(crate) async fn spans(
        &self,
        after: i64,
        up_to: i64,
        snap: Option<&SnapId>,
    ) -> Result<Spans, StorageError> {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let on = &mut transaction;
        let mut values: Vec<Value> = vec![after.into(), up_to.into()];
        values.extend(snap.map(|snap| snap.as_str().into()));
        let sql = if snap.is_some() { SELECT_SPANS_OF } else { SELECT_SPANS };
        let releases = on.query(sql, values).await?;
        let since = grant_history::since(on).await?;
        // What was held when this history started did not begin then.
        let described = grant_history::spans(on, (after.max(since), up_to), snap).await?;
        transaction.commit().await?;
        let releases = releases.into_iter().map(|row| span("release_history", row, snapshot::release));
        Ok(Spans { releases: releases.collect::<Result<_, _>>()?, since, described })
    }
}

fn step(row: Row) -> Result<Step, StorageError> {
    let mut row = Reader::new("generations", row);
    Ok(Step {
        generation: row.int("generation")?,
        at_micros: row.int("at")?,
        who: row.text("who")?,
        what: row.text("what")?,
        subject: row.text("subject")?,
    })
}
