-- What the fleet view tells of a device beside what it runs: the store of its model, and its client's version.
ALTER TABLE devices ADD COLUMN store TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN agent TEXT NOT NULL DEFAULT '';
