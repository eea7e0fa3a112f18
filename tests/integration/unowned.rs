//! Files between their name and their owner, while another server cleans up: an acknowledged import has its files, whatever
//! the clocks say and however long anybody sleeps (M4).

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::attack::until;
use tests::bucket::{self, ObjectStore};
use tests::device::{Device, Snapd};
use tests::postgres::{Cluster, connect};
use tests::server::{Server, Setup};
use tests::world::World;

use super::gc::{OLD, plant};
use super::sessions::restart::database;
use super::verify::blob;

const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of one database that keep their files in one place.
fn setup_in(folder: &Path) -> Setup {
    let path = folder.to_str().expect("a path of text");
    Setup::default()
        .config("proxy.db.connection", &database(Cluster::shared()))
        .config("proxy.storage.path", path)
}

fn wait_until_it_sleeps(server: &Server) {
    let stat = format!("/proc/{}/stat", server.pid());
    until("it sleeps", PATIENCE, || {
        let text = fs::read_to_string(&stat).expect("it runs");
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    });
}

fn wake(server: &Server) {
    let pid = i32::try_from(server.pid()).expect("a number");
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("it is there");
}

/// Installs the snap with its file, as a device of each server does.
fn assert_served(servers: [&Server; 2], world: &World) {
    for server in servers {
        let mut device = Device::anonymous(server, Snapd::V2_77).trusting(world);
        let mut outcome = None;
        until("the revision is known", PATIENCE, || {
            outcome = device.install("hello", "stable").ok();
            outcome.is_some()
        });
        device.fetch_and_check(&outcome.expect("it was just there")).expect("with its file");
    }
}

/// The importer sleeps between the name and the commit, for so long that its file is old in the cleaner's eyes.
fn an_importer_that_sleeps(setup: Setup, age: impl Fn(&schema::digest::Sha3_384)) {
    let world = World::new();
    let cleaner = setup.clone().start();
    cleaner.trust(&world);
    let importer = setup.failpoint("stop:import.named").start();
    let revision = world.snap("hello").payload(50_000).revision(1);
    std::thread::scope(|scope| {
        let import = scope.spawn(|| importer.try_push_pair(&revision, &["latest/stable"], "ubuntu"));
        wait_until_it_sleeps(&importer);
        age(&revision.image.digest);
        let report = cleaner.proxy(&["gc", "--now", "--json"]).json();
        assert_eq!(report["removed"].as_array().map(Vec::len), Some(1), "{report}");
        wake(&importer);
        let _ = import.join().expect("it ran").ok();
    });
    assert_served([&importer, &cleaner], &world);
    let _ = cleaner.proxy(&["verify"]).ok();
}

#[test]
fn attack_an_importer_that_sleeps_has_its_files_in_a_shared_folder() {
    let folder = tempfile::tempdir().expect("there is room");
    an_importer_that_sleeps(setup_in(folder.path()), |digest| {
        let path = blob(folder.path(), digest);
        let file = fs::File::options().write(true).open(&path).expect("it has its name");
        file.set_modified(std::time::SystemTime::now() - OLD).expect("it can be aged");
    });
    let staged = fs::read_dir(folder.path().join("staging")).expect("a folder").count();
    assert_eq!(staged, 0, "nothing is left behind");
}

#[test]
fn attack_an_importer_that_sleeps_has_its_files_in_a_bucket() {
    let store = ObjectStore::start();
    let url = format!("http://{}", store.address);
    let setup = bucket::setup(&url).config("proxy.db.connection", &database(Cluster::shared()));
    an_importer_that_sleeps(setup, |_| {});
}

/// Ends the clean-ups, also when a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn attack_clean_ups_at_one_server_beside_imports_at_the_other() {
    let folder = tempfile::tempdir().expect("there is room");
    let setup = setup_in(folder.path());
    let [cleaner, importer] = [setup.clone().start(), setup.start()];
    let world = World::new();
    importer.trust(&world);
    let over = AtomicBool::new(false);
    let (mut runs, mut removed) = (0, 0);
    std::thread::scope(|scope| {
        let over = &over;
        let cleaning = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // As if its clock were years ahead: no file is young. Where a commit came between it removes nothing.
                let ran = cleaner.proxy(&["gc", "--now", "--json"]);
                runs += 1;
                if ran.code == Some(0) {
                    removed += ran.json()["removed"].as_array().map_or(0, Vec::len);
                } else {
                    assert!(ran.refused().contains("run `proxy gc` again"));
                }
            }
        });
        let _over = Over(over);
        for number in 1..=12 {
            let revision = world.snap("hello").payload(50_000).revision(number);
            importer.push_pair(&revision, &["latest/stable"], "ubuntu");
            let path = blob(folder.path(), &revision.image.digest);
            assert!(path.exists(), "revision {number} was acknowledged and has no file");
        }
        drop(_over);
        cleaning.join().expect("it ran");
    });
    println!("{runs} clean-ups beside 12 imports took {removed} files, which were published again");
    let _ = importer.proxy(&["verify"]).ok();
    assert_served([&importer, &cleaner], &world);
}

#[test]
fn attack_a_cleaner_that_sleeps_takes_nothing_that_was_imported_meanwhile() {
    let folder = tempfile::tempdir().expect("there is room");
    let setup = setup_in(folder.path());
    let importer = setup.clone().start();
    let world = World::new();
    importer.trust(&world);
    let cleaner = setup.failpoint("stop:blob.remove").start();
    let revision = world.snap("hello").payload(50_000).revision(1);
    // Left behind by an import that was cut off.
    let path = plant(folder.path(), &revision.image.bytes, OLD);
    std::thread::scope(|scope| {
        let cleaning = scope.spawn(|| cleaner.proxy(&["gc", "--json"]));
        wait_until_it_sleeps(&cleaner);
        // PostgreSQL gives up whoever sleeps in a transaction for a minute; this is that minute.
        let url = importer.proxy(&["config", "proxy.db.connection"]).ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = connect(url.trim()).await.expect("the cluster answers");
            let ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle in transaction'";
            assert_eq!(client.query(ended, &[]).await.expect("it can be ended").len(), 1);
        });
        importer.push_pair(&revision, &["latest/stable"], "ubuntu");
        wake(&cleaner);
        let answer = cleaning.join().expect("it ran").refused();
        assert!(answer.contains("nothing more was removed"), "{answer}");
    });
    assert!(path.exists(), "the import was acknowledged");
    assert_served([&importer, &cleaner], &world);
    let _ = importer.proxy(&["verify"]).ok();
}
