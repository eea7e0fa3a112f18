//! Hostile bundles and documents, pushed as an operator would: hazards A1 to A12 and B1 to B10.
//!
//! Refused means untouched: exit code 1, a message that names what is wrong, the same answers to devices, the same disk
//! use, and nothing outside the store changed.

mod archive;
mod bundles;
mod contents;
mod documents;

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::device::{Device, Snapd};
use tests::server::{Ran, Server, Setup};
use tests::world::{Revision, Snap, World};

/// Hazard, and the tests for it.
const ROWS: [(&str, &[&str]); 22] = [
    ("A1", &["bundles::names_that_climb_or_deceive"]),
    ("A2", &["bundles::only_regular_files"]),
    ("A3", &["bundles::headers_that_readers_understand_differently"]),
    ("A4", &["bundles::bombs"]),
    ("A5", &["contents::json_bombs"]),
    ("A6", &["contents::right_signature_wrong_bytes"]),
    ("A7", &["contents::older_never_replaces_newer"]),
    ("A8", &["contents::numbers_have_bounds"]),
    ("A9", &["contents::no_channel_points_at_nothing"]),
    ("A10", &["contents::a_file_that_changes_while_it_is_read"]),
    ("A11", &["contents::cut_off_anywhere"]),
    ("A12", &["contents::one_bad_document_refuses_the_file"]),
    ("B1", &["documents::text_that_decoders_disagree_on"]),
    ("B2", &["documents::texts_are_kept_to_the_byte"]),
    ("B3", &["documents::packets_have_one_shape"]),
    ("B4", &["documents::packets_have_one_shape"]),
    ("B5", &["documents::forged_signatures"]),
    ("B6", &["documents::key_sizes_as_a_weapon"]),
    ("B7", &["documents::keys_outside_their_time_or_purpose"]),
    ("B8", &["documents::a_serial_by_somebody_else"]),
    ("B9", &["documents::rotation_and_revocation"]),
    ("B10", &["documents::a_stranger_s_root"]),
];

#[test]
fn every_row_has_its_test() {
    let sources = [
        ("bundles", include_str!("bundles.rs")),
        ("contents", include_str!("contents.rs")),
        ("documents", include_str!("documents.rs")),
    ];
    for (row, tests) in ROWS {
        for test in tests {
            let (module, name) = test.split_once("::").expect("a module and a test");
            let (_, source) =
                sources.iter().find(|(held, _)| *held == module).expect("a module of this folder");
            assert!(source.contains(&format!("#[test]\nfn {name}()")), "{row}: there is no test {test}");
        }
    }
}

/// A store with something to lose, and a folder tree around it that nobody may touch.
struct Siege {
    world: World,
    hello: Snap,
    held: Revision,
    store: Server,
    around: TempDir,
    answers: Vec<String>,
    disk: u64,
    tree: Vec<(String, u64, std::time::SystemTime)>,
}

impl Siege {
    fn new() -> Self {
        let world = World::new();
        let around = TempDir::new().expect("there is room");
        for name in ["victim", "etc/passwd", "store-sibling/file"] {
            let path = around.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("there is room");
            fs::write(path, "do not touch").expect("there is room");
        }
        let data_dir = around.path().join("store");
        fs::create_dir(&data_dir).expect("there is room");
        let store = Setup::default().start_beside(&data_dir);
        store.trust(&world);
        let hello = world.snap("hello");
        let held = hello.revision(1);
        store.push_pair(&held, &["latest/stable"], "ubuntu");
        let mut siege =
            Self { world, hello, held, store, around, answers: Vec::new(), disk: 0, tree: Vec::new() };
        siege.answers = siege.answers();
        siege.disk = siege.store.disk_use();
        siege.tree = siege.tree();
        siege
    }

    /// What devices and the operator see.
    fn answers(&self) -> Vec<String> {
        let mut device = Device::anonymous(&self.store, Snapd::V2_77).trusting(&self.world);
        let outcome = device.install("hello", "stable").expect("the held snap");
        let blob = device.fetch_and_check(&outcome).expect("its file and documents");
        assert_eq!(blob, self.held.image.bytes);
        vec![
            format!("{:?}", device.info("hello")),
            format!("{outcome:?}"),
            format!("{:?}", device.catalogue()),
            format!(
                "{:?}",
                device.assertion(&self.hello.declaration().reference()).map(|found| found.bytes().to_vec())
            ),
            self.store.proxy(&["list-pushed-snaps", "--json"]).ok(),
            self.store.proxy(&["list-account-keys", "--json"]).ok(),
            self.store.proxy(&["list-stores", "--json"]).ok(),
        ]
    }

    /// Everything around the store: name, size, time.
    fn tree(&self) -> Vec<(String, u64, std::time::SystemTime)> {
        let mut found = Vec::new();
        let mut folders = vec![self.around.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").flatten() {
                let meta = entry.metadata().expect("a file");
                if meta.is_dir() && entry.path() != self.store.data_dir {
                    folders.push(entry.path());
                } else if meta.is_file() {
                    let changed = meta.modified().expect("a time");
                    found.push((entry.path().display().to_string(), meta.len(), changed));
                }
            }
        }
        found.sort();
        found
    }

    /// A push was refused for the right reason and left nothing behind.
    fn assert_refused(&self, what: &str, ran: &Ran, reason: &str) {
        assert_eq!(ran.code, Some(1), "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains(reason),
            "{what}: the message says {:?} instead of {reason:?}",
            ran.stderr
        );
        self.assert_untouched(what);
    }

    fn assert_untouched(&self, what: &str) {
        assert_eq!(self.answers(), self.answers, "{what}: devices or operator see something else");
        let disk = self.store.disk_use();
        assert!(disk.abs_diff(self.disk) < 1 << 20, "{what}: {disk} bytes on disk instead of {}", self.disk);
        assert_eq!(self.tree(), self.tree, "{what}: something around the store changed");
    }

    /// Files of imports that are under way, or were and left something.
    fn staged(&self) -> usize {
        fs::read_dir(self.store.data_dir.join("staging")).expect("a folder").count()
    }

    /// The most memory the server ever used, in bytes.
    fn peak_memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.store.pid())).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        let kib: u64 =
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kib * 1024
    }
}

/// Runs something that must be quick.
fn within<T>(limit: Duration, what: &str, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = run();
    assert!(begun.elapsed() < limit, "{what} took {:?}", begun.elapsed());
    result
}
