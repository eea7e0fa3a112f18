//! What is carried in: bundles, archives, assertions and trust anchors.

pub(crate) mod changes;
mod each;
pub(crate) mod inspect;
pub(crate) mod push_account_keys;
pub(crate) mod push_assertions;
pub(crate) mod push_brand_store_metadata;
pub(crate) mod push_snap;
pub(crate) mod push_store;
pub(crate) mod trust;
pub(crate) mod waiting;
