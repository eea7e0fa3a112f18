//! A store in memory that applies changes like the database, and builders of signed assertions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use schema::assertion::{
    Anchors, Assertion, AssertionSource, AssertionType as T, Builder, Details, KeyTime, Ref, SigningKey,
};
use schema::bundle::SnapYaml;
use schema::digest::Sha3_384;
use schema::store::{Channel, SnapId};
use time::macros::datetime;

use crate::imports::receive::{Bundle, SnapFile};
use crate::imports::{Context, HeldRevision, ImportError, KnownState, KnownStores, SnapOptions, plan_snaps};
use crate::storage::records::{BlobRecord, Change, Origin, ReleaseRecord, SnapRecord, StoreRecord};
use schema::api::admin::PushedSnaps;

/// Ids of two snaps.
pub(crate) const JQ: &str = "JqJqJqJqJqJqJqJqJqJqJqJqJqJqJqJq";
pub(crate) const YQ: &str = "YqYqYqYqYqYqYqYqYqYqYqYqYqYqYqYq";

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/assertions").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn assertion(name: &str) -> Assertion {
    Assertion::decode(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) static STORE_KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pem = String::from_utf8(fixture("keys/store.pem")).expect("text");
    SigningKey::from_pkcs8_pem(&pem).expect("a key")
});

pub(crate) fn context() -> Context {
    let now = datetime!(2026-09-01 00:00 UTC);
    Context { who: "operator".into(), now, keys: KeyTime::DocumentTime, file_name: None }
}

/// A document of the authority.
pub(crate) fn signed(kind: T, revision: u32, headers: &[(&str, &str)]) -> Assertion {
    signed_in_format(kind, 0, revision, headers)
}

pub(crate) fn signed_in_format(kind: T, format: u32, revision: u32, headers: &[(&str, &str)]) -> Assertion {
    let mut builder =
        Builder::new(kind).header("authority-id", "vector-authority").format(format).revision(revision);
    for (name, value) in headers {
        builder = builder.header(name, *value);
    }
    builder.header("timestamp", "2024-03-01T00:00:00Z").sign(&STORE_KEY)
}

pub(crate) fn declaration(snap_id: &str, name: &str, revision: u32) -> Assertion {
    declaration_in_format(snap_id, name, 0, revision)
}

pub(crate) fn declaration_in_format(snap_id: &str, name: &str, format: u32, revision: u32) -> Assertion {
    let headers = [
        ("series", "16"),
        ("snap-id", snap_id),
        ("snap-name", name),
        ("publisher-id", "PublisherPublisherPublisherPub01"),
    ];
    signed_in_format(T::SnapDeclaration, format, revision, &headers)
}

/// The key that signs everything here, and the publisher.
pub(crate) fn basics() -> Vec<Assertion> {
    vec![assertion("chain/store.account-key.assert"), assertion("chain/publisher.account.assert")]
}

/// A snap file with any content.
pub(crate) fn file(name: &str, revision: u32) -> SnapFile {
    let content = format!("content of {name} {revision}");
    let yaml_text = format!("name: {name}\nversion: {revision}.0\narchitectures: [amd64]\n");
    SnapFile {
        name: format!("{name}_{revision}.snap"),
        blob: BlobRecord {
            digest: Sha3_384::of(content.as_bytes()),
            size: content.len() as u64,
            blocks: vec![0; 32],
        },
        yaml: SnapYaml::parse(&yaml_text).expect("a snap.yaml"),
        yaml_text,
    }
}

/// The snap-revision of a file.
pub(crate) fn revision(snap_id: &str, file: &SnapFile, number: u32) -> Assertion {
    let (digest, size, number) =
        (file.blob.digest.to_base64url(), file.blob.size.to_string(), number.to_string());
    let headers = [
        ("snap-sha3-384", digest.as_str()),
        ("snap-id", snap_id),
        ("snap-size", &size),
        ("snap-revision", &number),
        ("developer-id", "PublisherPublisherPublisherPub01"),
    ];
    signed(T::SnapRevision, 0, &headers)
}

/// A whole bundle of `jq` with these revisions.
pub(crate) fn bundle(revisions: &[u32]) -> Bundle {
    let mut bundle = Bundle {
        file_digest: format!("{revisions:?}"),
        manifest: Some(schema::bundle::Manifest::new("test")),
        metadata: Vec::new(),
        stores: None,
        assertions: basics(),
        proof: Default::default(),
        snaps: Vec::new(),
        components: Vec::new(),
        icons: Vec::new(),
        ignored: Vec::new(),
    };
    bundle.assertions.push(declaration(JQ, "jq", 0));
    for number in revisions {
        let file = file("jq", *number);
        bundle.assertions.push(revision(JQ, &file, *number));
        bundle.snaps.push(file);
    }
    bundle
}

/// The store's answer for `jq`: `(channel, revision, day of August 2026 of the release)`.
pub(crate) fn metadata(entries: &[(&str, u32, u32)]) -> schema::bundle::Metadata {
    let entry = |(channel, revision, day): &(&str, u32, u32)| {
        let (track, risk) = channel.split_once('/').expect("a channel");
        format!(
            r#"{{"channel":{{"architecture":"amd64","track":"{track}","risk":"{risk}",
                "released-at":"2026-08-{day:02}T00:00:00Z"}},"revision":{revision}}}"#
        )
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    let text = format!(
        r#"{{"name":"jq","snap-id":"{JQ}","snap":{{"title":"jq {}"}},"channel-map":[{}]}}"#,
        entries.len(),
        entries.join(",")
    );
    schema::bundle::Metadata::parse(text.as_bytes()).expect("metadata")
}

/// What is held.
pub(crate) struct World {
    pub(crate) generation: i64,
    pub(crate) anchors: Anchors,
    pub(crate) assertions: BTreeMap<Ref, Arc<Assertion>>,
    pub(crate) snaps: BTreeMap<String, SnapRecord>,
    pub(crate) revisions: BTreeMap<(String, u32), HeldRevision>,
    pub(crate) components: BTreeMap<(String, String, u32), Sha3_384>,
    pub(crate) releases: Vec<ReleaseRecord>,
    pub(crate) stores: BTreeMap<String, StoreRecord>,
    pub(crate) blobs: Vec<Sha3_384>,
    pub(crate) meta: BTreeMap<String, String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let roots = vec![assertion("trust/root.account.assert"), assertion("trust/root.account-key.assert")];
        Self {
            generation: 0,
            anchors: Anchors::none().with(roots).expect("anchors"),
            assertions: BTreeMap::new(),
            snaps: BTreeMap::new(),
            revisions: BTreeMap::new(),
            components: BTreeMap::new(),
            releases: Vec::new(),
            stores: BTreeMap::new(),
            blobs: Vec::new(),
            meta: BTreeMap::new(),
        }
    }

    /// Commits as the database does, and holds it to its references.
    pub(crate) fn apply(&mut self, change: Change) {
        for verified in change.assertions {
            let held =
                self.assertions.entry(verified.reference()).or_insert_with(|| verified.assertion().clone());
            if held.revision() < verified.revision() {
                *held = verified.into_inner();
            }
        }
        for (_, stream) in change.anchors_added {
            self.anchors = self.anchors.clone().with_stream(stream.as_bytes()).expect("an anchor");
        }
        self.blobs.extend(change.blobs.iter().map(|blob| blob.digest));
        for mut snap in change.snaps {
            if let Some(held) = self.snaps.get(snap.snap_id.as_str()) {
                snap.stores.extend(held.stores.clone());
                snap.stores.sort();
                snap.stores.dedup();
            }
            self.snaps.insert(snap.snap_id.to_string(), snap);
        }
        for row in change.revisions {
            assert!(self.blobs.contains(&row.blob), "revision without its blob");
            let held = HeldRevision { blob: row.blob, architectures: row.architectures };
            self.revisions.insert((row.snap_id.to_string(), row.revision), held);
        }
        for row in change.components {
            self.components.insert((row.snap_id.to_string(), row.name, row.revision), row.blob);
        }
        for pair in change.pairs {
            assert!(self.revisions.contains_key(&(pair.snap_id.to_string(), pair.snap_revision)), "{pair:?}");
            assert!(self.components.contains_key(&(
                pair.snap_id.to_string(),
                pair.component.clone(),
                pair.component_revision
            )));
        }
        self.releases.retain(|held| !change.replace_channel_map_of.contains(&held.snap_id));
        let place =
            |one: &ReleaseRecord| (one.snap_id.clone(), one.channel.clone(), one.architecture.clone());
        self.releases.retain(|held| {
            let closed = |key: &crate::storage::records::ReleaseKey| {
                place(held) == (key.snap_id.clone(), key.channel.clone(), key.architecture.clone())
            };
            !change.releases_closed.iter().any(closed)
        });
        for row in change.releases {
            assert!(
                self.revisions.contains_key(&(row.snap_id.to_string(), row.revision)),
                "dangling {row:?}"
            );
            assert_eq!(row.origin, Origin::Imported);
            self.releases.retain(|held| place(held) != place(&row));
            self.releases.push(row);
        }
        for store in change.stores {
            self.stores.insert(store.store_id.to_string(), StoreRecord::clone(&store));
        }
        self.meta.extend(change.meta);
        assert!(!change.audit.subject.is_empty() && !change.audit.what.is_empty());
        assert!(change.at_micros > 0);
    }

    pub(crate) fn push(&mut self, bundle: &Bundle) -> Result<PushedSnaps, ImportError> {
        self.push_with(bundle, &SnapOptions::default())
    }

    pub(crate) fn push_with(
        &mut self,
        bundle: &Bundle,
        options: &SnapOptions,
    ) -> Result<PushedSnaps, ImportError> {
        let (change, report) = plan_snaps(self, bundle, options, &context())?;
        self.apply(change);
        Ok(report)
    }

    /// The channel map of `jq`, `latest/stable amd64 -> 6`, sorted.
    pub(crate) fn channels(&self) -> Vec<String> {
        let mut channels: Vec<_> = self.releases.iter().map(crate::imports::channels::describe).collect();
        channels.sort();
        channels
    }
}

impl AssertionSource for World {
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        self.assertions.get(reference).cloned()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let theirs = |held: &&Arc<Assertion>| match held.details() {
            Details::AccountKey(key) => key.account_id == account_id,
            _ => false,
        };
        self.assertions.values().filter(theirs).cloned().collect()
    }
}

impl KnownStores for World {
    fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    fn snap(&self, snap_id: &str) -> Option<SnapRecord> {
        self.snaps.get(snap_id).cloned()
    }

    fn store(&self, store_id: &str) -> Option<Arc<StoreRecord>> {
        self.stores.get(store_id).cloned().map(Arc::new)
    }

    fn stores(&self) -> Vec<Arc<StoreRecord>> {
        self.stores.values().cloned().map(Arc::new).collect()
    }
}

impl KnownState for World {
    fn generation(&self) -> i64 {
        self.generation
    }

    fn has_snap_named(&self, name: &str) -> bool {
        self.snaps.values().any(|snap| snap.name == name)
    }

    fn revision(&self, snap_id: &str, revision: u32) -> Option<HeldRevision> {
        self.revisions.get(&(snap_id.to_owned(), revision)).cloned()
    }

    fn component(&self, snap_id: &str, name: &str, revision: u32) -> Option<Sha3_384> {
        self.components.get(&(snap_id.to_owned(), name.to_owned(), revision)).copied()
    }

    fn imported_releases(&self, snap_id: &str) -> Vec<ReleaseRecord> {
        let imported = |held: &&ReleaseRecord| held.snap_id == snap_id && held.origin == Origin::Imported;
        self.releases.iter().filter(imported).cloned().collect()
    }

    fn closed_channels(&self, snap_id: &str) -> Vec<ReleaseRecord> {
        let closed = |held: &&ReleaseRecord| held.snap_id == snap_id && held.origin == Origin::Closed;
        self.releases.iter().filter(closed).cloned().collect()
    }

    fn rolling_out(&self, _: &SnapId) -> Option<(Channel, String)> {
        None
    }

    fn has_blob(&self, digest: &Sha3_384) -> bool {
        self.blobs.contains(digest)
    }
}
