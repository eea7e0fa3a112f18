//! Certificate files that another program renews: what it writes is served, what is no good pair changes nothing, and no
//! request is lost meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use schema::tls::{Authority, Stamp, Usage};
use tests::attack::size;
use tests::http::{Connection, Request};
use tests::server::{Server, Setup};
use time::OffsetDateTime;

/// How often the files are replaced under load: in an ordinary run, and at full size.
const SWAPS: (usize, usize) = (6, 50);

/// An authority, and a certificate of it for this host.
struct Issuer {
    ca: String,
    cert: String,
    key: String,
}

impl Issuer {
    fn new(number: u8, now: OffsetDateTime) -> Self {
        let stamp =
            |kind: u8| Stamp { now, serial: [kind, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] };
        let authority = Authority::create(&format!("issuer {number}"), stamp(1)).expect("an authority");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issued = authority.issue(Usage::Server(&names), 30, stamp(2)).expect("a certificate");
        Self {
            ca: authority.cert_pem().to_owned(),
            cert: issued.cert_pem,
            key: issued.key_pem.as_str().to_owned(),
        }
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("cert.pem"), &self.cert).expect("there is room");
        fs::write(folder.join("key.pem"), &self.key).expect("there is room");
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn https(store: &Server) -> SocketAddr {
    let listening = store.status().listening;
    let port =
        listening.iter().find_map(|url| url.strip_prefix("https://")?.rsplit(':').next()?.parse().ok());
    SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("{listening:?}"))))
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Sets both files; what the command said.
fn follow(store: &Server, folder: &Path) -> tests::server::Ran {
    let setting = |key: &str, file: &str| format!("proxy.tls.{key}-file={}", folder.join(file).display());
    store.proxy(&["config", &setting("cert", "cert.pem"), &setting("key", "key.pem")])
}

/// Is the certificate of this issuer the one that is shown?
fn shows(address: SocketAddr, issuer: &Issuer) -> bool {
    let Ok(mut connection) = Connection::open_tls(address, &issuer.ca) else { return false };
    connection.exchange(&Request::new("GET", "/", "localhost")).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn replaced_files_are_served_and_a_bad_pair_changes_nothing() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = Setup::default().config("proxy.port.https", "0").start();
    let refused = follow(&store, folder.path()).refused();
    assert!(refused.contains("cert.pem") && refused.contains("No such file"), "{refused}");
    let issuers: Vec<Issuer> = (1..=3).map(|number| Issuer::new(number, now())).collect();
    issuers[0].write(folder.path());
    fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o644)).expect("own file");
    let told = follow(&store, folder.path());
    assert!(
        told.stderr.contains("can be read by everybody on this host (mode 0644): run `chmod o= "),
        "{told:?}"
    );
    let address = https(&store);
    assert!(shows(address, &issuers[0]));

    // The certificate is there before its key.
    fs::write(folder.path().join("cert.pem"), &issuers[1].cert).expect("there is room");
    wait_for("what is no pair is told", || {
        store.proxy(&["status"]).stdout.contains("cannot take the certificate")
    });
    let found = store.proxy(&["doctor", "--json"]).stdout;
    assert!(found.contains("certificate-files-not-taken"), "{found}");
    assert!(shows(address, &issuers[0]) && !shows(address, &issuers[1]));
    fs::write(folder.path().join("key.pem"), &issuers[1].key).expect("there is room");
    wait_for("the new pair is shown", || shows(address, &issuers[1]));
    wait_for("all is well", || !store.proxy(&["status"]).stdout.contains("cannot take the certificate"));

    // One that devices would refuse.
    Issuer::new(9, now() - time::Duration::days(300)).write(folder.path());
    wait_for("what has expired is told", || store.proxy(&["status"]).stdout.contains("has expired"));
    assert!(shows(address, &issuers[1]));
    // It comes from the files, and from nowhere else.
    let both = [&*issuers[2].cert, &*issuers[2].key].concat();
    let import = |store: &Server| {
        store.with_file("other.pem", both.as_bytes(), |path| store.proxy(&["import-certificate", path]))
    };
    let refused = import(&store).refused();
    assert!(refused.contains("proxy config proxy.tls.cert-file= proxy.tls.key-file="), "{refused}");
    // Other settings can be changed meanwhile.
    let _ = store.proxy(&["config", "proxy.verify.rate=7"]).ok();
    // It outlives the server, and files that are gone.
    fs::remove_file(folder.path().join("key.pem")).expect("it was there");
    let store = store.stop().start_as_it_was();
    assert!(shows(https(&store), &issuers[1]));
    let _ = store.proxy(&["config", "proxy.tls.cert-file=", "proxy.tls.key-file="]).ok();
    assert!(shows(https(&store), &issuers[1]));
    let _ = import(&store).ok();
    assert!(shows(https(&store), &issuers[2]));
    let half = store.proxy(&["config", "proxy.tls.cert-file=/tls/cert.pem"]).refused();
    assert!(half.contains("belong together"), "{half}");
}

#[test]
fn no_request_is_lost_while_files_are_replaced() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = Setup::default().config("proxy.port.https", "0").start();
    let issuers: Vec<Issuer> = (1..=2).map(|number| Issuer::new(number, now())).collect();
    issuers[0].write(folder.path());
    let _ = follow(&store, folder.path()).ok();
    let (address, both) = (https(&store), [&*issuers[0].ca, &*issuers[1].ca].concat());
    let swaps = size(SWAPS.0, SWAPS.1);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut connection = Connection::open_tls(address, &both).expect("a connection");
                    let answer = connection.exchange(&Request::new("GET", "/", "localhost"));
                    assert_eq!(answer.expect("an answer").status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 1..=swaps {
            // A request that began before the swap is answered after it.
            let mut before = Connection::open_tls(address, &both).expect("a connection");
            before.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n").expect("half a request");
            let issuer = &issuers[swap % 2];
            issuer.write(folder.path());
            wait_for("the replaced files are shown", || shows(address, issuer));
            before.send(b"\r\n").expect("the other half");
            assert_eq!(before.receive(false, usize::MAX).expect("an answer").status, 200);
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{swaps} swaps, {} requests answered, none lost", answered.load(Ordering::Relaxed));
    let log = store.proxy(&["audit"]).ok();
    assert!(log.matches("certificate files").count() >= swaps, "{log}");
}

#[test]
fn a_certificate_comes_from_files_or_from_acme() {
    let folder = tempfile::tempdir().expect("there is room");
    Issuer::new(1, now()).write(folder.path());
    let store = Setup::default().config("proxy.port.https", "0").start();
    let [cert, key] = ["cert", "key"]
        .map(|name| format!("proxy.tls.{name}-file={}", folder.path().join(format!("{name}.pem")).display()));
    let _ = store.proxy(&["config", &cert, &key]).ok();
    let directory = "https://ca.internal/acme/directory";
    let refused = store.proxy(&["acme", "enable", "--directory", directory]).refused();
    assert!(
        refused.contains("`proxy acme disable`") && refused.contains("proxy.tls.cert-file="),
        "{refused}"
    );
    assert_eq!(store.proxy(&["config", "proxy.acme.directory"]).ok().trim(), "");
    let _ = store.proxy(&["config", "proxy.tls.cert-file=", "proxy.tls.key-file="]).ok();
    let _ = store.proxy(&["config", &format!("proxy.acme.directory={directory}")]).ok();
    assert!(store.proxy(&["config", &cert, &key]).refused().contains("`proxy acme disable`"));
}
