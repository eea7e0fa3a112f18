//! What history tells: changes, differences and named generations.

use std::collections::BTreeMap;

use schema::api::admin::{ChannelMove, HistoryDiff, HistoryEntry, HistoryMove, MoveKind, SnapMove, Tag};
use schema::store::SnapId;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::overrides::{ChannelMapError, name_of, snap_of};
use super::sides::{Sides, sides, turns};
use super::{By, described, micros};
use crate::catalog::Catalog;
use crate::fleet::written;
use crate::storage::error::{CommitError, StorageError};
use crate::storage::history::{Spans, Step};
use crate::storage::records::{AuditEvent, Change, Origin, ReleaseKey, ReleaseRecord, TagRecord};

/// The longest name of a tag.
const LONGEST: usize = 64;

/// Why history does not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error(
        "there is no tag {0}: `proxy tag` shows those there are; a generation is a number, as `proxy log` shows it, and a time \
         is written 2026-05-03 or 2026-05-03T14:00:00Z"
    )]
    UnknownPoint(String),
    #[error("history starts with generation {start}{}: nothing earlier is known here", at.as_ref().map(|at| format!(" of {at}")).unwrap_or_default())]
    TooEarly { start: i64, at: Option<String> },
    #[error("there is no generation {0} yet: the current one is {1}")]
    TooLate(i64, i64),
    #[error("{0} has not come yet: it is {1} by the server's clock")]
    Future(String, String),
    #[error(
        "a tag is called by 1 to {LONGEST} letters, digits, dots, dashes and underscores, a letter first: {0} is not"
    )]
    Name(String),
    #[error("tag {name} names generation {generation}: remove it first with `proxy tag {name} --remove`")]
    Taken { name: String, generation: i64 },
    #[error("there is no tag {0}: `proxy tag` shows those there are")]
    UnknownTag(String),
    #[error(transparent)]
    ChannelMap(#[from] ChannelMapError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A point in history that an operator means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// After this generation.
    Generation(i64),
    /// At this moment, in microseconds since 1970.
    Moment(i64),
}

/// The point that a text means: a generation, a tag, or a time.
pub(crate) fn point(catalog: &Catalog, text: &str) -> Result<Point, HistoryError> {
    let unknown = || HistoryError::UnknownPoint(text.chars().take(80).collect());
    if let Some(tag) = tag(catalog, text) {
        return Ok(Point::Generation(tag.generation));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Point::Generation).map_err(|_| unknown());
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339));
    moment.map(|moment| Point::Moment(micros(moment))).map_err(|_| unknown())
}

/// A generation that history knows, or why it does not.
pub(crate) fn known(generation: i64, start: &Step, catalog: &Catalog) -> Result<i64, HistoryError> {
    let current = catalog.position.generation;
    if generation < start.generation {
        return Err(too_early(start));
    }
    if generation > current { Err(HistoryError::TooLate(generation, current)) } else { Ok(generation) }
}

/// Nothing is known of what was asked for.
pub(crate) fn too_early(start: &Step) -> HistoryError {
    HistoryError::TooEarly { start: start.generation, at: time_of(start) }
}

/// When a generation was; `None` for the first one of a new store.
pub(crate) fn time_of(step: &Step) -> Option<String> {
    (step.at_micros > 0).then(|| written(step.at_micros))
}

/// The id of a snap that is held or was held once.
pub(crate) fn id_of(catalog: &Catalog, name: &str) -> Result<SnapId, HistoryError> {
    match snap_of(catalog, name) {
        Ok(snap) => Ok(snap.id.clone()),
        Err(unknown @ ChannelMapError::UnknownSnap(_)) => {
            let known = |id: &SnapId| name_of(catalog, id) != id.as_str();
            name.parse().ok().filter(known).ok_or(HistoryError::ChannelMap(unknown))
        }
        Err(error) => Err(error.into()),
    }
}

/// How one map moves to another, sorted by name and place.
pub(super) fn differences<'a>(
    catalog: &Catalog,
    before: impl IntoIterator<Item = &'a ReleaseRecord>,
    after: impl IntoIterator<Item = &'a ReleaseRecord>,
) -> Vec<HistoryMove> {
    let mut places: BTreeMap<ReleaseKey, [Option<u32>; 2]> = BTreeMap::new();
    let before = before.into_iter().map(|row| (0, row));
    for (side, row) in before.chain(after.into_iter().map(|row| (1, row))) {
        // Which revision a closed channel names means nothing.
        let revision = if row.origin == Origin::Closed { 0 } else { row.revision };
        places.entry(row.key()).or_default()[side] = Some(revision);
    }
    let moved = places.into_iter().filter(|(_, [before, after])| before != after);
    let mut moves: Vec<HistoryMove> = moved.map(|(at, sides)| moved_at(catalog, &at, sides)).collect();
    let order = |one: &HistoryMove| {
        let SnapMove { snap, moved } = one.moved.clone();
        (snap, moved.channel, one.kind, moved.architecture)
    };
    moves.sort_by_cached_key(order);
    moves
}

fn moved_at(catalog: &Catalog, at: &ReleaseKey, [before, after]: [Option<u32>; 2]) -> HistoryMove {
    let (kind, [before, after]) = match at.origin {
        Origin::Imported => (MoveKind::Imported, [before, after]),
        Origin::Override => (MoveKind::Override, [before, after]),
        Origin::Closed => match after {
            Some(_) => (MoveKind::Closed, [None; 2]),
            None => (MoveKind::Reopened, [None; 2]),
        },
    };
    let (channel, architecture) = (at.channel.to_string(), at.architecture.to_string());
    let moved = ChannelMove { channel, architecture, before, after };
    HistoryMove {
        moved: SnapMove { snap: name_of(catalog, &at.snap_id), moved },
        snap_id: at.snap_id.to_string(),
        kind,
    }
}

/// The changes of these generations, which are given newest first, oldest first.
pub(crate) fn log(catalog: &Catalog, steps: Vec<Step>, spans: &Spans) -> Vec<HistoryEntry> {
    let mut releases = turns(&spans.releases);
    let mut described = described::Turns::of(&spans.described);
    let mut entries: Vec<HistoryEntry> = steps
        .into_iter()
        .map(|step| {
            let Sides { before, after } = releases.remove(&step.generation).unwrap_or_default();
            let (grants, metadata) = described.at(catalog, step.generation);
            HistoryEntry {
                generation: step.generation,
                at: written(step.at_micros),
                moves: differences(catalog, before, after),
                grants,
                metadata,
                who: step.who,
                what: step.what,
                subject: step.subject,
            }
        })
        .collect();
    entries.reverse();
    entries
}

/// How the generation `from` becomes `to`, given what began or ended between them.
pub(crate) fn diff(catalog: &Catalog, (from, to): (i64, i64), spans: &Spans) -> HistoryDiff {
    let Sides { before, after } = sides(&spans.releases, (from, to));
    // Earlier, nothing is known of grants: what is known first does not differ from that.
    let (grants, metadata) =
        described::differences(catalog, &spans.described, (from.max(spans.since), to.max(spans.since)));
    let moves = differences(catalog, before, after);
    HistoryDiff { from, to, moves, grants, metadata, grants_since: spans.since }
}

/// The tags of the store, by name.
pub(crate) fn tags(catalog: &Catalog) -> impl Iterator<Item = (&str, TagRecord)> {
    let facts = catalog.meta.range(TagRecord::PREFIX.to_owned()..);
    let facts = facts.map_while(|(name, fact)| Some((name.strip_prefix(TagRecord::PREFIX)?, fact)));
    facts.filter_map(|(name, fact)| Some((name, serde_json::from_str::<Option<TagRecord>>(fact).ok()??)))
}

fn tag(catalog: &Catalog, name: &str) -> Option<TagRecord> {
    let fact = catalog.meta.get(&format!("{}{name}", TagRecord::PREFIX))?;
    serde_json::from_str::<Option<TagRecord>>(fact).ok()?
}

/// A tag as operators see it.
pub(crate) fn shown(name: &str, tag: TagRecord) -> Tag {
    Tag { name: name.to_owned(), generation: tag.generation, at: written(tag.at), who: tag.who }
}

/// Plans a name for a generation that history knows.
pub(crate) fn plan_tag(
    catalog: &Catalog,
    name: &str,
    generation: i64,
    by: &By,
) -> Result<(Change, Tag), HistoryError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.len() > LONGEST
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(allowed)
    {
        return Err(HistoryError::Name(name.chars().take(80).collect()));
    }
    if let Some(held) = tag(catalog, name) {
        return Err(HistoryError::Taken { name: name.to_owned(), generation: held.generation });
    }
    let tag = TagRecord { generation, at: by.micros(), who: by.who.clone() };
    let event = AuditEvent::new(&by.who, "tag", name).detail(json!({ "generation": generation }));
    let mut change = Change::new(event, by.micros());
    change.meta.push(TagRecord::fact(Some(&tag), name));
    Ok((change, shown(name, tag)))
}

/// Plans the removal of a name.
pub(crate) fn plan_untag(catalog: &Catalog, name: &str, by: &By) -> Result<(Change, Tag), HistoryError> {
    let held = tag(catalog, name).ok_or_else(|| HistoryError::UnknownTag(name.chars().take(80).collect()))?;
    let event = AuditEvent::new(&by.who, "remove-tag", name).detail(json!({ "generation": held.generation }));
    let mut change = Change::new(event, by.micros());
    change.meta.push(TagRecord::fact(None, name));
    Ok((change, shown(name, held)))
}
