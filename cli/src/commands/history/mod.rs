//! How the channel map came to be what it is, and the way back.

pub(crate) mod back;
pub(crate) mod diff;
pub(crate) mod log;
pub(crate) mod tag;
