//! Imports that wait until other people have approved them. They were verified, and are kept outside the store: no row and no
//! file of it knows anything of them, so nothing that answers devices can.
//!
//! ```text
//! DATA/quarantine/ID/content    the file as it was pushed; the parts of a parcel stay in DATA/parcels
//! DATA/quarantine/ID/about      what it is, and what it changes once it is released
//! ```
//!
//! `about` is written last and removed first, so that a folder without it is what is left of one that was cut off.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use schema::api::admin::{ImportKind, ImportOptions, ImportPlan};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::NamedTempFile;
use tracing::warn;

use super::{KeepError, Refusal, place};
use crate::approvals::digest;

const CONTENT: &str = "content";
const ABOUT: &str = "about";
/// How much of a digest names an import.
const ID: usize = 16;

/// An import that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// What kind it is.
    pub(crate) kind: ImportKind,
    /// The name of its file.
    pub(crate) file: Option<String>,
    /// SHA-256 of its bytes, in hex.
    pub(crate) sha256: String,
    /// The id of the parcel, if it is one.
    pub(crate) parcel: Option<String>,
    /// Who pushed it.
    pub(crate) who: String,
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
    /// The options of the push.
    pub(crate) options: ImportOptions,
    /// What it changes.
    pub(crate) plan: ImportPlan,
}

impl Held {
    /// What it is known by: the same file with the same options is the same import.
    pub(crate) fn id(&self) -> String {
        let of = json!({ "kind": self.kind, "sha256": self.sha256, "parcel": self.parcel, "options": self.options });
        digest(&of)[..ID].to_owned()
    }

    /// The digest of exactly what is approved: the file, how it is imported, and what that changes.
    pub(crate) fn digest(&self) -> String {
        digest(&json!({ "id": self.id(), "sha256": self.sha256, "plan": self.plan }))
    }
}

/// The folder of imports that wait. Everything here blocks.
#[derive(Debug)]
pub(crate) struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    /// The folder of a data directory, cleared of what an earlier process did not finish.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let folder = data_dir.join("quarantine");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let removed = match (path.is_dir(), path.join(ABOUT).is_file()) {
                (true, true) => Ok(()),
                (true, false) => fs::remove_dir_all(&path),
                (false, _) => fs::remove_file(&path),
            };
            if let Err(error) = removed {
                warn!(path = %path.display(), error = &error as &dyn std::error::Error, "Cannot remove what is left of an import");
            }
        }
        Self { folder }
    }

    fn keep_in<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T, KeepError> {
        work().map_err(|error| KeepError::Io(self.folder.clone(), error))
    }

    /// A file to receive the content of an import in.
    pub(crate) fn receive(&self) -> Result<NamedTempFile, KeepError> {
        self.keep_in(|| {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            NamedTempFile::new_in(&self.folder)
        })
    }

    /// Keeps an import, durably. One that is there already is described anew.
    pub(crate) fn keep(&self, held: &Held, content: Option<NamedTempFile>) -> Result<(), KeepError> {
        self.keep_in(|| {
            failpoint_io!("quarantine.keep")?;
            let folder = self.folder.join(held.id());
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            if let Some(content) = content {
                content.as_file().sync_all()?;
                content.persist(folder.join(CONTENT))?;
            }
            failpoint!("quarantine.content");
            place(&folder, ABOUT, json!(held).to_string().as_bytes())?;
            File::open(&self.folder)?.sync_all()
        })?;
        failpoint!("quarantine.kept");
        Ok(())
    }

    /// An import that waits.
    pub(crate) fn find(&self, id: &str) -> Result<Held, KeepError> {
        let unknown = || Refusal::NotWaiting(id.chars().take(80).collect());
        let is_id = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(unknown().into());
        }
        match fs::read(self.folder.join(id).join(ABOUT)) {
            Ok(about) => self.keep_in(|| Ok(serde_json::from_slice(&about)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown().into()),
            Err(error) => Err(KeepError::Io(self.folder.clone(), error)),
        }
    }

    /// The content of one that is no parcel.
    pub(crate) fn content(&self, held: &Held) -> Result<File, KeepError> {
        self.keep_in(|| File::open(self.folder.join(held.id()).join(CONTENT)))
    }

    /// All that wait, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<Held>, KeepError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => self.keep_in(|| entries)?,
        };
        let ids =
            self.keep_in(|| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())?;
        // A folder without a description is being written or removed.
        let mut all: Vec<Held> = ids.iter().filter_map(|id| self.find(&id.to_string_lossy()).ok()).collect();
        all.sort_by_key(|held| (held.at, held.id()));
        Ok(all)
    }

    /// Removes one with everything that is kept of it, but for the parts of a parcel.
    pub(crate) fn drop(&self, held: &Held) -> Result<(), KeepError> {
        let folder = self.folder.join(held.id());
        let gone = |done: io::Result<()>| match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        self.keep_in(|| {
            gone(fs::remove_file(folder.join(ABOUT)))?;
            failpoint!("quarantine.dropped");
            gone(fs::remove_dir_all(folder))?;
            gone(File::open(&self.folder).and_then(|folder| folder.sync_all()))
        })
    }

    /// Writes what a reader reads into the file of an import, too.
    pub(crate) fn copying<R: io::Read>(reader: R, copy: File) -> impl io::Read {
        Copying { reader, copy }
    }
}

struct Copying<R> {
    reader: R,
    copy: File,
}

impl<R: io::Read> io::Read for Copying<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(into)?;
        self.copy.write_all(&into[..count])?;
        Ok(count)
    }
}
