//! Whole stores carried across: archives are imported as one or not at all, again and again, whole or in parts; and dry
//! runs leave nothing behind.

use std::path::{Path, PathBuf};

use schema::bundle::{Part, PartList};
use schema::digest::Sha3_384;
use serde_json::json;
use tests::bundle::{Bundle, Member, archive, gzip, store_metadata};
use tests::device::{Device, Snapd, Trouble};
use tests::server::{Ran, Server};
use tests::world::{Brand, Revision, World};

/// What crosses the gap: a snap of the brand's and a base of everybody's, with the brand's metadata and keys.
pub(crate) struct Freight {
    world: World,
    acme: Brand,
    app: Revision,
    base: Revision,
}

impl Freight {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let app = world.snap("acme-app").publisher("acme").base("core24").component("part", 3).revision(4);
        let base = world.snap("core24").kind("base").revision(9);
        Self { acme: world.brand("acme"), app, base, world }
    }

    fn store(&self) -> Server {
        let store = Server::start();
        store.trust(&self.world);
        store
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let bytes = |name: &str, bytes: Vec<u8>| Member { name: name.to_owned(), bytes };
        let metadata = store_metadata("AcmeStore", "acme", &[&self.app.snap]);
        let mut members = vec![
            bytes("store.json", metadata.to_string().into_bytes()),
            bytes("keys.assert", self.acme.account_keys()),
        ];
        for revision in [&self.app, &self.base] {
            let bundle = Bundle::new(&revision.snap, &[(revision, &["latest/stable"])]);
            let folder = format!("snaps/{}", revision.snap.name);
            let inside = bundle.members().into_iter();
            members.extend(inside.map(|member| bytes(&format!("{folder}/{}", member.name), member.bytes)));
        }
        members
    }

    pub(crate) fn pack(&self, members: &[Member]) -> Vec<u8> {
        let files: Vec<_> = members
            .iter()
            .map(|member| {
                json!({"name": member.name, "size": member.bytes.len(),
                    "sha3-384": Sha3_384::of(&member.bytes).to_hex()})
            })
            .collect();
        let manifest = json!({"format": 1, "tool": "tests", "store": "AcmeStore", "files": files,
            "stores": {"core24": "ubuntu"}});
        let manifest = Member { name: "manifest.json".to_owned(), bytes: manifest.to_string().into_bytes() };
        gzip(&archive(std::iter::once(&manifest).chain(members)))
    }

    /// What a device of the brand installs.
    fn device(&self, store: &Server) -> Result<u32, Trouble> {
        let identity = self.acme.device(&self.acme.model_in("gateway", "AcmeStore"), "SN-1");
        let mut device = Device::new(store, Snapd::V2_77, &identity).trusting(&self.world);
        let outcome = device.install("acme-app", "stable")?;
        device.fetch_and_check(&outcome).expect("its file and documents");
        Ok(outcome.snap.revision)
    }
}

fn push(store: &Server, file: &[u8], more: &[&str]) -> Ran {
    store.with_file("store-export-AcmeStore-20240102T030405.tar.gz", file, |path| {
        store.proxy(&[&["push-store", path][..], more].concat())
    })
}

/// Everything that an import changes.
fn state(store: &Server) -> (Vec<String>, Vec<PathBuf>) {
    let told = ["list-pushed-snaps", "list-stores", "list-account-keys"];
    let told = told.map(|command| store.proxy(&[command, "--json"]).ok());
    (told.to_vec(), files(&store.data_dir))
}

/// Every stored or staged file.
fn files(data_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data_dir.join("blobs"), data_dir.join("staging")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the store").flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

#[test]
fn an_archive_makes_a_store_of_an_empty_one_and_again_changes_nothing() {
    let freight = Freight::new();
    let store = freight.store();
    let file = freight.pack(&freight.members());
    let ran = push(&store, &file, &[]);
    assert_eq!(ran.stderr, "", "nothing is missing");
    assert_eq!(
        ran.ok(),
        "Uploaded snap and assertions for acme-app revision 4\n\
         Uploaded snap and assertions for core24 revision 9\n\
         Pushing store AcmeStore: acme devices (brand acme, 1 snap)\n\
         Pushing 11 new assertions\n\
         [snap acme-app] latest/stable amd64 none → 4\n\
         [snap core24] latest/stable amd64 none → 9\n\
         acme-app: seen by the devices of store AcmeStore (brand acme)\n\
         core24: seen by devices without a brand store\n"
    );
    assert_eq!(freight.device(&store).expect("it is all there"), 4);
    // The base came from the global store and is everybody's; the snap is the brand's.
    let mut anybody = Device::anonymous(&store, Snapd::V2_77);
    assert_eq!(anybody.install("core24", "stable").expect("public").snap.revision, 9);
    assert!(anybody.install("acme-app", "stable").is_err());

    let before = state(&store);
    let again = push(&store, &file, &[]);
    assert!(again.stderr.contains("imported before"), "{again:?}");
    assert!(again.ok().contains("acme-app revision 4 is already there"));
    assert_eq!(state(&store), before);
}

#[test]
fn a_newer_archive_brings_the_store_up_to_date() {
    let mut freight = Freight::new();
    let store = freight.store();
    let _ = push(&store, &freight.pack(&freight.members()), &[]).ok();
    let metadata = |members: &mut Vec<Member>, time: &str| {
        for member in members.iter_mut().filter(|member| member.name.ends_with("metadata.json")) {
            let text = String::from_utf8_lossy(&member.bytes).replace("2024-01-02T03:04:05+00:00", time);
            member.bytes = text.into_bytes();
        }
    };
    let first = freight.app.clone();
    freight.app = first.snap.revision(5);
    let mut members = freight.members();
    metadata(&mut members, "2024-02-02T03:04:05+00:00");
    let _ = push(&store, &freight.pack(&members), &[]).ok();
    assert_eq!(freight.device(&store).expect("the new one"), 5);
    // Upstream went back: no revision is new, and the channel map is. That takes the operator's word.
    freight.app = first;
    let mut members = freight.members();
    metadata(&mut members, "2024-03-02T03:04:05+00:00");
    let back = freight.pack(&members);
    let ran = push(&store, &back, &[]);
    assert!(ran.code == Some(0) && ran.stderr.contains("stays at 5 and the file says 4"), "{ran:?}");
    assert_eq!(freight.device(&store).expect("not by itself"), 5);
    let _ = push(&store, &back, &["--push-channel-map"]).ok();
    assert_eq!(freight.device(&store).expect("the old one again"), 4);
    // An old medium takes nobody back, unless the operator insists.
    freight.app = freight.app.snap.revision(5);
    let mut members = freight.members();
    metadata(&mut members, "2024-02-02T03:04:05+00:00");
    let old = freight.pack(&members);
    let ran = push(&store, &old, &[]);
    assert!(ran.code == Some(0) && ran.stderr.contains("stays at 4 and the file says 5"), "{ran:?}");
    assert_eq!(freight.device(&store).expect("still"), 4);
    let _ = push(&store, &old, &["--push-channel-map"]).ok();
    assert_eq!(freight.device(&store).expect("as told"), 5);
}

#[test]
fn one_bad_thing_in_an_archive_keeps_all_of_it_out() {
    let freight = Freight::new();
    let store = freight.store();
    let before = state(&store);
    let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut members = freight.members();
        let member = members.iter_mut().find(|member| member.name.ends_with(name)).expect("a member");
        change(&mut member.bytes);
        freight.pack(&members)
    };
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    };
    let without = |name: &str| {
        let left: Vec<_> =
            freight.members().into_iter().filter(|member| !member.name.ends_with(name)).collect();
        freight.pack(&left)
    };
    for (file, why) in [
        (spoil("acme-app_4.snap", &flip), "acme-app_4.snap"),
        (spoil("core24_9.assert", &flip), "signature"),
        (spoil("keys.assert", &flip), ""),
        (spoil("store.json", &|bytes| *bytes = b"{\"stores\": 5}".to_vec()), "brand store metadata"),
        (spoil("part_3.comp", &flip), "part_3.comp"),
        (without("acme-app_4.assert"), "acme-app_4.snap"),
        (without("store.json"), "push-snap"),
    ] {
        let said = push(&store, &file, &[]).refused();
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(state(&store), before, "{why}");
    }
    let said = store.try_push_bundle(&freight.pack(&freight.members())).refused();
    assert!(said.contains("push-store"), "grants are not changed in passing: {said}");
    assert_eq!(state(&store), before);
}

#[test]
fn parts_are_joined_in_any_order_and_checked_before_anything_is_sent() {
    let freight = Freight::new();
    let store = freight.store();
    let file = freight.pack(&freight.members());
    let folder = tempfile::tempdir().expect("there is room");
    let name = "store-export-AcmeStore-20240102T030405.tar.gz";
    let chunks = file.chunks(file.len() / 3 + 1);
    let parts: Vec<Part> = (1..)
        .zip(chunks)
        .map(|(number, chunk)| {
            let name = PartList::part_name(name, number);
            std::fs::write(folder.path().join(&name), chunk).expect("there is room");
            Part { name, size: chunk.len() as u64, sha3_384: Sha3_384::of(chunk).to_hex() }
        })
        .collect();
    let list = PartList { format: 1, name: name.to_owned(), size: file.len() as u64, parts };
    let list_path = folder.path().join(format!("{name}.parts.json"));
    std::fs::write(&list_path, serde_json::to_vec(&list).expect("JSON")).expect("there is room");
    let path = |number: usize| folder.path().join(PartList::part_name(name, number));
    let push = |order: &[usize]| {
        let paths: Vec<String> = order.iter().map(|number| path(*number).display().to_string()).collect();
        let args: Vec<&str> = std::iter::once("push-store").chain(paths.iter().map(String::as_str)).collect();
        store.proxy(&args)
    };
    let whole = std::fs::read(path(2)).expect("a part");
    let mut damaged = whole.clone();
    damaged[7] ^= 1;
    std::fs::write(path(2), damaged).expect("there is room");
    let before = state(&store);
    let said = push(&[3, 1, 2]).refused();
    assert!(said.contains("part-002") && said.contains("copy it again"), "{said}");
    assert_eq!(state(&store), before);
    std::fs::write(path(2), whole).expect("there is room");
    let _ = push(&[3, 1, 2]).ok();
    assert_eq!(freight.device(&store).expect("it is all there"), 4);
    let list = list_path.display().to_string();
    assert!(store.proxy(&["push-store", &list]).ok().contains("already there"));
}

#[test]
fn a_dry_run_leaves_disk_and_answers_as_they_are() {
    let freight = Freight::new();
    let store = freight.store();
    store.push_pair(&freight.base, &["latest/stable"], "ubuntu");
    let before = state(&store);
    let file = freight.pack(&freight.members());
    let ran = push(&store, &file, &["--dry-run"]).ok();
    assert!(ran.contains("Would upload snap and assertions for acme-app revision 4"), "{ran}");
    assert!(ran.contains("core24 revision 9 is already there") && ran.contains("Would push store"), "{ran}");
    assert_eq!(state(&store), before);

    let bundle = Bundle::new(&freight.app.snap, &[(&freight.app, &["latest/stable"])]).pack();
    let dry = |file: &[u8]| {
        store.with_file("a.tar.gz", file, |path| store.proxy(&["push-snap", path, "--dry-run"]))
    };
    let said = dry(&bundle).ok();
    assert!(
        said.contains("[snap acme-app] Would upload") && said.contains("latest/stable amd64 none → 4"),
        "{said}"
    );
    assert_eq!(state(&store), before);
    // It refuses what a push would refuse, and the push after it is no repetition.
    let mut bad = bundle.clone();
    bad.truncate(bundle.len() / 2);
    assert!(dry(&bad).refused().contains("cut off"));
    assert_eq!(state(&store), before);
    let pushed = store.try_push_bundle(&bundle);
    assert!(!pushed.stderr.contains("imported before"), "{pushed:?}");
}
