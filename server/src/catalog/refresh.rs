//! Which revision a device gets: the decision behind each action of a refresh. See
//! `schema/docs/store-api.md#channel-resolution`.

use std::collections::HashMap;
use std::sync::Arc;

use schema::api::device::{Action, Installed};
use schema::assertion::{AssertionType, Details, Ref};
use schema::store::{Channel, ChannelRequest, Epoch, SERIES};

use super::{Held, Revision, Snap, View};

/// The revision offered.
pub(crate) struct Answer<'a> {
    /// The snap.
    pub(crate) snap: &'a Snap,
    /// The revision.
    pub(crate) revision: &'a Arc<Revision>,
    /// The channel it was found in.
    pub(crate) effective: Channel,
    /// When it was released there; `None` if the channel does not lead to this revision.
    pub(crate) released_at: Option<&'a str>,
    /// The channel to follow instead of the requested one.
    pub(crate) redirect: Option<Channel>,
}

/// Why nothing is offered.
pub(crate) enum Refusal<'a> {
    /// The caller sees no such snap.
    NotFound,
    /// The snap has no release there, but elsewhere.
    NothingThere(&'a Snap),
    /// The file to be offered is damaged, and no other revision can replace it.
    Damaged(&'a Snap),
    /// The request is invalid.
    Invalid(String),
}

impl<'a> View<'a> {
    /// Answers an install or download.
    pub(crate) fn install(
        &self,
        action: &Action,
        context: &[Installed],
        architecture: Option<&str>,
    ) -> Result<Answer<'a>, Refusal<'a>> {
        let by_name = action.name.as_deref().and_then(|name| self.snap_named(name));
        let snap = match (&action.name, &action.snap_id) {
            (Some(_), Some(id)) => by_name.filter(|snap| snap.id == *id),
            (Some(_), None) => by_name,
            (None, Some(id)) => self.snap(id),
            (None, None) => None,
        };
        let snap = snap.ok_or(Refusal::NotFound)?;
        self.choose(snap, action, None, context, architecture)
    }

    /// Answers the refresh of an installed snap.
    pub(crate) fn refresh(
        &self,
        action: &Action,
        installed: &HashMap<&str, &Installed>,
        context: &[Installed],
        architecture: Option<&str>,
    ) -> Result<Answer<'a>, Refusal<'a>> {
        let own = installed.get(action.instance_key.as_str()).copied();
        let id = action.snap_id.as_deref().or(own.map(|own| own.snap_id.as_str()));
        let snap = id.and_then(|id| self.snap(id)).ok_or(Refusal::NotFound)?;
        self.choose(snap, action, own, context, architecture)
    }

    fn choose(
        &self,
        snap: &'a Snap,
        action: &Action,
        installed: Option<&Installed>,
        context: &[Installed],
        architecture: Option<&str>,
    ) -> Result<Answer<'a>, Refusal<'a>> {
        let tracked = installed.map(|own| own.tracking_channel.as_str());
        let asked = action.channel.as_deref().or(tracked).filter(|channel| !channel.is_empty());
        let request = match asked {
            Some(text) => text.parse().map_err(|error| Refusal::Invalid(format!("{error}")))?,
            None => ChannelRequest::default(),
        };
        let wanted = request.on(&snap.default_track);
        if let Some(number) = action.revision.filter(|number| *number != 0) {
            // A revision requested by number is served if it is held, released or not.
            let held = u32::try_from(number).ok().and_then(|number| snap.revisions.get(&number));
            let revision =
                held.filter(|held| held.runs_on(architecture)).ok_or(Refusal::NothingThere(snap))?;
            let has_it = installed.is_some_and(|own| own.revision == number);
            if revision.is_damaged() && !has_it {
                return Err(Refusal::Damaged(snap));
            }
            let release = snap.release_of(revision.number, &wanted, architecture);
            return Ok(Answer {
                snap,
                revision,
                effective: release.map_or(wanted, |release| release.channel.clone()),
                released_at: release.map(|release| &*release.released_at),
                redirect: None,
            });
        }
        let (release, newest) = snap.resolve(&wanted, architecture).ok_or(Refusal::NothingThere(snap))?;
        let epoch = action.epoch.as_ref().or(installed.and_then(|own| own.epoch.as_ref()));
        let gates = if action.ignore_validation { Vec::new() } else { self.gates_of(snap, context) };
        let fits = |revision: &Revision| self.fits(snap, revision, epoch, &gates);
        let revision = if fits(newest) && !newest.is_damaged() {
            newest
        } else {
            // Keep what the device has rather than replace it with an older revision.
            let have = installed.and_then(|own| u32::try_from(own.revision).ok()).unwrap_or_default();
            let older = snap.older(release, newest, architecture);
            let mut between = older.take_while(|revision| revision.number > have);
            let nothing =
                if newest.is_damaged() { Refusal::Damaged(snap) } else { Refusal::NothingThere(snap) };
            between.find(|revision| fits(revision)).or_else(|| snap.revisions.get(&have)).ok_or(nothing)?
        };
        let released = revision.number == release.revision;
        let redirect = (request.track.is_none() && snap.default_track.as_str() != "latest").then_some(wanted);
        Ok(Answer {
            snap,
            revision,
            effective: release.channel.clone(),
            released_at: released.then_some(&*release.released_at),
            redirect,
        })
    }

    /// The installed snaps whose publishers must approve revisions of `snap`.
    fn gates_of(&self, snap: &Snap, context: &[Installed]) -> Vec<String> {
        let gating =
            |own: &&Installed| self.snap(&own.snap_id).is_some_and(|gate| gate.gates.contains(&snap.id));
        context.iter().filter(gating).map(|own| own.snap_id.clone()).collect()
    }

    /// Whether the device can move to this revision, and every gate has approved it.
    fn fits(&self, snap: &Snap, revision: &Revision, epoch: Option<&Epoch>, gates: &[String]) -> bool {
        let reads = epoch.is_none_or(|installed| revision.epoch.can_follow(installed));
        reads
            && gates.iter().all(|gate| {
                let key = vec![SERIES.into(), gate.clone(), snap.id.clone(), revision.number.to_string()];
                let found = self.catalog.assertions.newest(&Ref { kind: AssertionType::Validation, key }, 0);
                found.and_then(Held::decode).is_some_and(|found| match found.details() {
                    Details::Validation(validation) => !validation.revoked,
                    _ => false,
                })
            })
    }
}
