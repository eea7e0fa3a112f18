//! The trip across: fetched from one store by the connected side, pushed into another, installed by a device there.

mod clients;
mod faults;
mod logins;
mod trip;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::server::{Ran, Server, proxy};
use tests::world::World;

/// The connected host: a configuration, a folder for bundles, the root of the test's world.
struct Connected {
    folder: TempDir,
}

impl Connected {
    /// A host that fetches from this URL.
    fn to(url: &str, world: &World) -> Self {
        let host = Self { folder: TempDir::new().expect("there is room for temporary files") };
        fs::write(host.path("root.assert"), world.anchors()).expect("a file");
        let locations = ["proxy.upstream", "proxy.dashboard.location", "proxy.sso.location"]
            .map(|key| format!("{key}={url}"));
        let mut args = vec!["config"];
        args.extend(locations.iter().map(String::as_str));
        let _ = host.proxy(&args).ok();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("a file");
        self.text(name)
    }

    fn proxy(&self, args: &[&str]) -> Ran {
        proxy(&self.path("data"), args)
    }

    /// `fetch-snaps` into the folder `out`.
    fn fetch(&self, args: &[&str]) -> Ran {
        let (out, root) = (self.text("out"), self.text("root.assert"));
        let fixed = ["fetch-snaps", "--export-dir", &out, "--trust", &root];
        self.proxy(&[&fixed[..], args].concat())
    }

    /// The bundles that are there, and nothing else than parts.
    fn bundles(&self) -> Vec<PathBuf> {
        let mut bundles: Vec<PathBuf> = fs::read_dir(self.path("out"))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.file_name().is_some_and(|name| name != ".airlock-parts"))
            .collect();
        bundles.sort();
        assert!(bundles.iter().all(|path| path.to_string_lossy().ends_with(".tar.gz")), "{bundles:?}");
        bundles
    }

    /// The lengths of unfinished downloads.
    fn parts(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.path("out/.airlock-parts")).into_iter().flatten().flatten();
        let parts = entries.filter(|entry| entry.file_name() != "lock");
        parts.map(|entry| entry.metadata().expect("a file").len()).collect()
    }
}

/// Pushes everything into a store.
fn push_all(store: &Server, bundles: &[PathBuf]) {
    for bundle in bundles {
        let _ = store.proxy(&["push-snap", text(bundle)]).ok();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
