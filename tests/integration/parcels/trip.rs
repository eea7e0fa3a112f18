//! The whole trip, with healthy media.

use std::fs;

use schema::parcel::{Parcel, Receipt};
use serde_json::json;

use super::{Scene, text};

#[test]
fn a_parcel_carries_what_the_site_lacks_and_nothing_else() {
    let scene = Scene::new();
    let first = scene.app.revision(1);
    let printed = scene.deliver("first");
    assert!(printed.ends_with("Imported parcel 1 of harbour\n"), "{printed}");
    scene.is_same(&[&first]);

    // Nothing has changed: documents and files stay at home.
    let receipt = scene.receipt("second.receipt");
    let shown = scene.connected(&["inspect", &receipt]).ok();
    assert!(shown.contains("3 revisions") && shown.ends_with("Verified: yes\n"), "{shown}");
    let printed = scene.fetch(&receipt, "second", &[]).ok();
    assert!(printed.contains("Parcel 2 carries 0 files of 0 bytes"), "{printed}");
    assert!(scene.size("second") < 5_000, "{}", scene.size("second"));

    // One snap has.
    let second = scene.app.revision(2);
    scene.upstream.push_pair(&second, &["latest/stable"], "AcmeStore");
    let printed = scene.fetch(&receipt, "third", &[]).ok();
    assert!(printed.contains("Parcel 3 carries 1 files"), "{printed}");
    let manifest = Parcel::read(&fs::read(scene.manifest("third")).expect("a manifest")).expect("a parcel");
    assert_eq!(manifest.files.iter().map(|file| &*file.name).collect::<Vec<_>>(), ["acme-app_2.snap"]);
    let shown = scene.connected(&["inspect", text(&scene.manifest("third"))]).ok();
    assert!(shown.contains("acme-app_2.snap") && shown.ends_with("Verified: yes\n"), "{shown}");
    let pushed = scene.site.proxy(&["push-parcel", &scene.text("third")]).ok();
    assert!(
        pushed.contains("[snap acme-app] latest/stable all 1 → 2") || pushed.contains("1 → 2"),
        "{pushed}"
    );
    scene.is_same(&[&second]);
    assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
    let audit = scene.site.proxy(&["audit", "--json"]).ok();
    assert!(audit.contains(&manifest.id()), "the audit log names the parcel");

    // Again is harmless, and says so.
    let again = scene.site.proxy(&["push-parcel", &scene.text("third")]).ok();
    assert_eq!(again, "Parcel 3 of harbour was imported before\n");
    let again = scene.site.proxy(&["push-parcel", &scene.text("third"), "--json"]).json();
    let told = &again["parcels"][0];
    assert_eq!((&told["sender"], &told["sequence"]), (&json!("harbour"), &json!(3)));
    assert_eq!((&told["parcel"], &told["outcome"]), (&json!(manifest.id()), &json!("imported-before")));
    let dry = scene.site.proxy(&["push-parcel", &scene.text("third"), "--json", "--dry-run"]).json();
    assert_eq!(dry["parcels"][0]["outcome"], "would-import", "{dry}");
}

#[test]
fn twenty_characters_stand_for_a_receipt() {
    let scene = Scene::new();
    let said = scene.site.proxy(&["receipt", "--code"]).refused();
    assert!(said.contains("the first one needs the receipt"), "{said}");
    let _ = scene.deliver("first");
    let code = scene.site.proxy(&["receipt", "--code"]).ok();
    let code = code.trim();
    assert_eq!(code.chars().filter(|c| *c != '-').count(), 20, "{code}");

    let second = scene.app.revision(2);
    scene.upstream.push_pair(&second, &["latest/stable"], "AcmeStore");
    let printed = scene.fetch(&code.to_lowercase(), "second", &[]).ok();
    assert!(printed.contains("carries 1 files"), "{printed}");
    let _ = scene.site.proxy(&["push-parcel", &scene.text("second")]).ok();
    scene.is_same(&[&second]);
    // The next code builds on this one.
    let next = scene.site.proxy(&["receipt", "--code"]).ok();
    assert_ne!(next.trim(), code);
    let printed = scene.fetch(next.trim(), "third", &[]).ok();
    assert!(printed.contains("carries 0 files"), "{printed}");
    let said = scene.fetch("AAAAA-AAAAA-AAAAA-AAAAA", "fourth", &[]).refused();
    assert!(said.contains("not the code of any parcel"), "{said}");
}

#[test]
fn parts_come_in_any_order_from_several_mounts() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "all", &["--part-size", "1M"]).ok();
    let parts: Vec<_> =
        scene.medium("all").into_iter().filter(|path| *path != scene.manifest("all")).collect();
    assert!(parts.len() >= 4, "{parts:?}");
    // Three mounts, the parts in turn, the last ones first; the manifest is on all of them.
    for (at, part) in parts.iter().rev().enumerate() {
        let mount = scene.at(&format!("mount{}", at % 3));
        fs::create_dir_all(&mount).expect("a folder");
        fs::copy(part, mount.join(part.file_name().expect("a name"))).expect("a copy");
        let manifest = scene.manifest("all");
        fs::copy(&manifest, mount.join(manifest.file_name().expect("a name"))).expect("a copy");
    }
    let said = scene.site.proxy(&["push-parcel", &scene.text("mount2")]).refused();
    assert!(said.contains("are lacking") && said.contains("the others are kept"), "{said}");
    let listed = scene.site.proxy(&["parcels", "list"]).ok();
    assert!(listed.contains("harbour"), "{listed}");
    // What is there is not asked for again: the first medium is gone.
    fs::remove_dir_all(scene.at("mount2")).expect("a folder");
    let site = ["push-parcel", &scene.text("mount1"), &scene.text("mount0")];
    let pushed = scene.site.proxy(&site).ok();
    assert!(pushed.ends_with("Imported parcel 1 of harbour\n"), "{pushed}");
    scene.is_same(&[&scene.app.revision(1)]);
    for mount in ["mount0", "mount1", "all"] {
        assert!(!scene.medium(mount).is_empty(), "media are only read");
    }
}

#[test]
fn a_bundle_of_snaps_goes_as_a_parcel_too() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let (root, out, login) = (scene.text("root.assert"), scene.text("out"), scene.text("acme.login"));
    let fetch = |receipt: &str, more: &[&str]| {
        let base = ["fetch-snaps", "core24", "--trust", &root, "--export-dir", &out, "--for", receipt];
        scene.connected(&[&base[..], more].concat())
    };
    let _ = fetch(&receipt, &["acme-app", "--auth", &login, "--store", "AcmeStore"]).ok();
    let pushed = scene.site.proxy(&["push-parcel", &out]).ok();
    assert!(pushed.contains("core24 revision 9"), "{pushed}");
    let told = scene.site.proxy(&["list-pushed-snaps"]).ok();
    let stores: Vec<&str> = told.split_whitespace().skip(2).collect();
    assert_eq!(stores, ["acme-app", "AcmeStore", "core24", "ubuntu"], "{told}");
    let receipt = scene.receipt("next.receipt");
    let ran = fetch(&receipt, &[]);
    assert!(ran.stderr.contains("nothing is new for core24 since the receipt"), "{ran:?}");
    // A release on site is new, and not a second time.
    let more = ["--revision", "9", "--channel", "14/edge"];
    let printed = fetch(&receipt, &more).ok();
    let parcel = printed.lines().find_map(|line| line.strip_prefix("Parcel: ")).expect("a parcel");
    let pushed = scene.site.proxy(&["push-parcel", parcel]).ok();
    assert!(pushed.contains("14/edge"), "{pushed}");
    let ran = fetch(&scene.receipt("last.receipt"), &more);
    assert!(ran.stderr.contains("nothing is new for core24 since the receipt"), "{ran:?}");
}

#[test]
fn a_receipt_goes_as_the_texts_of_qr_codes_too() {
    let scene = Scene::new();
    let page = scene.text("receipt.html");
    let said = scene.site.proxy(&["receipt", "--qr", &page]).ok();
    assert_eq!(said, format!("{page} holds 1 QR codes: scan all of them.\n"));
    let html = fs::read_to_string(&page).expect("a page");
    assert!(html.contains("<svg ") && !html.contains("<script"));
    let file = fs::read(scene.receipt("site.receipt")).expect("a receipt");
    let scanned = scene.text("scanned.txt");
    fs::write(&scanned, schema::parcel::pages(&file).join("\n")).expect("there is room");
    assert!(scene.connected(&["inspect", &scanned]).ok().starts_with("Kind: receipt"));
    let _ = scene.fetch(&scanned, "medium", &[]).ok();
    let pushed = scene.site.proxy(&["push-parcel", &scene.text("medium")]).ok();
    assert!(pushed.contains("acme-app revision 1"), "{pushed}");
}

#[test]
fn a_receipt_is_small() {
    let scene = Scene::new();
    let _ = scene.deliver("first");
    let path = scene.receipt("site.receipt");
    let (receipt, held) = Receipt::read(&fs::read(&path).expect("a file")).expect("a receipt");
    assert_eq!((receipt.revisions, receipt.accepted.len()), (3, 1));
    assert!(held.has(&scene.app.revision(1).image.digest));
    assert!(!held.has(&scene.app.revision(2).image.digest));
}
