//! How long something was in force, as the tables of history have it.

use super::engine::{Reader, Row};
use super::error::StorageError;

/// Something, and how long it was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span<T> {
    /// What it was.
    pub(crate) held: T,
    /// The generation in which it began.
    pub(crate) began: i64,
    /// The generation in which it ended; `None` while it is in force.
    pub(crate) ended: Option<i64>,
}

/// Something with the generations in which it began and ended.
pub(super) fn span<T>(
    table: &'static str,
    row: Row,
    held: impl FnOnce(&mut Reader) -> Result<T, StorageError>,
) -> Result<Span<T>, StorageError> {
    let mut row = Reader::new(table, row);
    let held = held(&mut row)?;
    let (began, ended) = (row.int("began")?, row.int("ended")?);
    Ok(Span { held, began, ended: (ended > 0).then_some(ended) })
}
