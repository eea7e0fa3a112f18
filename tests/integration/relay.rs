//! From gap to gap: what one store holds is fetched with a login of its own making, carried across as one archive, and
//! pushed into another store, where the brand's devices get the same bytes.

use std::path::{Path, PathBuf};

use tests::device::{Device, Snapd, Trouble};
use tests::server::{Ran, Server, proxy};
use tests::world::{Brand, Revision, World};

/// The store that everything comes from, and the place where the fetch commands run.
struct Upstream {
    world: World,
    acme: Brand,
    store: Server,
    app: Revision,
    base: Revision,
    desk: tempfile::TempDir,
}

impl Upstream {
    fn new() -> Self {
        let world = World::new();
        let store = Server::start();
        store.trust(&world);
        let acme = world.brand("acme");
        let app = world.snap("acme-app").publisher("acme").base("core24").component("part", 3);
        let app = app.payload(3_000_000).revision(4);
        // The base that every store includes goes by its well-known id.
        let base = world.snap("core24").id("dwTAh7MZZ01zyriOZErqd1JynQLiOGvM").kind("base").revision(9);
        let snapd = world.snap("snapd").id("PMrrV4ml8uWuEUDBT8dSGnKUYbevVhc4").kind("snapd").revision(7);
        store.push_pair(&app, &["latest/stable", "2/edge/fix"], "AcmeStore");
        store.push_pair(&base, &["latest/stable"], "ubuntu");
        store.push_pair(&snapd, &["latest/stable"], "ubuntu");
        store.push_brand(&acme);
        let listed = world.snap("acme-later").publisher("acme");
        store.push_store("AcmeStore", "acme", &[&app.snap, &listed]);
        let (_, token) = store.login("AcmeStore", "package_access,store_admin");
        let desk = tempfile::tempdir().expect("there is room");
        let at = |name: &str| desk.path().join(name);
        std::fs::write(at("root.assert"), world.anchors()).expect("there is room");
        std::fs::write(at("acme.login"), token).expect("there is room");
        for key in ["proxy.upstream", "proxy.dashboard.location"] {
            let _ = proxy(&at("data"), &["config", &format!("{key}={}", store.url)]).ok();
        }
        Self { world, acme, store, app, base, desk }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn fetch(&self, more: &[&str]) -> Ran {
        let text = |path: PathBuf| path.display().to_string();
        let (login, root, out) =
            (text(self.at("acme.login")), text(self.at("root.assert")), text(self.at("media")));
        let base = ["fetch-store", "AcmeStore", "--auth", &login, "--trust", &root, "--export-dir", &out];
        proxy(&self.at("data"), &[&base[..], more].concat())
    }

    fn media(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.at("media")).expect("something was written");
        let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// What a device of the brand gets.
    fn device(&self, store: &Server) -> Result<Vec<u8>, Trouble> {
        let identity = self.acme.device(&self.acme.model_in("gateway", "AcmeStore"), "SN-1");
        let mut device = Device::new(store, Snapd::V2_77, &identity).trusting(&self.world);
        device.install("core24", "stable")?;
        let outcome = device.install("acme-app", "stable")?;
        Ok(device.fetch_and_check(&outcome).expect("its file and documents"))
    }
}

fn push(store: &Server, file: &Path) -> Ran {
    store.proxy(&["push-store", file.to_str().expect("a path of text")])
}

#[test]
fn a_store_goes_across_as_one_archive() {
    let upstream = Upstream::new();
    let keys = [upstream.acme.model_key(), upstream.acme.serial_key()];
    let ran = upstream.fetch(&["--key", keys[0].public().id(), "--key", keys[1].public().id()]);
    assert!(ran.stderr.contains("acme-later"), "what could not be had is told: {ran:?}");
    let printed = ran.ok();
    let media = upstream.media();
    assert_eq!(media.len(), 1, "{media:?}");
    let [archive] = &media[..] else { unreachable!("one file") };
    assert!(printed.ends_with(&format!("Store data exported to: {}\n", archive.display())), "{printed}");
    let root = upstream.at("root.assert").display().to_string();
    let archive_name = archive.display().to_string();
    let inspected = proxy(&upstream.at("data"), &["inspect", &archive_name, "--trust", &root]).ok();
    assert!(
        inspected.starts_with("Kind: store archive") && inspected.contains("Verified: yes"),
        "{inspected}"
    );

    let site = Server::start();
    site.trust(&upstream.world);
    let pushed = push(&site, archive).ok();
    assert!(pushed.contains("Uploaded snap and assertions for acme-app revision 4"), "{pushed}");
    assert_eq!(upstream.device(&site).expect("all that it needs"), upstream.app.image.bytes);
    // The documents are the same to the byte.
    let mut of = [&upstream.store, &site].map(|store| {
        let identity = upstream.acme.device(&upstream.acme.model_in("gateway", "AcmeStore"), "SN-1");
        Device::new(store, Snapd::V2_77, &identity)
    });
    for wanted in upstream.app.assertions() {
        let texts = of
            .each_mut()
            .map(|device| device.assertion(&wanted.reference()).expect("it is there").bytes().to_vec());
        assert_eq!(texts[0], texts[1], "{}", wanted.reference());
    }
    // Nobody else sees the brand's snap; the base stays everybody's.
    let mut anybody = Device::anonymous(&site, Snapd::V2_77);
    assert!(anybody.install("acme-app", "stable").is_err());
    assert_eq!(anybody.install("core24", "stable").expect("public").snap.revision, upstream.base.number);
    assert!(push(&site, archive).ok().contains("acme-app revision 4 is already there"));
}

#[test]
fn a_store_goes_across_in_parts() {
    let upstream = Upstream::new();
    let keys = [upstream.acme.model_key(), upstream.acme.serial_key()];
    let _ = upstream
        .fetch(&["--split", "1M", "--key", keys[0].public().id(), "--key", keys[1].public().id()])
        .ok();
    let media = upstream.media();
    let list = media.iter().find(|path| path.to_string_lossy().ends_with(".parts.json")).expect("a list");
    assert!(media.len() >= 4, "{media:?}");
    for part in media.iter().filter(|path| *path != list) {
        assert!(std::fs::metadata(part).expect("a part").len() <= 1 << 20, "{}", part.display());
    }
    let site = Server::start();
    site.trust(&upstream.world);
    let _ = push(&site, list).ok();
    assert_eq!(upstream.device(&site).expect("all that it needs"), upstream.app.image.bytes);
}

#[test]
fn a_store_is_not_fetched_without_its_login() {
    let upstream = Upstream::new();
    let (id, token) = upstream.store.login("AcmeStore", "package_access");
    std::fs::write(upstream.at("acme.login"), &token).expect("there is room");
    let said = upstream.fetch(&[]).refused();
    assert!(said.contains("store_admin"), "{said}");
    let _ = upstream.store.proxy(&["revoke-login", &id]).ok();
    let said = upstream.fetch(&[]).refused();
    assert!(!said.contains(&token), "{said}");
    assert!(!upstream.at("media").exists() || upstream.media().is_empty(), "nothing is written");
}
