//! The wire format of a device session, the nonce that starts it and the token that carries it, and that of cohorts.
//!
//! All are self-contained: issuing and checking them needs only the secret. None reads a clock; the time is passed in as
//! seconds since 1970.

mod cohort;
mod key;
mod nonce;
mod token;

pub use cohort::Cohort;
pub use key::SessionKey;
pub use nonce::{Nonce, NonceError};
pub use token::{Session, TokenError, key_id, open};
