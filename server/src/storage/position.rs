//! How far a reader of the database has come.

/// How far a catalog has followed the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The number of committed changes, expected by the next commit.
    pub(crate) generation: i64,
    /// How many of these did not note what they touched.
    pub(crate) unnoted: i64,
}
