//! Operators: they push, override, check, clean up and back up, at one server or the other.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::site::Site;
use super::{Cast, Counts, Line};
use crate::attack::Chance;
use crate::bundle::{store_metadata, write_pair};
use crate::server::{Ran, proxy};

/// The revisions of the snap that is overridden.
const MOVED: u32 = 3;

fn pushed(line: &Line, site: &Site, server: usize, revision: u32) -> Ran {
    let folder = TempDir::new().expect("there is room for temporary files");
    let file = write_pair(folder.path(), &line.snap.revision(revision));
    let file = file.to_str().expect("a path of text");
    let args = ["push-snap", file, "--store", line.store, "--channel", "latest/stable"];
    proxy(&site.data_dir(server), &args)
}

/// Brings in brands, stores and the first revisions.
pub(super) fn prepare(cast: &Cast, site: &Site) -> Result<(), String> {
    let folder = TempDir::new().map_err(|error| error.to_string())?;
    let file = folder.path().join("file");
    let with = |bytes: &[u8], verb: &str| {
        std::fs::write(&file, bytes).map_err(|error| error.to_string())?;
        let ran = proxy(&site.data_dir(0), &[verb, file.to_str().unwrap_or_default()]);
        if ran.code == Some(0) { Ok(()) } else { Err(format!("{verb}: {}", ran.stderr)) }
    };
    for (brand, line) in cast.brands.iter().zip(&cast.lines) {
        with(&brand.account_keys(), "push-account-keys")?;
        let metadata = store_metadata(line.store, &brand.id, &[&line.snap]);
        with(metadata.to_string().as_bytes(), "push-brand-store-metadata")?;
    }
    for line in &cast.lines[..3] {
        line.history.begin(1, 0);
        let _ = pushed(line, site, 0, 1).ok();
        line.history.acknowledge();
    }
    let moved = &cast.lines[3];
    for revision in 1..=MOVED {
        moved.history.begin(revision, 0);
        let _ = pushed(moved, site, 0, revision).ok();
        moved.history.acknowledge();
    }
    Ok(())
}

/// Judges a command; was it acknowledged?
fn judge(site: &Site, server: usize, begun: Instant, what: &str, ran: &Ran, counts: &Counts) -> bool {
    if ran.code == Some(0) {
        return true;
    }
    if ran.code == Some(1) && site.excuses(server, begun) {
        counts.excused.fetch_add(1, Ordering::Relaxed);
    } else {
        site.fail(format!(
            "{what} at server {server} ended with {:?}: {}{}",
            ran.code, ran.stdout, ran.stderr
        ));
    }
    false
}

/// Pushes one revision after another until the run is over.
pub(super) fn push(cast: &Cast, site: &Site, counts: &Counts, mut chance: Chance) {
    let mut next = [2; 3];
    while !site.is_over() {
        let which = chance.below(3);
        let (line, revision) = (&cast.lines[which], next[which]);
        next[which] += 1;
        let server = chance.below(site.servers());
        let begun = Instant::now();
        line.history.begin(revision, server);
        let ran = pushed(line, site, server, revision);
        if judge(site, server, begun, &format!("push of {} {revision}", line.snap.name), &ran, counts) {
            line.history.acknowledge();
            counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        site.pause(Duration::from_millis(300));
    }
}

/// Overrides, checks, cleans up and backs up until the run is over.
pub(super) fn tend(cast: &Cast, site: &Site, counts: &Counts, mut chance: Chance) {
    let folder = TempDir::new().expect("there is room for temporary files");
    let backup = folder.path().join("backup");
    let moved = &cast.lines[3];
    while !site.is_over() {
        let server = chance.below(site.servers());
        let begun = Instant::now();
        let data_dir = site.data_dir(server);
        let task = chance.below(6);
        if task < 3 {
            let revision = 1 + u32::try_from(chance.below(MOVED as usize)).unwrap_or_default();
            moved.history.begin(revision, server);
            let ran = proxy(&data_dir, &["override", &moved.snap.name, &format!("stable={revision}")]);
            if judge(site, server, begun, "override", &ran, counts) {
                moved.history.acknowledge();
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            let file = backup.to_str().unwrap_or_default();
            let args = match task {
                3 => vec!["verify"],
                4 => vec!["gc"],
                _ => vec!["backup", file, "--without-secrets"],
            };
            if judge(site, server, begun, args[0], &proxy(&data_dir, &args), counts) {
                counts.commands.fetch_add(1, Ordering::Relaxed);
            }
            let _ = std::fs::remove_file(&backup);
        }
        site.pause(Duration::from_millis(500));
    }
}
