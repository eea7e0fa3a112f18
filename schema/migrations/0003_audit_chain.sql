-- Each row carries the digest of itself and of the row before it (hazard J5); those that are there get theirs with this
-- migration. The newest one is also kept in `meta` as 'audit-head', NUMBER:DIGEST, so that a missing end is noticed.
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
