//! Backups that lack something, or that were broken off: neither counts as a backup.

use schema::digest::Sha3_384;
use tests::world::World;
use time::OffsetDateTime;

use super::*;
use crate::signing::until;
use crate::verify::blob;

fn last(store: &Server) -> serde_json::Value {
    store.proxy(&["status", "--json"]).json()["backup"]["last"].clone()
}

/// Waits until the next backup gets another name.
fn another_second() {
    let second = || OffsetDateTime::now_utc().unix_timestamp();
    let now = second();
    until("a name for another backup", || second() > now);
}

#[test]
fn attack_a_backup_that_is_not_whole_takes_the_place_of_no_other() {
    let (world, store, vault) = (World::new(), Server::start(), Vault::new());
    store.trust(&world);
    let hello = world.snap("hello").publisher("dev").revision(1);
    store.push_pair(&hello, &["latest/stable"], "ubuntu");
    let folder = vault.text("nightly");
    fs::create_dir(&folder).expect("a folder");
    let args = ["backup", "--to", &folder, "--keep", "1", "--recipient", &vault.recipient];
    let backups = || fs::read_dir(&folder).expect("a folder").count();
    let _ = store.proxy(&args).ok();
    let (held, whole) = (backups(), last(&store));
    assert_eq!((held, whole.is_string()), (1, true), "{whole}");

    // One file rots. Nobody has noticed when the next night comes.
    let file = blob(&store.data_dir, &Sha3_384::of(&hello.image.bytes));
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[100] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    another_second();
    let broken = store.proxy(&args).refused();
    assert!(broken.contains("is damaged: run `proxy verify`"), "{broken}");
    assert_eq!((backups(), last(&store)), (1, whole.clone()), "nothing was made");
    let events = store.proxy(&["audit", "--json"]).json_lines();
    let ends: Vec<_> =
        events.iter().filter(|event| event["what"] == "backup").map(|event| &event["outcome"]).collect();
    assert_eq!(ends, ["begun", "done", "begun", "failed"]);

    // By now it is known, so the backup does without it.
    let _ = store.proxy(&["verify"]);
    another_second();
    let told = store.proxy(&args).refused();
    assert!(told.contains("is not whole, so older backups stay") && told.contains("--repair-from"), "{told}");
    assert_eq!(backups(), 2, "the one that holds the file stays");
}
