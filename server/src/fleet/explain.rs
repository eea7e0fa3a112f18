//! Why a device gets the revision of a snap that it gets, or none: the steps of the very decision that answers devices.

use std::sync::Arc;

use schema::api::admin::{Doubt, ExplainedStep, Explanation, Gets};
use schema::api::device::Installed;
use schema::session::Session;
use schema::store::{Architecture, SERIES};

use super::{miss, written};
use crate::catalog::{
    Ask, Catalog, KeptMap, Layer, NotAdmitted, Principal, Scope, Seen, Snap, Step, Target, Unfit, View,
};
use crate::clock;
use crate::storage::devices::{DeviceRecord, Missed, Running, Sighting};

/// Explains what the device would be answered now. It was not seen if there is no record of it.
pub(super) fn explain(
    doubt: &Doubt,
    record: Option<&DeviceRecord>,
    catalog: &Catalog,
    answers: bool,
    cohort: Option<&KeptMap>,
) -> Explanation {
    let mut told = Told(Explanation {
        device: doubt.device.clone(),
        snap: doubt.snap.clone(),
        gets: None,
        code: None,
        answer: String::new(),
        steps: Vec::new(),
        last_miss: None,
    });
    if !answers {
        let why = "This store is not in air-gapped mode and answers no device: `proxy enable-airgap-mode`.";
        return told.refuse("unavailable", why);
    }
    let Some(DeviceRecord { last, .. }) = record else {
        told.add("session", "The device was never seen here.");
        if catalog.blocked().contains(&doubt.device) {
            return told
                .refuse("device-blocked", "The device is blocked: `proxy unblock-device` lets it in.");
        }
        return told
            .refuse("unseen", "The device has to ask once before it is known which store its model names.");
    };
    let device = &last.device;
    told.add(
        "session",
        format!("The device was last seen {}, as {}.", written(last.seen_at_micros), last.agent),
    );
    let scope = match scope_of(last, catalog) {
        Ok(scope) => scope,
        Err(why) => return told.refuse(why.code(), &why.to_string()),
    };
    told.add("scope", describe(&scope, last, catalog));
    let view = catalog.view(scope);
    let installed = installed(last, catalog);
    let own = installed.iter().find(|own| {
        let named = catalog.snap_by_id(&own.snap_id).is_some_and(|snap| *snap.name == *doubt.snap);
        named || *own.snap_id == *doubt.snap
    });
    let is_id = catalog.snaps_named(&doubt.snap).is_empty() && catalog.snap_by_id(&doubt.snap).is_some();
    let snap_id = own.map(|own| &*own.snap_id).or(is_id.then_some(&*doubt.snap));
    let ask = Ask {
        name: Some(&*doubt.snap).filter(|_| snap_id.is_none()),
        snap_id,
        own,
        revision: doubt.revision.map(i64::from),
        channel: doubt.channel.as_deref(),
        cohort,
        validation_sets: own.map(|own| &*own.validation_sets).unwrap_or_default(),
        ..Ask::default()
    };
    told.add("device", runs(last, own));
    told.0.last_miss = last_miss(last, doubt, snap_id, catalog);
    let architecture = last.architecture.as_ref().map(Architecture::as_str);
    let target = Target {
        device: Some(device),
        store: last.store.as_deref(),
        architecture,
        installed: &installed,
        now_micros: clock::micros(),
    };
    told.visibility(&doubt.snap, catalog, &view, snap_id);
    told.windows(catalog, own.map(|own| &*own.snap_id).or(snap_id));
    let answer = view.resolve(&target, &ask, &mut |step| told.step(&step, &target, catalog));
    match answer {
        Ok(offer) => {
            let (number, channel) = (offer.revision.number, offer.effective.to_string());
            let has_it = own.is_some_and(|own| own.revision == i64::from(number));
            let because = match offer.layer {
                Layer::AskedFor => "because it asks for it",
                Layer::ValidationSet => "because a validation set that it enforces pins it",
                Layer::Override => "because of an override",
                Layer::Cohort => "which its cohort keeps",
                Layer::Rollout => "because of a rollout",
                Layer::ChannelMap => "as the channel map says",
            };
            told.0.answer = match has_it {
                true => format!("{device} keeps revision {number}, {because}."),
                false => format!("{device} gets revision {number} from {channel}, {because}."),
            };
            let runs = |base: &str| {
                let mut running = installed.iter().filter_map(|own| catalog.snap_by_id(&own.snap_id));
                running.any(|snap| *snap.name == *base)
            };
            let base = view.unseen_base(offer.revision).filter(|base| !has_it && !runs(base));
            if let Some(base) = base {
                told.visibility(base, catalog, &view, None);
                told.0.answer.push_str(&format!(" It needs {base} for that, which it does not see."));
            }
            told.0.gets = Some(Gets {
                revision: number,
                version: offer.revision.version.clone(),
                channel,
                layer: offer.layer.name().to_owned(),
                installed: has_it,
            });
            told.0
        }
        Err(why) => told.refuse(why.code(&ask), &format!("{device} gets no revision: {why}.")),
    }
}

/// The explanation as far as it has come.
struct Told(Explanation);

impl Told {
    fn add(&mut self, subject: &str, says: impl Into<String>) {
        self.0.steps.push(ExplainedStep { subject: subject.to_owned(), says: says.into() });
    }

    fn refuse(mut self, code: &str, answer: &str) -> Explanation {
        self.0.code = Some(code.to_owned());
        self.0.answer = answer.to_owned();
        self.0
    }

    /// Whether the device may know of the snap.
    fn visibility(&mut self, name: &str, catalog: &Catalog, view: &View<'_>, snap_id: Option<&str>) {
        let named = catalog.snaps_named(name).iter();
        let held: Vec<&Arc<Snap>> = match snap_id {
            Some(id) => catalog.snap_by_id(id).into_iter().collect(),
            None => named.collect(),
        };
        if held.is_empty() {
            let name = catalog.name_of(name).unwrap_or(name);
            self.add("snap", format!("No snap {name} was pushed: `proxy push-snap` brings one."));
        }
        for snap in held {
            let says = match view.seen(snap) {
                Some(Seen::Public) => format!("Every device without a brand store sees {}.", snap.name),
                Some(Seen::Granted(store)) => format!("Store {store} grants {}.", snap.name),
                Some(Seen::Included) => format!("Every store includes {}.", snap.name),
                None => match audience(snap, catalog) {
                    None => format!("The device does not see {}, which no store here grants.", snap.name),
                    Some(who) => {
                        format!("The device does not see {}, which is for devices {who}.", snap.name)
                    }
                },
            };
            self.add("snap", says);
        }
    }

    /// Whether a rollout of the snap offers nothing now.
    fn windows(&mut self, catalog: &Catalog, snap_id: Option<&str>) {
        let rollout =
            snap_id.and_then(|id| catalog.snap_by_id(id)).and_then(|snap| catalog.live_rollout(&snap.id));
        let Some(rollout) = rollout else { return };
        let later = rollout.record.course.next_window(clock::micros());
        if let (Some(windows), Some(later)) = (&rollout.record.course.windows, later) {
            let (name, later) = (&rollout.name, written(later));
            self.add("rollout", format!("Rollout {name} offers its revision {windows}, next at {later}."));
        }
    }

    fn step(&mut self, step: &Step<'_>, target: &Target<'_>, catalog: &Catalog) {
        let place = target.architecture.unwrap_or("any architecture");
        let (subject, says) = match step {
            Step::Wanted(channel) => ("channel", format!("It asks for {channel}.")),
            Step::Closed(channel) => ("channel", format!("Nothing is released in {channel} for {place}.")),
            Step::Ends(channel) => ("channel", format!("The channel map answers with {channel}.")),
            Step::Said(layer, Some(number)) => (layer.name(), format!("It names revision {number}.")),
            Step::Said(layer, None) => (layer.name(), "It says nothing.".to_owned()),
            Step::NotHeld(number) => (
                "revision",
                format!("Revision {number} is not held here for {place}: `proxy push-snap` brings it."),
            ),
            Step::Unfit(number, Unfit::Damaged) => {
                ("file", format!("The file of revision {number} is damaged: push it again."))
            }
            Step::Unfit(number, Unfit::Epoch) => {
                ("epoch", format!("Revision {number} does not read the data of the installed revision."))
            }
            Step::Unfit(number, Unfit::Gate(id)) => {
                let gate = catalog.snap_by_id(id).map_or(id.as_str(), |snap| snap.name.as_str());
                ("gate", format!("Revision {number} has no validation by {gate}, which the device runs."))
            }
            Step::Keeps(number) => {
                let who = target.device.map_or_else(|| "it".to_owned(), ToString::to_string);
                ("device", format!("Nothing newer fits: {who} keeps revision {number}."))
            }
        };
        self.add(subject, says);
    }
}

/// What the device may see, as it was last seen.
pub(crate) fn scope_of(last: &Sighting, catalog: &Catalog) -> Result<Scope, NotAdmitted> {
    let (device, store, verified) = (last.device.clone(), last.store.clone(), last.verified);
    let session = Session { device, store, verified, issued: 0, expires: 0 };
    Scope::admit(&Principal::Device(Arc::new(session)), catalog)
}

/// Which devices see a snap, if any do.
fn audience(snap: &Snap, catalog: &Catalog) -> Option<String> {
    let seeing = catalog.views_of_stores().filter(|(_, view)| view.seen(snap).is_some());
    let stores: Vec<&str> = seeing.map(|(store, _)| &*store.store_id).collect();
    let of_stores = (!stores.is_empty()).then(|| format!("of {}", stores.join(", ")));
    let without = snap.is_public().then(|| "without a brand store".to_owned());
    let who: Vec<String> = without.into_iter().chain(of_stores).collect();
    (!who.is_empty()).then(|| who.join(" and "))
}

fn describe(scope: &Scope, last: &Sighting, catalog: &Catalog) -> String {
    let own = last.store.as_ref().filter(|store| !store.is_global());
    match (scope.store(), scope.brand()) {
        (Some(store), Some(brand)) if !catalog.knows_store(brand, store) => format!(
            "The metadata of store {store} was not imported (`proxy push-brand-store-metadata`): it sees snapd and the boot bases."
        ),
        (Some(store), _) => format!("It sees what store {store} grants."),
        (None, Some(brand)) => {
            format!("Its model names no store: it sees the public snaps, and the documents of {brand}.")
        }
        (None, None) => match own {
            Some(store) => format!(
                "No metadata of its brand was imported, nor of its store {store} (`proxy push-brand-store-metadata`): it sees the public snaps."
            ),
            None => "No metadata of its brand was imported: it sees the public snaps.".to_owned(),
        },
    }
}

fn runs(last: &Sighting, own: Option<&Installed<'_>>) -> String {
    let what = match (&last.snaps, own) {
        (None, _) => "did not say what it runs".to_owned(),
        (Some(_), None) => "does not run the snap".to_owned(),
        (Some(_), Some(own)) => {
            format!("runs revision {} and follows {}", own.revision, &*own.tracking_channel)
        }
    };
    let architecture = last.architecture.as_ref().map_or("an unknown architecture", Architecture::as_str);
    format!("The device is of {architecture} and {what}.")
}

/// What the device runs, as it would say it: the epoch is also known from the revision.
pub(super) fn installed<'a>(last: &'a Sighting, catalog: &Catalog) -> Vec<Installed<'a>> {
    let epoch = |of: &Running| {
        let number = u32::try_from(of.revision).ok()?;
        let held = catalog.snap_by_id(&of.snap_id)?.revisions.get(&number)?;
        Some(held.epoch.clone())
    };
    let own = |of: &'a Running| Installed {
        snap_id: of.snap_id.as_str().into(),
        instance_key: of.snap_id.as_str().into(),
        revision: of.revision,
        tracking_channel: of.channel.as_str().into(),
        epoch: of.epoch.clone().or_else(|| epoch(of)),
        cohort_key: of.cohort.as_deref().map(Into::into),
        ignore_validation: false,
        held: None,
        validation_sets: of.sets.iter().filter_map(|set| point(set)).collect(),
    };
    last.snaps.iter().flatten().map(own).collect()
}

/// The sequence point that `ACCOUNT/NAME=SEQUENCE` means.
fn point(set: &str) -> Option<Vec<String>> {
    let ((account, name), sequence) =
        set.split_once('=').and_then(|(set, at)| Some((set.split_once('/')?, at)))?;
    Some([SERIES, account, name, sequence].map(str::to_owned).to_vec())
}

fn last_miss(
    last: &Sighting,
    doubt: &Doubt,
    snap_id: Option<&str>,
    catalog: &Catalog,
) -> Option<schema::api::admin::DeviceMiss> {
    let is_it = |missed: &&Missed| {
        let asked = &*missed.name;
        *asked == *doubt.snap || Some(asked) == snap_id || catalog.name_of(asked) == Some(&*doubt.snap)
    };
    last.missed.iter().flatten().find(is_it).map(|missed| miss(missed, catalog))
}
