-- Every release that there was, with the generation in which it began and the one in which it ended; none while it is in force.
-- History starts with what is released when this is applied.
CREATE TABLE release_history (
    snap_id       TEXT   NOT NULL,
    track         TEXT   NOT NULL,
    risk          TEXT   NOT NULL,
    branch        TEXT   NOT NULL,
    architecture  TEXT   NOT NULL,
    origin        TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    released_at   TEXT   NOT NULL,
    began         BIGINT NOT NULL,
    ended         BIGINT,
    PRIMARY KEY (snap_id, track, risk, branch, architecture, origin, began)
) /*STRICT*/;
-- A change looks only at the rows in force of the snaps that it touches.
CREATE INDEX release_history_in_force ON release_history (snap_id) WHERE ended IS NULL;
CREATE INDEX release_history_began ON release_history (began);
CREATE INDEX release_history_ended ON release_history (ended);

-- The generations that moved a release, each with the audit event that tells when, by whom and why; 0 for none.
-- The first row is where history starts.
CREATE TABLE generations (
    generation  BIGINT NOT NULL PRIMARY KEY,
    event       BIGINT NOT NULL
) /*STRICT*/;

INSERT INTO release_history (snap_id, track, risk, branch, architecture, origin, revision, released_at, began)
    SELECT snap_id, track, risk, branch, architecture, origin, revision, released_at,
        (SELECT value FROM counters WHERE name = 'generation')
    FROM releases;
INSERT INTO generations (generation, event)
    SELECT value, COALESCE((SELECT max(sequence) FROM audit), 0) FROM counters WHERE name = 'generation';
