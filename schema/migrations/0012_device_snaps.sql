-- What devices run, apart from when they were seen: a device comes several times a day, and its list seldom changes.
CREATE TABLE device_snaps (
    brand   TEXT NOT NULL,
    model   TEXT NOT NULL,
    serial  TEXT NOT NULL,
    snaps   TEXT NOT NULL,
    PRIMARY KEY (brand, model, serial)
) /*STRICT*/;
INSERT INTO device_snaps (brand, model, serial, snaps)
    SELECT brand, model, serial, snaps FROM devices WHERE snaps IS NOT NULL;
ALTER TABLE devices DROP COLUMN snaps;
-- The validation sets that a device follows, each with the sequence that it has: it says so when it asks for newer ones, apart from
-- what it runs.
ALTER TABLE devices ADD COLUMN follows TEXT;
