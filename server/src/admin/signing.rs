//! Keys that sign on site, policies for models, and the serials that were given out.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::api::admin::{
    DigestRequest, DigestSigned, Failure, IssuedSerial, IssuedSerials, KeyLimit, KeyRegistration, ModelClose,
    ModelPolicies, ModelPolicy, ModelRequest, RemodelRequest, SerialReissue, SerialSource, SigningKeyInfo,
    SigningKeyRequest, SigningKeys,
};
use schema::assertion::Assertion;
use schema::config::Settings;
use schema::signing::{Label, Purpose};
use schema::store::DeviceId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::approvals::granted;
use super::error::AdminError;
use super::given::{Given, Query};
use super::{Admin, Operator};
use crate::approvals::{self, Ask, Kind};
use crate::clock;
use crate::signing::{
    DigestError, KeyError, KeyState, ModelError, NewKey, NewPolicy, SECRET, keys, model_key, plan_close,
    plan_limit, plan_policy, plan_remodel, plan_retire, policies, sealed_otherwise, today,
};
use crate::storage::error::{CommitError, StorageError};
use crate::storage::policies::{KeyRecord, PolicyRecord, Source, TakenRecord};
use crate::storage::records::{AuditEvent, Change};
use crate::storage::serials::{SerialCounts, SerialRecord, SerialsWhere};

/// Where devices show the API key if the operator does not say.
const API_KEY_HEADER: &str = "api-key";
/// Shortest and longest API key.
const API_KEY: std::ops::RangeInclusive<usize> = 8..=512;
/// How many serials one answer lists.
const PAGE: u32 = 1000;

/// Why nothing is shown or set.
#[derive(Debug, thiserror::Error)]
enum SigningError {
    #[error("cannot get random bytes from the system")]
    NoRandom,
    #[error("an API key has {} to {} printable characters: the file holds something else", API_KEY.start(), API_KEY.end())]
    ApiKey,
    #[error("{0:?} cannot be a header: letters, digits and dashes")]
    Header(String),
    #[error("{0:?} is no BRAND/MODEL")]
    Model(String),
    #[error("serial {0} was not given out here: `proxy serials list` shows those that were")]
    UnknownSerial(DeviceId),
    #[error("cannot read the serials from the database")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<SigningError> for AdminError {
    fn from(error: SigningError) -> Self {
        match &error {
            SigningError::ApiKey => Self::refused("invalid-api-key", &error),
            SigningError::Header(_) => Self::refused("invalid-header", &error),
            SigningError::Model(_) => Self::refused("invalid-model", &error),
            SigningError::UnknownSerial(_) => Self::refused("unknown-serial", &error),
            SigningError::NoRandom | SigningError::Storage(_) | SigningError::Commit(_) => {
                Self::failed("signing-failed", &error)
            }
        }
    }
}

impl From<KeyError> for AdminError {
    fn from(error: KeyError) -> Self {
        match &error {
            KeyError::Name(_)
            | KeyError::Account(_)
            | KeyError::Approvals
            | KeyError::Limit
            | KeyError::Place(_) => Self::refused("invalid-key", &error),
            KeyError::Placed(_) => Self::refused("key-of-token-used", &error),
            KeyError::Used(_) | KeyError::Registered(..) => Self::refused("key-name-used", &error),
            KeyError::Unknown(_) => Self::refused("unknown-key", &error),
            KeyError::Retired(_) => Self::refused("key-retired", &error),
            KeyError::InUse(..) => Self::refused("key-in-use", &error),
            KeyError::OtherSecret(_) => Self::refused("other-signing-secret", &error),
            KeyError::Signer(_) => Self::failed("signer-unavailable", &error),
            KeyError::Commit(_) => Self::failed("key-not-stored", &error),
        }
    }
}

impl From<DigestError> for AdminError {
    fn from(error: DigestError) -> Self {
        match &error {
            DigestError::UnknownKey(_) => Self::refused("unknown-key", &error),
            DigestError::OtherKey(_) => Self::refused("other-key", &error),
            DigestError::NotReady(_) => Self::refused("key-not-ready", &error),
            DigestError::NoDigest => Self::refused("invalid-digest", &error),
            DigestError::Signer(_) => Self::failed("signer-unavailable", &error),
        }
    }
}

impl From<ModelError> for AdminError {
    fn from(error: ModelError) -> Self {
        match &error {
            ModelError::UnknownKey(_) => Self::refused("unknown-key", &error),
            ModelError::SpentKey(..) => Self::refused("key-retired", &error),
            ModelError::Moved(_) => Self::refused(Failure::MOVED, &error),
            ModelError::Unknown(_) => Self::refused("unknown-model", &error),
            ModelError::Commit(_) => Self::failed("model-not-stored", &error),
            _ => Self::refused("invalid-model", &error),
        }
    }
}

/// Answers `CreateKey`.
pub(super) async fn create_key(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<SigningKeyRequest>,
) -> Result<Json<SigningKeyInfo>, AdminError> {
    let store = &admin.store;
    let SigningKeyRequest { name, account, purpose, approvals, place, per_day } = wanted;
    let approvals = approvals.unwrap_or(match purpose {
        Purpose::Serial | Purpose::ValidationSet | Purpose::Model => 0,
        Purpose::SystemUser => 2,
    });
    let new = NewKey { label: Label { name, account, purpose }, approvals, place, per_day };
    new.check(&store.catalog())?;
    if !store.signing().has_secret() {
        // Another server has it.
        if let Some(other) = sealed_otherwise(&store.catalog(), None) {
            return Err(KeyError::OtherSecret(other).into());
        }
        let fresh = store.signing().fresh_secret().ok_or(SigningError::NoRandom)?;
        // Another operator may make the first key at this very moment.
        let first = |settings: &mut Settings| match settings.value(SECRET).is_empty() {
            true => settings.set(SECRET, &fresh),
            false => Ok(()),
        };
        store.configure(&who, first).await.map_err(AdminError::settings)?;
    }
    let made = store.signing().make(&new).await?;
    let planned = store.change(|catalog| Ok::<_, KeyError>((new.plan(catalog, &who, &made)?, ())));
    planned.await?;
    Ok(Json(shown_key(&admin, &made, 0)))
}

/// Answers `ListKeys`.
pub(super) async fn list_keys(State(admin): State<Admin>) -> Result<Json<SigningKeys>, AdminError> {
    let counts = admin.store.database().serial_counts().await.map_err(SigningError::from)?;
    let others = admin.store.database().signed_in_all().await.map_err(SigningError::from)?;
    let signed = |key: &KeyRecord| match key.label.purpose {
        Purpose::Serial => {
            let found = counts.by_key.iter().find(|(name, _)| *name == key.label.name);
            found.map_or(0, |(_, count)| u64::try_from(*count).unwrap_or_default())
        }
        _ => others.get(&key.label.name).copied().unwrap_or_default(),
    };
    let today = admin.store.database().signed_on(today()).await.map_err(SigningError::from)?;
    let mut list = Vec::new();
    for key in keys(&admin.store.catalog()) {
        let mut shown = shown_key(&admin, &key, signed(&key));
        shown.today = key.per_day.map(|_| today.get(&key.label.name).copied().unwrap_or_default());
        if key.retired.is_none() && admin.store.signing().prove(&key).await.is_err() {
            shown.state = "locked".to_owned();
        }
        list.push(shown);
    }
    Ok(Json(SigningKeys { keys: list }))
}

/// Answers `RequestKey`.
pub(super) async fn request_key(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(name): Path<String>,
) -> Result<Json<KeyRegistration>, AdminError> {
    let store = &admin.store;
    let key = keys(&store.catalog()).into_iter().find(|key| key.label.name == name);
    let key = key.ok_or_else(|| KeyError::Unknown(name.chars().take(80).collect()))?;
    let request = store.signing().registration(&key).await?;
    let event = AuditEvent::new(who, "request-key", &key.label.name).detail(json!({ "key-id": key.key_id }));
    store.database().record_event(&event, clock::micros()).await.map_err(SigningError::from)?;
    Ok(Json(KeyRegistration { request: String::from_utf8_lossy(request.bytes()).into_owned() }))
}

/// Answers `LimitKey`. To let a key sign more takes as many approvals as each of its signatures does.
pub(super) async fn limit_key(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(KeyLimit { name, per_day }): Given<KeyLimit>,
) -> Result<Json<SigningKeyInfo>, AdminError> {
    let (_, after) = plan_limit(&admin.store.catalog(), &who, &name, per_day)?;
    let before = keys(&admin.store.catalog()).into_iter().find(|key| key.label.name == name);
    let before = before.and_then(|key| key.per_day).unwrap_or(u32::MAX);
    let needed = if per_day.unwrap_or(u32::MAX) > before { after.approvals } else { 0 };
    let detail = json!({ "key": name, "from": before, "to": per_day });
    let digest = approvals::digest(&detail);
    let ask = Ask { kind: Kind::KeyLimit, subject: name.clone(), digest, needed, who: &who, detail };
    let approval = granted(&admin, ask).await?;
    let planned = admin.store.change(|catalog| {
        let (change, key) = plan_limit(catalog, &who, &name, per_day)?;
        Ok::<_, KeyError>((Change { approval: approval.clone(), ..change }, key))
    });
    Ok(Json(shown_key(&admin, &planned.await?, 0)))
}

/// Answers `SignDigest`.
pub(super) async fn sign_digest(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(DigestRequest { name, info }): Given<DigestRequest>,
) -> Result<Json<DigestSigned>, AdminError> {
    let store = &admin.store;
    let info = STANDARD.decode(info).map_err(|_| DigestError::NoDigest)?;
    let key = model_key(&store.catalog(), &name)?;
    let detail = json!({ "key": name, "key-id": key.key_id, "digest-info": STANDARD.encode(&info) });
    let (digest, needed) = (approvals::digest(&detail), key.approvals);
    let ask =
        Ask { kind: Kind::Digest, subject: name.clone(), digest, needed, who: &who, detail: detail.clone() };
    let approval = granted(&admin, ask).await?;
    let value = store.signing().sign_digest(store.database(), &key, info).await?;
    // Nobody gets the value before this is in the audit log.
    let recorded = store.change(|_| {
        let event = AuditEvent::new(&who, "sign-digest", &name).detail(detail.clone());
        let change = Change::new(event, clock::micros());
        Ok::<_, KeyError>((Change { approval: approval.clone(), ..change }, ()))
    });
    recorded.await?;
    Ok(Json(DigestSigned { value: STANDARD.encode(value) }))
}

/// Answers `RetireKey`.
pub(super) async fn retire_key(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Path(name): Path<String>,
) -> Result<Json<SigningKeyInfo>, AdminError> {
    let key = admin.store.change(|catalog| plan_retire(catalog, &who, &name)).await?;
    Ok(Json(shown_key(&admin, &key, 0)))
}

fn shown_key(admin: &Admin, key: &KeyRecord, signed: u64) -> SigningKeyInfo {
    let state = KeyState::of(key, &admin.store.catalog(), clock::now());
    let ends = match &state {
        KeyState::Ready { until } => *until,
        KeyState::Ended(until) => Some(*until),
        _ => None,
    };
    SigningKeyInfo {
        name: key.label.name.clone(),
        account: key.label.account.clone(),
        purpose: key.label.purpose,
        key_id: key.key_id.clone(),
        state: state.as_str().to_owned(),
        created: written(i64::try_from(key.created).unwrap_or_default()),
        ends: ends.and_then(|until| until.format(&Rfc3339).ok()),
        signed,
        approvals: key.approvals,
        place: key.place.clone(),
        public_key: key.public_key.clone(),
        per_day: key.per_day,
        today: None,
    }
}

fn written(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Answers `AddModel`.
pub(super) async fn add_model(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<ModelRequest>,
) -> Result<Json<ModelPolicy>, AdminError> {
    let ModelRequest {
        model: name,
        key,
        serial,
        pattern,
        list,
        api_key,
        api_key_header,
        approvals,
        hardware_required,
    } = wanted;
    let (brand, model) = model_name(&name)?;
    let api_key = match api_key {
        None => None,
        Some(key) if !API_KEY.contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) => {
            return Err(SigningError::ApiKey.into());
        }
        Some(key) => {
            let header = api_key_header.unwrap_or_else(|| API_KEY_HEADER.to_owned()).to_ascii_lowercase();
            if HeaderName::from_bytes(header.as_bytes()).is_err() {
                return Err(SigningError::Header(header.chars().take(80).collect()).into());
            }
            let print = digest(&SHA256, key.as_bytes());
            Some((header, print.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
        }
    };
    let source = match serial {
        SerialSource::Proposed => Source::Proposed,
        SerialSource::Assigned => Source::Assigned,
        SerialSource::Listed => Source::Listed,
    };
    let since = clock::seconds();
    let record = PolicyRecord {
        brand,
        model,
        key,
        source,
        pattern,
        api_key,
        approvals,
        hardware: hardware_required,
        from: BTreeSet::new(),
        since,
        closed: None,
    };
    let new = NewPolicy { record, list };
    let store = &admin.store;
    // Whether it can be set at all comes before anybody's approval.
    drop(plan_policy(&store.catalog(), &who, &new)?);
    let needed = new.approvals_needed(&store.catalog());
    let detail = json!({ "model": name, "policy": shown_policy(&new.record, &SerialCounts::default()) });
    let ask = Ask { kind: Kind::Model, subject: name, digest: new.digest(), needed, who: &who, detail };
    let approval = granted(&admin, ask).await?;
    let planned = store.change(|catalog| {
        let change = new.approved_by(catalog, &who, needed)?;
        Ok::<_, ModelError>((Change { approval: approval.clone(), ..change }, ()))
    });
    planned.await?;
    let counts = store.database().serial_counts().await.map_err(SigningError::from)?;
    Ok(Json(shown_policy(&new.record, &counts)))
}

/// Answers `ListModels`.
pub(super) async fn list_models(State(admin): State<Admin>) -> Result<Json<ModelPolicies>, AdminError> {
    let counts = admin.store.database().serial_counts().await.map_err(SigningError::from)?;
    let policies = policies(&admin.store.catalog());
    Ok(Json(ModelPolicies { models: policies.iter().map(|policy| shown_policy(policy, &counts)).collect() }))
}

/// Answers `CloseModel`.
pub(super) async fn close_model(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(wanted): Given<ModelClose>,
) -> Result<Json<ModelPolicy>, AdminError> {
    let policy = admin.store.change(|catalog| plan_close(catalog, &who, &wanted.model)).await?;
    let counts = admin.store.database().serial_counts().await.map_err(SigningError::from)?;
    Ok(Json(shown_policy(&policy, &counts)))
}

/// Answers `AllowRemodel`.
pub(super) async fn allow_remodel(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(RemodelRequest { from, to, allowed }): Given<RemodelRequest>,
) -> Result<Json<ModelPolicy>, AdminError> {
    let policy = admin.store.change(|catalog| plan_remodel(catalog, &who, (&from, &to), allowed)).await?;
    let counts = admin.store.database().serial_counts().await.map_err(SigningError::from)?;
    Ok(Json(shown_policy(&policy, &counts)))
}

/// Answers `ReissueSerial`.
pub(super) async fn reissue_serial(
    State(admin): State<Admin>,
    Operator(who): Operator,
    Given(SerialReissue { device }): Given<SerialReissue>,
) -> Result<Json<IssuedSerial>, AdminError> {
    let give_up = async |_| {
        let held = serial(&admin, &device).await?;
        let document = held.document.and_then(|text| Assertion::decode(text.as_bytes()).ok());
        let revision = document.ok_or_else(|| SigningError::UnknownSerial(device.clone()))?.revision();
        let event = AuditEvent::new(&who, "reissue-serial", device.to_string());
        let mut change = Change::new(event, clock::micros());
        change.meta.push(TakenRecord { revision, at: clock::seconds() }.fact(&device));
        change.serial_given_up = Some(device.clone());
        Ok::<_, SigningError>((change, ()))
    };
    admin.store.change_after(give_up).await?;
    Ok(Json(shown_serial(serial(&admin, &device).await?)))
}

/// A serial that was given out.
async fn serial(admin: &Admin, device: &DeviceId) -> Result<SerialRecord, SigningError> {
    let DeviceId { brand, model, serial } = device.clone();
    let of = SerialsWhere { brand: Some(brand), model: Some(model), serial: Some(serial), after: None };
    let found = admin.store.database().serials(of, 1).await?;
    found.into_iter().next().ok_or_else(|| SigningError::UnknownSerial(device.clone()))
}

fn model_name(name: &str) -> Result<(String, String), SigningError> {
    let (brand, model) =
        name.split_once('/').ok_or_else(|| SigningError::Model(name.chars().take(80).collect()))?;
    Ok((brand.to_owned(), model.to_owned()))
}

fn shown_policy(policy: &PolicyRecord, counts: &SerialCounts) -> ModelPolicy {
    let of = |counts: &[((String, String), i64)]| {
        let found =
            counts.iter().find(|((brand, model), _)| (brand, model) == (&policy.brand, &policy.model));
        found.map_or(0, |(_, count)| u64::try_from(*count).unwrap_or_default())
    };
    let serial = match policy.source {
        Source::Proposed => SerialSource::Proposed,
        Source::Assigned => SerialSource::Assigned,
        Source::Listed => SerialSource::Listed,
    };
    ModelPolicy {
        model: format!("{}/{}", policy.brand, policy.model),
        key: policy.key.clone(),
        serial,
        pattern: policy.pattern.clone(),
        api_key_header: policy.api_key.as_ref().map(|(header, _)| header.clone()),
        approvals: policy.approvals,
        hardware_required: policy.hardware,
        state: policy.closed.clone().unwrap_or_else(|| "open".to_owned()),
        since: written(i64::try_from(policy.since).unwrap_or_default()),
        remodels_from: policy.from.iter().cloned().collect(),
        issued: of(&counts.by_model),
        left: (policy.source == Source::Listed).then(|| of(&counts.free)),
    }
}

/// Which serials to list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SerialsQuery {
    /// Only those of this model, `BRAND/MODEL`.
    #[serde(default)]
    model: Option<String>,
    /// Only those after this one, `BRAND/MODEL/SERIAL`.
    #[serde(default)]
    after: Option<DeviceId>,
}

/// Answers `ListSerials`.
pub(super) async fn list_serials(
    State(admin): State<Admin>,
    Query(query): Query<SerialsQuery>,
) -> Result<Json<IssuedSerials>, AdminError> {
    let named = query.model.as_deref().map(model_name).transpose()?;
    let (brand, model) = named.unzip();
    let of = SerialsWhere { brand, model, serial: None, after: query.after };
    let found = admin.store.database().serials(of, PAGE).await.map_err(SigningError::from)?;
    let shown = |record| IssuedSerial { assertion: None, ..shown_serial(record) };
    Ok(Json(IssuedSerials { serials: found.into_iter().map(shown).collect() }))
}

/// Which serial to show.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SerialQuery {
    /// The device, `BRAND/MODEL/SERIAL`.
    device: DeviceId,
}

/// Answers `ShowSerial`.
pub(super) async fn show_serial(
    State(admin): State<Admin>,
    Query(SerialQuery { device }): Query<SerialQuery>,
) -> Result<Json<IssuedSerial>, AdminError> {
    Ok(Json(shown_serial(serial(&admin, &device).await?)))
}

fn shown_serial(record: SerialRecord) -> IssuedSerial {
    IssuedSerial {
        device_key: record.of_device().unwrap_or_default().to_owned(),
        device: record.device,
        signed_by: record.signed_by,
        issued: written(record.issued_at_micros / 1_000_000),
        signed: record.document.is_some(),
        assertion: record.document,
    }
}
