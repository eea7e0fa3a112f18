//! Parcels and receipts that are not what they should be change nothing.

use std::fs;

use schema::parcel::{Parcel, Receipt, SecretKey};
use tests::server::{Server, proxy};

use super::Scene;

/// The sender's key, as the connected host keeps it.
fn key(scene: &Scene) -> SecretKey {
    use base64::Engine as _;
    let text = fs::read_to_string(scene.at("data/sender/key")).expect("a key");
    let secret = text.trim().rsplit(' ').next().expect("a secret").to_owned();
    let bytes = base64::engine::general_purpose::STANDARD.decode(secret).expect("base64");
    SecretKey::of(&bytes.try_into().expect("32 bytes"))
}

/// Pushes a medium that must be refused, and nothing of it stays.
fn refused(scene: &Scene, site: &Server, medium: &str, why: &str) {
    let before = site.proxy(&["list-pushed-snaps", "--json"]).ok();
    let media = scene.medium(medium);
    let said = site.proxy(&["push-parcel", &scene.text(medium)]).refused();
    assert!(said.contains(why), "{why}: {said}");
    assert_eq!(site.proxy(&["list-pushed-snaps", "--json"]).ok(), before, "{why}");
    assert_eq!(scene.medium(medium), media, "{why}: the medium stays as it was");
}

/// The same medium with another manifest, signed by the sender.
fn rewritten(scene: &Scene, from: &str, to: &str, change: impl FnOnce(&mut Parcel)) {
    fs::create_dir_all(scene.at(to)).expect("a folder");
    let path = scene.manifest(from);
    let mut parcel = Parcel::read(&fs::read(&path).expect("a file")).expect("a parcel");
    change(&mut parcel);
    for file in scene.medium(from) {
        fs::copy(&file, scene.at(to).join(file.file_name().expect("a name"))).expect("a copy");
    }
    let name = path.file_name().expect("a name");
    fs::write(scene.at(to).join(name), parcel.write(&key(scene))).expect("there is room");
}

#[test]
fn a_parcel_of_an_unknown_sender_or_for_another_site_is_refused() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "medium", &[]).ok();
    let other = Server::start();
    other.trust(&scene.world);
    refused(&scene, &other, "medium", "is not trusted here");
    let wrong = other.proxy(&["trust", "add-sender", &scene.text("site.receipt")]).refused();
    assert!(wrong.contains(&format!("cannot trust {}: ", scene.text("site.receipt"))), "{wrong}");
    let _ = other.proxy(&["trust", "add-sender", &scene.text("harbour.sender")]).ok();
    refused(&scene, &other, "medium", "is for another site");
    let _ = scene.receipt_of(&other, "other.receipt");
    refused(&scene, &other, "medium", "is for another site");
    assert_eq!(other.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
    let _ = scene.site.proxy(&["trust", "remove-sender", "harbour"]).ok();
    refused(&scene, &scene.site, "medium", "is not trusted here");
}

#[test]
fn an_older_parcel_and_one_with_a_number_that_was_used_are_refused() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "first", &[]).ok();
    let _ = scene.fetch(&receipt, "second", &[]).ok();
    let _ = scene.site.proxy(&["push-parcel", &scene.text("second")]).ok();
    refused(&scene, &scene.site, "first", "parcel 1 of harbour is older than parcel 2");
    rewritten(&scene, "second", "twin", |parcel| parcel.basis += 1);
    refused(&scene, &scene.site, "twin", "another parcel of harbour with the number 2");
    // What was removed and is trusted again has not forgotten.
    let _ = scene.site.proxy(&["trust", "remove-sender", "harbour"]).ok();
    let _ = scene.site.proxy(&["trust", "add-sender", &scene.text("harbour.sender")]).ok();
    refused(&scene, &scene.site, "first", "parcel 1 of harbour is older than parcel 2");
}

#[test]
fn a_part_that_is_missing_cut_doubled_or_of_another_parcel_does_not_pass() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "good", &["--part-size", "1M"]).ok();
    let parts = |medium: &str| -> Vec<_> {
        let all = scene.medium(medium).into_iter();
        all.filter(|path| path.to_string_lossy().contains(".part-")).collect()
    };
    let good = parts("good");
    let names: Vec<_> = good.iter().map(|part| part.file_name().expect("a name").to_owned()).collect();
    let bad = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        rewritten(&scene, "good", "bad", |_| {});
        let whole = fs::read(&good[1]).expect("a part");
        fs::write(scene.at("bad").join(&names[1]), change(whole)).expect("there is room");
    };
    let first = fs::read(&good[0]).expect("a part");
    let inspected = |path: &str| scene.connected(&["inspect", path]);
    assert!(inspected(&scene.text("good")).ok().ends_with("Verified: yes\n"));
    let part = inspected(&good[1].display().to_string()).refused();
    assert!(part.contains("is one of several parts: `proxy inspect "), "{part}");
    let stray = scene.site.proxy(&["push-parcel", &scene.desk.path().display().to_string()]).refused();
    assert!(
        stray.contains(&format!("the manifest of a parcel in {}: ", scene.desk.path().display())),
        "{stray}"
    );
    bad(&|whole| whole[..whole.len() - 1].to_vec());
    refused(&scene, &scene.site, "bad", "(2)");
    bad(&|whole| [whole, vec![0]].concat());
    refused(&scene, &scene.site, "bad", "(2)");
    bad(&|whole| whole.iter().map(|byte| byte ^ 1).collect());
    refused(&scene, &scene.site, "bad", "(2)");
    bad(&|_| first.clone());
    refused(&scene, &scene.site, "bad", "(2)");
    fs::remove_file(scene.at("bad").join(&names[0])).expect("it is there");
    let seen = inspected(&scene.text("bad")).refused();
    assert!(seen.contains("parts 1 are missing beside it; parts 2 are damaged: copy them again"), "{seen}");
    fs::write(scene.at("bad").join(&names[0]), &first).expect("there is room");
    // A good copy on another medium is found, and only that one is needed.
    fs::create_dir_all(scene.at("spare")).expect("a folder");
    fs::copy(&good[1], scene.at("spare").join(&names[1])).expect("a copy");
    let pushed = scene.site.proxy(&["push-parcel", &scene.text("bad"), &scene.text("spare")]).ok();
    assert!(pushed.ends_with("Imported parcel 1 of harbour\n"), "{pushed}");
}

#[test]
fn a_manifest_that_lies_or_was_altered_is_refused() {
    let scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "good", &[]).ok();
    rewritten(&scene, "good", "lies", |parcel| drop(parcel.files.pop()));
    refused(&scene, &scene.site, "lies", "does not hold what its manifest says");
    rewritten(&scene, "good", "larger", |parcel| parcel.files[0].size += 1);
    refused(&scene, &scene.site, "larger", "does not hold what its manifest says");
    rewritten(&scene, "good", "wide", |parcel| parcel.kind = schema::parcel::ParcelKind::Snaps);
    refused(&scene, &scene.site, "wide", "archive of a whole store");
    assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n", "nothing stays");
    rewritten(&scene, "good", "altered", |_| {});
    let path = scene.manifest("altered");
    let text = fs::read_to_string(&path).expect("a manifest").replace("\"sequence\":1", "\"sequence\":9");
    fs::write(&path, text).expect("there is room");
    refused(&scene, &scene.site, "altered", "its signature is not that of the key it names");
}

#[test]
fn a_receipt_that_is_forged_or_old_makes_no_parcel() {
    let scene = Scene::new();
    let old = scene.receipt("old.receipt");
    let _ = scene.fetch(&old, "first", &[]).ok();
    let _ = scene.site.proxy(&["push-parcel", &scene.text("first")]).ok();
    let new = scene.receipt("new.receipt");
    let _ = scene.fetch(&new, "second", &[]).ok();
    let said = scene.fetch(&old, "third", &[]).refused();
    assert!(said.contains("is older than the last receipt"), "{said}");
    assert!(scene.fetch(&old, "third", &["--site-changed"]).ok().contains("carries 3 files"));

    let mut bytes = fs::read(&new).expect("a receipt");
    let at = bytes.len() - 70;
    bytes[at] ^= 1;
    fs::write(scene.at("forged.receipt"), &bytes).expect("there is room");
    let said = scene.fetch(&scene.text("forged.receipt"), "fourth", &[]).refused();
    assert!(said.contains("its signature is not that of the key it names"), "{said}");

    // Signed well, by another key than that of the store's site.
    let (receipt, _) = Receipt::read(&fs::read(&new).expect("a receipt")).expect("a receipt");
    let own = SecretKey::of(&[9; 32]);
    let forged = Receipt::new(own.public(), receipt.store, receipt.generation, receipt.time);
    fs::write(scene.at("other.receipt"), forged.write(&own, &[])).expect("there is room");
    let said = scene.fetch(&scene.text("other.receipt"), "fifth", &[]).refused();
    assert!(said.contains("was known by another one"), "{said}");
    // A site keeps its key with its other secrets.
    let config = proxy(&scene.site.data_dir, &["config", "--export-yaml"]).ok();
    assert!(config.contains("proxy.receipt.secret"), "{config}");
}
