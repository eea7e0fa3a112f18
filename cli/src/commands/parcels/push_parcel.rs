//! `push-parcel`: brings parcels in, part by part, and imports those that are complete.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::api::admin::calls::{BeginParcel, ImportParcel, PushPart};
use schema::api::admin::{ParcelImport, ParcelStatus, PushedArchive};
use schema::bundle::PartList;
use schema::parcel::Parcel;
use serde::Serialize;

use super::under_way::numbers;
use crate::admin::{AdminError, Upload};
use crate::bundle;
use crate::commands::import::changes::{WidenArgs, check, explain};
use crate::commands::import::push_store;
use crate::commands::import::waiting::waits_line;
use crate::context::Context;
use crate::documents::{document_name, read_limited};
use crate::kinds::{self, Kind};
use crate::output::{texts, warning};
use crate::stdin::not_stdin;

/// Import parcels, as a whole or not at all
///
/// PATH is the .parcel file, a part, or a folder of them; several may be named, such as the mounts of several media. Parts are
/// taken in any order and stay until the parcel is complete, so that the next medium can be pushed later, and a push
/// that was cut off goes on where it was. The media are only read. Channels open and move to higher revisions, those of
/// a parcel of snaps only where it brings a revision that was not held; they follow it in everything with
/// --push-channel-map alone. Pushing again changes nothing.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-parcel /media/usb
  proxy push-parcel /media/usb1 /media/usb2 /media/usb3
  proxy push-parcel parcel-AcmeDevices-3-20260919T154844.parcel --dry-run")]
pub(crate) struct Args {
    /// Manifests, parts, or folders of them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Apply the parcel's channels also where they lead to a lower revision, close, or undo an on-site release
    #[arg(long)]
    push_channel_map: bool,

    #[command(flatten)]
    widen: WidenArgs,

    /// Check everything and print the changes without keeping them
    #[arg(long)]
    dry_run: bool,
}

/// Every file that was named, in folders too.
fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        not_stdin(path)?;
        let what = || format!("cannot read {}", path.display());
        let folder = match fs::metadata(path).with_context(what)?.is_dir() {
            true => path.as_path(),
            // What is named stands for those beside it.
            false => path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        };
        for entry in fs::read_dir(folder).with_context(what)? {
            files.push(entry.with_context(what)?.path());
        }
        if !files.contains(path) && path.is_file() {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The manifests among these files, without copies. If some were named, only those.
fn manifests(named: &[PathBuf], files: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Vec<u8>, Parcel)>> {
    let is_manifest = |path: &&PathBuf| path.to_string_lossy().ends_with(Parcel::SUFFIX);
    let chosen: Vec<&PathBuf> = match named.iter().filter(is_manifest).collect::<Vec<_>>() {
        named if !named.is_empty() => named,
        _ => files.iter().filter(is_manifest).collect(),
    };
    let mut all: Vec<(PathBuf, Vec<u8>, Parcel)> = Vec::new();
    for path in chosen {
        let what = || format!("cannot use {}", path.display());
        let bytes =
            read_limited(fs::File::open(path).with_context(what)?, Parcel::MOST).with_context(what)?;
        let parcel = Parcel::read(&bytes).with_context(what)?;
        if all.iter().all(|(.., known)| known.id() != parcel.id()) {
            all.push((path.clone(), bytes, parcel));
        }
    }
    all.sort_by(|(.., one), (.., other)| (&one.sender, one.sequence).cmp(&(&other.sender, other.sequence)));
    Ok(all)
}

/// What came of one parcel.
#[derive(Serialize)]
struct PushedParcel {
    /// Its id.
    parcel: String,
    sender: String,
    sequence: u64,
    outcome: Outcome,
    #[serde(flatten)]
    pushed: PushedArchive,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Imported,
    /// It was a dry run, or it waits.
    WouldImport,
    /// Nothing was done.
    ImportedBefore,
}

#[derive(Serialize)]
struct PushedParcels {
    parcels: Vec<PushedParcel>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let files = expand(&args.paths)?;
    let manifests = manifests(&args.paths, &files)?;
    anyhow::ensure!(!manifests.is_empty(), no_manifest(&args.paths, &files));
    let mut done = PushedParcels { parcels: Vec::new() };
    let mut failure = None;
    for (path, manifest, parcel) in manifests {
        let pushed = push(&args, context, &files, (&path, manifest, &parcel)).await;
        match pushed.with_context(|| format!("cannot push {}", path.display())) {
            Ok(pushed) => {
                if !context.out.is_json() {
                    context.out.lines(&lines(&pushed, args.dry_run))?;
                }
                failure = check(&pushed.pushed.visibility).err();
                done.parcels.push(pushed);
            }
            Err(error) => failure = Some(error),
        }
        // The next one of its sender builds on it.
        if failure.is_some() {
            break;
        }
    }
    if context.out.is_json() {
        context.out.report(&done, |_| Vec::new())?;
    }
    failure.map_or(Ok(()), Err)
}

/// Why there is nothing to push, and the command that takes what is there instead.
fn no_manifest(named: &[PathBuf], files: &[PathBuf]) -> String {
    let other = files.iter().filter(|file| file.is_file()).find_map(|file| match kinds::of_file(file) {
        Ok(Some(Kind::StoreArchive)) => Some(("push-store", file)),
        Ok(Some(Kind::Bundle | Kind::LooseBundle)) => Some(("push-snap", file)),
        _ => file.to_string_lossy().ends_with(PartList::SUFFIX).then_some(("push-store", file)),
    });
    let more = match other {
        Some((command, file)) => format!("`proxy {command} {0}` takes {0}", file.display()),
        None => format!("its name ends in {}, and it was written beside the first part", Parcel::SUFFIX),
    };
    format!("cannot find the manifest of a parcel in {}: {more}", texts(named).join(", "))
}

async fn push(
    args: &Args,
    context: &Context,
    files: &[PathBuf],
    (path, manifest, parcel): (&Path, Vec<u8>, &Parcel),
) -> anyhow::Result<PushedParcel> {
    let widen: Vec<String> =
        args.widen.text().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let again = args.push_channel_map || args.dry_run || !widen.is_empty();
    let upload = Upload::document(document_name(path), manifest);
    let again: &[(&str, &str)] = if again { &[("again", "true")] } else { &[] };
    let mut status: ParcelStatus = context.admin().await?.upload::<BeginParcel>(again, upload).await?;
    if status.imported && again.is_empty() {
        return Ok(PushedParcel::of(status, Outcome::ImportedBefore, PushedArchive::default()));
    }
    for number in status.lacking.clone() {
        let name = PartList::part_name(&parcel.name, number);
        let copies = files.iter().filter(|file| file.file_name().is_some_and(|other| *other == *name));
        for copy in copies {
            let part = number.to_string();
            let query = [("parcel", &*status.id), ("part", &part)];
            match context.admin().await?.upload::<PushPart>(&query, bundle::file(copy)?).await {
                Ok(after) => {
                    status = after;
                    break;
                }
                // Another medium may hold a good copy.
                Err(AdminError::Refused(failure)) if failure.code == "invalid-parcel" => {
                    warning(format!("{}: {}", copy.display(), failure.message));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    anyhow::ensure!(
        status.lacking.is_empty(),
        "parts of parcel {} are lacking ({}), and the others are kept: run the same command with the media that hold them",
        parcel.name,
        numbers(&status.lacking)
    );
    let wanted = ParcelImport {
        parcel: status.id.clone(),
        push_channel_map: args.push_channel_map,
        widen,
        dry_run: args.dry_run,
    };
    let sent = context.admin().await?.send::<ImportParcel>(&wanted).await;
    let pushed: PushedArchive = sent.inspect_err(explain)?;
    pushed.warnings.iter().for_each(warning);
    let outcome =
        if args.dry_run || pushed.waits.is_some() { Outcome::WouldImport } else { Outcome::Imported };
    Ok(PushedParcel::of(status, outcome, pushed))
}

impl PushedParcel {
    fn of(status: ParcelStatus, outcome: Outcome, pushed: PushedArchive) -> Self {
        let ParcelStatus { id: parcel, sender, sequence, .. } = status;
        Self { parcel, sender, sequence, outcome, pushed }
    }
}

/// The lines, in the format that scripts expect.
fn lines(parcel: &PushedParcel, dry_run: bool) -> Vec<String> {
    let PushedParcel { sender, sequence, outcome, pushed, .. } = parcel;
    let what = match outcome {
        Outcome::Imported => "Imported",
        Outcome::WouldImport => "Would import",
        Outcome::ImportedBefore => return vec![format!("Parcel {sequence} of {sender} was imported before")],
    };
    let mut lines = push_store::lines(pushed, dry_run);
    lines.push(format!("{what} parcel {sequence} of {sender}"));
    lines.extend(pushed.waits.iter().map(waits_line));
    lines
}
