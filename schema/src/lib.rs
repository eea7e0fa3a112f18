//! The vocabulary of a snap store: assertions, names, channels, wire types and file formats.
//!
//! Pure: no async, no sockets, no clock. Time, randomness and lookups are passed in.

pub mod api;
pub mod assertion;
pub mod backup;
pub mod bundle;
pub mod causes;
pub mod config;
#[cfg_attr(not(feature = "differences"), allow(dead_code))]
pub mod difference;
pub mod digest;
pub mod image;
pub mod login;
pub mod looks;
mod macaroon;
pub mod migrations;
pub mod nearest;
pub mod parcel;
pub mod rollout;
pub mod service_login;
pub mod session;
pub mod signing;
pub mod store;
pub mod tls;
