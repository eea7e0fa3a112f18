//! A server killed at each named step: before the commit nothing is visible, after it everything is.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use tempfile::TempDir;

use super::fixture::{NOW, add_revision, change, release};
use crate::storage::blobs::{BlobStore, Condition, Pace};
use crate::storage::records::{Origin, Snapshot};
use crate::storage::{Database, Settings};

/// The steps of a push in order, and whether it is visible if the server dies there.
const STEPS: [(&str, bool); 8] = [
    ("blob.staged", false),
    ("blob.synced", false),
    ("blob.renamed", false),
    ("commit.begun", false),
    ("commit.assertions", false),
    ("commit.releases", false),
    ("commit.before", false),
    ("commit.after", true),
];
const DATA: &str = "AIRLOCK_TEST_DATA";

async fn open(data: &Path) -> (BlobStore, Database) {
    let database = Database::open(&Settings::Sqlite(data.join("airlock.db"))).await.unwrap();
    database.migrate(NOW).await.unwrap();
    (BlobStore::open(data).unwrap(), database)
}

/// The server to be killed: pushes one snap into the folder in the environment.
#[tokio::test]
async fn victim() {
    #[expect(clippy::disallowed_methods, reason = "the test runs itself again")]
    let Some(data) = std::env::var_os(DATA) else {
        return;
    };
    let (blobs, database) = open(Path::new(&data)).await;
    assert!(blobs.recover().await.unwrap().trouble.is_none());
    let mut staging = blobs.stage(1 << 20).await.unwrap();
    staging.write(&[7; 100_000]).await.unwrap();
    let staged = staging.finish().await.unwrap();
    let mut change = change("push-snap");
    add_revision(&mut change, "snap", 1);
    change.blobs[0] = staged.record().clone();
    change.revisions[0].blob = change.blobs[0].digest;
    change.releases.push(release("snap", 1, Origin::Imported));
    staged.publish().await.unwrap();
    let generation = database.generation().await.unwrap();
    database.commit(&change, &[], generation).await.unwrap();
}

fn push(data: &Path, die_at: Option<&str>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "storage::contract::kills::victim"]).env(DATA, data);
    if let Some(name) = die_at {
        command.env("AIRLOCK_FAILPOINT", name);
    }
    command.output().unwrap().status
}

/// The stored state, after checking that each visible blob is intact.
async fn audited(data: &Path) -> Snapshot {
    let (blobs, database) = open(data).await;
    let snapshot = database.load().await.unwrap();
    for blob in &snapshot.blobs {
        let condition = blobs.examine(blob.digest, blob.size, Arc::new(Pace::new(None))).await.unwrap();
        assert_eq!(condition, Condition::Whole);
    }
    snapshot
}

#[tokio::test]
async fn a_push_is_visible_whole_or_not_at_all() {
    for (name, visible) in STEPS {
        let data = TempDir::new().unwrap();
        let died = push(data.path(), Some(name));
        assert!(died.signal().is_some(), "{name}: {died:?}");
        let snapshot = audited(data.path()).await;
        let counts = (snapshot.blobs.len(), snapshot.revisions.len(), snapshot.releases.len());
        let expected = usize::from(visible);
        assert_eq!(counts, (expected, expected, expected), "{name}");
        assert_eq!(snapshot.position.generation, i64::from(visible), "{name}");

        // Run again; the result equals that of one clean run.
        assert!(push(data.path(), None).success(), "{name}");
        let snapshot = audited(data.path()).await;
        assert_eq!((snapshot.blobs.len(), snapshot.releases.len()), (1, 1), "{name}");
        assert_eq!(std::fs::read_dir(data.path().join("staging")).unwrap().count(), 0, "{name}");
    }
}
