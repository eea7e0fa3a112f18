//! Deltas of contents. Scripts stand in for squashfs-tools, which few hosts have in the right version: what they list is the file itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use tests::device::{Device, Installed, Snapd};
use tests::server::{Server, Setup};
use tests::world::World;

use super::{applied, get, listed, offered, path_of, revision, with_deltas};
use crate::rot::wait_for;

/// Packs what it is given.
const PACKS: &str = r#"exec cat > "$2""#;

/// A folder with programs in the place of squashfs-tools of a version.
fn tools(version: &str, pack: &str) -> TempDir {
    let folder = TempDir::new().expect("there is room");
    let list = r#"while [ "$1" != -pf ]; do shift; done; exec cat "$3" > "$2""#;
    for (name, script) in [("unsquashfs", list), ("mksquashfs", pack)] {
        let says = format!("[ \"$1\" = -version ] && exec echo {name} version {version} '(2026/03/01)'");
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{says}\n{script}\n"))
            .expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an own file");
    }
    folder
}

fn with_tools(folder: &Path) -> Setup {
    with_deltas().squashfs_tools(folder)
}

/// A device of the kind that takes both formats, and one that takes the plain one, both with revision 1 of a snap.
fn devices(store: &Server, id: &str) -> [Device; 2] {
    [Snapd::V2_77, Snapd::V2_57].map(|snapd| {
        let mut device = Device::anonymous(store, snapd);
        device.installed = vec![Installed::new("hello", id, 1, "latest/stable")];
        if snapd == Snapd::V2_77 {
            "snap-1-1-xdelta3,xdelta3".clone_into(&mut device.delta_formats);
        }
        device
    })
}

#[test]
fn each_device_is_offered_the_formats_that_it_takes() {
    let (world, folder) = (World::new(), tools("4.7.4", PACKS));
    let store = with_tools(folder.path()).start();
    store.trust(&world);
    let hello = world.snap("hello");
    let (one, two) = (revision(&hello, 1), revision(&hello, 2));
    store.push_pair(&one, &["latest/edge"], "ubuntu");
    store.push_pair(&two, &["latest/stable"], "ubuntu");
    let [mut newer, mut older] = devices(&store, &hello.id);
    wait_for("both deltas", || offered(&mut newer.clone()).len() == 2);
    let said: Vec<_> = offered(&mut older).into_iter().filter_map(|delta| delta.format).collect();
    assert_eq!(said, ["xdelta3"], "an older snapd wants exactly one");
    let found = offered(&mut newer).into_iter().find(|delta| delta.format.as_deref() != Some("xdelta3"));
    let found = found.expect("one of contents");
    let delta = get(&store, &newer, path_of(&found)).body;
    // How the newer file was packed: its time, its compression and its flags.
    let packed = &two.image.bytes;
    assert_eq!(delta[..8], *b"sqpf\x01\x01\x01\0");
    assert_eq!(
        (&delta[8..12], &delta[12..14], &delta[14..16]),
        (&packed[8..12], &packed[20..22], &packed[24..26])
    );
    assert_eq!(delta[16..32], [0; 16]);
    assert!(applied(&one.image.bytes, &delta[32..]) == *packed);

    // It outlives the process, and goes when the format is turned off.
    let store = store.stop().start_as_it_was();
    [&mut newer, &mut older].into_iter().for_each(|device| device.move_to(&store));
    wait_for("both deltas again", || offered(&mut newer.clone()).len() == 2);
    let _ = store.proxy(&["config", r#"proxy.deltas.formats=["xdelta3"]"#]).ok();
    wait_for("the other format alone", || offered(&mut newer.clone()).len() == 1);
    assert_eq!(get(&store, &newer, path_of(&found)).status, 404);
    let _ = store.proxy(&["deltas", "drop", "hello", "1", "2"]).ok();
    assert!(offered(&mut newer).is_empty() && offered(&mut older).is_empty());
}

#[test]
fn attack_a_delta_from_which_another_file_is_packed_is_never_offered() {
    // Of the right length, and one byte is another.
    let folder = tools("4.7.5", r#"cat > all; { head -c 20000 all; printf x; tail -c +20002 all; } > "$2""#);
    let (world, store) = (World::new(), with_tools(folder.path()).start());
    store.trust(&world);
    let hello = world.snap("hello");
    store.push_pair(&revision(&hello, 1), &["latest/edge"], "ubuntu");
    store.push_pair(&revision(&hello, 2), &["latest/stable"], "ubuntu");
    let [mut newer, _] = devices(&store, &hello.id);
    wait_for("an attempt at each", || {
        let mut states: Vec<_> = listed(&store).into_iter().map(|one| one.2).collect();
        states.sort();
        states == ["failed", "made"]
    });
    let formats: Vec<_> = offered(&mut newer).into_iter().filter_map(|delta| delta.format).collect();
    assert_eq!(formats, ["xdelta3"]);
    let said = store.proxy(&["deltas", "list"]).ok();
    assert!(said.contains("mksquashfs packs what the newer revision contains in another way"), "{said}");
}

#[test]
fn older_squashfs_tools_are_not_used_and_the_doctor_says_so() {
    let folder = tools("4.5.1", PACKS);
    let store = with_tools(folder.path()).start();
    let finding = || {
        let found = store.proxy(&["doctor", "--json"]).json();
        let found = found["findings"].as_array().expect("a list").clone();
        found.into_iter().find(|one| one["code"] == "squashfs-tools-missing")
    };
    let mend = finding().expect("a finding")["mend"].as_str().expect("a command").to_owned();
    assert_eq!(mend, r#"proxy config 'proxy.deltas.formats=["xdelta3"]'"#);
    let _ = store.proxy(&["config", r#"proxy.deltas.formats=["xdelta3"]"#]).ok();
    assert_eq!(finding(), None);
}
