//! Parcels on their way in: the folder in which their parts wait, who may send them, and what a receipt says.
//!
//! ```text
//! DATA/parcels/ID/manifest      the signed manifest
//! DATA/parcels/ID/part-001      a part that is what the manifest says
//! ```
//!
//! What waits for approvals is beside it, see `quarantine.rs`. A part gets its name only after it was hashed and synced, so that an import that was cut off goes on with those that are
//! there. The folder is removed when the parcel was imported.

mod ledger;
mod quarantine;
mod receipt;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use schema::digest::{Hashed, Sha3_384};
use schema::parcel::{Parcel, ParcelError, ParcelPart};
use tempfile::NamedTempFile;

pub(crate) use self::ledger::{
    AcceptedRecord, SenderRecord, accept, admit, plan_removal, plan_sender, senders,
};
pub(crate) use self::quarantine::{Held, Quarantine};
pub(crate) use self::receipt::{channel_map, names};

const MANIFEST: &str = "manifest";

/// Why a parcel is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ParcelError),
    /// Nobody vouched for the sender.
    #[error(
        "the sender {0} of the parcel is not trusted here: bring the file that `proxy sender show` prints on its host, and run \
         `proxy trust add-sender FILE`"
    )]
    Untrusted(String),
    /// It was made for another site, or for this one before it got another key.
    #[error(
        "the parcel is for another site: make one with a receipt of this one, which `proxy receipt` writes"
    )]
    Foreign,
    /// A newer one was imported.
    #[error(
        "parcel {sequence} of {sender} is older than parcel {last}, which was imported: what only this one brings is still \
         missing, so make the next one from a new receipt (`proxy receipt`)"
    )]
    Older {
        /// The sender.
        sender: String,
        /// The parcel's number.
        sequence: u64,
        /// That of the last one.
        last: u64,
    },
    /// Two parcels have one number.
    #[error(
        "another parcel of {sender} with the number {sequence} was imported: its host lost its ledger, or two hosts use its \
         key; make the next parcel from a new receipt (`proxy receipt`)"
    )]
    Twice {
        /// The sender.
        sender: String,
        /// The number.
        sequence: u64,
    },
    /// The site lacks what a difference builds on.
    #[error(
        "the parcel holds {file} as a difference to a file that is not here or is damaged ({base}): make another one from a new \
         receipt (`proxy receipt`)"
    )]
    Base {
        /// The file.
        file: String,
        /// The digest of the other one.
        base: String,
    },
    /// The manifest and the contents disagree.
    #[error("the parcel does not hold what its manifest says ({0}): its sender has to make it again")]
    Contents(String),
    /// A part is another one.
    #[error("this is not part {0} of the parcel, or a damaged copy: copy it again")]
    Part(usize),
    /// There is no such part.
    #[error("the parcel has no part {0}")]
    NoPart(usize),
    /// Parts are missing.
    #[error("parts of the parcel are missing: {}; push it with the media that hold them", numbers(.0))]
    Lacking(Vec<usize>),
    /// There is no such parcel.
    #[error(
        "parcel {0} is not here: `proxy push-parcel PATH` brings it, `proxy parcels list` shows those that are under way"
    )]
    Unknown(String),
    /// The file of a sender cannot be used.
    #[error(
        "a sender called {0} is trusted with another key: `proxy trust remove-sender {0}` first, if that is meant"
    )]
    Name(String),
    /// No such import waits.
    #[error("no import {0} waits: `proxy imports list` shows those that do")]
    NotWaiting(String),
    /// There is no such sender.
    #[error("no sender is called {0}: `proxy trust list-senders` shows those that are trusted")]
    NoSender(String),
}

impl Refusal {
    /// A stable code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Untrusted(_) => "untrusted-sender",
            Self::Foreign => "foreign-parcel",
            Self::Older { .. } | Self::Twice { .. } => "older-parcel",
            Self::Base { .. } => "no-base",
            Self::Lacking(_) => "lacking-parts",
            Self::Unknown(_) | Self::NoSender(_) | Self::NotWaiting(_) => "unknown",
            Self::Name(_) => "name-taken",
            Self::Manifest(_) | Self::Contents(_) | Self::Part(_) | Self::NoPart(_) => "invalid-parcel",
        }
    }
}

fn numbers(parts: &[usize]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why a parcel cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file system failed.
    #[error("cannot keep the parcel in {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// The folder of parcels under way. Everything here blocks.
#[derive(Debug)]
pub(crate) struct Parcels {
    folder: PathBuf,
}

impl Parcels {
    /// The folder of a data directory.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("parcels") }
    }

    fn keep<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T, KeepError> {
        work().map_err(|error| KeepError::Io(self.folder.clone(), error))
    }

    fn folder_of(&self, parcel: &Parcel) -> PathBuf {
        self.folder.join(parcel.id())
    }

    /// Takes up the manifest of a parcel that was admitted.
    pub(crate) fn begin(&self, parcel: &Parcel, manifest: &[u8]) -> Result<(), KeepError> {
        self.keep(|| {
            let folder = self.folder_of(parcel);
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            place(&folder, MANIFEST, manifest)?;
            File::open(&self.folder)?.sync_all()
        })
    }

    /// A parcel that was begun.
    pub(crate) fn open(&self, id: &str) -> Result<Parcel, KeepError> {
        let unknown = || Refusal::Unknown(id.chars().take(80).collect());
        if !Parcel::is_id(id) {
            return Err(unknown().into());
        }
        match fs::read(self.folder.join(id).join(MANIFEST)) {
            Ok(manifest) => Ok(Parcel::read(&manifest).map_err(Refusal::from)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown().into()),
            Err(error) => Err(KeepError::Io(self.folder.clone(), error)),
        }
    }

    /// Every parcel that was begun, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<Parcel>, KeepError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => self.keep(|| entries)?,
        };
        let ids =
            self.keep(|| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())?;
        // A folder without a manifest is one whose beginning was cut off.
        let mut all: Vec<Parcel> =
            ids.iter().filter_map(|id| self.open(&id.to_string_lossy()).ok()).collect();
        all.sort_by(|one, other| (&one.time, &one.name).cmp(&(&other.time, &other.name)));
        Ok(all)
    }

    /// The numbers of the parts that are not here yet.
    pub(crate) fn lacking(&self, parcel: &Parcel) -> Vec<usize> {
        let folder = self.folder_of(parcel);
        (1..=parcel.parts.len()).filter(|number| !folder.join(part_name(*number)).is_file()).collect()
    }

    /// Takes in a part. Nothing of it stays unless all of it is as the manifest says.
    pub(crate) fn take(&self, parcel: &Parcel, number: usize, content: impl Read) -> Result<(), KeepError> {
        let part = number.checked_sub(1).and_then(|at| parcel.parts.get(at));
        let part = part.ok_or(Refusal::NoPart(number))?;
        let folder = self.folder_of(parcel);
        let mut content = Hashed::new(content.take(part.size + 1));
        let (file, size) = self.keep(|| {
            failpoint_io!("parcel.part")?;
            let mut file = NamedTempFile::new_in(&folder)?;
            let size = io::copy(&mut content, &mut file)?;
            Ok((file, size))
        })?;
        if (size, content.finish().to_hex()) != (part.size, part.sha3_384.clone()) {
            return Err(Refusal::Part(number).into());
        }
        failpoint!("parcel.written");
        self.keep(|| {
            failpoint_io!("parcel.sync")?;
            file.as_file().sync_all()?;
            file.persist(folder.join(part_name(number)))?;
            File::open(&folder)?.sync_all()
        })?;
        failpoint!("parcel.kept");
        Ok(())
    }

    /// The contents of a parcel whose parts are all here. Each part is hashed again; one that was damaged meanwhile is
    /// removed, so that it is asked for again.
    pub(crate) fn read(&self, parcel: &Parcel) -> impl Read + Send + use<> {
        let folder = self.folder_of(parcel);
        let named = (1..).zip(parcel.parts.iter().cloned());
        let left = named.map(|(number, part)| (number, folder.join(part_name(number)), part)).collect();
        Joined { left, current: None }
    }

    /// Removes a parcel with its parts.
    pub(crate) fn drop(&self, parcel: &Parcel) -> Result<(), KeepError> {
        self.keep(|| match fs::remove_dir_all(self.folder_of(parcel)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
    }

    /// Removes the parcels of a sender up to this one, which was imported.
    pub(crate) fn drop_up_to(&self, imported: &Parcel) -> Result<(), KeepError> {
        let is_old = |one: &Parcel| one.sender == imported.sender && one.sequence <= imported.sequence;
        self.list()?.iter().filter(|one| is_old(one)).try_for_each(|old| self.drop(old))
    }
}

fn part_name(number: usize) -> String {
    format!("part-{number:03}")
}

/// Writes a small file as a whole.
fn place(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// The parts of a parcel, one after the other.
struct Joined {
    left: VecDeque<(usize, PathBuf, ParcelPart)>,
    current: Option<(usize, PathBuf, ParcelPart, Hashed<File>)>,
}

impl Read for Joined {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((.., file)) = &mut self.current {
                let count = file.read(into)?;
                if count > 0 || into.is_empty() {
                    return Ok(count);
                }
            }
            if let Some((number, path, part, file)) = self.current.take()
                && Sha3_384::from_hex(&part.sha3_384) != Ok(file.finish())
            {
                fs::remove_file(path)?;
                return Err(io::Error::other(format!(
                    "part {number} of the parcel was damaged on this host: push the parcel again"
                )));
            }
            let Some((number, path, part)) = self.left.pop_front() else { return Ok(0) };
            let file = Hashed::new(File::open(&path)?);
            self.current = Some((number, path, part, file));
        }
    }
}
