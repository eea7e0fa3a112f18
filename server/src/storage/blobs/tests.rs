//! Blobs: staged, published, healed, and never half there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use schema::digest::Sha3_384;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::condition::Identity;
use super::local::Staging;
use super::{BLOCK, BlobError, BlobStore, Condition, Harm, Pace, Published, Staged};

fn store() -> (TempDir, BlobStore) {
    let data = TempDir::new().unwrap();
    let blobs = BlobStore::open(data.path()).unwrap();
    (data, blobs)
}

async fn staged(blobs: &BlobStore, bytes: &[u8], piece: usize) -> Result<Staged, BlobError> {
    let mut staging: Staging = blobs.stage(bytes.len() as u64).await?;
    for piece in bytes.chunks(piece) {
        staging.write(piece).await?;
    }
    staging.finish().await
}

async fn condition(blobs: &BlobStore, digest: Sha3_384, size: u64) -> Condition {
    blobs.examine(digest, size, Arc::new(Pace::new(None))).await.unwrap()
}

/// The names of all files under `folder`, and the bytes they hold together.
fn files(folder: &Path) -> (usize, u64) {
    let mut found = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (count, bytes) = match entry.metadata().unwrap() {
            data if data.is_dir() => files(&entry.path()),
            data => (1, data.len()),
        };
        found = (found.0 + count, found.1 + bytes);
    }
    found
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

#[tokio::test]
async fn digests_do_not_depend_on_how_the_bytes_arrive() {
    let (_data, blobs) = store();
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 7] {
        let content = bytes(size);
        let blocks: Vec<u8> = content.chunks(BLOCK).flat_map(Sha256::digest).collect();
        for piece in [1000, BLOCK, 3 * BLOCK] {
            let staged = staged(&blobs, &content, piece).await.unwrap();
            let record = staged.record();
            assert_eq!(record.digest, Sha3_384::of(&content), "{size} by {piece}");
            assert_eq!((record.size, &record.blocks), (size as u64, &blocks), "{size} by {piece}");
            assert_eq!(files(&_data.path().join("staging")), (1, size as u64));
        }
    }
    assert_eq!(files(_data.path()), (0, 0));
}

#[tokio::test]
async fn a_published_blob_can_be_opened_and_is_for_the_owner_only() {
    let (data, blobs) = store();
    let content = bytes(BLOCK + 5);
    let staged = staged(&blobs, &content, 4096).await.unwrap();
    let record = staged.record().clone();
    let mut read = Vec::new();
    staged.reopen().unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
    assert!(matches!(blobs.open_blob(&record.digest, record.size), Err(BlobError::Missing { .. })));

    assert_eq!(staged.publish().await.unwrap().1, Published::New);
    read.clear();
    blobs.open_blob(&record.digest, record.size).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, content);

    let hex = record.digest.to_hex();
    let folder = data.path().join("blobs").join(&hex[..2]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.join(&hex)), 0o600);
    assert_eq!(mode(&folder) & 0o027, 0, "others stay out");
    assert_eq!(files(data.path()), (1, record.size));
}

#[tokio::test]
async fn damage_is_healed_by_the_next_import_and_a_whole_blob_is_kept() {
    let (data, blobs) = store();
    let content = bytes(BLOCK / 2);
    let digest = Sha3_384::of(&content);
    let size = content.len() as u64;
    let hex = digest.to_hex();
    let path = data.path().join("blobs").join(&hex[..2]).join(&hex);
    let publish = async || staged(&blobs, &content, BLOCK).await.unwrap().publish().await.unwrap().1;

    assert_eq!(publish().await, Published::New);
    assert_eq!(publish().await, Published::Already);
    let mut flipped = content.clone();
    flipped[100] ^= 1;
    for damage in [&flipped[..], &content[1..], b"", &[&content[..], b"x"].concat()] {
        fs::write(&path, damage).unwrap();
        assert_ne!(condition(&blobs, digest, size).await, Condition::Whole);
        assert_eq!(publish().await, Published::Healed);
        assert_eq!(condition(&blobs, digest, size).await, Condition::Whole);
    }
    assert_eq!(files(data.path()), (1, size));
}

#[tokio::test]
async fn damage_is_set_aside_until_the_next_import_and_never_a_file_that_came_between() {
    let (data, blobs) = store();
    let publish = async || staged(&blobs, b"hello", 5).await.unwrap().publish().await.unwrap().1;
    publish().await;
    let digest = Sha3_384::of(b"hello");
    let hex = digest.to_hex();
    let path = data.path().join("blobs").join(&hex[..2]).join(&hex);
    fs::write(&path, b"hellO").unwrap();
    let Condition::Damaged(harm) = condition(&blobs, digest, 5).await else { panic!("it is damaged") };
    // Repaired since the check.
    assert_eq!(publish().await, Published::Healed);
    assert!(!blobs.set_aside(digest, harm).await.unwrap());
    assert_eq!(condition(&blobs, digest, 5).await, Condition::Whole);
    assert_eq!(blobs.damaged().await.unwrap(), []);

    for harmed in [&b"hell"[..], b"hellO"] {
        fs::write(&path, harmed).unwrap();
        let Condition::Damaged(harm) = condition(&blobs, digest, 5).await else { panic!("it is damaged") };
        assert!(blobs.set_aside(digest, harm).await.unwrap());
        assert_eq!(blobs.damaged().await.unwrap(), [digest]);
        assert_eq!(condition(&blobs, digest, 5).await, Condition::Damaged(Harm::Missing));
        assert_eq!(fs::read(data.path().join("blobs/damaged").join(&hex)).unwrap(), harmed);
        assert!(blobs.list().await.unwrap().is_empty());
        assert_eq!(publish().await, Published::Healed);
        assert_eq!(blobs.damaged().await.unwrap(), []);
    }
    assert!(!blobs.set_aside(digest, Harm::Missing).await.unwrap(), "it is there");
}

#[tokio::test]
async fn what_is_taken_away_is_published_again_or_put_back() {
    let (data, blobs) = store();
    let digest = Sha3_384::of(b"hello");
    let staged = staged(&blobs, b"hello", 5).await.unwrap();
    assert!(!staged.stands().await.unwrap(), "it was not published yet");
    let (staged, published) = staged.publish().await.unwrap();
    assert_eq!(published, Published::New);
    assert!(staged.stands().await.unwrap());
    drop(blobs.remove(vec![digest]).await.unwrap());
    assert!(!staged.stands().await.unwrap());
    assert!(matches!(blobs.open_blob(&digest, 5), Err(BlobError::Missing { .. })));
    let (staged, published) = staged.publish().await.unwrap();
    assert_eq!(published, Published::New);
    assert!(staged.stands().await.unwrap());

    let taken = blobs.remove(vec![digest]).await.unwrap();
    taken.put_back().await.unwrap();
    assert!(staged.stands().await.unwrap(), "the very file has its name again");
    // If another file has the name by then, it keeps it.
    let taken = blobs.remove(vec![digest]).await.unwrap();
    let (staged, _) = staged.publish().await.unwrap();
    taken.put_back().await.unwrap();
    assert!(staged.stands().await.unwrap());
    let hex = digest.to_hex();
    let identity = Identity::at(&data.path().join("blobs").join(&hex[..2]).join(&hex)).unwrap();
    let harm = Harm::Content(identity);
    assert!(blobs.set_aside(digest, harm).await.unwrap());
    assert!(!staged.stands().await.unwrap(), "it was set aside");
    drop(staged);
    assert_eq!(fs::read_dir(data.path().join("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn reading_keeps_its_pace_and_ends_when_it_is_told_to() {
    let (_data, blobs) = store();
    let content = bytes(BLOCK);
    staged(&blobs, &content, BLOCK).await.unwrap().publish().await.unwrap();
    let (digest, size) = (Sha3_384::of(&content), BLOCK as u64);
    let pace = Arc::new(Pace::new(Some(4 << 20)));
    let begun = Instant::now();
    assert_eq!(blobs.examine(digest, size, Arc::clone(&pace)).await.unwrap(), Condition::Whole);
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(pace.bytes_read(), size);
    pace.stop();
    assert!(blobs.examine(digest, size, pace).await.is_err());
}

#[tokio::test]
async fn a_blob_of_another_length_is_not_opened() {
    let (data, blobs) = store();
    let staged = staged(&blobs, b"hello", 5).await.unwrap();
    let digest = staged.record().digest;
    staged.publish().await.unwrap();
    assert!(matches!(
        blobs.open_blob(&digest, 6),
        Err(BlobError::LengthMismatch { expected: 6, found: 5, .. })
    ));
    let hex = digest.to_hex();
    fs::write(data.path().join("blobs").join(&hex[..2]).join(&hex), b"").unwrap();
    assert!(matches!(blobs.open_blob(&digest, 5), Err(BlobError::LengthMismatch { found: 0, .. })));
}

#[tokio::test]
async fn the_limit_is_enforced_while_writing_and_leaves_nothing() {
    let (data, blobs) = store();
    let mut staging = blobs.stage(10).await.unwrap();
    staging.write(&[0; 10]).await.unwrap();
    assert!(matches!(staging.write(&[0]).await, Err(BlobError::TooLarge { limit: 10 })));
    assert!(staging.write(b"").await.is_err() || staging.finish().await.is_err());
    assert_eq!(files(data.path()), (0, 0));
}

#[tokio::test]
async fn recovery_removes_leftovers_and_spares_what_is_being_written() {
    let (data, blobs) = store();
    let mut staging = blobs.stage(100).await.unwrap();
    staging.write(b"still here").await.unwrap();
    fs::write(data.path().join("staging/.tmpAAAAAA"), b"of a killed server").unwrap();
    assert_eq!(blobs.recover().await.unwrap().removed, 1);
    assert_eq!(blobs.recover().await.unwrap().removed, 0);
    let staged = staging.finish().await.unwrap();
    assert_eq!(staged.publish().await.unwrap().1, Published::New);
    assert_eq!(files(data.path()), (1, 10));
}

/// Counts down to the one flush that fails; later ones succeed, as on a real disk.
static FLUSHES_LEFT: AtomicI64 = AtomicI64::new(i64::MAX);

fn fail_once(_: &File) -> io::Result<()> {
    match FLUSHES_LEFT.fetch_sub(1, Ordering::SeqCst) {
        0 => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_failed_flush_ends_the_import_and_nothing_is_believed_later() {
    let data = TempDir::new().unwrap();
    let blobs = BlobStore::open_with(data.path(), fail_once).unwrap();
    let mut failures = 0;
    for step in 0.. {
        FLUSHES_LEFT.store(step, Ordering::SeqCst);
        let result = match staged(&blobs, b"hello", 5).await {
            Ok(staged) => staged.publish().await,
            Err(error) => Err(error),
        };
        if FLUSHES_LEFT.load(Ordering::SeqCst) >= 0 {
            assert_eq!(result.unwrap().1, Published::New);
            break;
        }
        assert!(matches!(result, Err(BlobError::Io { .. })), "flush {step}");
        assert_eq!(files(data.path()), (0, 0), "flush {step}");
        failures += 1;
    }
    assert_eq!(failures, 3, "the file, its folder, and the folder above");
}
