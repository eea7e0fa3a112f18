//! Removing, checking, backing up and restoring what the store holds.

pub(crate) mod backup;
pub(crate) mod gc;
pub(crate) mod jobs;
pub(crate) mod prune;
pub(crate) mod remove_account_key;
pub(crate) mod remove_snap;
pub(crate) mod remove_store;
pub(crate) mod restore;
pub(crate) mod verify;
