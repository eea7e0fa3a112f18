//! What a package installs beside the program.

pub(crate) mod complete;
#[cfg(feature = "manuals")]
pub(crate) mod completions;
#[cfg(feature = "manuals")]
pub(crate) mod man;
