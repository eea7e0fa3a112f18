//! Results that cannot be written: the exit code says so, what has no other copy is taken back, and what stays is named.

use std::fs::File;
use std::process::{Command, Output};

use tests::server::{Server, Setup, program};
use tests::world::World;

/// Runs a command whose standard output has no room.
fn to_full(store: &Server, args: &[&str]) -> Output {
    let full = File::options().write(true).open("/dev/full").expect("it is there");
    let ran = Command::new(program("proxy"))
        .arg("--data-dir")
        .arg(&store.data_dir)
        .args(args)
        .stdout(full)
        .output();
    ran.expect("the program runs")
}

/// The logins that open something.
fn valid(store: &Server) -> usize {
    let logins = store.proxy(&["list-logins", "--json"]).json();
    let logins = logins["logins"].as_array().expect("a list");
    logins.iter().filter(|login| login["state"] != "revoked").count()
}

#[test]
fn a_login_that_nobody_has_is_revoked() {
    let store = Setup::default().start();
    let told = |ran: Output| {
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        String::from_utf8(ran.stderr).expect("text")
    };
    for form in
        [&["create-login", "--acl", "overrides"][..], &["create-login", "--acl", "overrides", "--json"]]
    {
        let why = told(to_full(&store, form));
        assert!(why.contains("is revoked again") && why.contains("No space left"), "{why}");
    }
    let folder = tempfile::TempDir::new().expect("room");
    let file = folder.path().join("login");
    let limited = format!(
        "ulimit -f 0; trap '' XFSZ; exec {} --data-dir {} create-login --acl overrides {}",
        program("proxy").display(),
        store.data_dir.display(),
        file.display()
    );
    let why = told(Command::new("bash").args(["-c", &limited]).output().expect("a shell"));
    assert!(why.contains("is revoked again") && why.contains("cannot write"), "{why}");
    assert!(!file.exists());
    // A reader that is gone has no login either.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut gone = Command::new(program("proxy"));
    gone.arg("--data-dir").arg(&store.data_dir).args(["create-login", "--acl", "overrides"]).stdout(writer);
    let why = told(gone.output().expect("the program runs"));
    assert!(why.contains("is revoked again"), "{why}");
    assert_eq!(valid(&store), 0);
    let _ = store.proxy(&["create-login", "--acl", "overrides"]).ok();
    assert_eq!(valid(&store), 1);
}

#[test]
fn what_stays_is_said() {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    for (args, stays) in [
        (&["config"][..], false),
        (&["config", "proxy.domain"], false),
        (&["config", "--export-yaml"], false),
        (&["status"], false),
        (&["list-pushed-snaps", "--json"], false),
        (&["prune", "--keep", "1"], false),
        (&["completions", "bash"], false),
        (&["man"], false),
        (&["--help"], false),
        (&["config", "--help"], false),
        (&["ca", "init"], true),
        (&["ca", "show"], false),
        (&["config", "proxy.domain=other.internal"], true),
        (&["override", "hello", "edge=1"], true),
        (&["rotate-secret", "proxy.auth.secret", "--keep-old", "1h"], true),
        (&["gc"], false),
    ] {
        let ran = to_full(&store, args);
        let why = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_ne!(ran.status.code(), Some(0), "{args:?}: {why}");
        assert!(why.contains("No space left on device"), "{args:?}: {why}");
        if stays {
            assert!(why.contains("was done and stays"), "{args:?}: {why}");
        }
    }
}
