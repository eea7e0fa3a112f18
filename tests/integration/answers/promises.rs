//! Everything that an answer promises is available: the origin of a revision, titles, anchors, whole files, and links
//! to this store.

use std::fs;

use schema::assertion::{AssertionType, HeaderValue, Ref};
use serde_json::{Value, json};
use tests::device::{Device, Installed, Snapd, Trouble};
use tests::http::Request;
use tests::nginx::Nginx;
use tests::server::{Server, Setup};
use tests::world::{World, map};

use super::Shop;
use crate::verify::{blob, verify};

/// The first result of a refresh request with this action.
fn result(store: &Server, device: &Device, context: &[Installed], action: Value) -> Value {
    let body = json!({ "context": context, "actions": [action], "fields": [] });
    let response = store.send(&device.refresh_post(body.to_string().as_bytes()));
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["results"][0].clone()
}

fn install(more: Value) -> Value {
    let mut action =
        json!({ "action": "install", "instance-key": "install-1", "name": "hello", "epoch": null });
    action.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    action
}

#[test]
fn results_say_where_a_revision_comes_from_and_since_when() {
    let shop = Shop::new();
    shop.store.push_pair(&shop.hello.revision(3), &["latest/stable"], "ubuntu");
    for (asked, revision, channel, released) in [
        (json!({ "channel": "stable" }), 3, "latest/stable", true),
        (json!({ "channel": "latest/edge" }), 2, "latest/edge", true),
        (json!({ "revision": 3 }), 3, "latest/stable", true),
        (json!({ "revision": 2 }), 2, "latest/edge", true),
        (json!({ "revision": 3, "channel": "latest/edge" }), 3, "latest/stable", true),
        // Nothing leads to it any more.
        (json!({ "revision": 1 }), 1, "latest/stable", false),
        (json!({ "revision": 1, "channel": "latest/beta" }), 1, "latest/beta", false),
    ] {
        let told = result(&shop.store, &shop.device, &[], install(asked.clone()));
        assert_eq!(told["snap"]["revision"], revision, "{asked}: {told}");
        assert_eq!(told["effective-channel"], channel, "{asked}: {told}");
        let since = told["released-at"].as_str().map(|at| at.ends_with('Z') || at.contains('+'));
        assert_eq!(since, released.then_some(true), "{asked}: {told}");
    }
    let held = Installed::new("hello", &shop.hello.id, 1, "latest/stable");
    let refresh = json!({ "action": "refresh", "instance-key": held.instance_key, "snap-id": held.snap_id });
    let told = result(&shop.store, &shop.device, &[held], refresh);
    assert_eq!((&told["effective-channel"], &told["snap"]["revision"]), (&json!("latest/stable"), &json!(3)));
    assert!(told["released-at"].is_string(), "{told}");
}

#[test]
fn names_carry_titles_and_aliases() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let alias = HeaderValue::Map(map(&[("name", "hi"), ("target", "hello")]));
    let hello = world.snap("hello").declaration_at(1, 2).declared("aliases", HeaderValue::List(vec![alias]));
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let device = Device::anonymous(&store, Snapd::V2_77);
    let names = store.send(&device.catalogue_get("/api/v1/snaps/names")).json();
    let [entry] = &names["_embedded"]["clickindex:package"].as_array().expect("a list")[..] else {
        panic!("{names}")
    };
    assert!(entry["title"].as_str().is_some_and(|title| !title.is_empty()), "{entry}");
    assert_eq!(entry["aliases"], json!([{ "name": "hi", "target": "hello" }]));
    for field in ["package_name", "version", "summary"] {
        assert!(entry[field].is_string(), "{field}: {entry}");
    }
}

#[test]
fn anchors_can_be_fetched() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let root = [world.root_account().reference(), world.root_key().reference()];
    let account = |id: &str| Ref { kind: AssertionType::Account, key: vec![id.to_owned()] };
    let canonical = "-CvQKAwRQ5h3Ffn10FILJoEZUXOv6km9FwA80-Rcj-f-6jadQ89VRswHNiEB9Lxk".to_owned();
    let key = Ref { kind: AssertionType::AccountKey, key: vec![canonical] };
    for wanted in root.into_iter().chain([account("canonical"), account("generic"), key]) {
        device.assertion(&wanted).unwrap_or_else(|trouble| panic!("{wanted}: {trouble}"));
    }
    assert_eq!(device.assertion(&account("nobody")), Err(Trouble::NotFound));
}

#[test]
fn a_damaged_file_is_not_offered() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let hello = world.snap("hello");
    let elsewhere = hello.clone().architectures(&["arm64"]);
    let newest = hello.revision(6);
    // In stable before, in edge alone, in another track alone, for another architecture alone.
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&hello.revision(2), &["latest/edge"], "ubuntu");
    store.push_pair(&hello.revision(3), &["2/stable"], "ubuntu");
    store.push_pair(&elsewhere.revision(4), &["latest/edge/arm"], "ubuntu");
    store.push_pair(&newest, &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let answer = |device: &Device, have: Option<u32>, more: Value| {
        let context: Vec<Installed> =
            have.into_iter().map(|have| Installed::new("hello", &hello.id, have, "latest/stable")).collect();
        let action = match have {
            None => install(more),
            Some(_) => json!({ "action": "refresh", "instance-key": hello.id, "snap-id": hello.id }),
        };
        let told = result(&store, device, &context, action);
        match told["result"].as_str() {
            Some("error") => Err(told["error"]["code"].as_str().unwrap_or_default().to_owned()),
            _ => Ok(told["snap"]["revision"].as_u64().unwrap_or_default()),
        }
    };
    let stable = json!({ "channel": "stable" });
    assert_eq!(answer(&device, Some(1), json!({})), Ok(6));

    let path = blob(&store.data_dir, &newest.image.digest);
    let mut bytes = fs::read(&path).expect("a file");
    bytes[2000] ^= 1;
    fs::write(&path, bytes).expect("it can be damaged");
    let _ = verify(&store, 1);
    assert_eq!(answer(&device, None, stable.clone()), Ok(1));
    assert_eq!(answer(&device, None, json!({ "channel": "edge" })), Ok(2));
    // Whoever has something newer than what stands in keeps it.
    for have in [1, 2, 6] {
        assert_eq!(answer(&device, Some(have), json!({})), Ok(have.into()), "with {have}");
    }
    assert_eq!(answer(&device, None, json!({ "revision": 6 })), Err("file-damaged".into()));
    let info = store.send(&device.info_get("hello", "revision")).json();
    assert_eq!(info["channel-map"][0]["revision"], 1, "{info}");
    let status = store.proxy(&["status"]).stdout;
    assert!(status.contains("hello revision 6 is damaged"), "{status}");
    assert!(status.contains("hello latest/stable (all) are offered revision 1 until"), "{status}");
    device.install_for_good("hello", "stable").expect("what is offered is whole");

    // Without anything sound there is no offer, and the reason is told.
    let path = blob(&store.data_dir, &hello.revision(1).image.digest);
    fs::remove_file(path).expect("it was there");
    let _ = verify(&store, 1);
    assert_eq!(answer(&device, None, stable.clone()), Err("file-damaged".into()));
    assert!(store.proxy(&["status"]).stdout.contains("hello latest/stable (all) are offered nothing until"));
    store.push_pair(&newest, &["latest/stable"], "ubuntu");
    assert_eq!(answer(&device, None, stable), Ok(6));
}

#[test]
fn links_lead_to_the_public_url() {
    let shop = Shop::new();
    let nginx = Nginx::before(&shop.store);
    let front = format!("http://{}", nginx.address);
    let _ = shop.store.proxy(&["config", &format!("proxy.public-url={front}/")]).ok();
    assert_eq!(shop.store.status().store_url, front);
    // The device refuses links that leave the URL that it was given.
    let mut device = Device::at(nginx.address, &front, Snapd::V2_77).trusting(&shop.world);
    device.install_for_good("hello", "stable").expect("all of it through the front");
    device.refresh_all().expect("assertion streams too");
    assert!(nginx.requests().contains(".snap"), "{}", nginx.requests());

    let secure = "https://snaps.example:8443";
    let _ = shop.store.proxy(&["config", &format!("proxy.public-url={secure}")]).ok();
    let told = result(&shop.store, &shop.device, &[], install(json!({ "channel": "stable" })));
    let link = told["snap"]["download"]["url"].as_str().expect("a link");
    assert!(link.starts_with(&format!("{secure}/")), "{link}");
    let _ = shop
        .store
        .proxy(&["config", "proxy.trust-forwarded-proto=true", "proxy.trusted-proxies=[\"127.0.0.1\"]"])
        .ok();
    let there = shop.store.send(&Request::new("GET", "/v2/snaps/find?q=x", shop.store.host()));
    assert_eq!(
        (there.status, there.header("Location")),
        (308, Some(&*format!("{secure}/v2/snaps/find?q=x")))
    );
    // What does not say a whole origin says nothing.
    for wrong in
        ["snaps.example", "https://snaps.example/store", "https://user@snaps.example", "ftp://snaps.example"]
    {
        let refused = shop.store.proxy(&["config", &format!("proxy.public-url={wrong}")]).refused();
        assert!(refused.contains("proxy.public-url"), "{refused}");
    }
}

#[test]
fn settings_without_effect_say_so() {
    let store = Server::start();
    let told = store.proxy(&["config", "proxy.cache.size=100", "proxy.port.snapauth=9000"]);
    assert!(told.stderr.contains("without effect here: proxy.cache.size, proxy.port.snapauth"), "{told:?}");
    let told = store.proxy(&["config", "proxy.verify.rate=10", "proxy.cache.size="]);
    assert!(!told.stderr.contains("without effect"), "{told:?}");
    let stopped = Setup::default().config("proxy.cache.size", "1").start();
    let status = stopped.proxy(&["config", "proxy.trusted-proxies=[\"10.0.0.1\"]"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let status = stopped.proxy(&["status"]).stdout;
    assert!(status.contains("proxy.trusted-proxies has no effect while"), "{status}");
}
