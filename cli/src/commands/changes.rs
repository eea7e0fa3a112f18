//! What an import changes of what devices see and get, in lines, and the option that lets more be seen.

use schema::api::admin::{PushedSnap, ViewChange};

use super::Reported;
use crate::admin::AdminError;
use crate::output::{self, warning};

/// The operator's word for wider views.
#[derive(Debug, clap::Args)]
pub(super) struct WidenArgs {
    /// Let more devices see this snap than its signed declaration and its own store's metadata allow; may be repeated, and
    /// is recorded in the audit log. --dry-run tells which snaps would need it
    #[arg(long = "widen", value_name = "SNAP", value_delimiter = ',')]
    widen: Vec<String>,
}

impl WidenArgs {
    /// As the admin API takes it.
    pub(super) fn text(&self) -> String {
        self.widen.join(",")
    }
}

/// What changes of a snap's channels, `latest/stable amd64 1 → 3`.
pub(super) fn channel_lines(snap: &PushedSnap) -> impl Iterator<Item = String> {
    let moves = snap.moves.iter().map(ToString::to_string);
    moves
        .chain(snap.default_track.iter().map(ToString::to_string))
        .map(|moved| format!("[snap {}] {moved}", snap.name))
}

/// Who sees what from now on.
pub(super) fn view_lines(changes: &[ViewChange]) -> impl Iterator<Item = String> {
    changes.iter().map(ToString::to_string)
}

/// Names what a push would be refused for, one by one, and ends a dry run as the push would end.
pub(super) fn check(changes: &[ViewChange]) -> anyhow::Result<()> {
    let refused: Vec<&ViewChange> = changes.iter().filter(|change| change.refused).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let count = refused.len();
    output::error(&anyhow::anyhow!(
        "a push would be refused: {count} changes of who sees what need --widen SNAP, named above"
    ));
    Err(Reported.into())
}

/// Says one by one what was refused.
pub(super) fn explain(error: &AdminError) {
    if let AdminError::Refused(failure) = error {
        failure.details.iter().for_each(warning);
    }
}
