//! From rows to a catalog: every decision and every piece of JSON that need not be made per request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use schema::assertion::{Anchors, Assertion, AssertionType, Details, Ref};
use schema::digest::Sha3_384;
use schema::store::{Architecture, Channel, DeviceId, Epoch, SERIES, Track};
use serde_json::{Map, Value, json};

use super::sharing::hands_out;
use super::{Assertions, Blob, Catalog, Release, Revision, Snap};
use crate::http::BlockChecks;
use crate::http::routes::{component_path, icon_path, snap_path};
use crate::storage::records::{
    BlobRecord, ComponentRecord, LoginRecord, Origin, PairRecord, ReleaseRecord, RevisionRecord, SnapRecord,
    Snapshot, StoreRecord,
};

/// A database that holds what no import writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CompileError {
    /// A trust anchor that was stored cannot be read.
    #[error("cannot use the stored trust anchor {0}")]
    Anchor(String, #[source] schema::assertion::AnchorError),
    /// A row names something that is not there.
    #[error("cannot find {what} that {whose} names")]
    Dangling {
        /// What is missing.
        what: String,
        /// Which row names it.
        whose: String,
    },
    /// A row holds what cannot be parsed.
    #[error("cannot read {what} of {whose}")]
    Unreadable {
        /// Which column.
        what: &'static str,
        /// Of which row.
        whose: String,
    },
}

/// Rows sorted to their snaps, while a catalog is made.
#[derive(Default)]
struct Parts {
    revisions: Vec<RevisionRecord>,
    components: Vec<ComponentRecord>,
    pairs: Vec<PairRecord>,
    releases: Vec<ReleaseRecord>,
}

impl Catalog {
    /// Compiles a snapshot. Links begin with `base_url`. What `before` knows of blobs that are still there, the
    /// parts that were checked and the damage that was found, is kept.
    pub(crate) fn compile(
        snapshot: Snapshot,
        base_url: &str,
        before: Option<&Catalog>,
    ) -> Result<Self, CompileError> {
        let anchors = anchors(&snapshot)?;
        let mut assertions = Assertions::default();
        for assertion in snapshot.assertions {
            assertions.add(assertion);
        }
        let mut blobs = HashMap::with_capacity(snapshot.blobs.len());
        for record in &snapshot.blobs {
            blobs.insert(record.digest, blob(record, before)?);
        }

        let mut parts: HashMap<String, Parts> = HashMap::new();
        for row in snapshot.revisions {
            parts.entry(row.snap_id.clone()).or_default().revisions.push(row);
        }
        for row in snapshot.components {
            parts.entry(row.snap_id.clone()).or_default().components.push(row);
        }
        for row in snapshot.pairs {
            parts.entry(row.snap_id.clone()).or_default().pairs.push(row);
        }
        for row in snapshot.releases {
            parts.entry(row.snap_id.clone()).or_default().releases.push(row);
        }
        let making = Making { base_url, assertions: &assertions, anchors: &anchors, blobs: &blobs };
        let mut granted = making.granted(&snapshot.snaps, &snapshot.stores);
        let mut snaps = Vec::with_capacity(snapshot.snaps.len());
        for record in snapshot.snaps {
            let granted = granted.remove(&record.snap_id).unwrap_or_default();
            let parts = parts.remove(&record.snap_id).unwrap_or_default();
            snaps.push(Arc::new(making.snap(record, parts, granted)?));
        }
        snaps.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));

        let mut by_id = HashMap::new();
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, snap) in snaps.iter().enumerate() {
            by_id.insert(snap.id.clone(), at);
            by_name.entry(snap.name.clone()).or_default().push(at);
        }
        Ok(Self {
            generation: snapshot.generation,
            logins: logins(&snapshot.meta)?,
            base_url: base_url.to_owned(),
            meta: snapshot.meta,
            stores: snapshot.stores.into_iter().map(|store| (store.store_id.clone(), store)).collect(),
            blocked: snapshot
                .blocked
                .into_iter()
                .map(|(brand, model, serial)| DeviceId { brand, model, serial })
                .collect(),
            anchors,
            assertions,
            snaps,
            by_id,
            by_name,
            blobs,
        })
    }
}

fn logins(meta: &BTreeMap<String, String>) -> Result<BTreeMap<String, LoginRecord>, CompileError> {
    let facts = meta.iter().filter_map(|(name, text)| Some((name.strip_prefix(LoginRecord::PREFIX)?, text)));
    let read = |(id, text): (&str, &String)| match serde_json::from_str(text) {
        Ok(login) => Ok((id.to_owned(), login)),
        Err(_) => Err(CompileError::Unreadable { what: "value", whose: format!("the fact login.{id}") }),
    };
    facts.map(read).collect()
}

/// Where trust ends: the built-in anchors and those that were added.
pub(crate) fn anchors(snapshot: &Snapshot) -> Result<Anchors, CompileError> {
    snapshot.anchors.iter().try_fold(Anchors::production(), |anchors, (fingerprint, text)| {
        let added = anchors.with_stream(text.as_bytes());
        added.map_err(|error| CompileError::Anchor(fingerprint.clone(), error))
    })
}

fn blob(record: &BlobRecord, before: Option<&Catalog>) -> Result<Arc<Blob>, CompileError> {
    if let Some(known) = before.and_then(|catalog| catalog.blob(&record.digest)) {
        return Ok(known.clone());
    }
    let unreadable =
        || CompileError::Unreadable { what: "blocks", whose: format!("blob {}", record.digest.to_hex()) };
    let checks = BlockChecks::new(&record.blocks, record.size).ok_or_else(unreadable)?;
    Ok(Arc::new(Blob {
        digest: record.digest,
        size: record.size,
        etag: format!("\"{}\"", record.digest.to_hex()),
        checks: Arc::new(checks),
    }))
}

/// What the pieces of a snap are made with.
struct Making<'a> {
    base_url: &'a str,
    assertions: &'a Assertions,
    anchors: &'a Anchors,
    blobs: &'a HashMap<Sha3_384, Arc<Blob>>,
}

impl Making<'_> {
    /// Which stores hand out each snap.
    fn granted(&self, snaps: &[SnapRecord], stores: &[StoreRecord]) -> HashMap<String, HashSet<String>> {
        let snaps: HashMap<&str, &SnapRecord> = snaps.iter().map(|snap| (&*snap.snap_id, snap)).collect();
        let stores: HashMap<&str, &StoreRecord> =
            stores.iter().map(|store| (&*store.store_id, store)).collect();
        let mut granted: HashMap<String, HashSet<String>> = HashMap::new();
        for store in stores.values() {
            for grant in &store.grants {
                let Some(snap) = snaps.get(&*grant.snap_id) else { continue };
                let declaration = self.declaration(&snap.snap_id);
                let publisher = match declaration.as_ref().map(|found| found.details()) {
                    Some(Details::SnapDeclaration(found)) => Some(&*found.publisher_id),
                    _ => None,
                };
                if hands_out(store, grant, snap, publisher, |id| stores.get(id).copied().cloned()) {
                    granted.entry(grant.snap_id.clone()).or_default().insert(store.store_id.clone());
                }
            }
        }
        granted
    }

    fn declaration(&self, snap_id: &str) -> Option<Arc<Assertion>> {
        self.newest(AssertionType::SnapDeclaration, vec![SERIES.into(), snap_id.into()])
    }

    fn snap(&self, record: SnapRecord, parts: Parts, granted: HashSet<String>) -> Result<Snap, CompileError> {
        let nothing = Map::new();
        let text = record.text.as_object().unwrap_or(&nothing);
        let declaration = self.declaration(&record.snap_id);
        let (publisher, gates) = match declaration.as_ref().map(|found| found.details()) {
            Some(Details::SnapDeclaration(found)) => {
                (self.publisher(&found.publisher_id), found.refresh_control.clone())
            }
            _ => (Value::Null, Vec::new()),
        };
        let default_track = match text.get("default-track").and_then(Value::as_str) {
            Some(track) => track.parse().unwrap_or_else(|_| Track::latest()),
            None => Track::latest(),
        };
        let mut snap = Snap {
            public: record.is_public(),
            granted,
            gates,
            default_track,
            revisions: BTreeMap::new(),
            releases: Vec::new(),
            imported: parts.releases.iter().filter(|row| row.origin == Origin::Imported).cloned().collect(),
            overrides: parts.releases.iter().filter(|row| row.origin == Origin::Override).cloned().collect(),
            components: BTreeMap::new(),
            pairs: parts.pairs,
            categories: names_in(text.get("categories")),
            common_ids: texts_in(text.get("common-ids")),
            haystack: haystack(&record.name, text),
            about: about(&record.name, &record.snap_id, &publisher, self.media(text), text),
            id: record.snap_id.clone(),
            name: record.name.clone(),
            record,
        };
        let mut components = BTreeMap::new();
        for row in parts.components {
            let file = self.blob(&row.blob, &snap.name)?;
            snap.components.insert((row.name.clone(), row.revision), file);
            components.insert((row.name.clone(), row.revision), row);
        }
        for row in parts.revisions {
            let pairs = snap.pairs.iter().filter(|pair| pair.snap_revision == row.revision);
            let resources: Vec<Value> = pairs
                .filter_map(|pair| components.get(&(pair.component.clone(), pair.component_revision)))
                .map(|row| self.resource(row))
                .collect();
            let revision = self.revision(&snap, row, &resources)?;
            snap.revisions.insert(revision.number, Arc::new(revision));
        }
        snap.releases = releases(parts.releases, &snap)?;
        Ok(snap)
    }

    fn revision(
        &self,
        snap: &Snap,
        row: RevisionRecord,
        resources: &[Value],
    ) -> Result<Revision, CompileError> {
        let unreadable =
            |what| CompileError::Unreadable { what, whose: format!("{} {}", snap.name, row.revision) };
        let epoch: Epoch = serde_json::from_value(row.epoch).map_err(|_| unreadable("epoch"))?;
        let blob = self.blob(&row.blob, &snap.name)?;
        let facts = json!({
            "revision": row.revision,
            "version": row.version,
            "type": row.kind,
            "architectures": row.architectures,
            "base": row.base,
            "confinement": row.confinement,
            "epoch": epoch,
            "common-ids": snap.common_ids,
            "created-at": row.created_at,
            "download": self.download(&snap_path(&snap.id, row.revision), &blob),
        });
        Ok(Revision {
            number: row.revision,
            version: row.version,
            architectures: row.architectures,
            base: row.base,
            epoch,
            confinement: row.confinement,
            json: members(facts),
            snap_yaml_json: members(json!({ "snap-yaml": row.snap_yaml })),
            resources_json: members(json!({ "resources": resources })),
            apps: OnceLock::new(),
            blob,
        })
    }

    fn resource(&self, row: &ComponentRecord) -> Value {
        let download = match self.blobs.get(&row.blob) {
            Some(blob) => self.download(&component_path(&row.snap_id, &row.name, row.revision), blob),
            None => Value::Null,
        };
        json!({
            "name": row.name,
            "type": format!("component/{}", row.kind.trim_start_matches("component/")),
            "revision": row.revision,
            "version": row.version,
            "download": download,
        })
    }

    fn download(&self, path: &str, blob: &Blob) -> Value {
        json!({
            "url": format!("{}{path}", self.base_url),
            "size": blob.size,
            "sha3-384": blob.digest.to_hex(),
            "deltas": [],
        })
    }

    fn blob(&self, digest: &Sha3_384, snap: &str) -> Result<Arc<Blob>, CompileError> {
        let dangling = || CompileError::Dangling {
            what: format!("blob {}", digest.to_hex()),
            whose: format!("snap {snap}"),
        };
        self.blobs.get(digest).cloned().ok_or_else(dangling)
    }

    fn newest(&self, kind: AssertionType, key: Vec<String>) -> Option<Arc<Assertion>> {
        self.assertions.newest(&Ref { kind, key }, u32::MAX).cloned()
    }

    /// The snap's picture, when it was carried in; those of the public store cannot be reached from here.
    fn media(&self, text: &Map<String, Value>) -> Value {
        let part = |name: &str| text.get("icon")?.get(name)?.as_str();
        let held = part("sha3-384").and_then(|hex| self.blobs.get(&Sha3_384::from_hex(hex).ok()?));
        match (held, part("format")) {
            (Some(blob), Some(format)) => {
                let url = format!("{}{}", self.base_url, icon_path(&blob.digest, format));
                json!([{ "type": "icon", "url": url }])
            }
            _ => json!([]),
        }
    }

    /// The publisher as the store describes one, from its signed account.
    fn publisher(&self, account_id: &str) -> Value {
        let key = Ref { kind: AssertionType::Account, key: vec![account_id.into()] };
        let held = self.assertions.newest(&key, u32::MAX).cloned();
        let account = held.or_else(|| schema::assertion::AssertionSource::find(self.anchors, &key));
        match account.as_ref().map(|account| account.details()) {
            Some(Details::Account(account)) => json!({
                "id": account_id,
                "username": account.username.as_deref().unwrap_or(account_id),
                "display-name": account.display_name,
                "validation": account.validation,
            }),
            _ => {
                json!({ "id": account_id, "username": account_id, "display-name": account_id, "validation": "unproven" })
            }
        }
    }
}

/// The channel map in the order that devices are told it: entry 0 is what `snap info` shows first.
fn releases(rows: Vec<ReleaseRecord>, snap: &Snap) -> Result<Vec<Release>, CompileError> {
    let mut chosen: BTreeMap<(bool, Channel, String), (Origin, Release)> = BTreeMap::new();
    // An override for all architectures counts for each of them.
    let hidden = |row: &ReleaseRecord| {
        row.origin == Origin::Imported
            && snap.overrides.iter().any(|over| over.architecture == Architecture::ALL && over.is_beside(row))
    };
    for row in rows.into_iter().filter(|row| !hidden(row)) {
        let branch = if row.branch.is_empty() { String::new() } else { format!("/{}", row.branch) };
        let text = format!("{}/{}{branch}", row.track, row.risk);
        let whose = || format!("{} {text}", snap.name);
        let channel: Channel =
            text.parse().map_err(|_| CompileError::Unreadable { what: "channel", whose: whose() })?;
        if !snap.revisions.contains_key(&row.revision) {
            return Err(CompileError::Dangling {
                what: format!("revision {}", row.revision),
                whose: whose(),
            });
        }
        let release = Release {
            channel: channel.clone(),
            architecture: row.architecture.clone(),
            revision: row.revision,
            released_at: row.released_at,
        };
        let place = (channel.track != snap.default_track, channel, row.architecture);
        // An operator's override stands above what was imported.
        match chosen.get(&place) {
            Some((Origin::Override, _)) => {}
            _ => drop(chosen.insert(place, (row.origin, release))),
        }
    }
    Ok(chosen.into_values().map(|(_, release)| release).collect())
}

/// What info, find and refresh say of the snap as a whole.
fn about(name: &str, id: &str, publisher: &Value, media: Value, text: &Map<String, Value>) -> String {
    let word = |key: &str| text.get(key).and_then(Value::as_str).unwrap_or_default();
    let title = match word("title") {
        "" => name,
        title => title,
    };
    let links: Map<String, Value> = match text.get("links") {
        Some(Value::Object(links)) => {
            links.iter().map(|(kind, list)| (kind.clone(), json!(texts_in(Some(list))))).collect()
        }
        _ => Map::new(),
    };
    let categories: Vec<Value> = names_in(text.get("categories"))
        .into_iter()
        .map(|name| json!({"name": name, "featured": false}))
        .collect();
    members(json!({
        "name": name,
        "snap-id": id,
        "title": title,
        "summary": word("summary"),
        "description": word("description"),
        "license": word("license"),
        "contact": word("contact"),
        "website": word("website"),
        "links": links,
        "publisher": publisher,
        "categories": categories,
        "media": media,
        "prices": {},
        "private": false,
    }))
}

fn haystack(name: &str, text: &Map<String, Value>) -> String {
    let word = |key: &str| text.get(key).and_then(Value::as_str).unwrap_or_default();
    [name, word("title"), word("summary"), word("description")].join("\n").to_lowercase()
}

/// The texts of a JSON list; anything else in it is passed over.
fn texts_in(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names in a JSON list of objects.
fn names_in(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|entry| entry.get("name")?.as_str()).map(str::to_owned).collect()
}

/// The members of a JSON object as text, without its braces.
fn members(object: Value) -> String {
    let text = object.to_string();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}
