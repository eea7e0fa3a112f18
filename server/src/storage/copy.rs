//! Copies the whole database into another, empty one.

use super::Database;
use super::engine::{Lane, Mode, Reader, Sql, statements};
use super::error::StorageError;

statements! {
    COUNT_DONE = "SELECT CAST(COALESCE(sum(value), 0) AS BIGINT) FROM counters";
    DELETE_COUNTERS = "DELETE FROM counters";
    DELETE_ALL_EPOCHS = "DELETE FROM nonce_epochs";
    DELETE_GENERATIONS = "DELETE FROM generations";
    GET_COUNTERS = "SELECT name, value FROM counters";
    PUT_COUNTERS = "INSERT INTO counters (name, value) VALUES ($1, $2)";
    GET_META = "SELECT name, value FROM meta";
    PUT_META = "INSERT INTO meta (name, value) VALUES ($1, $2)";
    GET_ASSERTIONS = "SELECT kind, key, format, revision, content FROM assertions";
    PUT_ASSERTIONS = "INSERT INTO assertions (kind, key, format, revision, content) VALUES ($1, $2, $3, $4, $5)";
    GET_ANCHORS = "SELECT fingerprint, stream FROM anchors";
    PUT_ANCHORS = "INSERT INTO anchors (fingerprint, stream) VALUES ($1, $2)";
    GET_BLOBS = "SELECT digest, size, blocks FROM blobs";
    PUT_BLOBS = "INSERT INTO blobs (digest, size, blocks) VALUES ($1, $2, $3)";
    GET_SNAPS = "SELECT snap_id, name, kind, private, text FROM snaps";
    PUT_SNAPS = "INSERT INTO snaps (snap_id, name, kind, private, text) VALUES ($1, $2, $3, $4, $5)";
    GET_SNAP_STORES = "SELECT snap_id, store_id FROM snap_stores";
    PUT_SNAP_STORES = "INSERT INTO snap_stores (snap_id, store_id) VALUES ($1, $2)";
    GET_REVISIONS = "SELECT snap_id, revision, blob, size, version, architectures, base, epoch, confinement, kind, provenance,
        snap_yaml, created_at FROM revisions";
    PUT_REVISIONS = "INSERT INTO revisions (snap_id, revision, blob, size, version, architectures, base, epoch, confinement, kind,
        provenance, snap_yaml, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    GET_COMPONENTS = "SELECT snap_id, name, revision, blob, size, kind, version, provenance FROM components";
    PUT_COMPONENTS = "INSERT INTO components (snap_id, name, revision, blob, size, kind, version, provenance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    GET_PAIRS = "SELECT snap_id, snap_revision, component, component_revision FROM pairs";
    PUT_PAIRS = "INSERT INTO pairs (snap_id, snap_revision, component, component_revision) VALUES ($1, $2, $3, $4)";
    GET_RELEASES = "SELECT snap_id, track, risk, branch, architecture, origin, revision, released_at FROM releases";
    PUT_RELEASES = "INSERT INTO releases (snap_id, track, risk, branch, architecture, origin, revision, released_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    GET_STORES = "SELECT store_id, brand_id, name, parent, document FROM stores";
    PUT_STORES = "INSERT INTO stores (store_id, brand_id, name, parent, document) VALUES ($1, $2, $3, $4, $5)";
    GET_GRANTS = "SELECT store_id, snap_id, name, reason FROM grants";
    PUT_GRANTS = "INSERT INTO grants (store_id, snap_id, name, reason) VALUES ($1, $2, $3, $4)";
    GET_DEVICES = "SELECT brand, model, serial, first_seen, last_seen, address, client, missed, store, agent,
        architecture, verified, pace, follows FROM devices";
    PUT_DEVICES = "INSERT INTO devices (brand, model, serial, first_seen, last_seen, address, client, missed, store, agent,
        architecture, verified, pace, follows)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    GET_DEVICE_SNAPS = "SELECT brand, model, serial, snaps FROM device_snaps";
    PUT_DEVICE_SNAPS = "INSERT INTO device_snaps (brand, model, serial, snaps) VALUES ($1, $2, $3, $4)";
    GET_DOWNLOADS = "SELECT brand, model, serial, downloads FROM device_downloads";
    PUT_DOWNLOADS = "INSERT INTO device_downloads (brand, model, serial, downloads) VALUES ($1, $2, $3, $4)";
    GET_BLOCKS = "SELECT brand, model, serial, blocked_at FROM device_blocks";
    PUT_BLOCKS = "INSERT INTO device_blocks (brand, model, serial, blocked_at) VALUES ($1, $2, $3, $4)";
    GET_EPOCHS = "SELECT epoch FROM nonce_epochs";
    PUT_EPOCHS = "INSERT INTO nonce_epochs (epoch) VALUES ($1)";
    GET_SPENT = "SELECT nonce, epoch, request_digest, issued_at FROM spent_nonces";
    PUT_SPENT = "INSERT INTO spent_nonces (nonce, epoch, request_digest, issued_at) VALUES ($1, $2, $3, $4)";
    GET_AUDIT = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit";
    PUT_AUDIT = "INSERT INTO audit (sequence, at, who, what, subject, outcome, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    GET_SPANS = "SELECT span, earliest, latest FROM audit_spans";
    PUT_SPANS = "INSERT INTO audit_spans (span, earliest, latest) VALUES ($1, $2, $3)";
    GET_TOUCHED = "SELECT subject, key, generation FROM touched";
    PUT_TOUCHED = "INSERT INTO touched (subject, key, generation) VALUES ($1, $2, $3)";
    GET_HISTORY = "SELECT snap_id, track, risk, branch, architecture, origin, revision, released_at, began, ended
        FROM release_history";
    PUT_HISTORY = "INSERT INTO release_history (snap_id, track, risk, branch, architecture, origin, revision, released_at, began,
        ended) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    GET_GRANT_HISTORY = "SELECT store_id, snap_id, name, reason, began, ended FROM grant_history";
    PUT_GRANT_HISTORY = "INSERT INTO grant_history (store_id, snap_id, name, reason, began, ended) VALUES ($1, $2, $3, $4, $5, $6)";
    GET_STORE_HISTORY = "SELECT store_id, brand_id, name, parent, document, began, ended FROM store_history";
    PUT_STORE_HISTORY = "INSERT INTO store_history (store_id, brand_id, name, parent, document, began, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    GET_SNAP_HISTORY = "SELECT snap_id, name, kind, private, text, began, ended FROM snap_history";
    PUT_SNAP_HISTORY = "INSERT INTO snap_history (snap_id, name, kind, private, text, began, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    GET_SNAP_STORE_HISTORY = "SELECT snap_id, store_id, began, ended FROM snap_store_history";
    PUT_SNAP_STORE_HISTORY = "INSERT INTO snap_store_history (snap_id, store_id, began, ended) VALUES ($1, $2, $3, $4)";
    GET_GENERATIONS = "SELECT generation, event FROM generations";
    PUT_GENERATIONS = "INSERT INTO generations (generation, event) VALUES ($1, $2)";
    GET_LISTED = "SELECT brand, model, serial, hardware_id, position FROM listed_serials";
    PUT_LISTED = "INSERT INTO listed_serials (brand, model, serial, hardware_id, position) VALUES ($1, $2, $3, $4, $5)";
    GET_ISSUED = "SELECT brand, model, serial, device_key, signed_by, request_digest, issued_at, document FROM issued_serials";
    PUT_ISSUED = "INSERT INTO issued_serials (brand, model, serial, device_key, signed_by, request_digest, issued_at, document)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    GET_CONTACTS = "SELECT rollout, brand, model, serial, offers, offered_at, with_at, without_at, held, seen_at FROM rollout_devices";
    PUT_CONTACTS = "INSERT INTO rollout_devices (rollout, brand, model, serial, offers, offered_at, with_at, without_at, held,
        seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    GET_APPROVALS = "SELECT id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state FROM approvals";
    PUT_APPROVALS = "INSERT INTO approvals (id, kind, subject, digest, detail, asked_by, asked_at, ends_at, needed, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    GET_VOTES = "SELECT approval, who, approves, at, why FROM approval_votes";
    PUT_VOTES = "INSERT INTO approval_votes (approval, who, approves, at, why) VALUES ($1, $2, $3, $4, $5)";
    GET_WAITING = "SELECT request_digest, approval FROM waiting_registrations";
    PUT_WAITING = "INSERT INTO waiting_registrations (request_digest, approval) VALUES ($1, $2)";
    GET_MEASURES = "SELECT step, metric, at, label, value FROM measures";
    PUT_MEASURES = "INSERT INTO measures (step, metric, at, label, value) VALUES ($1, $2, $3, $4, $5)";
    GET_KEY_DAYS = "SELECT key_name, day, signed FROM key_days";
    PUT_KEY_DAYS = "INSERT INTO key_days (key_name, day, signed) VALUES ($1, $2, $3)";
    GET_IMPORTS = "SELECT sequence, at, file_digest, kind, summary FROM imports";
    PUT_IMPORTS = "INSERT INTO imports (sequence, at, file_digest, kind, summary) VALUES ($1, $2, $3, $4, $5)";
}

/// How each table is read and written, in an order that satisfies all references.
pub(super) const TABLES: &[(&str, Sql, Sql)] = &[
    ("counters", GET_COUNTERS, PUT_COUNTERS),
    ("meta", GET_META, PUT_META),
    ("assertions", GET_ASSERTIONS, PUT_ASSERTIONS),
    ("anchors", GET_ANCHORS, PUT_ANCHORS),
    ("blobs", GET_BLOBS, PUT_BLOBS),
    ("snaps", GET_SNAPS, PUT_SNAPS),
    ("snap_stores", GET_SNAP_STORES, PUT_SNAP_STORES),
    ("revisions", GET_REVISIONS, PUT_REVISIONS),
    ("components", GET_COMPONENTS, PUT_COMPONENTS),
    ("pairs", GET_PAIRS, PUT_PAIRS),
    ("releases", GET_RELEASES, PUT_RELEASES),
    ("stores", GET_STORES, PUT_STORES),
    ("grants", GET_GRANTS, PUT_GRANTS),
    ("devices", GET_DEVICES, PUT_DEVICES),
    ("device_snaps", GET_DEVICE_SNAPS, PUT_DEVICE_SNAPS),
    ("device_downloads", GET_DOWNLOADS, PUT_DOWNLOADS),
    ("device_blocks", GET_BLOCKS, PUT_BLOCKS),
    ("nonce_epochs", GET_EPOCHS, PUT_EPOCHS),
    ("spent_nonces", GET_SPENT, PUT_SPENT),
    ("audit", GET_AUDIT, PUT_AUDIT),
    ("audit_spans", GET_SPANS, PUT_SPANS),
    ("imports", GET_IMPORTS, PUT_IMPORTS),
    ("touched", GET_TOUCHED, PUT_TOUCHED),
    ("release_history", GET_HISTORY, PUT_HISTORY),
    ("grant_history", GET_GRANT_HISTORY, PUT_GRANT_HISTORY),
    ("store_history", GET_STORE_HISTORY, PUT_STORE_HISTORY),
    ("snap_history", GET_SNAP_HISTORY, PUT_SNAP_HISTORY),
    ("snap_store_history", GET_SNAP_STORE_HISTORY, PUT_SNAP_STORE_HISTORY),
    ("generations", GET_GENERATIONS, PUT_GENERATIONS),
    ("listed_serials", GET_LISTED, PUT_LISTED),
    ("issued_serials", GET_ISSUED, PUT_ISSUED),
    ("rollout_devices", GET_CONTACTS, PUT_CONTACTS),
    ("approvals", GET_APPROVALS, PUT_APPROVALS),
    ("approval_votes", GET_VOTES, PUT_VOTES),
    ("waiting_registrations", GET_WAITING, PUT_WAITING),
    ("measures", GET_MEASURES, PUT_MEASURES),
    ("key_days", GET_KEY_DAYS, PUT_KEY_DAYS),
];

impl Database {
    /// Copies everything into `target`, which is migrated first and must otherwise be empty. All or nothing.
    ///
    /// Reads one snapshot of this database: later commits are not copied, so stop writing first.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] if `target` is already in use.
    pub(crate) async fn copy_to(&self, target: &Database, at_micros: i64) -> Result<(), StorageError> {
        target.migrate(at_micros).await?;
        let mut from = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let mut to = target.engine.begin(Lane::Operator, Mode::Write).await?;
        // A concurrent copy waits here, and then finds that the counters have moved.
        to.lock_schema().await?;
        let done = to.query(COUNT_DONE, Vec::new()).await?.into_iter().next().unwrap_or_default();
        if Reader::new("counters", done).int("value")? != 0 {
            return Err(StorageError::NotEmpty);
        }
        to.query(DELETE_COUNTERS, Vec::new()).await?;
        to.query(DELETE_ALL_EPOCHS, Vec::new()).await?;
        to.query(DELETE_GENERATIONS, Vec::new()).await?;
        for (_, get, put) in TABLES {
            let rows = from.query(*get, Vec::new()).await?;
            to.each(*put, rows).await?;
        }
        to.announce().await?;
        to.commit().await?;
        from.commit().await
    }
}
