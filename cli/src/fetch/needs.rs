//! The dependencies of snaps, models and validation sets.
//!
//! A snap needs its base (`core` if it names none), `snapd`, and the default providers of its content plugs; a model
//! needs the snaps it lists; a validation set needs the snaps it requires, at the revisions it pins.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use schema::assertion::{
    Assertion, AssertionType as T, Details, HeaderValue, Model, Ref, ValidationSet, Verified,
};
use schema::bundle::default_providers;
use schema::store::{ChannelRequest, SnapName};

use super::haul::Haul;
use super::library::Library;
use super::{Order, Pick};
use crate::output::plain;
use crate::upstream::Offer;

/// A validation set, `ACCOUNT/NAME` or `ACCOUNT/NAME=SEQUENCE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetRef {
    account: String,
    name: String,
    sequence: Option<u32>,
}

impl FromStr for SetRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected ACCOUNT/NAME or ACCOUNT/NAME=SEQUENCE";
        let (path, sequence) = match text.split_once('=') {
            Some((path, number)) => {
                (path, Some(number.parse().ok().filter(|number| *number > 0).ok_or(WRONG)?))
            }
            None => (text, None),
        };
        let (account, name) = path.split_once('/').ok_or(WRONG)?;
        if account.is_empty() || name.is_empty() || name.contains('/') {
            return Err(WRONG);
        }
        Ok(Self { account: account.to_owned(), name: name.to_owned(), sequence })
    }
}

/// Dependencies that are not ordered yet, and those that were not found.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    orders: Vec<Order>,
    missed: Vec<(SnapName, String)>,
    found: BTreeSet<SnapName>,
    /// What snaps that were found lack.
    lacking: Vec<String>,
}

impl Needs {
    /// Fetches the assertions of a model and of validation sets; the snaps they name become orders.
    ///
    /// # Errors
    /// An assertion is unavailable or does not verify, or the model's file contains no model.
    pub(crate) async fn of_documents(
        &mut self,
        library: &mut Library<'_>,
        model: Option<Vec<Assertion>>,
        sets: &[SetRef],
    ) -> anyhow::Result<Vec<Verified>> {
        let mut seeds = Vec::new();
        let mut sets = sets.to_vec();
        for document in model.unwrap_or_default() {
            if let Details::Model(model) = document.details() {
                seeds.push(document.reference());
                self.of_model(&document, model)?;
                sets.extend(model.validation_sets.iter().map(|set| SetRef {
                    account: set.account_id.clone(),
                    name: set.name.clone(),
                    sequence: set.sequence,
                }));
                if let Some(store) = &model.store {
                    let store = Ref::new(T::Store, vec![store.clone()])?;
                    // Most brand stores have no store assertion, and devices tolerate that.
                    if !library.look_up(&store).await?.is_empty() {
                        seeds.push(store);
                    }
                }
            }
            library.add(document);
        }
        for set in sets {
            let found = library.point(&["16", &set.account, &set.name], set.sequence).await?;
            let found = found.with_context(|| {
                let point = set.sequence.map(|number| format!("={number}")).unwrap_or_default();
                format!("the store has no validation set {}/{}{point}", set.account, set.name)
            })?;
            seeds.push(found.reference());
            if let Details::ValidationSet(set) = found.details() {
                self.of_set(set)?;
            }
        }
        library.closure(&seeds).await.context("cannot prove the model and the validation sets")
    }

    fn of_model(&mut self, document: &Assertion, model: &Model) -> anyhow::Result<()> {
        let by = format!("model {}", model.model);
        let mut listed: Vec<(String, ChannelRequest)> = Vec::new();
        if let Some(snaps) = document.headers().get("snaps").and_then(HeaderValue::as_list) {
            for entry in snaps.iter().filter_map(HeaderValue::as_map) {
                let text = |name: &str| entry.get(name).and_then(HeaderValue::as_text);
                let channel = text("default-channel").map(str::parse).transpose()?.unwrap_or_default();
                listed.push((text("name").unwrap_or_default().to_owned(), channel));
            }
        } else {
            let required = document.headers().get("required-snaps").and_then(HeaderValue::as_list);
            let required = required.unwrap_or_default().iter().filter_map(HeaderValue::as_text);
            for name in
                ["gadget", "kernel"].into_iter().filter_map(|name| document.text(name)).chain(required)
            {
                // `pc=22` includes the track.
                let (name, track) = name.split_once('=').unwrap_or((name, ""));
                let track = Some(track).filter(|track| !track.is_empty()).map(str::parse).transpose()?;
                listed.push((name.to_owned(), ChannelRequest { track, ..ChannelRequest::default() }));
            }
        }
        let base = model.base.clone().or_else(|| (!model.classic).then(|| "core".to_owned()));
        let system = base.iter().cloned().chain(model.base.as_ref().map(|_| "snapd".to_owned()));
        for name in system {
            if !listed.iter().any(|(other, _)| *other == name) {
                listed.push((name, ChannelRequest::default()));
            }
        }
        for (name, channel) in listed {
            self.order(name.parse()?, Pick::channel(channel), &by);
        }
        Ok(())
    }

    fn of_set(&mut self, set: &ValidationSet) -> anyhow::Result<()> {
        let by = format!("validation set {}/{}", set.account_id, set.name);
        for snap in set.snaps.iter().filter(|snap| snap.presence == "required" || snap.revision.is_some()) {
            let pick = match snap.revision {
                Some(number) => Pick::revision(number, Vec::new()),
                None => Pick::channel(ChannelRequest::default()),
            };
            self.order(snap.name.parse()?, pick, &by);
        }
        Ok(())
    }

    /// Records what the revisions of a snap need.
    pub(crate) fn of_haul(&mut self, haul: &Haul) {
        for offer in haul.revisions.values() {
            for name in needed_by(offer) {
                self.order(name, Pick::channel(ChannelRequest::default()), haul.name.as_str());
            }
        }
    }

    fn order(&mut self, name: SnapName, pick: Pick, by: &str) {
        let order = Order { name, picks: vec![pick], needed_by: Some(by.to_owned()) };
        super::order::merge(&mut self.orders, [order]);
    }

    /// The orders, each returned once.
    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Records an unfulfilled order.
    pub(crate) fn miss(&mut self, order: &Order) {
        let by = order.needed_by.clone().unwrap_or_default();
        if !self.missed.iter().any(|(name, _)| *name == order.name) {
            self.missed.push((order.name.clone(), by));
        }
    }

    /// Records that something of an order is not there.
    pub(crate) fn lack(&mut self, order: &Order, why: &str) {
        match &order.needed_by {
            Some(by) => self.lacking.push(plain(&format!("{by} needs {}: {why}", order.name))),
            None => self.lacking.push(plain(why)),
        }
    }

    /// Records named snaps that are not there, in sentences.
    pub(crate) fn absent(&mut self, why: Vec<String>) {
        self.lacking.extend(why);
    }

    /// Records that a snap was found after all.
    pub(crate) fn found(&mut self, name: &SnapName) {
        self.found.insert(name.clone());
    }

    /// Whether dependencies are missing, except what was carried across before.
    pub(crate) fn has_missed(&self, known: &BTreeSet<String>) -> bool {
        self.open(known).next().is_some()
    }

    fn open(&self, known: &BTreeSet<String>) -> impl Iterator<Item = &(SnapName, String)> {
        self.missed.iter().filter(|(name, _)| !self.found.contains(name) && !known.contains(name.as_str()))
    }

    /// What is missing, except what was carried across before.
    pub(crate) fn missing(&self, known: &BTreeSet<String>) -> Vec<String> {
        let missed =
            self.open(known).map(|(name, by)| format!("{by} needs {name}, which is in none of the bundles"));
        missed.chain(self.lacking.iter().cloned()).collect()
    }
}

/// The snaps without which a revision does not run.
fn needed_by(offer: &Offer) -> Vec<SnapName> {
    if ["snapd", "os", "core"].contains(&offer.kind.as_str()) {
        return Vec::new();
    }
    let yaml = offer.snap_yaml.as_deref().unwrap_or_default();
    let without_base =
        offer.base.as_deref() == Some("none") || yaml.lines().any(|line| line.trim_end() == "base: none");
    let base = match (&offer.base, offer.kind.as_str()) {
        _ if without_base => None,
        (Some(base), _) => Some(base.as_str()),
        (None, "app" | "application") => Some("core"),
        (None, _) => None,
    };
    let snapd = (base != Some("core")).then_some("snapd");
    let mut needed: Vec<SnapName> =
        base.into_iter().chain(snapd).filter_map(|name| name.parse().ok()).collect();
    needed.extend(default_providers(yaml));
    needed
}

/// The only model among a file's assertions.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn model_of(documents: &[Assertion]) -> anyhow::Result<&Model> {
    let mut models = documents.iter().filter_map(|document| match document.details() {
        Details::Model(model) => Some(model),
        _ => None,
    });
    match (models.next(), models.next()) {
        (Some(model), None) => Ok(model),
        (None, _) => bail!("it holds no model assertion"),
        _ => bail!("it holds more than one model assertion"),
    }
}

/// Checks an account id as assertions spell it.
///
/// # Errors
/// The text is not an account id.
pub(crate) fn check_account_id(text: &str) -> anyhow::Result<()> {
    let fits = (2..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    ensure!(
        fits,
        "malformed account id {text:?}: expected letters, digits and dashes, as `snapcraft whoami` shows it"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(rest: &str) -> Offer {
        let json = format!(
            r#"{{"name":"jq","snap-id":"fLowMeTer1234567890abcdefGHIJKLM","revision":1,
                "download":{{"url":"http://x/","size":1,"sha3-384":""}},{rest}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_snap_needs_its_base_snapd_and_the_providers_of_content() {
        for (rest, wanted) in [
            (r#""type":"app""#, &["core"][..]),
            (r#""type":"app","base":"core24""#, &["core24", "snapd"]),
            (r#""type":"app","base":null,"snap-yaml":"name: jq\nbase: none\n""#, &["snapd"]),
            (r#""type":"base""#, &["snapd"]),
            (r#""type":"gadget","base":"core22""#, &["core22", "snapd"]),
            (r#""type":"snapd""#, &[]),
            (r#""type":"os""#, &[]),
            (
                r#""type":"app","base":"core24","snap-yaml":"plugs:\n  a: {interface: content, default-provider: themes}\n""#,
                &["core24", "snapd", "themes"],
            ),
        ] {
            let needed: Vec<_> = needed_by(&offer(rest)).iter().map(ToString::to_string).collect();
            assert_eq!(needed, wanted, "{rest}");
        }
    }

    #[test]
    fn sets_are_named_with_their_account() {
        let set: SetRef = "acme/line-a=3".parse().unwrap();
        assert_eq!((set.account.as_str(), set.name.as_str(), set.sequence), ("acme", "line-a", Some(3)));
        assert_eq!("acme/line-a".parse::<SetRef>().unwrap().sequence, None);
        for bad in ["acme", "acme/", "/x", "a/b/c", "a/b=0", "a/b=x", ""] {
            assert!(bad.parse::<SetRef>().is_err(), "{bad}");
        }
    }
}
