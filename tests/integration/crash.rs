//! The server dies in the middle of a push, at each named point: before the commit nothing is visible, after it
//! everything, and pushing again ends where one clean push would have ended.

use std::collections::BTreeSet;

use tests::bundle::Bundle;
use tests::device::{Device, Snapd, Trouble};
use tests::server::{Server, Setup};
use tests::world::{Revision, World};

/// Points that a push passes, with the number of times each is tried; the last one lies behind the commit.
const POINTS: [(&str, u32); 8] = [
    ("blob.staged", 2),
    ("blob.synced", 2),
    ("blob.renamed", 2),
    ("commit.begun", 1),
    ("commit.assertions", 1),
    ("commit.releases", 1),
    ("commit.before", 1),
    ("commit.after", 1),
];

/// What a device sees of the snap: nothing, or all of it with its file and documents.
fn visible(store: &Server, world: &World, name: &str) -> Option<u32> {
    let mut device = Device::anonymous(store, Snapd::V2_77).trusting(world);
    match device.install(name, "stable") {
        Ok(outcome) => {
            device.fetch_and_check(&outcome).expect("visible means whole");
            Some(outcome.snap.revision)
        }
        Err(Trouble::Snap { code, .. }) if code == "name-not-found" => None,
        Err(other) => panic!("neither there nor not there: {other}"),
    }
}

/// Files that the blob store holds, and others that neither it nor staging should.
fn files(store: &Server) -> (usize, Vec<String>) {
    let (mut blobs, mut others) = (0, Vec::new());
    let mut folders = vec![store.data_dir.join("blobs"), store.data_dir.join("staging")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if name.len() >= 64 {
                blobs += 1;
            } else {
                others.push(name);
            }
        }
    }
    (blobs, others)
}

fn dies_at(point: &str, pass: u32) {
    let world = World::new();
    let snap = world.snap("hello");
    let revisions: Vec<Revision> = (1..=3).map(|number| snap.revision(number)).collect();
    let first = Bundle::new(&snap, &[(&revisions[0], &["latest/edge"]), (&revisions[1], &["latest/stable"])]);
    let place = format!("{point}:{pass}");

    // The world is trusted before the server that dies starts, so that the push is the first to pass the point.
    let calm = Setup::default().start();
    calm.trust(&world);
    let other = world.snap("held");
    calm.push_pair(&other.revision(1), &["latest/stable"], "ubuntu");
    let doomed = calm.stop().start_dying_at(&place);
    let ran = doomed.try_push_bundle(&first.pack());
    assert_eq!(ran.code, Some(1), "{place}: {}", ran.stdout);
    assert!(ran.stderr.contains("again"), "{place}: the operator is told what to do: {}", ran.stderr);
    let store = doomed.wait().start();

    let expected = (point == "commit.after").then_some(2);
    assert_eq!(visible(&store, &world, "hello"), expected, "{place}");
    assert_eq!(visible(&store, &world, "held"), Some(1), "{place}: what was there before");
    let listed = store.proxy(&["list-pushed-snaps"]).ok();
    assert_eq!(listed.contains("hello"), expected.is_some(), "{place}: {listed}");

    store.push_bundle(&first);
    assert_eq!(visible(&store, &world, "hello"), Some(2), "{place}: pushed again");
    let (blobs, others) = files(&store);
    assert_eq!(blobs, 3, "{place}: two revisions and the one from before");
    assert!(others.is_empty(), "{place}: left behind {others:?}");
    let second = Bundle::new(&snap, &[(&revisions[2], &["latest/stable"])]);
    store.push_bundle(&second);
    assert_eq!(visible(&store, &world, "hello"), Some(3), "{place}: and the next push");
}

#[test]
fn killed_while_files_are_kept() {
    for (point, passes) in POINTS.iter().filter(|(point, _)| point.starts_with("blob.")) {
        (1..=*passes).for_each(|pass| dies_at(point, pass));
    }
}

#[test]
fn killed_while_it_commits() {
    for (point, passes) in POINTS.iter().filter(|(point, _)| point.starts_with("commit.")) {
        (1..=*passes).for_each(|pass| dies_at(point, pass));
    }
}

#[test]
fn killed_at_any_moment() {
    let world = World::new();
    let snap = world.snap("hello").payload(3_000_000);
    let revision = snap.revision(1);
    let bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]).pack();
    let mut store = Setup::default().start();
    store.trust(&world);
    // Cut the transfer at rising points: the server gets so many bytes, and is killed at once.
    let mut seen = BTreeSet::new();
    for part in (0..=20).chain([20]) {
        let length = bundle.len() * part / 20;
        let target = format!(
            "POST /v1/snaps?file=x.tar.gz HTTP/1.1\r\nHost: airlock\r\nContent-Length: {}\r\n\r\n",
            bundle.len()
        );
        let mut socket = std::os::unix::net::UnixStream::connect(store.data_dir.join("admin.sock"))
            .expect("the admin socket");
        std::io::Write::write_all(&mut socket, target.as_bytes()).expect("the head goes out");
        std::io::Write::write_all(&mut socket, &bundle[..length]).expect("a part goes out");
        store = store.kill().start();
        seen.insert(visible(&store, &world, "hello"));
    }
    assert!(seen.is_subset(&BTreeSet::from([None, Some(1)])), "{seen:?}");
    let ran = store.try_push_bundle(&bundle);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(visible(&store, &world, "hello"), Some(1));
    let (blobs, others) = files(&store);
    assert_eq!((blobs, others.len()), (1, 0), "{others:?}");
}
