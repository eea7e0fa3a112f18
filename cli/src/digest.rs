//! Digests of files.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA3_384};
use schema::digest::Sha3_384;

/// Reads to the end and hashes the bytes.
pub(crate) fn file_digest(mut source: impl Read) -> io::Result<Sha3_384> {
    let mut hash = Context::new(&SHA3_384);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(digest_of(hash))
}

/// The digest from a SHA3-384 context.
pub(crate) fn digest_of(hash: Context) -> Sha3_384 {
    let mut digest = [0; Sha3_384::LEN];
    digest.copy_from_slice(hash.finish().as_ref());
    Sha3_384(digest)
}
