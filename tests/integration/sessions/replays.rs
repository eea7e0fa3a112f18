//! Replays and races across two servers on one database: a nonce buys one session, whichever server is asked (C1, C8,
//! K8).

use std::time::{Duration, Instant};

use tests::attack::{size, until};
use tests::device::session::{read_session, session_request};
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request, Response};
use tests::postgres::{Cluster, connect};
use tests::server::{Server, Setup};

use super::restart::database;
use super::{Scene, assert_refused};

/// A scene on PostgreSQL, and a second server of the same database.
pub(super) fn two_servers() -> (Scene, Server) {
    let setup = Setup::default().config("proxy.db.connection", &database(Cluster::shared()));
    let scene = Scene::on(setup.clone());
    let kept = scene.device().nonce().expect("a nonce");
    let second = setup.start();
    read_session(&scene.post(&scene.identity, &kept)).expect("a server that joins gives up nothing");
    (scene, second)
}

/// The same request by another body: blanks after the JSON are another request, with the same signatures.
fn with_blanks(device: &Device, triple: &[u8], blanks: usize) -> Request {
    device.session_post(&[triple, &vec![b' '; blanks][..]].concat())
}

#[test]
fn attack_of_sixteen_uses_over_two_servers_one_wins() {
    let (scene, second) = two_servers();
    let device = scene.device();
    let rounds = size(40, 10_000);
    let addresses = [scene.store.address, second.address];
    let won: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (scene, device) = (&scene, &device);
                scope.spawn(move || {
                    let mut open: Vec<Connection> = (0..16)
                        .map(|use_of| Connection::open(addresses[use_of % 2]).expect("both listen"))
                        .collect();
                    let mut won = 0;
                    for round in 0..rounds / 2 {
                        let nonce = device.nonce().expect("a nonce");
                        let triple =
                            device.triple(&session_request(&scene.identity, &nonce), &scene.identity);
                        // All are sent before the first answer is read.
                        for (blanks, connection) in open.iter_mut().enumerate() {
                            connection
                                .send(&with_blanks(device, &triple, blanks).bytes())
                                .expect("it goes out");
                        }
                        let answers: Vec<Response> = open
                            .iter_mut()
                            .map(|connection| connection.receive(false, usize::MAX).expect("an answer"))
                            .collect();
                        let good = answers.iter().filter(|answer| read_session(answer).is_ok()).count();
                        assert_eq!(good, 1, "round {round}: {answers:?}");
                        assert!(
                            answers.iter().all(|answer| matches!(answer.status, 200 | 400)),
                            "{answers:?}"
                        );
                        won += good;
                    }
                    won
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("one winner each")).sum()
    });
    println!("{won} nonces, 16 uses each at once over two servers: one session each");
    assert_eq!(won, rounds);
}

#[test]
fn attack_thousands_of_replays_are_refused() {
    let (scene, second) = two_servers();
    let device = scene.device();
    let replays = size(5000, 100_000);
    let nonces = 10;
    let spent: Vec<Vec<u8>> = (0..nonces)
        .map(|_| {
            let nonce = device.nonce().expect("a nonce");
            let triple = device.triple(&session_request(&scene.identity, &nonce), &scene.identity);
            read_session(&scene.store.send(&device.session_post(&triple))).expect("the first use");
            triple
        })
        .collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (device, spent, second, scene) = (&device, &spent, &second, &scene);
            scope.spawn(move || {
                let address = [scene.store.address, second.address][worker % 2];
                let mut connection = Connection::open(address).expect("both listen");
                for replay in 0..replays / 4 {
                    let blanks = 1 + replay / nonces;
                    let request = with_blanks(device, &spent[replay % nonces], blanks);
                    let answer = connection.exchange(&request).expect("an answer");
                    assert_refused(&answer, "a replay");
                    assert!(answer.text().contains("\"code\":\"nonce\""), "{answer:?}");
                }
            });
        }
    });
    println!("{replays} replays over two servers refused in {:?}", begun.elapsed());
    // The first request again is no replay, at either server.
    for (server, name) in [(&scene.store, "the first"), (&second, "the second")] {
        let again = server.send(&device.session_post(&spent[0]));
        read_session(&again).unwrap_or_else(|trouble| panic!("{name}: {trouble}"));
    }
}

#[test]
fn attack_a_device_blocked_at_one_server_is_stopped_at_the_other() {
    let (scene, second) = two_servers();
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let mut elsewhere = device.clone();
    elsewhere.move_to(&second);
    let ask = |device: &Device, server: &Server| server.send(&device.info_get("hello", "download")).status;
    assert_eq!(ask(&elsewhere, &second), 200, "a session of the other server is good");
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let _ = scene.store.proxy(&["block-device", &scene.identity.name(), "--unseen"]).ok();
        assert_eq!(ask(&device, &scene.store), 403, "at once where it was blocked");
        let told =
            until("the other server knows", Duration::from_secs(3), || ask(&elsewhere, &second) == 403);
        longest = longest.max(told);
        let nonce = elsewhere.nonce().expect("a nonce");
        let triple = elsewhere.triple(&session_request(&scene.identity, &nonce), &scene.identity);
        assert_eq!(
            second.send(&elsewhere.session_post(&triple)).status,
            403,
            "nor does it get another session"
        );
        let _ = second.proxy(&["unblock-device", &scene.identity.name()]).ok();
        until("both know that it is over", Duration::from_secs(3), || {
            ask(&device, &scene.store) == 200 && ask(&elsewhere, &second) == 200
        });
    }
    println!("the other server stopped the device after {longest:?} at most");
}

#[test]
fn attack_a_nonce_of_a_server_that_turned_the_epoch_is_good_at_the_other() {
    let (scene, second) = two_servers();
    let device = Device::new(&second, Snapd::V2_77, &scene.identity);
    let before = device.nonce().expect("a nonce");
    write_its_life_anew(&second);
    let joined = Setup::default().config("proxy.db.connection", &connection_of(&second)).start();
    let fresh = Device::new(&joined, Snapd::V2_77, &scene.identity).nonce().expect("a nonce");
    read_session(&scene.post(&scene.identity, &fresh))
        .expect("a server that does not know the epoch yet asks");
    assert_refused(&scene.post(&scene.identity, &before), "an earlier nonce");
    // The others follow within seconds.
    until("the others follow", Duration::from_secs(12), || {
        let nonce = device.nonce().expect("a nonce");
        read_session(&scene.post(&scene.identity, &nonce)).is_ok()
    });
}

/// Rewrites the row with the name of the database's life, as a restored dump does.
fn write_its_life_anew(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = connect(&connection_of(server)).await.expect("the cluster answers");
        let text = "UPDATE meta SET value = value WHERE name = 'nonce-life'";
        assert_eq!(client.execute(text, &[]).await.expect("it can be written"), 1);
    });
}

/// The connection string that a server was given.
fn connection_of(server: &Server) -> String {
    server.proxy(&["config", "proxy.db.connection"]).ok().trim().to_owned()
}
