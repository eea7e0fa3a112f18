//! The source of an opened blob's bytes.

use std::fs::File;
use std::io::{self, Read};

use super::Object;

/// A blob that was opened: a file, or an object of a bucket.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file.
    File(File),
    /// An object.
    Object(Object),
}

impl Source {
    /// Its length, in bytes.
    ///
    /// # Errors
    /// The file system failed.
    pub(crate) fn size(&self) -> io::Result<u64> {
        match self {
            Source::File(file) => file.metadata().map(|about| about.len()),
            Source::Object(object) => Ok(object.size()),
        }
    }
}

impl Read for Source {
    /// Blocks, also for an object.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(into),
            Source::Object(object) => object.read(into),
        }
    }
}
