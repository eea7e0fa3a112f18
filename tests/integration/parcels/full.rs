//! A volume with less and less room: a parcel that does not fit is refused, what came of it is kept or gone but never wrong,
//! devices are served all the while, and the same push works once there is room. Needs the right to mount; without it this says SKIPPED.

use std::fs;
use std::path::Path;

use tests::server::{Server, Setup};

use super::{Scene, copy};
use crate::faults::{Place, Volume, leave};

/// Room beside the ballast, in KiB: the steps end in the manifest, in the parts, in the files, in the database.
const ROOM: [u64; 18] =
    [0, 4, 16, 64, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 9216, 10_240, 16_384];

#[test]
fn a_parcel_that_does_not_fit_is_refused_and_works_once_there_is_room() {
    let mut scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "medium", &["--part-size", "1M"]).ok();
    let media = scene.medium("medium");
    let stock = scene.at("stock");
    let seed = std::mem::replace(&mut scene.site, Server::start());
    let data = seed.data_dir.clone();
    let stopped = seed.stop();
    copy(&data, &stock);
    drop(stopped);
    let place = Place::new();
    let volume = match Volume::mount(&["-t", "tmpfs", "-o", "size=64m"], Path::new("none"), &place) {
        Ok(volume) => volume,
        Err(why) => {
            println!("SKIPPED: no full disks, for nothing can be mounted here: {why}");
            return;
        }
    };
    let (mut refused, mut taken) = (0, 0);
    for room in ROOM {
        let folder = place.data().join("site");
        copy(&stock, &folder);
        let site = Setup::empty().start_at(&folder).unwrap_or_else(|failure| panic!("{failure}"));
        leave(&place.data(), room << 10);
        let ran = site.proxy(&["push-parcel", &scene.text("medium")]);
        let when = format!("with {room} KiB of room: {ran:?}");
        let installs = |site: &Server| scene.device(site).install("acme-app", "stable").is_ok();
        match ran.code {
            Some(0) => taken += 1,
            _ => {
                assert!(
                    ran.stderr.contains("room for")
                        || ran.stderr.contains("full")
                        || ran.stderr.contains("No space"),
                    "{when}"
                );
                assert!(!installs(&site), "{when}");
                // With room for the parts, they stay.
                let listed = site.proxy(&["parcels", "list"]).ok();
                assert!(room < 5120 || listed.contains("harbour"), "{when}: {listed}");
                let blobs = fs::read_dir(folder.join("staging")).map_or(0, Iterator::count);
                assert_eq!(blobs, 0, "{when}");
                refused += 1;
            }
        }
        leave(&place.data(), 24 << 20);
        let again = site.proxy(&["push-parcel", &scene.text("medium")]).ok();
        assert!(
            again.contains("parcel 1 of harbour") || again.contains("imported before"),
            "{when}: {again}"
        );
        assert_eq!(site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n", "{when}");
        assert_eq!(scene.medium("medium"), media, "media are only read");
        scene.site = site;
        scene.is_same(&[&scene.app.revision(1)]);
        scene.site = Server::start();
        fs::remove_file(place.data().join("ballast")).expect("it is there");
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
    drop(volume);
    println!("{refused} levels refused a parcel, {taken} took it");
    assert!(refused >= 8 && taken >= 1, "the levels do not span the size of the parcel");
}
