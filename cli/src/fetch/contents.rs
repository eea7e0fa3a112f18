//! The contents of a bundle on disk, read to the last byte and verified offline.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest::{Context as Hash, SHA3_384};
use schema::assertion::{Anchors, Assertion, Checker, Details, KeyTime, Verified, check_batch};
use schema::bundle::{BrandStores, BundleReader, Limits, Manifest, Member, MemberKind, Metadata};
use schema::digest::Sha3_384;
use schema::image::{COMPONENT_YAML, SNAP_YAML, component_yaml, snap_yaml};
use schema::store::SnapName;

use super::anchors::unproven;
use crate::stdin::not_stdin;

/// The contents of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) manifest: Option<Manifest>,
    pub(crate) metadata: Vec<Metadata>,
    /// The brand stores of a store archive.
    pub(crate) stores: Option<BrandStores>,
    pub(crate) assertions: Vec<Assertion>,
    /// Snaps, components and icons.
    pub(crate) files: Vec<FileInside>,
    /// Files that are not used.
    pub(crate) ignored: Vec<String>,
    /// Signed files that the store would reject, and why.
    misfits: Vec<String>,
}

/// A file of a bundle.
#[derive(Debug, Clone)]
pub(crate) struct FileInside {
    pub(crate) name: String,
    pub(crate) kind: MemberKind,
    pub(crate) size: u64,
    pub(crate) digest: Sha3_384,
}

impl Contents {
    /// Reads a bundle and checks its manifest, if it has one.
    ///
    /// # Errors
    /// The file is not a bundle, or is damaged.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        not_stdin(path)?;
        let what = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(what)?;
        Self::from_reader(BufReader::with_capacity(1 << 20, file)).with_context(what)
    }

    /// Like [`read`](Self::read), of what is read.
    ///
    /// # Errors
    /// It is not a bundle, or is damaged.
    pub(crate) fn from_reader(read: impl std::io::Read) -> anyhow::Result<Self> {
        let mut reader = BundleReader::new(read, Limits::archive())?;
        let mut contents = Self::default();
        let mut found: Vec<(String, u64, String)> = Vec::new();
        while let Some(member) = reader.next_member()? {
            let (kind, name, size) = (member.kind(), member.name().to_owned(), member.size());
            let path = member.path().to_owned();
            let digest = match kind {
                MemberKind::Other | MemberKind::Difference => {
                    contents.ignored.push(path);
                    continue;
                }
                MemberKind::Snap | MemberKind::Component | MemberKind::Icon => {
                    let (digest, misfit) = look(member, kind)?;
                    contents.misfits.extend(misfit.map(|why| format!("{name}: {why}")));
                    contents.files.push(FileInside { name: name.clone(), kind, size, digest });
                    digest
                }
                MemberKind::Manifest | MemberKind::Metadata | MemberKind::Stores | MemberKind::Assertions => {
                    let bytes = member.document()?;
                    match kind {
                        MemberKind::Manifest => contents.manifest = Some(Manifest::parse(&bytes)?),
                        MemberKind::Metadata => contents.metadata.push(Metadata::parse(&bytes)?),
                        MemberKind::Stores => contents.stores = Some(BrandStores::parse(&bytes)?),
                        _ => contents.assertions.extend(
                            Assertion::decode_stream(&bytes)
                                .with_context(|| format!("cannot read {name}"))?,
                        ),
                    }
                    Sha3_384::of(&bytes)
                }
            };
            // The manifest may list it with or without folders.
            found.push((path, size, digest.to_hex()));
            found.push((name, size, digest.to_hex()));
        }
        if let Some(manifest) = &contents.manifest {
            manifest.check(|name| {
                let member = found.iter().find(|(other, ..)| other == name)?;
                Some((member.1, member.2.as_str()))
            })?;
        }
        Ok(contents)
    }

    /// The names of its snaps.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SnapName> {
        self.metadata.iter().map(|metadata| &metadata.name)
    }

    /// Verifies every assertion and file up to an anchor.
    ///
    /// # Errors
    /// What does not verify, and why.
    pub(crate) fn prove(&self, anchors: &Anchors) -> anyhow::Result<Vec<Verified>> {
        let proven = prove(self.assertions.clone(), anchors)?;
        for file in &self.files {
            let digest = file.digest.to_base64url();
            let signed = file.kind == MemberKind::Icon
                || proven.iter().any(|document| match document.details() {
                    Details::SnapRevision(signed) => {
                        file.kind == MemberKind::Snap
                            && (signed.snap_sha3_384 == digest && signed.snap_size == file.size)
                    }
                    Details::SnapResourceRevision(signed) => {
                        file.kind == MemberKind::Component
                            && (signed.resource_sha3_384 == digest && signed.resource_size == file.size)
                    }
                    _ => false,
                });
            anyhow::ensure!(
                signed,
                "nobody signed {}: no document of the bundle names its digest",
                file.name
            );
        }
        anyhow::ensure!(self.misfits.is_empty(), "the store would not take {}", self.misfits.join("; "));
        Ok(proven)
    }
}

/// Verifies assertions using only anchors and each other.
///
/// # Errors
/// The first assertion that does not verify.
pub(crate) fn prove(documents: Vec<Assertion>, anchors: &Anchors) -> anyhow::Result<Vec<Verified>> {
    let checker = Checker { anchors, source: anchors, time: KeyTime::DocumentTime };
    Ok(check_batch(documents, &checker).map_err(unproven)?.verified)
}

/// A member's digest, and why the store would reject it, using the store's own check.
fn look<R: std::io::Read>(
    mut member: Member<'_, R>,
    kind: MemberKind,
) -> anyhow::Result<(Sha3_384, Option<String>)> {
    let mut hash = Hash::new(&SHA3_384);
    let mut image = tempfile::tempfile().context("cannot keep a snap for a look into it")?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match member.read_some(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                image.write_all(&buffer[..count]).context("cannot keep a snap for a look into it")?;
            }
        }
    }
    let mut digest = [0; Sha3_384::LEN];
    digest.copy_from_slice(hash.finish().as_ref());
    image.seek(SeekFrom::Start(0)).context("cannot look into a snap")?;
    let looked = match kind {
        MemberKind::Snap => snap_yaml(image).err().map(|why| (SNAP_YAML, why)),
        MemberKind::Component => component_yaml(image).err().map(|why| (COMPONENT_YAML, why)),
        _ => None,
    };
    let misfit = looked.map(|(inner, why)| format!("cannot read {inner}: {:#}", anyhow::Error::from(why)));
    Ok((Sha3_384(digest), misfit))
}
