//! Names that look alike, and methods that no route has: nothing of a store answers to them (D1, D2, D5).

use tests::device::Dialect;
use tests::http::Connection;

use super::principals::Town;
use super::routes;
use super::{exchange, plain, rename};

/// Ways to write a name that a pattern, a careless comparison or a decoder would take for it.
fn look_alikes(name: &str) -> Vec<String> {
    let (first, rest) = name.split_at(1);
    let short = &name[..name.len() - 1];
    vec![
        name.to_uppercase(),
        format!("{}{rest}", first.to_uppercase()),
        short.to_owned(),
        format!("{name}x"),
        format!("{short}%25"),
        format!("{short}_"),
        format!("{short}*"),
        format!("{short}%3F"),
        format!("{short}."),
        format!("{first}%25"),
        "%25".to_owned(),
        "*".to_owned(),
        ".*".to_owned(),
        "_".repeat(name.len()),
        format!("{name}%00"),
        format!("{name}%20"),
        format!("%20{name}"),
        format!("{name}%0A"),
        format!("{name}/"),
        format!("{name}/."),
        format!("./{name}"),
        format!("x/../{name}"),
        format!("{name};x"),
        format!("{name}%2C{name}"),
        format!("%EF%BB%BF{name}"),
        name.replacen('a', "%D0%B0", 1),
        name.replacen('a', "%EF%BD%81", 1),
        name.replacen('a', "%C3%A1", 1),
        format!("'{name}'"),
        format!("{name}'--"),
        format!("{name}%27%20OR%20%271%27=%271"),
    ]
}

#[test]
fn nothing_answers_to_a_name_that_only_looks_alike() {
    let town = Town::new();
    let mut connection = Connection::open(town.store.address).expect("the store listens");
    let mut checks = 0;
    let one = &town.subjects[0];
    for who in ["anonymous", "a device of acme", "a device of bolt", "a login for acme's store"] {
        let principal = town.principal(who);
        for alike in look_alikes(&one.name) {
            if alike == one.name {
                continue;
            }
            for dialect in Dialect::ALL {
                let mut targets = vec![format!("/v2/snaps/info/{alike}"), format!("/api/v2/stores/{alike}")];
                // A search finds by the beginning of a name, for those who may see it.
                if !principal.sees(one) {
                    targets.push(format!("/v2/snaps/find?name={alike}"));
                    targets.push(format!("/v2/snaps/find?q={alike}"));
                }
                for target in targets {
                    let mut request = tests::http::Request::new("GET", &target, town.store.host());
                    principal.sign(&mut request, dialect);
                    let response = exchange(&mut connection, &town, &request);
                    assert!(response.status < 500, "{who}: {target}: {response:?}");
                    let shown = response.status == 200 && response.text().contains(&one.id);
                    assert!(!shown, "{who}: {target}: {response:?}");
                    checks += 1;
                }
            }
        }
        // The ids of snaps and the digests of documents, by case and by pattern.
        let paths = [
            ("/api/v1/snaps/download/", &one.id, "_1.snap"),
            ("/v2/assertions/snap-declaration/16/", &one.id, ""),
            ("/v2/assertions/snap-revision/", &one.digest, ""),
        ];
        for (before, name, after) in paths {
            // Whoever sees a document may ask for it with a slash at the end.
            let is_alike = |alike: &&String| *alike != name && !(principal.sees(one) && alike.ends_with('/'));
            for alike in look_alikes(name).iter().filter(is_alike) {
                let mut request =
                    tests::http::Request::new("GET", &format!("{before}{alike}{after}"), town.store.host());
                principal.sign(&mut request, Dialect::V2);
                let response = exchange(&mut connection, &town, &request);
                assert!((300..500).contains(&response.status), "{who}: {}: {response:?}", request.target);
                checks += 1;
            }
        }
    }
    // Claims of a store that only look like one.
    for claim in [
        "acmestore",
        "AcmeStor",
        "AcmeStor_",
        "AcmeStor%",
        "Acme*",
        "*",
        "AcmeStore ",
        "'AcmeStore'",
        "AcmeStore,BoltStore",
    ] {
        for (who, seen) in [("anonymous", false), ("a device of acme", true), ("a device of bolt", false)] {
            let target = format!("/v2/snaps/info/{}", one.name);
            let mut request = tests::http::Request::new("GET", &target, town.store.host());
            town.principal(who).sign(&mut request, Dialect::V2);
            let request = request.header("Snap-Device-Store", claim).header("X-Ubuntu-Store", claim);
            let response = exchange(&mut connection, &town, &request);
            assert_eq!(response.status == 200, seen, "{who} claims {claim:?}: {response:?}");
            checks += 1;
        }
    }
    println!("{checks} checks with names that look alike");
}

#[test]
fn methods_that_no_route_has_tell_nothing() {
    let town = Town::new();
    let mut connection = Connection::open(town.store.address).expect("the store listens");
    let mut checks = 0;
    for who in [
        "anonymous",
        "a device of acme",
        "a device of bolt",
        "a blocked device of acme",
        "an altered session",
    ] {
        let principal = town.principal(who);
        for row in routes::rows() {
            for subject in &town.subjects {
                for request in (row.requests)(subject, town.store.host()) {
                    for method in
                        ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
                    {
                        let has = row.route.split(' ').next().is_some_and(|own| own == method);
                        let like_get = method == "HEAD" || (method == "GET" && row.route.starts_with("HEAD"));
                        if has || like_get {
                            continue;
                        }
                        let mut own = request.clone();
                        method.clone_into(&mut own.method);
                        let mut other = rename(&own, subject, &subject.ghost());
                        principal.sign(&mut own, Dialect::V2);
                        principal.sign(&mut other, Dialect::V2);
                        let response = exchange(&mut connection, &town, &own);
                        assert_eq!(response.status, 405, "{who}: {method} {}: {response:?}", own.target);
                        let ghost = exchange(&mut connection, &town, &other);
                        assert_eq!(
                            plain(&response, subject),
                            plain(&ghost, &subject.ghost()),
                            "{method} {}",
                            own.target
                        );
                        checks += 2;
                    }
                }
            }
        }
    }
    println!("{checks} checks with methods that no route has");
    assert!(checks > 5000, "{checks}");
}
