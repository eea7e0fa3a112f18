//! Policies: for which models serials are signed here, with which key, and where the serials come from.

use schema::assertion::{is_account_id, is_model_name};
use schema::signing::{ListedSerial, Pattern, PatternError, Purpose};
use serde_json::json;

use super::MOST_APPROVALS;
use super::keys::{self, KeyState};
use crate::approvals;
use crate::catalog::Catalog;
use crate::clock;
use crate::storage::error::CommitError;
use crate::storage::policies::{PolicyRecord, SerialList, Source};
use crate::storage::records::{AuditEvent, Change};

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ModelError {
    /// The names do not do.
    #[error("{0:?} is no BRAND/MODEL: an account id and the name of a model, such as acme/flowgate-2")]
    Name(String),
    /// A model becomes another one.
    #[error("{0} is named twice: a device that stays {0} needs no permission")]
    Same(String),
    /// There is no such key.
    #[error("there is no key {0}: `proxy keys list` shows those there are, `proxy keys create` makes one")]
    UnknownKey(String),
    /// The key signs something else.
    #[error("key {0} signs no serials: `proxy keys list` shows what each is for")]
    OtherKey(String),
    /// The key signs nothing any more.
    #[error("key {0} is {1} and signs nothing: `proxy keys create` makes another one")]
    SpentKey(String, &'static str),
    /// The pattern.
    #[error("--pattern: {0}")]
    Pattern(#[from] PatternError),
    /// A pattern is about proposed serials only.
    #[error("--pattern is about serials that devices propose: leave it out, or use --serial proposed")]
    NoPattern,
    /// Serials that devices propose need a form.
    #[error(
        "--serial proposed needs --pattern: the form of a serial of this model, such as 'FG2-[0-9]{{6}}'"
    )]
    PatternMissing,
    /// A list is needed, and only for listed serials.
    #[error("--list FILE.csv goes with --serial listed, and is needed there")]
    List,
    /// Nobody asks so many.
    #[error("--approvals takes 0, 1 or 2")]
    Approvals,
    /// Another operator was faster.
    #[error(
        "the policy of {0} has changed meanwhile: look at it with `proxy models show {0}`, and run the command again"
    )]
    Moved(String),
    /// There is no such policy.
    #[error("there is no policy for {0}: `proxy models list` shows those there are")]
    Unknown(String),
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A policy to set.
pub(crate) struct NewPolicy {
    /// The policy.
    pub(crate) record: PolicyRecord,
    /// Its list.
    pub(crate) list: Option<Vec<ListedSerial>>,
}

/// Every policy, by brand and model.
pub(crate) fn policies(catalog: &Catalog) -> Vec<PolicyRecord> {
    each(catalog).collect()
}

/// Whether serials of any model are signed here.
pub(crate) fn signs_any(catalog: &Catalog) -> bool {
    each(catalog).any(|policy| policy.closed.is_none())
}

fn each(catalog: &Catalog) -> impl Iterator<Item = PolicyRecord> {
    let facts = catalog.meta.range(PolicyRecord::PREFIX.to_owned()..);
    let ours = facts.take_while(|(name, _)| name.starts_with(PolicyRecord::PREFIX));
    ours.filter_map(|(_, value)| serde_json::from_str(value).ok())
}

/// The policy of a model.
pub(super) fn find(catalog: &Catalog, brand: &str, model: &str) -> Option<PolicyRecord> {
    serde_json::from_str(catalog.meta.get(&PolicyRecord::fact_of(brand, model))?).ok()
}

impl NewPolicy {
    /// How many people have to approve this policy: as many as had to approve each serial before, if it asks for fewer.
    pub(crate) fn approvals_needed(&self, catalog: &Catalog) -> u32 {
        let before = find(catalog, &self.record.brand, &self.record.model);
        let before = before.map_or(0, |before| approvals_of(catalog, &before));
        if approvals_of(catalog, &self.record) < before { before } else { 0 }
    }

    /// The change that sets it, once so many people have approved it.
    pub(crate) fn approved_by(
        &self,
        catalog: &Catalog,
        who: &str,
        approvals: u32,
    ) -> Result<Change, ModelError> {
        if self.approvals_needed(catalog) > approvals {
            let PolicyRecord { brand, model, .. } = &self.record;
            return Err(ModelError::Moved(format!("{brand}/{model}")));
        }
        plan_policy(catalog, who, self)
    }

    /// Everything about it but its time, to be approved.
    pub(crate) fn digest(&self) -> String {
        approvals::digest(&json!([PolicyRecord { since: 0, ..self.record.clone() }, self.list]))
    }
}

/// How many people have to approve each serial of a policy: its key may ask for more than it does.
fn approvals_of(catalog: &Catalog, policy: &PolicyRecord) -> u32 {
    keys::find(catalog, &policy.key).map_or(0, |key| key.approvals).max(policy.approvals)
}

/// The change that sets a policy, replacing the model's earlier one.
pub(crate) fn plan_policy(catalog: &Catalog, who: &str, new: &NewPolicy) -> Result<Change, ModelError> {
    let NewPolicy { record, list } = new;
    let PolicyRecord { brand, model, key, source, pattern, api_key, approvals, .. } = record;
    let name = format!("{brand}/{model}");
    if !is_account_id(brand) || !is_model_name(model) {
        return Err(ModelError::Name(name.chars().take(80).collect()));
    }
    let held =
        keys::find(catalog, key).ok_or_else(|| ModelError::UnknownKey(key.chars().take(80).collect()))?;
    if held.label.purpose != Purpose::Serial {
        return Err(ModelError::OtherKey(key.clone()));
    }
    match KeyState::of(&held, catalog, clock::now()) {
        // It may be registered while its models are set.
        KeyState::Requested | KeyState::NotYet(_) | KeyState::Ready { .. } => {}
        spent => return Err(ModelError::SpentKey(key.clone(), spent.as_str())),
    }
    match (source, pattern) {
        (Source::Proposed, None) => return Err(ModelError::PatternMissing),
        (Source::Proposed, Some(pattern)) => drop(Pattern::new(pattern)?),
        (_, Some(_)) => return Err(ModelError::NoPattern),
        (_, None) => {}
    }
    if *approvals > MOST_APPROVALS {
        return Err(ModelError::Approvals);
    }
    if (*source == Source::Listed) != list.is_some() {
        return Err(ModelError::List);
    }
    let event = AuditEvent::new(who, "add-model", &name).detail(json!({
        "key": key, "serial": source, "pattern": pattern, "listed": list.as_ref().map(Vec::len),
        "api-key-header": api_key.as_ref().map(|(header, _)| header), "approvals": approvals,
        "hardware-required": record.hardware,
    }));
    let mut change = Change::new(event, clock::micros());
    let before = find(catalog, brand, model);
    let from = before.map(|before| before.from).unwrap_or_default();
    change.meta.push(PolicyRecord { from, ..record.clone() }.fact());
    change.serial_list = list.as_ref().map(|serials| SerialList {
        brand: brand.clone(),
        model: model.clone(),
        serials: serials.clone(),
    });
    Ok(change)
}

/// The change that closes a policy. Its devices keep their serials.
pub(crate) fn plan_close(
    catalog: &Catalog,
    who: &str,
    name: &str,
) -> Result<(Change, PolicyRecord), ModelError> {
    let unknown = || ModelError::Unknown(name.chars().take(80).collect());
    let (brand, model) = name.split_once('/').ok_or_else(unknown)?;
    let policy = find(catalog, brand, model).ok_or_else(unknown)?;
    let policy = PolicyRecord { closed: Some("closed".into()), ..policy };
    let mut change = Change::new(AuditEvent::new(who, "close-model", name), clock::micros());
    change.meta.push(policy.fact());
    Ok((change, policy))
}

/// The change that lets devices of one model become devices of another, or no longer.
pub(crate) fn plan_remodel(
    catalog: &Catalog,
    who: &str,
    (from, to): (&str, &str),
    allowed: bool,
) -> Result<(Change, PolicyRecord), ModelError> {
    let shown = |text: &str| text.chars().take(80).collect::<String>();
    let is_model = |(brand, model): (&str, &str)| is_account_id(brand) && is_model_name(model);
    if !from.split_once('/').is_some_and(is_model) {
        return Err(ModelError::Name(shown(from)));
    }
    if from == to {
        return Err(ModelError::Same(shown(from)));
    }
    let policy = to.split_once('/').and_then(|(brand, model)| find(catalog, brand, model));
    let mut policy = policy.ok_or_else(|| ModelError::Unknown(shown(to)))?;
    match allowed {
        true => policy.from.insert(from.to_owned()),
        false => policy.from.remove(from),
    };
    let what = if allowed { "allow-remodel" } else { "forbid-remodel" };
    let event = AuditEvent::new(who, what, to).detail(json!({ "from": from }));
    let mut change = Change::new(event, clock::micros());
    change.meta.push(policy.fact());
    Ok((change, policy))
}
