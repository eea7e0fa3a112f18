//! Groups of devices, and tags.

use std::collections::{BTreeMap, BTreeSet};

use schema::api::admin::{TaggedDevice, TaggedDevices};
use schema::rollout::{GroupRules, is_name};
use schema::store::{DeviceId, DeviceIdError};
use serde_json::json;

use super::By;
use crate::catalog::{Catalog, Rollout};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::records::{AuditEvent, Change};
use crate::storage::rollouts::{group_fact, tags_fact};

/// Why a group or a tag stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    #[error(
        "a {what} is called by 1 to 64 letters, digits, dots, dashes and underscores, a letter first: {name} is not"
    )]
    Name { what: &'static str, name: String },
    #[error(
        "group {0} would have no rule and take everybody: give it --brand, --model, --serial, --store, --tag or --from-file"
    )]
    Empty(String),
    #[error("there is no group {0}: `proxy group list` shows those there are")]
    Unknown(String),
    #[error(
        "group {group} decides whom rollout {rollout} takes, so it stays as it is until that ends: `proxy rollout show {rollout}`"
    )]
    InUse { group: String, rollout: String },
    #[error(
        "group {group} of rollout {rollout} takes devices by tag {tag}, and a device that loses it would go back: `proxy \
         rollout show {rollout}`"
    )]
    TagInUse { tag: String, group: String, rollout: String },
    #[error("no device with serial {0} was seen here: write BRAND/MODEL/SERIAL for one that comes later")]
    UnseenSerial(String),
    #[error("several devices have serial {serial}: write which one you mean: {}", devices.join(", "))]
    SameSerial { serial: String, devices: Vec<String> },
    #[error(transparent)]
    Device(#[from] DeviceIdError),
    #[error("cannot read the devices from the database")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Plans a new group, or new rules for one.
pub(crate) fn plan_group(
    catalog: &Catalog,
    name: &str,
    rules: &GroupRules,
    by: &By,
) -> Result<Change, GroupError> {
    check_name("group", name)?;
    if rules.is_empty() {
        return Err(GroupError::Empty(name.to_owned()));
    }
    if let Some(tag) = &rules.tag {
        check_name("tag", tag)?;
    }
    let held = catalog.group(name);
    if held.is_some_and(|held| held != *rules) {
        let live = catalog.live_rollouts().map(|rollout| &**rollout);
        unused(name, live)?;
    }
    let event = AuditEvent::new(&by.who, "group-add", name).detail(json!({ "rules": rules.to_string() }));
    let mut change = Change::new(event, by.micros());
    change.meta.push(group_fact(name, Some(rules)));
    Ok(change)
}

/// Plans the removal of a group; answers the rules that it had.
pub(crate) fn plan_remove_group(
    catalog: &Catalog,
    name: &str,
    by: &By,
) -> Result<(Change, GroupRules), GroupError> {
    let rules = catalog.group(name).ok_or_else(|| GroupError::Unknown(name.chars().take(80).collect()))?;
    let all: Vec<Rollout> = catalog.all_rollouts().collect();
    unused(name, all.iter().filter(|rollout| !rollout.record.course.state.is_over()))?;
    let event = AuditEvent::new(&by.who, "group-remove", name).detail(json!({ "rules": rules.to_string() }));
    let mut change = Change::new(event, by.micros());
    change.meta.push(group_fact(name, None));
    Ok((change, rules))
}

/// Plans a tag for devices, or its removal.
pub(crate) fn plan_tags(
    catalog: &Catalog,
    devices: &BTreeSet<DeviceId>,
    tag: &str,
    remove: bool,
    by: &By,
) -> Result<(Change, TaggedDevices), GroupError> {
    check_name("tag", tag)?;
    if remove {
        for rollout in catalog.live_rollouts() {
            let mut groups = rollout.record.course.waves.iter().filter_map(|wave| wave.group.as_ref());
            let by_tag =
                |group: &&String| catalog.group(group).and_then(|rules| rules.tag).as_deref() == Some(tag);
            if let Some(group) = groups.find(by_tag) {
                let (group, rollout) = (group.clone(), rollout.name.clone());
                return Err(GroupError::TagInUse { tag: tag.to_owned(), group, rollout });
            }
        }
    }
    let after: BTreeMap<&DeviceId, BTreeSet<String>> = devices
        .iter()
        .map(|device| {
            let mut tags = catalog.tags_of(device).cloned().unwrap_or_default();
            if remove {
                tags.remove(tag)
            } else {
                tags.insert(tag.to_owned())
            };
            (device, tags)
        })
        .collect();
    let what = if remove { "device-untag" } else { "device-tag" };
    let named: Vec<String> = devices.iter().map(ToString::to_string).collect();
    let event = AuditEvent::new(&by.who, what, tag).detail(json!({ "devices": named }));
    let mut change = Change::new(event, by.micros());
    change.meta = after.iter().map(|(device, tags)| tags_fact(device, tags)).collect();
    let tagged = after
        .into_iter()
        .map(|(device, tags)| TaggedDevice { device: device.clone(), tags: tags.into_iter().collect() });
    Ok((change, TaggedDevices { devices: tagged.collect() }))
}

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), GroupError> {
    let bad = || GroupError::Name { what, name: name.chars().take(80).collect() };
    is_name(name).then_some(()).ok_or_else(bad)
}

/// Refuses a group that a rollout names.
fn unused<'a>(group: &str, mut rollouts: impl Iterator<Item = &'a Rollout>) -> Result<(), GroupError> {
    let names = |rollout: &&Rollout| {
        rollout.record.course.waves.iter().any(|wave| wave.group.as_deref() == Some(group))
    };
    match rollouts.find(names) {
        Some(rollout) => Err(GroupError::InUse { group: group.to_owned(), rollout: rollout.name.clone() }),
        None => Ok(()),
    }
}
