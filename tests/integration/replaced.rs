//! The way back from a revision that nothing honest will exceed: named by the operator, never by itself.

use serde_json::json;
use tests::bundle::Bundle;
use tests::server::{Ran, Server, Setup};
use tests::world::{World, stream};

/// Pushes one document in place of a higher revision.
fn replace(store: &Server, documents: &[u8], name: &str) -> Ran {
    store.with_file("documents.assert", documents, |path| {
        store.proxy(&["push-assertions", path, "--replace", name, "--json"])
    })
}

#[test]
fn the_highest_revision_has_a_way_back() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let highest = world.snap("hello").declaration_at(2_147_483_647, 1);
    let _ = store.try_push_assertions(&stream(&[highest.declaration()])).ok();
    let name = format!("snap-declaration/16/{}", hello.id);
    let held = || {
        let target = format!("/v2/assertions/{name}");
        let request = tests::http::Request::new("GET", &target, store.host())
            .header("Accept", "application/x.ubuntu.assertion");
        store.send(&request).text()
    };
    assert!(held().contains("revision: 2147483647\n"), "{}", held());
    let next = world.snap("hello").declaration_at(7, 1);
    let lower = stream(&[next.declaration()]);

    // By itself nothing goes back: not alone, not in a bundle, not under another name.
    let _ = store.try_push_assertions(&lower).ok();
    let _ = store.try_push_bundle(&Bundle::new(&next, &[(&next.revision(2), &["latest/edge"])]).pack()).ok();
    assert!(held().contains("revision: 2147483647\n"), "{}", held());
    let other = format!("snap-declaration/16/{}", world.snap("other").id);
    assert!(replace(&store, &lower, &other).refused().contains("is not in the file"));
    assert!(held().contains("revision: 2147483647\n"), "{}", held());

    let done = replace(&store, &lower, &name).json()["files"][0].take();
    assert_eq!(done["added"], json!([name]), "{done}");
    let warning = done["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("no longer 2147483647") && warning.contains("keeps it"), "{warning}");
    assert!(held().contains("revision: 7\n"), "{}", held());
    let events = store.proxy(&["audit"]).ok();
    assert!(events.contains("replace-assertion") && events.contains(&name), "{events}");
    assert_eq!(store.proxy(&["verify"]).code, Some(0));
    assert!(replace(&store, &lower, &name).refused().contains("nothing is to be replaced"));
    // From here on it goes as it always did.
    let _ =
        store.try_push_assertions(&stream(&[world.snap("hello").declaration_at(8, 1).declaration()])).ok();
    assert!(held().contains("revision: 8\n"), "{}", held());
}

#[test]
fn a_document_that_does_not_verify_replaces_nothing() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    // The snap changed hands with its higher revision.
    let old = world.snap("hello").declaration_at(1, 1);
    let new = world.snap("hello").publisher("acme").declaration_at(9, 1);
    store.push_pair(&new.revision(1), &["latest/stable"], "ubuntu");
    let _ = store.try_push_assertions(&stream(&[world.account("dev"), old.declaration()])).ok();
    let name = format!("snap-declaration/16/{}", old.id);
    let forged = String::from_utf8(stream(&[old.declaration()])).expect("text").replace("hello", "hullo");
    assert!(replace(&store, forged.as_bytes(), &name).refused().contains("cannot accept the file"));
    assert_eq!(store.proxy(&["verify"]).code, Some(0));
}

#[test]
fn what_another_document_needs_stays() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    let brand = world.brand("acme");
    let key = |revision: u32| {
        let key = world.account_key_of("acme", "models", &brand.model_key());
        let key = key.header("revision", revision.to_string());
        // The lower one ended before the model was signed.
        world.sign(&match revision {
            1 => key.header("until", "2021-01-01T00:00:00Z"),
            _ => key,
        })
    };
    let documents = [world.store_key(), world.account("acme"), key(9), brand.model("panel")];
    let _ = store.try_push_assertions(&stream(&documents)).ok();
    let name = format!("account-key/{}", brand.model_key().public().id());
    let refused = replace(&store, &stream(&[key(1)]), &name).refused();
    assert!(refused.contains("model/16/acme/panel") && refused.contains("still-needed"), "{refused}");
    assert_eq!(store.proxy(&["verify"]).code, Some(0));
}
