//! Settings, secrets and the database.

pub(crate) mod config;
pub(crate) mod create_database;
pub(crate) mod disable_airgap_mode;
pub(crate) mod enable_airgap_mode;
pub(crate) mod generate_keys;
pub(crate) mod migrate_database;
pub(crate) mod rotate_secret;
