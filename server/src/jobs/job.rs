//! One thing that is done again and again in the background: how often, how it went last, and whether it is held.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schema::api::admin::JobStatus;
use schema::causes::one_line;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tracing::{error, info};

use crate::clock;

/// A job, as whoever runs it and whoever asks for it see it.
pub(crate) struct Job {
    /// A word for operators, logs and metrics.
    pub(crate) name: &'static str,
    paused: watch::Sender<bool>,
    state: Mutex<State>,
}

/// How a job stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// From one round to the next; zero where something else than time begins a round.
    pub(crate) pace: Duration,
    /// When the last round ended.
    pub(crate) last: Option<OffsetDateTime>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
    /// When the next one begins, where that is known.
    pub(crate) next: Option<OffsetDateTime>,
    /// Rounds that ended well.
    pub(crate) done: u64,
    /// Rounds that failed.
    pub(crate) failed: u64,
}

impl Job {
    /// A job that has not begun.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, paused: watch::Sender::new(false), state: Mutex::default() }
    }

    /// Holds it, or lets it go on. What is under way and cannot be cut off comes to its end first. `false` when it was so already.
    pub(crate) fn pause(&self, paused: bool) -> bool {
        self.paused.send_if_modified(|held| std::mem::replace(held, paused) != paused)
    }

    /// Is it held?
    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Waits for the next round, which begins in `pace`, or later when the job is held.
    pub(super) async fn rest(&self, pace: Duration) {
        self.expect(pace, Some(clock::now() + pace));
        self.wait(pace).await;
    }

    /// Waits this long, and on for as long as the job is held, without saying that a round follows.
    pub(super) async fn wait(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.go_on().await;
    }

    /// Says when a round follows.
    pub(super) fn expect(&self, pace: Duration, next: Option<OffsetDateTime>) {
        let mut state = self.state();
        (state.pace, state.next) = (pace, next);
    }

    /// Does what may be cut off at any moment, and `None` when it was, once the job goes on.
    pub(super) async fn unless_paused<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut paused = self.paused.subscribe();
        tokio::select! {
            done = work => return Some(done),
            _ = paused.wait_for(|held| *held) => {}
        }
        self.go_on().await;
        None
    }

    async fn go_on(&self) {
        // Fails when the sender is gone, which this borrows from.
        let _ = self.paused.subscribe().wait_for(|held| !*held).await;
    }

    /// As [`Job::note`], and logs when it begins to fail and when it goes well again.
    pub(super) fn tell<E: std::error::Error>(&self, ended: Result<(), &E>, failing: &str) {
        let before = self.look().error;
        self.note(ended);
        match (before, self.look().error) {
            (None, Some(why)) => error!(job = self.name, why, "{failing}"),
            (Some(_), None) => info!(job = self.name, "Over: {failing}"),
            _ => {}
        }
    }

    /// Notes how a round ended.
    pub(super) fn note<E: std::error::Error>(&self, ended: Result<(), &E>) {
        let mut state = self.state();
        state.last = Some(clock::now());
        state.error = ended.err().map(|error| one_line(error));
        if state.error.is_none() { state.done += 1 } else { state.failed += 1 }
    }

    /// How it stands.
    pub(crate) fn look(&self) -> State {
        self.state().clone()
    }

    /// How it stands, for operators.
    pub(crate) fn status(&self) -> JobStatus {
        let State { pace, last, error, next, .. } = self.look();
        let written = |moment: Option<OffsetDateTime>| {
            moment.and_then(|moment| moment.replace_nanosecond(0).ok()?.format(&Rfc3339).ok())
        };
        let paused = self.is_paused();
        JobStatus {
            name: self.name.to_owned(),
            pace_seconds: Some(pace.as_secs()).filter(|seconds| *seconds > 0),
            paused,
            last_run: written(last),
            last_error: error,
            next_run: written(next.filter(|_| !paused)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_job_that_is_held_waits_until_it_is_let_go() {
        let job = Job::new("work");
        job.expect(Duration::from_secs(60), Some(OffsetDateTime::UNIX_EPOCH));
        assert!(job.pause(true) && !job.pause(true), "held once");
        assert_eq!((job.status().paused, job.status().next_run), (true, None));
        let mut wait = std::pin::pin!(job.go_on());
        assert_eq!(wait.as_mut().now_or_never(), None, "a held job went on");
        assert!(job.pause(false));
        assert_eq!(wait.as_mut().now_or_never(), Some(()));
    }

    #[test]
    fn holding_a_job_cuts_off_what_may_be_cut_off() {
        let job = Job::new("work");
        assert_eq!(job.unless_paused(async { 7 }).now_or_never(), Some(Some(7)));
        let mut work = std::pin::pin!(job.unless_paused(std::future::pending::<()>()));
        assert_eq!(work.as_mut().now_or_never(), None);
        job.pause(true);
        assert_eq!(work.as_mut().now_or_never(), None, "it waits until it is let go");
        job.pause(false);
        assert_eq!(work.as_mut().now_or_never(), Some(None), "what was under way is cut off");
    }

    #[test]
    fn the_last_round_is_told() {
        let job = Job::new("work");
        job.expect(Duration::from_secs(60), Some(OffsetDateTime::UNIX_EPOCH));
        job.note(Err(&io::Error::other("no answer")));
        let status = job.status();
        assert_eq!(status.last_error.as_deref(), Some("no answer"));
        assert_eq!(
            (status.pace_seconds, status.next_run.as_deref()),
            (Some(60), Some("1970-01-01T00:00:00Z"))
        );
        job.note::<io::Error>(Ok(()));
        assert_eq!((job.status().last_error, job.look().done, job.look().failed), (None, 1, 1));
    }
}
