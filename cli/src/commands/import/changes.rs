//! Prints how an import changes what devices see and get, and has the option that allows wider visibility.

use schema::api::admin::{PushedSnap, ViewChange};

use crate::admin::AdminError;
use crate::commands::Reported;
use crate::errors;
use crate::output::warning;

/// The operator's permission for wider visibility.
#[derive(Debug, clap::Args)]
pub(crate) struct WidenArgs {
    /// Let more devices see this snap than its signed declaration and its own store's metadata allow; may be
    /// repeated, and is recorded in the audit log. --dry-run lists the snaps that need it
    #[arg(long = "widen", value_name = "SNAP", value_delimiter = ',')]
    widen: Vec<String>,
}

impl WidenArgs {
    /// The value for the admin API.
    pub(crate) fn text(&self) -> String {
        self.widen.join(",")
    }
}

/// What changes of a snap's channels, `latest/stable amd64 1 → 3`.
pub(crate) fn channel_lines(snap: &PushedSnap) -> impl Iterator<Item = String> {
    let moves = snap.moves.iter().map(ToString::to_string);
    moves
        .chain(snap.default_track.iter().map(ToString::to_string))
        .map(|moved| format!("[snap {}] {moved}", snap.name))
}

/// The changes in which devices see a snap.
pub(crate) fn view_lines(changes: &[ViewChange]) -> impl Iterator<Item = String> {
    changes.iter().map(ToString::to_string)
}

/// Lists what a push would be refused for, and fails a dry run as the push would fail.
pub(crate) fn check(changes: &[ViewChange]) -> anyhow::Result<()> {
    let refused: Vec<&ViewChange> = changes.iter().filter(|change| change.refused).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let count = refused.len();
    errors::report(&anyhow::anyhow!(
        "a push would be refused: {count} changes of who sees what need --widen SNAP, named above"
    ));
    Err(Reported.into())
}

/// Prints the refused items.
pub(crate) fn explain(error: &AdminError) {
    if let AdminError::Refused(failure) = error {
        failure.details.iter().for_each(warning);
    }
}
