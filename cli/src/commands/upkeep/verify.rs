//! `verify`: checks everything the server holds, and repairs damaged files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;
use schema::api::admin::calls::{Repair, Verify};
use schema::api::admin::{
    Affected, AuditHead, Repaired, VerifyNews, VerifyProblem, VerifyReport, VerifyRequest,
};
use schema::store::StoreId;

use crate::admin::{Admin, AdminError};
use crate::bars;
use crate::bundle;
use crate::commands::Reported;
use crate::context::Context;
use crate::digest::file_digest;
use crate::errors;
use crate::kinds;
use crate::pair::{Pair, is_blob};

/// Check every file, signature, revision and release in the store, and the audit log
///
/// Reads every file in full, which takes a while; an interrupted check can be resumed. A damaged file is not sent to
/// devices: push its snap again, or name bundles and .snap files to repair it from. Only the damaged files are taken
/// from these; channels stay unchanged. Exit code 0 if all is well or was repaired, 1 if something is wrong; the full
/// report is printed either way.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy verify
  proxy verify --rate 50 --resume
  proxy verify --repair-from /media/usb/core24-20240601T120000.tar.gz hello_42.snap
  proxy verify --repair-from /media/usb
  proxy verify --json")]
pub(crate) struct Args {
    /// Repair damaged files from these bundles, snaps or components, or from those in a folder
    #[arg(long, value_name = "FILE-OR-FOLDER", num_args = 1..)]
    repair_from: Vec<PathBuf>,

    /// Read at most this many MB per second
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Resume an interrupted check
    #[arg(long)]
    resume: bool,

    /// Saved end of the audit log: no event up to it may have changed
    #[arg(long, value_name = "NUMBER:DIGEST")]
    audit_head: Option<AuditHead>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let wanted = VerifyRequest { rate: args.rate, resume: args.resume, audit_head: args.audit_head };
    let mut report = check(&mut context.admin().await?, &wanted).await?;
    let mut failed = false;
    for file in &sources(&args.repair_from, &report.problems)? {
        match repair(context, file).await {
            Ok(repaired) => report.repaired.extend(repaired.files),
            // A bad file does not stop the others; a lost server does.
            Err(error) if matches!(error.downcast_ref(), Some(AdminError::Refused(_)) | None) => {
                errors::report(&error.context(format!("cannot repair from {}", file.display())));
                failed = true;
            }
            Err(error) => return Err(error),
        }
    }
    let VerifyReport { problems, repaired, .. } = &mut report;
    problems.retain(|problem| !repaired.contains(&problem.subject));
    context.out.report(&report, lines)?;
    if report.problems.is_empty() && !failed { Ok(()) } else { Err(Reported.into()) }
}

/// Runs the check, with a progress bar if stderr is a terminal.
async fn check(admin: &mut Admin, wanted: &VerifyRequest) -> anyhow::Result<VerifyReport> {
    // Indicatif draws to stderr, and nothing at all unless that is a terminal.
    let bar = ProgressBar::new(0);
    bar.set_style(bars::style("Checking {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
    let mut last = None;
    let heard = admin.lines::<Verify, _>(wanted, |news| match news {
        VerifyNews::Progress(progress) => {
            bar.set_length(progress.total);
            bar.set_position(progress.bytes);
        }
        VerifyNews::Report(report) => last = Some(Ok(report)),
        VerifyNews::Failed(failure) => last = Some(Err(AdminError::Refused(failure))),
    });
    heard.await?;
    bar.finish_and_clear();
    let last =
        last.context("the server ended the check without a report: `proxy verify --resume` goes on with it")?;
    Ok(last?)
}

/// The files to repair from: those that are named, and of a folder those that may hold what is damaged.
fn sources(named: &[PathBuf], problems: &[VerifyProblem]) -> anyhow::Result<Vec<PathBuf>> {
    let damaged = |digest: &str| problems.iter().any(|problem| problem.subject == digest);
    let mut sources = Vec::new();
    for path in named {
        if !path.is_dir() {
            sources.push(path.clone());
            continue;
        }
        let shown = || format!("cannot read {}", path.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(path).with_context(shown)? {
            let file = entry.with_context(shown)?.path();
            let may_hold = match is_blob(&file) {
                true => {
                    let shown = || format!("cannot read {}", file.display());
                    let digest = File::open(&file).and_then(file_digest).with_context(shown)?;
                    damaged(&digest.to_hex())
                }
                false => !problems.is_empty() && file.is_file() && kinds::holds_snaps(&file)?,
            };
            files.extend(Some(file).filter(|_| may_hold));
        }
        files.sort();
        sources.extend(files);
    }
    Ok(sources)
}

async fn repair(context: &Context, file: &Path) -> anyhow::Result<Repaired> {
    let upload = if is_blob(file) {
        // The server knows what the file must be, so it needs no assertions beside it.
        let alone = Pair { files: vec![file.to_owned()], revision: None };
        bundle::wrapped(&alone, &StoreId::global(), &[])?
    } else {
        bundle::file(file)?
    };
    Ok(context.admin().await?.upload::<Repair>(&[], upload).await?)
}

fn lines(report: &VerifyReport) -> Vec<String> {
    let VerifyReport { blobs, bytes, assertions, revisions, releases, events, problems, repaired } = report;
    let mut lines = vec![format!(
        "Checked {blobs} files ({bytes} bytes), {assertions} assertions, {revisions} revisions, {releases} releases, \
         {events} audit events"
    )];
    lines.extend(repaired.iter().map(|digest| format!("Repaired: {digest}")));
    lines.extend(problems.iter().flat_map(problem));
    lines.push(match problems.len() {
        0 => "All is well".into(),
        1 => "1 problem".into(),
        count => format!("{count} problems"),
    });
    lines
}

fn problem(VerifyProblem { subject, message, affected, .. }: &VerifyProblem) -> Vec<String> {
    let head = format!("{message}: {subject}");
    std::iter::once(head).chain(affected.iter().map(|one| format!("  {}", sufferer(one)))).collect()
}

/// A snap on one line.
fn sufferer(Affected { snap, snap_id, revision, component, stores }: &Affected) -> String {
    let name = if snap.is_empty() { snap_id } else { snap };
    let part = match (revision, component) {
        (Some(revision), _) => format!(" revision {revision}"),
        (None, Some(component)) => format!(" component {component}"),
        (None, None) => String::new(),
    };
    let stores = if stores.is_empty() { "no store".into() } else { stores.join(", ") };
    format!("{name}{part} in {stores}")
}
