//! A month of a site: everything changes a little, and the second parcel is small.
//!
//! `tests/benches/month` packs real packages and names their folder in `AIRLOCK_MONTH`: `NAME-1.snap` and `NAME-2.snap` for each.
//! Without it the snaps are made here, of bytes that differ as those of programs do which were built again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use tests::snap::{Image, noise};
use tests::world::Revision;

use super::Scene;

/// A program, or the same one built again: addresses differ all over.
fn program(name: &str, number: u32) -> Vec<u8> {
    let mut bytes = noise(name, 600_000);
    if number > 1 {
        for at in (0..bytes.len()).step_by(64) {
            bytes[at] = bytes[at].wrapping_add(8);
        }
        bytes.splice(200_000..200_000, noise(&format!("{name} {number}"), 2_000));
    }
    bytes
}

fn made(scene: &Scene) -> Vec<[Revision; 2]> {
    let names = ["kernel", "base", "python-app", "go-app", "tool-a", "tool-b", "tool-c", "tool-d"];
    let pair = |name: &&str| {
        let snap = scene.world.snap(name).publisher("acme");
        [1, 2].map(|number| {
            let plain = snap.revision(number);
            let body = program(name, number);
            let image = Image::pack(&[("meta/snap.yaml", plain.yaml.as_bytes()), ("program", &body)]);
            snap.with_image(number, &plain.version, image)
        })
    };
    names.iter().map(pair).collect()
}

fn packed(scene: &Scene, folder: &str) -> Vec<[Revision; 2]> {
    let read = |name: &str, number: u32| {
        let path = PathBuf::from(folder).join(format!("{name}-{number}.snap"));
        Image::of(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let names: BTreeSet<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix("-1.snap")?.to_owned()))
        .collect();
    let pair = |name: &String| {
        let snap = scene.world.snap(name).publisher("acme");
        [1, 2].map(|number| snap.with_image(number, &number.to_string(), read(name, number)))
    };
    names.iter().map(pair).collect()
}

#[test]
fn a_month_of_a_site_is_a_quarter_of_its_bytes_at_most() {
    let scene = Scene::new();
    let all = match std::env::var("AIRLOCK_MONTH") {
        Ok(folder) => packed(&scene, &folder),
        Err(_) => made(&scene),
    };
    let snaps: Vec<_> = all.iter().map(|pair| &pair[0].snap).chain([&scene.app]).collect();
    for [first, _] in &all {
        scene.upstream.push_pair(first, &["latest/stable"], "AcmeStore");
    }
    scene.upstream.push_store("AcmeStore", "acme", &snaps);
    let _ = scene.deliver("first");
    let firsts: Vec<&Revision> = all.iter().map(|pair| &pair[0]).collect();
    scene.is_same(&firsts);

    for [_, second] in &all {
        scene.upstream.push_pair(second, &["latest/stable"], "AcmeStore");
    }
    let receipt = scene.receipt("month.receipt");
    let _ = scene.fetch(&receipt, "second", &[]).ok();
    let full: usize = all.iter().map(|pair| pair[1].image.bytes.len()).sum();
    let (sent, receipt) = (scene.size("second"), fs::metadata(receipt).expect("a file").len());
    let pushed = scene.site.proxy(&["push-parcel", &scene.text("second")]).ok();
    assert!(pushed.ends_with("Imported parcel 2 of harbour\n"), "{pushed}");
    let seconds: Vec<&Revision> = all.iter().map(|pair| &pair[1]).collect();
    scene.is_same(&seconds);
    println!(
        "{} snaps changed: first parcel {} bytes, receipt {receipt}, second parcel {sent} of {full} bytes ({:.3})",
        all.len(),
        scene.size("first"),
        sent as f64 / full as f64
    );
    assert!(sent * 4 <= full as u64, "{sent} of {full}");
}
