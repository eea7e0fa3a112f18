-- Between which times each 256 events lie, so that a search by time reads those numbers alone. Times do not rise with the numbers: a
-- clock goes back, or two servers differ. Such a moment widens the spans in which it happens, and no others.
CREATE TABLE audit_spans (
    span      BIGINT NOT NULL PRIMARY KEY,
    earliest  BIGINT NOT NULL,
    latest    BIGINT NOT NULL
) /*STRICT*/;
INSERT INTO audit_spans (span, earliest, latest)
    SELECT sequence / 256, MIN(at), MAX(at) FROM audit GROUP BY sequence / 256;

-- Each combination of what the pages look for walks an index of its own, however seldom it occurs.
CREATE INDEX audit_by_who_and_subject ON audit (substr(who, 1, 64), substr(subject, 1, 64), sequence);
CREATE INDEX audit_by_what_and_subject ON audit (substr(what, 1, 64), substr(subject, 1, 64), sequence);
CREATE INDEX audit_by_all ON audit (substr(who, 1, 64), substr(what, 1, 64), substr(subject, 1, 64), sequence);
CREATE INDEX audit_by_refusal ON audit (sequence) WHERE outcome = 'refused';
