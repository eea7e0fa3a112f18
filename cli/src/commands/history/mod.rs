//! How channels, grants and metadata came to be what they are, and the way back.

pub(crate) mod back;
pub(crate) mod diff;
pub(crate) mod log;
pub(crate) mod tag;

use schema::api::admin::{GrantMove, HistoryMove, MetadataMove};

/// One line for each of these.
fn told(moves: &[HistoryMove], grants: &[GrantMove], metadata: &[MetadataMove]) -> Vec<String> {
    let lines = moves.iter().map(ToString::to_string).chain(grants.iter().map(ToString::to_string));
    lines.chain(metadata.iter().map(ToString::to_string)).collect()
}
