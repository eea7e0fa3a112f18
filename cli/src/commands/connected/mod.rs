//! What a host with internet does: log in upstream and fetch what is to be carried in.

pub(crate) mod fetch_account_keys;
pub(crate) mod fetch_brand_store_metadata;
pub(crate) mod fetch_snaps;
pub(crate) mod fetch_store;
mod parcel_args;
pub(crate) mod register;
pub(crate) mod whoami;
