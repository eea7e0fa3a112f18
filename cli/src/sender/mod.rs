//! What a connected host keeps to send parcels: its key, what each site holds, and the files that differences build on.
//!
//! ```text
//! DATA/sender/key                       secret: the name of the sender, and 32 bytes in base64
//! DATA/sender/sites/KEY/ledger.json     see `Ledger`
//! DATA/sender/sites/KEY/12.receipt      the site's receipt of generation 12
//! DATA/sender/files/95e6….NAME          a file that a site holds
//! ```

mod ledger;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::digest::Sha3_384;
use schema::parcel::{SecretKey, SenderFile};
use zeroize::Zeroizing;

pub(crate) use self::ledger::Destination;

use crate::context::Context;

/// The sender on this host.
pub(crate) struct SenderHome {
    folder: PathBuf,
}

impl SenderHome {
    /// That of the data directory.
    pub(crate) fn of(context: &Context) -> anyhow::Result<Self> {
        context.must_be_local()?;
        Ok(Self { folder: context.data_dir.join("sender") })
    }

    fn key_path(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// Makes the key of a sender with this name.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<SenderFile> {
        ensure!(
            SenderFile::is_name(name),
            "{name:?} cannot be the name of a sender: at most 40 letters, digits, dashes, dots and underscores"
        );
        let path = self.key_path();
        let what = || format!("cannot write {}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).with_context(what)?;
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *secret).ok().context("cannot get random bytes from the system")?;
        let text = Zeroizing::new(format!("{name} {}\n", STANDARD.encode(*secret)));
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => anyhow::bail!(
                "this host has a sender already: `proxy sender show` prints it, and removing {} makes room for another, \
                 which every site has to trust anew",
                path.display()
            ),
            file => file.with_context(what)?,
        };
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(what)?;
        crate::output::changed();
        Ok(SenderFile { name: name.to_owned(), key: SecretKey::of(&secret).public() })
    }

    /// The name and the key.
    pub(crate) fn key(&self) -> anyhow::Result<(String, SecretKey)> {
        let path = self.key_path();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::bail!(
                    "this host has no key to sign parcels with: `proxy sender create NAME` makes one"
                )
            }
            text => Zeroizing::new(text.with_context(|| format!("cannot read {}", path.display()))?),
        };
        let read = || {
            let (name, secret) = text.trim().split_once(' ')?;
            let bytes = Zeroizing::new(STANDARD.decode(secret).ok()?);
            let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
            Some((name.to_owned(), SecretKey::of(&secret)))
        };
        read().with_context(|| format!("{} does not hold the key of a sender", path.display()))
    }

    /// Keeps a file that a site will hold, for later differences. What cannot be kept only makes those larger.
    pub(crate) fn keep(&self, name: &str, digest: &Sha3_384, file: &Path) {
        let kept = self.folder.join("files").join(format!("{}.{name}", digest.to_hex()));
        if kept.exists() {
            return;
        }
        let done = fs::create_dir_all(self.folder.join("files"))
            .and_then(|()| fs::hard_link(file, &kept).or_else(|_| copy(file, &kept)));
        if let Err(error) = done {
            crate::output::warning(format!(
                "cannot keep {name} for later differences, which will be larger: {error}"
            ));
        }
    }

    /// The files that were kept: digest, name and path.
    pub(crate) fn kept(&self) -> Vec<(Sha3_384, String, PathBuf)> {
        let entries = fs::read_dir(self.folder.join("files")).into_iter().flatten().flatten();
        let kept = entries.filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let (digest, name) = file.split_once('.')?;
            Some((Sha3_384::from_hex(digest).ok()?, name.to_owned(), entry.path()))
        });
        kept.collect()
    }
}

/// Copies a file, which gets its name when it is complete.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut fs::File::open(from)?, &mut fresh)?;
    fresh.persist(to)?;
    Ok(())
}
