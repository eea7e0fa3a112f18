//! Tokens, nonces and logins: only those issued by this store open.

use std::sync::LazyLock;

use http::HeaderValue;
use schema::login::{Login, Macaroon};
use schema::service_login::{Acl, LoginKey, ServiceLogin};
use schema::session::{Nonce, Session, SessionKey, key_id, open};

use super::settle;

/// Seconds since 1970.
const NOW: u64 = 1_800_000_000;

static KEYS: LazyLock<[SessionKey; 2]> = LazyLock::new(|| [1, 2].map(|byte| SessionKey::new(&[byte; 32])));
static LOGIN_KEY: LazyLock<LoginKey> = LazyLock::new(|| LoginKey::new(&[3; 32]));

/// Issued credentials: session tokens, service logins, nonces.
pub(super) static ISSUED: LazyLock<[Vec<String>; 3]> = LazyLock::new(|| {
    let session = |store: Option<&str>, verified| Session {
        device: "acme/gateway/GW-1".parse().expect("a device"),
        store: store.map(|store| store.parse().expect("a store")),
        verified,
        issued: NOW - 1000,
        expires: NOW + 1000,
    };
    let (branded, global) = (session(Some("acme-store"), true), session(None, false));
    let sessions = KEYS.iter().flat_map(|key| [branded.seal(key), global.seal(key)]);
    let login = |store: Option<&str>, acls: &[Acl]| ServiceLogin {
        id: ServiceLogin::id_of([7; 12]),
        store: store.map(|store| store.parse().expect("a store")),
        acls: acls.iter().copied().collect(),
        expires: NOW + 60,
    };
    let of_store = login(Some("AcmeStore"), &[Acl::PackageAccess, Acl::StoreAdmin]);
    let of_site = login(None, &[Acl::AdminRead]);
    let logins = [of_store, of_site].map(|login| login.mint(&LOGIN_KEY).expect("a login"));
    let nonces = KEYS.iter().map(|key| nonce().seal(key));
    [sessions.collect(), logins.to_vec(), nonces.collect()]
});

fn nonce() -> Nonce {
    Nonce { epoch: 7, expires: NOW + 60, random: [9; 12] }
}

/// A text as each kind of credential that this store gives out.
pub(super) fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let [sessions, logins, _] = &*ISSUED;
    if let Some(session) = settle(open(&text, &*KEYS, NOW)) {
        assert!(sessions.iter().any(|ours| *ours == text), "a session that we did not give out: {session:?}");
        let signer = key_id(&text).expect("a token names its key");
        let key = KEYS.iter().find(|key| key.id() == signer).expect("one of our keys");
        assert_eq!(session.seal(key), text, "one session, two spellings");
    }
    if let Some(login) = settle(ServiceLogin::open(&text, &LOGIN_KEY, NOW)) {
        assert!(logins.iter().any(|ours| *ours == text), "a login that we did not make: {login:?}");
    }
    check_nonce(&text);
}

/// A nonce is good if it is one that we gave out.
pub(super) fn check_nonce(text: &str) {
    if let Some(read) = settle(Nonce::open(text, &*KEYS, 7, NOW)) {
        assert!(ISSUED[2].iter().any(|ours| ours == text), "a nonce that we did not give out");
        assert_eq!(read, nonce());
    }
}

/// A login file of the connected side, of which only the shape can be checked.
pub(super) fn upstream_login(data: &[u8]) {
    if let Some(mut login) = settle(Login::parse(data, "file \"x.login\"")) {
        let header = login.authorization();
        assert!(header.bytes().all(|b| (0x20..0x7f).contains(&b)), "a header with strange characters");
        HeaderValue::from_str(&header).expect("a header");
        let discharges: Vec<_> = login.discharges().map(|text| text.to_owned().into()).collect();
        login.replace_discharges(discharges).expect("what was read can be put back");
        assert_eq!(login.authorization(), header);
        let _ = (login.facts(), login.form().describe());
    }
    if let Some(macaroon) = settle(Macaroon::parse(&String::from_utf8_lossy(data))) {
        let bound = macaroon.bound_to(&macaroon);
        let again = Macaroon::parse(&bound).expect("a bound macaroon is one");
        assert!(again.caveats().eq(macaroon.caveats()));
    }
}
