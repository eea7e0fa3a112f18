//! `restore`: restores a backup on an empty host.
//!
//! Opens the file and passes its contents to `proxyd restore`, which checks and places them: only `proxyd` writes
//! rows and files. Instructions and archive go through its standard input, so no secret is in an argument or in
//! another file.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context as _, bail};
use schema::api::admin::calls::NoteRehearsal;
use schema::api::admin::{Failure, Rehearsal};
use schema::backup::{self, Elsewhere, RestoreOrder, Restored};
use zeroize::Zeroizing;

use super::backup::newest;
use crate::admin::{AdminError, progress_bar, start_command};
use crate::context::Context;
use crate::documents::read_document;
use crate::kinds::{self, Kind};
use crate::output::{changed, warning};
use crate::seal::OpenArgs;
use crate::stdin::not_stdin;

/// The server's program.
const SERVER: &str = "proxyd";

/// Restore a backup on a host that has no store yet
///
/// Everything is checked before anything is put in place. Devices keep their sessions; nonces issued before the
/// restore are rejected. Files go into the data directory: proxy.storage.path and proxy.storage.backend are cleared, and the
/// answer says how they were set. The data directory and a PostgreSQL database that the configuration names must be empty, and the
/// server must not run. Start it afterwards.
///
/// With --rehearse the backup is restored in a temporary folder (TMPDIR), checked, and thrown away, on any host that has
/// the space. The package rehearses the newest nightly backup each week.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy restore /media/usb/store-20260919.backup
  proxy restore store.backup --identity backup-identity.txt
  proxy restore nightly.backup --passphrase-file backup.passphrase --blobs /mnt/old/blobs
  proxy restore store.backup --secrets secrets.yaml --embedded
  proxy restore --rehearse store.backup --passphrase-file backup.passphrase
  proxy restore --rehearse /var/backups/airlock --passphrase-file /etc/airlock/backup.passphrase")]
pub(crate) struct Args {
    /// File written by `backup`; with --rehearse also the folder of `backup --to`, whose newest file is meant
    file: PathBuf,

    /// Only find out whether the backup can be restored; nothing of it is left
    #[arg(long)]
    rehearse: bool,

    #[command(flatten)]
    open: OpenArgs,

    /// YAML of keys that replace those in the backup, as `config --export-yaml` prints them
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,

    /// Restore into the embedded database, regardless of the backup's configuration
    #[arg(long)]
    embedded: bool,

    /// Folder with the snap files that the backup only lists, such as the folder blobs of a data directory
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let path = &match args.rehearse && args.file.is_dir() {
        true => newest(&args.file)?,
        false => args.file,
    };
    let reading = || format!("cannot read {}", path.display());
    let settings = args.secrets.as_deref().map(|file| {
        let text = String::from_utf8(read_document(file)?);
        text.with_context(|| format!("cannot read {} as text", file.display()))
    });
    let blobs = args.blobs.map(|folder| {
        folder.canonicalize().with_context(|| format!("cannot take files from {}", folder.display()))
    });
    let rehearsal = args.rehearse.then(|| tempfile::TempDir::with_prefix("airlock-rehearsal-")).transpose();
    let rehearsal = rehearsal.context("cannot make a temporary folder for the rehearsal: set TMPDIR")?;
    let data_dir = rehearsal.as_ref().map_or(context.data_dir.as_path(), |folder| folder.path());
    let order = RestoreOrder {
        settings: settings.transpose()?,
        embedded: args.embedded || args.rehearse,
        blobs: blobs.transpose()?,
    };
    not_stdin(path)?;
    kinds::expect(path, &[Kind::Sealed])?;
    let file = File::open(path).with_context(reading)?;
    let bar = progress_bar(&path.to_string_lossy(), file.metadata().with_context(reading)?.len());
    let inside = args.open.open(path, bar.wrap_read(file))?;

    let mut server = server(data_dir)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {SERVER}: install it beside this program"))?;
    // `feed` takes and drops it, which signals the end to the server.
    let fed = server.stdin.take().map_or(Ok(()), |input| feed(input, &order, inside));
    bar.finish_and_clear();
    let output = server.wait_with_output().with_context(|| format!("cannot wait for {SERVER}"))?;
    // The server restores nothing without an end marker: the file's error explains its answer.
    fed.with_context(|| format!("cannot restore {}: it is damaged, or cut off", path.display()))?;
    if !output.status.success() {
        match serde_json::from_slice::<Failure>(&output.stdout) {
            Ok(failure) => bail!("{}", failure.message),
            Err(_) => bail!("cannot restore {}: {SERVER} ended with {}", path.display(), output.status),
        }
    }
    let restored: Restored = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot understand {SERVER}: is it of another version?"))?;
    restored.absent.iter().for_each(warning);
    if let Some(folder) = rehearsal {
        folder.close().context("cannot remove the folder of the rehearsal")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let noted = note_rehearsal(Rehearsal { file: name, backup_of: restored.time.clone() }, context).await;
        if let Err(error) = noted {
            warning(format!("the store does not know of this rehearsal: {error}"));
        }
        return Ok(context.out.report(&restored, rehearsed)?);
    }
    changed();
    for missing in &restored.missing {
        let of = if missing.of.is_empty() { "unknown".into() } else { missing.of.join(", ") };
        warning(format!(
            "{of} is not there ({} bytes, SHA3-384 {}): push it again",
            missing.size, missing.sha3_384
        ));
    }
    Ok(context.out.report(&restored, |restored| lines(restored, context))?)
}

fn lines(restored: &Restored, context: &Context) -> Vec<String> {
    let Restored { time, database, snaps, revisions, blobs, bytes, missing, elsewhere, .. } = restored;
    let mut lines = vec![
        format!(
            "Restored the backup of {time}: {snaps} snaps, {revisions} revisions, {blobs} files ({bytes} bytes)"
        ),
        format!("Database: {database}"),
    ];
    if !missing.is_empty() {
        lines.push(format!("{} files are not there; everything else is served", missing.len()));
    }
    if let Some(Elsewhere { place, files, settings }) = elsewhere {
        lines.push(format!(
            "Files: in the data directory now. They were in {place}, which `{} config {settings}` names again",
            context.program
        ));
        if *files > 0 {
            lines.push(format!("{files} files that the backup only lists were not looked for there"));
        }
    }
    lines.extend(restored.models.iter().map(|command| {
        format!(
            "`{command} …` opens a model that is closed now: the backup does not tell which serials were given out after it"
        )
    }));
    lines.push(format!("Next: `{}`, then `{} verify`", start_command(&context.data_dir), context.program));
    lines
}

/// Tells the store, so that its status shows the last rehearsal.
async fn note_rehearsal(rehearsal: Rehearsal, context: &Context) -> Result<Rehearsal, AdminError> {
    context.admin().await?.send::<NoteRehearsal>(&rehearsal).await
}

fn rehearsed(restored: &Restored) -> Vec<String> {
    let Restored { time, snaps, revisions, blobs, bytes, missing, elsewhere, .. } = restored;
    let mut lines = vec![format!(
        "The backup of {time} can be restored: {snaps} snaps, {revisions} revisions, {blobs} files ({bytes} bytes)"
    )];
    if !missing.is_empty() {
        lines.push(format!("{} files are not in it: restore takes them from --blobs", missing.len()));
    }
    if let Some(Elsewhere { place, files, .. }) = elsewhere.as_ref().filter(|place| place.files > 0) {
        lines.push(format!("{files} files are not in it, and were in {place}"));
    }
    lines
}

/// The server's program, beside this one or in the path. Root runs it as the data directory's owner.
fn server(data_dir: &Path) -> anyhow::Result<Command> {
    let beside = std::env::current_exe().context("cannot find this program")?.with_file_name(SERVER);
    let mut command = if beside.exists() { Command::new(beside) } else { Command::new(SERVER) };
    command.arg("--data-dir").arg(data_dir).arg("restore");
    #[expect(clippy::disallowed_methods, reason = "the server reads it")]
    if std::env::var_os("AIRLOCK_LOG").is_none() {
        // It reports through its answer, not its log.
        command.env("AIRLOCK_LOG", "off");
    }
    match fs::metadata(data_dir) {
        Ok(meta) if rustix::process::geteuid().is_root() && meta.uid() != 0 => {
            command.uid(meta.uid()).gid(meta.gid());
        }
        _ => {}
    }
    Ok(command)
}

/// Sends instructions and archive. If the other side stops reading, its answer says why.
fn feed(mut input: ChildStdin, order: &RestoreOrder, inside: impl Read) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(order)?);
    line.push(b'\n');
    match input.write_all(&line).and_then(|()| backup::send(inside, input)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
