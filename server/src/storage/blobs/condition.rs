//! Whether a stored file is what its name says.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use schema::digest::Sha3_384;

use super::hashing::digest_of;
use super::pace::Pace;

/// What a look at a stored file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Its content is what its name says.
    Whole,
    /// It is not, or nobody can tell.
    Damaged(Harm),
}

/// What is wrong with a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Nothing has its name.
    Missing,
    /// What has its name is a folder, a link or something else.
    NotAFile(Identity),
    /// It has so many bytes.
    Length(Identity, u64),
    /// It has the right length and another content.
    Content(Identity),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// Tells a file from one that has taken its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A file.
    File {
        /// Of its file system.
        device: u64,
        /// Within the file system.
        inode: u64,
    },
    /// An object of a bucket: when it was written, and the tag that it was given then.
    Object(Box<str>),
}

impl Identity {
    /// What has this name now, itself and not what it links to.
    pub(super) fn at(path: &Path) -> io::Result<Identity> {
        path.symlink_metadata().map(|about| Identity::File { device: about.dev(), inode: about.ino() })
    }
}

impl Harm {
    /// What was seen to be harmed, where it could be told.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Harm::NotAFile(identity) | Harm::Length(identity, _) | Harm::Content(identity) => {
                Some(identity.clone())
            }
            Harm::Missing | Harm::Unreadable(_) => None,
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Harm::Missing => write!(out, "it is missing"),
            Harm::NotAFile(_) => write!(out, "it is no regular file"),
            Harm::Length(_, found) => write!(out, "it has {found} bytes, which is not its length"),
            Harm::Content(_) => write!(out, "its content has changed"),
            Harm::Unreadable(why) => write!(out, "it cannot be read: {why}"),
        }
    }
}

/// Opens a regular file; a link is none, and a pipe keeps nobody waiting.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP | Errno::NXIO) => not_a_file(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file()) }
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it is no regular file")
}

/// Reads a file in full and compares it with its name.
///
/// # Errors
/// Only what says nothing about the file: a lack of descriptors or memory, or being told to stop.
pub(super) fn examine(path: &Path, digest: &Sha3_384, size: u64, pace: &Pace) -> io::Result<Condition> {
    let harmed = |harm| Ok(Condition::Damaged(harm));
    let unreadable = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
        // Our own word to stop has no number.
        None => Err(error),
        Some(_) => harmed(Harm::Unreadable(error.to_string())),
    };
    let mut file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return harmed(Harm::Missing),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return match Identity::at(path) {
                Ok(identity) => harmed(Harm::NotAFile(identity)),
                Err(error) => unreadable(error),
            };
        }
        Err(error) => return unreadable(error),
    };
    let about = match file.metadata() {
        Ok(about) => about,
        Err(error) => return unreadable(error),
    };
    let identity = Identity::File { device: about.dev(), inode: about.ino() };
    if about.len() != size {
        return harmed(Harm::Length(identity, about.len()));
    }
    match digest_of(&mut file, size, pace) {
        Ok(found) if found == (*digest, size) => Ok(Condition::Whole),
        Ok((_, found)) if found != size => harmed(Harm::Length(identity, found)),
        Ok(_) => harmed(Harm::Content(identity)),
        Err(error) => unreadable(error),
    }
}
