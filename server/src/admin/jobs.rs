//! What runs in the background, and holding it.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{JobPause, JobStatus, Jobs};

use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::clock;
use crate::jobs::Job;
use crate::storage::records::AuditEvent;

/// Why a job is not held.
#[derive(Debug, thiserror::Error)]
#[error("there is no job {0}: `proxy jobs list` shows those that there are")]
struct UnknownJob(String);

/// Answers `ListJobs`.
pub(super) async fn list(State(admin): State<Admin>) -> Json<Jobs> {
    Json(Jobs { jobs: admin.jobs.all().map(Job::status).into() })
}

/// Answers `PauseJob`: until it is let go, or the server restarts.
pub(super) async fn pause(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<JobPause>,
) -> Result<Json<JobStatus>, AdminError> {
    let what = if wanted.paused { "pause-job" } else { "resume-job" };
    let job = admin.jobs.all().into_iter().find(|job| job.name == wanted.job).ok_or_else(|| {
        let unknown = UnknownJob(wanted.job.clone());
        AdminError::refused("unknown-job", &unknown).of(true, what, wanted.job.clone())
    })?;
    let event = AuditEvent::new(who, what, job.name);
    let recorded = admin.store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("job-not-changed", &error))?;
    job.pause(wanted.paused);
    Ok(Json(job.status()))
}
