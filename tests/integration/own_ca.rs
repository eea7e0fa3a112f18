//! The store's own authority over the years: its server's certificate is renewed in time, and the authority itself replaced.

use std::fs;
use std::time::Duration;

use tests::attack::until;
use tests::http::{Connection, Request};
use tests::server::{Server, Setup};

const DAY: i64 = 86_400;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn with_authority(days: &str) -> Server {
    let store = Setup::default().config("proxy.port.https", "0").start();
    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server", "--days", days]).ok();
    store
}

fn certificate(store: &Server) -> String {
    store.proxy(&["config", "proxy.tls.cert"]).ok()
}

/// Does a device that trusts this get an answer?
fn is_trusted(store: &Server, root: &str) -> bool {
    let address = store.https().expect("HTTPS is on");
    let asked = Connection::open_tls(address, root)
        .and_then(|mut connection| connection.exchange(&Request::new("GET", "/", "localhost")));
    asked.is_ok_and(|answer| answer.status == 200)
}

#[test]
fn its_certificate_is_renewed_in_its_last_third() {
    let store = with_authority("30");
    let (first, root) = (certificate(&store), store.proxy(&["ca", "show"]).ok());
    assert!(store.proxy(&["ca", "renew"]).ok().contains("Nothing to renew"));
    // The job has looked, and left alone what is good for long.
    let store = store.stop().start_with_clock(15 * DAY);
    let looked = || store.status().jobs.iter().any(|job| job.name == "ca" && job.last_run.is_some());
    until("the job has looked", Duration::from_secs(30), looked);
    assert_eq!(certificate(&store), first);
    let store = store.stop().start_with_clock(22 * DAY);
    until("a new one is in use", Duration::from_secs(30), || certificate(&store) != first);
    let found = store.proxy(&["doctor", "--json"]);
    assert_eq!(found.code, Some(0), "{}", found.stdout);
    assert!(!found.stdout.contains("certificate"), "{}", found.stdout);
    let audit = store.proxy(&["audit"]).ok();
    assert!(audit.contains("proxy.tls.cert"), "{audit}");
    assert_eq!(store.proxy(&["ca", "show"]).ok(), root);
    // Another authority's is not its own to renew.
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    assert!(store.proxy(&["ca", "renew"]).ok().contains("Nothing to renew"));
}

#[test]
fn it_is_replaced_while_devices_trust_both() {
    let store = with_authority("90");
    let first = store.proxy(&["ca", "show"]).ok();
    let refused = store.proxy(&["ca", "roll", "--finish"]).refused();
    assert!(refused.contains("ca roll` first"), "{refused}");
    let told = store.proxy(&["ca", "roll"]).ok();
    assert!(told.contains("ca roll --finish"), "{told}");
    let both = store.proxy(&["ca", "show"]).ok();
    let second = both.strip_prefix(&*first).expect("the present one comes first").to_owned();
    assert_eq!(second.matches(BEGIN).count(), 1);
    let snapd = store.proxy(&["ca", "show", "--snapd"]).ok();
    assert!(
        snapd.contains(" store-certs.airlock=\"") && snapd.contains(" store-certs.airlock-2=\""),
        "{snapd}"
    );
    let kit = store.proxy(&["device-kit"]).ok();
    for root in [&first, &second] {
        assert!(kit.contains(root.trim()), "{kit}");
    }
    assert!(is_trusted(&store, &first) && !is_trusted(&store, &second), "the present one signs on");
    assert!(store.proxy(&["ca", "roll"]).refused().contains("ca roll --finish"));

    let _ = store.proxy(&["ca", "roll", "--finish"]).ok();
    assert!(is_trusted(&store, &second) && !is_trusted(&store, &first), "the next one signs");
    assert_eq!(
        store.proxy(&["ca", "show"]).ok(),
        [&*second, &*first].concat(),
        "the former one has not ended"
    );
    assert_eq!(store.proxy(&["doctor"]).code, Some(0));
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    assert!(is_trusted(&store, &second));
}

#[test]
fn a_replacement_that_broke_off_anywhere_is_gone_on_with() {
    let store = with_authority("90");
    let ca = |name: &str| store.data_dir.join("ca").join(name);
    let finish = || store.proxy(&["ca", "roll", "--finish"]);
    let read = |name: &str| fs::read_to_string(ca(name)).expect(name);
    let untouched = |root: &str| read("ca.pem") == root && ca("next.pem").exists() && ca("next.key").exists();

    // What the store would not take changes nothing.
    let first = read("ca.pem");
    let _ = store.proxy(&["ca", "roll"]).ok();
    let _ = store.proxy(&["config", "proxy.domain=renamed.internal"]).ok();
    assert!(finish().refused().contains("ca issue-server"));
    assert!(untouched(&first));
    let _ = store.proxy(&["config", "proxy.domain=127.0.0.1"]).ok();
    let out = tempfile::tempdir().expect("there is room");
    let named = |end: &str| out.path().join(format!("127.0.0.1.{end}")).display().to_string();
    let _ = store.proxy(&["ca", "issue-server", "--out", out.path().to_str().expect("a text")]).ok();
    let files =
        [format!("proxy.tls.cert-file={}", named("pem")), format!("proxy.tls.key-file={}", named("key"))];
    let _ = store.proxy(&["config", &files[0], &files[1]]).ok();
    assert!(finish().refused().contains("proxy.tls.cert-file="));
    assert!(untouched(&first));
    let _ = store.proxy(&["config", "proxy.tls.cert-file=", "proxy.tls.key-file="]).ok();

    // The key had its new name, the certificate not yet.
    fs::copy(ca("ca.pem"), ca("former.pem")).expect("a copy");
    fs::rename(ca("next.key"), ca("ca.key")).expect("a new name");
    assert!(store.proxy(&["ca", "issue-server"]).refused().contains("ca roll --finish` again"));
    let _ = finish().ok();
    let second = read("ca.pem");
    assert!(is_trusted(&store, &second) && !is_trusted(&store, &first));

    // Both had theirs, and the former authority's certificate was in use still.
    let _ = store.proxy(&["ca", "roll"]).ok();
    fs::copy(ca("ca.pem"), ca("former.pem")).expect("a copy");
    fs::rename(ca("next.key"), ca("ca.key")).expect("a new name");
    fs::rename(ca("next.pem"), ca("ca.pem")).expect("a new name");
    assert_eq!(store.proxy(&["doctor"]).code, Some(0), "devices trust the former one");
    let _ = finish().ok();
    assert!(is_trusted(&store, &read("ca.pem")) && !is_trusted(&store, &second));
    assert!(finish().refused().contains("ca roll` first"));
}
