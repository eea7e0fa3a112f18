//! Parcels: a site says what it holds, the connected side sends what it lacks, and the site takes in that alone.

mod differences;
mod full;
mod killed;
mod month;
mod refused;
mod trip;
mod waits;

pub(crate) use killed::{POINTS, copy};

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request};
use tests::server::{Ran, Server, proxy};
use tests::world::{Brand, Revision, Snap, World};

/// A brand store upstream, the connected host, and a site.
struct Scene {
    world: World,
    acme: Brand,
    app: Snap,
    upstream: Server,
    site: Server,
    desk: TempDir,
}

impl Scene {
    /// A site that trusts the connected host and holds nothing.
    fn new() -> Self {
        let world = World::new();
        let (upstream, site, acme) = (Server::start(), Server::start(), world.brand("acme"));
        upstream.trust(&world);
        site.trust(&world);
        let app = world.snap("acme-app").publisher("acme").base("core24").payload(2_500_000);
        let base =
            world.snap("core24").id("dwTAh7MZZ01zyriOZErqd1JynQLiOGvM").kind("base").payload(1_500_000);
        let snapd = world.snap("snapd").id("PMrrV4ml8uWuEUDBT8dSGnKUYbevVhc4").kind("snapd");
        upstream.push_pair(&app.revision(1), &["latest/stable"], "AcmeStore");
        upstream.push_pair(&base.revision(9), &["latest/stable"], "ubuntu");
        upstream.push_pair(&snapd.revision(7), &["latest/stable"], "ubuntu");
        upstream.push_brand(&acme);
        upstream.push_store("AcmeStore", "acme", &[&app]);
        let (_, token) = upstream.login("AcmeStore", "package_access,store_admin");
        let scene = Self { world, acme, app, upstream, site, desk: TempDir::new().expect("there is room") };
        fs::write(scene.at("root.assert"), scene.world.anchors()).expect("there is room");
        fs::write(scene.at("acme.login"), token).expect("there is room");
        for key in ["proxy.upstream", "proxy.dashboard.location"] {
            let _ = scene.connected(&["config", &format!("{key}={}", scene.upstream.url)]).ok();
        }
        let line = scene.connected(&["sender", "create", "harbour"]).ok();
        fs::write(scene.at("harbour.sender"), line).expect("there is room");
        let _ = scene.site.proxy(&["trust", "add-sender", &scene.text("harbour.sender")]).ok();
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// A command on the connected host.
    fn connected(&self, args: &[&str]) -> Ran {
        proxy(&self.at("data"), args)
    }

    /// The site's receipt as a file.
    fn receipt(&self, name: &str) -> String {
        self.receipt_of(&self.site, name)
    }

    fn receipt_of(&self, site: &Server, name: &str) -> String {
        let request =
            Request::new("POST", "/v1/receipts", "airlock").header("Content-Type", "application/json");
        let mut socket = Connection::open_unix(&site.data_dir.join("admin.sock")).expect("a socket");
        let answer = socket.exchange(&request.body(b"{}")).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        fs::write(self.at(name), &answer.body).expect("there is room");
        self.text(name)
    }

    /// Fetches the store for a receipt or code into a folder of its own.
    fn fetch(&self, told: &str, medium: &str, more: &[&str]) -> Ran {
        let (login, root, out) = (self.text("acme.login"), self.text("root.assert"), self.text(medium));
        let base = ["fetch-store", "AcmeStore", "--auth", &login, "--trust", &root];
        let keys = [self.acme.model_key(), self.acme.serial_key()];
        let keys = ["--key", keys[0].public().id(), "--key", keys[1].public().id()];
        self.connected(&[&base[..], &keys, &["--export-dir", &out, "--for", told], more].concat())
    }

    /// Brings a parcel, made from a new receipt, into the site.
    fn deliver(&self, medium: &str) -> String {
        let receipt = self.receipt(&format!("{medium}.receipt"));
        let _ = self.fetch(&receipt, medium, &[]).ok();
        self.site.proxy(&["push-parcel", &self.text(medium)]).ok()
    }

    /// The files of a medium.
    fn medium(&self, name: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at(name)).expect("something was written").flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        found.sort();
        found
    }

    /// The manifest of a medium.
    fn manifest(&self, medium: &str) -> PathBuf {
        let is_manifest = |path: &PathBuf| path.extension().is_some_and(|end| end == "parcel");
        self.medium(medium).into_iter().find(is_manifest).expect("a manifest")
    }

    /// The bytes of a medium.
    fn size(&self, medium: &str) -> u64 {
        self.medium(medium).iter().map(|path| fs::metadata(path).expect("a file").len()).sum()
    }

    fn device(&self, store: &Server) -> Device {
        let identity = self.acme.device(&self.acme.model_in("gateway", "AcmeStore"), "SN-1");
        Device::new(store, Snapd::V2_77, &identity).trusting(&self.world)
    }

    /// Everything that a device can ask of these snaps, from upstream and from the site, is the same.
    fn is_same(&self, revisions: &[&Revision]) {
        let (mut there, mut here) = (self.device(&self.upstream), self.device(&self.site));
        for revision in revisions {
            let name = &revision.snap.name;
            let outcome = here.install(name, "stable").unwrap_or_else(|why| panic!("{name}: {why:?}"));
            assert_eq!(outcome.snap.revision, revision.number, "{name}");
            assert!(here.fetch_and_check(&outcome).expect("its file") == revision.image.bytes, "{name}");
            assert_eq!(here.info(name).expect("an info"), there.info(name).expect("an info"), "{name}");
            for wanted in revision.assertions() {
                let texts = [&mut here, &mut there].map(|device| {
                    device.assertion(&wanted.reference()).expect("it is there").bytes().to_vec()
                });
                assert!(texts[0] == texts[1], "{}", wanted.reference());
            }
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
