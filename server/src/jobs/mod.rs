//! What runs in the background, each under its name: who looks, how often, how it went, and whether an operator holds it.
//!
//! A job only runs what a room offers. Each has a task of its own, so that one that waits or panics is in no other's way.

mod deltas;
mod job;
mod measures;
mod retention;
mod rollouts;
mod verification;

pub(crate) use deltas::wanted_deltas;
pub(crate) use job::Job;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use crate::acme::AcmeError;
use crate::observe::text::Text;
use crate::renewal;
use crate::site::Site;

/// How long a nonce epoch lasts; a nonce is good in its own and the next one.
const EPOCH: Duration = Duration::from_secs(3600);
/// How often another server's new epoch is looked for.
const EPOCH_POLL: Duration = Duration::from_secs(5);
/// How often sightings are written down.
const SIGHTINGS: Duration = Duration::from_secs(10);
/// How often the files of TLS are looked at.
const TLS_POLL: Duration = Duration::from_secs(2);
/// How often it is looked whether a certificate is due.
const ACME_LOOK: Duration = Duration::from_secs(30);

/// Everything that runs in the background.
pub(crate) struct Jobs {
    follow: Job,
    epochs: Job,
    sightings: Job,
    tls: Job,
    acme: Job,
    ca: Job,
    verify: Job,
    deltas: Job,
    rollouts: Job,
    retention: Job,
    measures: Job,
}

impl Jobs {
    /// Jobs that have not begun.
    pub(crate) fn new() -> Self {
        Self {
            follow: Job::new("follow"),
            epochs: Job::new("epochs"),
            sightings: Job::new("sightings"),
            tls: Job::new("tls"),
            acme: Job::new("acme"),
            ca: Job::new("ca"),
            verify: Job::new("verify"),
            deltas: Job::new("deltas"),
            rollouts: Job::new("rollouts"),
            retention: Job::new("retention"),
            measures: Job::new("measures"),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&Job; 11] {
        [
            &self.follow,
            &self.epochs,
            &self.sightings,
            &self.tls,
            &self.acme,
            &self.ca,
            &self.verify,
            &self.deltas,
            &self.rollouts,
            &self.retention,
            &self.measures,
        ]
    }

    /// Begins them, until the set is shut down.
    pub(crate) fn start(self: &Arc<Self>, site: &Arc<Site>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        macro_rules! spawn {
            ($jobs:ident, $site:ident: $work:expr) => {{
                let ($jobs, $site) = (Arc::clone(self), Arc::clone(site));
                tasks.spawn(async move { $work.await });
            }};
        }
        spawn!(jobs, site: follow(&jobs.follow, &site));
        spawn!(jobs, site: turn_epochs(&jobs.epochs, &site));
        spawn!(jobs, site: write_sightings(&jobs.sightings, &site));
        spawn!(jobs, site: watch_tls(&jobs.tls, &site));
        spawn!(jobs, site: renew_certificate(&jobs.acme, &site));
        spawn!(jobs, site: renew_own_certificate(&jobs.ca, &site));
        spawn!(jobs, site: verification::keep_checking(&jobs.verify, &site));
        spawn!(jobs, site: deltas::keep_making(&jobs.deltas, &site));
        spawn!(jobs, site: rollouts::keep_going(&jobs.rollouts, &site));
        spawn!(jobs, site: retention::keep_to(&jobs.retention, &site));
        spawn!(jobs, site: measures::keep_writing(&jobs.measures, &site));
        // Done once and never again, so that it is no job.
        spawn!(_jobs, site: site.settle());
        tasks
    }

    /// Writes how they stand for a monitoring system.
    pub(crate) fn write(&self, text: &mut Text) {
        let states = self.all().map(|job| (job.name, job.is_paused(), job.look()));
        text.counter("airlock_job_rounds_total", "Rounds of what runs in the background.");
        for (outcome, of) in [("done", 0), ("failed", 1)] {
            for (job, _, state) in &states {
                text.sample(&[("job", job), ("outcome", outcome)], [state.done, state.failed][of]);
            }
        }
        text.gauge("airlock_job_paused", "1 where an operator holds a job, 0 where none does.");
        for (job, paused, _) in &states {
            text.sample(&[("job", job)], u8::from(*paused));
        }
        text.gauge("airlock_job_last_round_timestamp_seconds", "When the last round of a job ended.");
        for (job, _, state) in &states {
            if let Some(last) = state.last {
                text.sample(&[("job", job)], last.unix_timestamp());
            }
        }
        text.gauge("airlock_job_next_round_timestamp_seconds", "When the next round of a job begins.");
        for (job, paused, state) in &states {
            if let Some(next) = state.next.filter(|_| !paused) {
                text.sample(&[("job", job)], next.unix_timestamp());
            }
        }
    }
}

/// Takes over what other servers of this database change.
async fn follow(job: &Job, site: &Site) {
    let store = site.store();
    loop {
        let changed = store.database().wait_for_change(store.catalog().position.generation);
        let Some(changed) = job.unless_paused(changed).await else { continue };
        match changed {
            Ok(generation) => match store.follow(generation, site.blobs()).await {
                Ok(true) => job.note::<std::io::Error>(Ok(())),
                Ok(false) => {}
                Err(failure) => {
                    job.note(Err(&failure));
                    error!(error = &failure as &dyn std::error::Error, "Cannot take over a change");
                    job.wait(Duration::from_secs(1)).await;
                }
            },
            Err(failure) => {
                job.note(Err(&failure));
                error!(error = &failure as &dyn std::error::Error, "Cannot look for changes");
                job.wait(EPOCH_POLL).await;
            }
        }
    }
}

/// Follows the clock of nonces, and turns it.
async fn turn_epochs(job: &Job, site: &Site) {
    let mut turned = Instant::now();
    loop {
        job.rest(EPOCH_POLL).await;
        // Whoever turned it: it is another hour until the next one.
        let followed = site.sessions().follow_epoch(turned.elapsed() >= EPOCH).await;
        job.tell(followed.as_ref().map(drop), "Cannot read the nonce epoch");
        if let Ok(true) = followed {
            turned = Instant::now();
        }
    }
}

/// Writes down which devices were seen. What cannot be written waits for the next round.
async fn write_sightings(job: &Job, site: &Site) {
    loop {
        job.note(site.sightings().write(site.database()).await.as_ref().map(drop));
        job.rest(SIGHTINGS).await;
    }
}

async fn watch_tls(job: &Job, site: &Site) {
    loop {
        let followed = site.follow_certificate().await;
        let looked = site.look_after_tls().await;
        match &followed {
            Ok(()) => job.tell(looked.as_ref().map(drop), "Cannot look after TLS"),
            // Logged where it is noted.
            Err(failure) => job.note(Err(failure)),
        }
        job.rest(TLS_POLL).await;
    }
}

/// Renews what the store's own authority issued.
async fn renew_own_certificate(job: &Job, site: &Site) {
    loop {
        let done = renewal::renew_own_if_due(site).await;
        job.tell(done.as_ref().map(drop), "Cannot renew the certificate of the own authority");
        job.rest(ACME_LOOK).await;
    }
}

/// Looks whether a certificate is due, and gets it. How an attempt ended is noted and logged where it is made.
async fn renew_certificate(job: &Job, site: &Site) {
    loop {
        let done: Result<(), AcmeError> = renewal::renew_if_due(site).await;
        job.note(done.as_ref().map(drop));
        job.rest(ACME_LOOK).await;
    }
}
