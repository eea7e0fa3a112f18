//! Replaces `token.rs` in a build without the feature `pkcs11`: no module is ever loaded.

use std::convert::Infallible;
use std::path::Path;

use schema::assertion::PublicKey;
use schema::signing::KeyPlace;

/// Why a token does nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("{0}")]
    Absent(String),
    #[error("the token refuses the PIN")]
    Pin(Infallible),
    #[error("{0}")]
    Failed(&'static str),
}

/// A loaded module; has no value in this build.
pub(super) struct Tokens(Infallible);

impl Tokens {
    pub(super) fn load(_: &Path, _: &str) -> Result<Self, TokenError> {
        Err(TokenError::Failed("this proxyd was built without PKCS#11 (cargo feature `pkcs11`)"))
    }

    pub(super) fn create(&mut self, _: &KeyPlace) -> Result<PublicKey, TokenError> {
        match self.0 {}
    }

    pub(super) fn public(&mut self, _: &KeyPlace, _: Option<&PublicKey>) -> Result<PublicKey, TokenError> {
        match self.0 {}
    }

    pub(super) fn sign(
        &mut self,
        _: &KeyPlace,
        _: &PublicKey,
        _: &[u8],
        _: Option<&[u8]>,
    ) -> Result<Vec<u8>, TokenError> {
        match self.0 {}
    }
}
