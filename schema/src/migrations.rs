//! The numbered SQL files that create the database schema, embedded.
//!
//! A released file never changes: each database records the checksums of the files applied to it. The text is
//! portable; only the types `BIGINT`, `BYTEA` and the mark `/*STRICT*/` are spelled differently per engine.

/// One step of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number, counted from 1 without gaps.
    pub version: i64,
    /// Its title, from the file name.
    pub name: &'static str,
    /// The statements, in portable SQL.
    pub sql: &'static str,
}

/// The migration after which the server computes the digests of existing audit events.
pub const AUDIT_CHAIN: &str = "audit_chain";

/// All migrations, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "store_of_record",
        sql: include_str!("../migrations/0001_store_of_record.sql"),
    },
    Migration {
        version: 2,
        name: "devices_agent",
        sql: include_str!("../migrations/0002_devices_agent.sql"),
    },
    Migration { version: 3, name: AUDIT_CHAIN, sql: include_str!("../migrations/0003_audit_chain.sql") },
    Migration { version: 4, name: "touched", sql: include_str!("../migrations/0004_touched.sql") },
    Migration {
        version: 5,
        name: "devices_target",
        sql: include_str!("../migrations/0005_devices_target.sql"),
    },
    Migration {
        version: 6,
        name: "release_history",
        sql: include_str!("../migrations/0006_release_history.sql"),
    },
    Migration { version: 7, name: "serials", sql: include_str!("../migrations/0007_serials.sql") },
    Migration { version: 8, name: "rollouts", sql: include_str!("../migrations/0008_rollouts.sql") },
    Migration { version: 9, name: "approvals", sql: include_str!("../migrations/0009_approvals.sql") },
    Migration { version: 10, name: "pages", sql: include_str!("../migrations/0010_pages.sql") },
    Migration { version: 11, name: "measures", sql: include_str!("../migrations/0011_measures.sql") },
    Migration { version: 12, name: "device_snaps", sql: include_str!("../migrations/0012_device_snaps.sql") },
    Migration { version: 13, name: "key_days", sql: include_str!("../migrations/0013_key_days.sql") },
    Migration { version: 14, name: "audit_spans", sql: include_str!("../migrations/0014_audit_spans.sql") },
    Migration {
        version: 15,
        name: "grant_history",
        sql: include_str!("../migrations/0015_grant_history.sql"),
    },
    Migration {
        version: 16,
        name: "device_downloads",
        sql: include_str!("../migrations/0016_device_downloads.sql"),
    },
];

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;

    #[test]
    fn versions_count_from_one() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected, "{}", migration.name);
        }
    }
}
