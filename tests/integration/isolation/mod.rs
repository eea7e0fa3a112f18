//! Who sees what: every principal, every route, both header families, every claim a request can make.
//!
//! The rows are generated from the server's own list of routes, so a route without a row fails. What a principal may not
//! see must be answered exactly like what never existed, byte for byte (hazards D1 to D5 and D8).

mod cache;
mod look_alikes;
mod principals;
mod quarantine;
mod routes;
mod timing;
mod views;

use std::collections::BTreeSet;
use std::process::Command;

use tests::device::Dialect;
use tests::http::{Connection, Request, Response};
use tests::server::program;

use self::principals::{Credential, Principal, Town};
use self::routes::{Audience, Row, Subject};

/// Stores that a request may claim in its headers.
const CLAIMS: [Option<&str>; 4] = [None, Some("AcmeStore"), Some("BoltStore"), Some("ubuntu")];

/// The routes as the server lists them.
fn listed_routes() -> BTreeSet<String> {
    let output =
        Command::new(program("proxyd")).arg("--print-routes").output().expect("proxyd can be started");
    let listing = String::from_utf8(output.stdout).expect("a listing is text");
    listing.lines().map(str::to_owned).collect()
}

#[test]
fn every_route_has_a_row() {
    let rows: BTreeSet<String> = routes::rows().iter().map(|row| row.route.to_owned()).collect();
    let listed = listed_routes();
    assert!(listed.len() > 10, "{listed:?}");
    let without: Vec<_> = listed.difference(&rows).collect();
    assert!(without.is_empty(), "routes that nobody checks for isolation: {without:?}");
    let gone: Vec<_> = rows.difference(&listed).collect();
    assert!(gone.is_empty(), "rows for routes that are gone: {gone:?}");
}

#[test]
fn nobody_sees_what_is_not_theirs() {
    let town = Town::new();
    let mut checks = 0;
    for principal in &town.principals {
        let mut connection = Connection::open(town.store.address).expect("the store listens");
        for row in routes::rows() {
            for (subject, dialect, claim) in combinations(&town.subjects) {
                for request in (row.requests)(subject, town.store.host()) {
                    let ask = |mut request: Request, connection: &mut Connection| {
                        principal.sign(&mut request, dialect);
                        claim_store(&mut request, dialect, claim);
                        exchange(connection, &town, &request)
                    };
                    let response = ask(request.clone(), &mut connection);
                    let place = format!(
                        "{} asks {} {} for {} claiming {claim:?}",
                        principal.name, request.method, request.target, subject.name
                    );
                    if row.scoped && principal.is_out_of_place(claim) {
                        assert_eq!(response.status, 403, "{place}: {response:?}");
                    }
                    let expected = match row.audience {
                        _ if principal.is_out_of_place(claim) => false,
                        Audience::Anybody => principal.sees(subject),
                        Audience::Administrators => {
                            principal.administers(&request) && subject.is_listed(&request)
                        }
                        Audience::Overriders => principal.overrides(),
                    };
                    check(&row, principal, subject, &response, (expected, &place));
                    // A search for a name that begins another one rightly finds that one.
                    let found_by_others = request.target.starts_with("/v2/snaps/find")
                        && town
                            .subjects
                            .iter()
                            .any(|one| principal.sees(one) && one.name.contains(&subject.name));
                    if row.scoped && principal.credential == Credential::Good && !expected && !found_by_others
                    {
                        // The same question about what never existed.
                        let ghost = subject.ghost();
                        let asked = rename(&request, subject, &ghost);
                        let nothing = ask(asked, &mut connection);
                        let (ours, theirs) = (plain(&response, subject), plain(&nothing, &ghost));
                        // A list that names neither is the same as it is; blanking one name could break another.
                        if response.body != nothing.body || response.status != nothing.status {
                            assert_eq!(ours, theirs, "{place}: told apart from what never existed");
                        }
                        checks += 1;
                    }
                    checks += 1;
                }
            }
        }
    }
    println!("{checks} isolation checks");
    assert!(checks >= 5000, "{checks}");
}

fn combinations(subjects: &[Subject]) -> impl Iterator<Item = (&Subject, Dialect, Option<&'static str>)> {
    subjects.iter().flat_map(|subject| {
        Dialect::ALL
            .into_iter()
            .flat_map(move |dialect| CLAIMS.into_iter().map(move |claim| (subject, dialect, claim)))
    })
}

fn claim_store(request: &mut Request, dialect: Dialect, claim: Option<&str>) {
    let name = match dialect {
        Dialect::V2 => "Snap-Device-Store",
        Dialect::V1 => "X-Ubuntu-Store",
    };
    if let Some(store) = claim {
        *request = request.clone().header(name, store);
    }
}

/// Asks over a connection that is kept; the store may have closed it after an error.
fn exchange(connection: &mut Connection, town: &Town, request: &Request) -> Response {
    if let Ok(response) = connection.exchange(request) {
        return response;
    }
    *connection = Connection::open(town.store.address).expect("the store listens");
    connection.exchange(request).unwrap_or_else(|error| panic!("no answer to {request:?}: {error}"))
}

fn check(
    row: &Row,
    principal: &Principal,
    subject: &Subject,
    response: &Response,
    (expected, place): (bool, &str),
) {
    assert!(response.status < 500, "{place}: {response:?}");
    let of_people = row.audience == Audience::Overriders;
    assert!(!(of_people && tests::device::asks_for_renewal(response)), "{place}: {response:?}");
    if row.scoped && !of_people {
        match principal.credential {
            Credential::Good => {}
            Credential::Void => {
                assert!(tests::device::asks_for_renewal(response), "{place}: {response:?}");
                return;
            }
            Credential::Blocked => {
                assert!(matches!(response.status, 401 | 403), "{place}: {response:?}");
                return;
            }
        }
    }
    if row.scoped {
        let private = response.header("Cache-Control").unwrap_or_default();
        assert!(
            private.contains("private") || private.contains("no-store"),
            "{place}: may be cached: {response:?}"
        );
    }
    let shown = (row.shows)(subject, response);
    let expected = row.scoped && principal.credential == Credential::Good && expected;
    assert_eq!(shown, expected, "{place}: {response:?}");
}

/// The request with every name of a subject replaced.
fn rename(request: &Request, from: &Subject, to: &Subject) -> Request {
    let mut renamed = request.clone();
    renamed.target = from.replaced_in(&request.target, to);
    renamed.body = from.replaced_in(&String::from_utf8_lossy(&request.body), to).into_bytes();
    renamed
}

/// All that a device could tell answers apart by, without what names the question.
fn plain(response: &Response, subject: &Subject) -> (u16, Vec<String>, String) {
    let unnamed = |text: &str| subject.replaced_in(text, &Subject::blank(subject));
    let told = |(name, value): &(String, String)| {
        let own = ["date", "x-oops-id"].contains(&name.to_ascii_lowercase().as_str());
        (!own).then(|| format!("{name}: {}", unnamed(value)))
    };
    (response.status, response.headers.iter().filter_map(told).collect(), unnamed(&response.text()))
}
