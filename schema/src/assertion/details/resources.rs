//! `snap-resource-revision` and `snap-resource-pair`: components of a snap, and which revisions go together.

use time::OffsetDateTime;

use super::snaps::{integrity, provenance};
use crate::assertion::fields::{Fields, Result};

/// One file of a component.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct SnapResourceRevision {
    pub snap_id: String,
    pub resource_name: String,
    /// Digest of the file in base64url.
    pub resource_sha3_384: String,
    pub provenance: String,
    /// Size of the file in bytes.
    pub resource_size: u64,
    pub resource_revision: u32,
    pub developer_id: String,
    pub timestamp: OffsetDateTime,
}

/// A revision of a component that goes with a revision of its snap.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct SnapResourcePair {
    pub snap_id: String,
    pub resource_name: String,
    pub resource_revision: u32,
    pub snap_revision: u32,
    pub provenance: String,
    pub developer_id: String,
    pub timestamp: OffsetDateTime,
}

pub(super) fn snap_resource_revision(fields: &Fields<'_>) -> Result<SnapResourceRevision> {
    integrity(fields)?;
    Ok(SnapResourceRevision {
        snap_id: fields.required("snap-id")?.to_owned(),
        resource_name: fields.snap_name("resource-name")?.to_owned(),
        resource_sha3_384: fields.digest("resource-sha3-384")?.to_owned(),
        provenance: provenance(fields)?,
        resource_size: fields.unsigned("resource-size")?,
        resource_revision: fields.ordinal("resource-revision")?,
        developer_id: fields.required("developer-id")?.to_owned(),
        timestamp: fields.date("timestamp")?,
    })
}

pub(super) fn snap_resource_pair(fields: &Fields<'_>) -> Result<SnapResourcePair> {
    Ok(SnapResourcePair {
        snap_id: fields.required("snap-id")?.to_owned(),
        resource_name: fields.snap_name("resource-name")?.to_owned(),
        resource_revision: fields.ordinal("resource-revision")?,
        snap_revision: fields.ordinal("snap-revision")?,
        provenance: provenance(fields)?,
        developer_id: fields.required("developer-id")?.to_owned(),
        timestamp: fields.date("timestamp")?,
    })
}
