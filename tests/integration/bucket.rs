//! Blobs in a bucket: two servers share it, and whatever the object store does, no device gets wrong bytes (hazard E11).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use schema::digest::Sha3_384;
use serde_json::json;
use tests::attack::until;
use tests::bucket::{ObjectStore, setup};
use tests::device::{Device, Snapd};
use tests::http::{Request, Response};
use tests::postgres::Cluster;
use tests::relay::{Fault, Relay};
use tests::server::Server;
use tests::world::World;

use super::verify::verify;

fn key(bytes: &[u8]) -> String {
    let name = Sha3_384::of(bytes).to_hex();
    format!("blobs/{}/{name}", &name[..2])
}

#[test]
fn two_servers_share_a_bucket() {
    let bucket = ObjectStore::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Cluster::shared().database()).expect("a database");
    let setup = setup(&format!("http://{}", bucket.address)).config("proxy.db.connection", &database);
    let [first, second]: [Server; 2] = [setup.clone().start(), setup.start()];
    let world = World::new();
    first.trust(&world);
    let hello = world.snap("hello").payload(2_500_000);
    let mut device = Device::anonymous(&first, Snapd::V2_77).trusting(&world);
    for number in 1..=3 {
        let (to, from) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let revision = hello.revision(number);
        to.push_pair(&revision, &["latest/stable"], "ubuntu");
        device.move_to(from);
        let outcome = loop {
            match device.install("hello", "stable") {
                Ok(outcome) if outcome.snap.revision == number => break outcome,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(device.fetch_and_check(&outcome).expect("whole"), revision.image.bytes);
        let part = device.begin_download(&outcome.snap.download, 1_200_345).expect("a part");
        assert!(!part.is_empty() && part.len() < revision.image.bytes.len());
        device.move_to(to);
        let outcome = device.install("hello", "stable").expect("at the other one");
        assert_eq!(device.resume(&outcome.snap.download, part).expect("the rest"), revision.image.bytes);
        assert_eq!(bucket.ask("GET", &key(&revision.image.bytes)).body, revision.image.bytes);
    }
    assert_eq!(bucket.names("blobs/").len(), 3);
    assert_eq!(verify(&first, 0)["blobs"], json!(3));
    for server in [&first, &second] {
        assert!(!server.data_dir.join("blobs").exists(), "nothing is kept in the data directory");
    }

    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("backup.tar");
    let file = file.to_str().expect("a path of text");
    let _ = second.proxy(&["backup", "--without-secrets", file]).ok();
    let length = std::fs::metadata(file).expect("a backup").len();
    assert!(length > 3 * 2_500_000, "{length} bytes hold no three files");
}

#[test]
fn deltas_are_made_of_objects_too() {
    let bucket = ObjectStore::start();
    let store = setup(&format!("http://{}", bucket.address)).config("proxy.deltas.budget", "100").start();
    let world = World::new();
    store.trust(&world);
    let hello = world.snap("hello");
    let all = [1, 2].map(|number| crate::deltas::revision(&hello, number));
    for revision in &all {
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    let _ = store.proxy(&["deltas", "make", "hello", "1", "2"]).ok();
    let made = || store.proxy(&["deltas", "list", "--json"]).json()["deltas"][0]["state"] == "made";
    let _ = until("the delta is made", Duration::from_secs(60), made);
    let left = std::fs::read_dir(store.data_dir.join("deltas")).expect("a folder").count();
    assert_eq!(left, 2, "the delta and the word of the operator; no copies");
}

#[test]
fn flipped_bytes_never_reach_a_device_and_a_push_heals() {
    let bucket = ObjectStore::start();
    let store = setup(&format!("http://{}", bucket.address)).start();
    let world = World::new();
    store.trust(&world);
    let revision = world.snap("hello").payload(2_500_000).revision(1);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let whole = &revision.image.bytes;
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let outcome = device.install("hello", "stable").expect("known");
    let mut target = outcome.snap.download.clone();
    for position in [5, 1_500_000, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        bucket.put(&key(whole), &bytes);
        // A client that checks nothing: what it has of the file is right, and it is not whole.
        target.sha3_384 = None;
        let got = device.begin_download(&target, usize::MAX).unwrap_or_default();
        assert!(whole.starts_with(&got) && got.len() <= position, "{} bytes, {position}", got.len());
        assert!(device.fetch_and_check(&outcome).is_err());
        assert_eq!(verify(&store, 1)["problems"].as_array().map(Vec::len), Some(1));
        assert_eq!(bucket.names("damaged/").len(), 1);
        store.push_pair(&revision, &["latest/stable"], "ubuntu");
        assert_eq!(device.fetch_and_check(&outcome).expect("healed"), *whole);
        assert_eq!(bucket.names("damaged/").len(), 0);
    }
    let _ = bucket.ask("DELETE", &key(whole));
    assert!(device.fetch_and_check(&outcome).is_err());
    assert_eq!(verify(&store, 1)["problems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_and_a_push_converges() {
    let bucket = Arc::new(ObjectStore::start());
    let mode = Arc::new(AtomicU8::new(0));
    let plan = Arc::clone(&mode);
    // 1: parts are cut, and the upload cannot be ended; 2: no answer to its end; 3: errors.
    let relay = Relay::before(bucket.address, move |request, _| {
        let (is_part, is_end) = (request.target.contains("partNumber=2"), request.method == "DELETE");
        let is_upload = request.target.contains("uploadId");
        match plan.load(Ordering::Relaxed) {
            1 if is_part || is_end => Fault::Drop,
            2 if is_upload && request.method == "POST" => Fault::Drop,
            3 if request.method == "PUT" => Fault::Answer(500, Vec::new(), "<Error/>".to_owned()),
            _ => Fault::Pass,
        }
    });
    let mut store = setup(&relay.url).start();
    let world = World::new();
    store.trust(&world);
    let revision = world.snap("hello").payload(20_000_000).revision(1);
    for fault in [1, 2, 3] {
        mode.store(fault, Ordering::Relaxed);
        let complaint = store.try_push_pair(&revision, &["latest/stable"], "ubuntu").refused();
        println!("fault {fault}: {complaint}");
        mode.store(0, Ordering::Relaxed);
        assert_eq!(bucket.names("blobs/"), Vec::<String>::new(), "fault {fault}");
        assert_eq!(bucket.uploads(), usize::from(fault == 1), "fault {fault}");
        store = store.kill().start();
        assert_eq!(bucket.uploads(), 0, "the next start ends what was left");
        let staged = std::fs::read_dir(store.data_dir.join("staging")).expect("a folder").count();
        assert_eq!(staged, 0, "fault {fault}");
    }
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let outcome = device.install("hello", "stable").expect("known");
    assert_eq!(device.fetch_and_check(&outcome).expect("whole"), revision.image.bytes);
}

#[test]
fn only_a_real_not_found_is_one() {
    let bucket = Arc::new(ObjectStore::start());
    let mode = Arc::new(AtomicU8::new(0));
    let plan = Arc::clone(&mode);
    let relay = Relay::before(bucket.address, move |request, _| {
        let of_object = request.target.starts_with("/snaps/blobs/");
        match plan.load(Ordering::Relaxed) {
            1 => Fault::Answer(403, Vec::new(), "<Error><Code>AccessDenied</Code></Error>".to_owned()),
            2 if of_object => Fault::Answer(404, Vec::new(), String::new()),
            3 => Fault::Answer(404, Vec::new(), "<Error><Code>NoSuchBucket</Code></Error>".to_owned()),
            _ => Fault::Pass,
        }
    });
    let store = setup(&relay.url).start();
    let world = World::new();
    store.trust(&world);
    let hello = world.snap("hello").payload(1_500_000);
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let outcome = device.install("hello", "stable").expect("known");
    for (fault, told) in [(1_u8, "AKIAAIRLOCK"), (2, "lists blobs/"), (3, "scanned-container-name")] {
        mode.store(fault, Ordering::Relaxed);
        let trouble = device.begin_download(&outcome.snap.download, 10).expect_err("no bytes");
        assert_eq!(trouble.status(), Some(503), "fault {fault}");
        let ran = store.proxy(&["verify", "--json"]);
        assert_ne!(ran.code, Some(0), "fault {fault}");
        assert!(!ran.stdout.contains("missing"), "fault {fault}: {}", ran.stdout);
        assert!(
            ran.stdout.contains(told) || ran.stderr.contains(told),
            "fault {fault}: {} {}",
            ran.stdout,
            ran.stderr
        );
        let _ = store.try_push_pair(&hello.revision(2), &["latest/stable"], "ubuntu").refused();
        assert!(store.log().contains(told), "fault {fault}: {}", store.log());
        let place = relay.url.clone();
        for command in ["doctor", "check-connections"] {
            let ran = store.proxy(&[command]);
            let code =
                ["", "403 Forbidden, AccessDenied", "", "404 Not Found, NoSuchBucket"][usize::from(fault)];
            // The second fault leaves the bucket as it is.
            let is_told = ran.stdout.contains(&place) && ran.stdout.contains(code) && ran.code == Some(1);
            assert!(fault == 2 || is_told, "fault {fault}: {}", ran.stdout);
            assert!(!ran.stdout.contains("<Code>") && !ran.stdout.contains("ls -ld"), "{}", ran.stdout);
        }
        mode.store(0, Ordering::Relaxed);
        device.fetch_and_check(&outcome).expect("as before");
        assert_eq!(bucket.names("damaged/").len(), 0, "fault {fault}");
    }
    assert_eq!(verify(&store, 0)["blobs"], json!(1));
}

/// What a program is told about readiness.
fn ready(store: &Server) -> Response {
    store.send(&Request::new("GET", "/_status/ready", store.host()))
}

#[test]
fn a_server_starts_without_its_bucket_and_serves_files_once_it_is_back() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let bucket = Arc::new(ObjectStore::start());
    let mode = Arc::new(AtomicU8::new(0));
    let plan = Arc::clone(&mode);
    // 1: parts are cut, and the upload cannot be ended; 2: no answer to anything.
    let relay = Relay::before(bucket.address, move |request, _| match plan.load(Ordering::Relaxed) {
        1 if request.target.contains("partNumber=2") || request.method == "DELETE" => Fault::Drop,
        2 => Fault::Drop,
        _ => Fault::Pass,
    });
    let store = setup(&relay.url).start();
    let world = World::new();
    store.trust(&world);
    let [sound, rotten] = ["sound", "rotten"].map(|name| world.snap(name).payload(1_500_000).revision(1));
    for revision in [&sound, &rotten] {
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    let mut damaged = rotten.image.bytes.clone();
    damaged[1_200_000] ^= 1;
    bucket.put(&key(&rotten.image.bytes), &damaged);
    assert_eq!(verify(&store, 1)["problems"].as_array().map(Vec::len), Some(1));
    mode.store(1, Ordering::Relaxed);
    let large = world.snap("large").payload(20_000_000).revision(1);
    let _ = store.try_push_pair(&large, &["latest/stable"], "ubuntu").refused();
    assert_eq!(bucket.uploads(), 1, "an upload that could not be ended");
    mode.store(2, Ordering::Relaxed);

    let store = store.kill().start();
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let told = ready(&store);
    assert_eq!(told.status, 503);
    assert!(told.text().contains("storage-not-writable"), "{told:?}");
    device.info("sound").expect("the catalog answers");
    let outcomes = ["sound", "rotten"].map(|name| device.install(name, "stable").expect("it is offered"));
    for outcome in &outcomes {
        let trouble = device.begin_download(&outcome.snap.download, usize::MAX).expect_err("no bytes");
        assert_eq!(trouble.status(), Some(503));
    }
    let _ = store.try_push_pair(&large, &["latest/stable"], "ubuntu").refused();
    let complaint = "Cannot look at damaged files";
    let _ = until("the log tells it", PATIENCE, || store.log().contains(complaint));

    mode.store(0, Ordering::Relaxed);
    let _ = until("it is ready", PATIENCE, || ready(&store).status == 200);
    assert_eq!(device.fetch_and_check(&outcomes[0]).expect("whole"), sound.image.bytes);
    let _ = until("the upload is ended", PATIENCE, || bucket.uploads() == 0);
    let staging = store.data_dir.join("staging");
    let _ = until("its note is gone", PATIENCE, || {
        std::fs::read_dir(&staging)
            .expect("a folder")
            .flatten()
            .all(|file| !file.file_name().to_string_lossy().starts_with("upload-"))
    });
    let begun = |device: &mut Device| device.begin_download(&outcomes[1].snap.download, usize::MAX);
    let _ = until("it knows again what is damaged", PATIENCE, || {
        begun(&mut device).is_err_and(|trouble| trouble.status() == Some(503))
    });
    for revision in [&rotten, &large] {
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    assert_eq!(device.fetch_and_check(&outcomes[1]).expect("healed"), rotten.image.bytes);
    let _ = store.proxy(&["verify"]).ok();
    let _ = until("the log tells the end", PATIENCE, || {
        store.log().contains("Damaged files are looked at again")
    });
    assert_eq!(store.log().matches(complaint).count(), 1, "{}", store.log());
}
