//! Groups of devices, and tags.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{Group, GroupRequest, Groups, TagDevices, TaggedDevices};
use schema::rollout::GroupRules;
use schema::store::DeviceId;

use super::devices::fleet;
use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::catalog::Catalog;
use crate::clock;
use crate::plans::By;
use crate::plans::groups::{GroupError, plan_group, plan_remove_group, plan_tags};
use crate::storage::devices::DeviceRecord;

impl From<GroupError> for AdminError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Name { .. } => Self::refused("invalid-name", &error),
            GroupError::Empty(_) => Self::refused("empty-group", &error),
            GroupError::Unknown(_) => Self::refused("unknown-group", &error),
            GroupError::InUse { .. } | GroupError::TagInUse { .. } => Self::refused("group-in-use", &error),
            GroupError::UnseenSerial(_) | GroupError::SameSerial { .. } | GroupError::Device(_) => {
                Self::refused("unknown-device", &error)
            }
            GroupError::Storage(_) => Self::failed("devices-not-read", &error),
            GroupError::Commit(_) => Self::failed("group-not-stored", &error),
        }
    }
}

/// The devices that were seen.
async fn seen(admin: &Admin, catalog: &Catalog) -> Result<Vec<DeviceRecord>, GroupError> {
    Ok(fleet(admin, catalog).seen().await?)
}

fn described(catalog: &Catalog, name: &str, rules: GroupRules, seen: &[DeviceRecord]) -> Group {
    let all: BTreeSet<&DeviceId> = seen.iter().map(|record| &record.last.device).collect();
    let is_member = |record: &&DeviceRecord| {
        let (device, store) = (&record.last.device, record.last.store.as_deref());
        rules.take(device, store, catalog.tags_of(device))
    };
    let members: BTreeSet<&DeviceId> =
        seen.iter().filter(is_member).map(|record| &record.last.device).collect();
    let unseen = rules.devices.iter().flatten().filter(|device| !all.contains(device)).count();
    let members = members.into_iter().cloned().collect();
    Group { name: name.to_owned(), members, seen: seen.len(), unseen, applied: false, rules }
}

/// Answers `ListGroups`.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Groups>, AdminError> {
    let catalog = admin.store.catalog();
    let seen = seen(&admin, &catalog).await?;
    let groups = catalog.groups().map(|(name, rules)| described(&catalog, name, rules, &seen));
    Ok(Json(Groups { groups: groups.collect() }))
}

/// Answers `ShowGroup`.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<Group>, AdminError> {
    let catalog = admin.store.catalog();
    let unknown = || GroupError::Unknown(name.chars().take(80).collect());
    let rules = catalog.group(&name).ok_or_else(unknown)?;
    Ok(Json(described(&catalog, &name, rules, &seen(&admin, &catalog).await?)))
}

/// Answers `SetGroup`.
pub(super) async fn set(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<GroupRequest>,
) -> Result<Json<Group>, AdminError> {
    let GroupRequest { apply, name, rules } = wanted;
    let by = By { who, now: clock::now() };
    let refused = |error: GroupError| AdminError::from(error).of(apply, "group-add", name.clone());
    let plan = |catalog: &Catalog| Ok((plan_group(catalog, &name, &rules, &by)?, ()));
    plan(&admin.store.catalog()).map_err(refused)?;
    if apply {
        admin.store.change(plan).await.map_err(refused)?;
    }
    let catalog = admin.store.catalog();
    let group = described(&catalog, &name, rules.clone(), &seen(&admin, &catalog).await?);
    Ok(Json(Group { applied: apply, ..group }))
}

/// Answers `RemoveGroup`.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(name): Path<String>,
) -> Result<Json<Group>, AdminError> {
    let by = By { who, now: clock::now() };
    let done = admin.store.change(|catalog| plan_remove_group(catalog, &name, &by)).await;
    let refused = |error: GroupError| AdminError::from(error).of(true, "group-remove", name.clone());
    let rules = done.map_err(refused)?;
    let catalog = admin.store.catalog();
    let group = described(&catalog, &name, rules, &seen(&admin, &catalog).await?);
    Ok(Json(Group { applied: true, ..group }))
}

/// Answers `SetDeviceTags`.
pub(super) async fn tag(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<TagDevices>,
) -> Result<Json<TaggedDevices>, AdminError> {
    let TagDevices { devices, tag, remove } = wanted;
    let by = By { who, now: clock::now() };
    let what = if remove { "device-untag" } else { "device-tag" };
    let refused = |error: GroupError| AdminError::from(error).of(true, what, tag.clone());
    let seen = seen(&admin, &admin.store.catalog()).await.map_err(refused)?;
    let devices: Result<BTreeSet<DeviceId>, GroupError> =
        devices.iter().map(|text| device(text, &seen)).collect();
    let devices = devices.map_err(refused)?;
    let done = admin.store.change(|catalog| plan_tags(catalog, &devices, &tag, remove, &by)).await;
    Ok(Json(done.map_err(refused)?))
}

/// The device that a text means: all of its name, or the serial of one that was seen.
fn device(text: &str, seen: &[DeviceRecord]) -> Result<DeviceId, GroupError> {
    if text.contains('/') {
        return Ok(text.parse()?);
    }
    let named = seen.iter().map(|record| &record.last.device).filter(|device| device.serial == text);
    let named: Vec<&DeviceId> = named.collect();
    match named[..] {
        [only] => Ok(only.clone()),
        [] => Err(GroupError::UnseenSerial(text.chars().take(80).collect())),
        _ => Err(GroupError::SameSerial {
            serial: text.to_owned(),
            devices: named.iter().map(ToString::to_string).collect(),
        }),
    }
}
