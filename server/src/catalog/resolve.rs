//! Which revision a device gets: one decision in named layers, of which the first that answers wins. See
//! `schema/docs/store-api.md#channel-resolution`.
//!
//! ```text
//! revision asked for → enforced validation set → override → cohort → rollout → channel map   then epoch, gates and sound files
//! ```
//!
//! Override, rollout and channel map speak about one place of the channel map: the channel asked for, or where it falls back
//! to. A cohort speaks about that place of the map that its key keeps. Nothing else in the program picks a revision.

use std::fmt;
use std::slice;
use std::sync::Arc;

use schema::api::device::Installed;
use schema::assertion::{AssertionType, Details, Ref};
use schema::store::{Channel, ChannelRequest, DeviceId, Epoch, Risk, SERIES, SnapId};

use super::{Catalog, CatalogRevision, Held, KeptMap, Release, Snap, View};
use crate::storage::records::Origin;

/// Whom an answer is for, and when: everything that it may depend on. There is no default, so that no route asks without
/// saying when, and offers what is for another hour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The device, if it has a session.
    pub(crate) device: Option<&'a DeviceId>,
    /// The store that its model names.
    pub(crate) store: Option<&'a str>,
    /// Its architecture; `None` matches all.
    pub(crate) architecture: Option<&'a str>,
    /// The snaps that it runs.
    pub(crate) installed: &'a [Installed<'a>],
    /// The moment of the question, in microseconds since 1970.
    pub(crate) now_micros: i64,
}

impl Target<'_> {
    /// A caller without a session, on any architecture.
    pub(crate) fn anyone(now_micros: i64) -> Self {
        Self { device: None, store: None, architecture: None, installed: &[], now_micros }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    /// The snap's name.
    pub(crate) name: Option<&'a str>,
    /// The snap's id.
    pub(crate) snap_id: Option<&'a str>,
    /// The snap as it is installed, if the answer is to replace it.
    pub(crate) own: Option<&'a Installed<'a>>,
    /// The exact revision.
    pub(crate) revision: Option<i64>,
    /// The channel; without one, that which the installed snap follows.
    pub(crate) channel: Option<&'a str>,
    /// What the device's cohort keeps.
    pub(crate) cohort: Option<&'a KeptMap>,
    /// Sequence points that the device enforces: series, account, name and number.
    pub(crate) validation_sets: &'a [Vec<String>],
    /// Whether sets and gating snaps do not count.
    pub(crate) ignore_validation: bool,
    /// The epoch that the revision must read, if no installed snap says it.
    pub(crate) epoch: Option<&'a Epoch>,
}

impl<'a> Ask<'a> {
    /// The channel to follow, if any is named.
    pub(crate) fn channel(&self) -> Option<&'a str> {
        let tracked = self.own.map(|own| own.tracking_channel.as_str());
        self.channel.or(tracked).filter(|channel| !channel.is_empty())
    }
}

/// A layer of the decision, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The device asked for this revision.
    AskedFor,
    /// A validation set that the device enforces pins it.
    ValidationSet,
    /// The operator's override of the channel.
    Override,
    /// What the channel held when the device's cohort was made.
    Cohort,
    /// A rollout with an open wave for the device.
    Rollout,
    /// The imported channel map.
    ChannelMap,
}

impl Layer {
    /// A stable word for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Layer::AskedFor => "asked-for",
            Layer::ValidationSet => "validation-set",
            Layer::Override => "override",
            Layer::Rollout => "rollout",
            Layer::Cohort => "cohort",
            Layer::ChannelMap => "channel-map",
        }
    }
}

/// The revision offered.
pub(crate) struct Offer<'a> {
    /// The snap.
    pub(crate) snap: &'a Snap,
    /// The revision.
    pub(crate) revision: &'a Arc<CatalogRevision>,
    /// The layer that decided.
    pub(crate) layer: Layer,
    /// The channel it was found in.
    pub(crate) effective: Channel,
    /// The release that leads to it; `None` if the channel does not.
    pub(crate) release: Option<&'a Release>,
    /// The channel to follow instead of the requested one.
    pub(crate) redirect: Option<Channel>,
}

/// Why nothing is offered. snapd shows the text for any code that it does not know.
#[derive(thiserror::Error)]
pub(crate) enum NotOffered<'a> {
    /// The caller sees no such snap.
    #[error("no such snap is in this store")]
    NotFound,
    /// The snap has no release there, but elsewhere.
    #[error("this store has no revision of the snap there")]
    NothingThere(&'a Snap),
    /// The file to be offered is damaged, and no other revision can replace it.
    #[error("the store's file of this revision is damaged: try again later")]
    Damaged(&'a Snap),
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
}

impl NotOffered<'_> {
    /// The error code that the device gets.
    pub(crate) fn code(&self, ask: &Ask<'_>) -> &'static str {
        match self {
            NotOffered::NotFound if ask.name.is_some() => "name-not-found",
            NotOffered::NotFound => "id-not-found",
            NotOffered::NothingThere(_) => "revision-not-found",
            NotOffered::Damaged(_) => "file-damaged",
            NotOffered::Invalid(_) => "invalid-action",
        }
    }

    /// The snap that the caller sees.
    pub(crate) fn snap(&self) -> Option<&Snap> {
        match self {
            NotOffered::NothingThere(snap) | NotOffered::Damaged(snap) => Some(snap),
            NotOffered::NotFound | NotOffered::Invalid(_) => None,
        }
    }
}

impl fmt::Debug for NotOffered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One step on the way to an answer, for whoever wants to explain it.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The channel that the request means.
    Wanted(Channel),
    /// Nothing is released there for the device.
    Closed(Channel),
    /// Where the request ends.
    Ends(&'a Channel),
    /// A layer was asked: the revision that it names, if it speaks.
    Said(Layer, Option<u32>),
    /// A revision that was named is not held, or not for this architecture.
    NotHeld(u32),
    /// A revision cannot be offered.
    Unfit(u32, Unfit),
    /// Nothing newer fits, and the device keeps what it has.
    Keeps(u32),
}

/// Why a revision cannot be offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its file is damaged.
    Damaged,
    /// It does not read what the installed one wrote.
    Epoch,
    /// The publisher of this installed snap, named by its id, has not approved it.
    Gate(String),
}

/// Nobody wants to know how the answer came about.
pub(crate) fn unheard(_: Step<'_>) {}

/// What a layer names.
#[derive(Clone, Copy)]
enum Pick<'a> {
    /// This revision or nothing.
    Exactly(i64),
    /// The revision of a release, or what may stand in for it.
    Release(&'a Release),
}

/// A question about one snap.
struct Question<'q, 'a> {
    catalog: &'a Catalog,
    snap: &'a Snap,
    target: &'q Target<'q>,
    ask: &'q Ask<'a>,
    /// The revision that the enforced sets pin.
    pinned: Option<u32>,
    /// Releases of the channel in which the request ends; none if it ends nowhere.
    place: &'a [Release],
    /// The release that the cohort keeps there.
    kept: Option<&'a Release>,
    /// Installed snaps whose publishers must approve the revision, by their ids.
    gates: Vec<String>,
}

type Says<'q, 'a> = fn(&Question<'q, 'a>) -> Option<Pick<'a>>;

impl<'q, 'a> Question<'q, 'a> {
    /// The layers, each with what it says.
    const LAYERS: [(Layer, Says<'q, 'a>); 6] = [
        (Layer::AskedFor, |it| it.ask.revision.filter(|number| *number != 0).map(Pick::Exactly)),
        (Layer::ValidationSet, |it| it.pinned.map(|number| Pick::Exactly(number.into()))),
        (Layer::Override, |it| it.released(Origin::Override)),
        (Layer::Cohort, |it| it.kept.map(Pick::Release)),
        (Layer::Rollout, |it| it.lifted()),
        (Layer::ChannelMap, |it| it.released(Origin::Imported)),
    ];

    /// The release of this origin in the place; one for exactly this architecture wins over one for all.
    fn released(&self, origin: Origin) -> Option<Pick<'a>> {
        let here = self.place.iter().filter(|release| release.origin == origin);
        let fitting = here.filter(|release| self.snap.offered(release, self.target.architecture).is_some());
        fitting.min_by_key(|release| release.architecture.is_all()).map(Pick::Release)
    }

    /// The release that a rollout lifts the target to.
    fn lifted(&self) -> Option<Pick<'a>> {
        let rollout = self.catalog.rollouts.of(&self.snap.id)?;
        let own = self.ask.own.map(|own| own.revision);
        rollout.lifts(self.catalog, self.snap, self.place, self.target, own).map(Pick::Release)
    }

    /// Asks the layers until one speaks.
    fn pick(&self, told: &mut impl FnMut(Step<'a>)) -> Option<(Layer, Pick<'a>)> {
        Self::LAYERS.into_iter().find_map(|(layer, says)| {
            let pick = says(self);
            told(Step::Said(layer, pick.and_then(Pick::number)));
            pick.map(|pick| (layer, pick))
        })
    }

    fn answer(&self, wanted: Channel, told: &mut impl FnMut(Step<'a>)) -> Result<Offer<'a>, NotOffered<'a>> {
        match self.pick(told).ok_or(NotOffered::NothingThere(self.snap))? {
            (layer, Pick::Exactly(number)) => self.exactly(number, layer, wanted, told),
            (layer, Pick::Release(release)) => self.up_to(release, layer, told),
        }
    }

    /// A revision named by its number is served if it is held, released or not.
    fn exactly(
        &self,
        number: i64,
        layer: Layer,
        wanted: Channel,
        told: &mut impl FnMut(Step<'a>),
    ) -> Result<Offer<'a>, NotOffered<'a>> {
        let (snap, architecture) = (self.snap, self.target.architecture);
        let held = u32::try_from(number).ok().and_then(|number| snap.revisions.get(&number));
        let Some(revision) = held.filter(|held| held.runs_on(architecture)) else {
            told(Step::NotHeld(u32::try_from(number).unwrap_or_default()));
            return Err(NotOffered::NothingThere(snap));
        };
        let has_it = self.ask.own.is_some_and(|own| own.revision == number);
        if revision.is_damaged() && !has_it {
            told(Step::Unfit(revision.number, Unfit::Damaged));
            return Err(NotOffered::Damaged(snap));
        }
        let leads_here = |release: &&Release| release.revision == revision.number;
        let elsewhere =
            || snap.releases.iter().filter(|release| release.is_for(architecture)).find(leads_here);
        let here = Self::LAYERS.iter().find_map(|(layer, says)| match says(self) {
            Some(Pick::Release(release)) if *layer != Layer::Cohort => Some(release),
            _ => None,
        });
        let release = here.filter(leads_here).or_else(elsewhere);
        let effective = release.map_or(wanted, |release| release.channel.clone());
        Ok(Offer { snap, revision, layer, effective, release, redirect: None })
    }

    /// What a release leads the device to.
    fn up_to(
        &self,
        release: &'a Release,
        layer: Layer,
        told: &mut impl FnMut(Step<'a>),
    ) -> Result<Offer<'a>, NotOffered<'a>> {
        let revision = self.fitting(release, told)?;
        Ok(Offer {
            snap: self.snap,
            revision,
            layer,
            effective: release.channel.clone(),
            // What a cohort keeps may be released no more.
            release: Some(release)
                .filter(|release| release.revision == revision.number && layer != Layer::Cohort),
            redirect: None,
        })
    }

    /// The revision of a release, or the newest older one that the device can take.
    fn fitting(
        &self,
        release: &'a Release,
        told: &mut impl FnMut(Step<'a>),
    ) -> Result<&'a Arc<CatalogRevision>, NotOffered<'a>> {
        let snap = self.snap;
        let newest = snap.revisions.get(&release.revision).ok_or(NotOffered::NothingThere(snap))?;
        let mut fits = |revision: &CatalogRevision| match self.unfit(revision) {
            None => true,
            Some(why) => {
                told(Step::Unfit(revision.number, why));
                false
            }
        };
        if fits(newest) {
            return Ok(newest);
        }
        // Keep what the device has rather than replace it with an older revision.
        let have = self.ask.own.and_then(|own| u32::try_from(own.revision).ok()).unwrap_or_default();
        let older = snap.older(release, newest, self.target.architecture);
        let mut between = older.take_while(|revision| revision.number > have);
        if let Some(revision) = between.find(|revision| fits(revision)) {
            return Ok(revision);
        }
        let kept = snap.revisions.get(&have).ok_or(match newest.is_damaged() {
            true => NotOffered::Damaged(snap),
            false => NotOffered::NothingThere(snap),
        })?;
        told(Step::Keeps(have));
        Ok(kept)
    }

    /// What keeps a device from moving to a revision.
    fn unfit(&self, revision: &CatalogRevision) -> Option<Unfit> {
        let epoch = self.ask.epoch.or(self.ask.own.and_then(|own| own.epoch.as_ref()));
        if revision.is_damaged() {
            return Some(Unfit::Damaged);
        }
        if epoch.is_some_and(|installed| !revision.epoch.can_follow(installed)) {
            return Some(Unfit::Epoch);
        }
        let waiting = self.gates.iter().find(|gate| !self.approves(gate, revision));
        waiting.map(|gate| Unfit::Gate(gate.clone()))
    }

    fn approves(&self, gate: &str, revision: &CatalogRevision) -> bool {
        let key = vec![SERIES.into(), gate.into(), self.snap.id.to_string(), revision.number.to_string()];
        let found = self.catalog.assertions.newest(&Ref { kind: AssertionType::Validation, key }, 0);
        found.and_then(Held::decode).is_some_and(|found| match found.details() {
            Details::Validation(validation) => !validation.revoked,
            _ => false,
        })
    }
}

impl Pick<'_> {
    fn number(self) -> Option<u32> {
        match self {
            Pick::Exactly(number) => u32::try_from(number).ok(),
            Pick::Release(release) => Some(release.revision),
        }
    }
}

impl<'a> View<'a> {
    /// Decides which revision of a snap the target gets, and tells each step.
    pub(crate) fn resolve(
        &self,
        target: &Target<'_>,
        ask: &Ask<'a>,
        told: &mut impl FnMut(Step<'a>),
    ) -> Result<Offer<'a>, NotOffered<'a>> {
        let snap = self.asked_snap(ask).ok_or(NotOffered::NotFound)?;
        let request = match ask.channel() {
            Some(text) => text.parse().map_err(|error| NotOffered::Invalid(format!("{error}")))?,
            None => ChannelRequest::default(),
        };
        let wanted = request.on(&snap.default_track);
        told(Step::Wanted(wanted.clone()));
        let gates = if ask.ignore_validation { Vec::new() } else { self.gates_of(snap, target.installed) };
        let pinned = if ask.ignore_validation { None } else { self.pinned(snap, ask.validation_sets) };
        let place = snap.place(&wanted, target.architecture, told);
        let kept = ask.cohort.and_then(|cohort| cohort.release(snap, &wanted, target.architecture));
        let question = Question { catalog: self.catalog, snap, target, ask, pinned, place, kept, gates };
        let follows_default = request.track.is_none() && snap.default_track.as_str() != "latest";
        let redirect = follows_default.then(|| wanted.clone());
        let mut offer = question.answer(wanted, told)?;
        if matches!(offer.layer, Layer::Override | Layer::Rollout | Layer::Cohort | Layer::ChannelMap) {
            offer.redirect = redirect;
        }
        Ok(offer)
    }

    /// What the target finds in each open channel without a branch, so that no two entries collide.
    pub(crate) fn channel_map<'t>(
        &self,
        snap: &'a Snap,
        target: &'t Target<'t>,
    ) -> impl Iterator<Item = (&'a Release, &'a Arc<CatalogRevision>)> + use<'a, 't> {
        self.catalog.channel_map(snap, target)
    }

    fn asked_snap(&self, ask: &Ask<'_>) -> Option<&'a Snap> {
        let named = ask.name.and_then(|name| self.snap_named(name));
        match (ask.name, ask.snap_id) {
            (Some(_), Some(id)) => named.filter(|snap| snap.id == id),
            (Some(_), None) => named,
            (None, Some(id)) => self.snap(id),
            (None, None) => None,
        }
    }

    /// The revision that the first of these sets pins, as far as the device may see them.
    fn pinned(&self, snap: &Snap, sets: &[Vec<String>]) -> Option<u32> {
        sets.iter().find_map(|key| {
            let wanted = Ref::new(AssertionType::ValidationSet, key.clone()).ok()?;
            let set = self.assertion(&wanted, AssertionType::ValidationSet.max_format())?.decode()?;
            let Details::ValidationSet(set) = set.details() else { return None };
            set.snaps.iter().find(|of| of.id == *snap.id)?.revision
        })
    }

    /// The installed snaps whose publishers must approve revisions of `snap`.
    fn gates_of(&self, snap: &Snap, installed: &[Installed<'_>]) -> Vec<String> {
        let gates = self.catalog.gates.get(snap.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        let counts =
            |gate: &&SnapId| installed.iter().any(|own| ***gate == *own.snap_id) && self.snap(gate).is_some();
        gates.iter().filter(counts).map(ToString::to_string).collect()
    }
}

impl Catalog {
    /// What the target finds in each open channel without a branch; a release of a damaged file that nothing replaces is
    /// listed as it is.
    fn channel_map<'a, 't>(
        &'a self,
        snap: &'a Snap,
        target: &'t Target<'t>,
    ) -> impl Iterator<Item = (&'a Release, &'a Arc<CatalogRevision>)> + use<'a, 't> {
        let open = snap.places().filter(|place| place[0].channel.branch.is_none());
        // For all architectures, each release is a place of its own.
        let together = if target.architecture.is_some() { usize::MAX } else { 1 };
        let places = open.flat_map(move |place| place.chunks(together));
        places.filter_map(move |place| self.shown(snap, place, target))
    }

    fn shown<'a>(
        &'a self,
        snap: &'a Snap,
        place: &'a [Release],
        target: &Target<'_>,
    ) -> Option<(&'a Release, &'a Arc<CatalogRevision>)> {
        let ask = Ask::default();
        let question = Question {
            catalog: self,
            snap,
            target,
            ask: &ask,
            pinned: None,
            place,
            kept: None,
            gates: Vec::new(),
        };
        let (_, Pick::Release(release)) = question.pick(&mut unheard)? else { return None };
        let fitting = question.fitting(release, &mut unheard).ok();
        Some((release, fitting.or_else(|| snap.revisions.get(&release.revision))?))
    }

    /// What devices get while a released file is damaged, in sentences.
    pub(crate) fn stand_ins(&self, snap: &Snap, now_micros: i64) -> Vec<String> {
        let damaged = |release: &&Release| {
            snap.revisions.get(&release.revision).is_some_and(|revision| revision.is_damaged())
        };
        let sentence = |release: &Release| {
            let architecture = Some(&*release.architecture).filter(|_| !release.architecture.is_all());
            let target = Target { architecture, ..Target::anyone(now_micros) };
            let place = slice::from_ref(release);
            let instead = self.shown(snap, place, &target).filter(|(_, shown)| !shown.is_damaged());
            let what =
                instead.map_or("nothing".to_owned(), |(_, shown)| format!("revision {}", shown.number));
            let Release { channel, architecture, revision, .. } = release;
            format!(
                "Devices that follow {} {channel} ({architecture}) are offered {what} until revision {revision} is whole.",
                snap.name
            )
        };
        snap.releases.iter().filter(damaged).map(sentence).collect()
    }
}

impl Snap {
    /// The releases of each channel.
    fn places(&self) -> impl Iterator<Item = &[Release]> {
        self.releases.chunk_by(|one, other| one.channel == other.channel)
    }

    /// Where a device that follows `wanted` ends: that channel, its risk if the branch does not exist, or the next
    /// safer open risk.
    pub(super) fn place<'a>(
        &'a self,
        wanted: &Channel,
        architecture: Option<&str>,
        told: &mut impl FnMut(Step<'a>),
    ) -> &'a [Release] {
        let on = |risk: Risk| Channel { track: wanted.track.clone(), risk, branch: None };
        let branch = wanted.branch.is_some().then(|| wanted.clone());
        for channel in branch.into_iter().chain(wanted.risk.and_safer().map(on)) {
            let here = self.places().find(|place| place[0].channel == channel);
            let open = here
                .filter(|place| place.iter().any(|release| self.offered(release, architecture).is_some()));
            if let Some(place) = open {
                told(Step::Ends(&place[0].channel));
                return place;
            }
            told(Step::Closed(channel));
        }
        &[]
    }
}
