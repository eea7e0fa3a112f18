//! `proxy rotate-secret proxy.auth.secret`: earlier logins stay valid through the overlap and end with it, both those
//! that read a brand store and those of operators.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use schema::api::admin::SecretRotated;
use schema::service_login::{Acl, LoginKey, ServiceLogin};
use serde_json::Value;
use tests::http::{Connection, Request};
use tests::server::{SECRET, Server};
use tests::world::World;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::remote::Desk;
use super::{Site, address};

const KEY: &str = "proxy.auth.secret";

/// A site with a brand store that grants one private snap.
fn site() -> Site {
    let site = Site::new();
    let world = World::new();
    site.store.trust(&world);
    let app = world.snap("acme-app").publisher("acme");
    site.store.push_pair(&app.revision(4), &["latest/stable"], "AcmeStore");
    site.store.push_brand(&world.brand("acme"));
    site.store.push_store("AcmeStore", "acme", &[&app]);
    site
}

/// A login of a build machine and one of an operator, made with the same key.
struct Pair {
    viewer: String,
    viewer_id: String,
    operator: &'static str,
    operator_id: String,
}

impl Pair {
    fn new(desk: &Desk<'_>, operator: &'static str) -> Self {
        let (viewer_id, viewer) = desk.site.store.login("AcmeStore", "package_access");
        let (operator_id, token) = desk.site.store.site_login("admin:read");
        fs::write(desk.path(operator), token).expect("there is room");
        Self { viewer, viewer_id, operator, operator_id }
    }

    /// Whether both work. They always agree.
    fn works(&self, desk: &Desk<'_>) -> bool {
        let read = reads(https(&desk.site.store), &desk.site.ca, &self.viewer);
        let asked = desk.proxy(self.operator, &["list-stores"]);
        assert_eq!(read, asked.code == Some(0), "{}: {asked:?}", self.operator);
        if !read {
            assert!(asked.refused().contains("needs a service login"));
        }
        read
    }

    /// What `list-logins` says of both: state and key.
    fn listed(&self, store: &Server) -> (String, String) {
        let all = store.proxy(&["list-logins", "--json"]).json();
        let one = |id: &str| {
            let found = all["logins"].as_array().expect("a list").iter().find(|login| login["id"] == id);
            let text = |name: &str| found.expect("it is listed")[name].as_str().expect("a text").to_owned();
            (text("state"), text("key"))
        };
        assert_eq!(one(&self.viewer_id), one(&self.operator_id));
        one(&self.viewer_id)
    }
}

fn https(store: &Server) -> SocketAddr {
    let listening = store.status().listening;
    listening.iter().find_map(|at| at.strip_prefix("https://")?.parse().ok()).expect("an HTTPS port")
}

/// Does this login see the brand store's snap?
fn reads(https: SocketAddr, ca: &str, token: &str) -> bool {
    let info = Request::new("GET", "/v2/snaps/info/acme-app?fields=revision", "store")
        .header("Snap-Device-Series", "16")
        .header("Authorization", &format!("Macaroon {token}"));
    let answer = Connection::open_tls(https, ca).and_then(|mut port| port.exchange(&info));
    match answer.expect("an answer").status {
        200 => true,
        404 => false,
        other => panic!("neither seen nor unseen: {other}"),
    }
}

fn rotate(store: &Server, keep: &str) -> SecretRotated {
    let report = store.proxy(&["rotate-secret", KEY, "--keep-old", keep, "--json"]).json();
    serde_json::from_value(report).expect("a report")
}

fn restarted(site: Site) -> Site {
    let store = site.store.stop().start();
    let address = address(&store).expect("the admin API is open");
    Site { store, ca: site.ca, address }
}

#[test]
fn logins_of_three_secrets_work_until_all_are_voided() {
    let mut site = site();
    let (first, second, secrets);
    let folder = {
        let desk = Desk::new(&site);
        first = Pair::new(&desk, "first");
        let report = rotate(&site.store, "30d");
        assert_eq!((report.secret.as_str(), report.old_keys.len()), (KEY, 1));
        assert_eq!(first.listed(&site.store), ("valid".to_owned(), report.old_keys[0].id.clone()));
        second = Pair::new(&desk, "second");
        assert_eq!(second.listed(&site.store), ("valid".to_owned(), report.in_force.clone()));
        assert!(first.works(&desk) && second.works(&desk), "during the overlap");

        // The old secret creates no login beyond those it created.
        let forged = ServiceLogin {
            id: second.viewer_id.clone(),
            store: Some("AcmeStore".parse().expect("a store")),
            acls: [Acl::PackageAccess].into(),
            expires: 4_102_444_800,
        };
        let own = LoginKey::new(&std::array::from_fn(|index| index as u8));
        assert_eq!(own.id(), report.old_keys[0].id);
        let forged = forged.mint(&own).expect("a time that can be written");
        assert!(!reads(https(&site.store), &site.ca, &forged));

        let again = rotate(&site.store, "12h");
        let ids: Vec<&str> = again.old_keys.iter().map(|old| old.id.as_str()).collect();
        assert_eq!(ids, [&*report.old_keys[0].id, &*report.in_force]);
        let status = site.store.status();
        assert_eq!(
            (status.login_key.as_ref(), &status.old_login_keys),
            (Some(&again.in_force), &again.old_keys)
        );
        assert!(status.old_session_keys.is_empty(), "sessions have a secret of their own");
        let told = site.store.proxy(&["status"]).stdout;
        let of_old = again.old_keys.iter().map(|old| format!("  {}: accepted until {}\n", old.id, old.until));
        let section: String =
            [format!("Login Keys:\n  {}: signs\n", again.in_force)].into_iter().chain(of_old).collect();
        assert!(told.contains(&section), "{section} in {told}");

        // What is written down shows who did it, and no secret.
        let dump = site.store.proxy(&["config"]).ok();
        assert!(dump.contains("proxy.auth.old-secrets: <redacted>\n"), "{dump}");
        secrets = [SECRET.to_owned(), site.store.proxy(&["config", KEY]).ok().trim().to_owned()];
        let audit = site.store.proxy(&["audit", "--json"]).ok();
        assert!(audit.contains("proxy.auth.old-secrets, proxy.auth.secret"), "{audit}");
        for text in [&told, &dump, &audit, &site.store.log()] {
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
        }
        desk.folder
    };

    site = restarted(site);
    let desk = Desk { site: &site, folder };
    let third = Pair::new(&desk, "third");
    assert!(first.works(&desk) && second.works(&desk) && third.works(&desk), "after a restart");

    // A leak: at once, and all of them.
    let ran = site.store.proxy(&["rotate-secret", KEY, "--keep-old", "0s"]).ok();
    assert!(ran.contains("No other key is accepted any more"), "{ran}");
    for pair in [&first, &second, &third] {
        assert!(!pair.works(&desk), "{}", pair.operator);
        assert_eq!(pair.listed(&site.store).0, "void");
    }
    assert!(site.store.status().old_login_keys.is_empty());
    assert!(Pair::new(&desk, "fourth").works(&desk));
    let kept = site.store.proxy(&["config", "proxy.auth.old-secrets"]).ok();
    assert_eq!((kept.matches("until").count(), kept.contains(SECRET)), (1, false), "the oldest is forgotten");
}

#[test]
fn a_login_of_before_ends_with_the_overlap() {
    let site = site();
    let desk = Desk::new(&site);
    let old = Pair::new(&desk, "old");
    let report = rotate(&site.store, "3s");
    let new = Pair::new(&desk, "new");
    let (port, begun) = (https(&site.store), Instant::now());
    let mut served = 0;
    while reads(port, &site.ca, &old.viewer) {
        served += 1;
        assert!(begun.elapsed() < Duration::from_secs(20), "it is still accepted");
    }
    let until = OffsetDateTime::parse(&report.old_keys[0].until, &Rfc3339).expect("a time");
    assert!(served > 0 && OffsetDateTime::now_utc() >= until, "refused before {until}");
    assert!(!old.works(&desk) && new.works(&desk));
    assert_eq!((old.listed(&site.store).0, new.listed(&site.store).0), ("void".into(), "valid".into()));
    assert!(site.store.status().old_login_keys.is_empty());
}

#[test]
fn what_cannot_be_rotated_is_told() {
    let site = Site::new();
    let ran = site.store.proxy(&["rotate-secret", "proxy.key.private", "--keep-old", "1d"]);
    let named = ["proxy.auth.secret", "proxy.device-auth.secret"];
    assert!(ran.code == Some(2) && named.iter().all(|key| ran.stderr.contains(key)), "{ran:?}");
    let (_, token) = site.store.site_login("admin");
    let ask = |key: &str| -> Value {
        let wanted = serde_json::json!({"key": key, "keep-old-seconds": 3600}).to_string();
        let request = Request::new("POST", "/v1/secrets/rotate", "store")
            .header("Authorization", &format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(wanted.as_bytes());
        site.open().exchange(&request).expect("an answer").json()
    };
    let refused = ask("proxy.key.private")["message"].as_str().expect("a message").to_owned();
    assert!(named.iter().all(|key| refused.contains(key)), "{refused}");
    for _ in 0..8 {
        assert_eq!(ask(KEY)["secret"], KEY);
    }
    let before = site.store.status();
    let refused = site.store.proxy(&["rotate-secret", KEY, "--keep-old", "1d"]).refused();
    assert!(refused.contains("8 earlier secrets") && refused.contains("--keep-old 0s"), "{refused}");
    assert_eq!(site.store.status().login_key, before.login_key);
    // The other secret has its own eight, and a leak is never made to wait.
    let _ = site.store.proxy(&["rotate-secret", "proxy.device-auth.secret", "--keep-old", "1d"]).ok();
    assert!(rotate(&site.store, "0s").old_keys.is_empty());
}

/// Their records name no key: any accepted one opens them, through a rotation and until the secret is void.
#[test]
fn logins_of_before_there_were_ids_go_on() {
    let site = site();
    let (id, token) = site.store.login("AcmeStore", "package_access");
    let stopped = site.store.stop();
    let database = rusqlite::Connection::open(stopped.data_dir.join("airlock.db")).expect("the database");
    let changed = database.execute(
        "UPDATE meta SET value = json_remove(value, '$.key') WHERE name = 'login.' || ?1 AND value LIKE '%\"key\"%'",
        [&id],
    );
    assert_eq!(changed, Ok(1));
    drop(database);
    let store = stopped.start();
    assert!(reads(https(&store), &site.ca, &token));
    let _ = rotate(&store, "1d");
    assert!(reads(https(&store), &site.ca, &token));
    assert!(rotate(&store, "0s").old_keys.is_empty());
    assert!(!reads(https(&store), &site.ca, &token));
}
