//! *Now*: whether devices are served, what the doctor found, and what stands still.

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{
    CountDevices, ListApprovals, ListImports, ListMisses, ListRollouts, ShowDoctor, ShowStatus,
};
use schema::api::admin::{Finding, FleetCounts, Import, Rollout, Status, Urgency};

use super::frame::{Frame, show};
use super::plot::{self, Plot, Span};
use super::texts::ENGLISH;
use super::visit::{Visit, refused};

#[derive(Template)]
#[template(path = "now.html")]
struct NowPage {
    f: Frame,
    status: Status,
    counts: FleetCounts,
    silent: u64,
    misses: usize,
    last_import: Option<Import>,
    findings: Vec<Finding>,
    /// The most urgent of the findings, advice apart.
    worst: Option<Urgency>,
    waves: Vec<Rollout>,
    /// Requests that wait for approval.
    waiting: usize,
    span: Span,
    plots: [Plot; 4],
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let asked = try_join!(
        visit.ask::<ShowStatus>(""),
        visit.ask::<ShowDoctor>(""),
        visit.ask::<CountDevices>(""),
        visit.ask::<ListMisses>(""),
        visit.ask::<ListRollouts>(""),
        visit.ask::<ListImports>("last=1"),
        visit.ask::<ListApprovals>(""),
    );
    let (status, doctor, counts, misses, rollouts, imports, approvals) = match asked {
        Ok(answers) => answers,
        Err(refusal) => return refusal.into_response(),
    };
    let span = Span::of(&visit);
    let plotted = |kind| Plot::asked(&visit, kind, span, None);
    let plots = try_join!(
        plotted(&plot::CONTACTS),
        plotted(&plot::SESSIONS),
        plotted(&plot::BYTES),
        plotted(&plot::FREE)
    );
    let plots = match plots {
        Ok((contacts, sessions, bytes, free)) => [contacts, sessions, bytes, free],
        Err(refusal) => return refused(refusal),
    };
    show(&NowPage {
        f: visit.frame("now", ENGLISH.now),
        silent: counts.devices.saturating_sub(counts.within_day),
        misses: misses.misses.iter().filter(|miss| miss.answered_by.is_none()).count(),
        last_import: imports.imports.into_iter().next_back(),
        worst: worst(&doctor.findings),
        waves: rollouts.rollouts.into_iter().filter(|rollout| rollout.state.is_live()).collect(),
        findings: doctor.findings,
        waiting: approvals.approvals.iter().filter(|approval| approval.state == "waiting").count(),
        span,
        plots,
        status,
        counts,
    })
}

fn worst(findings: &[Finding]) -> Option<Urgency> {
    findings.iter().map(|finding| finding.urgency).min().filter(|urgency| *urgency < Urgency::Advice)
}

impl NowPage {
    /// The colour of the verdict, and the verdict: what `proxy doctor` ends with.
    fn verdict(&self) -> (&'static str, &'static str) {
        match self.worst {
            Some(Urgency::Now) => ("bad", ENGLISH.not_served),
            Some(_) => ("warn", ENGLISH.served_for_now),
            None => ("well", ENGLISH.served),
        }
    }

    fn urgency(&self, finding: &Finding) -> &'static str {
        match finding.urgency {
            Urgency::Now => "bad",
            Urgency::Soon => "warn",
            Urgency::Advice => "advice",
        }
    }

    fn urgency_text(&self, finding: &Finding) -> &'static str {
        match finding.urgency {
            Urgency::Now => ENGLISH.urgent_now,
            Urgency::Soon => ENGLISH.urgent_soon,
            Urgency::Advice => ENGLISH.advice,
        }
    }
}
