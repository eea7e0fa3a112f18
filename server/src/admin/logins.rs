//! Service logins: created, listed, revoked.

use axum::Json;
use axum::extract::{Path, State};
use schema::api::admin::{CreatedLogin, Login, LoginRequest, Logins};
use schema::store::StoreId;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::AdminError;
use super::given::Given;
use super::{Admin, Operator};
use crate::clock;
use crate::sessions::{self, Made};
use crate::storage::error::CommitError;
use crate::storage::records::{AuditEvent, Change, LoginRecord};

/// Maximum lifetime of a login in seconds: ten years.
const LONGEST: u64 = 3650 * 86400;

/// Why a login was not created or revoked.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("store {0} is not known here: push its metadata with `proxy push-brand-store-metadata`")]
    UnknownStore(StoreId),
    #[error("package_access and store_admin are about one store: name it with --store")]
    NoStore,
    #[error("this is about the whole site, not one store: leave out --store")]
    Store,
    #[error(
        "one login is either for a store (package_access, store_admin) or for the whole site (overrides, admin, \
         admin:read, admin:imports, approve): make two"
    )]
    Mixed,
    #[error("a login needs at least one permission and lasts between a second and ten years")]
    Empty,
    #[error("there is no login {0}; `proxy list-logins` shows those that were made")]
    UnknownLogin(String),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<LoginError> for AdminError {
    fn from(error: LoginError) -> Self {
        match &error {
            LoginError::UnknownStore(_) => Self::refused("unknown-store", &error),
            LoginError::Empty | LoginError::NoStore | LoginError::Store | LoginError::Mixed => {
                Self::refused("invalid-login", &error)
            }
            LoginError::UnknownLogin(_) => Self::refused("unknown-login", &error),
            LoginError::Commit(_) => Self::failed("login-not-stored", &error),
        }
    }
}

/// Answers `CreateLogin`.
pub(super) async fn create(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<LoginRequest>,
) -> Result<Json<CreatedLogin>, AdminError> {
    if wanted.acls.is_empty() || !(1..=LONGEST).contains(&wanted.lifetime_seconds) {
        return Err(LoginError::Empty.into());
    }
    let of_site = wanted.acls.iter().filter(|acl| acl.is_of_site()).count();
    match (of_site == wanted.acls.len(), of_site == 0, &wanted.store) {
        (true, _, None) | (_, true, Some(_)) => {}
        (true, _, Some(_)) => return Err(LoginError::Store.into()),
        (_, true, None) => return Err(LoginError::NoStore.into()),
        _ => return Err(LoginError::Mixed.into()),
    }
    let created = clock::seconds();
    let mut record = LoginRecord {
        store: wanted.store,
        acls: wanted.acls,
        created,
        expires: created + wanted.lifetime_seconds,
        revoked: false,
        key: None,
        by: Some(who.clone()),
    };
    let store = &admin.store;
    let made = store.logins().create(&record);
    let Made { id, token, key } = made.map_err(|error| AdminError::refused("login-not-made", &error))?;
    record.key = Some(key);
    store
        .change(|catalog| {
            if let Some(unknown) =
                record.store.as_ref().filter(|store| catalog.store(store.as_str()).is_none())
            {
                return Err(LoginError::UnknownStore(unknown.clone()));
            }
            Ok((change(&who, "create-login", &id, &record), ()))
        })
        .await?;
    Ok(Json(CreatedLogin { login: shown(&admin, &id, &record), token }))
}

/// Answers `ListLogins`.
pub(super) async fn list(State(admin): State<Admin>) -> Json<Logins> {
    let catalog = admin.store.catalog();
    let mut held: Vec<_> = catalog.logins().iter().collect();
    held.sort_by_key(|(_, record)| (&record.store, record.created));
    let shown = |(id, record): (&String, &LoginRecord)| shown(&admin, id, record);
    Json(Logins { logins: held.into_iter().map(shown).collect() })
}

/// Answers `RevokeLogin`: revokes a login. Repeating it is harmless.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(id): Path<String>,
) -> Result<Json<Login>, AdminError> {
    let done = admin.store.change(|catalog| -> Result<_, LoginError> {
        let held = catalog.logins().get(&id);
        let held = held.ok_or_else(|| LoginError::UnknownLogin(id.chars().take(80).collect()))?;
        let record = LoginRecord { revoked: true, ..held.clone() };
        Ok((change(&who, "revoke-login", &id, &record), record))
    });
    Ok(Json(shown(&admin, &id, &done.await?)))
}

fn change(who: &str, what: &str, id: &str, record: &LoginRecord) -> Change {
    let event = AuditEvent::new(who, what, id)
        .detail(json!({ "store": record.store, "acls": record.acls, "expires": record.expires }));
    let mut change = Change::new(event, clock::micros());
    change.meta.push(record.fact(id));
    change
}

fn shown(admin: &Admin, id: &str, record: &LoginRecord) -> Login {
    let accepted = admin.store.logins();
    let written = |seconds: u64| {
        let at = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
    };
    let own = format!("login {id}");
    let catalog = admin.store.catalog();
    let made = catalog
        .logins()
        .iter()
        .filter(|(_, other)| other.by.as_ref() == Some(&own) && state(accepted, other) == "valid");
    let mut made: Vec<String> = made.map(|(id, _)| id.clone()).collect();
    made.sort();
    Login {
        id: id.to_owned(),
        store: record.store.clone(),
        acls: record.acls.clone(),
        created: written(record.created),
        expires: written(record.expires),
        key: record.key.clone(),
        state: state(accepted, record).to_owned(),
        made_by: record.by.clone(),
        made,
    }
}

fn state(accepted: &sessions::Logins, record: &LoginRecord) -> &'static str {
    match record.revoked {
        true => "revoked",
        false if record.expires <= clock::seconds() => "expired",
        false if record.key.as_ref().is_some_and(|key| !accepted.accepts_key(key)) => "void",
        false => "valid",
    }
}
