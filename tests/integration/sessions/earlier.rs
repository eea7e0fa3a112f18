//! Nonces and sessions after the database went back to an earlier state, and while the clock jumps (C3, H1, H4, K4).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::attack::until;
use tests::device::session::{read_session, session_request};
use tests::http::Request;
use tests::postgres::{Cluster, connect};
use tests::server::{Server, Setup, Stopped};

use super::restart::database;
use super::{Scene, assert_refused};

/// The files of the embedded database, copied from one folder to another.
fn copy_database(from: &Path, to: &Path) {
    let entries = fs::read_dir(from).expect("a data directory").flatten();
    let files = entries.filter(|entry| entry.file_name().to_string_lossy().contains(".db"));
    let copied =
        files.map(|entry| fs::copy(entry.path(), to.join(entry.file_name())).expect("there is room"));
    assert!(copied.count() > 0, "{} holds no database", from.display());
}

/// Neither another device nor the same one with another request gets anything for it.
fn assert_spent(scene: &Scene, nonce: &str, when: &str) {
    let sibling = scene.brand.device(&scene.identity.model, "SN-2");
    assert_refused(&scene.post(&sibling, nonce), &format!("a spent nonce {when}"));
    let other = scene.brand.device(&scene.identity.model, "SN-11");
    assert_refused(&scene.post(&other, nonce), &format!("a spent nonce {when}"));
}

fn spend(scene: &Scene) -> String {
    let nonce = scene.device().nonce().expect("a nonce");
    read_session(&scene.post(&scene.identity, &nonce)).expect("its first use");
    nonce
}

#[test]
fn attack_an_older_copy_of_the_database_revives_no_nonce() {
    let mut scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let early = spend(&scene);
    let older = tempfile::tempdir().expect("there is room");
    let stopped = scene.store.stop();
    copy_database(&stopped.data_dir, older.path());
    scene.store = stopped.start();
    let issued = scene.device().nonce().expect("a nonce that is kept for later");
    let late = spend(&scene);
    assert_spent(&scene, &late, "before");

    let put_back = |stopped: Stopped| {
        for entry in fs::read_dir(&stopped.data_dir).expect("a data directory").flatten() {
            // What the newer one had not yet written into its main file goes, too.
            if entry.file_name().to_string_lossy().contains(".db") {
                fs::remove_file(entry.path()).expect("a file of the database");
            }
        }
        copy_database(older.path(), &stopped.data_dir);
        stopped.start()
    };
    scene.store = put_back(scene.store.kill());
    for nonce in [&early, &late, &issued] {
        assert_spent(&scene, nonce, "on an older copy");
    }
    device.move_to(&scene.store);
    device.info("hello").expect("an earlier session is good");
    let again = spend(&scene);

    // Once more.
    scene.store = put_back(scene.store.stop());
    for nonce in [&early, &late, &issued, &again] {
        assert_spent(&scene, nonce, "on an older copy for the second time");
    }
    let _ = spend(&scene);
    // A restart without any of that voids nothing.
    let kept = scene.device().nonce().expect("a nonce");
    scene.store = scene.store.kill().start();
    read_session(&scene.post(&scene.identity, &kept)).expect("a nonce from before a mere restart");
}

#[test]
fn attack_an_older_copy_in_postgresql_revives_no_nonce() {
    let cluster = Cluster::shared();
    let url = database(cluster);
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let mut scene = Scene::on(Setup::default().config("proxy.db.connection", &url));
    let _ = spend(&scene);
    let run = |sql: String| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = connect(&url.replace(&name, "postgres")).await.expect("the cluster answers");
            client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        });
    };
    let stopped = scene.store.stop();
    run(format!("CREATE DATABASE {name}_copy TEMPLATE {name}"));
    scene.store = stopped.start();
    let late = spend(&scene);
    let stopped = scene.store.stop();
    run(format!("DROP DATABASE {name}"));
    run(format!("ALTER DATABASE {name}_copy RENAME TO {name}"));
    scene.store = stopped.start();
    assert_spent(&scene, &late, "on an older copy");
    let _ = spend(&scene);
}

/// Everything in one folder, put in place of everything in another.
fn put_in_place(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).expect("there is room");
    let all = format!("{}/.", from.display());
    let copied = Command::new("/bin/cp").args(["-a", &all]).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{copied}");
}

#[test]
fn attack_a_data_directory_that_is_put_back_revives_no_nonce() {
    let mut scene = Scene::new();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let copy = tempfile::tempdir().expect("there is room");
    let copy = copy.path().join("copy");
    for (round, running) in [false, true, false].into_iter().enumerate() {
        let issued = scene.device().nonce().expect("a nonce");
        if running {
            // As a snapshot of the volume does, while nothing is written.
            put_in_place(&scene.store.data_dir, &copy);
        } else {
            let stopped = scene.store.stop();
            put_in_place(&stopped.data_dir, &copy);
            scene.store = stopped.start();
        }
        let bought = read_session(&scene.post(&scene.identity, &issued)).expect("the first use");
        let stopped = if round == 0 { scene.store.stop() } else { scene.store.kill() };
        put_in_place(&copy, &stopped.data_dir);
        scene.store = stopped.start();
        // The very same request, which gets the same session while the database knows it.
        let again = scene.post(&scene.identity, &issued);
        assert_refused(&again, &format!("a nonce that bought {bought} in round {round}"));
        assert_spent(&scene, &issued, "after the data directory was put back");
        // Sessions are good, and a device that needs one asks again.
        device.move_to(&scene.store);
        device.info("hello").expect("an earlier session");
        let _ = spend(&scene);
    }
    // A directory that was moved is another one; what lies in it proves nothing.
    let issued = scene.device().nonce().expect("a nonce");
    let bought = scene.post(&scene.identity, &issued);
    let stopped = scene.store.stop();
    let moved = copy.with_file_name("moved");
    put_in_place(&stopped.data_dir, &moved);
    scene.store = Setup::empty().start_at(&moved).unwrap_or_else(|failure| panic!("{failure}"));
    assert_refused(&scene.post(&scene.identity, &issued), "at another place");
    assert_eq!(bought.status, 200);
}

#[test]
fn attack_a_base_backup_under_running_servers_revives_no_nonce() {
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let setup = Setup::default().config("proxy.db.connection", &database(&cluster));
    let scene = Scene::on(setup.clone());
    let second = setup.start();
    let issued = scene.device().nonce().expect("a nonce");
    cluster.stop().expect("it stops");
    cluster.back_up().expect("there is room");
    cluster.resume().expect("it starts");
    let until_it_answers = |server: &Server, request: &Request| {
        let mut answer = server.send(request);
        let _ = until("the server has its database again", Duration::from_secs(20), || {
            answer = server.send(request);
            answer.status != 503
        });
        answer
    };
    let device = scene.device();
    let request = |nonce: &str| {
        device.session_post(&device.triple(&session_request(&scene.identity, nonce), &scene.identity))
    };
    assert_refused(
        &until_it_answers(&scene.store, &request(&issued)),
        "a nonce from before PostgreSQL started",
    );
    let mut late = String::new();
    let _ = until("a device that asks again gets its session", Duration::from_secs(10), || {
        late = device.nonce().expect("a nonce");
        read_session(&scene.store.send(&request(&late))).is_ok()
    });
    cluster.stop().expect("it stops");
    cluster.put_back().expect("there is room");
    cluster.resume().expect("it starts");
    // At once, on the server that spent nothing and on the one that did.
    for server in [&second, &scene.store] {
        assert_refused(&until_it_answers(server, &request(&late)), "a nonce that the backup does not know");
    }
    let _ = until("a device that asks again gets its session", Duration::from_secs(10), || {
        let nonce = device.nonce().expect("a nonce");
        read_session(&second.send(&request(&nonce))).is_ok()
    });
    // Other processes of PostgreSQL come and go: that ends nothing.
    let kept = device.nonce().expect("a nonce");
    let _ = second.kill().start();
    read_session(&scene.store.send(&request(&kept))).expect("a nonce while the other server restarted");
}

/// Years and hours, either way; the first goes below 1970.
const STEPS: [i64; 8] =
    [-3_000_000_000, -315_360_000, -90_000, -3700, 3700, 90_000, 315_360_000, 2_500_000_000];

#[test]
fn attack_a_clock_that_jumps_revives_nothing_and_locks_nobody_out() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = folder.path().join("clock");
    let step = |seconds: i64| fs::write(&clock, seconds.to_string()).expect("there is room");
    step(0);
    let mut scene = Scene::on(Setup::default().clock(&clock));
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let mut spent = vec![spend(&scene)];
    for (round, seconds) in STEPS.into_iter().enumerate() {
        step(seconds);
        for nonce in &spent {
            assert_spent(&scene, nonce, &format!("with the clock off by {seconds} s"));
        }
        device.info("hello").unwrap_or_else(|trouble| panic!("locked out at {seconds} s: {trouble}"));
        spent.push(spend(&scene));
        if round % 3 == 0 {
            // Started in that state, as after a power cut without a battery.
            scene.store = scene.store.kill().start_as_it_was();
            device.move_to(&scene.store);
            for nonce in &spent {
                assert_spent(&scene, nonce, &format!("after a start with the clock off by {seconds} s"));
            }
            device.info("hello").unwrap_or_else(|trouble| panic!("locked out at {seconds} s: {trouble}"));
        }
    }
    step(0);
    for nonce in &spent {
        assert_spent(&scene, nonce, "with the clock set right");
    }
    device.info("hello").expect("after all that");
    let _ = scene.store.proxy(&["status"]).ok();
    println!("{} nonces stayed spent through {} steps of the clock", spent.len(), STEPS.len());
}

#[test]
fn attack_deadlines_do_not_follow_the_wall_clock() {
    let folder = tempfile::tempdir().expect("there is room");
    let clock = folder.path().join("clock");
    let step = |seconds: i64| fs::write(&clock, seconds.to_string()).expect("there is room");
    step(0);
    let scene = Scene::on(
        Setup::default().clock(&clock).limits("head=1500,write_stall=1500,idle=1500,body_idle=1500"),
    );
    let id = scene.world.snap("hello").id;
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    for seconds in [315_360_000, -315_360_000] {
        step(0);
        let begun = Instant::now();
        let mut silent = TcpStream::connect(scene.store.address).expect("the store listens");
        let mut slow = TcpStream::connect(scene.store.address).expect("the store listens");
        silent.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        let request =
            device.download_request("GET", &format!("/api/v1/snaps/download/{id}_1.snap"), None).bytes();
        slow.write_all(&request[..20]).expect("half a request");
        step(seconds);
        // What was begun goes on as if nothing had happened.
        slow.write_all(&request[20..]).expect("the other half");
        let mut first = [0; 12];
        slow.read_exact(&mut first).expect("an answer");
        assert!(first.starts_with(b"HTTP/1.1 "), "{first:?}");
        let mut rest = Vec::new();
        // An end or a reset: closed either way.
        let _ = silent.read_to_end(&mut rest);
        let took = begun.elapsed();
        let due = Duration::from_millis(1500);
        assert!(took >= due && took < due + Duration::from_secs(2), "{seconds} s: closed after {took:?}");
        println!("the clock stepped by {seconds} s: a silent connection was closed after {took:?}");
    }
}
