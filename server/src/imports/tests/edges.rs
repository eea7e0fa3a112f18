//! Edge cases of import decisions: equal times, more entries than fit, stored against imported values.

use aws_lc_rs::digest::{SHA256, digest};
use schema::assertion::AssertionType as T;
use schema::bundle::{Limits, Manifest};
use schema::digest::Sha3_384;
use schema::image::{ImageError, snap_yaml};
use std::io;
use tests::snap::Image;

use super::world::*;
use crate::imports::receive::{Bundle, IconFile};
use crate::imports::{ImportError, SnapOptions, file_digest, read_document};
use crate::storage::blobs::BlobError;
use crate::storage::error::StorageError;
use crate::storage::records::BlobRecord;

fn with_metadata(revisions: &[u32], entries: &[(&str, u32, u32)]) -> Bundle {
    Bundle { metadata: vec![metadata(entries)], ..bundle(revisions) }
}

/// A bundle of one revision that its manifest releases to `stable`.
fn released(revision: u32, architecture: &str) -> Bundle {
    let text = format!(r#"{{"format":1,"releases":[{{"revision":{revision},"channels":["stable"]}}]}}"#);
    let mut bundle = bundle(&[revision]);
    bundle.manifest = Some(Manifest::parse(text.as_bytes()).expect("a manifest"));
    bundle.snaps[0].yaml.architectures = vec![architecture.parse().expect("an architecture")];
    bundle
}

#[test]
fn a_map_of_the_same_moment_is_not_older() {
    let mut world = World::new();
    world.push(&with_metadata(&[6], &[("latest/stable", 6, 1)])).expect("accepted");
    world.push(&with_metadata(&[8], &[("latest/stable", 8, 1)])).expect("accepted");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 8"]);
}

#[test]
fn a_release_replaces_what_it_would_hide_and_nothing_else() {
    let mut world = World::new();
    world.push(&with_metadata(&[1], &[("latest/edge", 1, 1), ("latest/stable", 1, 1)])).expect("accepted");
    world.push(&released(2, "arm64")).expect("accepted");
    assert_eq!(
        world.channels(),
        ["latest/edge amd64 -> 1", "latest/stable amd64 -> 1", "latest/stable arm64 -> 2"]
    );
    let report = world.push(&released(3, "all")).expect("accepted");
    assert_eq!(world.channels(), ["latest/edge amd64 -> 1", "latest/stable all -> 3"]);
    assert_eq!(report.snaps[0].channels, ["latest/stable all -> 3"]);
    world.push(&released(4, "all")).expect("accepted");
    assert_eq!(world.channels(), ["latest/edge amd64 -> 1", "latest/stable all -> 4"]);
    // A revision is reported with the channels it is in afterwards.
    let mut world = World::new();
    world.push(&with_metadata(&[3], &[("latest/edge", 3, 1), ("latest/stable", 3, 1)])).expect("accepted");
    let insist = SnapOptions { push_channel_map: true, ..SnapOptions::default() };
    let report = world.push_with(&released(3, "all"), &insist).expect("accepted");
    assert_eq!(report.snaps[0].channels, ["latest/edge amd64 -> 3", "latest/stable all -> 3"]);
}

#[test]
fn of_many_channels_left_out_five_are_named() {
    let names = ["1/edge", "2/edge", "3/edge", "4/edge", "5/edge", "6/edge"];
    for (count, more) in [(5, false), (6, true)] {
        let entries: Vec<_> = names[..count].iter().map(|name| (*name, 7, 1)).collect();
        let report = World::new().push(&with_metadata(&[6], &entries)).expect("accepted");
        let warning = report.warnings.iter().find(|warning| warning.contains("left out")).expect("a warning");
        assert_eq!(warning.ends_with(", ..."), more, "{warning}");
        assert!(warning.contains("5/edge amd64 -> 7") && !warning.contains("6/edge"), "{warning}");
    }
}

#[test]
fn only_a_revision_without_a_channel_is_told_of() {
    let report = World::new().push(&with_metadata(&[6, 8], &[("latest/stable", 6, 1)])).expect("accepted");
    let told: Vec<_> =
        report.warnings.iter().filter(|warning| warning.contains("No channel leads")).collect();
    assert!(told.len() == 1 && told[0].contains("revision 8"), "{told:?}");
}

#[test]
fn a_newer_declaration_counts_in_whatever_format_it_comes() {
    // Both in one bundle, then one after the other.
    let mut both = bundle(&[6]);
    both.assertions.push(declaration_in_format(JQ, "", 1, 3));
    assert_eq!(World::new().push(&both).expect_err("withdrawn").code(), "revoked");
    let mut world = World::new();
    world.push(&bundle(&[5])).expect("accepted");
    both.assertions.retain(|document| document.kind() != T::SnapDeclaration);
    both.assertions.push(declaration(JQ, "", 1));
    assert_eq!(world.push(&both).expect_err("withdrawn since").code(), "revoked");
    let mut withdrawn = bundle(&[]);
    withdrawn.assertions.push(declaration_in_format(JQ, "", 1, 3));
    world.push(&withdrawn).expect("accepted");
    let mut older = bundle(&[6]);
    older.assertions.push(declaration(JQ, "jq", 2));
    assert_eq!(world.push(&older).expect_err("still withdrawn").code(), "revoked");
}

#[test]
fn a_base_is_missed_unless_it_is_here_or_comes_along() {
    let needy = |revision: u32, base: &str| {
        let mut bundle = bundle(&[revision]);
        bundle.snaps[0].yaml.base = Some(base.into());
        bundle
    };
    let missed = |world: &mut World, bundle: &Bundle| {
        world.push(bundle).expect("accepted").warnings.iter().any(|warning| warning.contains("Base"))
    };
    let mut world = World::new();
    assert!(missed(&mut world, &needy(6, "yq")));
    let yq = file("yq", 1);
    let mut along = needy(7, "yq");
    along.assertions.extend([declaration(YQ, "yq", 0), revision(YQ, &yq, 1)]);
    along.snaps.push(yq);
    assert!(!missed(&mut World::new(), &along) && !missed(&mut world, &along));
    assert!(!missed(&mut world, &needy(8, "yq")) && missed(&mut world, &needy(9, "core99")));
}

#[test]
fn what_people_read_follows_the_channel_map() {
    let title = |world: &World| world.snaps[JQ].text["title"].clone();
    let mut world = World::new();
    let two = [("latest/stable", 8, 20), ("latest/edge", 8, 20)];
    world.push(&with_metadata(&[8], &two)).expect("accepted");
    assert_eq!(title(&world), "jq 2");
    let report = world.push(&with_metadata(&[6], &[("latest/stable", 6, 1)])).expect("accepted");
    assert!(!report.snaps[0].channel_map_updated);
    assert_eq!(title(&world), "jq 2", "of an older map");
    world.push(&bundle(&[9])).expect("accepted");
    assert_eq!(title(&world), "jq 2", "without metadata");
    world.push(&with_metadata(&[10], &[("latest/stable", 10, 25)])).expect("accepted");
    assert_eq!(title(&world), "jq 1", "of a newer map");
}

#[test]
fn a_picture_belongs_to_the_snap_of_its_name_and_stays() {
    let icon = |snap: &str, content: &str| IconFile {
        snap: snap.into(),
        format: "png".into(),
        blob: BlobRecord { digest: Sha3_384::of(content.as_bytes()), size: 3, blocks: vec![0; 32] },
    };
    let mut world = World::new();
    let shown = |world: &World| world.snaps[JQ].text["icon"]["sha3-384"].as_str().map(str::to_owned);
    let hex = |content: &str| Some(Sha3_384::of(content.as_bytes()).to_hex());
    let mut first = with_metadata(&[6], &[("latest/stable", 6, 1)]);
    first.icons = vec![icon("yq", "other"), icon("jq", "one")];
    world.push(&first).expect("accepted");
    assert_eq!(shown(&world), hex("one"));
    assert!(!world.blobs.contains(&Sha3_384::of(b"other")));
    world.push(&with_metadata(&[7], &[("latest/stable", 7, 2)])).expect("accepted");
    assert_eq!(shown(&world), hex("one"), "nothing came in its place");
    let mut newer = bundle(&[8]);
    newer.icons = vec![icon("jq", "two")];
    world.push(&newer).expect("accepted");
    assert_eq!(shown(&world), hex("two"));
}

#[test]
fn a_fault_of_ours_is_told_from_one_of_the_bundle() {
    let io = |kind: io::ErrorKind| BlobError::Io { action: "cannot write", source: kind.into() };
    for (error, code, ours) in [
        (ImportError::Blob(BlobError::TooLarge { limit: 1 }), "too-large", false),
        (ImportError::Blob(io(io::ErrorKind::StorageFull)), "disk-full", true),
        (ImportError::Blob(io(io::ErrorKind::PermissionDenied)), "unavailable", true),
        (ImportError::Blob(BlobError::Missing { digest: "x".into() }), "unavailable", true),
        (ImportError::Storage(StorageError::Full), "disk-full", true),
        (ImportError::Storage(StorageError::Unavailable("x".into())), "unavailable", true),
        (ImportError::Internal(io::ErrorKind::Other.into()), "unavailable", true),
        (ImportError::Empty, "invalid-bundle", false),
        (ImportError::NotArchive, "wrong-kind", false),
    ] {
        assert_eq!((error.code(), error.is_ours()), (code, ours), "{error:?}");
    }
}

#[test]
fn records_name_the_moment_and_the_file() {
    let change = context().change("push-snaps", "jq".into(), serde_json::json!({}));
    assert_eq!(change.at_micros, 1_788_220_800_000_000);
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(file_digest(&digest(&SHA256, b"abc")), abc);
}

#[test]
fn a_file_in_an_image_is_read_up_to_a_mebibyte() {
    let read = |size: usize| {
        let mut text = b"name: hello\n#".to_vec();
        text.resize(size, b'#');
        let image = Image::pack(&[("/meta/snap.yaml", &text)]);
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, &image.bytes).expect("written");
        io::Seek::rewind(&mut file).expect("rewound");
        snap_yaml(file).map(|(text, _)| text.len())
    };
    assert_eq!(read(1 << 20).expect("as large as allowed"), 1 << 20);
    assert!(matches!(read((1 << 20) + 1), Err(ImageError::TooLarge(_))));
}

#[tokio::test]
async fn a_document_that_comes_alone_has_the_size_of_one_in_a_bundle() {
    let limits = Limits { document: 600, ..Limits::default() };
    for size in [0, 1, 600] {
        let bytes = vec![7; size];
        assert_eq!(read_document(&bytes[..], limits).await.expect("small enough"), bytes);
    }
    let refused = read_document(&[7; 601][..], limits).await.expect_err("too large");
    assert_eq!(refused.code(), "too-large");
}
