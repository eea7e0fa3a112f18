-- What an answer to a device depends on besides what it runs: the architecture that it names, and whether its session
-- proves model and serial. Devices seen by earlier versions say so again at their next refresh.
ALTER TABLE devices ADD COLUMN architecture TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN verified BIGINT NOT NULL DEFAULT 1;
