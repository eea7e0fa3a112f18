//! How a device session looks on the wire: the nonce that starts it and the token that carries it.
//!
//! Both are self-contained: issuing a nonce and checking a token need the secret and nothing else.
//! Neither holds a clock; the time comes in as seconds since 1970.

mod key;
mod nonce;
mod token;

pub use key::SessionKey;
pub use nonce::{Nonce, NonceError};
pub use token::{Session, TokenError, key_id, open};
