//! Checks whether a stored file matches its name, at a limited rate.

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

/// The result of checking a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The content matches the name.
    Whole,
    /// It does not, or cannot be checked.
    Damaged(Harm),
}

/// What is wrong with a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Harm {
    /// There is no file of this name.
    Missing,
    /// The name belongs to a folder, a link or something else.
    NotAFile(Identity),
    /// The length is wrong.
    Length(Identity, u64),
    /// The length is right but the content is not.
    Content(Identity),
    /// The file cannot be read.
    Unreadable(String),
}

/// Distinguishes a file from one that replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A file.
    File {
        /// Of its file system.
        device: u64,
        /// Within the file system.
        inode: u64,
    },
    /// An object in a bucket: modification time and entity tag.
    Object(Box<str>),
}

impl Identity {
    /// The identity of what has this name, without following links.
    pub(super) fn at(path: &Path) -> io::Result<Identity> {
        path.symlink_metadata().map(|about| Identity::File { device: about.dev(), inode: about.ino() })
    }
}

impl Harm {
    /// The identity of the damaged file, if known.
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
            Harm::NotAFile(_) => write!(out, "it is not a regular file"),
            Harm::Length(_, found) => write!(out, "it has {found} bytes, which is not its length"),
            Harm::Content(_) => write!(out, "its content has changed"),
            Harm::Unreadable(why) => write!(out, "it cannot be read: {why}"),
        }
    }
}

/// Opens a regular file; rejects links, and does not block on pipes.
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
    io::Error::new(ErrorKind::InvalidData, "it is not a regular file")
}

/// Reads a whole file and compares it with its name.
///
/// # Errors
/// Only errors that say nothing about the file: a lack of descriptors or memory, or a stop.
pub(super) fn examine(path: &Path, digest: &Sha3_384, size: u64, pace: &Pace) -> io::Result<Condition> {
    let harmed = |harm| Ok(Condition::Damaged(harm));
    let unreadable = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
        // Our own stop has no error number.
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
