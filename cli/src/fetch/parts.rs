//! The folder of unfinished downloads next to the bundles.
//!
//! ```text
//! EXPORT_DIR/.airlock-parts/lock       held while a run works here
//! EXPORT_DIR/.airlock-parts/95e6…      the beginning of the file whose SHA3-384 is 95e6…
//! ```
//!
//! Parts are named by digest, so a download can continue even if its URL has changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use indicatif::{MultiProgress, ProgressBar};

use crate::bars;
use crate::upstream::{Link, Upstream};

const FOLDER: &str = ".airlock-parts";
/// How many downloads run at once.
const AT_ONCE: usize = 4;

/// The folder, locked by this run.
pub(crate) struct PartsFolder {
    folder: PathBuf,
    _lock: File,
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
        fs::create_dir_all(&folder).with_context(what)?;
        let lock = File::create(folder.join("lock")).with_context(what)?;
        lock.try_lock().with_context(|| {
            format!("cannot fetch to {}: another fetch is running there", export.display())
        })?;
        Ok(Self { folder, _lock: lock })
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

    /// Downloads files, a few at a time and each once.
    ///
    /// # Errors
    /// A download failed; the parts stay.
    pub(crate) async fn download(&self, upstream: &Upstream, files: Vec<FileToFetch>) -> anyhow::Result<()> {
        let files: BTreeMap<String, FileToFetch> =
            files.into_iter().map(|file| (file.link.sha3_384.clone(), file)).collect();
        let bars = MultiProgress::new();
        let one = |file: FileToFetch| {
            let (path, bar) = (self.path(&file.link), bars.add(bar(&file)));
            async move {
                let shown = bar.clone();
                let done = upstream
                    .download(&file.link, &file.what, &path, move |bytes| shown.set_position(bytes))
                    .await
                    .with_context(|| format!("cannot download {}", file.what));
                bar.finish_and_clear();
                done
            }
        };
        futures_util::stream::iter(files.into_values())
            .map(one)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// Removes the parts of these files, which are now in bundles, and the folder unless an earlier run left others.
    pub(crate) fn clear(&self, files: &[FileToFetch]) {
        // A part that cannot be removed only wastes space.
        for file in files {
            let _ = fs::remove_file(self.path(&file.link));
        }
        let others = fs::read_dir(&self.folder).map(|entries| entries.count() > 1).unwrap_or(true);
        if !others {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn bar(file: &FileToFetch) -> ProgressBar {
    let bar = ProgressBar::new(file.link.size);
    bar.set_style(bars::style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
    bar.set_message(crate::output::plain(&file.what));
    bar
}
