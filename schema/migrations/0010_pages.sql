-- What the pages look for in the audit log. An entry of an index holds the beginning of a text: PostgreSQL takes none of more than 2,704 bytes.
CREATE INDEX audit_by_who ON audit (substr(who, 1, 64), sequence);
CREATE INDEX audit_by_what ON audit (substr(what, 1, 64), sequence);
CREATE INDEX audit_by_who_and_what ON audit (substr(who, 1, 64), substr(what, 1, 64), sequence);
CREATE INDEX audit_by_subject ON audit (substr(subject, 1, 64), sequence);
CREATE INDEX audit_by_time ON audit (at, sequence);

-- How many devices were seen since a moment, which of them miss something, and which has a serial.
CREATE INDEX devices_by_time ON devices (last_seen);
CREATE INDEX devices_by_miss ON devices (last_seen) WHERE missed IS NOT NULL;
CREATE INDEX devices_by_serial ON devices (serial);
