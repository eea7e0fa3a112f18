//! The publisher's side of a store, as the fetch commands of another site use it.
//!
//! Only holders of a service login get an answer, and only about their own store. The store has no user accounts:
//! where the public store lists people, the lists here are empty.

use axum::extract::{Path, RawQuery};
use axum::response::Response;
use schema::assertion::{Assertion, AssertionType, Details, Ref};
use schema::service_login::{Acl, ServiceLogin};
use schema::store::{GLOBAL_STORE, SERIES};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::caller::Caller;
use super::error::ApiError;
use super::json;
use crate::catalog::{Held, Principal, Snap, Target, View};
use crate::storage::records::{Grant, Reason, StoreRecord};

/// `GET /api/v2/stores/{id}`
pub(super) async fn store(caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    let view = caller.view();
    let store = administered(&caller, &view, &id)?;
    let mut document: Value = serde_json::from_str(&store.document).unwrap_or_default();
    document["roles"] = json!([]);
    Ok(json::respond(json!({ "store": document, "users": [], "invites": [] }).to_string()))
}

/// `GET /api/v2/stores/{id}/snaps`, limited to names that contain `?q=`.
pub(super) async fn snaps(
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let view = caller.view();
    let store = administered(&caller, &view, &id)?;
    let query = query.unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let wanted = pairs.find(|(key, _)| key == "q").map(|(_, value)| value).unwrap_or_default();
    let target = Target { architecture: None, ..caller.target(&[]) };
    let listed = store.grants.iter().filter(|grant| grant.name.contains(&*wanted));
    let snaps: Vec<Value> = listed.map(|grant| describe(&view, &target, store, grant)).collect();
    Ok(json::respond(json!({ "snaps": snaps }).to_string()))
}

/// A snap in a store's list. A snap that the caller may not see is described by its name only.
fn describe(view: &View<'_>, target: &Target<'_>, store: &StoreRecord, grant: &Grant) -> Value {
    let snap = view.snap(&grant.snap_id);
    let public = snap.is_some_and(Snap::is_public);
    let home = match grant.reason {
        Reason::Own => Some(store.store_id.as_str()),
        _ if public => Some(GLOBAL_STORE),
        _ => None,
    };
    let included = if grant.reason == Reason::Included { vec![&store.store_id] } else { Vec::new() };
    let map = snap.into_iter().flat_map(|snap| view.channel_map(snap, target));
    let newest = map.max_by(|(one, _), (other, _)| one.released_at.cmp(&other.released_at));
    let latest = newest.map(|(release, revision)| {
        json!({
            "channel": release.channel.to_string(),
            "timestamp": release.released_at,
            "version": revision.version,
            "revision": revision.number,
        })
    });
    json!({
        "id": grant.snap_id,
        "name": grant.name,
        "essential": grant.reason == Reason::Essential,
        "private": !public,
        "users": [],
        "store": home,
        "other-stores": [],
        "included-stores": included,
        "latest-release": latest,
    })
}

/// `GET /api/v2/tokens/whoami`
pub(super) async fn whoami(caller: Caller) -> Result<Response, ApiError> {
    let login = login(&caller)?;
    let view = caller.view();
    let account = account_of(&view);
    let expires =
        i64::try_from(login.expires).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let answer = json!({
        "account": { "id": account.id, "username": account.username, "name": account.name, "email": "" },
        "permissions": login.acls,
        "store_ids": Vec::from_iter(&login.store),
        "channels": null,
        "packages": null,
        "expires": expires.and_then(|at| at.format(&Rfc3339).ok()),
        "errors": [],
    });
    Ok(json::respond(answer.to_string()))
}

/// `GET /dev/api/account`
pub(super) async fn account(caller: Caller) -> Result<Response, ApiError> {
    let login = login(&caller)?;
    let view = caller.view();
    let account = account_of(&view);
    let roles: Vec<&str> = login.acls.iter().filter_map(|acl| role(*acl)).collect();
    let stores =
        view.own_store().map(|store| json!({ "id": store.store_id, "name": store.name, "roles": roles }));
    let keys: Vec<Value> = view.own_keys().iter().filter_map(|key| key_of(key)).collect();
    let answer = json!({
        "id": account.id,
        "username": account.username,
        "display-name": account.name,
        "account-keys": keys,
        "snaps": { SERIES: {} },
        "stores": Vec::from_iter(stores),
    });
    Ok(json::respond(answer.to_string()))
}

/// The public store's role with the same permission.
fn role(acl: Acl) -> Option<&'static str> {
    match acl {
        Acl::PackageAccess => Some("view"),
        Acl::StoreAdmin => Some("admin"),
        Acl::Overrides | Acl::Admin | Acl::AdminRead | Acl::AdminImports | Acl::Approve => None,
    }
}

fn login(caller: &Caller) -> Result<&ServiceLogin, ApiError> {
    match &caller.principal {
        Principal::Service(login) => Ok(login),
        _ => Err(ApiError::NeedsLogin),
    }
}

/// The store, if the caller may read it. Any other store looks like one that never existed.
fn administered<'a>(caller: &Caller, view: &View<'a>, id: &str) -> Result<&'a StoreRecord, ApiError> {
    if !login(caller)?.acls.contains(&Acl::StoreAdmin) {
        let message = "this needs a login with store_admin: `proxy create-login --acl store_admin`";
        return Err(ApiError::Refused("macaroon-permission-required", message.into()));
    }
    view.administered(id).ok_or_else(|| {
        ApiError::NotFound("resource-not-found", "the login is for no store of this id".into())
    })
}

/// The brand that a login belongs to.
#[derive(Default)]
struct Account {
    id: String,
    username: String,
    name: String,
}

fn account_of(view: &View<'_>) -> Account {
    let Some(id) = view.own_store().map(|store| store.brand_id.clone()) else { return Account::default() };
    let held = view.assertion(&Ref { kind: AssertionType::Account, key: vec![id.clone()] }, u32::MAX);
    let held = held.and_then(Held::decode);
    match held.as_ref().map(|held| held.details()) {
        Some(Details::Account(account)) => Account {
            username: account.username.clone().unwrap_or_else(|| id.clone()),
            name: account.display_name.clone(),
            id,
        },
        _ => Account { username: id.clone(), name: id.clone(), id },
    }
}

fn key_of(key: &Assertion) -> Option<Value> {
    let Details::AccountKey(key) = key.details() else { return None };
    let written = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    Some(json!({
        "name": key.name,
        "public-key-sha3-384": key.public_key.id(),
        "since": written(key.since),
        "until": key.until.map(written),
    }))
}
