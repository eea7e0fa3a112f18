//! What is refused leaves nothing behind.

use std::fs;
use std::path::Path;

use tests::server::SECRET;

use super::{Scene, Vault};

/// Another one than the tests' stores have.
const OTHER: &str = "/////////////////////////////////////////w8=";

/// Refused, with nothing left on the host; the complaint.
pub(super) fn refused(vault: &Vault, name: &str, host: &Path, args: &[&str]) -> String {
    let complaint = vault.restore(name, host, args).refused();
    assert!(!host.exists(), "{name} {args:?}: left something in {}", host.display());
    complaint
}

#[test]
fn without_or_with_another_secret() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let mut device = scene.device();
    device.ensure_session().expect("a session");
    let _ = vault.keep_open(&scene.store, "open", &[]);
    vault.keep(&scene.store, "sealed", &[]);
    let export = vault.settings("export.yaml", &scene.store.proxy(&["config", "--export-yaml"]).ok());
    let foreign = vault.settings("foreign.yaml", &format!("proxy.device-auth.secret: {OTHER}\n"));
    let beside = vault.settings("beside.yaml", "proxy.domain: 127.0.0.2\n");
    let host = vault.path("host");
    let complaint = refused(&vault, "open", &host, &[]);
    assert!(complaint.contains("without secrets") && complaint.contains("--secrets FILE"), "{complaint}");
    let complaint = refused(&vault, "open", &host, &["--secrets", &beside]);
    assert!(complaint.contains("without secrets"), "{complaint}");
    for name in ["open", "sealed"] {
        let complaint = refused(&vault, name, &host, &["--secrets", &foreign]);
        assert!(complaint.contains("proxy.device-auth.secret is another one"), "{complaint}");
        assert!(!complaint.contains(SECRET) && !complaint.contains(OTHER), "{complaint}");
    }
    let rebuilt = vault.rebuild("open", "host", &["--secrets", &export]);
    device.move_to(&rebuilt);
    super::bound(&device).info("hello").expect("with its own secret sessions go on");
}

#[test]
fn hosts_in_use() {
    let (scene, vault) = (Scene::new(), Vault::new());
    vault.keep(&scene.store, "sealed", &[]);
    let inventory = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|entry| (entry.file_name(), entry.metadata().map(|meta| meta.len()).ok()))
            .collect();
        names.sort();
        names
    };
    let before = inventory(&scene.store.data_dir);
    let complaint = vault.restore("sealed", &scene.store.data_dir, &[]).refused();
    assert!(complaint.contains("airlock.db") && complaint.contains("empty data directory"), "{complaint}");
    assert_eq!(inventory(&scene.store.data_dir), before);

    let host = vault.path("host");
    fs::create_dir(&host).expect("it can be made");
    fs::write(host.join("airlock.yaml"), "").expect("it can be written");
    assert!(vault.restore("sealed", &host, &[]).refused().contains("it holds airlock.yaml already"));
    assert_eq!(inventory(&host).len(), 1);
    fs::remove_file(host.join("airlock.yaml")).expect("it can be removed");
    let _ = vault.restore("sealed", &host, &[]).ok();
}
