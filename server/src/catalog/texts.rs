//! Texts about a snap for people: from its store's metadata, or from the newest revision that devices get.

use schema::bundle::SnapYaml;
use schema::store::Channel;
use serde_json::{Map, Value, json};

use crate::storage::records::{OF_REVISION, Origin, ReleaseRecord, RevisionRecord};

/// The texts of a snap that was pushed as a pair.
const OF_PAIRS: [&str; 5] = ["title", "summary", "description", "license", "icon"];

/// The effective texts: the imported ones, or those of the newest revision of the default channel if that is newer
/// than the metadata. Snaps imported as pairs have no metadata.
pub(super) fn current(
    imported: &Map<String, Value>,
    default: &Channel,
    revisions: &[RevisionRecord],
    releases: &[ReleaseRecord],
) -> Map<String, Value> {
    let is_default = |row: &&ReleaseRecord| row.channel == *default;
    // What an operator put above the imported release is what devices get.
    let is_hidden = |row: &ReleaseRecord| match row.origin {
        Origin::Override => false,
        Origin::Closed => true,
        Origin::Imported => releases.iter().any(|over| {
            over.origin == Origin::Override
                && over.is_beside(row)
                && (over.architecture.is_all() || over.architecture == row.architecture)
        }),
    };
    let offered =
        releases.iter().filter(is_default).filter(|row| !is_hidden(row)).map(|row| row.revision).max();
    let newest = offered.or_else(|| revisions.iter().map(|row| row.revision).max());
    let told = imported.get(OF_REVISION).and_then(Value::as_u64);
    // Before metadata was marked it was kept as it came: with members that a snap pushed as a pair never had.
    let unmarked = imported.keys().any(|key| !OF_PAIRS.contains(&key.as_str()));
    let told = told.or(unmarked.then_some(u64::MAX));
    let yaml = newest
        .filter(|newest| told.is_none_or(|told| told < u64::from(*newest)))
        .and_then(|newest| revisions.iter().find(|row| row.revision == newest))
        .and_then(|row| SnapYaml::parse(&row.snap_yaml).ok());
    let mut texts = imported.clone();
    let Some(yaml) = yaml else { return texts };
    let first = |kind: &str| yaml.links.get(kind).and_then(|list| list.first()).cloned();
    let own = [
        ("contact", first("contact").map(Value::from)),
        ("website", first("website").map(Value::from)),
        ("title", yaml.title.map(Value::from)),
        ("summary", yaml.summary.map(Value::from)),
        ("description", yaml.description.map(Value::from)),
        ("license", yaml.license.map(Value::from)),
        ("links", (!yaml.links.is_empty()).then(|| json!(yaml.links))),
        ("common-ids", (!yaml.common_ids.is_empty()).then(|| json!(yaml.common_ids))),
    ];
    for (key, value) in own {
        match value {
            Some(value) => drop(texts.insert(key.to_owned(), value)),
            // Only the metadata has these fields.
            None if told.is_none() => drop(texts.remove(key)),
            None => {}
        }
    }
    texts
}
