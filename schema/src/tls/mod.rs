//! What the store presents on a TLS port: a certificate with its chain and its private key.
//!
//! [`Pair::import`] builds one from whatever PEM text an operator has, in any order:
//!
//! ```text
//! subject=CN = snaps.internal          text around the blocks is ignored
//! -----BEGIN CERTIFICATE-----          the certificate, and those above it
//! -----BEGIN EC PRIVATE KEY-----       one key: PKCS#8, PKCS#1 or SEC1, also encrypted PKCS#8
//! ```
//!
//! What cannot work at all is an [`ImportError`], what an operator may force is a [`Problem`], what is worth knowing
//! is a [`Warning`]. [`Authority`] is the certificate authority for a site without one.

mod authority;
mod blocks;
mod certificate;
mod chain;
mod error;
mod expiry;
mod form;
pub mod further;
mod key;
mod pair;
mod trusted;

pub use authority::{Authority, AuthorityError, Issued, Stamp, Usage, self_signed};
pub use blocks::{Source, encode as to_pem};
pub use error::{ImportError, Place, Problem, Warning};
pub use expiry::{Expiry, Level, expiry};
pub use pair::{Imported, Pair, PairError, covers};
pub use trusted::{
    Trusted, client_authorities, has_signed, not_after, not_before, path_length, trusted_certificates,
};

#[cfg(test)]
mod tests;
