//! Whole bundles with real snaps, from their bytes to published blobs.

use aws_lc_rs::digest::{SHA256, digest};
use std::path::Path;

use schema::assertion::AssertionType;
use schema::bundle::{BundleWriter, Limits};
use schema::digest::Sha3_384;

use super::world::*;
use crate::imports::{ImportError, SnapOptions, plan_snaps, receive};
use crate::storage::blobs::{BlobStore, Staged};

const SNAPS: &str = "snaps/hello-vectors";

/// The bundle of a real snap with a component and all their documents.
fn bundle_file(change: impl Fn(&mut Vec<(&str, Vec<u8>)>)) -> Vec<u8> {
    let documents = [
        "snaps/hello-vectors_1.stream.assert",
        "snaps/extra_1.snap-resource-revision.assert",
        "snaps/extra_1-on-1.snap-resource-pair.assert",
    ];
    let documents = documents.map(fixture).join(&b"\n"[..]);
    let mut members = vec![
        ("hello-vectors_1.snap", fixture(&format!("{SNAPS}_1.snap"))),
        ("hello-vectors+extra_1.comp", fixture(&format!("{SNAPS}+extra_1.comp"))),
        ("hello-vectors_1.assert", documents),
        ("manifest.json", br#"{"format":1,"releases":[{"revision":1,"channels":["stable"]}]}"#.to_vec()),
    ];
    change(&mut members);
    let mut bundle = BundleWriter::new(Vec::new());
    for (name, content) in members {
        bundle.add_bytes(name, &content).expect("added");
    }
    bundle.finish().expect("finished")
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

async fn push(
    world: &mut World,
    data: &Path,
    file: Vec<u8>,
) -> Result<schema::api::admin::PushedSnaps, ImportError> {
    let blobs = BlobStore::open(data)?;
    let sha256 = super::super::file_digest(&digest(&SHA256, &file));
    let received = receive(blobs, std::io::Cursor::new(file), Limits::default()).await?;
    let (bundle, staged) = received.verify(&*world, &context())?.inspect().await?;
    assert_eq!(bundle.file_digest, sha256, "of all bytes, the archive's own padding too");
    let (change, report) = plan_snaps(world, &bundle, &SnapOptions::default(), &context())?;
    for file in staged {
        Staged::publish(file).await?;
    }
    world.apply(change);
    Ok(report)
}

#[tokio::test]
async fn a_real_snap_with_its_component() {
    let data = tempfile::tempdir().expect("a folder");
    let mut world = World::new();
    let report = push(&mut world, data.path(), bundle_file(|_| ())).await.expect("accepted");
    let snap = &report.snaps[0];
    assert_eq!(
        (snap.name.as_str(), &snap.channels[..]),
        ("hello-vectors", &["latest/stable all -> 1".to_owned()][..])
    );
    assert_eq!(snap.revisions[0].components, ["extra 1"]);
    assert_eq!(
        world.snaps["HelloVectorsSnapId00000000000001"].text["summary"],
        "tiny fake snap for test vectors"
    );
    let published = Sha3_384::of(&fixture(&format!("{SNAPS}_1.snap"))).to_hex();
    assert!(data.path().join("blobs").join(&published[..2]).join(&published).is_file());
    assert_eq!((files_below(&data.path().join("blobs")), files_below(&data.path().join("staging"))), (2, 0));
    let again = push(&mut world, data.path(), bundle_file(|_| ())).await.expect("accepted again");
    assert!(again.snaps[0].revisions[0].already_held);
}

#[tokio::test]
async fn a_refused_bundle_leaves_nothing_behind() {
    let data = tempfile::tempdir().expect("a folder");
    let whole = bundle_file(|_| ());
    let mut cases: Vec<(String, Vec<u8>, &str)> = Vec::new();
    for cut in (0..whole.len()).step_by(whole.len() / 40) {
        cases.push((format!("cut at {cut}"), whole[..cut].to_vec(), "invalid-bundle"));
    }
    let truth = bundle_file(|members| members[0].1 = b"not a snap at all".to_vec());
    cases.push(("an unsigned file, which is not even opened".into(), truth, "unsigned-file"));
    let swapped = bundle_file(|members| members[0].1 = fixture(&format!("{SNAPS}_2.snap")));
    cases.push(("the bytes of another revision".into(), swapped, "unsigned-file"));
    let listed = br#"{"format":1,"files":[{"name":"hello-vectors_2.snap","size":1}]}"#;
    let missing = bundle_file(|members| members[3].1 = listed.to_vec());
    cases.push(("a file of the manifest is missing".into(), missing, "invalid-bundle"));
    let newer = bundle_file(|members| members[3].1 = br#"{"format":2}"#.to_vec());
    cases.push(("a later format".into(), newer, "newer-format"));
    let garbage = bundle_file(|members| members[2].1.truncate(500));
    cases.push(("half an assertion".into(), garbage, "invalid-assertion"));
    for (what, file, code) in cases {
        let mut world = World::new();
        let error = push(&mut world, data.path(), file).await.expect_err(&what);
        assert_eq!((error.code(), error.is_ours()), (code, false), "{what}: {error}");
        assert!(world.assertions.is_empty(), "{what}");
        let left = files_below(&data.path().join("blobs")) + files_below(&data.path().join("staging"));
        assert_eq!(left, 0, "{what}");
    }
}

/// A signed file that is not a readable image is rejected with the reason.
#[tokio::test]
async fn images_that_cannot_be_read() {
    let lzma = [&b"hsqs"[..], &[0; 16], &[2, 0], &[0; 100]].concat();
    let damaged = fixture(&format!("{SNAPS}_1.snap"))[..200].to_vec();
    let component = fixture(&format!("{SNAPS}+extra_1.comp"));
    for (image, reason) in
        [(lzma, "LZMA"), (damaged, "squashfs"), (component, "not there"), (vec![], "squashfs")]
    {
        let data = tempfile::tempdir().expect("a folder");
        let mut file = file("jq", 6);
        file.blob.digest = Sha3_384::of(&image);
        file.blob.size = image.len() as u64;
        let mut documents = basics();
        documents.extend([declaration(JQ, "jq", 0), revision(JQ, &file, 6)]);
        assert!(documents.iter().any(|document| document.kind() == AssertionType::SnapRevision));
        let documents: Vec<_> = documents.iter().map(schema::assertion::Assertion::bytes).collect();
        let bytes = bundle_file(|members| {
            *members = vec![("jq_6.snap", image.clone()), ("jq_6.assert", documents.join(&b"\n"[..]))];
        });
        let error = push(&mut World::new(), data.path(), bytes).await.expect_err(reason);
        assert_eq!(error.code(), "invalid-snap");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains(reason), "{reason}: {source}");
        assert_eq!(files_below(&data.path().join("staging")), 0);
    }
}

/// An icon's bytes are not checked; its name and size are.
#[tokio::test]
async fn a_picture_has_a_size_that_devices_take() {
    for (size, good) in [(0, false), (1, true), (300_000, true), (300_001, false)] {
        let data = tempfile::tempdir().expect("a folder");
        let mut world = World::new();
        let file = bundle_file(|members| members.push(("hello-vectors.icon.png", vec![7; size])));
        let pushed = push(&mut world, data.path(), file).await;
        assert_eq!(
            pushed.map(drop).map_err(|error| error.code()),
            if good { Ok(()) } else { Err("invalid-bundle") }
        );
        let held = world.snaps.get("HelloVectorsSnapId00000000000001");
        let icon =
            held.map(|snap| (snap.text["icon"]["format"].clone(), snap.text["icon"]["sha3-384"].clone()));
        let expected = good.then(|| ("png".into(), Sha3_384::of(&vec![7; size]).to_hex().into()));
        assert_eq!(icon, expected, "{size}");
    }
}
