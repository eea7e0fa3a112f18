//! Floods of nonces, and a whole fleet that logs in at once (C2, C10).

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::attack::size;
use tests::device::session::{read_session, session_request};
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request};

use super::Scene;

/// Bytes of the database's files.
fn database_size(scene: &Scene) -> u64 {
    let entries = fs::read_dir(&scene.store.data_dir).expect("a data directory").flatten();
    let files = entries.filter(|entry| entry.file_name().to_string_lossy().contains(".db"));
    let size = files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    assert!(size > 0, "{} holds no database", scene.store.data_dir.display());
    size
}

#[test]
fn attack_a_flood_of_nonces_leaves_nothing_behind() {
    let scene = Scene::new();
    let device = scene.device();
    let count = size(50_000, 1_000_000);
    let post = device.nonce_post().bytes();
    // Some are asked for before the answers are read.
    let (threads, batch) = (2, 50);
    let batch_bytes = post.repeat(batch);
    let _ = device.nonce().expect("a nonce");
    let (before, stored) = (scene.store.memory(), database_size(&scene));
    let begun = Instant::now();
    let all: Vec<HashSet<String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (scene, batch_bytes) = (&scene, &batch_bytes);
                scope.spawn(move || {
                    let mut connection = Connection::open(scene.store.address).expect("the store listens");
                    let mut nonces = HashSet::new();
                    for _ in 0..count / threads / batch {
                        connection.send(batch_bytes).expect("requests go out");
                        for _ in 0..batch {
                            let answer = connection.receive(false, usize::MAX).expect("an answer");
                            let body = answer.text();
                            let nonce = body.split('"').nth(3).unwrap_or_default().to_owned();
                            assert!(answer.status == 200 && nonce.len() > 40, "{answer:?}");
                            nonces.insert(nonce);
                        }
                    }
                    nonces
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    });
    let took = begun.elapsed();
    let different = all.iter().flatten().collect::<HashSet<_>>().len();
    let (after, stored_after) = (scene.store.memory(), database_size(&scene));
    println!(
        "{different} nonces in {took:?}: memory {before} to {after} KiB, database {stored} to {stored_after} bytes"
    );
    assert_eq!(different, count, "two were the same");
    assert!(after < before + 64 * 1024, "{before} to {after} KiB");
    assert!(stored_after < stored + (1 << 20), "{stored} to {stored_after} bytes");
    let mut device = scene.device();
    device.info("hello").expect("a device logs in after all that");
}

/// Threads of the server; those that block stay for a while after their work.
fn server_threads(scene: &Scene) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", scene.store.pid())).expect("a process");
    tasks.count()
}

/// Downloads again and again until told to stop; the bytes a second.
fn rate(scene: &Scene, download: &Request, stop: impl Fn(Duration) -> bool) -> f64 {
    let begun = Instant::now();
    let mut bytes = 0;
    let mut connection = Connection::open(scene.store.address).expect("the store listens");
    while !stop(begun.elapsed()) {
        let answer = connection.exchange(download).expect("a file");
        assert_eq!(answer.status, 200, "{answer:?}");
        bytes += answer.body.len();
    }
    bytes as f64 / begun.elapsed().as_secs_f64()
}

/// Devices whose requests are there before the first is answered.
const AT_ONCE: usize = 40;

#[test]
fn attack_a_fleet_that_logs_in_at_once_is_served_and_downloads_go_on() {
    let scene = Scene::new();
    let big = scene.world.snap("big").payload(4_000_000);
    scene.store.push_pair(&big.revision(1), &["latest/stable"], "ubuntu");
    let anonymous = Device::anonymous(&scene.store, Snapd::V2_77);
    let download =
        anonymous.download_request("GET", &format!("/api/v1/snaps/download/{}_1.snap", big.id), None);
    let count = size(200, 2000);
    // Signed before, since here the devices share the processor with the server.
    let posts: Vec<Request> = (0..count + AT_ONCE)
        .map(|number| {
            let identity = scene.brand.device(&scene.identity.model, &format!("SN-{number:04}1"));
            let device = Device::new(&scene.store, Snapd::V2_77, &identity);
            let nonce = device.nonce().expect("a nonce");
            device.session_post(&device.triple(&session_request(&identity, &nonce), &identity))
        })
        .collect();
    let (at_once, posts) = posts.split_at(AT_ONCE);
    let before = server_threads(&scene);
    let mut open: Vec<Connection> =
        at_once.iter().map(|_| Connection::open(scene.store.address).expect("the store listens")).collect();
    for (connection, post) in open.iter_mut().zip(at_once) {
        connection.send(&post.bytes()).expect("it goes out");
    }
    for connection in &mut open {
        let answer = connection.receive(false, usize::MAX).expect("an answer");
        read_session(&answer).expect("each of them gets a session");
    }
    // Each check takes a thread: no more are under way than the processors bear.
    let after = server_threads(&scene);
    println!("{before} threads before, {after} after {AT_ONCE} logins at once");
    assert!(after < before + AT_ONCE / 4, "{before} threads before, {after} after {AT_ONCE} logins at once");
    drop(open);

    let alone = rate(&scene, &download, |elapsed| elapsed > Duration::from_secs(2));
    let over = AtomicBool::new(false);
    let (took, sessions, meanwhile) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| rate(&scene, &download, |_| over.load(Ordering::Relaxed)));
        let begun = Instant::now();
        let workers: Vec<_> = posts
            .chunks(posts.len().div_ceil(16))
            .map(|share| {
                let scene = &scene;
                scope.spawn(move || {
                    let session = |post: &Request| {
                        let answer = scene.store.send(post);
                        assert!(answer.status < 500, "{answer:?}");
                        read_session(&answer).expect("every device gets a session")
                    };
                    share.iter().map(session).collect::<Vec<_>>()
                })
            })
            .collect();
        let sessions: HashSet<String> =
            workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect();
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        (took, sessions.len(), reader.join().expect("a reader"))
    });
    // What else runs on this machine may take its part before or after.
    let alone = alone.min(rate(&scene, &download, |elapsed| elapsed > Duration::from_secs(2)));
    println!(
        "{sessions} devices logged in within {took:?}; a download ran at {:.0} MB/s, {:.2} of its rate alone",
        meanwhile / 1e6,
        meanwhile / alone
    );
    assert_eq!(sessions, count);
    assert!(took < Duration::from_secs(60), "{took:?}");
    // The devices of this test share the processors with the server, so that half of the rate is
    // what a fair share comes to; the count of threads above is what holds the limit on checks.
    assert!(meanwhile > alone / 5.0, "{meanwhile} of {alone} bytes a second");
}
