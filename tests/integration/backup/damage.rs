//! Backups that are cut off, changed, sealed otherwise or made by a later version.

use std::fs;
use std::io::Read as _;

use schema::backup::Part;
use schema::bundle::TarWriter;
use schema::digest::Sha3_384;
use serde_json::Value;
use tests::server::SECRET;

use super::refused::refused;
use super::{Scene, Vault};

/// The entries of a backup that is not sealed.
pub(super) fn entries(archive: &[u8]) -> Vec<(Part, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let read = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let (part, _) = Part::of(&entry.path().expect("a path").to_string_lossy()).expect("a known name");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        (part, content)
    });
    read.collect()
}

pub(super) fn pack(entries: &[(Part, Vec<u8>)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (part, content) in entries {
        tar.add(&part.name(&Sha3_384::of(content)), content.len() as u64, content.as_slice())
            .expect("in memory");
    }
    tar.finish().expect("in memory")
}

#[test]
fn wherever_it_is() {
    let (scene, vault) = (Scene::new(), Vault::new());
    vault.keep(&scene.store, "sealed", &[]);
    let open = vault.keep_open(&scene.store, "open", &[]);
    let sealed = fs::read(vault.path("sealed")).expect("it was written");
    let secrets = vault.settings("secrets.yaml", &format!("proxy.device-auth.secret: {SECRET}\n"));
    let host = vault.path("host");
    let mut tried = 0;
    let mut bad = |whole: &[u8], args: &[&str], what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        change(&mut bytes);
        fs::write(vault.path("bad"), &bytes).expect("it can be written");
        let complaint = refused(&vault, "bad", &host, args);
        assert!(complaint.starts_with("error: "), "{what}: {complaint}");
        tried += 1;
    };
    for (whole, args) in [(&sealed, &[][..]), (&open, &["--secrets", secrets.as_str()][..])] {
        for eighth in 0..8 {
            let at = whole.len() * eighth / 8;
            bad(whole, args, &format!("cut off at {at}"), &|bytes| bytes.truncate(at));
        }
        for short in [1, 100, 512, 513, 1024, 1025, 70_000] {
            bad(whole, args, &format!("{short} bytes short"), &|bytes| bytes.truncate(bytes.len() - short));
        }
        bad(whole, args, "with more behind it", &|bytes| bytes.push(b'x'));
    }
    for sixteenth in 0..16 {
        let at = sealed.len() * sixteenth / 16 + 7;
        bad(&sealed, &[], &format!("flipped at {at}"), &|bytes| bytes[at] ^= 1);
    }
    // One bit of each entry's content, and of each header.
    let mut at = 0;
    for (part, content) in entries(&open) {
        let middle = at + 512 + content.len() / 2;
        for at in [at + 20, at + 130, middle] {
            let args = ["--secrets", &secrets];
            bad(&open, &args, &format!("{part:?} flipped at {at}"), &|bytes| bytes[at] ^= 1);
        }
        at += 512 + content.len().next_multiple_of(512);
    }
    println!("{tried} damaged backups refused, nothing left");
    let _ = vault.rebuild("open", "host", &["--secrets", &secrets]);
}

#[test]
fn entries_that_do_not_add_up() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let whole = entries(&vault.keep_open(&scene.store, "open", &[]));
    let secrets = vault.settings("secrets.yaml", &format!("proxy.device-auth.secret: {SECRET}\n"));
    let host = vault.path("host");
    let complain = |entries: &[(Part, Vec<u8>)]| {
        fs::write(vault.path("bad"), pack(entries)).expect("it can be written");
        refused(&vault, "bad", &host, &["--secrets", &secrets])
    };
    for left_out in 0..whole.len() {
        let mut fewer = whole.clone();
        fewer.remove(left_out);
        let complaint = complain(&fewer);
        assert!(complaint.contains("lacks") || complaint.contains("no place"), "{left_out}: {complaint}");
        let mut twice = whole.clone();
        twice.insert(left_out, whole[left_out].clone());
        let complaint = complain(&twice);
        assert!(complaint.contains("twice"), "{left_out}: {complaint}");
    }
    let mut more = whole.clone();
    more.push((Part::Blob, b"not listed".to_vec()));
    assert!(complain(&more).contains("no place"));

    let mut newer = whole.clone();
    let mut manifest: Value = serde_json::from_slice(&newer[1].1).expect("a manifest");
    manifest["format"] = 2.into();
    newer[1].1 = manifest.to_string().into_bytes();
    assert!(complain(&newer).contains("format 2"));

    // Files that the database names and the manifest does not.
    let mut short = whole.clone();
    let mut manifest: Value = serde_json::from_slice(&short[1].1).expect("a manifest");
    manifest["blobs"] = Value::Array(Vec::new());
    short[1].1 = manifest.to_string().into_bytes();
    short.truncate(3);
    assert!(complain(&short).contains("that its database names"));

    // The schema of a later version.
    let mut later = whole.clone();
    let file = vault.path("later.db");
    fs::write(&file, &later[2].1).expect("it can be written");
    let database = rusqlite::Connection::open(&file).expect("a database");
    let add =
        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (99, 'later', '', 0)";
    database.execute(add, ()).expect("a row");
    database.pragma_update(None, "journal_mode", "DELETE").expect("one file");
    drop(database);
    later[2].1 = fs::read(&file).expect("a database");
    let complaint = complain(&later);
    assert!(complaint.contains("version 99") && complaint.contains("newer program"), "{complaint}");

    // Another database under the manifest of this one: its secret is looked at too.
    let mut other = whole.clone();
    let mut manifest: Value = serde_json::from_slice(&other[1].1).expect("a manifest");
    manifest["session-key"] = Value::Null;
    other[1].1 = manifest.to_string().into_bytes();
    fs::write(vault.path("bad"), pack(&other)).expect("it can be written");
    let complaint = refused(&vault, "bad", &host, &[]);
    assert!(complaint.contains("proxy.device-auth.secret is not set"), "{complaint}");
    assert!(
        pack(&whole) == fs::read(vault.path("open")).expect("it is there"),
        "the test packs as the program"
    );
}

#[test]
fn what_is_sealed_opens_for_its_holder_alone() {
    let (scene, vault, stranger) = (Scene::new(), Vault::new(), Vault::new());
    let good = vault.settings("passphrase", "correct horse battery staple\n");
    let wrong = vault.settings("wrong", "correct horse battery stable\n");
    let _ = scene.store.proxy(&["backup", &vault.text("by-word"), "--passphrase-file", &good]).ok();
    vault.keep(&scene.store, "by-key", &[]);
    let _ = vault.settings("noise", &"no archive at all\n".repeat(100));
    let host = vault.path("host");
    let try_with = |file: &str, args: &[&str]| {
        let ran = tests::server::proxy(&host, &[&["restore", &vault.text(file)], args].concat());
        assert_eq!(ran.code == Some(0), host.exists(), "{ran:?}");
        ran
    };
    let foreign = stranger.text("identity");
    assert!(
        try_with("by-word", &["--passphrase-file", &wrong]).refused().contains("the passphrase is wrong")
    );
    assert!(try_with("by-word", &[]).refused().contains("--passphrase-file"));
    assert!(try_with("by-key", &[]).refused().contains("--identity"));
    let complaint = try_with("by-key", &["--identity", &foreign]).refused();
    assert!(complaint.contains("none of the identities opens it"), "{complaint}");
    assert!(try_with("noise", &[]).refused().contains("not what `proxy backup` writes"));
    let _ = try_with("by-word", &["--passphrase-file", &good]).ok();
}
