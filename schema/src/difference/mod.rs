//! Differences between two revisions of a snap, for media: much smaller than those that devices apply, because what is
//! compared is what the squashfs image holds, not its compressed bytes.
//!
//! ```text
//! airlock-difference⏎
//! {"format":1,…}⏎        see [`Head`]
//! zstd frame             the recipe
//! zstd frame             what of the old image is near what is new, see `near.rs`
//! zstd frame             what is new and near nothing
//! zstd frame             how the rest differs from what it is near
//! ```
//!
//! The recipe says which blocks of the old image are unpacked to be compared with, and how the new image is put together: of
//! runs of bytes of the old one, of new bytes, and of new bytes that are packed again. Packing gives the same bytes on both
//! sides, or the maker sends the block as it is: it tries every block, and then the whole difference. Whoever applies one
//! compares the digest of what comes out with the signed one.

#[cfg(not(feature = "differences"))]
mod absent;
#[cfg(feature = "differences")]
mod apply;
#[cfg(feature = "differences")]
mod codec;
#[cfg(feature = "differences")]
mod layout;
#[cfg(feature = "differences")]
mod make;
#[cfg(feature = "differences")]
mod near;
#[cfg(feature = "differences")]
mod parallel;
#[cfg(feature = "differences")]
mod recipe;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "differences"))]
pub use absent::{apply, make, read_head};
#[cfg(feature = "differences")]
pub use apply::{apply, read_head};
#[cfg(feature = "differences")]
pub use make::make;

use crate::digest::Sha3_384;

/// The first line of a difference.
const WORD: &str = "airlock-difference";
/// More bytes than are unpacked of the old image, or are new: larger snaps travel whole.
const MOST: u64 = 1 << 30;
/// How far back what is compressed may refer, as a power of two.
const WINDOW: u32 = 25;

/// Between which files a difference is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Head {
    /// The version of the format; 1.
    pub format: u32,
    /// The SHA3-384 of the old file, in hexadecimal.
    pub base: String,
    /// Bytes of the old file.
    pub base_size: u64,
    /// The SHA3-384 of the new file, in hexadecimal.
    pub target: String,
    /// Bytes of the new file.
    pub target_size: u64,
    /// The compression of both images, as in their superblocks.
    compressor: u16,
    /// The size of their blocks.
    block_size: u32,
}

impl Head {
    /// The digest of the old file.
    #[must_use]
    pub fn base_digest(&self) -> Option<Sha3_384> {
        Sha3_384::from_hex(&self.base).ok()
    }

    /// The digest of the new file.
    #[must_use]
    pub fn target_digest(&self) -> Option<Sha3_384> {
        Sha3_384::from_hex(&self.target).ok()
    }
}

/// Why there is no difference, or it cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DifferenceError {
    /// A file cannot be read or written.
    #[error("cannot read or write a file")]
    Io(#[from] std::io::Error),
    /// It is no difference, or one of a newer program.
    #[error("this is not a difference that this program knows")]
    Kind,
    /// It contradicts itself or the old file.
    #[error("the difference is damaged, or is one to another file")]
    Damaged,
    /// The files are not images, or are too large to compare.
    #[error("the files cannot be compared")]
    Unfit,
    /// This build has no differences.
    #[error("this program was built without the feature `differences`: ask for a parcel of whole files")]
    Absent,
}

#[cfg(all(test, feature = "differences"))]
mod tests;
