//! A backup: the whole store in one tar archive, which may be encrypted with age (age-encryption.org/v1).
//!
//! ```text
//! host/DIGEST       the host's own files: configuration, certificate authority, ACME account (JSON, see `Host`)
//! manifest/DIGEST   what the backup holds (JSON, see `Manifest`)
//! database/DIGEST   the store's database, as an embedded database file, whatever engine it comes from
//! blobs/DIGEST      each stored file, in the manifest's order; none when they are only listed
//! ```
//!
//! Every entry is named by the SHA3-384 of its content, so damage anywhere is found. `proxy` writes the first entry
//! from files that only it may be able to read; `proxyd` writes all others. No secret crosses the socket.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Sha3_384;

/// The format version that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// The host's files in the data directory, besides the configuration. All except certificates are secret.
pub const HOST_FILES: [HostFile; 7] = [
    HostFile { name: "ca/ca.pem", secret: false },
    HostFile { name: "ca/ca.key", secret: true },
    HostFile { name: "ca/former.pem", secret: false },
    HostFile { name: "ca/next.key", secret: true },
    HostFile { name: "ca/next.pem", secret: false },
    HostFile { name: "ca/roots.pem", secret: false },
    HostFile { name: "acme/account.json", secret: true },
];

/// Response header with the id of the session secret that the database expects.
pub const SESSION_KEY_HEADER: &str = "airlock-session-key";

/// Response header with the number of files that the store should have but does not.
pub const MISSING_HEADER: &str = "airlock-missing";

/// A file that belongs to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFile {
    /// Its path in the data directory.
    pub name: &'static str,
    /// Whether a backup without secrets omits it.
    pub secret: bool,
}

/// What an entry of the archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A [`Host`].
    Host,
    /// A [`Manifest`].
    Manifest,
    /// The database.
    Database,
    /// A stored file.
    Blob,
}

impl Part {
    const ALL: [(Part, &'static str); 4] = [
        (Part::Host, "host"),
        (Part::Manifest, "manifest"),
        (Part::Database, "database"),
        (Part::Blob, "blobs"),
    ];

    /// The name of an entry with this content.
    #[must_use]
    pub fn name(self, digest: &Sha3_384) -> String {
        let folder = Self::ALL.iter().find(|(part, _)| *part == self).map_or("", |(_, folder)| folder);
        format!("{folder}/{}", digest.to_hex())
    }

    /// Parses an entry name; `None` if no backup has such a name.
    #[must_use]
    pub fn of(name: &str) -> Option<(Self, Sha3_384)> {
        let (folder, digest) = name.split_once('/')?;
        let (part, _) = Self::ALL.into_iter().find(|(_, known)| *known == folder)?;
        Some((part, Sha3_384::from_hex(digest).ok()?))
    }
}

/// The host's own files. The texts are secret unless the backup was made without secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// The configuration, as `config --export-yaml` prints it.
    pub settings: String,
    /// Those of [`HOST_FILES`] that existed: name and text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Whether secrets were omitted.
    pub without_secrets: bool,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The format version; see [`FORMAT`].
    pub format: u32,
    /// The program that made it, and its version.
    pub tool: String,
    /// When it was made, RFC 3339.
    pub time: String,
    /// The id of the session secret that the database was used with; `None` if it never had one.
    pub session_key: Option<String>,
    /// Whether the archive contains the files or only lists them.
    pub with_blobs: bool,
    /// The files owned by the store's rows.
    pub blobs: Vec<Blob>,
    /// Owned files that were missing or damaged when the backup was made.
    pub missing: Vec<Blob>,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blob {
    /// SHA3-384 of its content, 96 hexadecimal digits in lower case.
    pub sha3_384: String,
    /// Bytes.
    pub size: u64,
}

/// Instructions for a restore: one line of JSON before the archive on the standard input of `proxyd restore`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RestoreOrder {
    /// YAML of keys that replace those in the backup, mainly secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Restore into the embedded database, whatever the configuration names.
    #[serde(default)]
    pub embedded: bool,
    /// A folder with the files that the archive only lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<PathBuf>,
}

/// Sends an archive after its instructions, in chunks. Each chunk follows its length as four big-endian bytes, and an
/// empty chunk marks the end. A sender that hits a read error sends no end, so a partial archive is never taken for
/// the whole.
pub fn send(mut archive: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    loop {
        let length = match archive.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let head = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
        to.write_all(&head)?;
        to.write_all(&piece[..length])?;
        if length == 0 {
            return to.flush();
        }
    }
}

/// Reads what [`send`] sends. Input that ends before the empty chunk fails with [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub struct Received<R> {
    source: R,
    left: usize,
    ended: bool,
}

impl<R: Read> Received<R> {
    /// Starts reading chunks.
    pub fn new(source: R) -> Self {
        Self { source, left: 0, ended: false }
    }
}

impl<R: Read> Read for Received<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended && !buffer.is_empty() {
            let mut head = [0; 4];
            self.source.read_exact(&mut head)?;
            self.left = u32::from_be_bytes(head) as usize;
            self.ended = self.left == 0;
        }
        let most = self.left.min(buffer.len());
        let length = self.source.read(&mut buffer[..most])?;
        if length == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length;
        Ok(length)
    }
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restored {
    /// When the backup was made, RFC 3339.
    pub time: String,
    /// The location of the database, without a password.
    pub database: String,
    /// The id of the session secret whose sessions stay valid; `None` if there never was one.
    pub session_key: Option<String>,
    /// Snaps.
    pub snaps: usize,
    /// Their revisions.
    pub revisions: usize,
    /// Files present.
    pub blobs: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Missing files. Revisions that need them are not served until they are pushed again.
    pub missing: Vec<MissingBlob>,
    /// What the configuration names and this host lacks, in full sentences.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Where files were kept, if that was not the data directory, in which they are kept now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// The commands that open the models that are closed now, each without the pattern or list of what is left to give out.
    #[serde(default)]
    pub models: Vec<String>,
}

/// The place of the files of a store that was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Elsewhere {
    /// A folder or bucket.
    pub place: String,
    /// How many files the backup only lists, so that they are still there, if anywhere: nobody has looked.
    pub files: usize,
    /// What `config` sets to use it again, `KEY=VALUE`.
    pub settings: String,
}

/// A file that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MissingBlob {
    /// The revisions that need it, such as `hello revision 7`.
    pub of: Vec<String>,
    /// Its SHA3-384 in hexadecimal.
    pub sha3_384: String,
    /// Bytes.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_archive_comes_to_its_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let archive = vec![7; 600 << 10];
        let mut sent = Vec::new();
        send(archive.as_slice(), &mut sent).unwrap();
        let mut read = Vec::new();
        Received::new(sent.as_slice()).read_to_end(&mut read).unwrap();
        assert!(read == archive);
        for cut in (0..sent.len()).step_by(4099).chain(sent.len() - 9..sent.len()) {
            let cut_off = Received::new(&sent[..cut]).read_to_end(&mut Vec::new());
            assert_eq!(cut_off.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        let mut sent = Vec::new();
        assert!(send(archive.as_slice().chain(Broken), &mut sent).is_err());
        assert!(Received::new(sent.as_slice()).read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn names_say_what_an_entry_is_and_nothing_else_does() {
        let digest = Sha3_384::of(b"x");
        for (part, _) in Part::ALL {
            assert_eq!(Part::of(&part.name(&digest)), Some((part, digest)));
        }
        let hex = digest.to_hex();
        for bad in
            ["", "blobs", "blobs/", "blobs/x", &format!("other/{hex}"), &format!("blobs/a/{hex}"), &hex]
        {
            assert_eq!(Part::of(bad), None, "{bad}");
        }
    }
}
