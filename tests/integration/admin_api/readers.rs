//! The socket for reading: its group reads everything and changes nothing.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use schema::api::admin::calls::{CALLS, Method};
use tests::http::{Connection, Request};
use tests::server::Setup;

/// A group that every host has, and that root may give a file.
const GROUP: (&str, u32) = ("daemon", 1);

/// They are posts that only answer.
const ASKING: [&str; 3] = ["/v1/page-links", "/v1/rollout-forecasts", "/v1/train-drafts"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

#[test]
fn the_group_of_the_socket_reads_everything_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("there is room");
    let socket = folder.path().join("read.sock");
    let store = Setup::default()
        .config("proxy.admin.read-socket", text(&socket))
        .config("proxy.admin.read-group", GROUP.0)
        .start();
    let about = fs::metadata(&socket).expect("the socket");
    assert_eq!((about.permissions().mode() & 0o777, about.gid()), (0o660, GROUP.1));

    let events = || {
        let events = store.proxy(&["audit", "--json"]).json_lines();
        events.iter().filter(|event| event["outcome"] == "done").count()
    };
    let before = events();
    for (method, path) in CALLS {
        let mut connection = Connection::open_unix(&socket).expect("it listens");
        let answer =
            connection.exchange(&Request::new(method.as_str(), path, "localhost")).expect("an answer");
        let text = answer.text();
        match method {
            _ if *method == Method::Get || ASKING.contains(path) => {
                assert!(![403, 404, 405].contains(&answer.status), "{path}: {text}");
            }
            _ => assert!(answer.status == 403 && text.contains("reading only"), "{method:?} {path}: {text}"),
        }
    }
    assert_eq!(events(), before);
    let by_socket = |args: &[&str]| store.proxy(&[&["--socket", text(&socket)], args].concat());
    let _ = by_socket(&["status"]).ok();
    let _ = by_socket(&["list-devices"]).ok();
    let refused = by_socket(&["block-device", "acme/m/1", "--unseen"]).refused();
    assert!(refused.contains("reading only") && refused.contains("sudo"), "{refused}");

    // It goes with the server and comes back with it; one that a dead server left is replaced.
    let stopped = store.stop();
    assert!(!socket.exists());
    let store = stopped.start_as_it_was().kill().start_as_it_was();
    assert!(fs::metadata(&socket).expect("the socket").file_type().is_socket());
    let _ = store.proxy(&["--socket", text(&socket), "status"]).ok();
}

#[test]
fn a_place_that_does_not_do_leaves_the_store_without_the_socket() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("notes");
    fs::write(&file, "of somebody").expect("there is room");
    for (socket, group, why) in [
        (text(&file), "0", "Connection refused"),
        (text(&folder.path().join("none/read.sock")), "0", "No such file"),
        (text(&folder.path().join("read.sock")), "no-such-group", "there is no group no-such-group"),
    ] {
        let setup = Setup::default().config("proxy.admin.read-socket", socket);
        let store = setup.config("proxy.admin.read-group", group).start();
        let log = store.log();
        assert!(log.contains("Cannot open proxy.admin.read-socket") && log.contains(why), "{socket}: {log}");
        let _ = store.proxy(&["status"]).ok();
    }
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "of somebody");
}
