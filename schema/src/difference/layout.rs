//! Where the blocks of a squashfs image are.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::DifferenceError;
use super::codec::META;
use super::recipe::Kind;
use crate::image::data_blocks;

/// A block of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) kind: Kind,
}

/// The blocks of an image, in the order of their places, and how they are packed.
pub(super) struct Layout {
    pub(super) compressor: u16,
    pub(super) block_size: u32,
    pub(super) blocks: Vec<Block>,
}

impl Layout {
    /// Reads the layout of an image.
    pub(super) fn read(image: &mut (impl Read + Seek + Send)) -> Result<Self, DifferenceError> {
        let mut head = [0; 96];
        image.seek(SeekFrom::Start(0))?;
        image.read_exact(&mut head).map_err(|_| DifferenceError::Unfit)?;
        if !head.starts_with(b"hsqs") {
            return Err(DifferenceError::Unfit);
        }
        let long = |at: usize| head[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let block_size = u32::try_from(long(12) & 0xffff_ffff).unwrap_or_default();
        let compressor = u16::from_le_bytes([head[20], head[21]]);
        if !(4096..=1 << 20).contains(&block_size) || !block_size.is_power_of_two() {
            return Err(DifferenceError::Unfit);
        }
        image.seek(SeekFrom::Start(0))?;
        let data = data_blocks(BufReader::new(&mut *image)).map_err(|_| DifferenceError::Unfit)?;
        let data = data.into_iter().map(|(offset, length, packed)| {
            let kind = if packed { Kind::Data } else { Kind::Raw };
            Block { offset, length, kind }
        });
        let mut blocks: Vec<Block> = data.filter(|block| block.length > 0).collect();
        // Inodes, then directories; what follows is small.
        let (inodes, end) = (long(64), long(40));
        meta_blocks(image, inodes, end, &mut blocks)?;
        blocks.sort_unstable();
        blocks.dedup();
        // Blocks do not overlap in an image that a publisher packed.
        let apart = blocks.windows(2).all(|two| two[0].offset + u64::from(two[0].length) <= two[1].offset);
        match apart {
            true => Ok(Self { compressor, block_size, blocks }),
            false => Err(DifferenceError::Unfit),
        }
    }
}

/// Finds blocks of metadata as long as there is one after the other.
fn meta_blocks(
    image: &mut (impl Read + Seek),
    from: u64,
    end: u64,
    blocks: &mut Vec<Block>,
) -> Result<(), DifferenceError> {
    let mut at = from;
    while at + 2 < end {
        let mut head = [0; 2];
        image.seek(SeekFrom::Start(at))?;
        image.read_exact(&mut head).map_err(|_| DifferenceError::Unfit)?;
        let head = u16::from_le_bytes(head);
        let (length, is_packed) = (head & 0x7fff, head & 0x8000 == 0);
        if length == 0 || usize::from(length) > META || at + 2 + u64::from(length) > end {
            break;
        }
        if is_packed {
            blocks.push(Block { offset: at + 2, length: u32::from(length), kind: Kind::Meta });
        }
        at += 2 + u64::from(length);
    }
    Ok(())
}
