//! Files of a parcel as differences to what the site has.

use std::fs;
use std::process::Command;

use schema::parcel::Parcel;
use tests::snap::Image;
use tests::world::{Revision, Snap};

use super::Scene;

/// Text that compresses, of which some differs between versions.
fn words(seed: u32, count: u32) -> String {
    let word = |at: u32| format!("{:x} ", (at / 5).wrapping_mul(2_654_435_761) % 99_991);
    let mut text: String = (0..count).map(word).collect();
    text.insert_str(text.len() / 4, &format!("this is version {seed}\n"));
    text
}

/// A revision packed as `snap pack` packs it.
fn packed(snap: &Snap, number: u32, compression: &str) -> Revision {
    let plain = snap.revision(number);
    let folder = tempfile::tempdir().expect("there is room");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("meta")).expect("a folder");
    fs::create_dir_all(root.join("bin")).expect("a folder");
    fs::write(root.join("meta/snap.yaml"), &plain.yaml).expect("a file");
    fs::write(root.join("bin/run"), format!("#!/bin/sh\necho {number}\n")).expect("a file");
    fs::write(root.join("library"), words(number, 300_000)).expect("a file");
    fs::write(root.join("same"), words(0, 200_000)).expect("a file");
    let image = folder.path().join("image");
    let done = Command::new("mksquashfs")
        .args([&root, &image])
        .args(["-noappend", "-quiet", "-no-progress", "-all-root", "-no-xattrs", "-no-fragments"])
        .args(["-mkfs-time", "1700000000", "-all-time", "1700000000", "-comp", compression])
        .output()
        .expect("mksquashfs is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    snap.with_image(number, &plain.version, Image::of(fs::read(&image).expect("an image")))
}

#[test]
fn a_snap_that_changed_travels_as_a_difference() {
    let scene = Scene::new();
    let (first, second) = (packed(&scene.app, 11, "xz"), packed(&scene.app, 12, "xz"));
    scene.upstream.push_pair(&first, &["latest/stable"], "AcmeStore");
    let _ = scene.deliver("first");
    scene.upstream.push_pair(&second, &["latest/stable"], "AcmeStore");
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "whole", &["--whole-files"]).ok();
    let _ = scene.fetch(&receipt, "small", &[]).ok();
    let (whole, small) = (scene.size("whole"), scene.size("small"));
    println!("second parcel: {small} bytes, {whole} with whole files");
    assert!(small * 4 < whole, "{small} of {whole}");
    let manifest = Parcel::read(&fs::read(scene.manifest("small")).expect("a file")).expect("a parcel");
    let [file] = &manifest.files[..] else { panic!("{manifest:?}") };
    assert_eq!(file.base.as_deref(), Some(&*first.image.digest.to_hex()));
    let _ = scene.site.proxy(&["push-parcel", &scene.text("small")]).ok();
    scene.is_same(&[&second]);
}

#[test]
fn a_difference_to_a_file_that_is_not_there_is_refused_before_work_starts() {
    let scene = Scene::new();
    let (first, second) = (packed(&scene.app, 11, "zstd"), packed(&scene.app, 12, "zstd"));
    scene.upstream.push_pair(&first, &["latest/stable"], "AcmeStore");
    let _ = scene.deliver("first");
    scene.upstream.push_pair(&second, &["latest/stable"], "AcmeStore");
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "small", &[]).ok();
    let _ = scene.site.proxy(&["close-channel", "acme-app", "stable", "--apply"]).ok();
    let _ = scene.site.proxy(&["remove-store", "AcmeStore", "--apply"]).ok();
    let _ = scene.site.proxy(&["remove-snap", "acme-app", "--apply"]).ok();
    let said = scene.site.proxy(&["push-parcel", &scene.text("small")]).refused();
    assert!(said.contains("as a difference to a file that is not here"), "{said}");
    assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
    // As a bundle of its own, a difference is nothing.
    let manifest = scene.manifest("small");
    let part = manifest.with_extension("part-001");
    let bundle = scene.at("bundle.tar.gz");
    fs::copy(part, &bundle).expect("a copy");
    let said = scene.site.proxy(&["push-store", &bundle.display().to_string()]).refused();
    assert!(said.contains("which only a parcel may hold"), "{said}");
}

#[test]
fn what_no_site_holds_any_more_is_not_kept() {
    let scene = Scene::new();
    let kept = |revision: &Revision| {
        let digest = revision.image.digest.to_hex();
        let entries = fs::read_dir(scene.at("data").join("sender/files")).expect("files are kept").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&digest)).count()
    };
    let all = [11, 12, 13].map(|number| packed(&scene.app, number, "lzo"));
    for (at, revision) in all.iter().enumerate() {
        scene.upstream.push_pair(revision, &["latest/stable"], "AcmeStore");
        let _ = scene.deliver(&format!("parcel-{at}"));
    }
    assert_eq!(all.each_ref().map(&kept), [1, 1, 1]);
    // The site keeps the newest alone, and says so with its next receipt.
    let _ = scene.site.proxy(&["prune", "--keep", "1", "--apply"]).ok();
    let last = packed(&scene.app, 14, "lzo");
    scene.upstream.push_pair(&last, &["latest/stable"], "AcmeStore");
    let _ = scene.deliver("parcel-3");
    assert_eq!(all.each_ref().map(&kept), [0, 0, 1]);
    assert_eq!(kept(&last), 1);
    scene.is_same(&[&last]);
}
