//! Sessions and logins on a real database: what is issued, what is accepted, and when epochs change.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use schema::assertion::{AssertionType, Builder, SigningKey};
use schema::config::RotatedSecret;
use schema::service_login::{Acl, LoginKey, ServiceLogin};
use tempfile::TempDir;

use super::*;
use crate::storage::Settings;
use crate::storage::records::{LoginRecord, NonceUse, Snapshot};

struct Scene {
    database: Database,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::open(&Settings::Sqlite(folder.path().join("airlock.db"))).await.unwrap();
        database.migrate(1).await.unwrap();
        Self { database, folder }
    }

    /// A server on this database, with its own notes.
    fn server(&self, name: &str, keys: Vec<AcceptedKey<SessionKey>>) -> Sessions {
        let notes = self.folder.path().join(name);
        fs::create_dir(&notes).unwrap();
        let sessions = Sessions::new(self.database.clone(), &notes);
        sessions.configure(keys, 1000, false);
        sessions
    }
}

fn key(byte: u8, until: Option<u64>) -> AcceptedKey<SessionKey> {
    AcceptedKey { key: SessionKey::new(&[byte; 32]), until }
}

fn session(issued: u64, expires: u64) -> Session {
    Session { device: "acme/gateway/GW-1".parse().unwrap(), store: None, verified: true, issued, expires }
}

fn catalog(snapshot: Snapshot) -> Arc<Catalog> {
    Arc::new(Catalog::compile(snapshot, "http://store.test", None).unwrap())
}

#[test]
fn a_key_is_good_until_its_last_second() {
    for (until, now, good) in [(None, u64::MAX, true), (Some(5), 4, true), (Some(5), 5, false)] {
        assert_eq!(key(1, until).is_good(now), good, "until {until:?}, at {now}");
    }
}

#[tokio::test]
async fn a_nonce_is_of_the_epoch_of_the_moment() {
    let scene = Scene::new().await;
    let nobody = scene.server("nobody", Vec::new());
    assert!(matches!(nobody.nonce().await, Err(SessionError::NoSecret)));
    assert!(nobody.accepted_keys().is_empty());

    let (one, other) = (scene.server("one", vec![key(1, None)]), scene.server("other", vec![key(1, None)]));
    one.follow_epoch(false).await.unwrap();
    other.follow_epoch(false).await.unwrap();
    let keys = [key(1, None).key];
    let before = clock::seconds();
    let open = |text: String| Nonce::open(&text, &keys, 0, before).unwrap();
    let nonce = open(one.nonce().await.unwrap());
    assert_eq!(i64::from(nonce.epoch), scene.database.nonce_epoch(None).await.unwrap().unwrap());
    assert!(
        (before + NONCE_SECONDS..=clock::seconds() + NONCE_SECONDS).contains(&nonce.expires),
        "{nonce:?}"
    );
    // Another server starts the next epoch; this one notices if it has not looked for a while.
    assert!(other.follow_epoch(true).await.unwrap());
    *one.caught_up.lock().unwrap() = Instant::now().checked_sub(2 * CATCH_UP);
    let next = open(one.nonce().await.unwrap());
    assert_eq!(i64::from(next.epoch), scene.database.nonce_epoch(None).await.unwrap().unwrap());
    assert_eq!(next.epoch, nonce.epoch + 1);
}

#[tokio::test]
async fn epochs_turn_when_due_and_leap_where_nothing_proves_that_the_database_goes_on() {
    let scene = Scene::new().await;
    let epoch = async || scene.database.nonce_epoch(None).await.unwrap();
    let one = scene.server("one", vec![key(1, None)]);
    assert_eq!(epoch().await, None);
    one.begin_life().await.unwrap();
    let begun = epoch().await.unwrap();
    assert!(begun > 10_000, "{begun}");
    assert!(!one.follow_epoch(false).await.unwrap());
    assert_eq!(epoch().await, Some(begun));
    assert!(one.follow_epoch(true).await.unwrap());
    assert_eq!(epoch().await, Some(begun + 1));
    // If another server already started it, once is enough.
    let other = scene.server("other", vec![key(1, None)]);
    other.begin_life().await.unwrap();
    assert_eq!(epoch().await, Some(begun + 1), "one that joins gives up nothing");
    other.follow_epoch(true).await.unwrap();
    let turned = epoch().await;
    assert!(one.follow_epoch(true).await.unwrap());
    assert_eq!(epoch().await, turned);
    // The database no longer knows what this server spent last.
    let forgotten = NonceUse::new("forgotten", turned.unwrap(), "", 1);
    one.spender.go_on(Some((&forgotten).into()));
    assert!(one.follow_epoch(false).await.unwrap());
    assert!(epoch().await.unwrap() > turned.unwrap() + 10_000);
    assert!(!one.follow_epoch(false).await.unwrap(), "once");
}

#[tokio::test]
async fn a_token_is_good_while_it_and_its_key_are() {
    let scene = Scene::new().await;
    let now = clock::seconds();
    let sessions =
        scene.server("one", vec![key(1, None), key(2, Some(now + 900)), key(3, Some(now.saturating_sub(1)))]);
    assert_eq!(sessions.accepted_keys().len(), 2);
    let good = session(now - 10, now + 90);
    for (byte, expected) in [
        (1, Ok(good.clone())),
        (2, Ok(good.clone())),
        (3, Err(TokenError::UnknownKey)),
        (4, Err(TokenError::UnknownKey)),
    ] {
        let token = good.seal(&key(byte, None).key);
        for round in ["first", "again"] {
            let accepted = sessions.accept(&token).map(|session| (*session).clone());
            assert_eq!(accepted, expected, "of key {byte}, {round}");
        }
    }
    let over = session(now - 10, now).seal(&key(1, None).key);
    assert_eq!(sessions.accept(&over), Err(TokenError::Expired));
    // A remembered token is checked again when its time comes.
    sessions.memory.remember_session("remembered", Arc::new(good.clone()), now + 900);
    sessions.memory.remember_session("over", Arc::new(good), now);
    assert!(sessions.accept("remembered").is_ok());
    assert_eq!(sessions.accept("over"), Err(TokenError::Malformed));
}

fn fixture(name: &str) -> String {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/assertions");
    fs::read_to_string(fixtures.join(name)).unwrap()
}

/// The request of device A-0001 of the vectors for this nonce.
fn request(nonce: &str, timestamp: &str) -> Bytes {
    let device = SigningKey::from_pkcs8_pem(&fixture("keys/device-a-2048.pem")).unwrap();
    let proof = Builder::new(AssertionType::DeviceSessionRequest)
        .header("brand-id", "acme-corp")
        .header("model", "edge-gw")
        .header("serial", "A-0001")
        .header("nonce", nonce)
        .header("timestamp", timestamp)
        .sign(&device);
    let body = serde_json::json!({
        "device-session-request": String::from_utf8(proof.bytes().to_vec()).unwrap(),
        "serial-assertion": fixture("serials/a-2048.serial.assert"),
        "model-assertion": fixture("models/edge-gw.model.assert"),
    });
    Bytes::from(body.to_string())
}

#[tokio::test]
async fn a_nonce_buys_one_session_of_the_lifetime_that_is_set() {
    let scene = Scene::new().await;
    let sessions = scene.server("one", vec![key(1, None)]);
    sessions.follow_epoch(false).await.unwrap();
    let nobody = catalog(Snapshot::default());
    let before = clock::seconds();
    let body = request(&sessions.nonce().await.unwrap(), "2026-09-01T00:00:00Z");
    let (begun, token) = sessions.begin(nobody.clone(), body.clone()).await.unwrap();
    assert_eq!(*sessions.accept(&token).unwrap(), begun);
    assert_eq!(begun.device.to_string(), "acme-corp/edge-gw/A-0001");
    assert_eq!((begun.store.as_deref(), begun.verified), (Some("acme-edge-store"), false));
    assert!((before..=clock::seconds()).contains(&begun.issued), "{begun:?}");
    assert_eq!(begun.expires, begun.issued + 1000);
    assert_eq!(sessions.begin(nobody.clone(), body).await.unwrap().1, token, "the same request again");
    let nonce = sessions.nonce().await.unwrap();
    assert!(sessions.begin(nobody.clone(), request(&nonce, "2026-09-01T00:00:00Z")).await.is_ok());
    let replayed = sessions.begin(nobody, request(&nonce, "2026-09-01T00:00:01Z")).await;
    assert!(
        matches!(&replayed, Err(SessionError::Refused(refusal)) if *refusal == SessionRefusal::replayed())
    );
}

#[test]
fn a_login_is_what_the_database_says_of_it_and_no_more() {
    let logins = Logins::default();
    let record = LoginRecord {
        store: Some("acme-store".parse().unwrap()),
        acls: BTreeSet::from([Acl::PackageAccess, Acl::StoreAdmin]),
        created: 1,
        expires: 100,
        revoked: false,
        key: None,
        by: None,
    };
    let key = |byte: u8, until: Option<u64>| AcceptedKey { key: LoginKey::new(&[byte; 32]), until };
    assert!(logins.create(&record).is_err(), "there is no secret");
    logins.configure(vec![key(1, None)]);
    let Made { id, token, key: made_with } = logins.create(&record).unwrap();
    let accept = |known: Option<LoginRecord>, now: u64| -> Option<Arc<ServiceLogin>> {
        let meta = known.iter().map(|known| known.fact(&id)).collect();
        logins.accept(&token, &catalog(Snapshot { meta, ..Snapshot::default() }), now)
    };
    let accepted = accept(Some(record.clone()), 50).unwrap();
    assert_eq!((&accepted.id, &accepted.store, &accepted.acls), (&id, &record.store, &record.acls));
    let less = LoginRecord { acls: BTreeSet::from([Acl::StoreAdmin]), ..record.clone() };
    assert_eq!(accept(Some(less.clone()), 50).unwrap().acls, less.acls);
    for (known, now, why) in [
        (None, 50, "unknown"),
        (Some(LoginRecord { revoked: true, ..record.clone() }), 50, "taken back"),
        (Some(LoginRecord { store: None, ..record.clone() }), 50, "for another store"),
        (Some(LoginRecord { key: Some("another".into()), ..record.clone() }), 50, "of another key"),
        (Some(record.clone()), 100, "over"),
    ] {
        assert!(accept(known, now).is_none(), "{why}");
    }
    let named = LoginRecord { key: Some(made_with), ..record.clone() };
    assert!(accept(Some(named.clone()), 50).is_some());
    logins.configure(vec![key(2, None), key(1, Some(60))]);
    assert!(accept(Some(named.clone()), 59).is_some(), "rotated out, and accepted for a while");
    assert!(accept(Some(named), 60).is_none(), "no longer");
    logins.configure(vec![key(2, None)]);
    assert!(accept(Some(record), 50).is_none(), "of another secret");
}

#[test]
fn keys_in_force_and_of_before_come_from_the_settings() {
    let mut settings = schema::config::Settings::default();
    let which = RotatedSecret::Logins;
    let logins = Logins::default();
    let ids = |settings: &_| -> Vec<String> {
        logins.configure(AcceptedKey::all(settings, which, LoginKey::new));
        logins.accepted_keys().iter().map(|accepted| accepted.key.id().to_owned()).collect()
    };
    let [first, second, third] = [1, 2, 3].map(|byte| LoginKey::new(&[byte; 32]).id().to_owned());
    assert!(ids(&settings).is_empty());
    settings.set(which.key(), &base64::engine::general_purpose::STANDARD.encode([1; 32])).unwrap();
    let now = clock::now();
    settings.rotate_secret(which, &[2; 32], now + Duration::from_secs(3600), now).unwrap();
    assert_eq!(ids(&settings), [second.clone(), first.clone()]);
    assert!(logins.accepts_key(&first) && logins.accepts_key(&second) && !logins.accepts_key(&third));
    settings.rotate_secret(which, &[3; 32], now, now).unwrap();
    assert_eq!(ids(&settings), [third]);
    assert!(!logins.accepts_key(&first));
}
