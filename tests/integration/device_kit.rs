//! What devices are given is what the store is: its assertion, its authority, its URL.

use std::fs;

use tests::server::{Server, Setup};
use tests::world::World;

#[test]
fn a_kit_carries_what_the_store_is() {
    let (world, store) = (World::new(), Setup::default().config("proxy.port.https", "0").start());
    store.trust(&world);
    let bare = store.proxy(&["device-kit"]);
    assert!(bare.stderr.contains("register --import"), "{bare:?}");
    let url = &store.url;
    assert!(bare.stdout.contains(&format!("url='{url}'")) && !bare.stdout.contains("<<'"), "{bare:?}");
    let stream = world.registration("acme-onprem", "acme", url);
    let _ =
        store.with_file("store.assert", &stream, |path| store.proxy(&["register", "--import", path]).ok());
    let _ = store.proxy(&["ca", "init"]).ok();
    let told = store.proxy(&["ca", "issue-server"]).ok();
    assert!(told.contains("Next: `proxy device-kit > device-kit.sh`"), "{told}");
    let kit = store.proxy(&["device-kit", "--json"]).json();
    assert_eq!(kit["store-id"], "acme-onprem");
    let authority = store.proxy(&["ca", "show"]).ok();
    assert_eq!(kit["ca"].as_str().map(str::trim), Some(authority.trim()));
    let folder = store.data_dir.join("kit");
    let out = folder.to_str().expect("text");
    let _ = store.proxy(&["device-kit", "--format", "usb", "--out", out]).ok();
    let script = fs::read_to_string(folder.join("device-kit.sh")).expect("written");
    assert_eq!(store.proxy(&["device-kit"]).ok(), script);
    let assertions = fs::read_to_string(folder.join("store.assert")).expect("written");
    assert!(assertions.contains("store: acme-onprem") && script.contains(&assertions), "{script}");
    assert!(script.contains(authority.trim()) && script.contains("store_id='acme-onprem'"), "{script}");
    let defaults = store.proxy(&["device-kit", "--format", "model-defaults"]).ok();
    assert!(defaults.contains("store: \"acme-onprem\""), "{defaults}");
    let cloud = store.proxy(&["device-kit", "--format", "cloud-init"]).ok();
    assert!(cloud.starts_with("#cloud-config\n"), "{cloud}");
}

#[test]
fn a_certificate_that_signed_itself_is_what_devices_trust() {
    let store: Server = Setup::default().config("proxy.port.https", "0").start();
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    let kit = store.proxy(&["device-kit", "--json"]).json();
    assert!(kit["ca"].as_str().is_some_and(|ca| ca.starts_with("-----BEGIN CERTIFICATE-----")), "{kit}");
}
