//! Sessions across restarts, a rebuilt host, a missing secret, and a database that is away.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::device::{Device, Snapd, Trouble};
use tests::postgres::Cluster;
use tests::server::{Server, Setup, proxy};

use super::{Scene, assert_refused};

/// A database in a cluster.
fn database(cluster: &Cluster) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(cluster.database()).expect("a database")
}

/// A device whose session was given out before; it cannot get another.
fn holding(scene: &Scene, server: &Server) -> Device {
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let mut elsewhere = Device::at(server.address, &server.url, Snapd::V2_77).trusting(&scene.world);
    elsewhere.session.clone_from(&device.session);
    elsewhere.store.clone_from(&device.store);
    elsewhere
}

#[test]
fn a_restart_keeps_sessions_and_spent_nonces() {
    let mut scene = Scene::new();
    let mut device = holding(&scene, &scene.store);
    let nonce = device.nonce().expect("a nonce");
    let spent = scene.post(&scene.identity, &nonce);
    assert_eq!(spent.status, 200);
    scene.store = scene.store.stop().start();
    device.move_to(&scene.store);
    device.info("hello").expect("the session is still good");
    assert_eq!(scene.post(&scene.identity, &nonce).body, spent.body, "a repeated request after the restart");
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    assert_refused(&scene.post(&sibling, &nonce), "a spent nonce after the restart");
}

/// Every way that sessions could silently become void stops the server at its start.
fn refuses_to_start(secret: &str, hint: &str) {
    let scene = Scene::new();
    let _ = holding(&scene, &scene.store);
    let mut stopped = scene.store.stop();
    let value = format!("proxy.device-auth.secret={secret}");
    let _ = proxy(&stopped.data_dir, &["config", &value]).ok();
    let Err(failure) = stopped.try_start() else { panic!("it started {hint} the secret") };
    assert!(failure.contains("proxy.device-auth.secret"), "{failure}");
    let restored = format!("proxy.device-auth.secret={}", tests::server::SECRET);
    let _ = proxy(&stopped.data_dir, &["config", &restored]).ok();
    let store = stopped.start();
    assert_eq!(store.status().database, "ok");
}

#[test]
fn a_start_without_the_secret_is_refused() {
    refuses_to_start("", "without");
}

#[test]
fn a_start_with_another_secret_is_refused() {
    refuses_to_start("/////////////////////////////////////////w8=", "with another value of");
}

#[test]
fn a_host_rebuilt_from_dump_secrets_and_database_accepts_sessions() {
    let cluster = Cluster::shared();
    let scene = Scene::on(Setup::default().config("proxy.db.connection", &database(cluster)));
    let mut device = holding(&scene, &scene.store);
    device.info("hello").expect("on the first host");
    let _ = scene.store.proxy(&["generate-keys"]).ok();

    // The operator's five backups.
    let dump = scene.store.proxy(&["config"]).ok();
    let named = |key: &str| scene.store.proxy(&["config", key]).ok();
    let secrets = ["proxy.device-auth.secret", "proxy.auth.secret", "proxy.key.private", "proxy.tls.key"];
    for key in secrets {
        let value = named(key);
        let value = value.trim();
        assert!(value.is_empty() || !dump.contains(value), "the dump shows {key}");
    }

    let folder = tempfile::tempdir().expect("there is room");
    let second = folder.path().join("second");
    let set = |key: &str, value: &str| {
        let _ = proxy(&second, &["config", &format!("{key}={value}")]).ok();
    };
    for line in dump.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        // A value of several lines is named like a secret; the database's password is in its URL.
        if value.contains("<redacted>") || value.contains("BEGIN") || value.is_empty() {
            continue;
        }
        set(key, value);
    }
    for key in secrets {
        let value = named(key);
        if !value.trim().is_empty() {
            set(key, value.trim_end_matches('\n'));
        }
    }
    copy(&scene.store.data_dir.join("blobs"), &second.join("blobs"));
    let rebuilt = Setup::empty().start_at(&second).unwrap_or_else(|failure| panic!("{failure}"));
    device.move_to(&rebuilt);
    let outcome = device.install("hello", "stable").expect("a session of the first host");
    device.fetch_and_check(&outcome).expect("with its files");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            let _ = fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

#[test]
fn without_the_database_devices_are_served_and_sessions_wait() {
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let scene = Scene::on(Setup::default().config("proxy.db.connection", &database(&cluster)));
    let mut device = holding(&scene, &scene.store);
    let outcome = device.install("hello", "stable").expect("with the database");

    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|_| {
                let (mut device, outcome, stop, served) = (device.clone(), outcome.clone(), &stop, &served);
                scope.spawn(move || -> Result<(), Trouble> {
                    while !stop.load(Ordering::Relaxed) {
                        device.install("hello", "stable")?;
                        device.download(&outcome.snap.download)?;
                        device.info("hello")?;
                        served.fetch_add(3, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        until("load runs", || served.load(Ordering::Relaxed) > 30);
        cluster.stop().expect("the database stops");
        let before = served.load(Ordering::Relaxed);
        let refusal = scene.device().renew().expect_err("no session without the database");
        assert_eq!(refusal.status(), Some(503), "{refusal}");
        let status = scene.store.proxy(&["status"]);
        assert_eq!(status.code, Some(1), "{}", status.stdout);
        assert!(status.stdout.contains("Store DB: "), "{}", status.stdout);
        until("devices are served without the database", || served.load(Ordering::Relaxed) > before + 100);

        cluster.resume().expect("the database starts");
        let begun = Instant::now();
        until("sessions come back", || scene.device().renew().is_ok());
        println!("sessions came back after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        stop.store(true, Ordering::Relaxed);
        for thread in load {
            thread.join().expect("a load thread").expect("no request failed while the database was away");
        }
    });
    println!("{} requests served, before, while and after the database was away", served.into_inner());
}

#[test]
fn a_frozen_database_delays_nobody_for_long() {
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let scene = Scene::on(Setup::default().config("proxy.db.connection", &database(&cluster)));
    let mut device = holding(&scene, &scene.store);
    device.info("hello").expect("before");
    cluster.freeze().expect("the database freezes");
    let begun = Instant::now();
    let refusal = scene.device().renew().expect_err("no session from a frozen database");
    assert_eq!(refusal.status(), Some(503), "{refusal}");
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "snapd gives up after 10 s, this took {:?}",
        begun.elapsed()
    );
    device.info("hello").expect("meanwhile");
    cluster.thaw().expect("the database goes on");
    until("sessions come back", || scene.device().renew().is_ok());
}

/// Asks again and again until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited 30 s until {what}");
        std::thread::yield_now();
    }
}
