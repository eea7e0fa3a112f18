//! What the store stands on: mode, database, secrets, files, disks, clock, backups.

use std::path::PathBuf;

use schema::api::admin::Finding;
use schema::api::admin::Urgency::{Advice, Now, Soon};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::Found;
use crate::plans::upkeep::Spare;
use crate::site::SecretTrouble;

/// A clock that is this much behind what it has shown before went backwards.
const SLACK: Duration = Duration::minutes(5);
/// A backup that is older than this is an old one.
const OLD_BACKUP: Duration = Duration::days(30);
/// So long after a rehearsal, another one is due.
const OLD_REHEARSAL: Duration = Duration::days(182);
/// With less than this many bytes or inodes free, the next import or session fails.
const LEAST_BYTES: u64 = 64 << 20;
const LEAST_INODES: u64 = 100;
/// With this many free, a file system is not full, whatever part of it they are: a bundle of kernels and bases fits.
const ENOUGH_BYTES: u64 = 8 << 30;
const ENOUGH_INODES: u64 = 1_000_000;

/// Shows where files are kept.
pub(super) const STORAGE_SETTINGS: &str = "proxy config proxy.storage.backend proxy.storage.path \
    proxy.storage.s3.server-url proxy.storage.s3.scanned-container-name";

/// How full a file system is.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// The store's folder on it.
    pub(crate) folder: PathBuf,
    /// Bytes that are free, of those that there are.
    pub(crate) bytes: (u64, u64),
    /// Inodes that are free, of those that there are; some file systems count none.
    pub(crate) inodes: (u64, u64),
}

/// Who may use a file or folder.
#[derive(Debug, Clone)]
pub(crate) struct Mode {
    /// It.
    pub(crate) path: PathBuf,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Those of them that it must not have.
    pub(crate) forbidden: u32,
}

/// What the store stands on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Has the operator chosen the mode in which devices are served?
    pub(crate) serves: bool,
    /// What is wrong with the database.
    pub(crate) database: Option<String>,
    /// Does the database have another schema than this program's?
    pub(crate) foreign_schema: bool,
    /// Why files cannot be written or read.
    pub(crate) storage: Option<String>,
    /// The folder of the files; none where they are in a bucket.
    pub(crate) storage_folder: Option<PathBuf>,
    /// What is wrong with the secret of sessions.
    pub(crate) secret: Option<SecretTrouble>,
    /// File systems.
    pub(crate) disks: Vec<Disk>,
    /// Files and folders that others could misuse.
    pub(crate) modes: Vec<Mode>,
    /// The last row of the audit log.
    pub(crate) last_event: Option<OffsetDateTime>,
    /// The last backup in the audit log.
    pub(crate) last_backup: Option<OffsetDateTime>,
    /// The last rehearsal of a backup in the audit log.
    pub(crate) last_rehearsal: Option<OffsetDateTime>,
    /// Was the audit log looked at?
    pub(crate) log_read: bool,
    /// What the last check of all files found besides damaged ones, and when it ended.
    pub(crate) unsound: Option<(usize, String)>,
    /// Old revisions that may go.
    pub(crate) spare: Option<Spare>,
    /// Are deltas to be made without the program that makes them?
    pub(crate) lacks_xdelta3: bool,
    /// Are deltas of contents to be made without the programs that make them?
    pub(crate) lacks_squashfs_tools: bool,
}

pub(super) fn examine(host: &Host, now: OffsetDateTime, found: &mut Found) {
    if !host.serves {
        let why = "Every request of a device is refused.";
        found.add(
            Now,
            "airgap-mode-off",
            "Devices are not served yet: air-gapped mode is off.",
            why,
            "proxy enable-airgap-mode",
        );
    }
    if let Some(failure) = &host.database {
        let what = format!("No new device session can begin: the database is not available ({failure}).");
        let why = "Devices with a session go on until it ends; others get no answer.";
        found.add(Now, "database-unavailable", what, why, "proxy check-connections");
    } else if host.foreign_schema {
        let what = "The database has another schema than this program's.";
        let why = "This program cannot read or write what a newer one left there.";
        found.add(Now, "schema-not-recognised", what, why, "apt-get install --only-upgrade airlock");
    }
    let is_full = |disk: &Disk| disk.bytes.0 < LEAST_BYTES || disk.inodes.0 < LEAST_INODES;
    // A full disk says so itself.
    if let Some(failure) = host.storage.as_ref().filter(|_| !host.disks.iter().any(is_full)) {
        let (place, mend) = match &host.storage_folder {
            Some(folder) => (folder.display().to_string(), format!("ls -ld {}", folder.display())),
            None => ("The object store".to_owned(), STORAGE_SETTINGS.to_owned()),
        };
        let what = format!("{place} cannot be used: {failure}.");
        found.add(Now, "storage-not-writable", what, "Downloads and imports fail.", mend);
    }
    match host.secret {
        None => {}
        Some(SecretTrouble::Missing) => {
            let what = "There is no secret to sign device sessions with (proxy.device-auth.secret).";
            let why = "No device can get a session.";
            found.add(Now, "session-secret-missing", what, why, "proxy enable-airgap-mode");
        }
        Some(SecretTrouble::Foreign) => {
            let what = "proxy.device-auth.secret is another one than the one that devices hold sessions of.";
            let why = "The sessions of all devices are refused.";
            let mend = "proxy config proxy.device-auth.secret=VALUE_FROM_THE_BACKUP";
            found.add(Now, "session-secret-foreign", what, why, mend);
        }
    }
    host.disks.iter().for_each(|disk| full(disk, found));
    for Mode { path, mode, forbidden } in &host.modes {
        let held = mode & forbidden;
        if held == 0 {
            continue;
        }
        let shown = path.display();
        let wanted = mode & !forbidden & 0o7777;
        let (code, what, why) = match held & 0o444 {
            0 => (
                "folder-writable",
                format!("{shown} can be written by others (mode {:o}).", mode & 0o7777),
                "Whoever writes there can replace what the server reads.",
            ),
            _ => (
                "secrets-readable",
                format!("{shown} can be read by others (mode {:o}).", mode & 0o7777),
                "It holds secrets; the server does not start again while its configuration is readable.",
            ),
        };
        found.add(Soon, code, what, why, format!("chmod {wanted:o} {shown}"));
    }
    found.0.extend(host.last_event.and_then(|last| clock_went_back(now, last)));
    if let Some((count, ended)) = &host.unsound {
        let what = format!("The check that ended {ended} found {count} problems that are no damaged files.");
        let why = "Something in the database is not what it was when it was imported.";
        found.add(Now, "store-not-sound", what, why, "proxy verify");
    }
    if host.lacks_xdelta3 {
        let what = "No deltas are made, as proxy.deltas.budget asks: xdelta3 is not installed.";
        let why = "Devices download every update as a whole.";
        found.add(Advice, "xdelta3-missing", what, why, "apt install xdelta3");
    } else if host.lacks_squashfs_tools {
        let what = "No deltas of the format snap-1-1-xdelta3 are made, as proxy.deltas.formats asks: \
                    there are no squashfs-tools of version 4.7.4 or newer.";
        let why = "Of snaps that are packed with xz, deltas of the other format are nearly as large as the snap. \
                   Where your distribution has older ones, install them below /usr/local, or turn the format off.";
        found.add(
            Advice,
            "squashfs-tools-missing",
            what,
            why,
            "proxy config 'proxy.deltas.formats=[\"xdelta3\"]'",
        );
    }
    if let Some(Spare { revisions, bytes, keep }) = &host.spare {
        let what =
            format!("{revisions} old revisions may go ({bytes} bytes): proxy.retention.keep is {keep}.");
        let why = "No channel, override, validation set, tag, rollout or seen device needs them.";
        found.add(Advice, "revisions-left-over", what, why, format!("proxy prune --keep {keep}"));
    }
    let mend = "proxy backup /media/usb/airlock.backup";
    let why = "Without a backup elsewhere, a lost disk takes the sessions of all devices with it.";
    match host.last_backup {
        None if host.log_read => {
            found.add(Advice, "backup-never", "No backup was made with `proxy backup`.", why, mend);
        }
        Some(last) if now - last > OLD_BACKUP => {
            let days = (now - last).whole_days();
            found.add(Advice, "backup-old", format!("The last backup is {days} days old."), why, mend);
        }
        // How old it is cannot be told.
        Some(last) if now + SLACK < last => {
            let what = format!("The last backup is of {}, which is still to come.", shown(last));
            found.add(Advice, "backup-old", what, why, mend);
        }
        _ => {}
    }
    let rehearsed = |last: OffsetDateTime| (-SLACK..=OLD_REHEARSAL).contains(&(now - last));
    if host.last_backup.is_some() && !host.last_rehearsal.is_some_and(rehearsed) {
        let what = "No backup was rehearsed within half a year.";
        let why = "Whether a backup can be restored shows when it is restored.";
        found.add(
            Advice,
            "backup-not-rehearsed",
            what,
            why,
            "proxy restore --rehearse /media/usb/airlock.backup",
        );
    }
}

/// What a clock endangers that shows an earlier time than the audit log.
pub(crate) fn clock_went_back(now: OffsetDateTime, last_event: OffsetDateTime) -> Option<Finding> {
    let (now, last) = (shown(now), Some(last_event).filter(|last| now + SLACK < *last).map(shown)?);
    Some(Finding {
        code: "clock-went-back".into(),
        urgency: Soon,
        what: format!(
            "The clock went backwards: it shows {now}, and something was recorded at {last}. Sessions, logins and \
             certificates that ended in between are valid again, certificates from in between are not valid yet, renewals \
             come late, and `proxy backup --keep` may remove the newest backup."
        ),
        why: "This clock decides what has begun and what has ended.".into(),
        mend: "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'".into(),
    })
}

fn full(Disk { folder, bytes, inodes }: &Disk, found: &mut Found) {
    let place = folder.display();
    let mend = "proxy prune --keep 2";
    for (what, code, (free, all), least, enough) in [
        ("bytes", "disk-full", bytes, LEAST_BYTES, ENOUGH_BYTES),
        ("inodes", "inodes-full", inodes, LEAST_INODES, ENOUGH_INODES),
    ] {
        let text = format!("{free} of {all} {what} are free in {place}.");
        if *all > 0 && *free < least {
            found.add(Now, code, text, "No session can be recorded and nothing imported.", mend);
        } else if *free < enough.min(all / 20) {
            found.add(Soon, code, text, "The next imports do not fit.", mend);
        }
    }
}

pub(super) fn shown(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}
