//! What a package installs beside the program.

pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod man;
