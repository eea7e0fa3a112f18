//! The certificate and key in files that another program renews, such as certbot.
//!
//! Such a program replaces two files, one after the other: for a moment they are no pair. What is no pair, or would be
//! refused by `import-certificate`, is left alone until the files change again, and the earlier certificate stays.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use schema::causes::one_line;
use schema::config::{PairFiles, Settings};
use schema::tls::{ImportError, Pair, Problem, Source};
use time::OffsetDateTime;
use tracing::warn;
use zeroize::Zeroizing;

use super::lock;

/// Largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Why the certificate in the files is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PairFilesError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// They hold no pair.
    #[error("cannot take the certificate from {} and {}", files.cert.display(), files.key.display())]
    Import {
        /// The files.
        files: Box<PairFiles>,
        /// The cause.
        source: Box<ImportError>,
    },
    /// Devices would refuse it.
    #[error("cannot take the certificate from {} and {}", files.cert.display(), files.key.display())]
    Problem {
        /// The files.
        files: Box<PairFiles>,
        /// The cause.
        source: Box<Problem>,
    },
    /// It is to come from elsewhere.
    #[error(
        "the certificate comes from {} and {}: to set another one, first run \
         `proxy config proxy.tls.cert-file= proxy.tls.key-file=`",
        .0.cert.display(),
        .0.key.display()
    )]
    Elsewhere(Box<PairFiles>),
}

/// Why the files are not followed at this time.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// Notes how it went, and warns once of what is wrong.
    pub(super) fn note(&self, error: Option<&(dyn std::error::Error + 'static)>) {
        let mut held = lock(&self.0);
        let text = error.map(one_line);
        if let Some(text) = text.as_ref().filter(|text| held.as_ref() != Some(text)) {
            warn!(error = text, "The certificate files are not taken: the earlier certificate stays in use");
        }
        *held = text;
    }

    /// What is wrong.
    pub(super) fn text(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

/// The pair in the files, checked as `import-certificate` does.
pub(crate) fn read(
    files: &PairFiles,
    settings: &Settings,
    now: OffsetDateTime,
) -> Result<Pair, PairFilesError> {
    let (cert, key) = (content(&files.cert)?, content(&files.key)?);
    let (cert_name, key_name) = (files.cert.display().to_string(), files.key.display().to_string());
    let mut sources = vec![Source { name: &cert_name, bytes: &cert }];
    if files.cert != files.key {
        sources.push(Source { name: &key_name, bytes: &key });
    }
    let imported = Pair::import(&sources, None, &settings.site.domain, now).map_err(|source| {
        PairFilesError::Import { files: Box::new(files.clone()), source: Box::new(source) }
    })?;
    match imported.problems.into_iter().next() {
        None => Ok(imported.pair),
        Some(source) => {
            Err(PairFilesError::Problem { files: Box::new(files.clone()), source: Box::new(source) })
        }
    }
}

/// A sentence about a key that everybody on this host can read.
pub(super) fn exposed(PairFiles { key, .. }: &PairFiles) -> Option<String> {
    let mode = fs::metadata(key).ok()?.mode();
    (mode & 0o007 != 0).then(|| {
        let shown = key.display();
        format!(
            "proxy.tls.key-file {shown} holds a private key and can be read by everybody on this host (mode {:04o}): run \
             `chmod o= {shown}`.",
            mode & 0o7777
        )
    })
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, PairFilesError> {
    let read = || {
        // Opening a pipe would block forever.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > LARGEST {
            true => Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20))),
            false => Ok(bytes),
        }
    };
    read().map_err(|source| PairFilesError::Io { path: path.to_owned(), source })
}
