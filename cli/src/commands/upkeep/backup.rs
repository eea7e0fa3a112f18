//! `backup`: writes the whole store into one file, while the store keeps serving.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::http::HeaderMap;
use schema::api::admin::calls::{Backup, ListAudit};
use schema::api::admin::{AuditLog, BackupRequest};
use schema::backup::{HOST_FILES, Host, MISSING_HEADER, Part, SESSION_KEY_HEADER};
use schema::bundle::TarWriter;
use schema::config::{REDACTED, RotatedSecret, Settings, key};
use schema::digest::Sha3_384;
use schema::session::SessionKey;
use serde::Serialize;
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::admin::progress_bar;
use crate::context::Context;
use crate::fetch::stamp;
use crate::output::{changed, warning};
use crate::seal::{SealArgs, Sealing};

/// What stands around the time in the name of a file that `--to` writes.
const PREFIX: &str = "airlock-";
const SUFFIX: &str = "Z.backup";

/// Back up the store into one file: database, configuration with its secrets, and snaps
///
/// The store keeps serving meanwhile. The file is encrypted with age, with a passphrase or to recipients, because it
/// holds every secret of the store. With it, devices keep their sessions on the host where it is restored.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy backup /media/usb/store-20260919.backup
  proxy backup --to /var/backups/airlock --keep 14 --passphrase-file /etc/airlock/backup.passphrase
  proxy backup store.backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  proxy backup nightly.backup --without-blobs --passphrase-file /etc/airlock/backup.passphrase")]
pub(crate) struct Args {
    /// File to write; it must not exist
    #[arg(required_unless_present = "to", conflicts_with = "to")]
    file: Option<PathBuf>,

    /// Folder to write a file with the time in its name to, such as airlock-20260919T154844Z.backup
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,

    /// Once the new backup is complete, leave only this many of them in the folder of --to and remove the oldest
    #[arg(long, value_name = "COUNT", requires = "to", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,

    /// Only list the snap files; restore then takes them from elsewhere (--blobs)
    #[arg(long)]
    without_blobs: bool,

    /// Omit the secrets; restore then takes them from elsewhere (--secrets)
    #[arg(long)]
    without_secrets: bool,

    #[command(flatten)]
    seal: SealArgs,
}

/// The written backup.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BackedUp {
    #[serde(serialize_with = "crate::output::as_text")]
    file: PathBuf,
    bytes: u64,
    sealed: &'static str,
    with_blobs: bool,
    with_secrets: bool,
    missing: usize,
    #[serde(serialize_with = "crate::output::as_texts")]
    removed: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let path = &match (args.file, &args.to) {
        (Some(file), _) => file,
        (None, Some(folder)) => folder.join(format!("{PREFIX}{}{SUFFIX}", stamp(OffsetDateTime::now_utc()))),
        (None, None) => bail!("name the file to write, or a folder with --to"),
    };
    ensure!(!path.exists(), "cannot write {}: it is there already", path.display());
    let seal = args.seal.seal(args.without_secrets)?;
    let sealed = seal.name();
    let writing = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(
        folder.is_dir(),
        "cannot write {}: there is no folder {1}; make it with `mkdir -p {1}`",
        path.display(),
        folder.display()
    );
    // Readable by its owner only, and removed unless the backup completes.
    let file = NamedTempFile::with_prefix_in(".backup-", folder).with_context(writing)?;

    let wanted = BackupRequest { without_blobs: args.without_blobs };
    // The connection lives as long as this value.
    let mut admin = context.admin().await?;
    let answer = admin.download::<Backup>(&wanted).await?;
    // Read after the database, because the two must match.
    let host = host(context, args.without_secrets, answer.headers())?;
    let missing = header(answer.headers(), MISSING_HEADER).and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = answer.into_body();
    let mut out = seal.write(file)?;
    out = first_entry(out, &host).with_context(writing)?;
    let bar = progress_bar(&path.to_string_lossy(), body.size_hint().exact().unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Err(why(context).await.unwrap_or_else(|| broken_off(error))),
        };
        if let Ok(bytes) = frame.into_data() {
            out.write_all(&bytes).with_context(writing)?;
            bar.inc(bytes.len() as u64);
        }
    }
    bar.finish_and_clear();
    let file = out.finish().with_context(writing)?;
    file.as_file().sync_all().with_context(writing)?;
    let bytes = file.as_file().metadata().with_context(writing)?.len();
    file.persist_noclobber(path).map_err(|failed| failed.error).with_context(writing)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(writing)?;
    changed();
    // Without files, older backups hold nothing that this one lacks.
    let is_whole = missing == 0 || args.without_blobs;
    let removed = match (&args.to, args.keep) {
        (Some(folder), Some(keep)) if is_whole => leave_newest(folder, keep as usize).with_context(|| {
            format!("{} is complete, but older backups cannot be removed", path.display())
        })?,
        _ => Vec::new(),
    };
    let (with_blobs, with_secrets) = (!args.without_blobs, !args.without_secrets);
    let done = BackedUp { file: path.clone(), bytes, sealed, with_blobs, with_secrets, missing, removed };
    context.out.report(&done, lines)?;
    let lacks = format!(
        "{missing} files are missing or damaged in the store and not in the backup: `{0} verify` names them, \
         `{0} verify --repair-from BUNDLE` mends them",
        context.program
    );
    match missing {
        0 => {}
        _ if is_whole => warning(lacks),
        _ => {
            let older = if args.keep.is_some() { ", so older backups stay" } else { "" };
            bail!("{} is not whole{older}: {lacks}; then back up again", path.display())
        }
    }
    Ok(())
}

/// What the server noted of a backup that it broke off.
async fn why(context: &Context) -> Option<anyhow::Error> {
    let search = [("what", "backup".to_owned()), ("limit", "1".to_owned())];
    let log: AuditLog = context.admin().await.ok()?.ask_for::<ListAudit>(search).await.ok()?;
    let last = log.events.last().filter(|event| event.outcome == "failed")?;
    Some(anyhow!("cannot finish the backup: {}", last.detail["message"].as_str()?))
}

fn broken_off(error: hyper::Error) -> anyhow::Error {
    anyhow!(error).context("cannot finish the backup: the server broke it off, and its log says why")
}

fn lines(done: &BackedUp) -> Vec<String> {
    let without = match (done.with_blobs, done.with_secrets) {
        (true, true) => "",
        (false, true) => ", without the files of snaps",
        (true, false) => ", without secrets",
        (false, false) => ", without secrets and the files of snaps",
    };
    let sealed = match done.sealed {
        "passphrase" => "sealed with a passphrase",
        "recipients" => "sealed to recipients",
        _ => "not sealed",
    };
    let removed = done.removed.iter().map(|path| format!("Removed {}", path.display()));
    let wrote = format!("Wrote {} ({} bytes), {sealed}{without}", done.file.display(), done.bytes);
    std::iter::once(wrote).chain(removed).collect()
}

/// Removes all but the newest backups that `--to` wrote to a folder; returns what was removed.
fn leave_newest(folder: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut names = by_time(folder)?;
    names.truncate(names.len().saturating_sub(keep));
    let removed: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    for path in &removed {
        fs::remove_file(path)?;
    }
    Ok(removed)
}

/// The newest backup that `--to` wrote to a folder.
pub(super) fn newest(folder: &Path) -> anyhow::Result<PathBuf> {
    let names = by_time(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let none = || format!("{} holds no backup that `proxy backup --to` wrote", folder.display());
    names.last().map(|name| folder.join(name)).with_context(none)
}

/// The backups that `--to` wrote to a folder, oldest first.
fn by_time(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_by_time(name)));
    }
    // Names sort by time.
    names.sort_unstable();
    Ok(names)
}

/// Whether `--to` gave this name.
fn is_by_time(name: &str) -> bool {
    let time = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let digit = |(at, byte): (usize, u8)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() };
    time.is_some_and(|time| time.len() == 15 && time.bytes().enumerate().all(digit))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The host's own files at this moment.
fn host(context: &Context, without_secrets: bool, headers: &HeaderMap) -> anyhow::Result<Host> {
    let settings = with_credentials(context.settings()?)?;
    if let Some(expected) = header(headers, SESSION_KEY_HEADER) {
        let signing = settings.secret(RotatedSecret::Sessions).map(|secret| SessionKey::new(&secret));
        let old =
            settings.old_secrets(RotatedSecret::Sessions).into_iter().map(|old| SessionKey::new(&old.secret));
        if !signing.into_iter().chain(old).any(|key| key.id() == expected) {
            bail!(
                "cannot back up: proxy.device-auth.secret is not the one that the database was used with (key {expected}), or was changed meanwhile: run the same command again, with \
                 CREDENTIALS_DIRECTORY=/etc/airlock/credentials where the service has its secrets there"
            );
        }
    }
    let settings = if without_secrets { open_settings(&settings) } else { settings };
    let mut files = BTreeMap::new();
    for file in HOST_FILES.iter().filter(|file| !(without_secrets && file.secret)) {
        let path = context.data_dir.join(file.name);
        match fs::read_to_string(&path) {
            Ok(text) => drop(files.insert(file.name.to_owned(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(Host { settings: settings.to_yaml(), files, without_secrets })
}

/// Settings with the secrets that a service manager passes as files, which a backup holds as well.
fn with_credentials(mut settings: Settings) -> anyhow::Result<Settings> {
    #[expect(clippy::disallowed_methods, reason = "the service manager names the folder")]
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(settings) };
    let mut whole = settings.clone();
    settings.load_credentials(Path::new(&folder))?;
    for name in settings.credentials() {
        whole.set(name, settings.value(name))?;
    }
    Ok(whole)
}

/// The public settings: no secrets, and no password in a URL.
fn open_settings(settings: &Settings) -> Settings {
    let mut open = Settings::default();
    for (name, value) in settings.entries() {
        let Some(key) = key(name).filter(|key| !key.secret) else { continue };
        let shown = key.redact(value);
        let shown = shown.replace(&format!(":{REDACTED}@"), "@").replace(&format!("?{REDACTED}"), "");
        // Omit a value that cannot be separated from its secret.
        let _ = open.set(name, &shown);
    }
    open
}

/// Writes the only entry that does not come from the server; the server's archive follows unchanged.
fn first_entry<W: Write>(out: Sealing<W>, host: &Host) -> io::Result<Sealing<W>> {
    let bytes = Zeroizing::new(serde_json::to_vec(host)?);
    let mut tar = TarWriter::new(out);
    tar.add(&Part::Host.name(&Sha3_384::of(&bytes)), bytes.len() as u64, bytes.as_slice())?;
    Ok(tar.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_backups_of_a_folder_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let stamped = |day| format!("airlock-202609{day:02}T030000Z.backup");
        let others = ["store.backup", "airlock-20200101T000000Z.backup.part", "airlock-20200101.backup"];
        let all = (1..=5).map(stamped).chain(others.map(str::to_owned));
        all.for_each(|name| drop(File::create(folder.path().join(name)).expect("a file")));
        let removed = leave_newest(folder.path(), 3).expect("removed");
        assert_eq!(removed, [folder.path().join(stamped(1)), folder.path().join(stamped(2))]);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 6);
        assert!(leave_newest(folder.path(), 3).expect("nothing to do").is_empty());
    }

    #[test]
    fn open_settings_hold_no_secret() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("proxy.domain", "snaps.internal"),
            ("proxy.device-auth.secret", "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms="),
            ("proxy.db.connection", "postgresql://snapproxy:marker@10.1.2.3:5432/snaps"),
        ] {
            settings.set(name, value).expect("a sound value");
        }
        let open = open_settings(&settings).to_yaml();
        assert!(!open.contains("marker") && !open.contains("bWFya2Vy") && !open.contains(REDACTED), "{open}");
        assert!(
            open.contains("snaps.internal") && open.contains("postgresql://snapproxy@10.1.2.3:5432/snaps"),
            "{open}"
        );
    }
}
