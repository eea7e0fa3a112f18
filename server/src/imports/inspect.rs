//! Looks into a snap or component, a squashfs image, for the file that says what it is.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use backhand::{FilesystemReader, InnerNode};
use schema::bundle::MAX_YAML;

use super::error::InspectError;

/// Where a squashfs superblock says how it is compressed, and what LZO is called there.
const COMPRESSOR: std::ops::Range<usize> = 20..22;
const LZO: [u8; 2] = [3, 0];
const MAGIC: &[u8; 4] = b"hsqs";

/// The text of a small file in an image, such as `/meta/snap.yaml`. Blocks.
pub(super) fn read(mut image: File, path: &str) -> Result<String, InspectError> {
    let broken = |error: std::io::Error| InspectError::Squashfs(error.into());
    let mut superblock = [0; 22];
    image.read_exact(&mut superblock).map_err(broken)?;
    if superblock.starts_with(MAGIC) && superblock[COMPRESSOR] == LZO {
        return Err(InspectError::Lzo);
    }
    image.seek(SeekFrom::Start(0)).map_err(broken)?;
    let system = FilesystemReader::from_reader(BufReader::new(image))
        .map_err(|error| InspectError::Squashfs(error.into()))?;
    let node = system.files().find(|node| node.fullpath == Path::new(path)).ok_or(InspectError::Missing)?;
    let InnerNode::File(file) = &node.inner else { return Err(InspectError::Missing) };
    let reader = system.file(file).reader_checked().map_err(|error| InspectError::Squashfs(error.into()))?;
    let mut content = Vec::new();
    reader.take(MAX_YAML + 1).read_to_end(&mut content).map_err(broken)?;
    if content.len() as u64 > MAX_YAML {
        return Err(InspectError::TooLarge(MAX_YAML));
    }
    String::from_utf8(content).map_err(|_| InspectError::NotText)
}
