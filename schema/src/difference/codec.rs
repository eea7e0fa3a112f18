//! Unpacks and packs blocks of an image. Packing aims at the very bytes that `mksquashfs` writes; whoever makes a difference
//! sees for each block whether it hits them.

use flate2::Crc;
use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

/// The xz preset of `mksquashfs`.
const PRESET: u32 = 6;
/// The zstd level of `mksquashfs`.
const LEVEL: i32 = 15;
/// Memory for unpacking a block.
const MEMORY: u64 = 64 << 20;
/// Bytes of a block of metadata.
pub(super) const META: usize = 8192;

/// How blocks are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Xz,
    Zstd,
    /// One whose packing cannot be repeated here: blocks travel as they are.
    Other,
}

impl Codec {
    pub(super) fn of(compressor: u16) -> Self {
        match compressor {
            4 => Self::Xz,
            6 => Self::Zstd,
            _ => Self::Other,
        }
    }

    /// A block of at most `most` bytes; `None` if it is none.
    pub(super) fn unpack(self, packed: &[u8], most: usize) -> Option<Vec<u8>> {
        match self {
            Self::Xz => {
                let mut out = Vec::with_capacity(most);
                let mut stream = Stream::new_stream_decoder(MEMORY, 0).ok()?;
                let done = stream.process_vec(packed, &mut out, Action::Finish).ok()?;
                let all = stream.total_in() == packed.len() as u64;
                (done == Status::StreamEnd && all).then_some(out)
            }
            Self::Zstd => zstd::bulk::decompress(packed, most).ok(),
            Self::Other => None,
        }
    }

    /// The packed block; `dictionary` is the size of blocks of its kind.
    pub(super) fn pack(self, bytes: &[u8], dictionary: u32) -> Option<Vec<u8>> {
        match self {
            Self::Xz => xz(bytes, dictionary),
            Self::Zstd => zstd::bulk::compress(bytes, LEVEL).ok(),
            Self::Other => None,
        }
    }
}

/// An xz stream of one block, with both sizes in the header of the block, as `lzma_stream_buffer_encode` writes it. The
/// library's streaming encoder leaves them out.
fn xz(bytes: &[u8], dictionary: u32) -> Option<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(PRESET).ok()?;
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut encoder = Stream::new_raw_encoder(&filters).ok()?;
    let bound = bytes.len() + bytes.len().div_ceil(1 << 16) * 3 + 1;
    let mut body = Vec::with_capacity(bound + 64);
    if encoder.process_vec(bytes, &mut body, Action::Finish).ok()? != Status::StreamEnd {
        return None;
    }
    // The header has room for the largest size that the body might have had.
    let header_size = (2 + vli(bound).len() + vli(bytes.len()).len() + 3).next_multiple_of(4) + 4;
    let power = dictionary.checked_ilog2().filter(|_| dictionary.is_power_of_two())?;
    let size_byte = u8::try_from(header_size / 4 - 1).ok()?;
    let dictionary_byte = u8::try_from(power.checked_sub(12)? * 2).ok()?;
    let mut header = vec![size_byte, 0xc0];
    header.extend(vli(body.len()));
    header.extend(vli(bytes.len()));
    header.extend([0x21, 1, dictionary_byte]);
    header.resize(header_size - 4, 0);
    header.extend(crc(&header));

    let flags = [0, 1];
    let mut out = vec![0xfd, b'7', b'z', b'X', b'Z', 0];
    out.extend(flags);
    out.extend(crc(&flags));
    out.extend(&header);
    out.extend(&body);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(crc(bytes));

    let mut index = vec![0, 1];
    index.extend(vli(header_size + body.len() + 4));
    index.extend(vli(bytes.len()));
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc(&index));
    let backward = u32::try_from(index.len() / 4 - 1).ok()?;
    let mut footer = backward.to_le_bytes().to_vec();
    footer.extend(flags);
    out.extend(&index);
    out.extend(crc(&footer));
    out.extend(&footer);
    out.extend(b"YZ");
    Some(out)
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// A number in groups of seven bits, the lowest first.
fn vli(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}
