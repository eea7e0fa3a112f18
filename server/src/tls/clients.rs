//! Trusted issuers of client certificates: CA certificates and revocation lists, from a file or a folder.
//!
//! In a folder, files ending in `.pem`, `.crt`, `.cer` and `.crl` count, each with any number of PEM blocks or one
//! DER object. An unusable file is skipped and named, and so is a certificate that is not an authority. A file that
//! was usable before, and may be half written just now, keeps its last good content until it can be read again or is
//! removed.
//!
//! What may be a revocation list and cannot be used is not skipped, because those whom it revokes would get in: it is
//! refused when it is set, what was read before stays while the server runs, and a start with it lets no client in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use schema::config::Settings;
use schema::tls::{Source, client_authorities, not_after, not_before, to_pem};
use time::OffsetDateTime;
use x509_parser::parse_x509_crl;

use super::leaf::Leaf;
use super::lists::List;

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
    /// A revocation list cannot be used.
    #[error(
        "cannot use proxy.tls.client-ca {}: whom a revocation list there revokes would get in{}; mend the file or move it \
         away, then set it again",
        path.display(),
        and(problems)
    )]
    Revocation {
        /// The path.
        path: PathBuf,
        /// Which files, and why.
        problems: Vec<String>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClientCas {
    path: PathBuf,
    files: BTreeMap<PathBuf, Content>,
    /// Whether no client is let in, because a revocation list cannot be used.
    pub(super) is_shut: bool,
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
    revoked: Vec<List>,
    /// Skipped contents, as sentence fragments.
    left_out: Vec<String>,
}

/// A file that cannot be used.
#[derive(Default)]
struct Unusable {
    why: String,
    /// Whether it is, or may be, a revocation list.
    may_revoke: bool,
    /// The authorities in it.
    roots: Vec<CertificateDer<'static>>,
}

impl ClientCas {
    /// Reads the configured path; `before` is the last result. A server that starts gets through with revocation lists that
    /// cannot be used.
    pub(super) fn read(
        settings: &Settings,
        before: Option<&Self>,
        is_start: bool,
    ) -> Result<(Self, Reading), ClientCaError> {
        let path = settings.tls.client_ca.as_deref().ok_or(ClientCaError::Unset)?;
        // Taken before reading: a change in between is picked up at the next look.
        let seen = fingerprint(settings);
        let failed = |source| ClientCaError::Io { path: path.to_owned(), source };
        // What a start could not use was never good.
        let before = before.filter(|before| before.path == path);
        let good = before.filter(|before| !before.is_shut);
        let mut all = Self { path: path.to_owned(), ..Self::default() };
        let (mut problems, mut revocation) = (Vec::new(), Vec::new());
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
                Err(Unusable { why, may_revoke, roots }) => {
                    let kept = good.and_then(|good| good.files.get(&file));
                    let what = format!("Client CA file {}: {why}", file.display());
                    match kept {
                        Some(_) => problems.push(format!("{what}; what it held before stays in use.")),
                        None if may_revoke => revocation.push(what),
                        None => problems.push(format!("{what}; it is left out.")),
                    }
                    let content = kept.cloned().unwrap_or(Content { roots, ..Content::default() });
                    all.files.insert(file, content);
                }
            }
        }
        if !revocation.is_empty() {
            let then = if let Some(good) = good {
                all = good.clone();
                "what was read before stays in use"
            } else if is_start || before.is_some() {
                all.is_shut = true;
                "until it can be used or is gone, no client is let in"
            } else {
                return Err(ClientCaError::Revocation { path: path.to_owned(), problems: revocation });
            };
            problems.extend(revocation.iter().map(|what| format!("{what}; {then}.")));
        }
        if all.roots().next().is_none() {
            return Err(ClientCaError::Empty { path: path.to_owned(), problems });
        }
        problems.extend(all.unsigned());
        Ok((all, Reading { seen, problems }))
    }

    /// Lists that no authority here signed.
    fn unsigned(&self) -> impl Iterator<Item = String> {
        let lists =
            self.files.iter().flat_map(|(file, content)| content.revoked.iter().map(move |l| (file, l)));
        lists.filter(|(_, list)| !self.roots().any(|root| list.is_of(root))).map(|(file, list)| {
            format!(
                "Client CA file {}: no authority in proxy.tls.client-ca signed the revocation list of {}, so it revokes no \
                 client of theirs.",
                file.display(),
                list.issuer
            )
        })
    }

    /// What time did to authorities and lists, in full sentences.
    pub(super) fn ended(&self, now: OffsetDateTime) -> Vec<String> {
        let ended = |content: &Content| -> Vec<String> {
            let lists = content.revoked.iter().filter(|list| now > list.next && !self.is_replaced(list));
            let lists = lists.map(|list| {
                format!(
                    "the revocation list of {} should have been replaced by {}, and who was revoked since gets in: put the next \
                     one there",
                    list.issuer,
                    list.next.date()
                )
            });
            content.ended(now).chain(lists).collect()
        };
        let said = |(file, content): (&PathBuf, &Content)| -> Vec<String> {
            ended(content).iter().map(|why| format!("Client CA file {}: {why}.", file.display())).collect()
        };
        self.files.iter().flat_map(said).collect()
    }

    /// Whether a newer list of the same authority is here.
    fn is_replaced(&self, list: &List) -> bool {
        let newer = |root| self.revoked().any(|other| other.made > list.made && other.is_of(root));
        self.roots().any(|root| list.is_of(root) && newer(root))
    }

    /// The CA certificates.
    pub(super) fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.files.values().flat_map(|content| &content.roots)
    }

    /// The revocation lists.
    pub(super) fn revoked(&self) -> impl Iterator<Item = &List> {
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

fn read(file: &Path) -> Result<Content, Unusable> {
    let is_list = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("crl"));
    let unusable = |why: String, may_revoke: bool| Unusable { why, may_revoke, roots: Vec::new() };
    // What is there and cannot be read may be a list.
    let unread = |error: io::Error| {
        unusable(format!("cannot read it: {error}"), is_list || error.kind() != io::ErrorKind::NotFound)
    };
    // Opening a pipe would block forever.
    if !fs::metadata(file).map_err(unread)?.is_file() {
        return Err(unusable("it is not a file".into(), is_list));
    }
    let mut bytes = Vec::new();
    let name = file.display().to_string();
    let file = File::open(file).map_err(unread)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > LARGEST {
        return Err(unusable(format!("it is larger than {} MiB", LARGEST >> 20), true));
    }
    content(&name, bytes)
        .map_err(|unusable| Unusable { may_revoke: unusable.may_revoke || is_list, ..unusable })
}

fn content(name: &str, bytes: Vec<u8>) -> Result<Content, Unusable> {
    let bytes = match bytes.first() {
        // DER has no label that says what it is.
        Some(0x30) if parse_x509_crl(&bytes).is_ok() => to_pem("X509 CRL", &bytes).into(),
        Some(0x30) if webpki::anchor_from_trusted_cert(&bytes[..].into()).is_ok() => {
            to_pem("CERTIFICATE", &bytes).into()
        }
        _ => bytes,
    };
    let may_revoke = || bytes.first() == Some(&0x30) || bytes.windows(8).any(|window| window == b"X509 CRL");
    let read = client_authorities(&[Source { name, bytes: &bytes }]).map_err(|why| Unusable {
        why: why.to_string(),
        may_revoke: may_revoke(),
        roots: Vec::new(),
    })?;
    let mut content = Content { left_out: read.left_out, ..Content::default() };
    for der in read.certificates {
        match webpki::anchor_from_trusted_cert(&der) {
            Ok(_) => content.roots.push(der),
            Err(_) => content.left_out.push("a certificate in it cannot be used: have it made again".into()),
        }
    }
    for der in read.revoked {
        match List::read(der) {
            Ok(list) => content.revoked.push(list),
            Err(why) => {
                let why = format!("a revocation list in it cannot be used: {why}");
                return Err(Unusable { why, may_revoke: true, roots: content.roots });
            }
        }
    }
    if content.roots.is_empty() && content.revoked.is_empty() {
        return Err(Unusable { why: content.left_out.join("; "), ..Unusable::default() });
    }
    Ok(content)
}

impl Content {
    /// What is left out, in full sentences.
    fn problems(&self, file: &Path) -> impl Iterator<Item = String> {
        self.left_out
            .iter()
            .map(move |why| format!("Client CA file {}: {why}; it is left out.", file.display()))
    }

    /// What time did to its authorities, as sentence fragments.
    fn ended(&self, now: OffsetDateTime) -> impl Iterator<Item = String> {
        let root = move |der: &CertificateDer<'_>| {
            let (begin, end) = (not_before(der)?, not_after(der)?);
            let whose = Leaf::read(der).map(|leaf| leaf.subject).unwrap_or_default();
            match now {
                _ if now > end => Some(format!(
                    "the authority {whose} has expired on {}, and clients of it are refused",
                    end.date()
                )),
                _ if now < begin => Some(format!(
                    "the authority {whose} is not valid before {}, and clients of it are refused",
                    begin.date()
                )),
                _ => None,
            }
        };
        self.roots.iter().filter_map(root)
    }
}
