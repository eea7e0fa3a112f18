//! A town of two brands with stores of their own, and everybody who may come to the door.

use schema::session::{Session, SessionKey};
use tests::device::{Device, Dialect, Snapd};
use tests::http::Request;
use tests::server::{Server, Setup};
use tests::world::{Brand, World};

use super::routes::Subject;

/// The value of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    /// Good, or none at all.
    Good,
    /// Nothing: the device has to fetch another.
    Void,
    /// Valid, but its device is blocked.
    Blocked,
}

/// Somebody who asks.
pub(super) struct Principal {
    pub(super) name: &'static str,
    pub(super) credential: Credential,
    session: Option<String>,
    login: Option<Login>,
    sees: &'static [&'static str],
}

/// A service login.
struct Login {
    token: String,
    /// Empty for the whole site.
    store: &'static str,
    admin: bool,
    overrides: bool,
    good: bool,
}

impl Principal {
    /// Puts the session or login into a request.
    pub(super) fn sign(&self, request: &mut Request, dialect: Dialect) {
        if let Some(login) = &self.login {
            let value = match dialect {
                Dialect::V2 => format!("Macaroon {}", login.token),
                Dialect::V1 => format!("Bearer {}", login.token),
            };
            *request = request.clone().header("Authorization", &value);
        }
        if let Some(session) = &self.session {
            let value = format!("Macaroon root=\"{session}\"");
            *request = request.clone().header(dialect.authorization(), &value);
        }
    }

    /// Whether it is for another store than the request claims.
    pub(super) fn is_out_of_place(&self, claim: Option<&str>) -> bool {
        let good = self.login.as_ref().filter(|login| login.good);
        let good = good.filter(|login| !login.store.is_empty());
        good.is_some_and(|login| claim.is_some_and(|claim| claim != login.store))
    }

    /// Whether it may read what its store says about itself, if the request asks for that.
    pub(super) fn administers(&self, request: &Request) -> bool {
        self.login.as_ref().is_some_and(|login| login.admin && request.target.contains(login.store))
    }

    /// Whether it may change overrides of any snap.
    pub(super) fn overrides(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.overrides && login.good)
    }

    /// Whether it may see this snap.
    pub(super) fn sees(&self, subject: &Subject) -> bool {
        self.sees.contains(&subject.name.as_str()) || subject.name == "core22"
    }
}

/// The store and everything around it.
pub(super) struct Town {
    pub(super) store: Server,
    pub(super) principals: Vec<Principal>,
    /// Snaps of acme alone, of bolt alone, of both, of everybody, and one that every store includes.
    pub(super) subjects: Vec<Subject>,
}

impl Town {
    /// Somebody by name.
    pub(super) fn principal(&self, name: &str) -> &Principal {
        self.principals.iter().find(|principal| principal.name == name).expect("somebody of that name")
    }

    pub(super) fn new() -> Self {
        Self::on(Setup::default())
    }

    pub(super) fn on(setup: Setup) -> Self {
        let world = World::new();
        let store = setup.start();
        store.trust(&world);
        let (acme, bolt) = (world.brand("acme"), world.brand("bolt"));
        // Names and store ids that begin alike, and differ in case: equality is the only comparison.
        let snap = |name: &str, publisher: &str| world.snap(name).publisher(publisher).component("part", 3);
        let acme_app = snap("acme-app", "acme");
        let acme_apps = snap("acme-apps", "bolt");
        let shared = snap("shared", "acme");
        let public = snap("public", "dev");
        // Every device needs a base, so every store includes it, granted or not.
        let base = snap("core22", "dev").id("amcUKQILKXHHTlmSa7NMdnXSx02dNeeT").kind("base");
        for (snap, home) in [
            (&acme_app, "AcmeStore"),
            (&acme_apps, "BoltStore"),
            (&shared, "AcmeStore"),
            (&public, "ubuntu"),
            (&base, "ubuntu"),
        ] {
            store.push_pair(&snap.revision(1), &["latest/stable"], home);
        }
        store.push_store("AcmeStore", "acme", &[&acme_app, &shared]);
        // Acme's snap is for bolt's devices too, by the operator's word alone.
        store.push_store_with("BoltStore", "bolt", &[&acme_apps, &shared], &["--widen", "shared"]);
        store.push_store("AcmeStor", "bolt", &[]);
        store.push_brand(&acme);
        store.push_brand(&bolt);
        let snaps = [acme_app, acme_apps, shared, public, base];
        let subjects = snaps.iter().map(|snap| Subject::of(&snap.revision(1))).collect();
        let principals = principals(&store, &acme, &bolt);
        Self { store, principals, subjects }
    }
}

fn principals(store: &Server, acme: &Brand, bolt: &Brand) -> Vec<Principal> {
    let session_of = |brand: &Brand, model: &str, store_id: Option<&str>, serial: &str| {
        let model = match store_id {
            Some(id) => brand.model_in(model, id),
            None => brand.model(model),
        };
        let identity = brand.device(&model, serial);
        let mut device = Device::new(store, Snapd::V2_77, &identity);
        device.ensure_session().unwrap_or_else(|trouble| panic!("{}: {trouble}", identity.name()));
        (device.session.expect("a session"), identity)
    };
    let good = |name, session: Option<String>, sees| Principal {
        name,
        credential: Credential::Good,
        session,
        login: None,
        sees,
    };
    let void = |name, session: String| Principal {
        name,
        credential: Credential::Void,
        session: Some(session),
        login: None,
        sees: &[],
    };
    let login_for = |store_id: &'static str, acls: &str| {
        let (_, token) = store.login(store_id, acls);
        Login { token, store: store_id, admin: acls.contains("store_admin"), overrides: false, good: true }
    };
    let login = |name, login: Login, sees| Principal {
        name,
        credential: Credential::Good,
        session: None,
        login: Some(login),
        sees,
    };
    let void_login = |token| Login { token, store: "AcmeStore", admin: false, overrides: false, good: false };
    let site_login = |acls: &str, overrides| {
        let (_, token) = store.site_login(acls);
        Login { token, store: "", admin: false, overrides, good: true }
    };
    let (_, mut forged) = store.login("AcmeStore", "package_access,store_admin");
    let last = if forged.ends_with('A') { "E" } else { "A" };
    forged.replace_range(forged.len() - 1.., last);
    let (id, revoked) = store.login("AcmeStore", "package_access,store_admin");
    let _ = store.proxy(&["revoke-login", &id]).ok();

    let acme_session = session_of(acme, "gateway", Some("AcmeStore"), "SN-1").0;
    let (blocked_session, blocked) = session_of(acme, "gateway", Some("AcmeStore"), "SN-2");
    store.block(&blocked);
    let generic = World::rooted("elsewhere").brand("generic");
    let token = |secret: [u8; 32], issued: u64, expires: u64| {
        let session = Session {
            device: "acme/gateway/SN-1".parse().expect("a device"),
            store: Some("AcmeStore".parse().expect("a store")),
            verified: true,
            issued,
            expires,
        };
        session.seal(&SessionKey::new(&secret))
    };
    let own: [u8; 32] = std::array::from_fn(|index| index as u8);
    let year_2100 = 4_102_444_800;
    let mut altered = acme_session.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("ASCII");

    vec![
        good("anonymous", None, &["public"]),
        good("a device of acme", Some(acme_session), &["acme-app", "shared"]),
        good(
            "a device of bolt",
            Some(session_of(bolt, "box", Some("BoltStore"), "SN-3").0),
            &["acme-apps", "shared"],
        ),
        good(
            "a device of acme without a store",
            Some(session_of(acme, "plain", None, "SN-4").0),
            &["public"],
        ),
        good(
            "a device of bolt that names acme's store",
            Some(session_of(bolt, "sly", Some("AcmeStore"), "SN-5").0),
            &[],
        ),
        good(
            "a device of bolt with a store of no snaps",
            Some(session_of(bolt, "near", Some("AcmeStor"), "SN-6").0),
            &[],
        ),
        good(
            "a device of acme with an unknown store",
            Some(session_of(acme, "far", Some("acmestore"), "SN-7").0),
            &[],
        ),
        good(
            "a device of an unknown brand",
            Some(session_of(&generic, "generic-classic", Some("AcmeStore"), "g-1").0),
            &["public"],
        ),
        Principal {
            name: "a blocked device of acme",
            credential: Credential::Blocked,
            session: Some(blocked_session),
            login: None,
            sees: &[],
        },
        login(
            "a login for acme's store",
            login_for("AcmeStore", "package_access,store_admin"),
            &["acme-app", "shared"],
        ),
        login("a login for bolt's snaps", login_for("BoltStore", "package_access"), &["acme-apps", "shared"]),
        login("a login for the metadata of acme's store", login_for("AcmeStore", "store_admin"), &["public"]),
        // Anything that is not a valid login of this store counts as nothing, whatever it claims.
        login("an altered login", void_login(forged), &["public"]),
        login("a revoked login", void_login(revoked), &["public"]),
        void("a session of another secret", token([9; 32], year_2100 - 604_800, year_2100)),
        void("an expired session", token(own, 1_700_000_000, 1_700_604_800)),
        void("an altered session", altered),
        login("a login that reads for operators", site_login("admin:read", false), &["public"]),
        // These change what others see, so they come last.
        login("a login for overrides", site_login("overrides", true), &["public"]),
    ]
}
