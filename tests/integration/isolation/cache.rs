//! A real cache in front of the store, shared by all: nobody gets an answer that was made for somebody else (D6).

use std::collections::BTreeSet;

use tests::device::Dialect;
use tests::http::{Connection, Request, Response};
use tests::nginx::Nginx;

use super::principals::Town;
use super::{plain, routes};

/// The statuses that a cache told of.
fn ask(proxy: &Nginx, request: &Request) -> Response {
    Connection::open(proxy.address)
        .and_then(|mut connection| connection.exchange(request))
        .unwrap_or_else(|error| panic!("no answer to {request:?}: {error}\n{}", proxy.log()))
}

/// Every question, asked by everybody through the proxy: the answers that differ from those of the store itself, and how
/// often the cache answered in its place.
fn crossed(town: &Town, proxy: &Nginx) -> (usize, usize, usize) {
    let (mut asked, mut hits) = (0, 0);
    let mut crossed = BTreeSet::new();
    // The key of a cohort holds the time.
    for row in routes::rows().into_iter().filter(|row| row.scoped && !row.route.ends_with("cohorts")) {
        for subject in &town.subjects[..3] {
            // A cache asks for whole files, whatever range it was asked for.
            let whole = |request: &Request| request.headers.iter().all(|(name, _)| name != "Range");
            for request in (row.requests)(subject, town.store.host()).into_iter().filter(whole) {
                for who in [
                    "a device of acme",
                    "a device of bolt",
                    "anonymous",
                    "a login for acme's store",
                    "a blocked device of acme",
                ] {
                    for dialect in Dialect::ALL {
                        let mut request = request.clone();
                        town.principal(who).sign(&mut request, dialect);
                        let own = town.store.send(&request);
                        let through = ask(proxy, &request);
                        hits += usize::from(through.header("X-Cache") == Some("HIT"));
                        asked += 1;
                        let bodies = [&own, &through].map(|response| plain(response, subject).2);
                        if own.status != through.status || bodies[0] != bodies[1] {
                            crossed
                                .insert(format!("{who} {dialect:?} {} {}", request.method, request.target));
                        }
                    }
                }
            }
        }
    }
    crossed.iter().take(5).for_each(|what| println!("not as from the store itself: {what}"));
    println!(
        "{asked} requests through a cache, {hits} answered by it, {} of them for somebody else",
        crossed.len()
    );
    (asked, hits, crossed.len())
}

#[test]
fn a_cache_in_front_mixes_up_nobody() {
    let town = Town::new();
    let (asked, hits, mixed) = crossed(&town, &Nginx::caching(&town.store, ""));
    assert!(asked > 200, "{asked}");
    assert_eq!((hits, mixed), (0, 0));
    // The same cache, told to overlook what the store says about its answers, does mix them up.
    let deaf = "proxy_ignore_headers Cache-Control Vary Expires Set-Cookie;";
    let (_, hits, mixed) = crossed(&town, &Nginx::caching(&town.store, deaf));
    assert!(hits > 100 && mixed > 50, "the test sees nothing: {hits} hits, {mixed} mixed up");
}
