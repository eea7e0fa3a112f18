//! Snap files and components: real squashfs images with `meta/snap.yaml` and a payload, the same bytes each time.

use std::io::Cursor;

use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};
use schema::digest::Sha3_384;

/// Modification time of everything in an image: 2024-01-02T03:04:05Z.
const TIME: u32 = 1_704_164_645;

/// The bytes of a snap or component file.
#[derive(Clone)]
pub struct Image {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Sha3_384,
}

impl Image {
    /// Makes an image of these files, given by path and content.
    #[must_use]
    pub fn pack(files: &[(&str, &[u8])]) -> Self {
        let mut image = FilesystemWriter::default();
        image.set_time(TIME);
        image.set_compressor(
            FilesystemCompressor::new(Compressor::Gzip, None).expect("gzip needs no options"),
        );
        let node = |mode| NodeHeader { permissions: mode, uid: 0, gid: 0, mtime: TIME };
        image.set_root_mode(0o755);
        for (path, content) in files {
            if let Some((folder, _)) = path.rsplit_once('/') {
                image.push_dir_all(folder, node(0o755)).expect("a folder of the image");
            }
            let mode = if path.starts_with("bin/") { 0o755 } else { 0o644 };
            image.push_file(Cursor::new(content.to_vec()), path, node(mode)).expect("a file of the image");
        }
        let mut out = Cursor::new(Vec::new());
        image.write(&mut out).expect("an image in memory can be written");
        Self::of(out.into_inner())
    }

    /// Takes any bytes for an image.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { digest: Sha3_384::of(&bytes), bytes }
    }
}

/// `length` bytes that do not compress, decided by `seed`.
#[must_use]
pub fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state =
        Sha3_384::of(seed.as_bytes()).0[..8].iter().fold(1u64, |sum, byte| sum << 8 | u64::from(*byte)) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use backhand::{FilesystemReader, InnerNode};

    use super::*;

    #[test]
    fn an_image_holds_its_files_and_is_the_same_each_time() {
        let payload = noise("payload", 300_000);
        let files: [(&str, &[u8]); 2] = [("meta/snap.yaml", b"name: hello\n"), ("payload", &payload)];
        let image = Image::pack(&files);
        assert_eq!(image.bytes, Image::pack(&files).bytes);
        assert!(image.bytes.len() > payload.len(), "noise does not compress");

        let reader = FilesystemReader::from_reader(Cursor::new(image.bytes)).unwrap();
        let mut yaml = String::new();
        for node in reader.files() {
            if let InnerNode::File(file) = &node.inner
                && node.fullpath.ends_with("meta/snap.yaml")
            {
                reader.file(file).reader().read_to_string(&mut yaml).unwrap();
            }
        }
        assert_eq!(yaml, "name: hello\n");
    }
}
