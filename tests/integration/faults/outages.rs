//! PostgreSQL goes away in every way it can, while devices refresh and download: none of them notices, sessions wait with a
//! 503 in time, and come back soon after it does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::device::{Device, Snapd, Trouble};
use tests::http::Request;
use tests::postgres::{Cluster, connect};
use tests::server::Setup;

use super::long;
use super::scene::on_postgres;
use crate::sessions::Scene;

/// The longest until an answer: what hazard F2 grants.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest until sessions are given out again.
const RECOVERY: Duration = Duration::from_secs(2);

/// A server on a cluster of its own, with devices that never stop asking.
struct Site {
    cluster: Cluster,
    url: String,
    scene: Scene,
}

impl Site {
    fn new() -> Self {
        let cluster = Cluster::start().expect("a PostgreSQL of its own");
        let url = on_postgres(cluster.database()).expect("a database");
        let scene = Scene::on(Setup::default().config("proxy.db.connection", &url));
        Self { cluster, url, scene }
    }

    /// Runs `trouble` while devices refresh and download; none of their requests may fail.
    fn under_load(&self, trouble: impl FnOnce(&dyn Fn(&str))) {
        let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut held = self.scene.device();
        held.ensure_session().expect("a session");
        // Without an identity it keeps its session, and makes no other.
        let mut device = Device::at(self.scene.store.address, &self.scene.store.url, Snapd::V2_77);
        device.session.clone_from(&held.session);
        device.store.clone_from(&held.store);
        let outcome = device.install("hello", "stable").expect("with the database");
        let load = || -> Result<(), Trouble> {
            let mut device = device.clone();
            while !stop.load(Ordering::Relaxed) {
                let again = device.install("hello", "stable")?;
                assert_eq!(again.snap.revision, outcome.snap.revision);
                device.download(&again.snap.download)?;
                served.fetch_add(2, Ordering::Relaxed);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let loads: Vec<_> = (0..2).map(|_| scope.spawn(load)).collect();
            let going_on = |when: &str| {
                let before = served.load(Ordering::Relaxed);
                until(when, || {
                    assert!(!loads.iter().any(|load| load.is_finished()), "a device was not served {when}");
                    served.load(Ordering::Relaxed) > before + 20
                });
            };
            let troubled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trouble(&going_on)));
            stop.store(true, Ordering::Relaxed);
            for load in loads {
                load.join().expect("a load thread").expect("no request fails, whatever the database does");
            }
            if let Err(why) = troubled {
                std::panic::resume_unwind(why);
            }
        });
        println!("{} requests served", served.into_inner());
    }

    /// Sessions, readiness and an operator's change are refused as our fault, in time.
    fn is_away(&self, when: &str) {
        let begun = Instant::now();
        let refusal = self.scene.device().renew().expect_err("no session without the database");
        assert_eq!(refusal.status(), Some(503), "{when}: {refusal}");
        assert!(begun.elapsed() < ANSWER, "{when}: a session was refused after {:?}", begun.elapsed());
    }

    /// Sessions are given out again soon.
    fn is_back(&self, when: &str, since: Instant) {
        until(when, || self.scene.device().renew().is_ok());
        println!("{when}: sessions again after {:?}", since.elapsed());
        assert!(since.elapsed() < RECOVERY, "{when}: sessions came back after {:?}", since.elapsed());
    }
}

/// Asks again and again until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited 30 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn postgresql_restarts_under_load() {
    let site = Site::new();
    site.under_load(|going_on| {
        for round in 1..=if long() { 20 } else { 3 } {
            let when = format!("restart {round}");
            site.cluster.stop().expect("the database stops");
            site.is_away(&when);
            going_on(&when);
            site.cluster.resume().expect("the database starts");
            site.is_back(&when, Instant::now());
        }
    });
}

#[test]
fn postgresql_hangs_under_load() {
    let site = Site::new();
    site.under_load(|going_on| {
        for round in 1..=if long() { 5 } else { 1 } {
            let when = format!("hang {round}");
            site.cluster.freeze().expect("the database freezes");
            let begun = Instant::now();
            site.is_away(&when);
            going_on(&when);
            // Backends stopped for a minute in the long run.
            while long() && begun.elapsed() < Duration::from_secs(60) {
                site.is_away(&when);
            }
            site.cluster.thaw().expect("the database goes on");
            site.is_back(&when, Instant::now());
        }
    });
}

#[test]
fn postgresql_turns_read_only_under_load() {
    let site = Site::new();
    let alter = |setting: &str| {
        on_postgres(async {
            let admin = site.cluster.connect("postgres").await.expect("an administrator");
            let name = site.url.rsplit('/').next().expect("a database");
            admin.batch_execute(&format!("ALTER DATABASE {name} {setting}")).await.expect("it is taken");
            let end =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'proxyd'";
            admin.batch_execute(end).await.expect("connections can be cut");
        });
    };
    site.under_load(|going_on| {
        // As after a failover to a standby: the connections are cut, and what answers then takes no writes.
        alter("SET default_transaction_read_only = on");
        site.is_away("read-only");
        let store = &site.scene.store;
        // An answer of a moment ago may be repeated.
        until("not ready while read-only", || {
            store.send(&Request::new("GET", "/_status/ready", store.host())).status == 503
        });
        going_on("read-only");
        let keys = site.scene.world.brand("beta");
        let refused = site.scene.store.admin("POST", "/v1/assertions?as=account-keys", &keys.account_keys());
        assert_eq!(refused.status, 503, "{refused:?}");
        alter("RESET default_transaction_read_only");
        site.is_back("read-only", Instant::now());
        let taken = site.scene.store.admin("POST", "/v1/assertions?as=account-keys", &keys.account_keys());
        assert_eq!(taken.status, 200, "{taken:?}");
    });
}

#[test]
fn postgresql_locks_use_up_the_pool_under_load() {
    let site = Site::new();
    site.under_load(|going_on| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let lock = runtime.block_on(connect(&site.url)).expect("an administrator");
        let sql = "BEGIN; LOCK TABLE spent_nonces IN ACCESS EXCLUSIVE MODE";
        runtime.block_on(lock.batch_execute(sql)).expect("the lock is free");
        // More devices than there are connections: each waits its time and no longer.
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| site.is_away("locked"));
            }
        });
        going_on("locked");
        runtime.block_on(lock.batch_execute("COMMIT")).expect("the lock is let go");
        site.is_back("locked", Instant::now());
    });
}
