-- The store of record. One text for both engines: BIGINT, TEXT and BYTEA are the only types, times are
-- microseconds since 1970, truth values 0 or 1, lists and objects JSON text, digests lower-case hex.

-- Which migrations made this schema, and from which text.
CREATE TABLE schema_migrations (
    version     BIGINT NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    checksum    TEXT   NOT NULL,
    applied_at  BIGINT NOT NULL
) /*STRICT*/;

-- `generation` counts committed changes and guards them; `audit` and `import` number the rows of those tables.
CREATE TABLE counters (
    name   TEXT   NOT NULL PRIMARY KEY,
    value  BIGINT NOT NULL
) /*STRICT*/;
INSERT INTO counters (name, value) VALUES ('generation', 0), ('audit', 0), ('import', 0);

-- Facts about this store that are neither configuration nor assertions.
CREATE TABLE meta (
    name   TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL
) /*STRICT*/;

-- Signed documents, byte for byte. `key` is the primary key's values joined by '/'.
CREATE TABLE assertions (
    kind      TEXT   NOT NULL,
    key       TEXT   NOT NULL,
    format    BIGINT NOT NULL,
    revision  BIGINT NOT NULL,
    content   BYTEA  NOT NULL,
    PRIMARY KEY (kind, key, format)
) /*STRICT*/;

-- Trust anchors that the operator added, as the assertion stream that was given.
CREATE TABLE anchors (
    fingerprint  TEXT NOT NULL PRIMARY KEY,
    stream       TEXT NOT NULL
) /*STRICT*/;

-- Bytes of snaps and components. `blocks` is the SHA-256 of each MiB, joined.
CREATE TABLE blobs (
    digest  TEXT   NOT NULL PRIMARY KEY,
    size    BIGINT NOT NULL,
    blocks  BYTEA  NOT NULL
) /*STRICT*/;

CREATE TABLE snaps (
    snap_id  TEXT   NOT NULL PRIMARY KEY,
    name     TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    private  BIGINT NOT NULL,
    text     TEXT   NOT NULL
) /*STRICT*/;

-- The stores that a snap was pushed for.
CREATE TABLE snap_stores (
    snap_id   TEXT NOT NULL REFERENCES snaps (snap_id),
    store_id  TEXT NOT NULL,
    PRIMARY KEY (snap_id, store_id)
) /*STRICT*/;

CREATE TABLE revisions (
    snap_id        TEXT   NOT NULL REFERENCES snaps (snap_id),
    revision       BIGINT NOT NULL,
    blob           TEXT   NOT NULL REFERENCES blobs (digest),
    size           BIGINT NOT NULL,
    version        TEXT   NOT NULL,
    architectures  TEXT   NOT NULL,
    base           TEXT,
    epoch          TEXT   NOT NULL,
    confinement    TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    provenance     TEXT   NOT NULL,
    snap_yaml      TEXT   NOT NULL,
    created_at     TEXT,
    PRIMARY KEY (snap_id, revision)
) /*STRICT*/;

CREATE TABLE components (
    snap_id     TEXT   NOT NULL REFERENCES snaps (snap_id),
    name        TEXT   NOT NULL,
    revision    BIGINT NOT NULL,
    blob        TEXT   NOT NULL REFERENCES blobs (digest),
    size        BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    provenance  TEXT   NOT NULL,
    PRIMARY KEY (snap_id, name, revision)
) /*STRICT*/;

-- Which component revisions go with which snap revision.
CREATE TABLE pairs (
    snap_id             TEXT   NOT NULL,
    snap_revision       BIGINT NOT NULL,
    component           TEXT   NOT NULL,
    component_revision  BIGINT NOT NULL,
    PRIMARY KEY (snap_id, snap_revision, component, component_revision),
    FOREIGN KEY (snap_id, snap_revision) REFERENCES revisions (snap_id, revision),
    FOREIGN KEY (snap_id, component, component_revision) REFERENCES components (snap_id, name, revision)
) /*STRICT*/;

-- The channel map. `branch` is empty for none; `origin` is 'imported' or 'override', and both may be there
-- for one channel: the override counts, and what was imported comes back when it is deleted.
CREATE TABLE releases (
    snap_id       TEXT   NOT NULL,
    track         TEXT   NOT NULL,
    risk          TEXT   NOT NULL,
    branch        TEXT   NOT NULL,
    architecture  TEXT   NOT NULL,
    origin        TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    released_at   TEXT   NOT NULL,
    PRIMARY KEY (snap_id, track, risk, branch, architecture, origin),
    FOREIGN KEY (snap_id, revision) REFERENCES revisions (snap_id, revision)
) /*STRICT*/;

CREATE TABLE stores (
    store_id  TEXT NOT NULL PRIMARY KEY,
    brand_id  TEXT NOT NULL,
    name      TEXT NOT NULL,
    parent    TEXT,
    document  TEXT NOT NULL
) /*STRICT*/;

-- What a store may hand out. The snap itself may come later.
CREATE TABLE grants (
    store_id  TEXT NOT NULL REFERENCES stores (store_id),
    snap_id   TEXT NOT NULL,
    name      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (store_id, snap_id, name, reason)
) /*STRICT*/;

-- Devices as they were last seen.
CREATE TABLE devices (
    brand       TEXT   NOT NULL,
    model       TEXT   NOT NULL,
    serial      TEXT   NOT NULL,
    first_seen  BIGINT NOT NULL,
    last_seen   BIGINT NOT NULL,
    address     TEXT   NOT NULL,
    client      TEXT   NOT NULL,
    snaps       TEXT,
    missed      TEXT,
    PRIMARY KEY (brand, model, serial)
) /*STRICT*/;

-- Devices that are refused, seen or not.
CREATE TABLE device_blocks (
    brand       TEXT   NOT NULL,
    model       TEXT   NOT NULL,
    serial      TEXT   NOT NULL,
    blocked_at  BIGINT NOT NULL,
    PRIMARY KEY (brand, model, serial)
) /*STRICT*/;

-- The nonce epochs that are still accepted. A spent nonce belongs to one of them: deleting an epoch forgets its
-- nonces, and the reference makes it impossible to spend a nonce of a forgotten epoch, whatever runs at the same time.
CREATE TABLE nonce_epochs (
    epoch  BIGINT NOT NULL PRIMARY KEY
) /*STRICT*/;
INSERT INTO nonce_epochs (epoch) VALUES (1);

-- `nonce` is the nonce's SHA3-384, never the nonce.
CREATE TABLE spent_nonces (
    nonce           TEXT   NOT NULL PRIMARY KEY,
    epoch           BIGINT NOT NULL REFERENCES nonce_epochs (epoch) ON DELETE CASCADE,
    request_digest  TEXT   NOT NULL,
    issued_at       BIGINT NOT NULL
) /*STRICT*/;
CREATE INDEX spent_nonces_of_epoch ON spent_nonces (epoch);

CREATE TABLE audit (
    sequence  BIGINT NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    who       TEXT   NOT NULL,
    what      TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    outcome   TEXT   NOT NULL,
    detail    TEXT   NOT NULL
) /*STRICT*/;

CREATE TABLE imports (
    sequence     BIGINT NOT NULL PRIMARY KEY,
    at           BIGINT NOT NULL,
    file_digest  TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    summary      TEXT   NOT NULL
) /*STRICT*/;
CREATE INDEX imports_of_file ON imports (file_digest);
