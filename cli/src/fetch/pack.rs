//! Writes what was fetched and verified as bundles.
//!
//! ```text
//! jq-20260919T154844.tar.gz            --single: several snaps, each with its metadata in a folder
//! ├─ manifest.json                     ├─ manifest.json
//! ├─ metadata.json                     ├─ jq/metadata.json
//! ├─ documents.assert                  ├─ documents.assert
//! ├─ jq_6.assert, jq_6.snap            ├─ jq_6.assert, jq_6.snap
//! ├─ jq+extra_2.comp                   ├─ core24_1196.assert, …
//! └─ jq.icon.png                       └─ …
//! ```
//!
//! A store archive (see [`schema::bundle`]) also contains the store's metadata and keys, and has each snap in a
//! folder of its own; it may be split into parts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hyper::body::Bytes;
use schema::assertion::{Assertion, Verified};
use schema::bundle::{Assembler, Limits, Manifest, Metadata, PartList};
use schema::digest::Sha3_384;
use schema::parcel::{Parcel, ParcelFile, ParcelKind, ParcelPart};
use schema::store::{Architecture, SnapName, StoreId};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::differences::{Differences, smallest};
use super::growth::StartedOver;
use super::haul::Haul;
use super::known::{Known, on_site, releases};
use super::parts::{FileToFetch, PartsFolder, own_file};
use super::{FetchedBundle, FetchedSnap};
use crate::output::warning;
use crate::parts::Cutter;
use crate::sender::{Destination, SenderHome};
use crate::upstream::{Link, Upstream};

const TOOL: &str = concat!("airlock ", env!("CARGO_PKG_VERSION"));

/// A snap with everything that goes into its bundle, except the downloads.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) haul: Haul,
    /// The encoded assertions of each revision.
    documents: Vec<(u32, Vec<u8>)>,
    metadata: Vec<u8>,
    icon: Option<Icon>,
    /// Digests that are not packed because they were carried before.
    left_out: Vec<String>,
}

/// An icon.
#[derive(Debug)]
pub(crate) struct Icon {
    format: &'static str,
    bytes: Bytes,
}

impl Icon {
    /// Fetches an icon. A missing or unsupported icon is not an error.
    pub(crate) async fn fetch(upstream: &Upstream, name: &SnapName, url: &Url) -> Option<Self> {
        match upstream.picture(url).await {
            Ok(Some(bytes)) => {
                let format = format_of(&bytes);
                if format.is_none() {
                    warning(format!("the icon of {name} is neither PNG, JPEG nor SVG: left out"));
                }
                Some(Self { format: format?, bytes })
            }
            Ok(None) => {
                warning(format!("the icon of {name} is missing or too large: left out"));
                None
            }
            Err(error) => {
                warning(format!("the icon of {name} was left out: {error}"));
                None
            }
        }
    }
}

/// What turns bundles into a store archive.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The encoded metadata of the store.
    pub(crate) metadata: Vec<u8>,
    /// Account and keys of its brand.
    pub(crate) keys: Vec<Verified>,
    /// The stores of the snaps that the store lists.
    pub(crate) homes: BTreeMap<SnapName, StoreId>,
    /// Largest part in bytes; `None` for one whole file.
    pub(crate) split: Option<u64>,
}

/// The format of the bytes, regardless of their URL.
fn format_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        _ => std::str::from_utf8(bytes).ok().filter(|text| text.contains("<svg")).map(|_| "svg"),
    }
}

impl Cargo {
    pub(crate) fn new(
        haul: Haul,
        documents: Vec<(u32, Vec<Verified>)>,
        icon: Option<Icon>,
    ) -> anyhow::Result<Self> {
        let mut metadata = haul.about.clone();
        metadata.insert("channel-map".into(), Value::Array(haul.channel_map.clone()));
        let metadata = serde_json::to_vec(&Value::Object(metadata))?;
        // Better to find out here than at the import.
        Metadata::parse(&metadata)
            .with_context(|| format!("the store's answer about {} is unusable", haul.name))?;
        let documents = documents.into_iter().map(|(number, proof)| (number, stream(&proof))).collect();
        Ok(Self { haul, documents, metadata, icon, left_out: Vec::new() })
    }

    /// The downloads it needs.
    pub(crate) fn files(&self) -> Vec<FileToFetch> {
        self.links().into_iter().map(|(what, link)| FileToFetch { what, link: link.clone() }).collect()
    }

    /// All files by their name in the bundle, without duplicates.
    fn links(&self) -> BTreeMap<String, &Link> {
        let name = &self.haul.name;
        let mut links = BTreeMap::new();
        for offer in self.haul.revisions.values() {
            links.insert(format!("{name}_{}.snap", offer.revision), &offer.download);
            for one in offer.components() {
                links.insert(format!("{name}+{}_{}.comp", one.name, one.revision), &one.download);
            }
        }
        links.retain(|_, link| !self.left_out.contains(&link.sha3_384));
        links
    }

    /// Removes the files that the other side has; `false` if it has assertions and channel map, too. The documents that a
    /// site has are removed as well.
    pub(crate) fn leave_out(&mut self, known: &Known, extra: &[Verified]) -> bool {
        let has = |digest: &str| Sha3_384::from_hex(digest).is_ok_and(|digest| known.has(&digest));
        self.left_out =
            self.links().values().map(|link| link.sha3_384.clone()).filter(|one| has(one)).collect();
        let is_new = |bytes: &[u8]| !known.has(&Sha3_384::of(bytes));
        let mut new_document = extra.iter().any(|one| is_new(one.bytes()));
        for (_, text) in &mut self.documents {
            let mut own = Assertion::decode_stream(text).unwrap_or_default();
            new_document |= own.iter().any(|one| is_new(one.bytes()));
            if matches!(known, Known::Site(_)) {
                own.retain(|one| is_new(one.bytes()));
                let texts: Vec<&[u8]> = own.iter().map(Assertion::bytes).collect();
                *text = texts.join(&b'\n');
            }
        }
        self.documents.retain(|(_, text)| !text.is_empty());
        let releases = self.releases(matches!(known, Known::Site(_)));
        let new_release = releases.iter().any(|name| !known.has(name));
        !self.links().is_empty() || new_document || new_release
    }

    /// The names of its releases: a receipt names those of a manifest for each architecture, which earlier bundles do not know.
    fn releases(&self, for_receipt: bool) -> Vec<Sha3_384> {
        let haul = &self.haul;
        if haul.releases.is_empty() {
            let metadata = Metadata::parse(&self.metadata);
            return metadata.map(|metadata| releases(&metadata).collect()).unwrap_or_default();
        }
        on_site(&haul.snap_id, &haul.releases, |revision| match haul.revisions.get(&revision) {
            Some(offer) if for_receipt => offer.architectures(),
            _ => vec![Architecture::all()],
        })
    }

    /// The names, as in receipts, of what it brings.
    fn brings(&self) -> Vec<Sha3_384> {
        let files =
            self.links().values().filter_map(|link| Sha3_384::from_hex(&link.sha3_384).ok()).collect();
        let documents =
            self.documents.iter().flat_map(|(_, text)| Assertion::decode_stream(text).unwrap_or_default());
        let documents = documents.map(|one| Sha3_384::of(one.bytes())).collect();
        [files, documents, self.releases(true)].concat()
    }
}

/// Assertions in one stream.
fn stream(documents: &[Verified]) -> Vec<u8> {
    let texts: Vec<&[u8]> = documents.iter().map(|document| document.bytes()).collect();
    texts.join(&b'\n')
}

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct Packed {
    path: PathBuf,
    parts: Vec<PathBuf>,
    is_archive: bool,
    /// What a parcel carries, if it is one.
    parcel: Option<Parcel>,
    snaps: Vec<(SnapName, Vec<u32>)>,
}

impl Packed {
    /// Tools parse this: the path stands alone at the end of its line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let parts = self.parts.iter().map(|part| format!("Part: {}", part.display()));
        if let Some(parcel) = &self.parcel {
            let (size, whole) = (parcel.size(), parcel.whole_size());
            let (count, number) = (parcel.files.len(), parcel.sequence);
            return [
                format!("Parcel {number} carries {count} files of {whole} bytes in {size}"),
                format!("Parcel: {}", self.path.display()),
            ]
            .into_iter()
            .chain(parts)
            .collect();
        }
        if self.is_archive {
            return [format!("Store data exported to: {}", self.path.display())]
                .into_iter()
                .chain(parts)
                .collect();
        }
        self.snaps.iter().map(|(name, _)| format!("Downloaded {name} to {}", self.path.display())).collect()
    }
}

impl From<Packed> for FetchedBundle {
    fn from(packed: Packed) -> Self {
        let snap = |(name, revisions)| FetchedSnap { name, revisions };
        Self { file: packed.path, parts: packed.parts, snaps: packed.snaps.into_iter().map(snap).collect() }
    }
}

/// Writes bundles.
pub(crate) struct Writer {
    pub(crate) folder: PathBuf,
    pub(crate) parts: Arc<PartsFolder>,
    pub(crate) store: StoreId,
    pub(crate) now: OffsetDateTime,
    /// Assertions for every bundle.
    pub(crate) extra: Vec<Verified>,
    /// The store archive, if one is written.
    pub(crate) archive: Option<Archive>,
}

/// A member to be written.
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
    Download(Link),
}

impl Writer {
    /// Writes one bundle per group, while its files are still downloaded. All are complete before the first gets its name.
    ///
    /// # Errors
    /// A bundle cannot be written.
    pub(crate) fn write_all(&self, groups: Vec<Vec<Cargo>>) -> anyhow::Result<Vec<Packed>> {
        let mut written = Vec::new();
        let mut outcome = Ok(());
        for group in groups {
            let name = match &group[..] {
                [one] => one.haul.name.to_string(),
                _ => "snaps".to_owned(),
            };
            let path = self.unused(&name);
            let fresh = self.parts.unfinished(&path);
            let done =
                self.write_file(&fresh, &group).with_context(|| format!("cannot write {}", path.display()));
            let packed = Packed {
                path,
                parts: Vec::new(),
                is_archive: false,
                parcel: None,
                snaps: revisions_of(group),
            };
            written.push((fresh, packed));
            if done.is_err() {
                outcome = done;
                break;
            }
        }
        if let Err(error) = outcome {
            for (fresh, _) in &written {
                let _ = fs::remove_file(fresh);
            }
            return Err(error);
        }
        for (fresh, packed) in &written {
            fs::rename(fresh, &packed.path)
                .with_context(|| format!("cannot write {}", packed.path.display()))?;
        }
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .context("cannot sync the export directory")?;
        Ok(written.into_iter().map(|(_, packed)| packed).collect())
    }

    /// An unused file name: stamps have a resolution of one second, and another run may use the same one.
    fn unused(&self, name: &str) -> PathBuf {
        let mut now = self.now;
        loop {
            let stem = format!("{name}-{}", stamp(now));
            let whole = format!("{stem}.tar.gz");
            let (list, parcel) =
                (format!("{whole}{}", PartList::SUFFIX), format!("{stem}{}", Parcel::SUFFIX));
            let parts = [PartList::part_name(&whole, 1), PartList::part_name(&stem, 1)];
            let names = [&whole, &list, &parcel].into_iter().chain(&parts);
            if !names.into_iter().any(|name| self.folder.join(name).exists()) {
                return self.folder.join(whole);
            }
            now += time::Duration::SECOND;
        }
    }

    /// Writes the store archive, in parts if requested. The list of parts comes last.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write_archive(&self, group: Vec<Cargo>) -> anyhow::Result<Packed> {
        let path = self.unused(&format!("store-export-{}", self.store));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let what = || format!("cannot write {}", path.display());
        let Some(most) = self.archive.as_ref().and_then(|archive| archive.split) else {
            let fresh = self.parts.unfinished(&path);
            let done = self.write_file(&fresh, &group).and_then(|()| Ok(fs::rename(&fresh, &path)?));
            if done.is_err() {
                let _ = fs::remove_file(&fresh);
            }
            done.with_context(what)?;
            return Ok(Packed {
                path,
                parts: Vec::new(),
                is_archive: true,
                parcel: None,
                snaps: revisions_of(group),
            });
        };
        let mut cutter = self
            .write(Cutter::new(&self.folder, &name, most), &group, &Differences::new())
            .with_context(what)?;
        let (list, parts) = cutter.finish().with_context(what)?;
        let path = self.folder.join(format!("{name}{}", PartList::SUFFIX));
        crate::documents::write_whole(&path, &serde_json::to_vec_pretty(&list)?)?;
        cutter.keep();
        Ok(Packed { path, parts, is_archive: true, parcel: None, snaps: revisions_of(group) })
    }

    /// Writes a parcel for a site. Its manifest comes last, and with it the parcel counts as sent.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write_parcel(
        &self,
        group: Vec<Cargo>,
        home: &SenderHome,
        mut site: Destination,
        (part_size, whole_files): (Option<u64>, bool),
    ) -> anyhow::Result<Packed> {
        let mut differences = Differences::new();
        for (name, link) in group.iter().flat_map(Cargo::links).filter(|_| !whole_files) {
            let paths = (self.parts.path(link), self.parts.folder());
            let found = smallest(home, &site, (&name, link), (&paths.0, paths.1))?;
            differences.extend(found.map(|found| (link.sha3_384.clone(), found)));
        }
        site.begin()?;
        let path = self.unused(&format!("parcel-{}-{}", self.store, site.sequence));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".tar.gz").unwrap_or(&name).to_owned();
        let path = self.folder.join(format!("{name}{}", Parcel::SUFFIX));
        let what = || format!("cannot write {}", path.display());
        let cutter = Cutter::new(&self.folder, &name, part_size.unwrap_or(u64::MAX));
        let mut cutter = self.write(cutter, &group, &differences).with_context(what)?;
        let (list, parts) = cutter.finish().with_context(what)?;
        let links = || group.iter().flat_map(Cargo::links);
        let file = |(name, link): (String, &Link)| ParcelFile {
            name,
            size: link.size,
            sha3_384: link.sha3_384.clone(),
            carried: differences.get(&link.sha3_384).map_or(link.size, |one| one.size),
            base: differences.get(&link.sha3_384).map(|one| one.base.clone()),
        };
        let part = |part: schema::bundle::Part| ParcelPart { size: part.size, sha3_384: part.sha3_384 };
        let parcel = Parcel {
            format: Parcel::FORMAT,
            name,
            sender: site.key.public(),
            site: site.receipt.site.clone(),
            sequence: site.sequence,
            basis: site.receipt.generation,
            time: self.now.replace_nanosecond(0)?.format(&Rfc3339)?,
            kind: if self.archive.is_some() { ParcelKind::Store } else { ParcelKind::Snaps },
            files: links().map(file).collect(),
            parts: list.parts.into_iter().map(part).collect(),
        };
        crate::documents::write_whole(&path, &parcel.write(&site.key))?;
        cutter.keep();
        for (name, link) in links() {
            if let Ok(digest) = Sha3_384::from_hex(&link.sha3_384) {
                home.keep(&name, &digest, &self.parts.path(link));
            }
        }
        let keys = self.extra.iter().map(|document| Sha3_384::of(document.bytes()));
        site.sent(parcel.id(), group.iter().flat_map(Cargo::brings).chain(keys))?;
        if let Err(error) = home.prune() {
            warning(format!("files that no site holds any more stay in sender/files: {error:#}"));
        }
        Ok(Packed { path, parts, is_archive: true, parcel: Some(parcel), snaps: revisions_of(group) })
    }

    /// Writes a file, again from its start when a download of what is in it starts over.
    fn write_file(&self, path: &Path, group: &[Cargo]) -> anyhow::Result<()> {
        loop {
            let file = own_file(path)?;
            file.set_len(0)?;
            let out = BufWriter::with_capacity(1 << 20, Steady { file, unsynced: 0 });
            match self.write(out, group, &Differences::new()) {
                Err(error) if StartedOver::is(&error) => {}
                Err(error) => return Err(error),
                Ok(mut out) => {
                    out.flush()?;
                    out.get_ref().file.sync_all()?;
                    return Ok(());
                }
            }
        }
    }

    fn write<W: Write>(&self, out: W, group: &[Cargo], differences: &Differences) -> anyhow::Result<W> {
        let mut manifest = Manifest::new(TOOL);
        manifest.time = self.now.replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
        manifest.store = Some(self.store.clone());
        let elsewhere = group.iter().map(|cargo| &cargo.haul).filter(|haul| haul.home != self.store);
        manifest.stores = elsewhere.map(|haul| (haul.name.clone(), haul.home.clone())).collect();
        let mut bundle = Assembler::new(manifest);
        let mut small = |name: String, bytes: Vec<u8>, listed: bool| {
            let (size, digest) = (bytes.len() as u64, Sha3_384::of(&bytes).to_hex());
            match listed {
                true => bundle.add(&name, size, Some(digest), Content::Bytes(bytes)),
                false => bundle.add_unlisted(&name, size, Content::Bytes(bytes)),
            }
        };
        if let Some(archive) = &self.archive {
            small("store.json".into(), archive.metadata.clone(), true);
        }
        let documents = if self.archive.is_some() { "keys.assert" } else { "documents.assert" };
        if !self.extra.is_empty() {
            small(documents.into(), stream(&self.extra), true);
        }
        for cargo in group {
            let name = &cargo.haul.name;
            let folder = self.folder_of(name);
            // A bundle's manifest lists names without folders, which several members would share here.
            match (&self.archive, group.len()) {
                (None, 2..) => small(format!("{name}/metadata.json"), cargo.metadata.clone(), false),
                _ => small(format!("{folder}metadata.json"), cargo.metadata.clone(), true),
            }
            for (number, documents) in &cargo.documents {
                small(format!("{folder}{name}_{number}.assert"), documents.clone(), true);
            }
            if let Some(icon) = &cargo.icon {
                small(format!("{folder}{name}.icon.{}", icon.format), icon.bytes.to_vec(), true);
            }
        }
        for cargo in group {
            for (name, link) in cargo.links() {
                let name = format!("{}{name}", self.folder_of(&cargo.haul.name));
                if let Some(difference) = differences.get(&link.sha3_384) {
                    let content = Content::File(difference.file.path().to_owned());
                    let digest = Some(difference.digest.clone());
                    bundle.add(&format!("{name}.difference"), difference.size, digest, content);
                    continue;
                }
                bundle.add(&name, link.size, Some(link.sha3_384.clone()), Content::Download(link.clone()));
            }
        }
        if let (None, [cargo]) = (&self.archive, group) {
            bundle.manifest.releases.clone_from(&cargo.haul.releases);
        }
        let limits = if self.archive.is_some() { Limits::archive() } else { Limits::default() };
        Ok(bundle.write(out, limits, |content| {
            Ok::<Box<dyn Read>, _>(match content {
                Content::Bytes(bytes) => Box::new(Cursor::new(bytes)),
                Content::File(path) => Box::new(BufReader::with_capacity(1 << 20, File::open(path)?)),
                Content::Download(link) => {
                    Box::new(BufReader::with_capacity(1 << 20, self.parts.read(&link)?))
                }
            })
        })?)
    }

    /// The folder of a snap's members, with a slash.
    fn folder_of(&self, name: &SnapName) -> String {
        if self.archive.is_some() { format!("snaps/{name}/") } else { String::new() }
    }
}

/// A file that reaches the disk while it is written, so that little is left to wait for at its end.
struct Steady {
    file: File,
    unsynced: usize,
}

impl Write for Steady {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.unsynced += written;
        if self.unsynced >= 64 << 20 {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn revisions_of(group: Vec<Cargo>) -> Vec<(SnapName, Vec<u32>)> {
    group.into_iter().map(|one| (one.haul.name, one.haul.revisions.into_keys().collect())).collect()
}

/// Stamps for names: that of the moment, and those of the following seconds for when it is taken.
pub(crate) fn stamps(now: OffsetDateTime) -> impl Iterator<Item = String> {
    let following = |now: &OffsetDateTime| now.checked_add(time::Duration::SECOND);
    std::iter::successors(Some(now), following).map(stamp)
}

/// `20260919T154844`, in UTC.
pub(crate) fn stamp(now: OffsetDateTime) -> String {
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_as_tools_expect_them() {
        assert_eq!(stamp(OffsetDateTime::from_unix_timestamp(1_634_658_524).unwrap()), "20211019T154844");
    }

    #[test]
    fn pictures_are_known_by_their_bytes() {
        assert_eq!(format_of(b"\x89PNG\r\n"), Some("png"));
        assert_eq!(format_of(b"\xff\xd8\xff\xe0"), Some("jpg"));
        assert_eq!(format_of(b"<?xml?><svg/>"), Some("svg"));
        assert_eq!(format_of(b"<html>"), None);
        assert_eq!(format_of(b""), None);
    }
}
