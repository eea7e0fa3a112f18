//! Blobs in a bucket of an S3 object store.
//!
//! ```text
//! BUCKET/blobs/ab/abcdef…      published; the name is the digest in hexadecimal
//! BUCKET/damaged/abcdef…       empty: marks the blob of this name as damaged; the object itself stays
//! STAGING/upload-XXXXXX        names a running multipart upload; locked by its server, which aborts it at its next
//! start
//! ```
//!
//! An object gets its name when it has arrived completely, and counts as published once it was read back and hashed.
//! Only the store's answer about an existing bucket counts as "not found": a rejected key or an unknown bucket is an
//! error that names its settings.

use std::error::Error as _;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write as _};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig,
};
use schema::config;
use schema::digest::Sha3_384;
use tempfile::NamedTempFile;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

use super::condition::{Condition, Harm, Identity};
use super::hashing::digest_of;
use super::local::{Listed, Published};
use super::pace::Pace;
use super::{BLOCK, BlobError};

/// Bytes per part of an upload: at least S3's minimum for every part but the last.
const PART: u64 = 8 << 20;

/// S3's maximum number of parts.
const PARTS: u64 = 10_000;

/// Timeout of a read or a short query, including retries.
const PATIENCE: Duration = Duration::from_secs(10);

/// Timeout of uploading a part, and of completing an upload.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);

/// The prefix of an upload's note in staging.
const NOTE: &str = "upload-";

/// A bucket and its credentials.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: AmazonS3,
    name: String,
    url: String,
    access_key: String,
}

impl Bucket {
    /// The configured bucket; does not contact it yet.
    ///
    /// # Errors
    /// [`BlobError::Setting`]
    pub(crate) fn of(settings: &config::Bucket) -> Result<Bucket, BlobError> {
        let access_key = needed("proxy.storage.s3.access-key-id", &settings.access_key_id)?;
        let secret = needed("proxy.storage.s3.secret-access-key", &settings.secret_access_key)?;
        let url = settings.server_url.as_deref();
        let client = ClientOptions::new()
            .with_allow_http(url.is_some_and(|url| url.starts_with("http://")))
            .with_connect_timeout(PATIENCE / 2)
            .with_timeout(UPLOAD_PATIENCE);
        let retry = RetryConfig { max_retries: 2, retry_timeout: PATIENCE / 2, ..RetryConfig::default() };
        // Uses nothing from the environment, and asks no cloud for credentials.
        let mut builder = AmazonS3Builder::new()
            .with_access_key_id(access_key)
            .with_secret_access_key(secret)
            .with_region(&settings.region)
            .with_bucket_name(&settings.name)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(url) = url {
            builder = builder.with_endpoint(url.trim_end_matches('/'));
        }
        let store = builder.build().map_err(|error| BlobError::Setting {
            key: "proxy.storage.s3.server-url",
            problem: error.to_string(),
        })?;
        let (name, url) = (settings.name.clone(), url.unwrap_or("Amazon S3").to_owned());
        Ok(Bucket { store, name, url, access_key: access_key.to_owned() })
    }

    /// Which one it is, for people.
    pub(super) fn shown(&self) -> String {
        format!("bucket {} at {}", self.name, self.url)
    }

    fn path(digest: &Sha3_384) -> Path {
        let name = digest.to_hex();
        Path::from_iter(["blobs", &name[..2], &name])
    }

    fn aside(digest: &Sha3_384) -> Path {
        Path::from_iter(["damaged", &digest.to_hex()])
    }

    /// Waits on a blocking thread for the object store.
    fn wait<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        let handle = Handle::try_current().map_err(io::Error::other)?;
        handle.block_on(self.within(patience, asked))
    }

    async fn within<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        match timeout(patience, asked).await {
            Ok(result) => result.map_err(|error| self.fault(error)),
            Err(_) => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("{} gave no answer in {patience:?}: see proxy.storage.s3.server-url", self.shown()),
            )),
        }
    }

    fn fault(&self, error: Error) -> io::Error {
        let kind = match &error {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        let (bucket, access_key, told) = (self.shown(), &self.access_key, told(&error));
        let keys = match told.get(..3) {
            Some("404") => "proxy.storage.s3.scanned-container-name",
            Some("401" | "403") => "proxy.storage.s3.access-key-id and proxy.storage.s3.secret-access-key",
            _ => "proxy.storage.s3.server-url",
        };
        io::Error::new(
            kind,
            format!("{bucket} does not work with access key {access_key}: {told}; see {keys}"),
        )
    }

    /// The object of this name; `None` if a listing does not contain it either.
    fn head(&self, path: &Path) -> io::Result<Option<ObjectMeta>> {
        match self.wait(PATIENCE, self.store.head(path)) {
            Ok(about) => Ok(Some(about)),
            Err(error) if error.kind() == ErrorKind::NotFound => self.sure_of_absence(path).map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// A HEAD answer does not distinguish a missing object from a missing bucket, or from an answer by something in
    /// between.
    fn sure_of_absence(&self, path: &Path) -> io::Result<()> {
        let names: Vec<&str> = path.as_ref().rsplitn(2, '/').collect();
        let folder = Path::from(names.get(1).copied().unwrap_or_default());
        let there = self.wait(PATIENCE, async {
            let mut listed = self.store.list(Some(&folder));
            while let Some(about) = listed.try_next().await? {
                if about.location == *path {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        match there {
            Ok(false) => Ok(()),
            Ok(true) => {
                Err(io::Error::other(format!("bucket {} lists {path} and does not give it", self.name)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(io::Error::other(error)),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob after checking its length. Blocks.
    pub(super) fn open(self: &Arc<Self>, digest: &Sha3_384, size: u64) -> Result<Object, BlobError> {
        let path = Bucket::path(digest);
        let about = self.head(&path).map_err(BlobError::io("look at a blob"))?;
        let about = about.ok_or_else(|| BlobError::Missing { digest: digest.to_hex() })?;
        if about.size != size {
            return Err(BlobError::LengthMismatch {
                digest: digest.to_hex(),
                expected: size,
                found: about.size,
            });
        }
        Ok(Object { bucket: Arc::clone(self), path, size, position: 0, buffer: Bytes::new() })
    }

    /// Reads a whole blob and compares it with its name. Blocks.
    pub(super) fn examine(
        self: &Arc<Self>,
        digest: &Sha3_384,
        size: u64,
        pace: &Pace,
    ) -> io::Result<Condition> {
        let path = Bucket::path(digest);
        let Some(about) = self.head(&path)? else { return Ok(Condition::Damaged(Harm::Missing)) };
        let identity = identity(&about);
        if about.size != size {
            return Ok(Condition::Damaged(Harm::Length(identity, about.size)));
        }
        let mut object = Object { bucket: Arc::clone(self), path, size, position: 0, buffer: Bytes::new() };
        match digest_of(&mut object, size, pace)? {
            (found, _) if found == *digest => Ok(Condition::Whole),
            _ => Ok(Condition::Damaged(Harm::Content(identity))),
        }
    }

    /// Uploads a staged file under its digest and reads it back. Blocks.
    pub(super) fn publish(
        self: &Arc<Self>,
        staging: &FilePath,
        file: &mut File,
        digest: &Sha3_384,
        size: u64,
    ) -> io::Result<Published> {
        let path = Bucket::path(digest);
        let before = self.head(&path)?;
        // An existing object is replaced: reading it would cost as much.
        self.upload(staging, file, &path, size)?;
        match self.examine(digest, size, &Pace::new(None))? {
            Condition::Whole => {}
            Condition::Damaged(harm) => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("the object store did not keep {path} as it was uploaded: {harm}"),
                ));
            }
        }
        let was_damaged = self.forget_damage(digest)?;
        Ok(match before {
            None if !was_damaged => Published::New,
            Some(about) if !was_damaged && about.size == size => Published::Already,
            _ => Published::Healed,
        })
    }

    /// Whether a blob exists with its length and is not known to be damaged. Blocks.
    pub(super) fn stands(&self, digest: &Sha3_384, size: u64) -> io::Result<bool> {
        let is_there = self.head(&Bucket::path(digest))?.is_some_and(|about| about.size == size);
        Ok(is_there && self.head(&Bucket::aside(digest))?.is_none())
    }

    fn upload(&self, staging: &FilePath, file: &mut File, path: &Path, size: u64) -> io::Result<()> {
        let mut piece = |length: u64| -> io::Result<PutPayload> {
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact(&mut bytes)?;
            Ok(bytes.into())
        };
        if size <= PART {
            let payload = piece(size)?;
            return self.wait(UPLOAD_PATIENCE, self.store.put(path, payload)).map(drop);
        }
        let mut note = tempfile::Builder::new().prefix(NOTE).tempfile_in(staging)?;
        note.as_file().try_lock().map_err(io::Error::from)?;
        let id = self.wait(PATIENCE, self.store.create_multipart(path))?;
        let part = PART.max(size.div_ceil(PARTS));
        let sent = write_note(&mut note, path, &id).and_then(|()| {
            let mut parts = Vec::new();
            let mut left = size;
            while left > 0 {
                let length = left.min(part);
                let sending = self.store.put_part(path, &id, parts.len(), piece(length)?);
                parts.push(self.wait(UPLOAD_PATIENCE, sending)?);
                left -= length;
            }
            self.wait(UPLOAD_PATIENCE, self.store.complete_multipart(path, &id, parts)).map(drop)
        });
        if sent.is_err() && self.wait(PATIENCE, self.store.abort_multipart(path, &id)).is_err() {
            // The next start tries again.
            note.keep().map_err(|error| error.error)?;
        }
        sent
    }

    /// Aborts the upload of a server that is gone, if this staging file is its note. Blocks.
    pub(super) fn end_upload(&self, file: &FilePath) -> io::Result<()> {
        if !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NOTE)) {
            return Ok(());
        }
        let text = fs::read_to_string(file)?;
        // If the note lacks its last character, no part was ever uploaded.
        let Some((path, id)) = text.strip_suffix('\n').and_then(|text| text.split_once(' ')) else {
            return Ok(());
        };
        match self.wait(PATIENCE, self.store.abort_multipart(&Path::from(path), &id.to_owned())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every published object. Blocks.
    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let named = |about: ObjectMeta| {
            let digest = Sha3_384::from_hex(about.location.filename()?).ok()?;
            let is_ours = Bucket::path(&digest) == about.location;
            is_ours.then(|| Listed { digest, size: about.size, changed: about.last_modified.into() })
        };
        Ok(self.all("blobs")?.into_iter().filter_map(named).collect())
    }

    fn all(&self, folder: &str) -> io::Result<Vec<ObjectMeta>> {
        let folder = Path::from(folder);
        let handle = Handle::try_current().map_err(io::Error::other)?;
        handle.block_on(async {
            let mut listed = self.store.list(Some(&folder)).fuse();
            let mut all = Vec::new();
            // Each page has its own timeout.
            while let Some(about) = self.within(PATIENCE, listed.try_next()).await? {
                all.push(about);
            }
            Ok(all)
        })
    }

    /// Removes a published object. Blocks.
    pub(super) fn remove(&self, digest: &Sha3_384) -> io::Result<()> {
        self.wait(PATIENCE, self.store.delete(&Bucket::path(digest)))
    }

    /// Marks a blob as damaged; `false` if the name now belongs to something else. Blocks.
    ///
    /// The object stays: no operation could move it and at the same time spare one that was just uploaded.
    pub(super) fn set_aside(&self, digest: &Sha3_384, harm: &Harm) -> io::Result<bool> {
        let now = self.head(&Bucket::path(digest))?;
        match (harm.identity(), now) {
            (Some(seen), Some(there)) if seen != identity(&there) => return Ok(false),
            (None, Some(_)) if *harm == Harm::Missing => return Ok(false),
            _ => {}
        }
        self.wait(PATIENCE, self.store.put(&Bucket::aside(digest), PutPayload::new()))?;
        Ok(true)
    }

    /// Blobs marked as damaged. Blocks.
    pub(super) fn damaged(&self) -> io::Result<Vec<Sha3_384>> {
        let digest = |about: ObjectMeta| Sha3_384::from_hex(about.location.filename()?).ok();
        Ok(self.all("damaged")?.into_iter().filter_map(digest).collect())
    }

    /// The blob is intact again, or not needed; returns whether it was damaged. Blocks.
    pub(super) fn forget_damage(&self, digest: &Sha3_384) -> io::Result<bool> {
        let aside = Bucket::aside(digest);
        if self.head(&aside)?.is_none() {
            return Ok(false);
        }
        self.wait(PATIENCE, self.store.delete(&aside))?;
        Ok(true)
    }

    /// Tests whether objects can be written. Blocks.
    pub(super) fn try_write(&self) -> io::Result<()> {
        self.wait(PATIENCE, self.store.put(&Path::from("check"), PutPayload::new())).map(drop)
    }
}

/// What an object store answered, in one line: the status, and the code and the message of its document; or what kept it from
/// answering.
fn told(error: &Error) -> String {
    let text = error.to_string();
    let between = |from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0.trim());
    let answer = [("status code: ", ":"), ("<Code>", "</Code>"), ("<Message>", "</Message>")];
    let answer: Vec<&str> = answer.into_iter().filter_map(|(from, to)| between(from, to)).collect();
    let told = match answer.is_empty() {
        true => {
            let mut cause = error.source();
            while let Some(inner) = cause.and_then(std::error::Error::source) {
                cause = Some(inner);
            }
            cause.map(ToString::to_string)
        }
        false => Some(answer.join(", ")),
    };
    // It may come from anything that answered.
    let is_text = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER;
    told.unwrap_or(text).chars().filter(is_text).take(200).collect()
}

/// A value that a bucket cannot be without.
fn needed<'a>(key: &'static str, value: &'a str) -> Result<&'a str, BlobError> {
    match value {
        "" => Err(BlobError::Setting { key, problem: "it is not set".into() }),
        value => Ok(value),
    }
}

fn identity(about: &ObjectMeta) -> Identity {
    Identity::Object(format!("{} {:?}", about.last_modified, about.e_tag).into())
}

fn write_note(note: &mut NamedTempFile, path: &Path, id: &str) -> io::Result<()> {
    writeln!(note, "{path} {id}")?;
    note.as_file().sync_all()
}

/// An object that is read in parts.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    bucket: Arc<Bucket>,
    path: Path,
    size: u64,
    position: u64,
    buffer: Bytes,
}

impl Object {
    /// Its length when it was opened, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// These bytes of the object.
    ///
    /// # Errors
    /// The object store failed, was too slow, or sent a different number of bytes ([`ErrorKind::UnexpectedEof`]).
    pub(crate) async fn read_range(&self, part: Range<u64>) -> io::Result<Bytes> {
        let length = part.end - part.start;
        let bytes = self.bucket.within(PATIENCE, self.bucket.store.get_range(&self.path, part)).await?;
        if bytes.len() as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

impl Read for Object {
    /// Blocks, like reading a file.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.position < self.size {
            let end = self.size.min(self.position + 8 * BLOCK as u64);
            let handle = Handle::try_current().map_err(io::Error::other)?;
            self.buffer = handle.block_on(self.read_range(self.position..end))?;
            self.position = end;
        }
        let count = into.len().min(self.buffer.len());
        into[..count].copy_from_slice(&self.buffer.split_to(count));
        Ok(count)
    }
}
