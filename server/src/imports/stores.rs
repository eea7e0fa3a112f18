//! Plans the import of brand store metadata: the stores, and the snaps that each of them grants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use schema::api::admin::{PushedStores, Store};
use schema::assertion::{AssertionSource as _, AssertionType, Ref};
use schema::bundle::{BrandStore, BrandStores, ListedSnap, SnapList};
use schema::store::StoreId;
use serde_json::json;

use super::visibility::{Views, settle};
use super::{Context, ImportError, KnownStores};
use crate::storage::records::{Change, Grant, ImportRecord, Reason, StoreRecord};

/// Plans the import of a metadata file.
pub(crate) fn plan_stores(
    known: &dyn KnownStores,
    bytes: &[u8],
    views: &Views,
    cx: &Context,
) -> Result<(Change, PushedStores), ImportError> {
    let (mut change, mut report) = plan_metadata(known, bytes, cx)?;
    report.visibility = settle(known, &mut change, views)?;
    if let Some(import) = &mut change.import {
        import.summary = json!(report);
    }
    Ok((change, report))
}

/// The same without checking visibility. A file changes only the grants of its own stores: a store's list replaces
/// its grants; a raw list, which does not name its store, adds to the only store that all its snaps name.
pub(super) fn plan_metadata(
    known: &dyn KnownStores,
    bytes: &[u8],
    cx: &Context,
) -> Result<(Change, PushedStores), ImportError> {
    let file = BrandStores::parse(bytes)?;
    let mut report = PushedStores::default();
    let mut records: BTreeMap<StoreId, StoreRecord> = BTreeMap::new();
    for store in &file.stores {
        let record = store_record(known, store)?;
        records.insert(record.store_id.clone(), record);
    }
    match &file.snaps {
        SnapList::Of(lists) => {
            let described: Vec<String> = records.keys().map(ToString::to_string).collect();
            for (id, list) in lists {
                let held = known.store(id.as_str());
                if held.is_some() && !described.is_empty() && !records.contains_key(id) {
                    return Err(ImportError::OtherStore { described, other: id.to_string() });
                }
                match target(known, &mut records, id) {
                    Some(record) => {
                        let told = std::mem::take(&mut record.grants);
                        record.grants = list.iter().map(|snap| grant(snap, id.as_str(), &told)).collect();
                    }
                    None => report.warnings.push(format!(
                        "Ignored the snaps of store {id}: push the metadata of the store itself in the same file"
                    )),
                }
            }
        }
        SnapList::Bare(list) => add_bare(known, &mut records, list, &mut report.warnings)?,
    }
    for record in records.values_mut() {
        record.grants.sort();
        warn_about(known, record, &mut report.warnings);
        report.stores.push(shown(known, record));
    }
    for (id, name) in records.values().filter_map(|record| Some((&record.store_id, record.parent.as_ref()?)))
    {
        if !records.contains_key(name) && known.store(name).is_none() {
            report
                .warnings
                .push(format!("Store {id} builds on store {name}, whose metadata was not pushed yet"));
        }
    }

    let file_digest = super::file_digest(&digest(&SHA256, bytes));
    let subject = records.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let granted: BTreeMap<_, _> = records.iter().map(|(id, record)| (id, record.grants.len())).collect();
    let mut change =
        cx.change("push-brand-store-metadata", subject, json!({ "file": file_digest, "grants": granted }));
    change.stores = records
        .into_values()
        .map(|mut record| {
            record.grants.sort();
            Arc::new(record)
        })
        .collect();
    change.import = Some(ImportRecord { file_digest, kind: "stores".into(), summary: json!(report) });
    Ok((change, report))
}

/// The record of a store in the file; the stored grants stay until the file's list replaces them.
fn store_record(known: &dyn KnownStores, store: &BrandStore) -> Result<StoreRecord, ImportError> {
    if store.id.is_global() {
        return Err(ImportError::GlobalStore);
    }
    let held = known.store(store.id.as_str());
    if let Some(held) = held.as_ref().filter(|held| held.brand_id != store.brand_id) {
        return Err(ImportError::OtherBrand {
            store: store.id.to_string(),
            held: held.brand_id.clone(),
            given: store.brand_id.clone(),
        });
    }
    Ok(StoreRecord {
        store_id: store.id.clone(),
        brand_id: store.brand_id.clone(),
        name: store.name.clone(),
        parent: store.parent.clone(),
        grants: held.map(|held| held.grants.clone()).unwrap_or_default(),
        document: json!(store).to_string(),
    })
}

/// The store to change: one in the file, or a stored one.
fn target<'a>(
    known: &dyn KnownStores,
    records: &'a mut BTreeMap<StoreId, StoreRecord>,
    id: &StoreId,
) -> Option<&'a mut StoreRecord> {
    if !records.contains_key(id) {
        records.insert(id.clone(), (*known.store(id)?).clone());
    }
    records.get_mut(id)
}

fn add_bare(
    known: &dyn KnownStores,
    records: &mut BTreeMap<StoreId, StoreRecord>,
    list: &[ListedSnap],
    warnings: &mut Vec<String>,
) -> Result<(), ImportError> {
    let of = |snap: &ListedSnap| -> BTreeSet<StoreId> {
        let named = snap.store.iter().chain(&snap.other_stores).chain(&snap.included_stores);
        named.filter(|id| known.store(id).is_some()).cloned().collect()
    };
    let named: BTreeSet<StoreId> = list.iter().flat_map(of).collect();
    match named.iter().collect::<Vec<_>>()[..] {
        [] => warnings.extend(list.iter().map(|snap| {
            format!("Ignored {}: no store that it names is known; push the store's metadata first", snap.name)
        })),
        [id] => {
            let Some(record) = target(known, records, id) else { return Ok(()) };
            for snap in list {
                if of(snap).is_empty() {
                    warnings.push(format!("Ignored {}: it does not name store {id}", snap.name));
                    continue;
                }
                let new = grant(snap, id, &record.grants);
                record.grants.retain(|grant| grant.snap_id != snap.id);
                record.grants.push(new);
            }
        }
        _ => return Err(ImportError::WhoseList { stores: named.into_iter().map(String::from).collect() }),
    }
    Ok(())
}

/// The grant from a list entry; an earlier permission of the operator stays.
fn grant(snap: &ListedSnap, store_id: &str, before: &[Grant]) -> Grant {
    let own = snap.store.as_ref().is_some_and(|store| store.as_str() == store_id);
    let told = |held: &Grant| held.snap_id == snap.id && held.reason == Reason::Told;
    let reason = match (before.iter().any(told), snap.essential, own) {
        (true, ..) => Reason::Told,
        (_, true, _) => Reason::Essential,
        (_, false, true) => Reason::Own,
        (_, false, false) => Reason::Included,
    };
    Grant { snap_id: snap.id.clone(), name: snap.name.clone(), reason }
}

fn warn_about(known: &dyn KnownStores, record: &StoreRecord, warnings: &mut Vec<String>) {
    let StoreRecord { store_id, brand_id, .. } = record;
    let account = Ref { kind: AssertionType::Account, key: vec![brand_id.clone()] };
    if known.find(&account).is_none() && known.anchors().find(&account).is_none() {
        warnings.push(format!(
            "Account {brand_id}, the brand of store {store_id}, is not known yet: push it with `proxy push-account-keys`"
        ));
    } else if known.keys_of(brand_id).is_empty() && known.anchors().keys_of(brand_id).is_empty() {
        warnings.push(format!(
            "No key of {brand_id}, the brand of store {store_id}, is known yet: push them with `proxy push-account-keys`"
        ));
    }
    let missing = missing(known, record);
    if !missing.is_empty() {
        let (count, names) = (missing.len(), missing.join(", "));
        warnings.push(format!("Store {store_id} grants {count} snaps that were not pushed yet: {names}"));
    }
    for grant in &record.grants {
        if let Some(held) = known.snap(&grant.snap_id).filter(|held| held.name != grant.name) {
            warnings.push(format!("Store {store_id} lists {} as {}", held.name, grant.name));
        }
    }
}

fn missing(known: &dyn KnownStores, record: &StoreRecord) -> Vec<String> {
    let missing = record.grants.iter().filter(|grant| known.snap(&grant.snap_id).is_none());
    missing.map(|grant| grant.name.to_string()).collect()
}

fn shown(known: &dyn KnownStores, record: &StoreRecord) -> Store {
    Store {
        id: record.store_id.to_string(),
        name: record.name.clone(),
        brand_id: record.brand_id.clone(),
        parent: record.parent.as_ref().map(ToString::to_string),
        snaps: record.grants.iter().map(|grant| grant.name.to_string()).collect(),
        missing: missing(known, record),
    }
}
