//! Files with certificates, keys and passphrases, and problems with their owners and modes.

use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, stdin};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::tls::{Source, Trusted, trusted_certificates};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::documents::read_limited;
use crate::kinds::{self, Kind};
use crate::output::{note, warning};

/// Larger than any chain with its key, and than a system's authorities with their descriptions, in bytes.
const MAX_PEM: u64 = 8 << 20;

/// Texts with the names that the operator knows them by.
pub(crate) struct PemFiles(Vec<(String, Zeroizing<Vec<u8>>)>);

impl PemFiles {
    /// Reads all files; no files, or `-`, means standard input.
    ///
    /// # Errors
    /// A file cannot be read: the message gives its owner and mode.
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin } else { paths };
        let texts = paths.iter().map(|path| {
            if path == Path::new("-") {
                return Ok(("standard input".to_owned(), read_stdin()?));
            }
            kinds::expect(path, &[Kind::Certificates, Kind::PrivateKey])?;
            let (bytes, meta) = read(path)?;
            // Base64 contains no spaces, so this is the label of a key.
            if is_exposed(&meta) && bytes.windows(12).any(|window| window == b"PRIVATE KEY-") {
                warning(exposed("a private key", path, &meta));
            }
            Ok((path.display().to_string(), bytes))
        });
        Ok(Self(texts.collect::<anyhow::Result<_>>()?))
    }

    /// The certificates that can be trusted now; all others are named in warnings.
    ///
    /// # Errors
    /// There is none, or a text is damaged or contains a private key.
    pub(crate) fn trusted(&self) -> anyhow::Result<Trusted> {
        let trusted = trusted_certificates(&self.sources())
            .and_then(|trusted| trusted.at(OffsetDateTime::now_utc()))
            .context("cannot take the certificates")?;
        trusted.left_out.iter().for_each(|why| warning(format!("{why}: it is left out")));
        Ok(trusted)
    }

    /// The texts for the importer.
    pub(crate) fn sources(&self) -> Vec<Source<'_>> {
        self.0.iter().map(|(name, bytes)| Source { name, bytes }).collect()
    }
}

fn read_stdin() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if stdin().is_terminal() {
        note("paste the PEM text, then press Ctrl-D on a line of its own");
    }
    read_limited(stdin().lock(), MAX_PEM).map(Zeroizing::new).context("cannot read standard input")
}

/// Reads a small file; an error gives its owner and mode.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Zeroizing<Vec<u8>>, Metadata)> {
    let read = || -> io::Result<_> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        Ok((Zeroizing::new(read_limited(file, MAX_PEM)?), meta))
    };
    read().with_context(|| match path.metadata() {
        Ok(meta) => format!("cannot read {} ({})", path.display(), owner_and_mode(&meta)),
        Err(_) => format!("cannot read {}", path.display()),
    })
}

/// Reads the first line of a passphrase file.
pub(crate) fn read_passphrase(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let (bytes, meta) = read(path)?;
    if is_exposed(&meta) {
        warning(exposed("a passphrase", path, &meta));
    }
    let text =
        std::str::from_utf8(&bytes).with_context(|| format!("cannot read {} as text", path.display()))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Reads a key that this program created and that only its owner may read.
///
/// # Errors
/// The key cannot be read, is readable by others, or belongs to neither the caller nor root.
pub(crate) fn read_own_key(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let (bytes, meta) = read(path)?;
    anyhow::ensure!(!is_exposed(&meta), exposed("a private key", path, &meta));
    let owner = meta.uid();
    anyhow::ensure!(
        owner == 0 || owner == rustix::process::geteuid().as_raw(),
        "{} belongs to another user ({}): who can change it issues certificates; run `chown` on it",
        path.display(),
        owner_and_mode(&meta)
    );
    Ok(bytes)
}

fn is_exposed(meta: &Metadata) -> bool {
    meta.is_file() && meta.mode() & 0o077 != 0
}

fn exposed(what: &str, path: &Path, meta: &Metadata) -> String {
    let whose = owner_and_mode(meta);
    format!("{} holds {what} and can be read by others ({whose}): run `chmod 600` on it", path.display())
}

fn owner_and_mode(meta: &Metadata) -> impl Display {
    let uid = meta.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    let owner = name.unwrap_or(uid);
    format!("owner {owner}, mode {:04o}", meta.mode() & 0o7777)
}
