//! Importing again, and importing less or older: what the site decided stays (M3).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::bundle::{Bundle, Member, archive, gzip, store_metadata, write_pair};
use tests::server::{Ran, Server};
use tests::world::{Revision, World};

fn push(store: &Server, file: &[u8], more: &[&str]) -> Ran {
    store.with_file("store-export-AcmeStore-20240102T030405.tar.gz", file, |path| {
        store.proxy(&[&["push-store", path][..], more].concat())
    })
}

/// The archive of a store with one snap: its revisions and where they are released, all at this time.
fn store_archive(revisions: &[(&Revision, &[&str])], time: &str) -> Vec<u8> {
    let snap = &revisions[0].0.snap;
    let bundle = Bundle::new(snap, revisions).from_store("AcmeStore");
    let mut members = vec![Member {
        name: "store.json".to_owned(),
        bytes: store_metadata("AcmeStore", "acme", &[snap]).to_string().into_bytes(),
    }];
    members.extend(bundle.members().into_iter().map(|mut member| {
        if member.name == "metadata.json" {
            let text = String::from_utf8_lossy(&member.bytes).replace("2024-01-02T03:04:05+00:00", time);
            member.bytes = text.into_bytes();
        }
        member
    }));
    let manifest = json!({"format": 1, "tool": "tests", "store": "AcmeStore", "files": []});
    let manifest = Member { name: "manifest.json".to_owned(), bytes: manifest.to_string().into_bytes() };
    gzip(&archive(std::iter::once(&manifest).chain(&members)))
}

/// `CHANNEL REVISION` of every channel.
fn channels(store: &Server) -> Vec<String> {
    let listed: Value = store.proxy(&["list-pushed-snaps", "--json"]).json();
    let mut found = Vec::new();
    for revision in listed["snaps"][0]["revisions"].as_array().expect("revisions") {
        for channel in revision["channels"].as_array().expect("channels") {
            found.push(format!("{} {}", channel.as_str().expect("a channel"), revision["revision"]));
        }
    }
    found.sort();
    found
}

#[test]
fn what_the_site_decided_stays() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let app = world.snap("acme-app").publisher("acme").architectures(&["amd64"]);
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|number| app.revision(number));
    let whole = store_archive(
        &[(&first, &["latest/stable", "latest/candidate"]), (&second, &["latest/beta", "latest/edge"])],
        "2024-01-02T03:04:05+00:00",
    );
    let told = push(&store, &whole, &[]).ok();
    assert!(told.contains("[snap acme-app] latest/stable amd64 none → 1"), "{told}");

    // The site goes on: another revision, a track of its own, a channel closed, one taken back.
    store.push_pair(&third, &["latest/stable", "site/stable"], "AcmeStore");
    let _ = store.proxy(&["close-channel", "acme-app", "edge", "--apply"]).ok();
    let _ = store.proxy(&["release", "acme-app", "1", "beta", "--apply"]).ok();
    let decided = ["latest/beta 1", "latest/candidate 1", "latest/stable 3", "site/stable 3"];
    assert_eq!(channels(&store), decided);

    // The same archive again, whole or as another file that says the same; dry or not.
    let repacked = gzip(&whole);
    for file in [&whole, &whole] {
        let dry = push(&store, file, &["--dry-run"]);
        assert!(
            dry.stderr.contains("latest/stable amd64 of acme-app stays at 3 and the file says 1"),
            "{dry:?}"
        );
        let told = push(&store, file, &[]).ok();
        assert!(!told.contains('→'), "{told}");
        assert_eq!(channels(&store), decided);
    }
    assert!(push(&store, &repacked, &[]).code != Some(0), "an archive in an archive is none");

    // A newer, narrower one: what it has goes forward, what it lacks stays.
    let narrow = store_archive(&[(&fourth, &["latest/candidate"])], "2024-03-02T03:04:05+00:00");
    let dry = push(&store, &narrow, &["--dry-run", "--json"]).json();
    let moves = json!([{"channel": "latest/candidate", "architecture": "amd64", "before": 1, "after": 4}]);
    assert_eq!(dry["snaps"][0]["moves"], moves, "{dry}");
    let told = push(&store, &narrow, &[]).ok();
    assert!(told.contains("[snap acme-app] latest/candidate amd64 1 → 4"), "{told}");
    let decided = ["latest/beta 1", "latest/candidate 4", "latest/stable 3", "site/stable 3"];
    assert_eq!(channels(&store), decided);

    // Upstream went back: that is told with the option to type, and done with it.
    let back = store_archive(&[(&first, &["latest/candidate"])], "2036-04-02T03:04:05+00:00");
    let ran = push(&store, &back, &[]);
    assert!(
        ran.stderr.contains(
            "latest/candidate amd64 of acme-app stays at 4 and the file says 1: --push-channel-map"
        ),
        "{ran:?}"
    );
    assert_eq!(channels(&store), decided);
    let told = push(&store, &back, &["--push-channel-map"]).ok();
    for line in ["latest/candidate amd64 4 → 1", "latest/stable amd64 3 → none", "site/stable amd64 3 → none"]
    {
        assert!(told.contains(&format!("[snap acme-app] {line}")), "{line}: {told}");
    }
    assert_eq!(channels(&store), ["latest/candidate 1"]);
}

#[test]
fn a_file_whose_clock_runs_ahead_says_nothing_the_second_time() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let app = world.snap("acme-app").publisher("acme").architectures(&["amd64"]);
    let [first, second] = [1, 2].map(|number| app.revision(number));
    let ahead = store_archive(
        &[(&first, &["latest/candidate"]), (&second, &["latest/stable"])],
        "2036-01-02T03:04:05+00:00",
    );
    let _ = push(&store, &ahead, &[]).ok();
    // The site goes back, at a time that the file takes for an older one.
    let _ = store.proxy(&["release", "acme-app", "1", "stable", "--apply"]).ok();
    let told = push(&store, &ahead, &[]).ok();
    assert!(!told.contains('→'), "{told}");
    assert_eq!(channels(&store), ["latest/candidate 1", "latest/stable 1"]);
}

#[test]
fn a_channel_that_was_closed_here_stays_closed() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let app = world.snap("acme-app").publisher("acme").architectures(&["amd64"]);
    let [first, second, third] = [1, 2, 3].map(|number| app.revision(number));
    let old = "2024-01-02T03:04:05+00:00";
    let _ = push(&store, &store_archive(&[(&first, &["latest/stable", "latest/edge"])], old), &[]).ok();
    // One that was never open is not called closed.
    let more = Bundle::new(&app, &[(&first, &["latest/stable", "latest/edge", "latest/beta"])]);
    let ran = store.try_push_bundle(&more.from_store("AcmeStore").pack());
    let unopened = "latest/beta amd64 of acme-app is not opened and the file says 1: --push-channel-map";
    assert!(ran.code == Some(0) && ran.stderr.contains(unopened), "{ran:?}");
    let said = store.proxy(&["close-channel", "acme-app", "edge", "--apply"]).ok();
    assert!(said.contains("acme-app edge: stays closed, whatever is imported"), "{said}");

    // Newer files with newer revisions, in whichever format, for whichever architecture.
    let newer = store_archive(&[(&second, &["latest/stable", "latest/edge"])], "2036-01-02T03:04:05+00:00");
    let ran = push(&store, &newer, &[]);
    let stays = "latest/edge amd64 of acme-app stays closed and the file says 2: --push-channel-map";
    assert!(ran.code == Some(0) && ran.stderr.contains(stays), "{ran:?}");
    store.push_pair(&third, &["latest/edge"], "AcmeStore");
    let elsewhere = app.clone().architectures(&["arm64"]).revision(4);
    store.push_pair(&elsewhere, &["latest/edge"], "AcmeStore");
    assert_eq!(channels(&store), ["latest/stable 2"]);
    let listed = store.proxy(&["list-pushed-snaps", "--revisions"]);
    assert!(listed.stderr.contains("closed here for acme-app: latest/edge"), "{listed:?}");

    // It outlives the revision, a restart and a backup of the database.
    let _ = store.proxy(&["remove-snap", "acme-app", "--revision", "1", "--apply"]).ok();
    let store = store.stop().start();
    let fifth = app.revision(5);
    store.push_pair(&fifth, &["latest/edge"], "AcmeStore");
    assert_eq!(channels(&store), ["latest/stable 2"]);

    // The operator opens it, either way, and it is a channel like others from then on.
    let _ = store.proxy(&["release", "acme-app", "3", "edge", "--apply"]).ok();
    let sixth = app.revision(6);
    store.push_pair(&sixth, &["latest/edge"], "AcmeStore");
    assert_eq!(channels(&store), ["latest/edge 6", "latest/stable 2"]);
    let _ = store.proxy(&["close-channel", "acme-app", "edge", "--apply"]).ok();
    let told = push(&store, &newer, &["--push-channel-map"]).ok();
    assert!(told.contains("[snap acme-app] latest/edge amd64 none → 2"), "{told}");
    store.push_pair(&app.revision(7), &["latest/edge"], "AcmeStore");
    assert_eq!(channels(&store), ["latest/edge 7", "latest/stable 2"]);
}

#[test]
fn another_default_track_is_told() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let app = world.snap("acme-app").publisher("acme");
    let bundle = |revision: u32, track: Value| {
        let revision = app.revision(revision);
        let bundle =
            Bundle::new(&app, &[(&revision, &["latest/stable", "2/stable"])]).from_store("AcmeStore");
        let mut members: Vec<Member> = bundle.members();
        for member in members.iter_mut().filter(|member| member.name == "metadata.json") {
            let mut metadata: Value = serde_json::from_slice(&member.bytes).expect("JSON");
            metadata["default-track"] = track.clone();
            member.bytes = metadata.to_string().into_bytes();
        }
        let manifest = bundle.manifest(&members);
        gzip(&archive(std::iter::once(&manifest).chain(&members)))
    };
    let push = |file: &[u8], more: &[&str]| {
        store.with_file("acme-app-20240102T030405.tar.gz", file, |path| {
            store.proxy(&[&["push-snap", path][..], more].concat()).ok()
        })
    };
    let _ = push(&bundle(1, Value::Null), &[]);
    for more in [&["--dry-run"][..], &[]] {
        let told = push(&bundle(2, json!("2")), more);
        assert!(told.contains("[snap acme-app] default track latest → 2"), "{more:?}: {told}");
    }
    let told = push(&bundle(3, Value::Null), &[]);
    assert!(told.contains("[snap acme-app] default track 2 → latest"), "{told}");
}

#[test]
fn a_folder_gives_the_same_however_it_is_spelled_and_however_often() {
    let folder = tempfile::tempdir().expect("there is room");
    let usb = folder.path().join("usb");
    std::fs::create_dir(&usb).expect("there is room");
    let world = World::new();
    let hello = world.snap("hello");
    let _ = write_pair(&usb, &hello.revision(1));
    let bundle = Bundle::new(&hello, &[(&hello.revision(2), &["latest/stable"])]).pack();
    std::fs::write(usb.join("hello-20240102T030405.tar.gz"), bundle).expect("there is room");
    let files = [PathBuf::from("usb/hello-20240102T030405.tar.gz"), PathBuf::from("usb/hello_1.snap")];
    let backwards: Vec<&Path> = files.iter().rev().map(PathBuf::as_path).collect();
    let forwards: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut seen = Vec::new();
    for paths in [&[Path::new("usb")][..], &[Path::new("./usb")], &[&*usb], &forwards, &backwards] {
        let store = Server::start();
        store.trust(&world);
        for _ in 0..2 {
            let ran = std::process::Command::new(tests::server::program("proxy"))
                .current_dir(folder.path())
                .arg("--data-dir")
                .arg(&store.data_dir)
                .arg("push-snap")
                .args(paths)
                .args(["--channel", "stable"])
                .output()
                .expect("proxy can be started");
            assert!(ran.status.success(), "{ran:?}");
            seen.push(channels(&store));
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert!(seen[0].contains(&"latest/stable 2".to_owned()), "{seen:?}");
}
