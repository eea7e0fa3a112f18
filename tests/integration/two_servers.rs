//! Two servers on one PostgreSQL and one folder of blobs: they agree, and either may go.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::device::{Device, Snapd};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::World;

/// How soon the other server has to know.
const SOON: Duration = Duration::from_secs(2);

fn pair(blobs: &Path) -> [Server; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Cluster::shared().database()).expect("a database");
    let path = blobs.to_str().expect("a path of text");
    let setup = Setup::default().config("proxy.db.connection", &database).config("proxy.storage.path", path);
    [setup.clone().start(), setup.start()]
}

/// Waits until the device gets this revision, and answers how long that took.
fn until_served(device: &mut Device, revision: u32) -> Duration {
    let begun = Instant::now();
    loop {
        let served = device.install("hello", "stable").ok().map(|outcome| outcome.snap.revision);
        if served == Some(revision) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < 10 * SOON, "revision {revision} never came, but {served:?}");
    }
}

#[test]
fn what_one_takes_in_the_other_serves() {
    let folder = tempfile::tempdir().expect("there is room");
    let [first, second] = pair(folder.path());
    let world = World::new();
    let acme = world.brand("acme");
    first.trust(&world);
    first.push_brand(&acme);
    let hello = world.snap("hello").publisher("acme").payload(200_000);
    first.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
    first.push_store("AcmeStore", "acme", &[&hello]);

    let identity = acme.device(&acme.model_in("gateway", "AcmeStore"), "SN-1");
    let mut device = Device::new(&first, Snapd::V2_77, &identity).trusting(&world);
    device.install_for_good("hello", "stable").expect("at the first");
    let session = device.session.clone();
    device.move_to(&second);
    let mut slowest = Duration::ZERO;
    for number in 2..=6 {
        let (to, from) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        to.push_pair(&hello.revision(number), &["latest/stable"], "AcmeStore");
        device.move_to(from);
        slowest = slowest.max(until_served(&mut device, number));
        device.install_for_good("hello", "stable").expect("with its file and documents");
    }
    println!("the slowest of 5 imports was served by the other server after {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}");
    assert_eq!(device.session, session, "one session is good at both");
    assert!(!first.data_dir.join("blobs").exists() && folder.path().join("blobs").exists());
}

/// Ends the devices, also when a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn one_restarts_while_the_other_serves() {
    let folder = tempfile::tempdir().expect("there is room");
    let [mut first, second] = pair(folder.path());
    let world = World::new();
    first.trust(&world);
    let hello = world.snap("hello").payload(500_000);
    first.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&second, Snapd::V2_77).trusting(&world);
    let _ = until_served(&mut device, 1);

    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..4 {
            let mut device = Device::anonymous(&second, Snapd::V2_57).trusting(&world);
            let (over, served) = (&over, &served);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let outcome = device.install("hello", "stable").expect("an answer");
                    device.fetch_and_check(&outcome).expect("its file");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let goes_on = || {
            let before = served.load(Ordering::Relaxed);
            let begun = Instant::now();
            while served.load(Ordering::Relaxed) < before + 4 {
                assert!(begun.elapsed() < Duration::from_secs(30), "nobody is served any more");
                std::thread::yield_now();
            }
        };
        for number in 2..=4 {
            let stopped = first.kill();
            goes_on();
            second.push_pair(&hello.revision(number), &["latest/stable"], "ubuntu");
            first = stopped.start();
            let mut device = Device::anonymous(&first, Snapd::V2_77).trusting(&world);
            assert!(until_served(&mut device, number) < SOON);
            goes_on();
        }
    });
    println!(
        "{} installs from one server while the other was killed and started 3 times",
        served.into_inner()
    );
}

#[test]
fn a_rotation_reaches_the_other_with_its_settings() {
    let folder = tempfile::tempdir().expect("there is room");
    let [first, second] = pair(folder.path());
    let old = first.site_login("overrides").1;
    let _ = first.proxy(&["rotate-secret", "proxy.auth.secret", "--keep-old", "1d"]).ok();
    let (id, new) = first.site_login("overrides");
    let state = |server: &Server| {
        let all = server.proxy(&["list-logins", "--json"]).json();
        let logins = all["logins"].as_array().expect("a list").clone();
        logins.into_iter().find(|login| login["id"] == *id).map(|login| login["state"].clone())
    };
    let status = |server: &Server, token: &str| {
        let list = tests::http::Request::new("GET", "/v2/metadata/overrides/hello", server.host())
            .header("Authorization", &format!("Macaroon {token}"));
        server.send(&list).status
    };
    let good = status(&first, &new);
    assert!(good != 401 && status(&first, &old) == good, "{good}");
    assert_eq!(status(&second, &old), good);
    let begun = Instant::now();
    while state(&second).is_none() {
        assert!(begun.elapsed() < 10 * SOON, "the login is not known there");
    }
    assert_eq!((status(&second, &new), state(&second)), (401, Some("void".into())), "it has the old secret");

    let carry = |name: &str| format!("{name}={}", first.proxy(&["config", name]).ok().trim());
    let values = ["proxy.auth.secret", "proxy.auth.old-secrets"].map(carry);
    let _ = second.proxy(&["config", &values[0], &values[1]]).ok();
    assert_eq!((status(&second, &new), status(&second, &old)), (good, good));
    assert_eq!(state(&second), Some("valid".into()));
    assert_eq!(second.status().old_login_keys, first.status().old_login_keys);
}
