//! `inspect`: shows the contents of a file for the store, and verifies it offline.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::assertion::{Anchors, Assertion, Details};
use schema::bundle::{BrandStores, MemberKind, PartList, SnapList};
use schema::parcel::{Parcel, Receipt};
use serde::Serialize;

use super::each::headed;
use crate::commands::Reported;
use crate::context::Context;
use crate::digest::file_digest;
use crate::documents::{MAX_DOCUMENT, read_limited};
use crate::errors;
use crate::fetch::anchors::TrustArgs;
use crate::fetch::contents::{Contents, prove};
use crate::kinds::{self, Kind};
use crate::output::first_few;
use crate::stdin::{is_stdin, shown};

/// Show the contents of bundles, parcels, receipts, store metadata or key files, and verify them offline
///
/// Says what is signed and what nothing signs: metadata and manifests are the word of whoever made them. The parts of a
/// parcel are those beside its manifest. Exit code 0 if every file is well formed and all that has to be signed is verified,
/// else 1.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy inspect jq-20211019T154844.tar.gz
  proxy inspect /media/usb")]
pub(crate) struct Args {
    /// Files to inspect, or folders of parcels; `-` is standard input
    #[arg(value_name = "FILE|FOLDER", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    #[serde(serialize_with = "crate::output::as_text")]
    file: PathBuf,
    kind: &'static str,
    /// The contents, one line each.
    contents: Vec<String>,
    /// What is signed up to a trust anchor.
    signed: Vec<String>,
    /// What nothing signs, and is therefore no more than well formed.
    unsigned: Vec<String>,
    /// Whether all that has to be signed is, and something is.
    verified: bool,
}

/// What can be shown; anything else is named with the command that takes it.
const KINDS: [Kind; 9] = [
    Kind::Bundle,
    Kind::LooseBundle,
    Kind::StoreArchive,
    Kind::Metadata,
    Kind::AccountKeys,
    Kind::Store,
    Kind::Assertions,
    Kind::Receipt,
    Kind::Parcel,
];

#[derive(Debug, Serialize)]
struct Reports {
    files: Vec<Report>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let anchors = args.trust.anchors()?;
    let mut files = Vec::new();
    for file in args.files {
        files.append(&mut expand(file)?);
    }
    let several = files.len() > 1;
    let mut reports = Reports { files: Vec::new() };
    let mut failed = false;
    for file in files {
        let failure = match inspect(&file, &anchors) {
            Ok((report, failure)) => {
                if !context.out.is_json() {
                    context.out.lines(&headed(lines(&report, failure.is_none()), &file, several))?;
                }
                reports.files.push(report);
                failure.map(|error| error.context(format!("cannot verify {}", shown(&file))))
            }
            Err(error) => Some(error),
        };
        failed |= failure.is_some();
        failure.iter().for_each(errors::report);
    }
    if context.out.is_json() {
        context.out.report(&reports, |_| Vec::new())?;
    }
    if failed { Err(Reported.into()) } else { Ok(()) }
}

fn lines(report: &Report, well_formed: bool) -> Vec<String> {
    let mut lines = vec![format!("Kind: {}", report.kind)];
    lines.extend(report.contents.iter().map(|line| format!("  {line}")));
    for (title, names) in [("Signed", &report.signed), ("Nothing signs", &report.unsigned)] {
        if !names.is_empty() {
            lines.push(format!("{title}: {}", names.join(", ")));
        }
    }
    let end = match (report.verified, well_formed && report.signed.is_empty()) {
        (true, _) => "Verified: yes",
        (_, true) => "Well formed, nothing signs it",
        _ => "Verified: no",
    };
    lines.push(end.to_owned());
    lines
}

/// The files that an argument stands for: itself, or the manifests of parcels in a folder.
fn expand(path: PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(name) = path.file_name().and_then(|name| PartList::whole_of(name.to_str()?)) {
        let way = match path.with_file_name(format!("{name}{}", PartList::SUFFIX)).is_file() {
            true => format!("push-store --dry-run {}", path.display()),
            false => {
                format!("inspect {}", path.with_file_name(format!("{name}{}", Parcel::SUFFIX)).display())
            }
        };
        anyhow::bail!("{} is one of several parts: `proxy {way}` looks at all of them", path.display());
    }
    if !path.is_dir() {
        return Ok(vec![path]);
    }
    let what = || format!("cannot read {}", path.display());
    let mut found = Vec::new();
    for entry in path.read_dir().with_context(what)? {
        found.push(entry.with_context(what)?.path());
    }
    found.retain(|file| file.to_string_lossy().ends_with(Parcel::SUFFIX));
    found.sort();
    anyhow::ensure!(
        !found.is_empty(),
        "{} is a folder without the manifest of a parcel (*{}): name the file in it",
        path.display(),
        Parcel::SUFFIX
    );
    Ok(found)
}

/// The file's contents, and why they are not verified.
fn inspect(path: &Path, anchors: &Anchors) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    let what = || format!("cannot read {}", shown(path));
    kinds::expect(path, &KINDS)?;
    let mut source: Box<dyn Read> = match is_stdin(path) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).with_context(what)?),
    };
    let mut start = Vec::new();
    source.by_ref().take(kinds::START).read_to_end(&mut start).with_context(what)?;
    if is_stdin(path) {
        kinds::expect_start(path, &start, &KINDS)?;
    }
    let all = io::Cursor::new(&start).chain(source);
    let (kind, contents, [signed, unsigned], proof) = match start.trim_ascii_start() {
        [b'{', ..] => {
            let stores = BrandStores::parse(&document(path, all)?).with_context(what)?;
            ("brand store metadata", of_stores(&stores), [vec![], vec!["the metadata".to_owned()]], Ok(()))
        }
        [b't', b'y', b'p', b'e', b':', ..] => {
            let documents = Assertion::decode_stream(&document(path, all)?).with_context(what)?;
            let lines = documents.iter().map(line_of).collect();
            let signed = vec![count(documents.len(), "assertion")];
            ("assertions", lines, [signed, vec![]], prove(documents, anchors).map(drop))
        }
        start if Receipt::begins(start) => of_receipt(&document(path, all)?).with_context(what)?,
        start if start.starts_with(Parcel::WORD.as_bytes()) => {
            of_parcel(path, &document(path, all)?).with_context(what)?
        }
        _ => {
            let contents =
                Contents::from_reader(BufReader::with_capacity(1 << 20, all)).with_context(what)?;
            let kind = if contents.stores.is_some() { "store archive" } else { "snap bundle" };
            (kind, of_bundle(&contents), by_signature(&contents), contents.prove(anchors).map(drop))
        }
    };
    let failure = proof.err();
    // Before it is verified, a signature is a claim.
    let signed = if failure.is_none() { signed } else { vec![] };
    let verified = failure.is_none() && !signed.is_empty();
    Ok((Report { file: path.to_owned(), kind, contents, signed, unsigned, verified }, failure))
}

/// The kind of a file, its contents, what is signed of it and not, and whether that is verified.
type Inspected = (&'static str, Vec<String>, [Vec<String>; 2], anyhow::Result<()>);

fn of_receipt(bytes: &[u8]) -> anyhow::Result<Inspected> {
    let (receipt, held) = Receipt::read(bytes)?;
    let mut lines = vec![
        format!("of store {} in generation {}, {}", receipt.store, receipt.generation, receipt.time),
        format!("{} revisions, {} files, documents and releases", receipt.revisions, held.count()),
        format!("channel map {}", receipt.channel_map),
    ];
    lines.extend(receipt.free.map(|free| format!("{free} bytes free")));
    lines.extend(receipt.accepted.iter().map(|last| format!("parcel {} of {}", last.sequence, last.sender)));
    for (what, names) in [("devices missed", &receipt.missed), ("stores list and lack", &receipt.wanted)] {
        if !names.is_empty() {
            lines.push(format!("{what}: {}", names.join(", ")));
        }
    }
    let signed = vec![format!("the receipt, by the site {}", receipt.site)];
    Ok(("receipt", lines, [signed, vec![]], Ok(())))
}

fn of_parcel(path: &Path, bytes: &[u8]) -> anyhow::Result<Inspected> {
    let parcel = Parcel::read(bytes)?;
    let mut lines = vec![
        format!("parcel {} for the site {}, {}", parcel.sequence, parcel.site, parcel.time),
        format!("{} bytes in {}", parcel.size(), count(parcel.parts.len(), "part")),
    ];
    lines.extend(parcel.files.iter().map(|file| {
        let how = if file.base.is_some() { ", as a difference" } else { "" };
        format!("{} {} bytes in {}{how}, sha3-384 {}", file.name, file.size, file.carried, file.sha3_384)
    }));
    let [missing, damaged] = faults(path, &parcel)?;
    let faulty = [("missing beside it", &missing), ("damaged: copy them again", &damaged)];
    let faulty = faulty.into_iter().filter(|(_, numbers)| !numbers.is_empty());
    let faulty: Vec<String> =
        faulty.map(|(what, parts)| format!("parts {} are {what}", first_few(parts, 20))).collect();
    let proof = match &faulty[..] {
        [] => Ok(()),
        faulty => Err(anyhow::anyhow!("{}", faulty.join("; "))),
    };
    lines.extend(faulty);
    let parts = count(parcel.parts.len(), "part");
    let signed = vec![format!("the manifest and {parts}, by the sender {}", parcel.sender)];
    Ok(("parcel", lines, [signed, vec![]], proof))
}

/// The numbers of the parts that are missing beside a manifest, and of those that are not what it says.
fn faults(manifest: &Path, parcel: &Parcel) -> anyhow::Result<[Vec<String>; 2]> {
    let [mut missing, mut damaged] = [vec![], vec![]];
    for (number, part) in (1..).zip(&parcel.parts) {
        let beside = manifest.with_file_name(PartList::part_name(&parcel.name, number));
        let what = || format!("cannot read {}", beside.display());
        match File::open(&beside) {
            Ok(file) if file_digest(&file).with_context(what)?.to_hex() == part.sha3_384 => {}
            Ok(_) => damaged.push(number.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(number.to_string()),
            Err(error) => return Err(error).with_context(what),
        }
    }
    Ok([missing, damaged])
}

/// A document that is small enough for memory.
fn document(path: &Path, source: impl Read) -> anyhow::Result<Vec<u8>> {
    read_limited(source, MAX_DOCUMENT).with_context(|| format!("cannot read {}", shown(path)))
}

/// What of a bundle assertions sign, and what nothing does.
fn by_signature(contents: &Contents) -> [Vec<String>; 2] {
    let (icons, files): (Vec<_>, Vec<_>) =
        contents.files.iter().partition(|file| file.kind == MemberKind::Icon);
    let mut signed: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    if !contents.assertions.is_empty() {
        signed.push(count(contents.assertions.len(), "assertion"));
    }
    let mut unsigned = Vec::new();
    if contents.manifest.is_some() {
        unsigned.push("manifest.json (store and channels on site)".to_owned());
    }
    if contents.stores.is_some() {
        unsigned.push("store.json (stores and what they grant)".to_owned());
    }
    unsigned.extend(
        contents
            .metadata
            .iter()
            .map(|metadata| format!("the metadata of {} (its channel map)", metadata.name)),
    );
    unsigned.extend(icons.iter().map(|file| file.name.clone()));
    [signed, unsigned]
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn of_bundle(contents: &Contents) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(manifest) = &contents.manifest {
        let store = manifest.store.as_ref().map_or("ubuntu", |store| store.as_str());
        let time = manifest.time.as_deref().unwrap_or("an unknown time");
        lines.push(format!("fetched from store {store} at {time} by {}", manifest.tool));
        lines.extend(manifest.stores.iter().map(|(snap, home)| format!("{snap} belongs to store {home}")));
        for release in &manifest.releases {
            let channels: Vec<String> = release.channels.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "revision {} is released to {} on site",
                release.revision,
                channels.join(", ")
            ));
        }
    } else {
        lines.push("no manifest.json: whether it is complete cannot be checked".to_owned());
    }
    lines.extend(contents.stores.iter().flat_map(of_stores));
    for metadata in &contents.metadata {
        lines.push(format!("snap {} ({})", metadata.name, metadata.snap_id));
        for entry in &metadata.channel_map {
            lines.push(format!(
                "{} {} {} -> {}",
                metadata.name, entry.channel, entry.architecture, entry.revision
            ));
        }
    }
    for file in &contents.files {
        lines.push(format!("{} {} bytes sha3-384 {}", file.name, file.size, file.digest.to_hex()));
    }
    lines.extend(contents.ignored.iter().map(|name| format!("{name} is needed by nothing and passed over")));
    let mut documents: Vec<String> = contents.assertions.iter().map(line_of).collect();
    documents.sort();
    documents.dedup();
    lines.extend(documents);
    lines
}

fn of_stores(stores: &BrandStores) -> Vec<String> {
    let mut lines: Vec<String> = stores
        .stores
        .iter()
        .map(|store| {
            let parent = store.parent.as_ref().map(|parent| format!(", on {parent}")).unwrap_or_default();
            format!("store {} {:?} of brand {}{parent}", store.id, store.name, store.brand_id)
        })
        .collect();
    let names = |snaps: &[schema::bundle::ListedSnap]| {
        snaps.iter().map(|snap| snap.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    match &stores.snaps {
        SnapList::Of(lists) => {
            lines.extend(
                lists.iter().map(|(id, snaps)| format!("{} snaps in {id}: {}", snaps.len(), names(snaps))),
            );
        }
        SnapList::Bare(snaps) => {
            lines.push(format!("{} snaps of an unnamed store: {}", snaps.len(), names(snaps)))
        }
    }
    lines
}

fn line_of(document: &Assertion) -> String {
    let about = match document.details() {
        Details::AccountKey(key) => {
            let name = key.name.as_deref().unwrap_or("unnamed");
            let until = key.until.map(|until| format!(", until {}", until.date())).unwrap_or_default();
            format!(": {name} of {}{until}", key.account_id)
        }
        Details::SnapRevision(revision) => format!(": revision {}", revision.snap_revision),
        Details::SnapDeclaration(declaration) => format!(": {}", declaration.snap_name),
        _ => String::new(),
    };
    format!(
        "{} (revision {}, format {}){about}",
        document.reference(),
        document.revision(),
        document.format()
    )
}
