//! Whose client certificates are accepted: CA certificates and revocation lists, from a file or a folder of them.
//!
//! Of a folder the files ending in `.pem`, `.crt`, `.cer` and `.crl` count, each with any number of PEM blocks, or
//! one DER object. A file that cannot be used is named and left out; one that could be used before, and is
//! perhaps being written just now, keeps its last good content until it can be read again or is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use schema::config::Settings;

/// Endings of the files of a folder that count.
const ENDINGS: [&str; 4] = ["pem", "crt", "cer", "crl"];
/// Largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Whether devices prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// One that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

impl ClientAuth {
    /// As the settings say.
    pub(super) fn of(settings: &Settings) -> Self {
        match settings.value("proxy.tls.client-auth") {
            "required" => Self::Required,
            "optional" => Self::Optional,
            _ => Self::Off,
        }
    }
}

/// Why no client could be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClientCaError {
    /// Client certificates without a CA.
    #[error(
        "proxy.tls.client-auth needs proxy.tls.client-ca: set it to a PEM file, or a folder of them, with the \
         CA certificates of the clients"
    )]
    Unset,
    /// The file or folder.
    #[error("cannot read proxy.tls.client-ca {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing that can be used is in it.
    #[error("proxy.tls.client-ca {} holds no usable CA certificate{}", path.display(), and(problems))]
    Empty {
        /// Which.
        path: PathBuf,
        /// What is wrong with its files.
        problems: Vec<String>,
    },
}

fn and(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("; {problem}")).collect()
}

/// What tells that something has changed: path, number, time of the last change and length of each file.
pub(super) type Fingerprint = Vec<(PathBuf, [i128; 4])>;

/// CA certificates and revocation lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientCas {
    files: BTreeMap<PathBuf, Content>,
}

/// What the last reading came by.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The state of the files at that time.
    pub(super) seen: Fingerprint,
    /// Files that cannot be used, in full sentences.
    pub(super) problems: Vec<String>,
}

/// What one file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    roots: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl ClientCas {
    /// Reads what the settings name; `before` is what was read of the same place the last time.
    pub(super) fn read(settings: &Settings, before: Option<&Self>) -> Result<(Self, Reading), ClientCaError> {
        let path = Path::new(settings.value("proxy.tls.client-ca"));
        if path.as_os_str().is_empty() {
            return Err(ClientCaError::Unset);
        }
        // Before the files: what changes in between is read again at the next look.
        let seen = fingerprint(settings);
        let failed = |source| ClientCaError::Io { path: path.to_owned(), source };
        let mut all = Self::default();
        let mut problems = Vec::new();
        for file in files_of(path).map_err(failed)? {
            match read(&file) {
                Ok(content) => drop(all.files.insert(file, content)),
                Err(why) => {
                    let kept = before.and_then(|before| before.files.get(&file));
                    let then =
                        if kept.is_some() { "what it held before stays in use" } else { "it is left out" };
                    problems.push(format!("Client CA file {}: {why}; {then}.", file.display()));
                    all.files.extend(kept.map(|content| (file, content.clone())));
                }
            }
        }
        if all.roots().next().is_none() {
            return Err(ClientCaError::Empty { path: path.to_owned(), problems });
        }
        Ok((all, Reading { seen, problems }))
    }

    /// The certificates that clients' ones must lead to.
    pub(super) fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.files.values().flat_map(|content| &content.roots)
    }

    /// The revocation lists.
    pub(super) fn revoked(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.files.values().flat_map(|content| &content.revoked)
    }
}

/// The state of the files that the settings name; empty when they cannot be looked at.
pub(super) fn fingerprint(settings: &Settings) -> Fingerprint {
    let files = files_of(Path::new(settings.value("proxy.tls.client-ca"))).unwrap_or_default();
    let state = |file: PathBuf| {
        let state = fs::metadata(&file).map(|meta| {
            [meta.ino().into(), meta.ctime().into(), meta.ctime_nsec().into(), meta.len().into()]
        });
        (file, state.unwrap_or_default())
    };
    files.into_iter().map(state).collect()
}

/// The file itself, or the files of a folder that count, sorted.
fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        if ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Content, String> {
    // Opening a pipe would wait for ever.
    let meta = fs::metadata(file).map_err(|error| format!("cannot read it: {error}"))?;
    if !meta.is_file() {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    let file = File::open(file).map_err(|error| format!("cannot read it: {error}"))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    content(&bytes)
}

fn content(bytes: &[u8]) -> Result<Content, String> {
    let mut content = Content::default();
    if bytes.first() == Some(&0x30) {
        // DER has no label that tells what it is.
        if content.take(SectionKind::Certificate, bytes.to_vec()).is_err() {
            content.take(SectionKind::Crl, bytes.to_vec())?;
        }
        return Ok(content);
    }
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|error| format!("it is no whole PEM text ({error})"))?;
        content.take(kind, der)?;
    }
    if content.roots.is_empty() && content.revoked.is_empty() {
        return Err("it holds neither a certificate nor a revocation list".into());
    }
    Ok(content)
}

impl Content {
    fn take(&mut self, kind: SectionKind, der: Vec<u8>) -> Result<(), String> {
        match kind {
            SectionKind::Certificate => {
                let der = CertificateDer::from(der);
                webpki::anchor_from_trusted_cert(&der)
                    .map_err(|error| format!("a certificate in it is damaged ({error})"))?;
                self.roots.push(der);
            }
            SectionKind::Crl => {
                webpki::BorrowedCertRevocationList::from_der(&der).map_err(|error| match error {
                    webpki::Error::UnsupportedCrlVersion => {
                        "a revocation list in it is of version 1: make one of version 2, with a number \
                         (`crl_extensions` of `openssl ca`)"
                            .to_owned()
                    }
                    other => format!("a revocation list in it cannot be used ({other})"),
                })?;
                self.revoked.push(der.into());
            }
            _ => {}
        }
        Ok(())
    }
}
