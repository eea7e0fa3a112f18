//! Damaged files, set aside where a restart finds them.
//!
//! ```text
//! DATA/blobs/damaged/abcdef…    what was found under that name, or empty when there was nothing that could be moved
//! ```
//!
//! For as long as it is there the blob is known to be damaged. The next import of the blob takes it away again.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use schema::digest::Sha3_384;

use super::BlobError;
use super::condition::{Harm, Identity};
use super::local::{BlobStore, Place, blocking, make_folder};

impl BlobStore {
    /// Sets a damaged file aside, durably. `false` when something else has its name by now: look again.
    pub(crate) async fn set_aside(&self, digest: Sha3_384, harm: Harm) -> Result<bool, BlobError> {
        let place = self.place.clone();
        blocking("set a damaged blob aside", move || place.set_aside(&digest, &harm)).await
    }

    /// What was set aside and is not whole yet.
    pub(crate) async fn damaged(&self) -> Result<Vec<Sha3_384>, BlobError> {
        let place = self.place.clone();
        blocking("list the damaged blobs", move || place.damaged()).await
    }

    /// The blob is whole again, or nobody needs it any more.
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
                    // An import replaced it in this very moment.
                    fs::rename(&name, &path)?;
                    return Ok(false);
                }
                if let Some(folder) = path.parent() {
                    self.flush(folder)?;
                }
            }
            (Some(_), Ok(_)) => return Ok(false),
            // Missing stays missing, and what cannot be read stays where it may be read again one day.
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

    /// Was something set aside under this name?
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

    /// Removes what was set aside under this name; was there anything?
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
