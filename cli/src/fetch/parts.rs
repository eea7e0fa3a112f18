//! The folder of unfinished downloads next to the bundles.
//!
//! ```text
//! EXPORT_DIR/.airlock-parts/lock       held while a run works here
//! EXPORT_DIR/.airlock-parts/95e6…      the beginning of the file whose SHA3-384 is 95e6…
//! EXPORT_DIR/.airlock-parts/….new      a bundle being written; of no use to a later run
//! EXPORT_DIR/.airlock-parts/.tmp…      a difference being made; of no use to a later run
//! ```
//!
//! Parts are named by digest, so a download can continue even if its URL has changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use indicatif::{MultiProgress, ProgressBar};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::growth::Growth;
use crate::bars;
use crate::upstream::{Link, Upstream};

const FOLDER: &str = ".airlock-parts";
/// How the names of bundles end that are being written.
const UNFINISHED: &str = ".new";
/// How the names of differences begin that are being made.
const SCRATCH: &str = ".tmp";
/// How many downloads run at once.
const AT_ONCE: usize = 4;

/// The folder, locked by this run.
pub(crate) struct PartsFolder {
    folder: PathBuf,
    /// The folders that this run made around it, the inner ones first.
    made: Vec<PathBuf>,
    _lock: File,
    /// How much there is of each file that this run downloads, by its digest.
    growths: BTreeMap<String, Arc<Growth>>,
}

/// A file to download.
#[derive(Debug, Clone)]
pub(crate) struct FileToFetch {
    /// Its name for people.
    pub(crate) what: String,
    pub(crate) link: Link,
}

impl PartsFolder {
    /// Opens the folder of an export directory, creating both.
    ///
    /// # Errors
    /// A folder cannot be created, or another run uses it.
    pub(crate) fn open(export: &Path) -> anyhow::Result<Self> {
        let folder = export.join(FOLDER);
        let what = || format!("cannot write to {}", export.display());
        let made = export.ancestors().take_while(|one| !one.as_os_str().is_empty() && !one.exists());
        let made = made.map(Path::to_owned).collect();
        fs::create_dir_all(&folder).with_context(what)?;
        let is_own = fs::symlink_metadata(&folder).with_context(what)?.is_dir();
        anyhow::ensure!(
            is_own,
            "cannot fetch to {}: {} is a link: remove it",
            export.display(),
            folder.display()
        );
        let lock = own_file(&folder.join("lock"))?;
        lock.try_lock().with_context(|| {
            format!("cannot fetch to {}: another fetch is running there", export.display())
        })?;
        // What is left of a run that was killed.
        for entry in fs::read_dir(&folder).with_context(what)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(UNFINISHED) || name.starts_with(SCRATCH) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { folder, made, _lock: lock, growths: BTreeMap::new() })
    }

    /// These files will be downloaded.
    pub(crate) fn expect(&mut self, files: &[FileToFetch]) {
        self.growths = files.iter().map(|file| (file.link.sha3_384.clone(), Arc::default())).collect();
    }

    /// Where the parts are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file's part.
    pub(crate) fn path(&self, link: &Link) -> PathBuf {
        // A malformed digest never reaches a download; it must not become a path either.
        let name: String = link.sha3_384.chars().filter(char::is_ascii_alphanumeric).collect();
        self.folder.join(name)
    }

    /// Where a bundle is written until it is complete.
    pub(crate) fn unfinished(&self, bundle: &Path) -> PathBuf {
        let name = bundle.file_name().unwrap_or_default().to_string_lossy();
        self.folder.join(format!("{name}{UNFINISHED}"))
    }

    /// Reads a file, in a thread of its own while it is downloaded; see [`Growth`].
    ///
    /// # Errors
    /// The file was not expected, or its part cannot be opened.
    pub(crate) fn read(&self, link: &Link) -> io::Result<Box<dyn Read>> {
        let growth = self.growths.get(&link.sha3_384).cloned();
        let growth = growth.ok_or_else(|| io::Error::other("nobody downloads it"))?;
        Ok(Box::new(growth.read(&self.path(link))?))
    }

    /// Downloads files, a few at a time and each once. They must be expected.
    ///
    /// # Errors
    /// A download failed; the parts stay.
    pub(crate) async fn download(&self, upstream: &Upstream, files: Vec<FileToFetch>) -> anyhow::Result<()> {
        let files: BTreeMap<String, FileToFetch> =
            files.into_iter().map(|file| (file.link.sha3_384.clone(), file)).collect();
        let _over = Over(&self.growths);
        let bars = MultiProgress::new();
        let one = |file: FileToFetch| {
            let (path, bar) = (self.path(&file.link), bars.add(bar(&file)));
            let growth = self.growths.get(&file.link.sha3_384).cloned().unwrap_or_default();
            async move {
                let shown = bar.clone();
                let progress = {
                    let growth = Arc::clone(&growth);
                    move |bytes| {
                        growth.reached(bytes);
                        shown.set_position(bytes);
                    }
                };
                let done = upstream
                    .download(&file.link, &file.what, (own_file(&path)?, &path), progress)
                    .await
                    .with_context(|| format!("cannot download {}", file.what));
                bar.finish_and_clear();
                if done.is_ok() {
                    growth.whole();
                }
                done
            }
        };
        futures_util::stream::iter(files.into_values())
            .map(one)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// Removes the parts of these files, which are now in bundles.
    pub(crate) fn clear(&self, files: &[FileToFetch]) {
        // A part that cannot be removed only wastes space.
        for file in files {
            let _ = fs::remove_file(self.path(&file.link));
        }
    }
}

/// Removes the folder unless there are parts in it, and those around it that were made for nothing.
impl Drop for PartsFolder {
    fn drop(&mut self) {
        let others = fs::read_dir(&self.folder).map(|entries| entries.count() > 1).unwrap_or(true);
        if others || fs::remove_dir_all(&self.folder).is_err() {
            return;
        }
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Opens a file of the folder to write to it, and makes it if there is none. What a medium brings along may be a link to any
/// file of this host, or a device: neither is written to.
///
/// # Errors
/// It is no plain file, or cannot be written.
pub(super) fn own_file(path: &Path) -> anyhow::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits())?;
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
    let opened = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => None,
        opened => {
            let file = opened.with_context(|| format!("cannot write {}", path.display()))?;
            Some(file).filter(|file| file.metadata().is_ok_and(|about| about.is_file()))
        }
    };
    opened.with_context(|| {
        format!("{} is a link or a device, which nothing is written to: remove it", path.display())
    })
}

/// Says that the downloads are over, however they ended, so that nobody waits for more.
struct Over<'a>(&'a BTreeMap<String, Arc<Growth>>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.values().for_each(|growth| growth.over());
    }
}

fn bar(file: &FileToFetch) -> ProgressBar {
    let bar = ProgressBar::new(file.link.size);
    bar.set_style(bars::style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
    bar.set_message(crate::output::plain(&file.what));
    bar
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_written_to_where_a_link_leads() {
        let (folder, precious) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(&precious, "precious").unwrap();
        let refused = |error: anyhow::Error| {
            let text = format!("{error:#}");
            assert!(text.contains("is a link") && text.contains("remove it"), "{text}");
        };
        let parts = folder.path().join(FOLDER);
        fs::create_dir(&parts).unwrap();
        for name in ["lock", "95e6"] {
            symlink(&precious, parts.join(name)).unwrap();
            refused(own_file(&parts.join(name)).unwrap_err());
        }
        refused(PartsFolder::open(folder.path()).err().unwrap());
        assert_eq!(fs::read(&precious).unwrap(), b"precious");

        let other = tempfile::tempdir().unwrap();
        symlink(&parts, other.path().join(FOLDER)).unwrap();
        refused(PartsFolder::open(other.path()).err().unwrap());
    }

    #[test]
    fn what_was_made_for_nothing_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let export = folder.path().join("a/b");
        drop(PartsFolder::open(&export).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

        // A killed run leaves what nobody continues; the beginning of a file stays.
        let parts = export.join(FOLDER);
        fs::create_dir_all(&parts).unwrap();
        for name in ["jq-20200101T000000.tar.gz.new", ".tmpA1b2C3", "95e6"] {
            fs::write(parts.join(name), "x").unwrap();
        }
        let opened = PartsFolder::open(&export).unwrap();
        let names = || fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(
            names().collect::<std::collections::BTreeSet<_>>(),
            ["95e6", "lock"].map(Into::into).into()
        );
        drop(opened);
        assert!(parts.join("95e6").exists());
    }
}
