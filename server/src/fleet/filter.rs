//! Which devices an operator means.

use std::collections::BTreeSet;

use schema::api::admin::DeviceFilter;
use schema::store::DeviceId;
use time::OffsetDateTime;

use crate::catalog::Catalog;
use crate::storage::devices::{DeviceRecord, DevicesWhere, Running};

/// Why a filter means nothing here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// No snap of this name.
    #[error(
        "there is no snap {0} in this store, so what devices run of it is not known: `proxy list-pushed-snaps`"
    )]
    UnknownSnap(String),
    /// No name and number.
    #[error("cannot read {0:?}: write SNAP=REVISION")]
    Below(String),
}

/// A filter with names looked up: what the database picks, and what devices run.
pub(crate) struct Filter {
    stored: DevicesWhere,
    missing: Option<BTreeSet<String>>,
    below: Option<(BTreeSet<String>, i64)>,
    /// The device after which a page begins.
    pub(super) after: Option<DeviceId>,
    /// How many devices a page has.
    pub(super) limit: Option<u32>,
}

impl Filter {
    /// Looks up the names of a filter; ages are counted back from `now`.
    ///
    /// # Errors
    /// A snap that is not here, or what is no `SNAP=REVISION`.
    pub(crate) fn new(
        wanted: DeviceFilter,
        catalog: &Catalog,
        now: OffsetDateTime,
    ) -> Result<Self, FilterError> {
        let ids = |name: &str| {
            let named = catalog.snaps_named(name).iter().chain(catalog.snap_by_id(name));
            let ids: BTreeSet<String> = named.map(|snap| snap.id.to_string()).collect();
            if ids.is_empty() { Err(FilterError::UnknownSnap(name.to_owned())) } else { Ok(ids) }
        };
        let below = |text: &String| -> Result<_, FilterError> {
            let bad = || FilterError::Below(text.clone());
            let (name, revision) = text.split_once('=').ok_or_else(bad)?;
            Ok((ids(name)?, revision.parse().map_err(|_| bad())?))
        };
        let now = i64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let age = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Ok(Self {
            missing: wanted.missing.as_deref().map(ids).transpose()?,
            below: wanted.below.as_ref().map(below).transpose()?,
            stored: DevicesWhere {
                seen_before_micros: wanted.stale.map(|seconds| now.saturating_sub(age(seconds))),
                brand: wanted.brand,
                model: wanted.model,
                store: wanted.store,
                running: None,
                serial: wanted.serial,
            },
            after: wanted.after,
            limit: wanted.limit,
        })
    }

    /// What the database picks.
    pub(super) fn stored(&self) -> &DevicesWhere {
        &self.stored
    }

    /// Is it one of those, by what it runs? What a device that did not say what it runs lacks is not known.
    pub(super) fn takes(&self, record: &DeviceRecord) -> bool {
        let snaps = record.last.snaps.as_deref();
        let lacks = |ids: &BTreeSet<String>| {
            snaps.is_some_and(|snaps| !snaps.iter().any(|snap| ids.contains(&snap.snap_id)))
        };
        let behind = |(ids, revision): &(BTreeSet<String>, i64)| {
            let old = |snap: &Running| ids.contains(&snap.snap_id) && snap.revision < *revision;
            snaps.is_some_and(|snaps| snaps.iter().any(old))
        };
        self.missing.as_ref().is_none_or(lacks) && self.below.as_ref().is_none_or(behind)
    }
}
