//! Overrides: what was imported where one stands.

mod back;
mod fleet;
mod rollouts;

use time::OffsetDateTime;

use super::By;
use super::overrides::{Wish, plan_overrides};
use crate::catalog::Catalog;
use crate::imports::tests::world::*;
use crate::imports::{SnapOptions, plan_snaps};
use crate::storage::records::{Origin, ReleaseRecord, Snapshot};

/// A store of `jq` with revision 5 for all architectures and 6 for riscv64, and these releases in `latest/stable`.
fn catalog(imported: &[(&str, u32)]) -> Catalog {
    Catalog::compile(snapshot(imported), "http://store.test", None).expect("a catalog")
}

fn snapshot(imported: &[(&str, u32)]) -> Snapshot {
    let mut bundle = bundle(&[1, 2, 5, 6]);
    for (at, architectures) in [(2, "all"), (3, "riscv64")] {
        bundle.snaps[at].yaml.architectures = vec![architectures.parse().expect("an architecture")];
    }
    let (change, _) =
        plan_snaps(&World::new(), &bundle, &SnapOptions::default(), &context()).expect("accepted");
    let release = |(architecture, revision): &(&str, u32)| ReleaseRecord {
        snap_id: JQ.parse().unwrap(),
        channel: "stable".parse().unwrap(),
        architecture: architecture.parse().unwrap(),
        revision: *revision,
        released_at: "2026-08-01T00:00:00Z".into(),
        origin: Origin::Imported,
    };
    Snapshot {
        snaps: change.snaps,
        revisions: change.revisions,
        blobs: change.blobs,
        releases: imported.iter().map(release).collect(),
        ..Snapshot::default()
    }
}

#[test]
fn what_was_imported_is_told_where_it_is_one_revision() {
    for (imported, revision, expected) in [
        (&[][..], 5, None),
        (&[("amd64", 1), ("arm64", 1)], 5, Some(1)),
        (&[("amd64", 1), ("arm64", 2)], 5, None),
        (&[("amd64", 1), ("all", 2)], 5, Some(2)),
        (&[("amd64", 1), ("riscv64", 2)], 6, Some(2)),
        (&[("amd64", 1), ("all", 2)], 6, Some(2)),
        (&[("amd64", 1), ("arm64", 1)], 6, None),
    ] {
        let wish = Wish {
            snap: "jq".into(),
            channel: "stable".into(),
            revision: Some(revision),
            create_track: false,
        };
        let by = By { who: "operator".into(), now: OffsetDateTime::UNIX_EPOCH };
        let (_, report) = plan_overrides(&catalog(imported), &[wish], &by).expect("planned");
        let told: Vec<_> = report.iter().map(|one| (one.revision, one.upstream_revision)).collect();
        assert_eq!(told, [(Some(revision), expected)], "{revision} over {imported:?}");
    }
}
