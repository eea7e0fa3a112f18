//! What goes back and forth between a connected host and a site: receipts, which say what a site holds, and parcels, which
//! hold what it lacks.
//!
//! ```text
//! site ──receipt──► connected host ──parcel──► site
//! ```
//!
//! Each is signed with Ed25519: a receipt by the key of its site, a parcel by the key of its sender, which the site trusts
//! by name. A clock takes no part in telling an old one from a new one: receipts carry the store's generation, and
//! parcels a number per sender and site.

mod held;
mod key;
mod manifest;
mod pages;
mod receipt;

pub use held::{HeldSet, release_id};
pub use key::{PublicKey, SecretKey, SenderFile};
pub use manifest::{Parcel, ParcelFile, ParcelKind, ParcelPart};
pub use pages::pages;
pub use receipt::{Accepted, CODE_LENGTH, Receipt, code_of, read_code};

/// Why a receipt, a parcel or the file of a sender cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParcelError {
    /// It is something else.
    #[error("it is not {0}")]
    Kind(&'static str),
    /// It ends early or contradicts itself.
    #[error("{0} is cut off or damaged: copy it again")]
    Damaged(&'static str),
    /// Texts of a receipt are lacking.
    #[error("of the {1} QR codes of the receipt, these are lacking: {0}; scan them too")]
    Pages(String, usize),
    /// A line is no text of the receipt that the file begins with.
    #[error("line {0} is not the text of a QR code of this receipt: scan it again")]
    Page(usize),
    /// A newer program made it.
    #[error("{0} has format {1}, which is newer than this program: update it")]
    Newer(&'static str, u32),
    /// The signature is not that of the key it names.
    #[error("{0} was altered, or is a forgery: its signature is not that of the key it names")]
    Signature(&'static str),
}

/// The text after the first line, if that line is this word.
fn after_word<'a>(bytes: &'a [u8], word: &str) -> Option<&'a [u8]> {
    bytes.strip_prefix(word.as_bytes())?.strip_prefix(b"\n")
}
