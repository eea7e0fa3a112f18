//! History and its tags are part of a backup.

use serde_json::json;
use tests::server::{Server, Setup};
use tests::world::World;

use super::{Vault, destroy};

#[test]
fn a_restored_store_has_its_history_and_tags() {
    let (world, store, vault) = (World::new(), Setup::default().start(), Vault::new());
    store.trust(&world);
    let hello = world.snap("hello");
    for number in [1, 2] {
        store.push_pair(&hello.revision(number), &["latest/stable"], "ubuntu");
        let _ = store.proxy(&["tag", &format!("tag-{number}")]).ok();
    }
    let told = |store: &Server| ["log", "tag"].map(|command| store.proxy(&[command, "--json"]).json());
    let before = told(&store);
    vault.keep(&store, "store.backup", &[]);
    // What comes later is not in it.
    let _ = store.proxy(&["back", "tag-1", "--apply"]).ok();
    destroy(store);
    let restored = vault.rebuild("store.backup", "host", &[]);
    assert_eq!(told(&restored), before);
    let steps = restored.proxy(&["back", "tag-1", "--apply", "--json"]).json()["steps"].clone();
    assert_eq!(steps, json!(["hello latest/stable all 2 → 1"]));
}
