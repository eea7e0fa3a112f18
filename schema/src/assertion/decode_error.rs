//! Why bytes are no assertion.

use std::str::Utf8Error;

use super::fields::RuleError;
use super::headers::HeaderError;
use super::key::KeyError;
use super::kind::UnknownType;

/// Why bytes are not a list of assertions.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read {what} (number {}, at byte {offset})", .index + 1)]
pub struct DecodeError {
    /// Which assertion of the input, from 0.
    pub index: usize,
    /// Where it begins in the input.
    pub offset: usize,
    /// Its type and address as far as they are known, otherwise `assertion`.
    pub what: String,
    /// What is wrong with it.
    #[source]
    pub reason: DecodeReason,
}

/// What is wrong with an assertion.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeReason {
    /// No input where one assertion is expected.
    #[error("there is nothing to read")]
    Empty,
    /// Something follows where one assertion is expected.
    #[error("something follows the assertion")]
    Trailing,
    /// Something else, known by how it begins.
    #[error("it is {0}")]
    Looks(&'static str),
    /// Saved by a program that ends lines in another way.
    #[error("its lines end in CR LF, which breaks the signature: convert it with `sed -i 's/\\r$//' FILE`")]
    LineEnds,
    /// A mark that some editors put before a text.
    #[error("it begins with a byte order mark: remove it with `sed -i '1s/^\\xef\\xbb\\xbf//' FILE`")]
    Mark,
    /// No blank line within the limit of the head.
    #[error("the headers do not end in a blank line within 131072 bytes")]
    Head,
    /// The part that is not UTF-8.
    #[error("the {part} is not UTF-8")]
    NotUtf8 {
        /// `head`, `body` or `signature`.
        part: &'static str,
        /// Where.
        #[source]
        source: Utf8Error,
    },
    /// The grammar of the headers.
    #[error("the headers are malformed")]
    Headers(#[from] HeaderError),
    /// A header breaks a rule.
    #[error("a rule for its headers is broken")]
    Rule(#[from] RuleError),
    /// The type is unknown.
    #[error("its type is unknown")]
    Type(#[from] UnknownType),
    /// More than 2 MiB of body are announced.
    #[error("the body is longer than 2097152 bytes")]
    BodyTooLong,
    /// The body ends earlier or later than announced.
    #[error("the body does not have the announced length")]
    BodyLength,
    /// The signature is missing or begins with a blank line.
    #[error("the signature is missing")]
    NoSignature,
    /// The signature is longer than the limit.
    #[error("the signature is longer than 131072 bytes")]
    SignatureTooLong,
    /// The body of a type whose body has a form.
    #[error("the body {0}")]
    Body(&'static str),
    /// The key in a body.
    #[error("the body is not a public key")]
    BodyKey(#[from] KeyError),
}
