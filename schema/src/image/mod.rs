//! Reads the metadata file of a snap or component from its squashfs image.
//!
//! Images may use any compression that devices mount: gzip, LZO, xz, LZ4 or zstd. No kernel mounts the older LZMA.

mod lzo;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use backhand::compression::{CompressionAction, Compressor, DefaultCompressor};
use backhand::kind::Kind;
use backhand::{
    BackhandError, FilesystemCompressor, FilesystemReader, InnerNode, SquashfsFileReader, SuperBlock,
};

use crate::bundle::{ComponentYaml, MAX_YAML, SnapYaml, YamlError};

pub use lzo::{LzoError, decompress as decompress_lzo};

/// The compression field of a squashfs superblock, and its value for LZMA.
const COMPRESSOR: std::ops::Range<usize> = 20..22;
const LZMA: [u8; 2] = [2, 0];
const MAGIC: &[u8; 4] = b"hsqs";
/// The largest block of an image.
const MAX_BLOCK: usize = 1 << 20;

/// Why the metadata file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A compression that no device supports.
    #[error(
        "it is compressed with LZMA, which no device can mount; ask the publisher for a build with another compression"
    )]
    Lzma,
    /// The file is not a squashfs image, or a damaged one.
    #[error("it is not a readable squashfs image")]
    Squashfs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The metadata file is missing.
    #[error("it is not there")]
    Missing,
    /// The metadata file is too large.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The metadata file is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// The metadata file is invalid.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The parsed `snap.yaml` of a snap, and its text. Blocks.
///
/// # Errors
/// The image cannot be mounted by devices, or lacks required fields.
pub fn snap_yaml(image: impl Read + Seek + Send) -> Result<(String, SnapYaml), ImageError> {
    let text = read(image, SNAP_YAML)?;
    let parsed = SnapYaml::parse(&text)?;
    Ok((text, parsed))
}

/// The parsed `component.yaml` of a component. Blocks.
///
/// # Errors
/// As [`snap_yaml`].
pub fn component_yaml(image: impl Read + Seek + Send) -> Result<ComponentYaml, ImageError> {
    Ok(ComponentYaml::parse(&read(image, COMPONENT_YAML)?)?)
}

/// The path of a snap's metadata file.
pub const SNAP_YAML: &str = "/meta/snap.yaml";
/// The path of a component's metadata file.
pub const COMPONENT_YAML: &str = "/meta/component.yaml";

/// The blocks of all files of an image, in no particular order: offset, bytes, and whether the block is packed.
///
/// # Errors
/// As [`snap_yaml`].
pub fn data_blocks(image: impl BufRead + Seek + Send) -> Result<Vec<(u64, u32, bool)>, ImageError> {
    let kind = Kind::new_v4(&WithLzo);
    let system = FilesystemReader::from_reader_with_offset_and_kind(image, 0, kind)
        .map_err(|error| ImageError::Squashfs(error.into()))?;
    let mut blocks = Vec::new();
    for node in system.files() {
        let InnerNode::File(file) = &node.inner else { continue };
        let (mut at, sizes) = match file {
            SquashfsFileReader::Basic(file) => (u64::from(file.blocks_start), &file.block_sizes),
            SquashfsFileReader::Extended(file) => (file.blocks_start, &file.block_sizes),
        };
        for size in sizes {
            blocks.push((at, size.size(), !size.uncompressed()));
            at += u64::from(size.size());
        }
    }
    let fragments = system.fragments.iter().flatten();
    blocks.extend(fragments.map(|one| (one.start, one.size.size(), !one.size.uncompressed())));
    Ok(blocks)
}

/// The text of a small file in an image.
fn read(mut image: impl Read + Seek + Send, path: &str) -> Result<String, ImageError> {
    let broken = |error: std::io::Error| ImageError::Squashfs(error.into());
    let mut superblock = [0; 22];
    image.read_exact(&mut superblock).map_err(broken)?;
    if superblock.starts_with(MAGIC) && superblock[COMPRESSOR] == LZMA {
        return Err(ImageError::Lzma);
    }
    image.seek(SeekFrom::Start(0)).map_err(broken)?;
    let unreadable = |error: BackhandError| ImageError::Squashfs(error.into());
    let kind = Kind::new_v4(&WithLzo);
    let system = FilesystemReader::from_reader_with_offset_and_kind(BufReader::new(image), 0, kind)
        .map_err(unreadable)?;
    let node = system.files().find(|node| node.fullpath == Path::new(path)).ok_or(ImageError::Missing)?;
    let InnerNode::File(file) = &node.inner else { return Err(ImageError::Missing) };
    let reader = system.file(file).reader_checked().map_err(unreadable)?;
    let mut content = Vec::new();
    reader.take(MAX_YAML + 1).read_to_end(&mut content).map_err(broken)?;
    if content.len() as u64 > MAX_YAML {
        return Err(ImageError::TooLarge(MAX_YAML));
    }
    String::from_utf8(content).map_err(|_| ImageError::NotText)
}

/// The library's compressions, plus LZO, for which it would need a library under another licence.
struct WithLzo;

impl CompressionAction for WithLzo {
    type Error = BackhandError;
    type Compressor = Compressor;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;

    fn decompress(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        compressor: Compressor,
    ) -> Result<(), BackhandError> {
        match compressor {
            Compressor::Lzo => {
                lzo::decompress(bytes, out, MAX_BLOCK).map_err(|_| BackhandError::CorruptedOrInvalidSquashfs)
            }
            other => DefaultCompressor.decompress(bytes, out, other),
        }
    }

    fn compress(
        &self,
        bytes: &[u8],
        compressor: FilesystemCompressor,
        block_size: u32,
    ) -> Result<Vec<u8>, BackhandError> {
        DefaultCompressor.compress(bytes, compressor, block_size)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    /// An image as `snap pack` makes it.
    fn pack(compression: &str) -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let meta = folder.path().join("root/meta");
        fs::create_dir_all(&meta).expect("a folder");
        // Enough to be compressed, in several blocks.
        let noise: String = (0..60_000u32).map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761))).collect();
        fs::write(meta.join("snap.yaml"), format!("name: hello\nversion: '1'\ndescription: |\n  {noise}\n"))
            .expect("a file");
        fs::write(folder.path().join("root/payload"), noise.repeat(3)).expect("a file");
        let done = Command::new("mksquashfs")
            .args(["root", "image", "-noappend", "-quiet", "-no-progress", "-all-root", "-comp", compression])
            .current_dir(folder.path())
            .output()
            .expect("mksquashfs is installed");
        assert!(done.status.success(), "{compression}: {}", String::from_utf8_lossy(&done.stderr));
        File::open(folder.path().join("image")).expect("an image")
    }

    #[test]
    fn every_compression_that_devices_mount_is_read() {
        for compression in ["gzip", "lzo", "xz", "lz4", "zstd"] {
            let (text, yaml) = snap_yaml(pack(compression)).expect(compression);
            assert_eq!((yaml.name.as_str(), text.len() > 400_000), ("hello", true), "{compression}");
        }
        assert!(matches!(component_yaml(pack("lzo")), Err(ImageError::Missing)));
    }

    #[test]
    fn what_no_device_mounts_is_refused_in_words() {
        let mut bytes = Vec::new();
        pack("gzip").read_to_end(&mut bytes).expect("an image");
        bytes[20] = 2;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).and_then(|()| file.seek(SeekFrom::Start(0))).expect("written");
        assert!(
            snap_yaml(file).expect_err("LZMA").to_string().contains("compressed with LZMA, which no device")
        );
    }
}
