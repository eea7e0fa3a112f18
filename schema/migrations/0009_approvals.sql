-- What waits until others have approved it. `digest` says exactly what is to be done, `detail` shows it to people. `state` is
-- waiting, approved, refused, used, or void after a restore.
CREATE TABLE approvals (
    id        BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    digest    TEXT   NOT NULL,
    detail    TEXT   NOT NULL,
    asked_by  TEXT   NOT NULL,
    asked_at  BIGINT NOT NULL,
    ends_at   BIGINT NOT NULL,
    needed    BIGINT NOT NULL,
    state     TEXT   NOT NULL,
    PRIMARY KEY (id)
) /*STRICT*/;
CREATE INDEX approvals_by_digest ON approvals (digest);

INSERT INTO counters (name, value) VALUES ('approval', 0);

-- What each operator said to it.
CREATE TABLE approval_votes (
    approval  BIGINT NOT NULL,
    who       TEXT   NOT NULL,
    approves  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    why       TEXT,
    PRIMARY KEY (approval, who)
) /*STRICT*/;

-- Requests for a serial that wait for an approval: devices repeat them for as long as that takes, with the request id that they
-- have.
CREATE TABLE waiting_registrations (
    request_digest  TEXT   NOT NULL,
    approval        BIGINT NOT NULL,
    PRIMARY KEY (request_digest)
) /*STRICT*/;
