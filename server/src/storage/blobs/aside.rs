//! Damaged files, set aside so that a restart finds them.
//!
//! ```text
//! DATA/blobs/damaged/abcdef…    the damaged file, or empty if there was nothing to move
//! ```
//!
//! As long as this entry exists, the blob counts as damaged. The next import of the blob removes it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use schema::digest::Sha3_384;

use super::BlobError;
use super::condition::{Harm, Identity};
use super::local::{BlobStore, Place, blocking, make_folder};

impl BlobStore {
    /// Sets a damaged file aside, durably. `false` if the name now belongs to something else: check again.
    pub(crate) async fn set_aside(&self, digest: Sha3_384, harm: Harm) -> Result<bool, BlobError> {
        let place = self.place.clone();
        blocking("set a damaged blob aside", move || place.set_aside(&digest, &harm)).await
    }

    /// Blobs that are set aside and not repaired yet.
    pub(crate) async fn damaged(&self) -> Result<Vec<Sha3_384>, BlobError> {
        let place = self.place.clone();
        blocking("list the damaged blobs", move || place.damaged()).await
    }

    /// The blob is intact again, or no longer needed.
    pub(crate) async fn forget_damage(&self, digest: Sha3_384) -> Result<bool, BlobError> {
        let place = self.place.clone();
        blocking("remove a damaged blob", move || place.forget_damage(&digest)).await
    }
}

impl Place {
    fn aside(&self) -> PathBuf {
        self.blobs.join("damaged")
    }

    pub(super) fn set_aside(&self, digest: &Sha3_384, harm: &Harm) -> io::Result<bool> {
        if let Some(bucket) = &self.bucket {
            return bucket.set_aside(digest, harm);
        }
        let (path, aside) = (self.path(digest), self.aside());
        make_folder(&aside)?;
        let name = aside.join(digest.to_hex());
        match (harm.identity(), Identity::at(&path)) {
            (Some(seen), Ok(there)) if seen == there => {
                self.forget_damage(digest)?;
                failpoint_io!("damage.aside")?;
                fs::rename(&path, &name)?;
                if Identity::at(&name)? != there {
                    // An import replaced it at this very moment.
                    fs::rename(&name, &path)?;
                    return Ok(false);
                }
                if let Some(folder) = path.parent() {
                    self.flush(folder)?;
                }
            }
            (Some(_), Ok(_)) => return Ok(false),
            // A missing file stays missing, and an unreadable one stays where it may become readable again.
            (None, Ok(_)) if *harm == Harm::Missing => return Ok(false),
            _ => {
                let made = File::options().write(true).create_new(true).open(&name);
                if let Err(error) = made
                    && error.kind() != ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
            }
        }
        self.flush(&aside)?;
        Ok(true)
    }

    /// Whether this blob is set aside.
    pub(super) fn is_aside(&self, digest: &Sha3_384) -> io::Result<bool> {
        self.aside().join(digest.to_hex()).try_exists()
    }

    fn damaged(&self) -> io::Result<Vec<Sha3_384>> {
        if let Some(bucket) = &self.bucket {
            return bucket.damaged();
        }
        let entries = match fs::read_dir(self.aside()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(|name| Sha3_384::from_hex(name).ok()));
        }
        Ok(found)
    }

    /// Removes the entry of this blob; returns whether there was one.
    pub(super) fn forget_damage(&self, digest: &Sha3_384) -> io::Result<bool> {
        if let Some(bucket) = &self.bucket {
            return bucket.forget_damage(digest);
        }
        let name = self.aside().join(digest.to_hex());
        let is_folder = match name.symlink_metadata() {
            Ok(about) => about.is_dir(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        failpoint_io!("damage.forget")?;
        if is_folder {
            fs::remove_dir_all(&name)?
        } else {
            fs::remove_file(&name)?
        }
        self.flush(&self.aside())?;
        Ok(true)
    }
}
