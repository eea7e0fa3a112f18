//! What operators are told of a device's downloads: deltas offered, bytes that were sent, and whether it fell back to the whole snap.

use serde_json::{Value, json};
use tests::device::{Device, Installed, Snapd};
use tests::prometheus::Scrape;
use tests::server::Server;
use tests::snap::{Image, noise};
use tests::world::{Brand, World};

use super::{get, offered, path_of, revision, with_deltas};
use crate::rot::wait_for;

/// A device with a session that runs revision 1 of the snap.
fn device(store: &Server, brand: &Brand, serial: &str, snap_id: &str) -> Device {
    let mut device = Device::new(store, Snapd::V2_77, &brand.device(&brand.model("gateway"), serial));
    device.ensure_session().expect("a session");
    device.installed = vec![Installed::new("hello", snap_id, 1, "latest/stable")];
    device
}

/// What the store tells of the downloads of a device.
fn told(store: &Server, serial: &str) -> Value {
    let device = format!("acme/gateway/{serial}");
    store.proxy(&["show-device", &device, "--json"]).json()["downloads"].clone()
}

/// What a device was sent: bytes of deltas and of whole snaps, in all.
fn sent(downloads: &Value) -> (u64, u64) {
    let bytes = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    let formats = downloads["total"]["formats"].as_array().cloned().unwrap_or_default();
    let deltas = formats.iter().map(|one| bytes(one, "deltas-served-bytes")).sum();
    (deltas, bytes(&downloads["total"], "snaps-served-bytes"))
}

#[test]
fn operators_see_what_a_device_was_offered_what_it_took_and_that_it_fell_back() {
    let setup = with_deltas().config("proxy.metrics.address", "127.0.0.1:0");
    let (world, store) = (World::new(), setup.start());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello"));
    store.push_brand(&brand);
    let two = revision(&hello, 2);
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    store.push_pair(&two, &["latest/stable"], "ubuntu");
    let whole = format!("/api/v1/snaps/download/{}_2.snap", hello.id);
    let whole_size = two.image.bytes.len() as u64;
    let [mut well, mut back, mut instead, mut silent] =
        ["SN-1", "SN-2", "SN-3", "SN-4"].map(|serial| device(&store, &brand, serial, &hello.id));
    wait_for("a delta", || !offered(&mut well.clone()).is_empty());
    let delta = offered(&mut well).remove(0);
    let delta_size = u64::try_from(delta.size.expect("a size")).expect("a size");
    let delta = path_of(&delta).to_owned();
    for other in [&mut back, &mut instead, &mut silent] {
        assert_eq!(offered(other).len(), 1);
    }
    // Asked for, and not sent.
    let _ = store.send(&silent.download_request("HEAD", &delta, None));
    let _ = store.send(&silent.download_request("HEAD", &whole, None));
    // In two parts.
    assert_eq!(
        store.send(&well.download_request("GET", &delta, Some(10))).body.len() as u64,
        delta_size - 10
    );
    assert_eq!(get(&store, &well, &delta).status, 200);
    assert_eq!(get(&store, &back, &delta).status, 200);
    assert_eq!(get(&store, &back, &whole).status, 200);
    assert_eq!(get(&store, &instead, &whole).status, 200);

    let look = |store: &Server| {
        for (serial, bytes, outcome, fallbacks) in [
            ("SN-1", (2 * delta_size - 10, 0), "delta", 0),
            ("SN-2", (delta_size, whole_size), "fell-back", 1),
            ("SN-3", (0, whole_size), "whole-instead", 0),
            ("SN-4", (0, 0), "offered", 0),
        ] {
            let told = told(store, serial);
            let last = &told["last"][0];
            assert_eq!((sent(&told), last["outcome"].as_str()), (bytes, Some(outcome)), "{serial}: {told}");
            assert_eq!(
                (&last["name"], &last["source"], &last["target"]),
                (&json!("hello"), &json!(1), &json!(2))
            );
            assert_eq!(last["offered"], json!([{"format": "xdelta3", "bytes": delta_size}]), "{serial}");
            assert_eq!(last["whole-bytes"], bytes.1, "{serial}");
            assert_eq!(told["total"]["deltas-fallbacks"], fallbacks, "{serial}");
            assert_eq!(told["last"].as_array().map(Vec::len), Some(1), "{serial}");
        }
    };
    look(&store);
    let text = store.proxy(&["show-device", "acme/gateway/SN-2"]).ok();
    for wanted in [
        format!("xdelta3 {delta_size} bytes, then whole {whole_size} bytes: fell back"),
        format!("whole snaps: {whole_size} bytes; after a delta (fell back): 1"),
    ] {
        assert!(text.contains(&wanted), "no {wanted:?} in {text}");
    }
    assert!(store.proxy(&["list-devices", "--json"]).json()["devices"][0].get("downloads").is_none());

    // The same numbers by the same names, wherever one looks.
    let (deltas_sent, whole_sent) = (3 * delta_size - 10, 2 * whole_size);
    let scrape = Scrape::of(&store);
    for (series, wanted) in [
        ("airlock_deltas_served_total{format=\"xdelta3\"}", 3),
        ("airlock_deltas_served_bytes_total{format=\"xdelta3\"}", deltas_sent),
        ("airlock_snaps_served_bytes_total", whole_sent),
        ("airlock_deltas_fallbacks_total", 1),
    ] {
        assert_eq!(scrape.get(series), Some(wanted as f64), "{series}");
    }
    let offers = scrape.value("airlock_deltas_offered_total{format=\"xdelta3\"}") as u64;
    let traffic = json!({
        "snaps-served-bytes": whole_sent,
        "deltas-fallbacks": 1,
        "formats": [{
            "format": "xdelta3",
            "deltas-offered": offers,
            "deltas-offered-bytes": offers * delta_size,
            "deltas-served": 3,
            "deltas-served-bytes": deltas_sent,
        }],
    });
    let status = store.proxy(&["status", "--json"]).json();
    assert_eq!(
        status["deltas"],
        json!({
            "budget": 100_000_000,
            "held": [{"format": "xdelta3", "deltas": 1, "bytes": delta_size}],
            "last-24-hours": traffic,
            "last-30-days": traffic,
        })
    );
    let text = store.proxy(&["status"]).ok();
    for wanted in [
        format!("Held: 1 xdelta3 ({delta_size} bytes); 100000000 bytes allowed"),
        format!("Last 24 hours: whole snaps: {whole_sent} bytes; after a delta (fell back): 1"),
        format!("3 downloaded ({deltas_sent} bytes)"),
    ] {
        assert!(text.contains(&wanted), "no {wanted:?} in {text}");
    }

    // It outlives the process, and goes on.
    let store = store.stop().start();
    look(&store);
    back.move_to(&store);
    assert_eq!(get(&store, &back, &whole).status, 200);
    assert_eq!(sent(&told(&store, "SN-2")), (delta_size, 2 * whole_size));
    assert_eq!(
        store.proxy(&["status", "--json"]).json()["deltas"]["last-30-days"]["snaps-served-bytes"],
        3 * whole_size
    );
}

#[test]
fn a_device_that_is_offered_a_revision_anew_does_not_fall_back() {
    let (world, store) = (World::new(), with_deltas().config("proxy.metrics.address", "127.0.0.1:0").start());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello"));
    store.push_brand(&brand);
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    store.push_pair(&revision(&hello, 2), &["latest/stable"], "ubuntu");
    let whole = format!("/api/v1/snaps/download/{}_2.snap", hello.id);
    let mut device = device(&store, &brand, "SN-1", &hello.id);
    wait_for("a delta", || !offered(&mut device.clone()).is_empty());
    let delta = path_of(&offered(&mut device).remove(0)).to_owned();
    let fallbacks = |store: &Server| {
        let told = told(store, "SN-1");
        let all =
            store.proxy(&["status", "--json"]).json()["deltas"]["last-30-days"]["deltas-fallbacks"].clone();
        assert_eq!(told["total"]["deltas-fallbacks"], all, "{told}");
        (all.as_u64(), told["last"][0]["outcome"].as_str().map(str::to_owned))
    };
    // It applies the delta. Later somebody removes the snap and installs it again.
    assert_eq!(get(&store, &device, &delta).status, 200);
    let installed = std::mem::take(&mut device.installed);
    let again = device.install("hello", "latest/stable").expect("an offer");
    assert_eq!(again.snap.revision, 2);
    assert_eq!(get(&store, &device, &whole).status, 200);
    assert_eq!(fallbacks(&store), (Some(0), Some("delta".into())));
    let text = store.proxy(&["show-device", "acme/gateway/SN-1"]).ok();
    assert!(text.contains(" bytes at another time") && !text.contains(": fell back"), "{text}");
    // It goes back to the other revision, and cannot apply the delta this time.
    device.installed = installed;
    assert_eq!(offered(&mut device).len(), 1);
    for path in [&delta, &whole] {
        assert_eq!(get(&store, &device, path).status, 200);
    }
    assert_eq!(fallbacks(&store), (Some(1), Some("fell-back".into())));
    // A restart changes nothing about it.
    let store = store.stop().start();
    device.move_to(&store);
    assert_eq!(get(&store, &device, &whole).status, 200);
    assert_eq!(fallbacks(&store), (Some(1), Some("fell-back".into())));
}

#[test]
fn attack_a_device_adds_to_its_own_figures_only() {
    let (world, store) = (World::new(), with_deltas().start());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello"));
    store.push_brand(&brand);
    for number in 1..=20 {
        store.push_pair(&revision(&hello, number), &["latest/stable"], "ubuntu");
    }
    let [mut liar, mut other] = ["SN-1", "SN-2"].map(|serial| device(&store, &brand, serial, &hello.id));
    // Each has been seen.
    let _ = (offered(&mut liar), offered(&mut other));
    let mut anonymous = Device::anonymous(&store, Snapd::V2_77);
    anonymous.installed.clone_from(&liar.installed);
    let before = told(&store, "SN-2");
    let path = |number: u32| format!("/api/v1/snaps/download/{}_{number}.snap", hello.id);
    for number in 1..=20 {
        for (device, wanted) in [(&liar, 200), (&anonymous, 200)] {
            let lies = device
                .download_request("GET", &path(number), None)
                .header("User-Agent", &"x".repeat(4000))
                .header("X-Device-Id", "acme/gateway/SN-2")
                .header("Snap-Device-Series", "acme/gateway/SN-2");
            assert_eq!(store.send(&lies).status, wanted);
        }
        let nothing = path(number).replace(&hello.id, &format!("{}x{number}", "q".repeat(31)));
        assert_eq!(get(&store, &liar, &nothing).status, 404);
    }
    let told_of_liar = told(&store, "SN-1");
    let last = told_of_liar["last"].as_array().expect("a list");
    assert_eq!(last.len(), 16, "{told_of_liar}");
    assert!(last.iter().all(|one| one["snap-id"] == *hello.id && one["target"].as_u64() > Some(4)));
    assert_eq!(told(&store, "SN-2"), before, "another device's are as they were");
    assert!(told_of_liar.to_string().len() < 8000 && !told_of_liar.to_string().contains("xxx"));
}

#[test]
fn a_download_that_breaks_off_counts_what_was_sent() {
    let setup = with_deltas().config("proxy.metrics.address", "127.0.0.1:0");
    let (world, store) = (World::new(), setup.start());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello"));
    store.push_brand(&brand);
    let yaml = "name: hello\nversion: \"1\"\nsummary: A snap\ndescription: One.\n";
    // More than a connection and its ends hold.
    let image = Image::pack(&[("meta/snap.yaml", yaml.as_bytes()), ("payload", &noise("large", 24 << 20))]);
    let large = tests::world::Revision { yaml: yaml.to_owned(), ..hello.with_image(1, "1", image) };
    let size = large.image.bytes.len() as u64;
    store.push_pair(&large, &["latest/stable"], "ubuntu");
    let mut device = device(&store, &brand, "SN-1", &hello.id);
    let found = device.install("hello", "latest/stable").expect("an offer");
    let part = device.begin_download(&found.snap.download, 1000).expect("a beginning");
    let count = || Scrape::of(&store).value("airlock_snaps_served_bytes_total") as u64;
    wait_for("the end of the download", || count() > 0);
    let first = count();
    assert!(first >= 1000 && first < size, "{first} of {size} bytes");
    let whole = device.resume(&found.snap.download, part).expect("the rest");
    assert_eq!(whole.len() as u64, size);
    assert_eq!(count(), first + size - 1000);
    assert_eq!(sent(&told(&store, "SN-1")), (0, first + size - 1000));
}
