//! Backups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What goes into a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackupRequest {
    /// List the stored files without including them.
    #[serde(default)]
    pub without_blobs: bool,
}

/// A backup that was restored for a trial, checked and thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rehearsal {
    /// The name of its file.
    pub file: String,
    /// When the backup was made, RFC 3339.
    pub backup_of: String,
}

/// When this store was last backed up, and whether that can be restored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BackupStatus {
    /// When the last backup began, RFC 3339; `None` if none was made.
    pub last: Option<String>,
    /// When a backup was last rehearsed, RFC 3339; `None` if none was.
    pub rehearsed: Option<String>,
    /// Which backup that was: the moment that it is of.
    pub rehearsed_backup: Option<String>,
}
