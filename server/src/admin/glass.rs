//! Break glass: users for single devices.

use axum::Json;
use axum::extract::State;
use schema::api::admin::{BreakGlass, GlassBroken};
use schema::signing::{SshKey, SshKeyError};
use serde_json::{Value, json};

use super::approvals::granted;
use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::approvals::{Ask, Kind};
use crate::clock;
use crate::signing::{Glass, GlassError, Opened};
use crate::storage::records::{AuditEvent, Change};

impl From<GlassError> for AdminError {
    fn from(error: GlassError) -> Self {
        match &error {
            GlassError::UnknownKey(..) | GlassError::WhichKey(_) => Self::refused("unknown-key", &error),
            GlassError::NotReady(_) => Self::refused("key-not-ready", &error),
            GlassError::Authority(..) | GlassError::Refused(_) => Self::refused("key-not-accepted", &error),
            GlassError::Signer(_) => Self::failed("signer-unavailable", &error),
            GlassError::Commit(_) => Self::failed("user-not-recorded", &error),
            _ => Self::refused("invalid-user", &error),
        }
    }
}

impl From<SshKeyError> for AdminError {
    fn from(error: SshKeyError) -> Self {
        Self::refused("invalid-ssh-key", &error)
    }
}

/// Answers `BreakTheGlass`.
pub(super) async fn break_glass(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<BreakGlass>,
) -> Result<Json<GlassBroken>, AdminError> {
    let BreakGlass { device, user, ssh_keys, hours, stays, key } = wanted;
    let store = &admin.store;
    let catalog = store.catalog();
    let ssh_keys = ssh_keys.iter().map(|line| SshKey::new(line)).collect::<Result<_, _>>()?;
    let glass = Glass::new(&catalog, device, user, ssh_keys, (hours, stays), key)?;
    let ask = Ask {
        kind: Kind::BreakGlass,
        subject: glass.device.to_string(),
        digest: glass.digest(),
        needed: glass.key.approvals,
        who: &who,
        detail: glass.detail(),
    };
    let approval = granted(&admin, ask).await?;
    let opened = store.signing().break_glass(store.database(), &catalog, &glass).await?;
    // Nobody gets the file before this is in the audit log.
    let recorded = store.change(|_| {
        let event = AuditEvent::new(&who, "break-glass", glass.device.to_string());
        let event = event.detail(record(&glass, &opened, approval.as_ref().map(|(id, _)| *id)));
        Ok::<_, GlassError>((
            Change { approval: approval.clone(), ..Change::new(event, clock::micros()) },
            (),
        ))
    });
    recorded.await?;
    let file = String::from_utf8_lossy(&opened.file).into_owned();
    let Opened { email, since, until, .. } = opened;
    Ok(Json(GlassBroken { device: glass.device, user: glass.user, email, since, until, file }))
}

fn record(glass: &Glass, opened: &Opened, approval: Option<i64>) -> Value {
    let mut detail = glass.detail();
    detail["approval"] = json!(approval);
    detail["sha256"] = json!(opened.sha256);
    detail["until"] = json!(opened.until);
    detail
}
