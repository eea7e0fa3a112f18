//! A backup whose configuration names files that no backup holds.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn files_that_the_host_lacks_are_named_before_the_server_misses_them() {
    let (store, vault) = (Setup::default().config("proxy.port.https", "0").start(), Vault::new());
    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    let clients = vault.text("clients.pem");
    fs::copy(store.data_dir.join("ca/ca.pem"), &clients).expect("a copy");
    let client_ca = format!("proxy.tls.client-ca={clients}");
    let _ = store.proxy(&["config", "proxy.tls.client-auth=optional", &client_ca]).ok();
    vault.keep(&store, "store.backup", &[]);
    fs::remove_file(&clients).expect("it is there");

    let host = vault.path("host");
    for ran in [
        vault.restore("store.backup", &vault.path("other"), &["--rehearse"]),
        vault.restore("store.backup", &host, &[]),
    ] {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let named = format!("proxy.tls.client-ca names {clients}, which is not on this host");
        assert!(ran.stderr.contains(&named), "{}", ran.stderr);
        assert!(ran.stderr.contains("`proxy config proxy.tls.client-auth=off`"), "{}", ran.stderr);
    }
    for (name, mode) in [("", 0o755), ("ca.pem", 0o644), ("roots.pem", 0o644), ("ca.key", 0o600)] {
        let held = fs::metadata(host.join("ca").join(name)).expect(name).permissions().mode();
        assert_eq!(held & 0o777, mode, "{name}");
    }
    let _ = proxy(&host, &["config", "proxy.tls.client-auth=off"]).ok();
    let _ = Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
}
