//! Makes a difference.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom, Write};

use super::apply::{dictionary, pack};
use super::codec::{Codec, META};
use super::layout::{Block, Layout};
use super::near;
use super::parallel::in_parallel;
use super::recipe::{Kind, Recipe, Source, Step};
use super::{DifferenceError, Head, MOST, WINDOW, WORD};
use crate::digest::Sha3_384;

/// The level at which what is new is compressed.
const LEVEL: i32 = 17;
/// How many blocks are tried at once.
const BATCH: usize = 64;
/// The longest run of bytes outside of blocks that is one step.
const RUN: u64 = 1 << 20;

/// A stretch of an image: a packed block, or bytes between two.
#[derive(Clone, Copy)]
struct Piece {
    offset: u64,
    length: u32,
    kind: Kind,
}

/// Writes the difference that turns `base` into `target`, whose digests these are. Whoever means to use it applies it first.
///
/// # Errors
/// [`DifferenceError::Unfit`] if the files are not images of one kind, or too large; or a file fails.
pub fn make(
    (base, base_digest): (&mut (impl Read + Seek + Send), &Sha3_384),
    (target, target_digest): (&mut (impl Read + Seek + Send), &Sha3_384),
    out: &mut impl Write,
) -> Result<(), DifferenceError> {
    let (old, new) = (Layout::read(base)?, Layout::read(target)?);
    if (old.compressor, old.block_size) != (new.compressor, new.block_size) {
        return Err(DifferenceError::Unfit);
    }
    let codec = Codec::of(new.compressor);
    let (base_size, target_size) = (base.seek(SeekFrom::End(0))?, target.seek(SeekFrom::End(0))?);
    let (old_pieces, new_pieces) = (pieces(&old.blocks, base_size), pieces(&new.blocks, target_size));

    // What is the same is copied.
    let mut at: HashMap<[u8; 16], Piece> = HashMap::new();
    for piece in &old_pieces {
        at.insert(name(&read(base, piece)?), *piece);
    }
    let mut copied: HashSet<u64> = HashSet::new();
    let mut recipe = Recipe::default();
    let mut fresh: Vec<u8> = Vec::new();
    for batch in new_pieces.chunks(BATCH) {
        let mut news = Vec::new();
        for piece in batch {
            let bytes = read(target, piece)?;
            let known = at.get(&name(&bytes)).filter(|known| known.length == piece.length).copied();
            news.push((*piece, bytes, known));
        }
        let tried = in_parallel(&news, |(piece, bytes, known)| match known {
            Some(_) => None,
            None => unpacked(codec, piece.kind, bytes, new.block_size),
        });
        for ((piece, bytes, known), tried) in news.into_iter().zip(tried) {
            match (known, tried) {
                (Some(known), _) => {
                    copied.insert(known.offset);
                    push_copy(&mut recipe.steps, known.offset, u64::from(known.length));
                }
                (None, Some(content)) => {
                    let length = u32::try_from(content.len()).map_err(|_| DifferenceError::Unfit)?;
                    recipe.steps.push(Step::Fresh { kind: piece.kind, length });
                    fresh.extend(content);
                }
                (None, None) => {
                    recipe.steps.push(Step::Fresh { kind: Kind::Raw, length: piece.length });
                    fresh.extend(bytes);
                }
            }
            if fresh.len() as u64 > MOST {
                return Err(DifferenceError::Unfit);
            }
        }
    }

    // What is not in the new image, and may be like what is new.
    for piece in old_pieces.iter().filter(|piece| !copied.contains(&piece.offset)) {
        let most = if piece.kind == Kind::Meta { META } else { old.block_size as usize };
        let opens = piece.kind != Kind::Raw && codec.unpack(&read(base, piece)?, most).is_some();
        let kind = if opens { piece.kind } else { Kind::Raw };
        recipe.sources.push(Source { offset: piece.offset, length: piece.length, kind });
    }
    let dictionary = dictionary(&recipe, codec, old.block_size, base).map_err(|error| match error {
        DifferenceError::Damaged => DifferenceError::Unfit,
        other => other,
    })?;

    let head = Head {
        format: 1,
        base: base_digest.to_hex(),
        base_size,
        target: target_digest.to_hex(),
        target_size,
        compressor: new.compressor,
        block_size: new.block_size,
    };
    writeln!(out, "{WORD}\n{}", serde_json::to_string(&head).map_err(std::io::Error::from)?)?;
    out.write_all(&zstd::bulk::compress(&recipe.encode(), LEVEL)?)?;
    let runs = near::runs(&dictionary, &fresh);
    out.write_all(&zstd::bulk::compress(&near::encode(&runs), LEVEL)?)?;
    let mut plain = frame(out)?;
    let mut at = 0;
    for run in &runs {
        plain.write_all(&fresh[at..at + run.plain])?;
        at += run.plain + run.near;
    }
    let out = plain.finish()?;
    let (mut differing, mut at) = (frame(out)?, 0);
    for run in &runs {
        at += run.plain;
        let pairs = fresh[at..at + run.near].iter().zip(&dictionary[run.from..run.from + run.near]);
        differing.write_all(&pairs.map(|(new, old)| new.wrapping_sub(*old)).collect::<Vec<u8>>())?;
        at += run.near;
    }
    differing.finish()?;
    Ok(())
}

fn frame<W: Write>(out: W) -> std::io::Result<zstd::stream::Encoder<'static, W>> {
    let mut encoder = zstd::stream::Encoder::new(out, LEVEL)?;
    encoder.window_log(WINDOW)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// What a block holds, if packing it again gives the same bytes.
fn unpacked(codec: Codec, kind: Kind, bytes: &[u8], block_size: u32) -> Option<Vec<u8>> {
    if kind == Kind::Raw {
        return None;
    }
    let most = if kind == Kind::Meta { META } else { block_size as usize };
    let content = codec.unpack(bytes, most)?;
    (pack(codec, kind, &content, block_size)? == bytes).then_some(content)
}

/// An image in pieces, without gaps.
fn pieces(blocks: &[Block], size: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let gap = |from: u64, to: u64, pieces: &mut Vec<Piece>| {
        let mut from = from;
        while from < to {
            let length = u32::try_from((to - from).min(RUN)).unwrap_or_default();
            pieces.push(Piece { offset: from, length, kind: Kind::Raw });
            from += u64::from(length);
        }
    };
    for block in blocks.iter().filter(|block| block.offset + u64::from(block.length) <= size) {
        gap(at, block.offset, &mut pieces);
        pieces.push(Piece { offset: block.offset, length: block.length, kind: block.kind });
        at = block.offset + u64::from(block.length);
    }
    gap(at, size, &mut pieces);
    pieces
}

fn push_copy(steps: &mut Vec<Step>, offset: u64, length: u64) {
    match steps.last_mut() {
        Some(Step::Copy { offset: before, length: long }) if *before + *long == offset => *long += length,
        _ => steps.push(Step::Copy { offset, length }),
    }
}

fn read(file: &mut (impl Read + Seek), piece: &Piece) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; piece.length as usize];
    file.seek(SeekFrom::Start(piece.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What tells pieces apart.
fn name(bytes: &[u8]) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()[..16]);
    name
}
