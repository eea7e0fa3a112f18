//! A volume with less and less room: a push that does not fit is refused and leaves nothing, devices are served all the
//! while, and the same push works once there is room. Needs the right to mount; without it this says SKIPPED.

use std::fs::{self, File};
use std::path::Path;

use tests::bundle::Bundle;
use tests::memory;

use super::power::Volume;
use super::scene::{Engine, Order, Place, Scene, copy, files, verified};

/// How full the volume is made.
const LEVELS: u64 = 64;
/// Bytes from one level to the next.
const STEP: u64 = 6 << 10;
/// Bytes of the snap that is pushed: the levels end in its file, then in the database, and the last ones have room for both.
const PAYLOAD: usize = 150 << 10;

/// Leaves this much room on the volume of a folder.
pub(crate) fn leave(folder: &Path, room: u64) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, b"").expect("it can be emptied");
    let about = nix::sys::statvfs::statvfs(folder).expect("a volume");
    let free = about.blocks_available() * about.fragment_size();
    let file = File::options().write(true).open(&ballast).expect("it is there");
    let length = free.saturating_sub(room);
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length.try_into().expect("a size"))
        .expect("room that is there");
}

#[test]
fn a_full_disk_refuses_pushes_and_serves_devices() {
    let scene = Scene::new(Engine::Sqlite);
    let volume_place = Place::new();
    let volume = match Volume::mount(&["-t", "tmpfs", "-o", "size=24m"], Path::new("none"), &volume_place) {
        Ok(volume) => volume,
        Err(why) => {
            println!("SKIPPED: no full disks, for nothing can be mounted here: {why}");
            return;
        }
    };
    let stocked = memory::folder("airfault-");
    let base = Place::inside(stocked.path());
    scene.stock(&base);
    let snap = scene.world.snap("fresh").payload(PAYLOAD);
    let push = Order::push(&Bundle::new(&snap, &[(&snap.revision(1), &["latest/stable"])]));
    let (mut refused, mut accepted) = (0, 0);
    for level in 0..LEVELS {
        let folder = volume_place.data().join("store");
        let place = Place::inside(&folder);
        copy(&base.data(), &place.data());
        let untouched = files(&place.data());
        let store = place.start();
        let old = scene.answers(&store);
        leave(&volume_place.data(), level * STEP);
        let answer = push.give(&store).expect("an answer from a full disk");
        let when = format!("with {} KiB of room: {answer:?}", (level * STEP) >> 10);
        let seen = scene.answers(&store);
        match answer.status {
            200 => {
                assert_ne!(seen, old, "{when}");
                accepted += 1;
            }
            503 => {
                assert_eq!(seen, old, "{when}");
                assert_eq!(files(&place.data()), untouched, "{when}");
                let why = answer.text();
                assert!(why.contains("No space left") || why.contains("full"), "{when}");
                refused += 1;
            }
            _ => panic!("{when}"),
        }
        leave(&volume_place.data(), 8 << 20);
        push.obeyed(&store);
        assert_ne!(scene.answers(&store), old, "{when}: with room again");
        verified(&store, &when);
        let _ = store.stop();
        let again = place.start();
        verified(&again, &when);
        let _ = again.kill();
        fs::remove_file(volume_place.data().join("ballast")).expect("it is there");
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
    drop(volume);
    println!("{refused} levels refused a push, {accepted} took it");
    assert!(refused > 30 && accepted > 3, "the levels do not span the size of the push");
}
