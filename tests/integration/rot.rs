//! Bit rot: all damage is found and nothing else, it stays known through a restart, and no device accepts a damaged
//! file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::bundle::{Bundle, Member, archive, write_pair};
use tests::device::{Device, Snapd};
use tests::http::Response;
use tests::server::{Ran, Server, Setup, program};
use tests::world::{Revision, Snap, World};

use super::verify::{blob, verify};

/// The longest that the server's own checks may take to do their part.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::yield_now();
    }
}

/// Revisions `1..=count` of a snap, in a bundle without more signatures than it takes.
fn many(snap: &Snap, count: u32) -> (Vec<Revision>, Vec<u8>) {
    let half = |from: u32| {
        (from..=count)
            .step_by(2)
            .map(|number| {
                let revision = snap.revision(number);
                let document = revision.assertion().bytes().to_vec();
                (revision, document)
            })
            .collect::<Vec<_>>()
    };
    let (odd, even) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        (half(2), odd.join().expect("it was packed"))
    });
    let mut made: Vec<_> = odd.into_iter().chain(even).collect();
    made.sort_by_key(|(revision, _)| revision.number);
    let newest = &made.last().expect("a revision").0;
    let bundle = Bundle::new(snap, &[(newest, &["latest/stable"])]);
    let mut members = bundle.members();
    for (revision, document) in &made[..made.len() - 1] {
        members
            .push(Member { name: format!("{}.snap", revision.stem()), bytes: revision.image.bytes.clone() });
        members.push(Member { name: format!("{}.assert", revision.stem()), bytes: document.clone() });
    }
    let manifest = bundle.manifest(&members);
    let file = archive(std::iter::once(&manifest).chain(&members));
    (made.into_iter().map(|(revision, _)| revision).collect(), file)
}

/// Damages a file in one of all the ways that there are.
fn damage(path: &Path, way: usize) {
    let good = fs::read(path).expect("a file");
    let aside = path.with_extension("moved");
    match way % 9 {
        0 => {
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 0x10;
            fs::write(path, flipped)
        }
        1 => fs::write(path, &good[..good.len() - 1]),
        2 => fs::write(path, b""),
        3 => fs::write(path, [&good[..], b"x"].concat()),
        4 => fs::remove_file(path),
        5 => fs::set_permissions(path, fs::Permissions::from_mode(0o000)),
        6 => fs::remove_file(path).and_then(|()| fs::create_dir(path)),
        7 => fs::rename(path, &aside).and_then(|()| symlink(&aside, path)),
        _ => fs::write(path, vec![0; good.len()]),
    }
    .expect("it can be damaged");
}

fn get(device: &Device, link: &str, range: Option<(usize, usize)>) -> Option<Response> {
    let mut request = device.download_request("GET", link, None);
    if let Some((from, to)) = range {
        request = request.header("Range", &format!("bytes={from}-{to}"));
    }
    device.send(&request).ok()
}

fn subjects(report: &Value) -> BTreeSet<String> {
    let problems = report["problems"].as_array().expect("a list").iter();
    problems.map(|problem| problem["subject"].as_str().expect("a text").to_owned()).collect()
}

/// All of `damaged` in `count` small files is found, and nothing else; it stays so through a restart and is healed by a push.
fn all_is_found(count: u32, every: usize) {
    let world = World::new();
    let store = Setup::default().unprivileged().start();
    store.trust(&world);
    let begun = Instant::now();
    let (revisions, bundle) = many(&world.snap("many").payload(2000), count);
    let made = begun.elapsed();
    let _ = store.try_push_bundle(&bundle).ok();
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let newest = device.install("many", "stable").expect("an answer").snap.download;
    let url = newest.url.expect("a link");
    let link = device.target_of(&url).expect("a link").to_owned();
    let link_of =
        |revision: &Revision| link.replace(&format!("_{count}.snap"), &format!("_{}.snap", revision.number));

    let chosen: Vec<&Revision> = revisions.iter().step_by(every).collect();
    for (way, revision) in chosen.iter().enumerate() {
        damage(&blob(&store.data_dir, &revision.image.digest), way);
    }
    let damaged: BTreeSet<String> = chosen.iter().map(|revision| revision.image.digest.to_hex()).collect();
    let begun = Instant::now();
    let report = verify(&store, 1);
    let checked = begun.elapsed();
    assert_eq!(report["blobs"], json!(count));
    assert_eq!(subjects(&report), damaged);
    assert_eq!(subjects(&verify(&store, 1)), damaged, "and once more");

    let unavailable = |device: &Device| {
        revisions
            .iter()
            .filter(|revision| {
                let answer = get(device, &link_of(revision), None).expect("an answer");
                assert!(answer.status == 503 || answer.body == revision.image.bytes, "{}", revision.number);
                answer.status == 503
            })
            .map(|revision| revision.image.digest.to_hex())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(unavailable(&device), damaged);
    let store = store.kill().start();
    device.move_to(&store);
    let status = store.proxy(&["status"]);
    assert_eq!(status.code, Some(1));
    assert!(status.stdout.contains("is damaged: push it again"), "{}", status.stdout);
    assert_eq!(unavailable(&device), damaged, "after a restart");

    let _ = store.try_push_bundle(&bundle).ok();
    assert_eq!(verify(&store, 0)["problems"], json!([]));
    assert_eq!(unavailable(&device), BTreeSet::new());
    let store = store.kill().start();
    let _ = store.proxy(&["status"]).ok();
    eprintln!("{} of {count} damaged files found in {checked:?}; packed in {made:?}", chosen.len());
}

#[test]
fn all_damage_is_found_and_nothing_else() {
    all_is_found(108, 6);
}

/// `AIRLOCK_LONG=1 cargo nextest run -p tests all_damage_of_two_thousand`
#[test]
fn all_damage_of_two_thousand_files_is_found_and_nothing_else() {
    if std::env::var_os("AIRLOCK_LONG").is_some() {
        all_is_found(2000, 10);
    }
}

#[test]
fn an_import_replaces_what_is_damaged_in_whatever_way() {
    let world = World::new();
    let store = Setup::default().unprivileged().start();
    store.trust(&world);
    let hello = world.snap("hello");
    for way in 0..9 {
        let revision = hello.revision(way + 1);
        store.push_pair(&revision, &["latest/stable"], "ubuntu");
        let path = blob(&store.data_dir, &revision.image.digest);
        damage(&path, way as usize);
        store.push_pair(&revision, &["latest/stable"], "ubuntu");
        assert!(fs::symlink_metadata(&path).expect("a file").is_file(), "{way}");
        assert_eq!(fs::read(&path).expect("a file"), revision.image.bytes, "{way}");
    }
    assert_eq!(verify(&store, 0)["problems"], json!([]));
}

/// A store with `hello` at several MiB.
fn scene(setup: Setup) -> (World, Server, Vec<Revision>) {
    let (world, store) = (World::new(), setup.start());
    store.trust(&world);
    let hello = world.snap("hello").payload(3_300_000);
    let revisions: Vec<Revision> = [1, 2].map(|number| hello.revision(number)).into();
    for revision in &revisions {
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    (world, store, revisions)
}

fn flip(path: &Path, position: usize) {
    let file = File::options().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position as u64).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], position as u64).expect("a byte");
}

/// Files that were set aside.
fn aside(store: &Server) -> usize {
    fs::read_dir(store.data_dir.join("blobs/damaged")).map_or(0, Iterator::count)
}

#[test]
fn damage_that_a_download_met_is_known_after_a_restart() {
    let (_world, store, revisions) = scene(Setup::default());
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let promised = device.install("hello", "stable").expect("an answer").snap.download;
    device.download(&promised).expect("it is whole");
    let link = device.target_of(promised.url.as_deref().expect("a link")).expect("a link").to_owned();
    flip(&blob(&store.data_dir, &revisions[1].image.digest), 3_000_000);
    assert!(device.download(&promised).is_err());
    assert_eq!(device.download(&promised).expect_err("found before").status(), Some(503));
    wait_for("the damaged file is set aside", || aside(&store) == 1);
    let store = store.kill().start();
    device.move_to(&store);
    // Not even the part of it that is right.
    assert_eq!(get(&device, &link, Some((0, 9))).expect("an answer").status, 503);
    assert!(store.proxy(&["status"]).stdout.contains("hello revision 2 is damaged"));
    store.push_pair(&revisions[1], &["latest/stable"], "ubuntu");
    assert!(get(&device, &link, None).expect("an answer").body == revisions[1].image.bytes);
    assert_eq!(aside(&store), 0);
}

#[test]
fn the_store_is_checked_without_being_told_to() {
    let setup = Setup::default().config("proxy.verify.interval", "1s").config("proxy.verify.rate", "500");
    let (_world, store, revisions) = scene(setup);
    let checked = |store: &Server| store.status().check.finished;
    wait_for("a first check", || store.status().check.blobs == 2);
    assert_eq!(store.status().problems, [""; 0]);
    flip(&blob(&store.data_dir, &revisions[0].image.digest), 3_000_000);
    wait_for("the damage is found", || store.status().check.problems == 1);
    let status = store.proxy(&["status"]);
    assert!(status.stdout.contains("hello revision 1 is damaged"), "{}", status.stdout);
    assert!(status.stdout.contains("1 problems"), "{}", status.stdout);
    let store = store.stop().start();
    assert!(checked(&store).is_some(), "when it was checked is known after a start");
    assert!(store.proxy(&["status"]).stdout.contains("hello revision 1 is damaged"));
}

#[test]
fn a_clock_that_goes_back_stops_no_check() {
    let setup = Setup::default().config("proxy.verify.interval", "1s").config("proxy.verify.rate", "500");
    let (world, store, _) = scene(setup);
    wait_for("a first check", || store.status().check.blobs == 2);
    let store = store.stop().start_with_clock(-20 * 365 * 86400);
    wait_for("a check under another clock", || {
        store.status().check.finished.is_some_and(|at| at.starts_with("200"))
    });
    store.push_pair(&world.snap("hello").revision(9), &["latest/edge"], "ubuntu");
    let gone = store.proxy(&["gc", "--json"]).json();
    assert_eq!((&gone["owned"], &gone["removed"]), (&json!(3), &json!([])));
    let store = store.stop().start_with_clock(20 * 365 * 86400);
    wait_for("a check under the next clock", || {
        store.status().check.finished.is_some_and(|at| at.starts_with("204"))
    });
    assert_eq!(store.proxy(&["gc", "--json"]).json()["owned"], json!(3));
    // The numbers of events say in what order it was, and the chain does not care what time it is.
    let report = verify(&store, 0);
    assert_eq!((&report["problems"], &report["blobs"]), (&json!([]), &json!(3)));
}

fn run(store: &Server, args: &[&str], files: &[&PathBuf]) -> Ran {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().expect("a text")).collect();
    store.proxy(&[args, &files].concat())
}

#[test]
fn damaged_files_are_repaired_from_what_is_brought() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let parts = world.snap("parts").component("extra", 2);
    let (first, second) = (parts.revision(1), parts.revision(2));
    store.push_pair(&first, &["latest/stable"], "ubuntu");
    store.push_pair(&second, &["latest/edge"], "ubuntu");
    let folder = tempfile::tempdir().expect("there is room");
    let snap = write_pair(folder.path(), &first);
    fs::remove_file(snap.with_extension("assert")).expect("it was there");
    let mut bundle = Bundle::new(&parts, &[(&second, &["latest/beta"])]);
    bundle.revisions.push(world.snap("parts").revision(3));
    let bundled = folder.path().join("parts-20240102T030405.tar.gz");
    fs::write(&bundled, bundle.pack()).expect("there is room");
    let foreign = folder.path().join("parts_9.snap");
    fs::write(&foreign, &parts.revision(9).image.bytes).expect("there is room");

    let listed = store.proxy(&["list-pushed-snaps", "--revisions"]).ok();
    let damaged = [first.image.digest, second.image.digest, second.components[0].image.digest];
    for (way, digest) in damaged.iter().enumerate() {
        damage(&blob(&store.data_dir, digest), way);
    }
    // A snap that nobody needs repairs nothing, and one cut short is not taken.
    let refused = run(&store, &["verify", "--repair-from"], &[&foreign]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("cannot accept") && refused.stdout.ends_with("3 problems\n"),
        "{refused:?}"
    );
    let ran = run(&store, &["verify", "--json", "--repair-from"], &[&snap]);
    assert_eq!(ran.code, Some(1));
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    assert_eq!(report["repaired"], json!([first.image.digest.to_hex()]));
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(2));
    let ran = run(&store, &["verify", "--repair-from"], &[&bundled]).ok();
    assert!(ran.contains("Repaired: ") && ran.ends_with("All is well\n"), "{ran}");
    assert_eq!(verify(&store, 0)["problems"], json!([]));
    // Nothing else of it was taken.
    assert_eq!(store.proxy(&["list-pushed-snaps", "--revisions"]).ok(), listed);
    assert_eq!(verify(&store, 0)["revisions"], json!(3));
    let outcomes = || {
        let events = store.proxy(&["audit", "--json"]).json_lines();
        let count = |outcome: &str| {
            events.iter().filter(|event| event["what"] == "repair" && event["outcome"] == outcome).count()
        };
        ["refused", "begun", "done"].map(count)
    };
    assert_eq!(outcomes(), [1, 2, 2], "two repairs and a refusal");
    // From a folder, only what is needed is sent.
    for (way, digest) in damaged.iter().enumerate() {
        damage(&blob(&store.data_dir, digest), way);
    }
    fs::write(folder.path().join("notes.txt"), "of no use").expect("there is room");
    let ran = run(&store, &["verify", "--repair-from"], &[&folder.path().to_owned()]).ok();
    assert!(ran.matches("Repaired: ").count() == 3 && ran.ends_with("All is well\n"), "{ran}");
    assert_eq!(outcomes(), [1, 5, 5], "a component, a bundle and a snap");
}

#[test]
fn a_check_that_was_cut_off_goes_on_where_it_was() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let hello = world.snap("hello").payload(400_000);
    let mut revisions: Vec<Revision> = (1..=8).map(|number| hello.revision(number)).collect();
    for revision in &revisions {
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    revisions.sort_by_key(|revision| revision.image.digest);
    let mut slow = Command::new(program("proxy"))
        .args(["--data-dir".as_ref(), store.data_dir.as_os_str()])
        .args(["verify", "--rate", "1"])
        .stdout(Stdio::null())
        .spawn()
        .expect("proxy can be started");
    wait_for("two files were read", || store.status().check.read_so_far >= Some(2));
    slow.kill().expect("it still runs");
    let _ = slow.wait();
    let store = store.stop().start();
    let so_far = store.status().check.read_so_far.expect("a check that has not ended");
    assert!((2..8).contains(&so_far), "{so_far}");
    // What was read is not read again: damage that came since is found by the next check only.
    flip(&blob(&store.data_dir, &revisions[0].image.digest), 100);
    flip(&blob(&store.data_dir, &revisions[7].image.digest), 100);
    let report = store.proxy(&["verify", "--json", "--resume"]);
    let report: Value = serde_json::from_str(&report.stdout).expect("a report");
    assert_eq!(subjects(&report), BTreeSet::from([revisions[7].image.digest.to_hex()]));
    assert_eq!(report["blobs"], json!(8));
    assert_eq!(subjects(&verify(&store, 1)).len(), 2);
}

#[test]
fn flipped_while_served_is_never_taken_for_the_file() {
    let (_world, store, revisions) = scene(Setup::default());
    let revision = &revisions[1];
    let (good, path) = (&revision.image.bytes, blob(&store.data_dir, &revision.image.digest));
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    let promised = device.install("hello", "stable").expect("an answer").snap.download;
    let link = device.target_of(promised.url.as_deref().expect("a link")).expect("a link").to_owned();
    let (whole, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 0..10_usize {
        // Every block is known to be right now.
        device.download(&promised).expect("it is whole");
        let position = round * 7_919 * 131 % good.len();
        let over = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for reader in 0..3_usize {
                let (device, link, over, whole, broken) = (&device, &link, &over, &whole, &broken);
                scope.spawn(move || {
                    for turn in 0..6_usize {
                        let from = (position / (reader + 1)).saturating_sub(turn * 1000);
                        let to = (from + 900_000 * turn + 10).min(good.len() - 1);
                        let range = (turn % 2 == 1).then_some((from, to));
                        match get(device, link, range) {
                            Some(answer) if answer.status == 200 => {
                                assert!(answer.body == *good, "damaged bytes as a whole file");
                                whole.fetch_add(1, Ordering::Relaxed);
                            }
                            Some(answer) if answer.status == 206 => {
                                assert!(answer.body == good[from..=to], "damaged bytes as a whole range");
                                whole.fetch_add(1, Ordering::Relaxed);
                            }
                            Some(answer) => {
                                assert_eq!(answer.status, 503);
                                broken.fetch_add(1, Ordering::Relaxed);
                            }
                            None => drop(broken.fetch_add(1, Ordering::Relaxed)),
                        }
                    }
                    over.fetch_add(1, Ordering::Relaxed);
                });
            }
            let before = whole.load(Ordering::Relaxed);
            wait_for("a download is under way", || {
                whole.load(Ordering::Relaxed) > before || over.load(Ordering::Relaxed) == 3
            });
            flip(&path, position);
        });
        store.push_pair(revision, &["latest/stable"], "ubuntu");
    }
    let (whole, broken) = (whole.into_inner(), broken.into_inner());
    assert!(whole > 10 && broken > 10, "{whole} came whole, {broken} broke off");
    assert_eq!(Sha3_384::of(&fs::read(&path).expect("a file")), revision.image.digest);
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    // User and system time, in hundredths.
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

/// How many MB a check reads with a second of one core, and the same files hashed and nothing else, in one run:
/// `AIRLOCK_LONG=1 cargo nextest run -p tests --no-capture how_fast_a_check_reads`
#[test]
fn how_fast_a_check_reads() {
    if std::env::var_os("AIRLOCK_LONG").is_none() {
        return;
    }
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let hello = world.snap("hello");
    let mut files = Vec::new();
    for number in 1..=8 {
        let mut bytes = hello.revision(number).image.bytes;
        bytes.resize(48 << 20, number as u8);
        let revision = hello.with_image(number, "1", tests::snap::Image::of(bytes));
        store.push_pair(&revision, &["latest/stable"], "ubuntu");
        files.push(blob(&store.data_dir, &revision.image.digest));
    }
    // The file system's cache holds all of it for both.
    let _ = verify(&store, 0);
    let mut bytes = 0;
    let own = std::process::id();
    let before = processor_time(own);
    for path in &files {
        let mut file = File::open(path).expect("a file");
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA3_384);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = std::io::Read::read(&mut file, &mut buffer).expect("it can be read");
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            bytes += count;
        }
        let _ = hash.finish();
    }
    let plain = processor_time(own) - before;
    let (before, begun) = (processor_time(store.pid()), Instant::now());
    let _ = verify(&store, 0);
    let (checked, wall) = (processor_time(store.pid()) - before, begun.elapsed().as_secs_f64());
    let megabytes = bytes as f64 / 1e6;
    eprintln!(
        "verify: {:.0} MB/s per core ({:.0} MB/s in all); hashing alone: {:.0} MB/s per core; ratio {:.2}",
        megabytes / checked,
        megabytes / wall,
        megabytes / plain,
        plain / checked
    );
    assert!(plain / checked > 0.6, "{plain} s of hashing took {checked} s");
}
