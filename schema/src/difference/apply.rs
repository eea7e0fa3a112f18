//! Puts the new file together.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use super::codec::{Codec, META};
use super::near::{self, Run};
use super::parallel::in_parallel;
use super::recipe::{Kind, Recipe, Step};
use super::{DifferenceError, Head, MOST, WINDOW, WORD};

/// Bytes of the first lines.
const LONGEST: u64 = 4096;
/// Bytes of the largest recipe.
const RECIPE: u64 = 64 << 20;
/// How many blocks are packed at once.
const BATCH: usize = 64;

/// Reads the beginning of a difference: between which files it is.
///
/// # Errors
/// [`DifferenceError::Kind`], or the source fails.
pub fn read_head(difference: &mut impl BufRead) -> Result<Head, DifferenceError> {
    let mut start = Vec::new();
    for _ in 0..2 {
        difference.take(LONGEST).read_until(b'\n', &mut start)?;
    }
    let text = start.strip_prefix(WORD.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
    let head: Head =
        serde_json::from_slice(text.ok_or(DifferenceError::Kind)?).map_err(|_| DifferenceError::Kind)?;
    let sound = head.format == 1 && (4096..=1 << 20).contains(&head.block_size);
    if sound { Ok(head) } else { Err(DifferenceError::Kind) }
}

/// Writes the new file, of which nothing counts before its digest was compared. `difference` is behind its head.
///
/// # Errors
/// [`DifferenceError::Damaged`], or a file fails.
pub fn apply(
    head: &Head,
    mut difference: impl BufRead,
    base: &mut (impl Read + Seek),
    out: &mut impl Write,
) -> Result<(), DifferenceError> {
    let recipe = Recipe::decode(&frame(&mut difference, RECIPE)?)?;
    let codec = Codec::of(head.compressor);
    let dictionary = dictionary(&recipe, codec, head.block_size, base)?;
    let runs = near::decode(&frame(&mut difference, RECIPE)?, dictionary.len())?;
    let plain = frame(&mut difference, MOST)?;
    let mut differing = zstd::stream::Decoder::with_buffer(difference)?;
    differing.window_log_max(WINDOW)?;
    let mut fresh =
        Fresh { runs: runs.into_iter(), run: Run::default(), plain: &plain, differing, old: &dictionary };

    let mut left = head.target_size;
    let mut batch = Vec::new();
    for step in &recipe.steps {
        match *step {
            Step::Copy { offset, length } => {
                flush(codec, head.block_size, &mut batch, &mut left, out)?;
                left = left.checked_sub(length).ok_or(DifferenceError::Damaged)?;
                base.seek(SeekFrom::Start(offset))?;
                let copied = std::io::copy(&mut base.by_ref().take(length), out)?;
                if copied != length {
                    return Err(DifferenceError::Damaged);
                }
            }
            Step::Fresh { kind, length } => {
                // No part of a file is that long, and the rest is what the target has room for.
                if kind == Kind::Raw && u64::from(length) > left
                    || kind != Kind::Raw && length > head.block_size
                {
                    return Err(DifferenceError::Damaged);
                }
                let mut bytes = vec![0; length as usize];
                fresh.fill(&mut bytes)?;
                batch.push((kind, bytes));
                if batch.len() >= BATCH || kind == Kind::Raw && length > head.block_size {
                    flush(codec, head.block_size, &mut batch, &mut left, out)?;
                }
            }
        }
    }
    flush(codec, head.block_size, &mut batch, &mut left, out)?;
    if left == 0 && fresh.is_over()? { Ok(()) } else { Err(DifferenceError::Damaged) }
}

/// A whole frame of at most so many bytes.
fn frame(difference: &mut impl BufRead, most: u64) -> Result<Vec<u8>, DifferenceError> {
    let mut bytes = Vec::new();
    let mut frame = zstd::stream::Decoder::with_buffer(difference)?.single_frame();
    frame.window_log_max(WINDOW)?;
    frame.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(DifferenceError::Damaged) } else { Ok(bytes) }
}

/// The new bytes, one after the other.
struct Fresh<'a, R> {
    runs: std::vec::IntoIter<Run>,
    /// What is left of the current run.
    run: Run,
    plain: &'a [u8],
    differing: R,
    old: &'a [u8],
}

impl<R: Read> Fresh<'_, R> {
    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), DifferenceError> {
        while !into.is_empty() {
            let (plain, near) = (self.run.plain.min(into.len()), self.run.near.min(into.len()));
            let done = if plain > 0 {
                let (bytes, rest) = self.plain.split_at_checked(plain).ok_or(DifferenceError::Damaged)?;
                into[..plain].copy_from_slice(bytes);
                self.plain = rest;
                self.run.plain -= plain;
                plain
            } else if near > 0 {
                let bytes = &mut into[..near];
                self.differing.read_exact(bytes).map_err(|_| DifferenceError::Damaged)?;
                let old =
                    self.old.get(self.run.from..self.run.from + near).ok_or(DifferenceError::Damaged)?;
                bytes.iter_mut().zip(old).for_each(|(byte, old)| *byte = byte.wrapping_add(*old));
                self.run.near -= near;
                self.run.from += near;
                near
            } else {
                self.run = self.runs.next().ok_or(DifferenceError::Damaged)?;
                0
            };
            into = &mut into[done..];
        }
        Ok(())
    }

    /// Whether nothing is left.
    fn is_over(&mut self) -> std::io::Result<bool> {
        let Run { plain, near, .. } = self.run;
        let is_read = (plain, near) == (0, 0) && self.runs.len() == 0 && self.plain.is_empty();
        Ok(is_read && self.differing.read(&mut [0])? == 0)
    }
}

/// What the old image holds in these blocks.
pub(super) fn dictionary(
    recipe: &Recipe,
    codec: Codec,
    block_size: u32,
    base: &mut (impl Read + Seek),
) -> Result<Vec<u8>, DifferenceError> {
    let mut all = Vec::new();
    for source in &recipe.sources {
        if source.length > block_size.max(1 << 20) {
            return Err(DifferenceError::Damaged);
        }
        let mut bytes = vec![0; source.length as usize];
        base.seek(SeekFrom::Start(source.offset))?;
        base.read_exact(&mut bytes).map_err(|_| DifferenceError::Damaged)?;
        let most = if source.kind == Kind::Meta { META } else { block_size as usize };
        match source.kind {
            Kind::Raw => all.extend(bytes),
            _ => all.extend(codec.unpack(&bytes, most).ok_or(DifferenceError::Damaged)?),
        }
        if all.len() as u64 > MOST {
            return Err(DifferenceError::Damaged);
        }
    }
    Ok(all)
}

/// Packs blocks on all processors, and writes them in order.
fn flush(
    codec: Codec,
    block_size: u32,
    batch: &mut Vec<(Kind, Vec<u8>)>,
    left: &mut u64,
    out: &mut impl Write,
) -> Result<(), DifferenceError> {
    for packed in in_parallel(batch, |(kind, bytes)| pack(codec, *kind, bytes, block_size)) {
        let packed = packed.ok_or(DifferenceError::Damaged)?;
        *left = left.checked_sub(packed.len() as u64).ok_or(DifferenceError::Damaged)?;
        out.write_all(&packed)?;
    }
    batch.clear();
    Ok(())
}

/// A block as an image keeps it.
pub(super) fn pack(codec: Codec, kind: Kind, bytes: &[u8], block_size: u32) -> Option<Vec<u8>> {
    match kind {
        Kind::Raw => Some(bytes.to_vec()),
        Kind::Data => codec.pack(bytes, block_size),
        Kind::Meta => codec.pack(bytes, u32::try_from(META).ok()?),
    }
}
