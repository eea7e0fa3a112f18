//! Where certificates come from.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schema::api::admin::{AcmeEnable, AcmeRenew, AcmeStatus};
use serde_json::json;

use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::acme::AcmeError;
use crate::storage::records::AuditEvent;
use crate::{clock, renewal};

/// Answers `ShowAcme`.
pub(super) async fn status(State(admin): State<Admin>) -> Json<AcmeStatus> {
    Json(admin.store.acme().status(&admin.store.settings()))
}

/// Answers `EnableAcme`: enables ACME and tries at once; a failure is retried later.
pub(super) async fn enable(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<AcmeEnable>,
) -> Result<Json<AcmeStatus>, AdminError> {
    if wanted.directory.is_empty() {
        return Err(AdminError::refused("acme-off", &AcmeError::Off));
    }
    let list = |values: &[String]| match values {
        [] => String::new(),
        some => serde_json::Value::from(some).to_string(),
    };
    let (contact, names) = (list(&wanted.contact), list(&wanted.names));
    let (kid, key) = wanted.binding.as_ref().map_or(("", ""), |binding| (&*binding.kid, &*binding.key));
    let values = [
        ("proxy.acme.directory", &*wanted.directory),
        ("proxy.acme.ca", wanted.ca.as_deref().unwrap_or_default()),
        ("proxy.acme.contact", &*contact),
        ("proxy.acme.challenge", &*wanted.challenge),
        ("proxy.acme.names", &*names),
        ("proxy.acme.eab-kid", kid),
        ("proxy.acme.eab-key", key),
    ];
    change(&admin, &who, values).await?;
    let store = Arc::clone(&admin.store);
    // It goes on when the operator hangs up.
    let _ = tokio::spawn(async move { renewal::renew_if_due(&store).await }).await;
    Ok(status(State(admin)).await)
}

/// Answers `DisableAcme`.
pub(super) async fn disable(
    State(admin): State<Admin>,
    Operator(who): Operator,
) -> Result<Json<AcmeStatus>, AdminError> {
    let names =
        schema::config::KEYS.iter().map(|key| key.name).filter(|name| name.starts_with("proxy.acme."));
    change(&admin, &who, names.map(|name| (name, ""))).await?;
    Ok(status(State(admin)).await)
}

/// Answers `RenewAcme`.
pub(super) async fn renew(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<AcmeRenew>,
) -> Result<Json<AcmeStatus>, AdminError> {
    let store = Arc::clone(&admin.store);
    let settings = store.settings();
    if settings.acme.directory.is_none() {
        return Err(AdminError::refused("acme-off", &AcmeError::Off));
    }
    let event = AuditEvent::new(who, "acme-renew", settings.site.domain.clone())
        .outcome("begun")
        .detail(json!({ "revoke": wanted.revoke }));
    let recorded = store.database().record_event(&event, clock::micros()).await;
    recorded.map_err(|error| AdminError::failed("no-certificate", &error))?;
    // It goes on when the operator hangs up.
    let renewed = match tokio::spawn(async move { renewal::renew(&store, wanted.revoke).await }).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(AdminError::failed("no-certificate", &error)),
        Err(error) => Err(AdminError::failed("no-certificate", &error)),
    };
    let failed = renewed.as_ref().err().map(|error: &AdminError| error.failure().message.clone());
    admin.store.database().record_end(event, failed, clock::micros()).await;
    renewed?;
    Ok(status(State(admin)).await)
}

async fn change<'a>(
    admin: &Admin,
    who: &str,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), AdminError> {
    admin.store.configure(who, |settings| settings.set_all(values)).await.map_err(AdminError::settings)?;
    admin.store.acme().begin_anew().map_err(|error| AdminError::failed("acme-account", &error))
}
