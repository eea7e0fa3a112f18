//! A store that asks for client certificates is fetched from with one, and not without.

use tests::server::Setup;
use tests::world::World;

use super::Connected;

#[test]
fn a_client_certificate_opens_the_store_that_is_fetched_from() {
    let world = World::new();
    let store = Setup::default().config("proxy.port.https", "0").start();
    store.trust(&world);
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    let folder = tempfile::tempdir().expect("there is room");
    let out = folder.path().to_str().expect("a text");
    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    let _ = store.proxy(&["ca", "issue-client", "connected", "--out", out]).ok();
    let ca = store.data_dir.join("ca/ca.pem");
    let client_ca = format!("proxy.tls.client-ca={}", ca.display());
    let _ = store.proxy(&["config", "proxy.tls.client-auth=required", &client_ca]).ok();
    let listening = store.status().listening;
    let port = listening.iter().find_map(|url| url.strip_prefix("https://")?.rsplit(':').next());
    let url = format!("https://127.0.0.1:{}", port.unwrap_or_else(|| panic!("{listening:?}")));

    let host = Connected::to(&url, &world);
    let _ = host.proxy(&["use-ca-certs", ca.to_str().expect("a text")]).ok();
    let refused = host.fetch(&["hello", "--channel=stable"]).refused();
    assert!(host.bundles().is_empty(), "{refused}");
    let (cert, key) = (format!("{out}/connected.pem"), format!("{out}/connected.key"));
    let fetched = host.fetch(&["hello", "--channel=stable", "--cert", &cert, "--key", &key]).ok();
    assert!(fetched.contains("Downloaded hello to "), "{fetched}");
    assert_eq!(host.bundles().len(), 1);
    // The wrong files are named.
    let refused = host.fetch(&["hello", "--channel=stable", "--cert", &key, "--key", &cert]).refused();
    assert!(refused.contains("connected.") && refused.contains("cannot take"), "{refused}");
}
