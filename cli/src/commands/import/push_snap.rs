//! `push-snap`: imports snaps, as bundles or as files from `snap download`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::api::admin::calls::{ListStores, PushSnaps};
use schema::api::admin::{PushedSnap, PushedSnaps, Stores};
use schema::looks::is_litter;
use schema::nearest::nearest;
use schema::store::{Channel, Risk, StoreId};

use super::changes::{WidenArgs, channel_lines, view_lines};
use super::each::push_each;
use super::waiting::waits_line;
use crate::admin::{AdminError, Upload};
use crate::bundle;
use crate::commands::usage;
use crate::context::Context;
use crate::kinds::{self, Kind};
use crate::output::{first_few, note, warning};
use crate::pair::{Pair, is_blob, split_revision};
use crate::stdin::not_stdin;

/// Where a bare file name is looked up besides the current folder.
const INBOX: &str = "snaps-to-push";

/// Import snaps
///
/// A bundle (NAME-STAMP.tar.gz) contains its channels and store. Files from `snap download`, NAME_REVISION.snap with
/// NAME_REVISION.assert beside it, need --channel. A folder stands for all bundles and snaps in it. Channels open and
/// move to higher revisions where a file brings a revision that was not held; they follow it in everything with
/// --push-channel-map alone. Pushing again changes nothing.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy push-snap core24-20240601T120000.tar.gz
  proxy push-snap hello_42.snap --channel latest/stable --channel 2/candidate --store acme-devices
  proxy push-snap /media/usb --push-channel-map
  proxy push-snap /media/usb --dry-run")]
pub(crate) struct Args {
    /// Bundles, snaps, components or folders of them
    #[arg(value_name = "FILE|FOLDER", required = true)]
    files: Vec<PathBuf>,

    /// Release the snap to this channel, [TRACK/]RISK[/BRANCH]; may be repeated
    #[arg(long = "channel", value_name = "CHANNEL", value_parser = channel)]
    channels: Vec<Channel>,

    /// Store that the snap came from [default: ubuntu, the global store]
    #[arg(long, value_name = "ID")]
    store: Option<StoreId>,

    /// Let --store name one whose metadata was not imported yet, even if one that was has almost the same name
    #[arg(long, requires = "store")]
    new_store: bool,

    /// Apply the file's channels also where they lead to a lower revision, close, or undo an on-site release
    #[arg(long)]
    push_channel_map: bool,

    #[command(flatten)]
    widen: WidenArgs,

    /// Check everything and print the changes without keeping them
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for file in &args.files {
        files.append(&mut expand(&context.data_dir, file)?);
    }
    let wants_channel = files
        .iter()
        .any(|file| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("snap")));
    if wants_channel && args.channels.is_empty() {
        return Err(usage(
            context.program,
            "push-snap",
            "a .snap file needs --channel: say where it is released",
        ));
    }
    if !files.iter().any(|file| is_blob(file)) && (!args.channels.is_empty() || args.store.is_some()) {
        let text = "--channel and --store are for .snap and .comp files: a bundle brings its own";
        return Err(usage(context.program, "push-snap", text));
    }

    if let Some(store) = args.store.as_ref().filter(|_| !args.new_store) {
        check_store(store, context).await?;
    }
    let told = |_: &Path, pushed: &PushedSnaps| {
        let would = args.dry_run || pushed.waits.is_some();
        let lines = pushed.snaps.iter().flat_map(|snap| lines(snap, would));
        let waits = pushed.waits.iter().map(waits_line);
        let lines = lines.chain(view_lines(&pushed.visibility)).chain(waits);
        (lines.collect(), pushed.visibility.clone())
    };
    push_each(context, files, async |file| push(context, file, &args).await, told).await
}

/// A channel, unless a word that stands alone is a risk with a typing error: it would be a track.
fn channel(text: &str) -> Result<Channel, String> {
    let parsed = text.parse::<Channel>().map_err(|error| error.to_string())?;
    let risks = Risk::ALL.map(Risk::as_str);
    match nearest(text, risks).filter(|_| !text.contains('/') && !risks.contains(&text)) {
        Some(meant) => Err(format!("did you mean {meant}? a track of that name is {text}/stable")),
        None => Ok(parsed),
    }
}

/// Refuses a store that is not imported while one of almost the same name is, and warns of any other.
async fn check_store(store: &StoreId, context: &Context) -> anyhow::Result<()> {
    if *store == StoreId::global() {
        return Ok(());
    }
    let known: Stores = match context.admin().await?.ask::<ListStores>().await {
        Ok(known) => known,
        // A login may be for pushing alone.
        Err(AdminError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let ids: Vec<&str> = known.stores.iter().map(|known| &*known.id).collect();
    if ids.contains(&store.as_str()) {
        return Ok(());
    }
    if let Some(meant) = nearest(store.as_str(), ids) {
        anyhow::bail!(
            "store {store} is not imported: did you mean {meant}? --new-store pushes for {store} all the same"
        );
    }
    warning(format!(
        "store {store} is not imported yet: no device sees the snap until `proxy push-brand-store-metadata FILE` brings it"
    ));
    Ok(())
}

async fn push(context: &Context, file: &Path, args: &Args) -> anyhow::Result<PushedSnaps> {
    let upload: Upload = if is_blob(file) {
        kinds::expect(file, &[Kind::Snap])?;
        let store = args.store.clone().unwrap_or_else(StoreId::global);
        bundle::wrapped(&Pair::find(file)?, &store, &args.channels)?
    } else {
        kinds::expect(file, &[Kind::Bundle, Kind::LooseBundle])?;
        bundle::file(file)?
    };
    let replace = if args.push_channel_map { "true" } else { "false" };
    let widen = args.widen.text();
    let mut query = vec![("push-channel-map", replace)];
    if !widen.is_empty() {
        query.push(("widen", &widen));
    }
    if args.dry_run {
        query.push(("dry-run", "true"));
    }
    let pushed: PushedSnaps = context.admin().await?.upload::<PushSnaps>(&query, upload).await?;
    pushed.warnings.iter().for_each(warning);
    Ok(pushed)
}

/// The lines of one snap, in the format that scripts expect.
fn lines(snap: &PushedSnap, dry_run: bool) -> Vec<String> {
    let name = &snap.name;
    let revision = |revision: &schema::api::admin::PushedRevision| {
        let number = revision.revision;
        if revision.already_held {
            format!("[snap {name}] {name} revision {number} is already there")
        } else if dry_run {
            format!("[snap {name}] Would upload snap blob and assertions for {name} revision {number}")
        } else {
            format!("[snap {name}] Uploaded snap blob and assertions for {name} revision {number}")
        }
    };
    let mut lines: Vec<String> = snap.revisions.iter().map(revision).collect();
    if snap.channel_map_updated && dry_run {
        lines.push(format!("[snap {name}] Would update the channel map:"));
    } else if snap.channel_map_updated {
        lines.push(format!("[snap {name}] Channelmaps were successfully updated."));
    }
    lines.extend(channel_lines(snap));
    lines
}

/// Whether a file is included with the snap beside it, as its assertions or a component.
fn goes_along(file: &Path) -> bool {
    let is_beside = |extension: &str| file.with_extension(extension).is_file();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("assert") => is_beside("snap") || is_beside("SNAP") || is_beside("comp"),
        Some("comp") => is_beside("assert"),
        _ => false,
    }
}

/// The files that an argument stands for: itself, the one in the inbox, or those in a folder.
fn expand(data_dir: &Path, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    not_stdin(path)?;
    let is_bare = path.file_name().is_some_and(|name| path == Path::new(name));
    let in_inbox = data_dir.join(INBOX).join(path);
    let path = if is_bare && !path.exists() && in_inbox.exists() { &in_inbox } else { path };
    let what = || format!("cannot read {}", path.display());
    if !path.metadata().with_context(what)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut rest) = (Vec::new(), Vec::new());
    for entry in path.read_dir().with_context(what)? {
        let file = entry.with_context(what)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_pushed =
            [".tar", ".tar.gz", ".tgz", ".snap"].iter().any(|end| name.to_lowercase().ends_with(end));
        if is_pushed && file.is_file() && !is_litter(&name) {
            found.push(file);
        } else if !goes_along(&file) || is_litter(&name) {
            rest.push(name);
        }
    }
    if !rest.is_empty() {
        rest.sort();
        note(format!("passed over in {}: {}", path.display(), first_few(&rest, 20)));
    }
    anyhow::ensure!(!found.is_empty(), "cannot find bundles or snaps in {}", path.display());
    // Sorted by name, then by revision, so that a snap's newest revision is released last. The folder's path does not
    // matter.
    found.sort_by_cached_key(|file| match split_revision(file) {
        Some((name, revision)) => (name.to_owned(), revision),
        None => (file.file_name().unwrap_or_default().to_string_lossy().into_owned(), 0),
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_is_all_that_can_be_pushed_in_order_of_revision() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a_10.snap", "a_9.snap", "a_9.assert", "a+c_1.comp", "b.tar.gz", "c.tar", "README"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = expand(folder.path(), folder.path())
            .unwrap()
            .into_iter()
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect();
        let wanted: std::collections::BTreeSet<_> = ["a_9.snap", "a_10.snap", "b.tar.gz", "c.tar"].into();
        assert_eq!(names.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), wanted);
        let at = |name: &str| names.iter().position(|found| found == name);
        assert!(at("a_9.snap") < at("a_10.snap"), "{names:?}");
    }

    #[test]
    fn a_bare_name_is_also_looked_for_in_the_inbox() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = folder.path().join(INBOX);
        fs::create_dir(&inbox).unwrap();
        fs::write(inbox.join("in-the-inbox.tar.gz"), "").unwrap();
        let found = expand(folder.path(), Path::new("in-the-inbox.tar.gz")).unwrap();
        assert_eq!(found, [inbox.join("in-the-inbox.tar.gz")]);
        assert!(expand(folder.path(), Path::new("./in-the-inbox.tar.gz")).is_err());
        assert!(expand(folder.path(), Path::new("nowhere.tar.gz")).is_err());
    }
}
