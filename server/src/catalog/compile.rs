//! Compiles a snap's rows into the snap that devices see: every decision and every piece of JSON that does not depend
//! on the request.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use schema::assertion::{Assertion, AssertionType, Details, HeaderValue, Ref};
use schema::digest::Sha3_384;
use schema::store::{Architecture, Channel, ChannelRequest, SERIES, Track};
use serde_json::{Map, Value, json};

use super::links::{component_path, icon_path, snap_path};
use super::snaps::Icon;
use super::{Blob, Catalog, CatalogRevision, Release, Snap, texts};
use crate::storage::records::{
    ComponentRecord, Origin, PairRecord, ReleaseRecord, RevisionRecord, SnapRecord,
};

/// The database contains what no import writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CompileError {
    /// A stored trust anchor cannot be read.
    #[error("cannot use the stored trust anchor {0}")]
    Anchor(String, #[source] schema::assertion::AnchorError),
    /// A stored assertion cannot be read.
    #[error("cannot read a stored assertion")]
    Assertion(#[source] schema::assertion::DecodeError),
    /// A row refers to something missing.
    #[error("cannot find {what} that {whose} names")]
    Dangling {
        /// What is missing.
        what: String,
        /// The row.
        whose: String,
    },
    /// A row's value does not parse.
    #[error("cannot read {what} of {whose}")]
    Unreadable {
        /// The column.
        what: &'static str,
        /// The row.
        whose: String,
    },
}

/// The rows of one snap, apart from its own.
#[derive(Default)]
pub(super) struct SnapRows {
    pub(super) revisions: Vec<RevisionRecord>,
    pub(super) components: Vec<ComponentRecord>,
    pub(super) pairs: Vec<PairRecord>,
    pub(super) releases: Vec<ReleaseRecord>,
    /// The newest declaration that came with them.
    declaration: Option<Arc<Assertion>>,
}

impl SnapRows {
    /// Takes a declaration that was decoded already, unless it has a newer one.
    pub(super) fn declared_by(&mut self, declaration: Arc<Assertion>) {
        let age = |of: &Arc<Assertion>| (of.revision(), of.format());
        if self.declaration.as_ref().is_none_or(|held| age(held) < age(&declaration)) {
            self.declaration = Some(declaration);
        }
    }
}

impl Catalog {
    /// Compiles a snap from its rows and from what is already here: assertions and files.
    pub(super) fn compile_snap(&self, record: SnapRecord, mut parts: SnapRows) -> Result<Snap, CompileError> {
        // The database returns rows in any order.
        parts.pairs.sort();
        parts.releases.sort_by_cached_key(ReleaseRecord::key);
        let nothing = Map::new();
        let imported = record.text.as_object().unwrap_or(&nothing);
        let default_track = match imported.get("default-track").and_then(Value::as_str) {
            Some(track) => track.parse().unwrap_or_else(|_| Track::latest()),
            None => Track::latest(),
        };
        let default = ChannelRequest::default().on(&default_track);
        let text = &texts::current(imported, &default, &parts.revisions, &parts.releases);
        let word = |key: &str| text.get(key).and_then(Value::as_str).unwrap_or_default();
        let of = |origin| parts.releases.iter().filter(move |row| row.origin == origin).cloned().collect();
        let mut snap = Snap {
            publisher_id: None,
            gates: Vec::new(),
            default_track,
            revisions: BTreeMap::new(),
            releases: Vec::new(),
            imported: of(Origin::Imported),
            overrides: of(Origin::Override),
            closed: of(Origin::Closed),
            components: BTreeMap::new(),
            pairs: parts.pairs,
            categories: names_in(text.get("categories")),
            common_ids: texts_in(text.get("common-ids")),
            haystack: haystack(&record.name, text).into(),
            aliases: Vec::new(),
            title: title(&record.name, text).to_owned(),
            summary: word("summary").to_owned(),
            identity: members(json!({ "name": record.name, "snap-id": record.snap_id })).into(),
            about: about(&record.name, &record.snap_id, text).into(),
            icon: self.icon_in(text),
            text: record.text.to_string().into(),
            id: record.snap_id,
            name: record.name,
            kind: record.kind,
            private: record.private,
            stores: record.stores,
        };
        self.declare(&mut snap, parts.declaration);
        let mut components = BTreeMap::new();
        for row in parts.components {
            let file = self.held_blob(&row.blob, &snap.name)?;
            snap.components.insert((row.name.clone(), row.revision), file);
            components.insert((row.name.clone(), row.revision), row);
        }
        for row in parts.revisions {
            let pairs = snap.pairs.iter().filter(|pair| pair.snap_revision == row.revision);
            let resources = pairs
                .filter_map(|pair| components.get(&(pair.component.clone(), pair.component_revision)))
                .filter_map(|row| self.resource(row))
                .collect();
            let revision = self.revision(&snap, row, resources)?;
            snap.revisions.insert(revision.number, Arc::new(revision));
        }
        snap.releases = releases(parts.releases, &snap)?;
        Ok(snap)
    }

    /// Applies the snap's declaration: the one that was decoded, or else the one that is held.
    pub(super) fn declare(&self, snap: &mut Snap, decoded: Option<Arc<Assertion>>) {
        let key = || vec![SERIES.into(), snap.id.to_string()];
        let declaration = decoded.or_else(|| self.newest(AssertionType::SnapDeclaration, key()));
        snap.aliases = declaration.as_deref().map(aliases_in).unwrap_or_default();
        (snap.publisher_id, snap.gates) = match declaration.as_ref().map(|found| found.details()) {
            Some(Details::SnapDeclaration(found)) => {
                (Some(found.publisher_id.clone()), found.refresh_control.clone())
            }
            _ => (None, Vec::new()),
        };
    }

    fn revision(
        &self,
        snap: &Snap,
        row: RevisionRecord,
        resources: Vec<(Arc<Blob>, Box<str>)>,
    ) -> Result<CatalogRevision, CompileError> {
        let blob = self.held_blob(&row.blob, &snap.name)?;
        let facts = json!({
            "revision": row.revision,
            "version": row.version,
            "type": row.kind,
            "architectures": row.architectures,
            "base": row.base,
            "confinement": row.confinement,
            "epoch": row.epoch,
            "common-ids": snap.common_ids,
            "created-at": row.created_at,
            "download": self.download(&snap_path(&snap.id, row.revision), &blob),
        });
        Ok(CatalogRevision {
            number: row.revision,
            version: row.version,
            architectures: row.architectures,
            base: row.base,
            epoch: row.epoch,
            confinement: row.confinement,
            json: members(facts).into(),
            snap_yaml_json: members(json!({ "snap-yaml": row.snap_yaml })).into(),
            resources,
            apps: OnceLock::new(),
            blob,
        })
    }

    fn resource(&self, row: &ComponentRecord) -> Option<(Arc<Blob>, Box<str>)> {
        let blob = self.blobs.get(&row.blob)?;
        let resource = json!({
            "name": row.name,
            "type": format!("component/{}", row.kind.trim_start_matches("component/")),
            "revision": row.revision,
            "version": row.version,
            "download": self.download(&component_path(&row.snap_id, &row.name, row.revision), blob),
        });
        Some((Arc::clone(blob), resource.to_string().into()))
    }

    fn download(&self, path: &str, blob: &Blob) -> Value {
        json!({
            "url": format!("{}{path}", self.base_url),
            "size": blob.size,
            "sha3-384": blob.digest.to_hex(),
            "deltas": [],
        })
    }

    fn held_blob(&self, digest: &Sha3_384, snap: &str) -> Result<Arc<Blob>, CompileError> {
        let dangling = || CompileError::Dangling {
            what: format!("blob {}", digest.to_hex()),
            whose: format!("snap {snap}"),
        };
        self.blobs.get(digest).cloned().ok_or_else(dangling)
    }

    fn newest(&self, kind: AssertionType, key: Vec<String>) -> Option<Arc<Assertion>> {
        self.assertions.newest(&Ref { kind, key }, u32::MAX)?.decode()
    }

    /// The icon named in a snap's text. Icons of the public store cannot be reached from here.
    fn icon_in(&self, text: &Map<String, Value>) -> Option<Icon> {
        let part = |name: &str| text.get("icon")?.get(name)?.as_str();
        let (digest, format) = (Sha3_384::from_hex(part("sha3-384")?).ok()?, part("format")?.to_owned());
        let url = format!("{}{}", self.base_url, icon_path(&digest, &format));
        let media = json!({ "type": "icon", "url": url }).to_string().into();
        Some(Icon { digest, format, media })
    }

    /// The publisher in the store's format, from its signed account.
    pub(super) fn publisher(&self, account_id: &str) -> String {
        let key = Ref { kind: AssertionType::Account, key: vec![account_id.into()] };
        let held = self.assertions.newest(&key, u32::MAX).and_then(|held| held.decode());
        let account = held.or_else(|| schema::assertion::AssertionSource::find(&*self.anchors, &key));
        let publisher = match account.as_ref().map(|account| account.details()) {
            Some(Details::Account(account)) => json!({
                "id": account_id,
                "username": account.username.as_deref().unwrap_or(account_id),
                "display-name": account.display_name,
                "validation": account.validation,
            }),
            _ => {
                json!({ "id": account_id, "username": account_id, "display-name": account_id, "validation": "unproven" })
            }
        };
        publisher.to_string()
    }
}

/// The channel map in the order of answers: `snap info` shows entry 0 first.
fn releases(rows: Vec<ReleaseRecord>, snap: &Snap) -> Result<Vec<Release>, CompileError> {
    let mut chosen: BTreeMap<(bool, Channel, Architecture), (Origin, Release)> = BTreeMap::new();
    // An override for all architectures applies to each of them.
    let hidden = |row: &ReleaseRecord| {
        row.origin == Origin::Imported
            && snap.overrides.iter().any(|over| over.architecture.is_all() && over.is_beside(row))
    };
    for row in rows.into_iter().filter(|row| row.origin != Origin::Closed && !hidden(row)) {
        if !snap.revisions.contains_key(&row.revision) {
            return Err(CompileError::Dangling {
                what: format!("revision {}", row.revision),
                whose: format!("{} {}", snap.name, row.channel),
            });
        }
        let release = Release {
            channel: row.channel.clone(),
            architecture: row.architecture.clone(),
            revision: row.revision,
            released_at: row.released_at,
            origin: row.origin,
        };
        let place = (row.channel.track != snap.default_track, row.channel, row.architecture);
        // An override wins over the imported release.
        match chosen.get(&place) {
            Some((Origin::Override, _)) => {}
            _ => drop(chosen.insert(place, (row.origin, release))),
        }
    }
    Ok(chosen.into_values().map(|(_, release)| release).collect())
}

/// The part of info, find and refresh about the snap as a whole, except publisher and media.
fn about(name: &str, id: &str, text: &Map<String, Value>) -> String {
    let word = |key: &str| text.get(key).and_then(Value::as_str).unwrap_or_default();
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
        "title": title(name, text),
        "summary": word("summary"),
        "description": word("description"),
        "license": word("license"),
        "contact": word("contact"),
        "website": word("website"),
        "links": links,
        "categories": categories,
        "prices": {},
        "private": false,
    }))
}

/// The snap's title.
fn title<'a>(name: &'a str, text: &'a Map<String, Value>) -> &'a str {
    text.get("title").and_then(Value::as_str).filter(|title| !title.is_empty()).unwrap_or(name)
}

/// Aliases granted by a snap-declaration.
fn aliases_in(declaration: &Assertion) -> Vec<(String, String)> {
    let Some(HeaderValue::List(list)) = declaration.headers().get("aliases") else { return Vec::new() };
    let pair = |entry: &HeaderValue| {
        let word = |name| entry.as_map()?.get(name)?.as_text().map(str::to_owned);
        Some((word("name")?, word("target")?))
    };
    list.iter().filter_map(pair).collect()
}

fn haystack(name: &str, text: &Map<String, Value>) -> String {
    let word = |key: &str| text.get(key).and_then(Value::as_str).unwrap_or_default();
    [name, word("title"), word("summary"), word("description")].join("\n").to_lowercase()
}

/// The texts in a JSON list; other items are ignored.
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
