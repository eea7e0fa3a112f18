//! The server dies at every step of taking in a parcel: the same command, run again, ends well, and nothing is seen before.

use std::fs;

use tests::server::Setup;

use super::Scene;

/// The points that only a parcel passes.
pub(crate) const POINTS: [&str; 5] =
    ["parcel.kept", "parcel.part", "parcel.received", "parcel.sync", "parcel.written"];

/// `AIRLOCK_LONG=1 cargo nextest run -p tests --no-capture five_hundred_deaths`
#[test]
fn five_hundred_deaths_leave_a_parcel_that_ends_well() {
    if std::env::var_os("AIRLOCK_LONG").is_none() {
        return;
    }
    let mut scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "medium", &["--part-size", "1M"]).ok();
    let media = scene.medium("medium");
    let stock = scene.at("stock");
    let seed = std::mem::replace(&mut scene.site, tests::server::Server::start());
    let data = seed.data_dir.clone();
    let stopped = seed.stop();
    copy(&data, &stock);
    drop(stopped);
    let mut dice = 7_u64;
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let (mut killed, mut rounds) = (0, 0);
    while killed < 500 {
        rounds += 1;
        // Three mounts, each with the manifest and its share of the parts, in any order.
        let mut mounts: Vec<_> = (0..3).map(|at| scene.at(&format!("mount{at}"))).collect();
        for mount in &mounts {
            let _ = fs::remove_dir_all(mount);
            fs::create_dir_all(mount).expect("a folder");
        }
        for file in &media {
            let name = file.file_name().expect("a name");
            let all = *file == scene.manifest("medium");
            let one = roll(3);
            for (at, mount) in (0..).zip(&mounts) {
                if all || at == one {
                    fs::hard_link(file, mount.join(name)).expect("a link");
                }
            }
        }
        let swap = usize::try_from(roll(3)).expect("small");
        mounts.swap(0, swap);
        let folder = scene.at("site");
        let _ = fs::remove_dir_all(&folder);
        copy(&stock, &folder);
        let order = scene.text("failpoint");
        let mut left = mounts.iter();
        let mut mount = left.next();
        while let Some(current) = mount {
            let _ = fs::remove_file(&order);
            let start = || Setup::empty().failpoint(&format!("@{order}")).start_at(&folder);
            let site = start().unwrap_or_else(|failure| panic!("{failure}"));
            fs::write(&order, format!("step:{}", 1 + roll(60))).expect("there is room");
            let mut died = false;
            while let (false, Some(current)) = (died, mount) {
                let ran = site.proxy(&["push-parcel", &current.display().to_string()]);
                match ran.stderr.contains("are lacking") || ran.code == Some(0) {
                    true => mount = left.next(),
                    false => died = true,
                }
            }
            killed += u32::from(died);
            let _ = if died { site.wait() } else { site.kill() };
            let _ = current;
        }
        let _ = fs::remove_file(&order);
        scene.site = Setup::empty().start_at(&folder).unwrap_or_else(|failure| panic!("{failure}"));
        let listed = scene.site.proxy(&["parcels", "list"]).ok();
        if listed != "No parcel is under way.\n" {
            let _ = scene.site.proxy(&["push-parcel", &scene.text("medium")]).ok();
            assert_eq!(scene.site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n");
        }
        scene.is_same(&[&scene.app.revision(1)]);
        assert_eq!(scene.medium("medium"), media, "media are only read");
        scene.site = tests::server::Server::start();
        println!("round {rounds}: {killed} kills");
    }
}

#[test]
fn a_parcel_lives_through_death_at_every_step() {
    let mut scene = Scene::new();
    let receipt = scene.receipt("site.receipt");
    let _ = scene.fetch(&receipt, "medium", &["--part-size", "1M"]).ok();
    let media = scene.medium("medium");
    let mut killed = 0;
    let stock = scene.site.data_dir.clone();
    let first = std::mem::replace(&mut scene.site, tests::server::Server::start());
    let stock_copy = scene.at("stock");
    let stopped = first.stop();
    copy(&stock, &stock_copy);
    drop(stopped);
    for step in 1.. {
        let data = scene.at("site");
        let _ = fs::remove_dir_all(&data);
        copy(&stock_copy, &data);
        let order = scene.text("failpoint");
        let _ = fs::remove_file(&order);
        let start = || Setup::empty().failpoint(&format!("@{order}")).start_at(&data);
        let doomed = start().unwrap_or_else(|failure| panic!("{failure}"));
        fs::write(&order, format!("step:{step}")).expect("there is room");
        let ran = doomed.proxy(&["push-parcel", &scene.text("medium")]);
        let done = ran.code == Some(0);
        let _ = if done { doomed.kill() } else { doomed.wait() };
        let _ = fs::remove_file(&order);
        let site = Setup::empty().start_at(&data).unwrap_or_else(|failure| panic!("{failure}"));
        let again = site.proxy(&["push-parcel", &scene.text("medium")]).ok();
        assert!(
            again.contains("parcel 1 of harbour") || again.contains("imported before"),
            "step {step}: {again}"
        );
        assert_eq!(site.proxy(&["parcels", "list"]).ok(), "No parcel is under way.\n", "step {step}");
        scene.site = site;
        if done || step % 8 == 1 {
            scene.is_same(&[&scene.app.revision(1)]);
        }
        assert_eq!(scene.medium("medium"), media, "media are only read");
        if done {
            break;
        }
        killed += 1;
    }
    let data = scene.at("traced");
    copy(&stock_copy, &data);
    let traced =
        Setup::empty().failpoint("trace").start_at(&data).unwrap_or_else(|failure| panic!("{failure}"));
    let _ = traced.proxy(&["push-parcel", &scene.text("medium")]).ok();
    let log = traced.log();
    for point in POINTS {
        assert!(log.contains(&format!("failpoint {point}:")), "{point} is no step of a parcel");
    }
    println!("{killed} kills during a parcel");
    assert!(killed >= 20, "only {killed} kills");
}

pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &there);
        } else if path.is_file() {
            fs::copy(&path, &there).expect("a copy");
        }
    }
}
