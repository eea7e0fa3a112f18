//! How the store is doing and what it holds.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod check_connections;
pub(crate) mod doctor;
pub(crate) mod list_account_keys;
pub(crate) mod list_imports;
pub(crate) mod list_pushed_snaps;
pub(crate) mod list_stores;
pub(crate) mod open;
pub(crate) mod status;
