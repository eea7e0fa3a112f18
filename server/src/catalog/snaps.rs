//! Snaps as devices see them: facts for decisions, and JSON written once per import.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use schema::bundle::SnapYaml;
use schema::digest::Sha3_384;
use schema::store::{Architecture, Channel, Confinement, Epoch, SnapId, SnapName, SnapType, StoreId, Track};

use crate::storage::blobs::block_checks::BlockChecks;
use crate::storage::records::{Origin, PairRecord, ReleaseRecord, SnapRecord};

/// A snap with all that is held of it.
#[derive(Clone)]
pub(crate) struct Snap {
    /// Its permanent id.
    pub(crate) id: SnapId,
    /// Its name.
    pub(crate) name: SnapName,
    /// Its type.
    pub(super) kind: SnapType,
    /// Whether only its store's devices may see it.
    pub(super) private: bool,
    /// The stores it was pushed for.
    pub(crate) stores: Vec<StoreId>,
    /// The store's answer about it, as JSON.
    pub(super) text: Box<str>,
    /// One line about it.
    pub(crate) summary: String,
    /// Its publisher, from its declaration.
    pub(super) publisher_id: Option<String>,
    /// Snaps whose revisions need its approval.
    pub(crate) gates: Vec<String>,
    /// The default track.
    pub(crate) default_track: Track,
    /// All held revisions, by number.
    pub(crate) revisions: BTreeMap<u32, Arc<CatalogRevision>>,
    /// The channel map: default track first, then by track, risk, branch and architecture.
    pub(crate) releases: Vec<Release>,
    /// The channel map as it was imported, without overrides.
    pub(crate) imported: Vec<ReleaseRecord>,
    /// The operator's overrides.
    pub(crate) overrides: Vec<ReleaseRecord>,
    /// Channels that the operator closed, for all architectures; no import opens them by itself.
    pub(crate) closed: Vec<ReleaseRecord>,
    /// Files of its components' revisions, by name and number.
    pub(crate) components: BTreeMap<(String, u32), Arc<Blob>>,
    /// Which component revisions go with which of its revisions.
    pub(crate) pairs: Vec<PairRecord>,
    /// Aliases of its apps, each with the app.
    pub(crate) aliases: Vec<(String, String)>,
    /// Names of the categories it is listed under.
    pub(crate) categories: Vec<String>,
    /// Ids that desktop software knows it by.
    pub(crate) common_ids: Vec<String>,
    /// Its title for people, or its name where it has none.
    pub(crate) title: String,
    /// Lower case text that a search looks through.
    pub(crate) haystack: Box<str>,
    /// Its name and its id as members of an answer's object.
    pub(crate) identity: Box<str>,
    /// Members of the `snap` object of info and find, without braces, publisher and media.
    pub(super) about: Box<str>,
    /// Its icon, which may be held or not.
    pub(super) icon: Option<Icon>,
}

/// The icon of a snap.
#[derive(Clone)]
pub(super) struct Icon {
    /// Its file.
    pub(super) digest: Sha3_384,
    /// The ending of its name.
    pub(super) format: String,
    /// Its entry in the list of media.
    pub(super) media: Box<str>,
}

/// One revision of a snap.
pub(crate) struct CatalogRevision {
    /// The store's number for it.
    pub(crate) number: u32,
    /// The publisher's version text.
    pub(crate) version: String,
    /// Its architectures.
    pub(crate) architectures: Vec<Architecture>,
    /// The base it needs.
    pub(crate) base: Option<String>,
    /// What it reads and writes.
    pub(crate) epoch: Epoch,
    /// Its confinement.
    pub(crate) confinement: Confinement,
    /// Names of its apps, parsed on first use.
    pub(super) apps: OnceLock<Vec<String>>,
    /// Its file.
    pub(crate) blob: Arc<Blob>,
    /// Members of the `snap` object of a refresh answer, without braces, snap.yaml and components.
    pub(crate) json: Box<str>,
    /// `"snap-yaml": …`
    pub(crate) snap_yaml_json: Box<str>,
    /// The components that go with it, each an object of `resources`, with their files.
    pub(crate) resources: Vec<(Arc<Blob>, Box<str>)>,
}

/// One entry of the channel map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// The channel.
    pub(crate) channel: Channel,
    /// The architecture.
    pub(crate) architecture: Architecture,
    /// The revision.
    pub(crate) revision: u32,
    /// When it was released, RFC 3339 with zone.
    pub(crate) released_at: String,
    /// Whether the operator's override or the imported channel map says so.
    pub(crate) origin: Origin,
}

/// A stored file.
pub(crate) struct Blob {
    /// Its name and content.
    pub(crate) digest: Sha3_384,
    /// Bytes.
    pub(crate) size: u64,
    /// Its strong entity tag, quotes included.
    pub(crate) etag: String,
    /// The hash of each MiB.
    pub(crate) checks: Arc<BlockChecks>,
}

impl CatalogRevision {
    /// Names of its apps. Only the daily catalogue needs them, so they are parsed on first use.
    pub(crate) fn apps(&self) -> &[String] {
        self.apps.get_or_init(|| SnapYaml::parse(&self.snap_yaml()).map(|yaml| yaml.apps).unwrap_or_default())
    }

    /// Its snap.yaml.
    pub(crate) fn snap_yaml(&self) -> String {
        let member: Option<HashMap<String, String>> =
            serde_json::from_str(&format!("{{{}}}", self.snap_yaml_json)).ok();
        member.and_then(|mut member| member.remove("snap-yaml")).unwrap_or_default()
    }

    /// Appends `"resources":[…]`, without the components whose file is known to be damaged.
    pub(crate) fn push_resources(&self, out: &mut String) {
        let sound = self.resources.iter().filter(|(blob, _)| !blob.checks.is_damaged());
        let sound: Vec<&str> = sound.map(|(_, json)| &**json).collect();
        out.push_str("\"resources\":[");
        out.push_str(&sound.join(","));
        out.push(']');
    }

    /// Whether its file is known to be damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.blob.checks.is_damaged()
    }

    /// Whether a device of this architecture can run it; `None` matches all.
    pub(crate) fn runs_on(&self, architecture: Option<&str>) -> bool {
        architecture
            .is_none_or(|wanted| self.architectures.iter().any(|own| own.is_all() || &**own == wanted))
    }
}

impl Release {
    /// Whether it is for devices of this architecture; `None` matches all.
    pub(crate) fn is_for(&self, architecture: Option<&str>) -> bool {
        architecture.is_none_or(|wanted| self.architecture.is_all() || &*self.architecture == wanted)
    }
}

impl Snap {
    /// Whether the global store shows it to everybody.
    pub(crate) fn is_public(&self) -> bool {
        !self.private && self.stores.iter().any(StoreId::is_global)
    }

    /// Its imported record.
    pub(crate) fn record(&self) -> SnapRecord {
        SnapRecord {
            snap_id: self.id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            private: self.private,
            stores: self.stores.clone(),
            // The text was serialised from a value.
            text: serde_json::from_str(&self.text).unwrap_or_default(),
        }
    }

    /// Intact revisions below that of a release, newest first, which may have been there before: none that is released only
    /// elsewhere.
    pub(super) fn older<'a>(
        &'a self,
        release: &'a Release,
        newest: &'a CatalogRevision,
        architecture: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<CatalogRevision>> {
        let older = self.revisions.range(..newest.number).rev().map(|(_, revision)| revision);
        older.filter(move |revision| {
            revision.runs_on(architecture)
                && !revision.is_damaged()
                && self.may_stand_in(revision.number, &release.channel)
        })
    }

    /// Whether a revision is released nowhere, or where a device that follows this channel may end.
    fn may_stand_in(&self, number: u32, channel: &Channel) -> bool {
        let mut places = self.releases.iter().filter(|release| release.revision == number).peekable();
        places.peek().is_none()
            || places.any(|Release { channel: place, .. }| {
                place.track == channel.track
                    && place.risk <= channel.risk
                    && (place.branch.is_none() || place.branch == channel.branch)
            })
    }

    /// A release's revision, if a device of this architecture may get it.
    pub(super) fn offered<'a>(
        &'a self,
        release: &'a Release,
        architecture: Option<&str>,
    ) -> Option<(&'a Release, &'a Arc<CatalogRevision>)> {
        let revision = self.revisions.get(&release.revision)?;
        (release.is_for(architecture) && revision.runs_on(architecture)).then_some((release, revision))
    }
}
