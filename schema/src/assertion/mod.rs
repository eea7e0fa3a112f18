//! Assertions: the signed documents of the snap world.
//!
//! ```text
//! type: account                        headers
//! authority-id: acme
//! ...
//! sign-key-sha3-384: 1mYXYyy6...
//!                                      (a body and another blank line, when body-length says so)
//! AcLBUgQAAQoABgUCawCEuwAANhQQ...      signature over everything before the last blank line
//! ```
//!
//! The exact bytes are what counts: an [`Assertion`] keeps them, and they are stored and served unchanged. Reading
//! one proves nothing; [`Checker`] and [`check_batch`] prove it up to a trust anchor and return [`Verified`], the only
//! form that storage takes.
//!
//! * grammar: [`headers`](Headers), numbers and patterns, [`AssertionType`], [`Ref`]
//! * keys and signatures: [`PublicKey`], [`SigningKey`], [`Builder`]
//! * meaning: [`Details`] and the rules of each type
//! * trust: [`Anchors`], [`Checker`], [`check_batch`]

mod batch;
mod check;
mod constraints;
mod decode;
mod decode_error;
mod details;
mod fields;
mod headers;
mod key;
mod kind;
mod packet;
mod prerequisites;
mod reference;
mod refusal;
mod scalars;
mod sign;
mod signature;
mod trust;
mod unsigned;

#[cfg(test)]
mod batches;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod verdicts;

pub use batch::{BatchError, BatchOutcome, check_batch, recheck_batch};
pub use check::{Checker, KeyTime, Verified};
pub use constraints::Constraints;
pub use decode::{MAX_BODY, MAX_HEAD, MAX_KEY_VALUE, MAX_SIGNATURE};
pub use decode_error::{DecodeError, DecodeReason};
pub use details::is_user_name;
pub use details::{
    Account, AccountKey, AccountKeyRequest, Details, DeviceSessionRequest, Model, ModelValidationSet,
    RevisionAuthority, Serial, SerialRequest, SnapDeclaration, SnapResourcePair, SnapResourceRevision,
    SnapRevision, Store, Validation, ValidationSet, ValidationSetSnap,
};
pub use fields::RuleError;
pub use headers::{HeaderError, HeaderValue, Headers, MAX_DEPTH, Map};
pub use key::{KeyError, PublicKey, WeakKey};
pub use kind::{AssertionType, DEFAULT_PROVENANCE, UnknownType};
pub use packet::PacketError;
pub use reference::{Ref, RefError};
pub use refusal::{CheckError, Problem, Stage};
pub use scalars::{is_account_id, is_key_name, is_model_name, is_strict_serial};
pub use sign::{Builder, SigningKey, SigningKeyError};
pub use signature::SignatureError;
pub use trust::{AnchorError, Anchors, AssertionSource, Fingerprint};
pub use unsigned::{Unsigned, is_sha512_info};

use std::fmt;
use std::ops::Range;

/// One assertion, decoded and valid by the rules of its type. Its signature is not checked.
#[derive(Clone)]
pub struct Assertion {
    /// Content, blank line, signature, line feed.
    bytes: Box<[u8]>,
    content: usize,
    body: Range<usize>,
    headers: Headers,
    reference: Ref,
    revision: u32,
    format: u32,
    details: Details,
}

impl Assertion {
    /// Reads exactly one assertion. A blank line after it is tolerated.
    ///
    /// # Errors
    /// [`DecodeError`] when the text is not an assertion, breaks a rule of its type, or is followed by something.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode::single(bytes)
    }

    /// Reads zero or more assertions, separated by one blank line each.
    ///
    /// # Errors
    /// [`DecodeError`] for the first one that cannot be read; it says which.
    pub fn decode_stream(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        decode::stream(bytes)
    }

    /// The exact text of this assertion, ending in one line feed, as it is stored and served. All of it is UTF-8.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signed part.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.bytes[..self.content]
    }

    /// The signature in base64 lines, without a final line feed. Its bytes identify nothing: anybody can change parts
    /// of it.
    #[must_use]
    pub fn signature(&self) -> &str {
        // White space outside base64 is kept, so that it is rejected as devices reject it.
        let text = self.bytes[self.content..].strip_prefix(b"\n\n").and_then(|text| text.strip_suffix(b"\n"));
        std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default()
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> AssertionType {
        self.reference.kind
    }

    /// All headers, defaults of optional primary key headers included.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of a header that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.text(name)
    }

    /// The body, empty when there is none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }

    /// The account that vouches for the content; `None` for the types that a device or the carried key signs.
    #[must_use]
    pub fn authority_id(&self) -> Option<&str> {
        self.text("authority-id")
    }

    /// Which of the assertions with the same primary key this is; a higher one replaces a lower one.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The syntax version of its type.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.format
    }

    /// The digest of the key that claims to have signed.
    #[must_use]
    pub fn sign_key_id(&self) -> &str {
        self.text("sign-key-sha3-384").unwrap_or_default()
    }

    /// The address: type and full primary key.
    #[must_use]
    pub fn reference(&self) -> Ref {
        self.reference.clone()
    }

    /// The typed view of the headers.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// The assertions that a client fetches first, not counting the account-key that signed this one.
    #[must_use]
    pub fn prerequisites(&self) -> Vec<Ref> {
        prerequisites::of(self)
    }

    /// Everything needed to check this assertion: its prerequisites, the account-key that signed it, and what the
    /// rules of its type refer to.
    #[must_use]
    pub fn needed_to_check(&self) -> Vec<Ref> {
        prerequisites::needed_to_check(self)
    }

    /// Checks the signature with a given key, regardless of `sign-key-sha3-384`. This proves possession of the key
    /// and nothing else.
    ///
    /// # Errors
    /// [`SignatureError`] if the key did not sign this content.
    pub fn verify_with(&self, key: &PublicKey) -> Result<(), SignatureError> {
        key.verify(self.content(), self.signature())
    }
}

/// Two assertions are equal when their bytes are.
impl PartialEq for Assertion {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Assertion {}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assertion({}, revision {}, format {})", self.reference, self.revision, self.format)
    }
}
