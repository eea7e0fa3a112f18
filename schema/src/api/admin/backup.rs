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
