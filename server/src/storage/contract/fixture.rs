//! Databases and changes to test with.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use schema::assertion::{
    Anchors, Assertion, AssertionSource, AssertionType, Builder, Checker, HeaderValue, KeyTime, Ref,
    SigningKey, Verified,
};
use schema::digest::Sha3_384;
use schema::signing::ListedSerial;
use schema::store::{DeviceId, SnapId};
use serde_json::json;
use tempfile::TempDir;

use crate::storage::engine::{Lane, Mode, Row, Sql};
use crate::storage::error::StorageError;
use crate::storage::policies::SerialList;
use crate::storage::records::*;
use crate::storage::{Database, Settings, copy};

/// A time to use where any will do, in microseconds.
pub(super) const NOW: i64 = 1_780_000_000_000_000;

/// An empty database and its resources.
pub(crate) struct Store {
    pub(crate) database: Database,
    pub(crate) settings: Settings,
    pub(crate) _folder: Option<TempDir>,
}

impl Store {
    /// An embedded database without a schema.
    pub(crate) async fn sqlite() -> Store {
        let folder = TempDir::new().unwrap();
        let settings = Settings::Sqlite(folder.path().join("airlock.db"));
        let database = Database::open(&settings).await.unwrap();
        Store { database, settings, _folder: Some(folder) }
    }

    /// A PostgreSQL database without a schema.
    pub(crate) async fn postgres() -> Store {
        let url = tests::postgres::Cluster::shared().database().await.unwrap();
        let settings = Settings::Postgres(url.into());
        let database = Database::open(&settings).await.unwrap();
        Store { database, settings, _folder: None }
    }

    /// A database handle for another server: on PostgreSQL with its own connections.
    pub(crate) async fn another(&self) -> Database {
        match &self.settings {
            Settings::Sqlite(_) => self.database.clone(),
            Settings::Postgres(_) => Database::open(&self.settings).await.unwrap(),
        }
    }

    /// The database with its schema.
    pub(crate) async fn migrated(&self) -> &Database {
        self.database.migrate(NOW).await.unwrap();
        self.database.begin_life().await;
        &self.database
    }
}

/// Everything in the database, comparable.
pub(super) async fn dump(database: &Database) -> BTreeMap<&'static str, Vec<Row>> {
    let mut transaction = database.engine.begin(Lane::Operator, Mode::Read).await.unwrap();
    let mut tables = BTreeMap::new();
    for (table, get, _) in copy::TABLES {
        let mut rows = transaction.query(*get, Vec::new()).await.unwrap();
        rows.sort();
        tables.insert(*table, rows);
    }
    tables
}

/// Runs a statement that only a test would run.
pub(super) async fn run(database: &Database, text: &'static str) -> Vec<Row> {
    let mut transaction = database.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
    let rows = transaction.query(Sql::new("TEST", text), Vec::new()).await.unwrap();
    transaction.commit().await.unwrap();
    rows
}

/// An audit event to commit with.
pub(crate) fn event(what: &str) -> AuditEvent {
    AuditEvent::new("operator", what, "the store").detail(json!({ "zeta": [1, 2], "alpha": "ü\n" }))
}

/// An empty change.
pub(crate) fn change(what: &str) -> Change {
    Change::new(event(what), NOW)
}

/// A revision of a snap with its blob and the snap itself, in `change`.
/// A snap id that begins with this name.
pub(crate) fn snap_id(name: &str) -> SnapId {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{letters:0<32}").parse().unwrap()
}

pub(crate) fn add_revision(change: &mut Change, snap: &str, revision: u32) {
    let digest = Sha3_384::of(format!("{snap} {revision}").as_bytes());
    change.blobs.push(BlobRecord { digest, size: 3 << 20, blocks: (0..96).collect() });
    if !change.snaps.iter().any(|held| held.snap_id == snap_id(snap)) {
        change.snaps.push(SnapRecord {
            snap_id: snap_id(snap),
            name: format!("name-of-{snap}").parse().unwrap(),
            kind: schema::store::SnapType::App,
            private: true,
            stores: vec![schema::store::StoreId::global()],
            text: json!({ "title": "Title", "media": [{ "url": "x" }], "summary": "¿\u{0}?" }),
        });
    }
    change.revisions.push(RevisionRecord {
        snap_id: snap_id(snap),
        revision,
        blob: digest,
        size: 3 << 20,
        version: "1.10".into(),
        architectures: vec!["amd64".parse().unwrap(), "arm64".parse().unwrap()],
        base: revision.is_multiple_of(2).then(|| "core24".into()),
        epoch: schema::store::Epoch::parse("1*").unwrap(),
        confinement: schema::store::Confinement::Strict,
        kind: schema::store::SnapType::App,
        provenance: "global-upload".into(),
        snap_yaml: "name: x\nversion: '1.10'\n".into(),
        created_at: (!revision.is_multiple_of(2)).then(|| "2026-01-01T00:00:00Z".into()),
    });
}

/// A release of `revision` to `latest/stable` on amd64.
pub(crate) fn release(snap: &str, revision: u32, origin: Origin) -> ReleaseRecord {
    ReleaseRecord {
        snap_id: snap_id(snap),
        channel: "stable".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        revision,
        released_at: "2026-01-02T03:04:05Z".into(),
        origin,
    }
}

/// One of everything.
pub(super) fn full_change() -> Change {
    let mut change = change("push-snap");
    change.assertions = vec![account("acme", 3, "Acme"), account("other", 0, "Other")];
    change.anchors_added = vec![("fingerprint".into(), "type: account\n…".into())];
    for revision in [1, 2] {
        add_revision(&mut change, "snap-a", revision);
    }
    add_revision(&mut change, "snap-b", u32::MAX);
    change.components.push(ComponentRecord {
        snap_id: snap_id("snap-a"),
        name: "extra".into(),
        revision: 5,
        blob: change.blobs[0].digest,
        size: 3 << 20,
        kind: "standard".into(),
        version: String::new(),
        provenance: "global-upload".into(),
    });
    change.pairs.push(PairRecord {
        snap_id: snap_id("snap-a"),
        snap_revision: 2,
        component: "extra".into(),
        component_revision: 5,
    });
    change.releases = vec![release("snap-a", 2, Origin::Override), release("snap-a", 1, Origin::Imported)];
    change.stores = vec![Arc::new(StoreRecord {
        store_id: "acme-store".parse().unwrap(),
        brand_id: "acme".into(),
        name: "Acme's".into(),
        parent: Some("ubuntu".parse().unwrap()),
        grants: vec![
            Grant { snap_id: snap_id("snap-a"), name: "aa".parse().unwrap(), reason: Reason::Own },
            Grant { snap_id: snap_id("snap-z"), name: "zz".parse().unwrap(), reason: Reason::Essential },
        ],
        document: "{\"name\": \"Acme's\"}".into(),
    })];
    change.device_blocks = vec![block("serial-1", true)];
    change.meta = vec![("token-secret".into(), "fingerprint".into())];
    change.serial_list = Some(SerialList {
        brand: "acme".into(),
        model: "gateway".into(),
        serials: vec![ListedSerial { serial: "SN-1".into(), hardware_id: String::new() }],
    });
    change.import = Some(ImportRecord {
        file_digest: "digest-of-file".into(),
        kind: "snap-bundle".into(),
        summary: json!({ "snaps": 2 }),
    });
    change
}

pub(crate) fn block(serial: &str, blocked: bool) -> DeviceBlock {
    let device = DeviceId { brand: "acme".into(), model: "gateway".into(), serial: serial.into() };
    DeviceBlock { device, blocked }
}

/// An authority of the tests' own, trusted.
struct Authority {
    key: SigningKey,
    anchors: Anchors,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = SigningKey::generate(2048).unwrap();
    let account = builder("root", 0, "Root").sign(&key);
    let account_key = Builder::new(AssertionType::AccountKey)
        .header("authority-id", "root")
        .header("account-id", "root")
        .header("name", "root")
        .header("public-key-sha3-384", key.public().id())
        .header("since", "2020-01-01T00:00:00Z")
        .body(key.public().encode())
        .sign(&key);
    let anchors = Anchors::none().with(vec![account, account_key]).unwrap();
    Authority { key, anchors }
});

fn builder(account_id: &str, revision: u32, name: &str) -> Builder {
    Builder::new(AssertionType::Account)
        .header("authority-id", "root")
        .header("account-id", account_id)
        .header("display-name", name)
        .header("validation", "unproven")
        .header("timestamp", "2026-01-01T00:00:00Z")
        .revision(revision)
}

/// Any requested account, and nothing else.
struct AnyAccount;

impl AssertionSource for AnyAccount {
    fn find(&self, wanted: &Ref) -> Option<Arc<Assertion>> {
        (wanted.kind == AssertionType::Account)
            .then(|| Arc::new(builder(&wanted.key[0], 0, "Anybody").sign(&AUTHORITY.key)))
    }

    fn keys_of(&self, _: &str) -> Vec<Arc<Assertion>> {
        Vec::new()
    }
}

fn verified(document: &Builder) -> Verified {
    let checker = Checker { anchors: &AUTHORITY.anchors, source: &AnyAccount, time: KeyTime::DocumentTime };
    checker.check(&document.sign(&AUTHORITY.key)).unwrap()
}

/// An account that verifies.
pub(crate) fn account(account_id: &str, revision: u32, name: &str) -> Verified {
    verified(&builder(account_id, revision, name))
}

/// A declaration that verifies, of a snap that must approve revisions of the snaps in `gates`.
pub(crate) fn declaration(snap_id: &str, revision: u32, publisher: &str, gates: &[&str]) -> Verified {
    let document = Builder::new(AssertionType::SnapDeclaration)
        .header("authority-id", "root")
        .header("series", "16")
        .header("snap-id", snap_id)
        .header("snap-name", "a-snap")
        .header("publisher-id", publisher)
        .header("timestamp", "2026-01-01T00:00:00Z")
        .revision(revision);
    let gates: Vec<HeaderValue> = gates.iter().map(|gate| HeaderValue::from(*gate)).collect();
    match gates.is_empty() {
        true => verified(&document),
        false => verified(&document.header("refresh-control", HeaderValue::List(gates))),
    }
}

/// One of a few keys, of an account; it verifies.
pub(crate) fn account_key(which: usize, account_id: &str, revision: u32) -> Verified {
    static KEYS: LazyLock<Vec<SigningKey>> =
        LazyLock::new(|| (0..3).map(|_| SigningKey::generate(2048).unwrap()).collect());
    let key = KEYS[which % KEYS.len()].public();
    let document = Builder::new(AssertionType::AccountKey)
        .header("authority-id", "root")
        .header("account-id", account_id)
        .header("name", "default")
        .header("public-key-sha3-384", key.id())
        .header("since", "2020-01-01T00:00:00Z")
        .body(key.encode())
        .revision(revision);
    verified(&document)
}

/// A point of a sequence; it verifies.
pub(crate) fn validation_set(sequence: u32, revision: u32) -> Verified {
    let snap = BTreeMap::from([
        ("name".to_owned(), HeaderValue::from("a-snap")),
        ("id".to_owned(), HeaderValue::from("mysnapididididididididididididid")),
    ]);
    let document = Builder::new(AssertionType::ValidationSet)
        .header("authority-id", "root")
        .header("series", "16")
        .header("account-id", "root")
        .header("name", "base-set")
        .header("sequence", sequence.to_string())
        .header("snaps", HeaderValue::List(vec![HeaderValue::Map(snap)]))
        .header("timestamp", "2026-01-01T00:00:00Z")
        .revision(revision);
    verified(&document)
}

impl Database {
    /// Lets the database continue as it is.
    pub(super) async fn begin_life(&self) {
        let mut transaction = self.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
        transaction.begin_life().await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// Spends one nonce by itself.
    pub(super) async fn spend_nonce(
        &self,
        nonce: &str,
        epoch: i64,
        request_digest: &str,
        issued_at_micros: i64,
    ) -> Result<Spending, StorageError> {
        let uses = [NonceUse::new(nonce, epoch, request_digest, issued_at_micros)];
        let outcome = self.spend_nonces(&uses, None).await.pop().unwrap();
        outcome.map_err(|error| Arc::into_inner(error).unwrap())
    }
}
