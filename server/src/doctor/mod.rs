//! Are devices served, now and in 90 days? Facts come in, findings go out: nothing here waits, asks or reads.
//!
//! `admin/doctor.rs` gathers the facts. Each finding says what is wrong, why it matters and which command mends it, under
//! a code that stays.

mod catalog;
mod desk;
mod host;
mod network;
#[cfg(test)]
mod tests;

pub(crate) use catalog::{Holdings, KeyFacts, StoreFacts};
pub(crate) use desk::{Desk, Locked};
pub(crate) use host::{Disk, Host, Mode, clock_went_back};
pub(crate) use network::Network;

use schema::api::admin::{Finding, Findings, Urgency};
use time::OffsetDateTime;

/// What is known of a store.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// By this server's clock.
    pub(crate) now: OffsetDateTime,
    /// How devices come here.
    pub(crate) network: Network,
    /// What the store stands on.
    pub(crate) host: Host,
    /// What the store holds.
    pub(crate) holdings: Holdings,
    /// Who gets a serial here.
    pub(crate) desk: Desk,
}

/// What is wrong with a store, most urgent first.
pub(crate) fn examine(facts: &Facts) -> Findings {
    let mut found = Found::default();
    host::examine(&facts.host, facts.now, &mut found);
    network::examine(&facts.network, &mut found);
    catalog::examine(&facts.holdings, facts.now, &mut found);
    desk::examine(&facts.desk, &mut found);
    let mut findings = found.0;
    findings.sort_by_key(|finding| finding.urgency);
    Findings { findings }
}

/// Findings so far.
#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn add(
        &mut self,
        urgency: Urgency,
        code: &str,
        what: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) {
        let (code, what, why, mend) = (code.to_owned(), what.into(), why.to_owned(), mend.into());
        self.0.push(Finding { code, urgency, what, why, mend });
    }
}
