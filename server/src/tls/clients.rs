//! Trusted issuers of client certificates: CA certificates and revocation lists, from a file or a folder.
//!
//! In a folder, files ending in `.pem`, `.crt`, `.cer` and `.crl` count, each with any number of PEM blocks or one
//! DER object. An unusable file is skipped and named, and so is a certificate that is not an authority. A file that
//! was usable before, and may be half written just now, keeps its last good content until it can be read again or is
//! removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use schema::config::Settings;
use schema::tls::{Source, client_authorities, not_after, to_pem};
use time::OffsetDateTime;

use crate::clock;

/// File name extensions that count.
const ENDINGS: [&str; 4] = ["pem", "crt", "cer", "crl"];
/// Largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Why client certificates cannot be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClientCaError {
    /// Client certificates are enabled without a CA.
    #[error(
        "proxy.tls.client-auth needs proxy.tls.client-ca: set it to a PEM file, or a folder of them, with the \
         CA certificates of the clients"
    )]
    Unset,
    /// The file or folder cannot be read.
    #[error("cannot read proxy.tls.client-ca {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The path contains nothing usable.
    #[error("proxy.tls.client-ca {} holds no usable CA certificate{}", path.display(), and(problems))]
    Empty {
        /// The path.
        path: PathBuf,
        /// Problems with its files.
        problems: Vec<String>,
    },
}

fn and(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("; {problem}")).collect()
}

/// Detects changes: path, inode, modification time and length of each file.
pub(super) type Fingerprint = Vec<(PathBuf, [i128; 4])>;

/// CA certificates and revocation lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientCas {
    files: BTreeMap<PathBuf, Content>,
}

/// The result of the last read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The state of the files at that time.
    pub(super) seen: Fingerprint,
    /// Unusable files, in full sentences.
    pub(super) problems: Vec<String>,
}

/// The contents of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    roots: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Skipped contents, as sentence fragments.
    left_out: Vec<String>,
}

impl ClientCas {
    /// Reads the configured path; `before` is the last result for the same path.
    pub(super) fn read(settings: &Settings, before: Option<&Self>) -> Result<(Self, Reading), ClientCaError> {
        let path = settings.tls.client_ca.as_deref().ok_or(ClientCaError::Unset)?;
        // Taken before reading: a change in between is picked up at the next look.
        let seen = fingerprint(settings);
        let failed = |source| ClientCaError::Io { path: path.to_owned(), source };
        let mut all = Self::default();
        let mut problems = Vec::new();
        let (files, others) = files_of(path).map_err(failed)?;
        if !others.is_empty() {
            let shown = others.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let more =
                if others.len() > 5 { format!(" and {} more", others.len() - 5) } else { String::new() };
            problems.push(format!(
                "Client CA folder {}: {shown}{more} end in none of .{} and are left out.",
                path.display(),
                ENDINGS.join(", .")
            ));
        }
        for file in files {
            match read(&file) {
                Ok(content) => {
                    problems.extend(content.problems(&file));
                    all.files.insert(file, content);
                }
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

    /// The CA certificates.
    pub(super) fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.files.values().flat_map(|content| &content.roots)
    }

    /// The revocation lists.
    pub(super) fn revoked(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.files.values().flat_map(|content| &content.revoked)
    }
}

/// The state of the configured files; empty if they cannot be inspected.
pub(super) fn fingerprint(settings: &Settings) -> Fingerprint {
    let path = settings.tls.client_ca.as_deref();
    let (files, _) = path.and_then(|path| files_of(path).ok()).unwrap_or_default();
    let state = |file: PathBuf| {
        let state = fs::metadata(&file).map(|meta| {
            [meta.ino().into(), meta.ctime().into(), meta.ctime_nsec().into(), meta.len().into()]
        });
        (file, state.unwrap_or_default())
    };
    files.into_iter().map(state).collect()
}

/// The file itself, or a folder's relevant files and the names of the others, sorted.
fn files_of(path: &Path) -> io::Result<(Vec<PathBuf>, Vec<String>)> {
    if !fs::metadata(path)?.is_dir() {
        return Ok((vec![path.to_owned()], Vec::new()));
    }
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let counts = ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) && !name.starts_with("._");
        match counts && !file.is_dir() {
            true => files.push(file),
            false => others.push(name.into_owned()),
        }
    }
    files.sort();
    others.sort();
    Ok((files, others))
}

fn read(file: &Path) -> Result<Content, String> {
    // Opening a pipe would block forever.
    let meta = fs::metadata(file).map_err(|error| format!("cannot read it: {error}"))?;
    if !meta.is_file() {
        return Err("it is not a file".into());
    }
    let mut bytes = Vec::new();
    let name = file.display().to_string();
    let file = File::open(file).map_err(|error| format!("cannot read it: {error}"))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    content(&name, bytes)
}

fn content(name: &str, bytes: Vec<u8>) -> Result<Content, String> {
    let bytes = match bytes.first() {
        // DER has no label that says what it is.
        Some(0x30) if webpki::BorrowedCertRevocationList::from_der(&bytes).is_ok() => {
            to_pem("X509 CRL", &bytes).into()
        }
        Some(0x30) if webpki::anchor_from_trusted_cert(&bytes[..].into()).is_ok() => {
            to_pem("CERTIFICATE", &bytes).into()
        }
        _ => bytes,
    };
    let read = client_authorities(&[Source { name, bytes: &bytes }]).map_err(|why| why.to_string())?;
    let mut content = Content { left_out: read.left_out, ..Content::default() };
    for der in read.certificates {
        match webpki::anchor_from_trusted_cert(&der) {
            Ok(_) => content.roots.push(der),
            Err(why) => content.left_out.push(format!("a certificate cannot be used ({why})")),
        }
    }
    for der in read.revoked {
        // Ignoring a revocation list would let in those it revokes.
        webpki::BorrowedCertRevocationList::from_der(&der).map_err(|error| match error {
            webpki::Error::UnsupportedCrlVersion => {
                "a revocation list in it is of version 1: make one of version 2, with a number (`crl_extensions` of \
                 `openssl ca`)"
                    .to_owned()
            }
            other => format!("a revocation list in it cannot be used ({other})"),
        })?;
        content.revoked.push(der.into());
    }
    if content.roots.is_empty() && content.revoked.is_empty() {
        return Err(content.left_out.join("; "));
    }
    Ok(content)
}

impl Content {
    /// Why parts of the file let nobody in, in full sentences.
    fn problems(&self, file: &Path) -> impl Iterator<Item = String> {
        let now = OffsetDateTime::from_unix_timestamp(clock::seconds().cast_signed()).ok();
        let expired = move |der: &CertificateDer<'_>| {
            let end = not_after(der).filter(|end| now.is_some_and(|now| now > *end))?;
            Some(format!("a certificate has expired on {}, and clients of it are refused", end.date()))
        };
        let expired = self.roots.iter().filter_map(expired);
        let left_out = self.left_out.iter().map(|why| format!("{why}; it is left out"));
        let all: Vec<String> = left_out.chain(expired).collect();
        all.into_iter().map(move |why| format!("Client CA file {}: {why}.", file.display()))
    }
}
