//! The store's own authority over the years: its server's certificate is renewed in time, and the authority itself replaced.

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
