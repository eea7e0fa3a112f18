//! Plans the import of a snap bundle once every file has its revision.

use std::collections::BTreeSet;

use schema::api::admin::{PushedRevision, PushedSnap, PushedSnaps, TrackMove};
use schema::assertion::{AssertionType, Details, SnapResourcePair};
use schema::bundle::{ChannelMapEntry, ManifestRelease, SnapYaml};
use schema::digest::Sha3_384;
use schema::store::{Architecture, Risk, SnapId, SnapType, StoreId, Track};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::channels::{self, Situation, WantedRelease};
use super::documents::Documents;
use super::place::{Placed, PlacedComponent, SnapFiles, place_files, place_metadata};
use super::receive::{Bundle, ComponentFile, SnapFile};
use super::visibility::{Views, settle};
use super::{Context, ImportError, KnownState};
use crate::storage::records::{
    Change, ComponentRecord, ImportRecord, OF_REVISION, PairRecord, RevisionRecord, SnapRecord,
};

/// The operator's options for a bundle.
#[derive(Debug, Clone, Default)]
pub(crate) struct SnapOptions {
    /// The store to push for, instead of the bundle's.
    pub(crate) store: Option<StoreId>,
    /// Apply the channel map even if it takes something back.
    pub(crate) push_channel_map: bool,
    /// Whether to apply the channel map even if the bundle has no new revision. An older map is never applied.
    pub(crate) synchronise: bool,
    /// Whether exactly this file was imported before.
    pub(crate) imported_before: bool,
    /// The allowed visibility.
    pub(crate) views: Views,
}

/// Plans the import of a snap bundle. Rejects the whole bundle if anything in it is wrong.
pub(crate) fn plan_snaps(
    known: &dyn KnownState,
    bundle: &Bundle,
    options: &SnapOptions,
    cx: &Context,
) -> Result<(Change, PushedSnaps), ImportError> {
    match bundle.stores {
        // An archive's stores must not be imported unnoticed.
        Some(_) => Err(ImportError::IsArchive),
        None => {
            let (mut change, mut report) = plan_contents(known, bundle, options, cx)?;
            report.visibility = settle(known, &mut change, &options.views)?;
            if let Some(import) = &mut change.import {
                import.summary["visibility"] = json!(report.visibility);
            }
            Ok((change, report))
        }
    }
}

/// Plans the import of all snaps and assertions of a bundle or archive.
pub(super) fn plan_contents(
    known: &dyn KnownState,
    bundle: &Bundle,
    options: &SnapOptions,
    cx: &Context,
) -> Result<(Change, PushedSnaps), ImportError> {
    let documents = Documents::check(known, &bundle.assertions, &bundle.proof, "the bundle", cx)?;
    let mut report = PushedSnaps { warnings: documents.warnings().collect(), ..PushedSnaps::default() };
    let mut parts = place_files(known, &documents, bundle)?;
    for metadata in &bundle.metadata {
        place_metadata(known, metadata, &mut parts, &mut report.warnings)?;
    }
    let no_document = documents.verified.is_empty() && documents.already_held.is_empty();
    if parts.is_empty() && no_document && bundle.stores.is_none() {
        return Err(ImportError::Empty);
    }
    let releases = bundle.manifest.as_ref().map(|manifest| &manifest.releases[..]).unwrap_or_default();
    if !releases.is_empty() && parts.len() != 1 {
        return Err(ImportError::AmbiguousReleases(parts.len()));
    }
    parts.values().try_for_each(|part| check_releases(releases, part))?;
    if options.imported_before {
        let file = cx.file_name.as_deref().unwrap_or("This file");
        report
            .warnings
            .push(format!("What {file} holds was imported before; nothing is lost by importing it again"));
    }
    if bundle.manifest.is_none() {
        report
            .warnings
            .push("The bundle has no manifest.json: whether it is complete cannot be checked".into());
    }
    if parts.is_empty() && bundle.stores.is_none() {
        report.warnings.push("The bundle holds no snap: only its assertions were taken".into());
    }
    if !bundle.ignored.is_empty() {
        report.warnings.push(format!("Ignored {} in the bundle: nothing needs it", list(&bundle.ignored)));
    }

    let store = options.store.clone().or_else(|| bundle.manifest.as_ref()?.store.clone());
    let store = store.unwrap_or_else(StoreId::global);
    let names: BTreeSet<&str> = parts.values().map(|part| part.name.as_str()).collect();
    let subject = match names.is_empty() {
        true => format!("{} assertions", bundle.assertions.len()),
        false => names.iter().copied().collect::<Vec<_>>().join(" "),
    };
    let detail = json!({
        "file": bundle.file_digest.clone(),
        "store": store.as_str(),
        "push-channel-map": options.push_channel_map,
        "revisions": parts.values().map(|part| json!({ part.name.as_str(): part.snaps.keys().collect::<Vec<_>>() }))
            .collect::<Vec<_>>(),
    });
    let mut change = cx.change("push-snaps", subject, detail);
    for (snap_id, part) in &parts {
        let planner = Planner { known, documents: &documents, bundle, options, cx, snap_id, part };
        let elsewhere = bundle.manifest.as_ref().and_then(|manifest| manifest.stores.get(part.name.as_str()));
        let home = elsewhere.filter(|_| options.store.is_none()).unwrap_or(&store);
        planner.plan(home, &names, &mut change, &mut report);
    }
    change.assertions = documents.verified;
    change.import = Some(ImportRecord {
        file_digest: bundle.file_digest.clone(),
        kind: "snaps".into(),
        summary: json!({ "snaps": report.snaps, "warnings": report.warnings }),
    });
    Ok((change, report))
}

/// A manifest may release what is held and went without its file. A file that came along though it was held is what the
/// manifest is about, so it must not release another revision in its place.
fn check_releases(releases: &[ManifestRelease], part: &SnapFiles<'_>) -> Result<(), ImportError> {
    let is_released = |number: &u32| releases.iter().any(|release| release.revision == *number);
    let absent = releases.iter().find(|release| !part.snaps.contains_key(&release.revision));
    let unnamed = part.snaps.iter().find(|(number, placed)| placed.held && !is_released(number));
    match (absent, unnamed) {
        (Some(absent), Some((number, placed))) => Err(ImportError::OtherRevision {
            wanted: absent.revision,
            file: placed.file.name.clone(),
            revision: *number,
        }),
        _ => Ok(()),
    }
}

/// Plans the changes to one snap.
struct Planner<'a> {
    known: &'a dyn KnownState,
    documents: &'a Documents<'a>,
    bundle: &'a Bundle,
    options: &'a SnapOptions,
    cx: &'a Context,
    snap_id: &'a SnapId,
    part: &'a SnapFiles<'a>,
}

impl Planner<'_> {
    fn plan(&self, store: &StoreId, names: &BTreeSet<&str>, change: &mut Change, report: &mut PushedSnaps) {
        let (part, known) = (self.part, self.known.snap(self.snap_id));
        let icons = self.bundle.icons.iter().filter(|icon| *icon.snap == *part.name);
        change.blobs.extend(icons.map(|icon| icon.blob.clone()));
        for placed in part.snaps.values() {
            change.blobs.push(placed.file.blob.clone());
            if !placed.held {
                change.revisions.push(self.revision(placed));
                let base = placed.file.yaml.base.as_deref();
                if let Some(base) =
                    base.filter(|base| !names.contains(base) && !self.known.has_snap_named(base))
                {
                    report.warnings.push(format!("Base {base} of {} was not pushed yet", part.name));
                }
            }
        }
        for placed in part.components.values() {
            change.blobs.push(placed.file.blob.clone());
            change.components.push(self.component(placed));
        }
        let pairs = self.pairs();
        for placed in part.components.values() {
            let fits = |pair: &&PairRecord| {
                pair.component == placed.name && pair.component_revision == placed.revision
            };
            if !pairs.iter().any(|pair| fits(&pair)) {
                report.warnings.push(format!(
                    "Component {} revision {} goes with no revision of {} that was pushed",
                    placed.name, placed.revision, part.name
                ));
            }
        }

        let held = self.known.imported_releases(self.snap_id);
        let closed = self.known.closed_channels(self.snap_id);
        let rolling = self.known.rolling_out(self.snap_id);
        let (wanted, whole) = self.wanted();
        let new: BTreeSet<u32> =
            part.snaps.iter().filter(|(_, placed)| !placed.held).map(|(number, _)| *number).collect();
        // An archive and a manifest may move channels of held revisions, but not a second time.
        let may_move = (self.options.synchronise || !whole) && !self.options.imported_before;
        let situation = Situation {
            snap_id: self.snap_id,
            name: &part.name,
            held: &held,
            closed: &closed,
            rolling: rolling.as_ref().map(|(channel, rollout)| (channel, rollout.as_str())),
            whole,
            speaks: known.is_none() || !new.is_empty() || may_move,
            new: &new,
            insists: self.options.push_channel_map,
            now: self.cx.now,
        };
        let map = channels::plan(&wanted, |revision| self.exists(revision), &situation);
        report.warnings.extend(map.warnings);
        if map.replaces {
            change.replace_channel_map_of.push(self.snap_id.clone());
        }
        change.releases_closed.extend(map.closed);
        change.releases.extend(map.releases);
        for revision in part.snaps.keys() {
            if !map.outcome.iter().any(|release| release.revision == *revision) {
                report.warnings.push(format!("No channel leads to revision {revision} of {}", part.name));
            }
        }
        let channels = map.outcome.iter().filter(|release| part.snaps.contains_key(&release.revision));
        let snap = self.snap(known, store, map.written);
        report.snaps.push(PushedSnap {
            name: part.name.to_string(),
            snap_id: self.snap_id.to_string(),
            store: store.to_string(),
            revisions: self.pushed_revisions(&pairs),
            channel_map_updated: map.written,
            channels: channels.map(channels::describe).collect(),
            moves: map.moves,
            left: map.left,
            default_track: track_move(self.known.snap(self.snap_id).as_ref(), &snap),
        });
        change.snaps.push(snap);
        change.pairs.extend(pairs);
    }

    /// Whether the revision is stored or in the bundle.
    fn exists(&self, revision: u32) -> bool {
        self.part.snaps.contains_key(&revision) || self.known.revision(self.snap_id, revision).is_some()
    }

    fn snap(&self, known: Option<SnapRecord>, store: &StoreId, map_written: bool) -> SnapRecord {
        let newest = self.part.snaps.values().next_back().map(|placed| &placed.file.yaml);
        let stores = vec![store.clone()];
        match known {
            // The texts go along with the channel map: an older bundle changes neither.
            Some(known) if self.part.metadata.is_none() || !map_written => {
                let mut record = SnapRecord { stores, name: self.part.name.clone(), ..known };
                self.set_icon(&mut record.text, None);
                record
            }
            known => {
                let private = self.part.metadata.and_then(|metadata| metadata.snap.private);
                let mut text = self.text(newest);
                self.set_icon(&mut text, known.as_ref().and_then(|known| known.text.get("icon")));
                SnapRecord {
                    snap_id: self.snap_id.clone(),
                    name: self.part.name.clone(),
                    kind: newest
                        .map(|yaml| yaml.kind)
                        .or_else(|| known.as_ref().map(|known| known.kind))
                        .unwrap_or(SnapType::App),
                    private: private.or(known.map(|known| known.private)).unwrap_or(false),
                    stores,
                    text,
                }
            }
        }
    }

    /// The bundle's icon, else the previous one.
    fn set_icon(&self, text: &mut Value, before: Option<&Value>) {
        let brought = self.bundle.icons.iter().find(|icon| *icon.snap == *self.part.name);
        let brought =
            brought.map(|icon| json!({ "format": icon.format, "sha3-384": icon.blob.digest.to_hex() }));
        if let Some(icon) = brought.or_else(|| before.cloned()) {
            text["icon"] = icon;
        }
    }

    fn text(&self, newest: Option<&SnapYaml>) -> Value {
        let mut text = match self.part.metadata.map(|metadata| serde_json::to_value(&metadata.snap)) {
            Some(Ok(Value::Object(text))) => text,
            _ => Map::new(),
        };
        text.remove("private");
        let track = self.part.metadata.and_then(|metadata| metadata.default_track.as_ref());
        if let Some(track) = track {
            text.insert("default-track".into(), track.as_str().into());
        }
        if let Some(metadata) = self.part.metadata {
            let track = track.cloned().unwrap_or_else(Track::latest);
            let is_default = |entry: &&ChannelMapEntry| {
                entry.channel.track == track
                    && entry.channel.risk == Risk::Stable
                    && entry.channel.branch.is_none()
            };
            let of_default = metadata.channel_map.iter().filter(is_default).map(|entry| entry.revision).max();
            let of = of_default.or_else(|| metadata.channel_map.iter().map(|entry| entry.revision).max());
            text.insert(OF_REVISION.into(), of.unwrap_or(u32::MAX).into());
        }
        if let Some(yaml) = newest {
            let own = [
                ("title", &yaml.title),
                ("summary", &yaml.summary),
                ("description", &yaml.description),
                ("license", &yaml.license),
            ];
            for (key, value) in own {
                if let (Some(value), false) = (value, text.contains_key(key)) {
                    text.insert(key.into(), value.as_str().into());
                }
            }
        }
        Value::Object(text)
    }

    fn revision(&self, placed: &Placed<'_>) -> RevisionRecord {
        let SnapFile { blob, yaml, yaml_text, .. } = placed.file;
        RevisionRecord {
            snap_id: self.snap_id.clone(),
            revision: placed.revision,
            blob: blob.digest,
            size: blob.size,
            version: yaml.version.clone(),
            architectures: yaml.architectures.clone(),
            base: yaml.base.clone(),
            epoch: yaml.epoch.clone(),
            confinement: yaml.confinement,
            kind: yaml.kind,
            provenance: yaml.provenance.clone(),
            snap_yaml: yaml_text.clone(),
            created_at: Some(placed.created_at.clone()),
        }
    }

    fn component(&self, placed: &PlacedComponent<'_>) -> ComponentRecord {
        let ComponentFile { blob, yaml, .. } = placed.file;
        ComponentRecord {
            snap_id: self.snap_id.clone(),
            name: placed.name.clone(),
            revision: placed.revision,
            blob: blob.digest,
            size: blob.size,
            kind: yaml.kind.clone(),
            version: yaml.version.clone(),
            provenance: yaml.provenance.clone(),
        }
    }

    /// Pairs whose two sides are here.
    fn pairs(&self) -> Vec<PairRecord> {
        let complete = |pair: &SnapResourcePair| {
            let component = (pair.resource_name.clone(), pair.resource_revision);
            let held =
                || -> Option<Sha3_384> { self.known.component(self.snap_id, &component.0, component.1) };
            pair.snap_id == **self.snap_id
                && self.exists(pair.snap_revision)
                && (self.part.components.contains_key(&component) || held().is_some())
        };
        let brought = self.documents.brought(AssertionType::SnapResourcePair);
        let records = brought.filter_map(|found| match found.details() {
            Details::SnapResourcePair(pair) if complete(pair) => Some(PairRecord {
                snap_id: self.snap_id.clone(),
                snap_revision: pair.snap_revision,
                component: pair.resource_name.clone(),
                component_revision: pair.resource_revision,
            }),
            _ => None,
        });
        records.collect()
    }

    /// The releases in the bundle, and whether they are the whole channel map.
    fn wanted(&self) -> (Vec<WantedRelease>, bool) {
        if let Some(manifest) = self.bundle.manifest.as_ref().filter(|manifest| !manifest.releases.is_empty())
        {
            let written =
                manifest.time.as_deref().and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
            let mut wanted = Vec::new();
            for release in &manifest.releases {
                for channel in &release.channels {
                    for architecture in self.architectures(release.revision) {
                        wanted.push(WantedRelease {
                            channel: channel.clone(),
                            architecture,
                            revision: release.revision,
                            released_at: Some(written.unwrap_or(self.cx.now)),
                        });
                    }
                }
            }
            return (wanted, false);
        }
        let entries = self.part.metadata.map(|metadata| &metadata.channel_map[..]).unwrap_or_default();
        let wanted = entries.iter().map(|entry| WantedRelease {
            channel: entry.channel.clone(),
            architecture: entry.architecture.clone(),
            revision: entry.revision,
            released_at: entry.released_at,
        });
        (wanted.collect(), true)
    }

    /// A revision's architectures; `all` for one that is not here, for the message.
    fn architectures(&self, revision: u32) -> Vec<Architecture> {
        match self.part.snaps.get(&revision) {
            Some(placed) => placed.file.yaml.architectures.clone(),
            None => match self.known.revision(self.snap_id, revision) {
                Some(held) => held.architectures,
                None => vec![Architecture::all()],
            },
        }
    }

    fn pushed_revisions(&self, pairs: &[PairRecord]) -> Vec<PushedRevision> {
        let brought = |pair: &&PairRecord| {
            self.part.components.contains_key(&(pair.component.clone(), pair.component_revision))
        };
        let paired = pairs.iter().filter(brought);
        let revisions: BTreeSet<u32> =
            self.part.snaps.keys().copied().chain(paired.clone().map(|pair| pair.snap_revision)).collect();
        let pushed = revisions.into_iter().map(|revision| PushedRevision {
            revision,
            already_held: self.part.snaps.get(&revision).is_none_or(|placed| placed.held),
            components: paired
                .clone()
                .filter(|pair| pair.snap_revision == revision)
                .map(|pair| format!("{} {}", pair.component, pair.component_revision))
                .collect(),
        });
        pushed.collect()
    }
}

/// Does the track change that devices follow which name none?
fn track_move(before: Option<&SnapRecord>, after: &SnapRecord) -> Option<TrackMove> {
    let track = |snap: &SnapRecord| snap.text["default-track"].as_str().unwrap_or("latest").to_owned();
    let (before, after) = (track(before?), track(after));
    (before != after).then_some(TrackMove { before, after })
}

/// The first few of many names.
fn list(names: &[String]) -> String {
    match names.len() {
        0..=5 => names.join(", "),
        count => format!("{}, and {} more", names[..5].join(", "), count - 5),
    }
}
