-- What each change touched, so that a server takes over only what is newer than its own generation: the generation of the
-- last change for each subject. A subject that has no rows any more is gone.
CREATE TABLE touched (
    subject     TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    generation  BIGINT NOT NULL,
    PRIMARY KEY (subject, key)
) /*STRICT*/;
CREATE INDEX touched_since ON touched (generation);
-- Counts the changes that noted here what they touched. Where it falls behind the generation, somebody else wrote.
INSERT INTO counters (name, value) VALUES ('noted', 0);

-- Removing a file looks for whatever still names it.
CREATE INDEX revisions_of_blob ON revisions (blob);
CREATE INDEX components_of_blob ON components (blob);
