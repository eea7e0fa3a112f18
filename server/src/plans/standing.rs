//! What an operator looked at: a step that names it is refused once somebody else, or the rollout itself, has moved on.

use serde::Serialize;
use serde_json::json;

use crate::approvals::digest;

/// Digits that tell one condition from the next.
const DIGITS: usize = 16;

/// The thing is not as the operator saw it.
#[derive(Debug, thiserror::Error)]
#[error("it has moved on since you looked at it, so nothing was done: look at how it stands now")]
pub(crate) struct Moved;

/// The condition of something, for operators to name.
pub(crate) fn standing(record: &impl Serialize) -> String {
    let mut text = digest(&json!(record));
    text.truncate(DIGITS);
    text
}

/// Whether it is still as the operator saw it, who may not have said.
pub(crate) fn still(record: &impl Serialize, seen: Option<&str>) -> Result<(), Moved> {
    match seen.is_none_or(|seen| seen == standing(record)) {
        true => Ok(()),
        false => Err(Moved),
    }
}
