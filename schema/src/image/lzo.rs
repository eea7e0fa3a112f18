//! LZO1X blocks as squashfs images contain them (`lzo1x_decompress_safe` in the kernel): no header, no checksum.
//!
//! A block is a series of instructions: literals, which are copied from the input, and matches, which are copied from
//! earlier output. The meaning of an instruction depends on the number of literals before it. The decoder never
//! writes beyond the caller's limit and never reads beyond the input.

/// The block is damaged, or longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the LZO data is damaged")]
pub struct LzoError;

/// The unread input of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<usize, LzoError> {
        let (first, rest) = self.0.split_first().ok_or(LzoError)?;
        self.0 = rest;
        Ok(usize::from(*first))
    }

    /// Two bytes, the lower first.
    fn pair(&mut self) -> Result<usize, LzoError> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    /// A length that its instruction holds in `bits` bits, or, if these are zero, in the bytes that follow.
    fn length(&mut self, instruction: usize, bits: u32) -> Result<usize, LzoError> {
        let most = (1 << bits) - 1;
        if instruction & most != 0 {
            return Ok(instruction & most);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + last),
            }
        }
    }
}

/// The output of a block.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    most: usize,
}

impl Output<'_> {
    fn room(&self, count: usize) -> Result<(), LzoError> {
        let left = self.most - (self.bytes.len() - self.start);
        if count > left { Err(LzoError) } else { Ok(()) }
    }

    fn literals(&mut self, input: &mut Input<'_>, count: usize) -> Result<(), LzoError> {
        self.room(count)?;
        let (literals, rest) = input.0.split_at_checked(count).ok_or(LzoError)?;
        self.bytes.extend_from_slice(literals);
        input.0 = rest;
        Ok(())
    }

    /// Copies from `distance` bytes back; source and target may overlap.
    fn again(&mut self, distance: usize, count: usize) -> Result<(), LzoError> {
        self.room(count)?;
        let from =
            self.bytes.len().checked_sub(distance).filter(|from| *from >= self.start).ok_or(LzoError)?;
        for at in from..from + count {
            let byte = self.bytes[at];
            self.bytes.push(byte);
        }
        Ok(())
    }
}

/// Appends the decompressed block to `out`, at most `most` bytes.
///
/// # Errors
/// The block is damaged, continues after its end marker, or is too long.
pub fn decompress(block: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), LzoError> {
    let mut input = Input(block);
    let start = out.len();
    let mut output = Output { bytes: out, start, most };
    // How many literals came right before the next instruction: 0, 1 to 3, or 4 for any more.
    let mut before = 0;
    if let Some(first) = block.first().filter(|first| **first > 17) {
        input.byte()?;
        let count = usize::from(*first) - 17;
        output.literals(&mut input, count)?;
        before = count.min(4);
    }
    loop {
        let instruction = input.byte()?;
        let (distance, count, trailing) = match instruction {
            0..16 if before == 0 => {
                let count = input.length(instruction, 4)? + 3;
                output.literals(&mut input, count)?;
                before = 4;
                continue;
            }
            0..16 => {
                let near = (instruction >> 2) + (input.byte()? << 2);
                if before == 4 { (near + 2049, 3, instruction) } else { (near + 1, 2, instruction) }
            }
            16..32 => {
                let count = input.length(instruction, 3)? + 2;
                let low = input.pair()?;
                let distance = ((instruction & 8) << 11) + (low >> 2);
                if distance == 0 {
                    let is_end = count == 3 && input.0.is_empty();
                    return if is_end { Ok(()) } else { Err(LzoError) };
                }
                (distance + 16384, count, low)
            }
            32..64 => {
                let count = input.length(instruction, 5)? + 2;
                let low = input.pair()?;
                ((low >> 2) + 1, count, low)
            }
            _ => {
                let near = (instruction >> 2 & 7) + (input.byte()? << 3);
                (near + 1, (instruction >> 5) + 1, instruction)
            }
        };
        output.again(distance, count)?;
        before = trailing & 3;
        output.literals(&mut input, before)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(block: &[u8], most: usize) -> Result<Vec<u8>, LzoError> {
        let mut out = b"before".to_vec();
        decompress(block, &mut out, most).map(|()| out.split_off(6))
    }

    #[test]
    fn every_instruction() {
        let end = [0x11, 0, 0];
        let block = |parts: &[&[u8]]| [&parts.concat()[..], &end].concat();
        // Literals alone, in both forms.
        assert_eq!(of(&block(&[&[17 + 5], b"hello"]), 5), Ok(b"hello".to_vec()));
        assert_eq!(of(&block(&[&[2], b"hello"]), 5), Ok(b"hello".to_vec()));
        let long = [b'x'; 3 + 15 + 255 + 7];
        assert_eq!(of(&block(&[&[0, 0, 7], &long]), long.len()), Ok(long.to_vec()));
        // An overlapping match, then one literal, then two bytes from nearby.
        let nearby = block(&[&[17 + 4], b"abcd", &[0b1110_1101, 0], b"e", &[0, 1]]);
        assert_eq!(of(&nearby, 99), Ok(b"abcdabcdabcdeab".to_vec()));
        // A length of several bytes at a distance of one.
        assert_eq!(
            of(&block(&[&[17 + 4], b"aaaa", &[32, 0, 1, 0, 0]]), 999),
            Ok(vec![b'a'; 4 + 2 + 31 + 255 + 1])
        );
    }

    #[test]
    fn nothing_is_written_beyond_the_limit_or_read_beyond_the_input() {
        let block = [&[17 + 4][..], b"aaaa", &[32, 0, 1, 0, 0, 0x11, 0, 0]].concat();
        let whole = of(&block, 293).expect("sound");
        for most in 0..whole.len() {
            assert_eq!(of(&block, most), Err(LzoError), "{most}");
        }
        for length in 0..block.len() {
            assert_eq!(of(&block[..length], 293), Err(LzoError), "{length}");
        }
        assert_eq!(of(&[&block[..], &[0]].concat(), 293), Err(LzoError), "bytes after the end");
        // A match from before the start of this block.
        assert_eq!(of(&[17 + 4, b'a', b'b', b'c', b'd', 0b1111_1100, 0, 0x11, 0, 0], 99), Err(LzoError));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_stay_within_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            let _ = decompress(&bytes, &mut out, 1000);
            prop_assert!(out.len() <= 1000);
        }
    }
}
