//! Receipts and parcels: what is carried between a site and a connected host in both directions.

pub(crate) mod push_parcel;
#[cfg(feature = "qr")]
mod qr;
pub(crate) mod receipt;
pub(crate) mod sender;
pub(crate) mod under_way;
