//! The wire format of a device session: the nonce that starts it and the token that carries it.
//!
//! Both are self-contained: issuing a nonce and checking a token need only the secret. Neither reads a clock; the
//! time is passed in as seconds since 1970.

mod key;
mod nonce;
mod token;

pub use key::SessionKey;
pub use nonce::{Nonce, NonceError};
pub use token::{Session, TokenError, key_id, open};
