//! `status`: shows the state of the store.

use std::collections::BTreeMap;

use schema::api::admin::calls::ShowStatus;
use schema::api::admin::{
    BackupStatus, CheckStatus, Counts, DeltaTraffic, DeltaUse, FormatTraffic, OldKey, RetentionStatus,
    Status, TlsStatus,
};
use serde::Serialize;

use super::{list_account_keys, list_stores};
use crate::admin::{AdminError, start_command};
use crate::commands::Reported;
use crate::context::Context;

/// Show the state of the store
///
/// Exit code 0 when devices are served, 1 when something keeps some of them from it; the report is printed in full
/// either way. `doctor` says of each problem why it matters and what mends it.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy status
  proxy status --strict
  proxy status --json")]
pub(crate) struct Args {
    /// End with 1 for warnings too: for what will keep devices from being served within 90 days
    #[arg(long)]
    strict: bool,
}

/// The server's answer, or what is known without it.
#[derive(Serialize)]
struct Report {
    running: bool,
    #[serde(flatten)]
    status: Status,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let report = match context.admin().await {
        Ok(mut admin) => Report { running: true, status: admin.ask::<ShowStatus>().await? },
        Err(AdminError::NotRunning(_)) => Report { running: false, status: status_without_server(context)? },
        Err(error) => return Err(error.into()),
    };
    context.out.report(&report, |report| lines(report, context.program))?;
    let warned = args.strict && !report.status.warnings.is_empty();
    if report.running && is_healthy(&report.status) && !warned { Ok(()) } else { Err(Reported.into()) }
}

/// What the configuration alone says.
fn status_without_server(context: &Context) -> anyhow::Result<Status> {
    let settings = context.settings()?;
    let is_embedded = settings.database.url.is_none();
    let start = start_command(&context.data_dir);
    Ok(Status {
        credentials: Vec::new(),
        version: String::new(),
        store_url: settings.base_url(),
        listening: Vec::new(),
        admin_address: None,
        metrics: None,
        database: "not known while the server is not running".into(),
        storage: "not known while the server is not running".into(),
        database_engine: if is_embedded { "sqlite" } else { "postgresql" }.into(),
        airgap_mode: settings.site.airgap,
        store_id: settings.identity.store_id.clone(),
        services: BTreeMap::from([("proxyd".into(), format!("not running: start it with `{start}`"))]),
        stores: Vec::new(),
        account_keys: Vec::new(),
        trust: Vec::new(),
        session_key: None,
        old_session_keys: Vec::new(),
        login_key: None,
        old_login_keys: Vec::new(),
        tls: None,
        acme: None,
        audit_head: None,
        check: CheckStatus::default(),
        backup: None,
        waiting_imports: 0,
        retention: None,
        deltas: DeltaUse::default(),
        jobs: Vec::new(),
        problems: [format!("The server is not running: start it with `{start}`")]
            .into_iter()
            .chain(settings.waiting())
            .map(|text| text + ".")
            .collect(),
        warnings: Vec::new(),
        counts: Counts::default(),
    })
}

fn is_healthy(status: &Status) -> bool {
    let services_run = status.services.values().all(|state| state == "running");
    status.database == "ok" && status.airgap_mode && services_run && status.problems.is_empty()
}

/// The report for people; programs also read the lines up to the services.
fn lines(Report { running, status }: &Report, program: &str) -> Vec<String> {
    let mode = if status.airgap_mode {
        "Store is in device authenticated air-gapped mode".to_owned()
    } else {
        format!("Store is not in air-gapped mode, no device is served: run `{program} enable-airgap-mode`")
    };
    let mut lines = vec![
        format!("Store URL: {}", status.store_url),
        format!("Store DB: {}", status.database),
        mode,
        format!("Store ID: {}", status.store_id.as_deref().unwrap_or("not registered")),
    ];
    let mut section = |title: &str, entries: Vec<String>| {
        lines.push(format!("{title}:"));
        lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
    };
    let services = status.services.iter().map(|(name, state)| format!("{name}: {state}"));
    section("Internal Service Status", services.collect());
    if *running {
        section("Imported Stores", status.stores.iter().map(list_stores::summary).collect());
        section("Account Keys", status.account_keys.iter().map(list_account_keys::summary).collect());
    }
    if let Some(url) = &status.metrics {
        section("Metrics", vec![url.clone()]);
    }
    if !status.trust.is_empty() {
        let anchors =
            status.trust.iter().map(|anchor| format!("{}: {}", anchor.fingerprint, anchor.account_id));
        section("Extra Trust Anchors", anchors.collect());
    }
    for (title, in_force, old) in [
        ("Session Keys", &status.session_key, &status.old_session_keys),
        ("Login Keys", &status.login_key, &status.old_login_keys),
    ] {
        // A single key needs no id to tell it apart.
        if let Some(id) = in_force.as_ref().filter(|_| !old.is_empty()) {
            let old = old.iter().map(|OldKey { id, until }| format!("{id}: accepted until {until}"));
            section(title, std::iter::once(format!("{id}: signs")).chain(old).collect());
        }
    }
    if let Some(address) = &status.admin_address {
        section("Admin API", vec![address.clone()]);
    }
    if let Some(tls) = &status.tls {
        section("TLS", describe(tls));
    }
    if let Some(acme) = &status.acme {
        section("ACME", crate::commands::certificates::acme::lines(acme));
    }
    if *running {
        section("Check of All Files", checked(&status.check));
        section("Backups", backups(status.backup.as_ref()));
        if status.waiting_imports > 0 {
            let waiting = format!("{}: `{program} imports list` shows them", status.waiting_imports);
            section("Imports That Wait for Approvals", vec![waiting]);
        }
        if let Some(retention) = &status.retention {
            section("Old Revisions", vec![left_over(retention)]);
        }
        if !status.deltas.is_nothing() {
            section("Deltas", deltas(&status.deltas, program));
        }
    }
    if let Some(head) = &status.audit_head {
        section("Audit Log Ends With", vec![head.to_string()]);
    }
    if !status.warnings.is_empty() {
        section("Warnings", status.warnings.clone());
    }
    if !status.problems.is_empty() {
        section("Problems", status.problems.clone());
    }
    lines
}

/// When all files were last checked, and the result.
fn checked(check: &CheckStatus) -> Vec<String> {
    let CheckStatus { finished, blobs, bytes, problems, read_so_far } = check;
    let last =
        finished.as_ref().map(|at| format!("Ended {at}: {blobs} files ({bytes} bytes), {problems} problems"));
    let now = read_so_far.map(|blobs| format!("Not ended yet: {blobs} files read"));
    std::iter::once(last.unwrap_or_else(|| "Never ended so far".into())).chain(now).collect()
}

/// What there is of deltas, and what they came to.
fn deltas(DeltaUse { budget, held, last_24_hours, last_30_days }: &DeltaUse, program: &str) -> Vec<String> {
    let room = match budget {
        0 => format!("none are made: `{program} config proxy.deltas.budget=2000` lets them take 2000 MB"),
        budget => format!("{budget} bytes allowed"),
    };
    let held = held.iter().map(|one| format!("{} {} ({} bytes)", one.deltas, one.format.as_str(), one.bytes));
    let held: Vec<String> = held.chain([room]).collect();
    let mut lines = vec![format!("Held: {}", held.join("; "))];
    for (title, traffic) in [("Last 24 hours", last_24_hours), ("Last 30 days", last_30_days)] {
        match traffic {
            None => lines.push(format!("{title}: not known while the database does not answer")),
            Some(traffic) => lines.extend(told(traffic).map(|line| format!("{title}: {line}"))),
        }
    }
    lines
}

/// What was offered and sent.
pub(crate) fn told(traffic: &DeltaTraffic) -> impl Iterator<Item = String> {
    let whole = format!(
        "whole snaps: {} bytes; after a delta (fell back): {}",
        traffic.snaps_served_bytes, traffic.deltas_fallbacks
    );
    let format = |one: &FormatTraffic| {
        format!(
            "deltas {}: {} offered ({} bytes), {} downloaded ({} bytes)",
            one.format.as_str(),
            one.deltas_offered,
            one.deltas_offered_bytes,
            one.deltas_served,
            one.deltas_served_bytes
        )
    };
    std::iter::once(whole).chain(traffic.formats.iter().map(format))
}

/// What proxy.retention.keep leaves over.
fn left_over(RetentionStatus { keep, apply, revisions, bytes }: &RetentionStatus) -> String {
    match (revisions, apply) {
        (0, false) => format!("None may go: each snap keeps {keep}, and what is needed"),
        (_, true) => format!("Removed each hour: each snap keeps {keep}, and what is needed"),
        _ => format!("{revisions} may go ({bytes} bytes): `proxy prune --keep {keep}` shows them"),
    }
}

/// The last backup and its rehearsal.
fn backups(status: Option<&BackupStatus>) -> Vec<String> {
    let Some(BackupStatus { last, rehearsed, rehearsed_backup }) = status else {
        return vec!["Last made: not known while the database does not answer".to_owned()];
    };
    let never = || "never".to_owned();
    let of = rehearsed_backup.iter().map(|of| format!(", the one of {of}")).collect::<String>();
    vec![
        format!("Last made: {}", last.clone().unwrap_or_else(never)),
        format!("Last rehearsed: {}{of}", rehearsed.clone().unwrap_or_else(never)),
    ]
}

/// The certificate, who must present one, and a device's verdict.
fn describe(tls: &TlsStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(certificate) = &tls.certificate {
        let names =
            if certificate.names.is_empty() { "no name".into() } else { certificate.names.join(", ") };
        lines.push(format!("Certificate: {} for {names}", certificate.subject));
        lines.push(format!("Issuer: {}", certificate.issuer));
        lines.push(format!("Valid until: {} ({} days left)", certificate.not_after, certificate.days_left));
    }
    let further = tls.further.iter().map(|one| {
        let (names, until, days) = (one.names.join(", "), &one.not_after, one.days_left);
        format!("Further certificate: for {names}, valid until {until} ({days} days left)")
    });
    lines.extend(further);
    lines.push(format!("Client certificates: {}", tls.client_auth));
    let verdict = if tls.problems.is_empty() { "ok" } else { "failed, see the problems" };
    lines.push(format!("Checked as a device: {verdict}"));
    lines
}
