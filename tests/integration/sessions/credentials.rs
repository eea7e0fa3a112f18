//! Every combination of credentials a request can carry, and what every refusal tells a device to do (C6, C7, C9).

use schema::session::{Session, SessionKey};
use tests::attack::{Chance, size};
use tests::device::{Device, Dialect, Snapd, asks_for_renewal};
use tests::http::{Connection, Request, Response};

use super::Scene;

/// What one header carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Own,
    Sibling,
    Void,
    Unreadable,
    /// Two sessions in one header, as a proxy would join them.
    Joined,
    /// The header twice, with the same session.
    Twice,
    /// The header twice, with two sessions.
    Both,
}

use Shown::{Both, Joined, Nothing, Own, Sibling, Twice, Unreadable, Void};

const SHOWN: [Shown; 8] = [Nothing, Own, Sibling, Void, Unreadable, Joined, Twice, Both];

/// What goes into `Authorization`.
const LOGINS: [(&str, bool); 4] =
    [("none", false), ("ours", true), ("another", false), ("a stale login of a person", false)];

struct Purse {
    own: String,
    sibling: String,
    void: String,
    login: String,
}

impl Purse {
    /// The values of a header, and what decides: the texts in order, and whether the first is a session that is good.
    fn values(&self, shown: Shown) -> Vec<String> {
        let root = |token: &str| format!("Macaroon root=\"{token}\"");
        match shown {
            Nothing => vec![],
            Own => vec![root(&self.own)],
            Sibling => vec![root(&self.sibling)],
            Void => vec![root(&self.void)],
            Unreadable => vec!["Bearer \u{fc}".to_owned()],
            Joined => vec![format!("{}, {}", root(&self.own), root(&self.sibling))],
            Twice => vec![root(&self.own), root(&self.own)],
            Both => vec![root(&self.own), root(&self.sibling)],
        }
    }

    fn login(&self, name: &str) -> Option<String> {
        match name {
            "ours" => Some(format!("Macaroon {}", self.login)),
            "another" => Some("Macaroon AgEQYW5vdGhlci5leGFtcGxlAgFhAAAGIA".to_owned()),
            "none" => None,
            _ => Some("Macaroon root=\"a\", discharge=\"b\"".to_owned()),
        }
    }
}

fn purse(scene: &Scene) -> Purse {
    let session_of = |serial: &str| {
        let identity = scene.brand.device(&scene.identity.model, serial);
        let mut device = Device::new(&scene.store, Snapd::V2_77, &identity);
        device.ensure_session().expect("a session");
        device.session.expect("a session")
    };
    let own = session_of("SN-1");
    let mut void = own.clone();
    void.replace_range(
        void.len() - 6..void.len() - 5,
        if void.as_bytes()[void.len() - 6] == b'A' { "B" } else { "A" },
    );
    let (_, login) = scene.store.login("AcmeStore", "package_access");
    Purse { own, sibling: session_of("SN-2"), void, login }
}

#[test]
fn attack_every_combination_of_credentials() {
    let scene = Scene::new();
    let purse = purse(&scene);
    let id = scene.world.snap("hello").id;
    let targets = [
        "/v2/snaps/info/hello".to_owned(),
        format!("/api/v1/snaps/download/{id}_1.snap"),
        format!("/v2/assertions/snap-declaration/16/{id}"),
    ];
    let mut connection = Connection::open(scene.store.address).expect("the store listens");
    let mut tried = 0;
    for v2 in SHOWN {
        for v1 in SHOWN {
            for (login, login_is_ours) in LOGINS {
                // The rule: all values are identical, or the request is refused; then an unreadable or void one leads
                // to a renewal; then a session and a login exclude each other.
                let all = [purse.values(v2), purse.values(v1)].concat();
                let readable =
                    all.first().is_some_and(|first| !first.contains('\u{fc}') && !first.contains(", "));
                let due = if all.iter().any(|value| *value != all[0]) {
                    400
                } else if all.is_empty() {
                    if login_is_ours { 200 } else { 404 }
                } else if !readable {
                    401
                } else if login_is_ours {
                    400
                } else if all[0].contains(&purse.void) {
                    401
                } else {
                    200
                };
                for target in &targets {
                    let mut request = Request::new("GET", target, scene.store.host());
                    for value in purse.values(v2) {
                        request = request.header(Dialect::V2.authorization(), &value);
                    }
                    for value in purse.values(v1) {
                        request = request.header(Dialect::V1.authorization(), &value);
                    }
                    if let Some(value) = purse.login(login) {
                        request = request.header("Authorization", &value);
                    }
                    let answer = connection.exchange(&request).expect("an answer");
                    let place = format!("{v2:?} and {v1:?} with {login} for {target}");
                    assert_eq!(answer.status, due, "{place}: {answer:?}");
                    assert_eq!(asks_for_renewal(&answer), due == 401, "{place}: {answer:?}");
                    tried += 1;
                }
            }
        }
    }
    println!("{tried} combinations of credentials");
}

/// Checks that a refusal makes a device fetch another session, and that nothing else about it confuses snapd.
fn assert_helpful(answer: &Response, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    let named =
        |name: &str| answer.headers.iter().filter(|(held, _)| held.eq_ignore_ascii_case(name)).count();
    assert_eq!(named("WWW-Authenticate"), 1, "snapd reads the first line only: {what}: {answer:?}");
    let value = answer.header("WWW-Authenticate").unwrap_or_default();
    assert!(value.starts_with("Macaroon ") && value.contains("refresh_device_session=1"), "{what}: {value}");
    assert!(!value.contains("needs_refresh"), "{what}: {value}");
    assert!(answer.header("Retry-After").is_none(), "{what}: {answer:?}");
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{what}: {answer:?}");
    let cache = answer.header("Cache-Control").unwrap_or_default();
    assert!(cache.contains("no-store"), "{what}: {cache}");
}

#[test]
fn attack_every_401_tells_a_device_how_to_go_on() {
    let scene = Scene::new();
    let purse = purse(&scene);
    let own = SessionKey::new(&std::array::from_fn(|index| index as u8));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let good = Session {
        device: "acme/gateway/SN-1".parse().expect("a device"),
        store: Some("AcmeStore".parse().expect("a store")),
        verified: true,
        issued: now - 10,
        expires: now + 3600,
    };
    let voids = [
        ("altered", purse.void.clone()),
        ("of another secret", good.seal(&SessionKey::new(&[9; 32]))),
        ("expired", Session { issued: now - 900_000, expires: now - 1, ..good.clone() }.seal(&own)),
        (
            "from the future",
            Session { issued: now + 90_000, expires: now + 99_000, ..good.clone() }.seal(&own),
        ),
        ("from before its brand was known", Session { verified: false, ..good.clone() }.seal(&own)),
        ("of the public store", "MDAxY2xvY2F0aW9uIHNuYXBjcmFmdC5pbwo=".to_owned()),
        ("cut", purse.own[..purse.own.len() / 2].to_owned()),
        ("of nothing", "v4.public.".to_owned()),
    ];
    let id = scene.world.snap("hello").id;
    let body = scene.device().refresh_body(&[]);
    let get = |target: &str| Request::new("GET", target, scene.store.host());
    let post = |target: &str, body: &[u8]| Request::new("POST", target, scene.store.host()).body(body);
    let requests = [
        post("/v2/snaps/refresh", &body),
        post("/v2/cohorts", b"{\"snaps\": [\"hello\"]}"),
        get("/v2/snaps/info/hello"),
        get("/v2/snaps/info/nothing"),
        get("/v2/snaps/find?q=hello"),
        get("/api/v1/snaps/names"),
        get(&format!("/v2/assertions/snap-declaration/16/{id}")),
        get(&format!("/api/v1/snaps/download/{id}_1.snap")),
        get(&format!("/api/v1/snaps/resources/download/{id}_part_3.comp")),
        get("/api/v2/stores/AcmeStore"),
        get("/api/v2/stores/AcmeStore/snaps"),
        get("/api/v2/tokens/whoami"),
        get("/dev/api/account"),
    ];
    let mut tried = 0;
    for request in &requests {
        for (kind, token) in &voids {
            for dialect in Dialect::ALL {
                for value in [
                    format!("Macaroon root=\"{token}\""),
                    format!("macaroon root={token}"),
                    format!("Macaroon {token}"),
                ] {
                    let answer = scene.store.send(&request.clone().header(dialect.authorization(), &value));
                    assert_helpful(&answer, &format!("a session {kind} for {}", request.target));
                    tried += 1;
                }
            }
        }
    }
    println!("{tried} refusals tell a device to fetch another session");
}

#[test]
fn attack_thousands_of_mutated_tokens_are_refused() {
    let scene = Scene::new();
    let purse = purse(&scene);
    let mut connection = Connection::open(scene.store.address).expect("the store listens");
    let letters: Vec<char> = ('!'..='~').filter(|letter| !matches!(letter, '"' | ',')).collect();
    let mut chance = Chance::new(20_261_121);
    let count = size(10_000, 100_000);
    let mut request =
        Request::new("GET", "/v2/snaps/info/hello", scene.store.host()).header("X-Device-Authorization", "");
    for _ in 0..count {
        let mut token: Vec<char> =
            if chance.below(2) == 0 { &purse.own } else { &purse.sibling }.chars().collect();
        for _ in 0..=chance.below(3) {
            let (place, other) = (chance.below(token.len()), chance.below(token.len()));
            match chance.below(5) {
                0 => token[place] = *chance.of(&letters),
                1 => drop(token.remove(place)),
                2 => token.insert(place, *chance.of(&letters)),
                3 => token.swap(place, other),
                _ => token.truncate(place.max(4)),
            }
        }
        let token: String = token.into_iter().collect();
        if token == purse.own || token == purse.sibling {
            continue;
        }
        request.replace("X-Device-Authorization", Some(&format!("Macaroon root=\"{token}\"")));
        let answer = connection.exchange(&request).expect("an answer");
        assert!(asks_for_renewal(&answer), "{token}: {answer:?}");
    }
    println!("{count} mutated tokens refused");
    // Parts of two good ones.
    for cut in 1..purse.own.len().min(purse.sibling.len()) {
        let spliced = format!("{}{}", &purse.own[..cut], &purse.sibling[cut..]);
        if spliced == purse.own || spliced == purse.sibling {
            continue;
        }
        request.replace("X-Device-Authorization", Some(&format!("Macaroon root=\"{spliced}\"")));
        assert!(asks_for_renewal(&connection.exchange(&request).expect("an answer")), "{spliced}");
    }
}
