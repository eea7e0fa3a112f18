-- How often a device comes, in microseconds: a mean in which its last visit counts for a quarter; 0 until it came twice.
ALTER TABLE devices ADD COLUMN pace BIGINT NOT NULL DEFAULT 0;

-- How devices of open waves took to a rollout's revision: at how many visits it was offered to one that did not have it and when the
-- last of them was, when the device was first seen with it, when last without it, whether it held its updates then, and when
-- this was; 0 for never.
CREATE TABLE rollout_devices (
    rollout     TEXT   NOT NULL,
    brand       TEXT   NOT NULL,
    model       TEXT   NOT NULL,
    serial      TEXT   NOT NULL,
    offers      BIGINT NOT NULL,
    offered_at  BIGINT NOT NULL,
    with_at     BIGINT NOT NULL,
    without_at  BIGINT NOT NULL,
    held        BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    PRIMARY KEY (rollout, brand, model, serial)
) /*STRICT*/;
