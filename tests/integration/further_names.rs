//! Certificates for further names of the store: which one a client sees, and that a backup carries them.

use std::process::Command;

use schema::tls::{Authority, Stamp, Usage};
use serde_json::Value;
use tests::server::{Ran, Server, Setup, program};
use time::OffsetDateTime;

/// An authority of one site, and when it signs.
struct Site {
    authority: Authority,
    at: OffsetDateTime,
}

impl Site {
    /// Whose certificates are as many days old, and last for 300.
    fn new(number: u8, days: i64) -> Self {
        let at = OffsetDateTime::now_utc() - time::Duration::days(days);
        let stamp = Stamp { now: at, serial: [number; 16] };
        Self { authority: Authority::create(&format!("Site {number}"), stamp).expect("an authority"), at }
    }

    /// A certificate with its key, for some names.
    fn issue(&self, names: &[&str], serial: u8) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let stamp = Stamp { now: self.at, serial: [serial; 16] };
        let issued = self.authority.issue(Usage::Server(&names), 300, stamp).expect("a certificate");
        issued.cert_pem + &issued.key_pem
    }
}

fn import(store: &Server, pem: &str, more: &[&str]) -> Ran {
    store.with_file("pair.pem", pem.as_bytes(), |path| {
        store.proxy(&[&["import-certificate", path], more].concat())
    })
}

/// Whether a client that trusts this site alone is served under a name.
fn serves(store: &Server, name: &str, site: &Site) -> bool {
    let listening = store.status().listening;
    let port = listening.iter().find_map(|at| at.strip_prefix("https://")?.rsplit(':').next());
    let port = port.expect("HTTPS is on");
    store.with_file("root.pem", site.authority.cert_pem().as_bytes(), |root| {
        let (url, resolve) =
            (format!("https://{name}:{port}/_status/check"), format!("{name}:{port}:127.0.0.1"));
        let args = ["-sS", "--fail", "--cacert", root, "--resolve", &resolve, &url];
        let ran: Ran = Command::new("curl").args(args).output().expect("curl is installed").into();
        ran.code == Some(0)
    })
}

#[test]
fn a_client_sees_the_certificate_of_the_name_that_it_asks_for() {
    let (own, old) = (Site::new(1, 0), Site::new(2, 0));
    let store = Setup::default().config("proxy.port.https", "0").config("proxy.domain", "store.test").start();
    let first = import(&store, &old.issue(&["old.test"], 3), &["--further"]).refused();
    assert!(
        first.contains("the store has no certificate yet: `proxy import-certificate FILE...`"),
        "{first}"
    );
    let _ = import(&store, &own.issue(&["store.test", "shared.test"], 4), &[]).ok();
    assert!(serves(&store, "store.test", &own) && !serves(&store, "old.test", &old));

    let told =
        import(&store, &old.issue(&["old.test", "*.ship.test", "shared.test"], 5), &["--further"]).ok();
    assert!(told.contains("for old.test, *.ship.test, shared.test"), "{told}");
    for (name, site) in
        [("store.test", &own), ("shared.test", &own), ("old.test", &old), ("deck.ship.test", &old)]
    {
        assert!(serves(&store, name, site), "{name}");
    }
    assert!(!serves(&store, "a.deck.ship.test", &old), "a wildcard covers one label");
    let status = store.proxy(&["status"]).stdout;
    assert!(
        status.contains("Further certificate: for old.test, *.ship.test, shared.test, valid until"),
        "{status}"
    );

    // The same names again are a renewal.
    let renewed = Site::new(6, 0);
    let again = renewed.issue(&["shared.test", "old.test", "*.ship.test"], 7);
    let _ = import(&store, &again, &["--further"]).ok();
    assert!(serves(&store, "old.test", &renewed) && !serves(&store, "old.test", &old));

    // A newer one for one of its names comes before it.
    let newer = Site::new(8, 0);
    let _ = import(&store, &newer.issue(&["old.test"], 9), &["--further"]).ok();
    assert!(serves(&store, "old.test", &newer) && serves(&store, "deck.ship.test", &renewed));
    let useless = import(&store, &old.issue(&["store.test"], 10), &["--further"]).refused();
    assert!(useless.contains("the store's own certificate covers all its names"), "{useless}");

    // A backup carries it, and its key is a secret.
    let backup = store.proxy(&["config", "--export-yaml"]).ok();
    assert!(!store.proxy(&["config"]).ok().contains("BEGIN PRIVATE KEY"));
    let shown = store.proxy(&["config", "--history", "proxy.tls.further"]).ok();
    assert!(!shown.contains("BEGIN PRIVATE KEY"), "{shown}");
    let folder = tempfile::tempdir().expect("there is room");
    let host = folder.path().join("host");
    let imported = store.with_file("backup.yaml", backup.as_bytes(), |path| {
        let mut proxy = Command::new(program("proxy"));
        let _ = proxy.arg("--data-dir").arg(&host).args(["config", "--import-yaml", path]);
        Ran::from(proxy.output().expect("proxy can be started"))
    });
    let _ = imported.ok();
    let rebuilt = Setup::empty().start_at(&host).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(serves(&rebuilt, "old.test", &newer) && serves(&rebuilt, "store.test", &own));

    let unknown = store.proxy(&["import-certificate", "--forget", "other.test"]).refused();
    assert!(
        unknown.contains("no further certificate is for other.test: `proxy status` lists them"),
        "{unknown}"
    );
    let told = store.proxy(&["import-certificate", "--forget", "OLD.test"]).ok();
    assert!(
        told.contains(" for old.test, valid to ") && told.contains("for shared.test, old.test, "),
        "{told}"
    );
    assert!(!serves(&store, "deck.ship.test", &renewed) && !serves(&store, "old.test", &newer));
    assert!(serves(&store, "store.test", &own));
}

#[test]
fn what_nobody_could_use_is_refused_and_what_ends_is_told() {
    let (own, old) = (Site::new(1, 0), Site::new(2, 290));
    let store = Setup::default().config("proxy.port.https", "0").start();
    let _ = import(&store, &own.issue(&["127.0.0.1"], 3), &[]).ok();
    let certificate = own.issue(&["old.test"], 4);
    let key = old.issue(&["old.test"], 5);
    let crossed = certificate.split_once("-----BEGIN PRIVATE").expect("a key").0.to_owned()
        + &key[key.find("-----BEGIN PRIVATE").expect("a key")..];
    let refused = import(&store, &crossed, &["--further"]).refused();
    assert!(refused.contains("does not belong to"), "{refused}");
    let wrong = store.proxy(&["config", "proxy.tls.further=-----BEGIN X-----\n-----END X-----\n"]).refused();
    assert!(wrong.contains("proxy.tls.further cannot be used"), "{wrong}");
    assert_eq!(store.proxy(&["config", "proxy.tls.further"]).ok().trim(), "");

    let _ = import(&store, &old.issue(&["old.test"], 6), &["--further"]).ok();
    let status: Value = serde_json::from_str(&store.proxy(&["status", "--json"]).stdout).expect("JSON");
    let told = status["problems"].to_string() + &status["tls"].to_string();
    assert!(told.contains("The certificate for old.test expires"), "{told}");
    assert!(told.contains("import-certificate --further"), "{told}");
}
