//! The admin API: JSON over HTTP on a Unix socket in the data directory, and over HTTPS where `proxy.admin.address` is
//! set.
//!
//! [`calls`] declares every call. Every refusal is a [`Failure`] with a 4xx or 5xx status.

mod acme;
mod approvals;
mod assertions;
mod audit;
mod backup;
pub mod calls;
mod changes;
mod config;
mod deltas;
mod device_kit;
mod doctor;
mod explain;
mod fleet;
mod groups;
mod history;
mod jobs;
mod logins;
mod measures;
mod overrides;
mod pages;
mod parcels;
mod rollouts;
mod signing;
mod snaps;
mod status;
mod stores;
mod trains;
mod upkeep;
mod verify;
mod waiting;

pub use acme::*;
pub use approvals::*;
pub use assertions::*;
pub use audit::*;
pub use backup::*;
pub use changes::*;
pub use config::*;
pub use deltas::*;
pub use device_kit::*;
pub use doctor::*;
pub use explain::*;
pub use fleet::*;
pub use groups::*;
pub use history::*;
pub use jobs::*;
pub use logins::*;
pub use measures::*;
pub use overrides::*;
pub use pages::*;
pub use parcels::*;
pub use rollouts::*;
pub use signing::*;
pub use snaps::*;
pub use status::*;
pub use stores::*;
pub use trains::*;
pub use upkeep::*;
pub use verify::*;
pub use waiting::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// Why an action was refused or failed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// A stable word for programs, such as `invalid-bundle`.
    pub code: String,
    /// What could not be done and why, for people; may end with the command that helps.
    pub message: String,
    /// One entry per refused item, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Failure {
    /// The code of a step that was based on something which has changed since.
    pub const MOVED: &str = "moved-meanwhile";

    /// A failure with a message only.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Vec::new() }
    }
}
