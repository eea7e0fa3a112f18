//! Makes the difference between two snaps as parcels carry it, puts the new one together again, and prints what that took.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;
use schema::difference::{apply, make, read_head};
use schema::digest::{Hashed, Sha3_384};

/// Two snaps.
#[derive(Parser)]
struct Args {
    /// The older one
    old: PathBuf,
    /// The newer one
    new: PathBuf,
}

fn digest(path: &PathBuf) -> anyhow::Result<(Sha3_384, u64)> {
    let mut hashed = Hashed::new(File::open(path)?);
    let size = std::io::copy(&mut hashed, &mut std::io::sink())?;
    Ok((hashed.finish(), size))
}

/// The most memory that this process had, in MiB.
fn peak() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? >> 10)
}

fn main() -> anyhow::Result<()> {
    let Args { old, new } = Args::parse();
    let ((base, _), (target, size)) = (digest(&old)?, digest(&new)?);
    let started = Instant::now();
    let mut file = tempfile::NamedTempFile::new()?;
    let mut out = BufWriter::new(file.as_file_mut());
    make((&mut File::open(&old)?, &base), (&mut File::open(&new)?, &target), &mut out)?;
    out.flush()?;
    drop(out);
    let (made, peak_made) = (started.elapsed(), peak()?);
    let length = file.as_file().metadata()?.len();

    let started = Instant::now();
    let mut difference = BufReader::new(file.reopen()?);
    let head = read_head(&mut difference)?;
    let mut rebuilt = tempfile::NamedTempFile::new()?;
    apply(&head, difference, &mut File::open(&old)?, rebuilt.as_file_mut())?;
    let applied = started.elapsed();
    ensure!(digest(&rebuilt.path().to_owned())?.0 == target, "the new file was not put together");
    println!(
        "{}: {length} of {size} bytes ({:.3}), made in {:.1} s ({peak_made} MiB), put together in {:.1} s ({} MiB)",
        new.display(),
        length as f64 / size as f64,
        made.as_secs_f64(),
        applied.as_secs_f64(),
        peak()?
    );
    Ok(())
}
