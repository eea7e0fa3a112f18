-- Every grant that there was, and every description of a store and of a snap, with the generation in which it began and the one
-- in which it ended; none while it is in force. History starts with what is held when this is applied.
CREATE TABLE grant_history (
    store_id  TEXT   NOT NULL,
    snap_id   TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    began     BIGINT NOT NULL,
    ended     BIGINT,
    PRIMARY KEY (store_id, snap_id, name, reason, began)
) /*STRICT*/;
-- A change looks only at the rows in force of what it touches.
CREATE INDEX grant_history_in_force ON grant_history (store_id) WHERE ended IS NULL;
CREATE INDEX grant_history_of_snap ON grant_history (snap_id);
CREATE INDEX grant_history_began ON grant_history (began);
CREATE INDEX grant_history_ended ON grant_history (ended);

CREATE TABLE store_history (
    store_id  TEXT   NOT NULL,
    brand_id  TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    parent    TEXT,
    document  TEXT   NOT NULL,
    began     BIGINT NOT NULL,
    ended     BIGINT,
    PRIMARY KEY (store_id, began)
) /*STRICT*/;
CREATE INDEX store_history_began ON store_history (began);
CREATE INDEX store_history_ended ON store_history (ended);

-- Texts are without the revision that they describe, but for those held when this is applied: it moves with releases.
CREATE TABLE snap_history (
    snap_id  TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    private  BIGINT NOT NULL,
    text     TEXT   NOT NULL,
    began    BIGINT NOT NULL,
    ended    BIGINT,
    PRIMARY KEY (snap_id, began)
) /*STRICT*/;
CREATE INDEX snap_history_began ON snap_history (began);
CREATE INDEX snap_history_ended ON snap_history (ended);

CREATE TABLE snap_store_history (
    snap_id   TEXT   NOT NULL,
    store_id  TEXT   NOT NULL,
    began     BIGINT NOT NULL,
    ended     BIGINT,
    PRIMARY KEY (snap_id, store_id, began)
) /*STRICT*/;
CREATE INDEX snap_store_history_began ON snap_store_history (began);
CREATE INDEX snap_store_history_ended ON snap_store_history (ended);

-- The generation with which this history starts: what came before it is not known, and what it holds did not begin in it.
INSERT INTO counters (name, value) SELECT 'grants-since', value FROM counters WHERE name = 'generation';

INSERT INTO grant_history (store_id, snap_id, name, reason, began)
    SELECT store_id, snap_id, name, reason, (SELECT value FROM counters WHERE name = 'grants-since') FROM grants;
INSERT INTO store_history (store_id, brand_id, name, parent, document, began)
    SELECT store_id, brand_id, name, parent, document, (SELECT value FROM counters WHERE name = 'grants-since') FROM stores;
INSERT INTO snap_history (snap_id, name, kind, private, text, began)
    SELECT snap_id, name, kind, private, text, (SELECT value FROM counters WHERE name = 'grants-since') FROM snaps;
INSERT INTO snap_store_history (snap_id, store_id, began)
    SELECT snap_id, store_id, (SELECT value FROM counters WHERE name = 'grants-since') FROM snap_stores;
-- A time after this one leads here, even if no release moved.
INSERT INTO generations (generation, event)
    SELECT c.value, COALESCE((SELECT max(sequence) FROM audit), 0) FROM counters AS c WHERE c.name = 'grants-since'
        AND NOT EXISTS (SELECT 1 FROM generations AS g WHERE g.generation = c.value);
