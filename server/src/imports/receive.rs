//! Receives a bundle: decodes the stream and stages its files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use aws_lc_rs::digest::{Context as Hash, SHA256};
use schema::assertion::{Assertion, DEFAULT_PROVENANCE};
use schema::bundle::{
    BundleError, BundleReader, ComponentYaml, Limits, Manifest, Member, MemberKind, Metadata, SnapYaml,
};
use schema::difference::{DifferenceError, apply, read_head};
use schema::digest::{Hashed, Sha3_384};
use schema::image::{COMPONENT_YAML, ImageError, SNAP_YAML, component_yaml, snap_yaml};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use super::documents::{Documents, Proof};
use super::{Context, ImportError, KnownState};
use crate::storage::blobs::{BlobError, BlobStore, Source, Staged, Staging};
use crate::storage::records::BlobRecord;

/// A bundle with staged files, of which only the format was checked. Dropping it removes them.
pub(crate) struct Received {
    bundle: Bundle,
    files: Vec<(MemberKind, String, Staged)>,
}

/// A bundle for planning: its files are known, and may or may not be published.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    /// The digest of the whole file, see [`super::file_digest`].
    pub(crate) file_digest: String,
    /// The manifest.
    pub(crate) manifest: Option<Manifest>,
    /// The store's answers for its snaps.
    pub(crate) metadata: Vec<Metadata>,
    /// The raw metadata of brand stores; only in a store archive.
    pub(crate) stores: Option<Vec<u8>>,
    /// Its assertions.
    pub(crate) assertions: Vec<Assertion>,
    /// The outcome of verifying them; empty until then.
    pub(crate) proof: Proof,
    /// Its snaps.
    pub(crate) snaps: Vec<SnapFile>,
    /// Its components.
    pub(crate) components: Vec<ComponentFile>,
    /// Icons of its snaps.
    pub(crate) icons: Vec<IconFile>,
    /// Names of unused members.
    pub(crate) ignored: Vec<String>,
}

/// A snap of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct SnapFile {
    /// Its name in the bundle.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) blob: BlobRecord,
    /// The parsed snap.yaml.
    pub(crate) yaml: SnapYaml,
    /// The snap.yaml as text.
    pub(crate) yaml_text: String,
}

/// A component of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct ComponentFile {
    /// Its name in the bundle.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) blob: BlobRecord,
    /// The parsed component.yaml.
    pub(crate) yaml: ComponentYaml,
}

/// A snap's icon: devices show it, but do not trust it.
#[derive(Debug, Clone)]
pub(crate) struct IconFile {
    /// The snap's name.
    pub(crate) snap: String,
    /// `png`, `jpg` or `svg`.
    pub(crate) format: String,
    /// Its bytes.
    pub(crate) blob: BlobRecord,
}

/// Largest icon that snapd accepts, in bytes.
const LARGEST_ICON: u64 = 300_000;

/// Reads a whole bundle, decoding it on a separate thread in bounded memory.
pub(crate) async fn receive(
    blobs: BlobStore,
    body: impl AsyncRead + Send + Unpin + 'static,
    limits: Limits,
) -> Result<Received, ImportError> {
    receive_from(blobs, SyncIoBridge::new(body), limits, false).await
}

/// As [`receive`], from a reader that blocks. In a parcel, files may be differences to others that are here.
pub(crate) async fn receive_from(
    blobs: BlobStore,
    body: impl Read + Send + 'static,
    limits: Limits,
    is_parcel: bool,
) -> Result<Received, ImportError> {
    let runtime = Handle::current();
    let reader = move || {
        let body = Hashing { inner: body, hash: Hash::new(&SHA256) };
        read(body, limits, |member| match member.kind() {
            MemberKind::Difference if is_parcel => rebuild(&runtime, &blobs, member, limits.entry),
            MemberKind::Difference => Err(ImportError::NotParcel(member.name().to_owned())),
            _ => {
                let staged = stage(&runtime, &blobs, member, limits.entry)?;
                let digest = staged.record().digest;
                Ok((staged, digest))
            }
        })
    };
    spawn_blocking(reader).await.map_err(|error| ImportError::Internal(error.into()))?
}

/// Reads a single document, limited like one in a bundle.
pub(crate) async fn read_document(
    body: impl AsyncRead + Unpin,
    limits: Limits,
) -> Result<Vec<u8>, ImportError> {
    let limit = limits.document;
    let mut bytes = Vec::new();
    body.take(limit + 1).read_to_end(&mut bytes).await.map_err(BundleError::Read)?;
    match bytes.len() as u64 > limit {
        true => Err(BundleError::TooLarge { what: "bytes in one document", limit }.into()),
        false => Ok(bytes),
    }
}

fn read<R: Read>(
    body: Hashing<R>,
    limits: Limits,
    stage: impl Fn(Member<'_, Hashing<R>>) -> Result<(Staged, Sha3_384), ImportError>,
) -> Result<Received, ImportError> {
    let mut reader = BundleReader::new(body, limits)?;
    let mut bundle = Bundle {
        file_digest: String::new(),
        manifest: None,
        metadata: Vec::new(),
        stores: None,
        assertions: Vec::new(),
        proof: Proof::default(),
        snaps: Vec::new(),
        components: Vec::new(),
        icons: Vec::new(),
        ignored: Vec::new(),
    };
    let mut files = Vec::new();
    // Size and digest of each member, for the manifest.
    let mut members: BTreeMap<String, (u64, String)> = BTreeMap::new();
    while let Some(member) = reader.next_member()? {
        let (kind, name, size) = (member.kind(), member.name().to_owned(), member.size());
        let path = member.path().to_owned();
        let digest = match kind {
            MemberKind::Icon if size == 0 || size > LARGEST_ICON => {
                return Err(ImportError::Icon { file: name, size, limit: LARGEST_ICON });
            }
            MemberKind::Snap | MemberKind::Component | MemberKind::Icon => {
                let (staged, digest) = stage(member)?;
                files.push((kind, name.clone(), staged));
                digest
            }
            MemberKind::Difference => {
                let (staged, digest) = stage(member)?;
                let whole = name.trim_end_matches(".difference");
                let kind = if whole.ends_with(".snap") { MemberKind::Snap } else { MemberKind::Component };
                files.push((kind, whole.to_owned(), staged));
                digest
            }
            MemberKind::Other => {
                bundle.ignored.push(member.path().to_owned());
                continue;
            }
            MemberKind::Manifest | MemberKind::Metadata | MemberKind::Stores | MemberKind::Assertions => {
                let bytes = member.document()?;
                match kind {
                    MemberKind::Manifest => bundle.manifest = Some(Manifest::parse(&bytes)?),
                    MemberKind::Metadata => bundle.metadata.push(Metadata::parse(&bytes)?),
                    MemberKind::Stores => bundle.stores = Some(bytes.clone()),
                    _ => bundle.assertions.extend(decode(&bytes, &name)?),
                }
                Sha3_384::of(&bytes)
            }
        };
        // The manifest may list it with or without folders; for metadata.json, which may occur often, with them.
        members.entry(name).or_insert_with(|| (size, digest.to_hex()));
        members.insert(path, (size, digest.to_hex()));
    }
    if let Some(manifest) = &bundle.manifest {
        let found = |name: &str| members.get(name).map(|(size, digest)| (*size, digest.as_str()));
        manifest.check(found).map_err(BundleError::from)?;
    }
    bundle.file_digest = super::file_digest(&reader.into_inner().hash.finish());
    Ok(Received { bundle, files })
}

/// Reads a stream of assertions; the error names the document.
pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Vec<Assertion>, ImportError> {
    let read = Assertion::decode_stream(bytes);
    let read = read.map_err(|source| ImportError::Decode { name: name.to_owned(), source })?;
    match read.is_empty() {
        true => Err(ImportError::NoAssertions(name.to_owned())),
        false => Ok(read),
    }
}

/// Copies a member into a staging file. Reading blocks this thread; only the wait for the file is async.
fn stage<R: Read>(
    runtime: &Handle,
    blobs: &BlobStore,
    mut member: Member<'_, R>,
    limit: u64,
) -> Result<Staged, ImportError> {
    let mut staging = runtime.block_on(blobs.stage(limit))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match member.read_some(&mut buffer)? {
            0 => return Ok(runtime.block_on(staging.finish())?),
            count => runtime.block_on(staging.write(&buffer[..count]))?,
        }
    }
}

/// Rebuilds a file from a difference into a staging file. Returns also the digest of the difference itself.
fn rebuild<R: Read>(
    runtime: &Handle,
    blobs: &BlobStore,
    member: Member<'_, R>,
    limit: u64,
) -> Result<(Staged, Sha3_384), ImportError> {
    let name = member.name().to_owned();
    let broken = |source| ImportError::Difference { file: name.clone(), source };
    let damaged = || broken(DifferenceError::Damaged);
    let mut difference = BufReader::with_capacity(256 << 10, Hashed::new(Content(member)));
    let head = read_head(&mut difference).map_err(broken)?;
    let (base, target) = head.base_digest().zip(head.target_digest()).ok_or_else(damaged)?;
    if head.target_size > limit {
        return Err(BlobError::TooLarge { limit }.into());
    }
    let mut base = match blobs.open_blob(&base, head.base_size).map_err(|_| damaged())? {
        Source::File(file) => file,
        mut object @ Source::Object(_) => {
            let mut copy = tempfile::tempfile().map_err(ImportError::Internal)?;
            io::copy(&mut object, &mut copy).map_err(ImportError::Internal)?;
            copy
        }
    };
    let mut staging = runtime.block_on(blobs.stage(head.target_size))?;
    let mut out = IntoStaging { runtime, staging: &mut staging };
    apply(&head, &mut difference, &mut base, &mut out).map_err(|error| match error {
        DifferenceError::Io(error) => ImportError::Internal(error),
        error => broken(error),
    })?;
    let staged = runtime.block_on(staging.finish())?;
    // Whatever the difference says, its target is what was signed.
    if staged.record().digest != target {
        return Err(damaged());
    }
    io::copy(&mut difference, &mut io::sink()).map_err(ImportError::Internal)?;
    Ok((staged, difference.into_inner().finish()))
}

/// The content of a member.
struct Content<'a, R: Read>(Member<'a, R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_some(buf).map_err(io::Error::other)
    }
}

/// Writes into a staging file from a thread that may block.
struct IntoStaging<'a> {
    runtime: &'a Handle,
    staging: &'a mut Staging,
}

impl Write for IntoStaging<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.staging.write(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bundle whose assertions are verified and name every file of it.
pub(crate) struct Signed(Received);

impl Signed {
    /// Opens the files. Returns the bundle to plan with, and the files to publish before the commit.
    pub(crate) async fn inspect(self) -> Result<(Bundle, Vec<Staged>), ImportError> {
        let Received { mut bundle, files } = self.0;
        let mut staged = Vec::with_capacity(files.len());
        for (kind, name, file) in files {
            let blob = file.record().clone();
            match kind {
                MemberKind::Icon => {
                    let mut parts = name.split('.');
                    let snap = parts.next().unwrap_or_default().to_owned();
                    let format = parts.next_back().unwrap_or_default().to_owned();
                    bundle.icons.push(IconFile { snap, format, blob });
                }
                MemberKind::Snap => {
                    let (yaml_text, yaml) = look(&file, &name, SNAP_YAML, snap_yaml).await?;
                    bundle.snaps.push(SnapFile { name, blob, yaml, yaml_text });
                }
                _ => {
                    let yaml = look(&file, &name, COMPONENT_YAML, component_yaml).await?;
                    bundle.components.push(ComponentFile { name, blob, yaml });
                }
            }
            staged.push(file);
        }
        Ok((bundle, staged))
    }
}

impl Received {
    /// Checks that each file is signed: no byte of an unsigned one is parsed. The signatures are verified here and
    /// never again. This is CPU-bound, so it must not run on a thread that answers devices.
    pub(crate) fn verify(mut self, known: &dyn KnownState, cx: &Context) -> Result<Signed, ImportError> {
        let assertions = &self.bundle.assertions;
        self.bundle.proof = Proof::check(known, assertions, &Proof::default(), "the bundle", cx)?;
        let documents = Documents::check(known, assertions, &self.bundle.proof, "the bundle", cx)?;
        let signed_kinds = self.files.iter().filter(|(kind, ..)| *kind != MemberKind::Icon);
        for (kind, name, file) in signed_kinds {
            let record = file.record();
            let digest = record.digest.to_base64url();
            let signed = match kind {
                MemberKind::Snap => !documents.snap_revisions(&digest, DEFAULT_PROVENANCE).is_empty(),
                _ => !documents.resource_revisions(&digest).is_empty(),
            };
            if !signed && !known.has_blob(&record.digest) {
                return Err(ImportError::Unsigned { file: name.clone(), digest });
            }
        }
        Ok(Signed(self))
    }
}

/// Reads and parses one file of an image on a blocking thread.
async fn look<T: Send + 'static>(
    file: &Staged,
    name: &str,
    inner: &'static str,
    read: fn(File) -> Result<T, ImageError>,
) -> Result<T, ImportError> {
    let image = file.reopen()?;
    match spawn_blocking(move || read(image)).await {
        Ok(read) => read.map_err(|source| ImportError::Inspect { file: name.to_owned(), inner, source }),
        Err(error) => Err(ImportError::Internal(error.into())),
    }
}

/// Hashes a file as it is read.
struct Hashing<R> {
    inner: R,
    hash: Hash,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}
