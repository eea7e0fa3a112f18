//! Service logins as the tools of a build machine or of another site use them: raw requests with `Authorization`.

use schema::service_login::{Acl, LoginKey, ServiceLogin};
use serde_json::{Value, json};
use tests::device::{Device, Snapd};
use tests::http::{Request, Response};
use tests::server::{Server, Setup};
use tests::world::{Revision, World};

/// A store with a private snap of acme's, and a login for it.
struct Site {
    world: World,
    store: Server,
    app: Revision,
    token: String,
    id: String,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let store = Setup::default().start();
        store.trust(&world);
        let app = world.snap("acme-app").publisher("acme").component("part", 3).revision(4);
        store.push_pair(&app, &["latest/stable", "2/edge/fix"], "AcmeStore");
        store.push_brand(&world.brand("acme"));
        store.push_store("AcmeStore", "acme", &[&app.snap]);
        let (id, token) = store.login("AcmeStore", "package_access,store_admin");
        Self { world, store, app, token, id }
    }

    fn get(&self, target: &str) -> Request {
        Request::new("GET", target, self.store.host()).header("Snap-Device-Series", "16")
    }

    fn ask(&self, request: &Request, authorization: &str) -> Response {
        self.store.send(&request.clone().header("Authorization", authorization))
    }

    fn info(&self) -> Request {
        self.get("/v2/snaps/info/acme-app?fields=channel-map,download,revision,snap-yaml&architecture=amd64")
    }

    /// The answer to somebody whose credential counts for nothing: as of a snap that never existed.
    fn assert_void(&self, authorization: &str) {
        let told = |response: Response| (response.status, response.text().replace("acme-app", "what"));
        let mut missing = self.info();
        missing.target = missing.target.replace("acme-app", "acme-not");
        let nothing = told(self.store.send(&missing));
        assert_eq!(nothing.0, 404);
        assert_eq!(told(self.ask(&self.info(), authorization)), nothing, "{authorization}");
    }
}

/// Everything that a fetch asks for, with each spelling of the login.
#[test]
fn a_login_fetches_what_its_store_grants() {
    let site = Site::new();
    let (id, digest) = (&site.app.snap.id, site.app.image.digest.to_base64url());
    assert_eq!(site.store.send(&site.info()).status, 404);
    for authorization in ["Macaroon TOKEN", "Macaroon root=\"TOKEN\"", "macaroon root=TOKEN", "Bearer TOKEN"]
    {
        let authorization = authorization.replace("TOKEN", &site.token);
        let ask = |request: &Request| {
            let response = site.ask(request, &authorization);
            assert_eq!(response.status, 200, "{authorization}: {request:?}: {response:?}");
            response
        };
        let info = ask(&site.info()).json();
        assert_eq!(info["channel-map"][0]["revision"], 4);
        let action = |with: Value| {
            let mut action = json!({"action": "download", "instance-key": "1", "name": "acme-app"});
            action.as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
            let body =
                json!({"context": [], "actions": [action], "fields": ["download", "revision", "resources"]});
            Request::new("POST", "/v2/snaps/refresh", site.store.host())
                .header("Snap-Device-Architecture", "amd64")
                .header("Snap-Device-Store", "AcmeStore")
                .header("Content-Type", "application/json")
                .body(body.to_string().as_bytes())
        };
        for with in
            [json!({"revision": 4}), json!({"channel": "2/edge/fix"}), json!({"channel": "latest/stable"})]
        {
            let result = ask(&action(with)).json()["results"][0].clone();
            assert_eq!(
                (result["result"].as_str(), result["snap"]["revision"].as_u64()),
                (Some("download"), Some(4))
            );
            assert_eq!(result["snap"]["resources"][0]["name"], "part");
        }
        for path in [
            format!("snap-declaration/16/{id}?max-format=7"),
            format!("snap-declaration/16/{id}?max-format=0"),
            format!("snap-revision/{digest}?max-format=0"),
            format!("snap-resource-pair/{id}/part/3/4?max-format=0"),
            "account/acme?max-format=0".to_owned(),
        ] {
            ask(&site.get(&format!("/v2/assertions/{path}")));
        }
        let blob = ask(&site
            .get(&format!("/api/v1/snaps/download/{id}_4.snap"))
            .header("X-Ubuntu-Store", "AcmeStore"));
        assert_eq!(blob.body, site.app.image.bytes);
        ask(&site.get(&format!("/api/v1/snaps/resources/download/{id}_part_3.comp")));
    }
}

#[test]
fn what_is_no_login_counts_as_nothing() {
    let site = Site::new();
    let mut altered = site.token.clone();
    let at = altered.len() / 2;
    let other = if &altered[at..=at] == "A" { "B" } else { "A" };
    altered.replace_range(at..=at, other);
    let own: [u8; 32] = std::array::from_fn(|index| index as u8);
    let minted = |secret: [u8; 32], id: &str, expires: u64| {
        let login = ServiceLogin {
            id: id.to_owned(),
            store: Some("AcmeStore".parse().expect("a store")),
            acls: Acl::ALL.into(),
            expires,
        };
        login.mint(&LoginKey::new(&secret)).expect("a time that can be written")
    };
    let year_2100 = 4_102_444_800;
    // What makes these void is one thing each.
    let remade = format!("Bearer {}", minted(own, &site.id, year_2100));
    assert_eq!(site.ask(&site.info(), &remade).status, 200);
    for token in [
        altered,
        minted([9; 32], &site.id, year_2100),
        minted(own, &site.id, 1_700_000_000),
        minted(own, "AAAAAAAAAAAAAAAA", year_2100),
        format!("{}x", site.token),
        "nonsense".to_owned(),
    ] {
        site.assert_void(&format!("Macaroon {token}"));
    }
    let stale = format!("Macaroon root=\"{}\", discharge=\"abc\"", site.token);
    site.assert_void(&stale);
    let (revoked_id, revoked) = site.store.login("AcmeStore", "package_access");
    assert_eq!(site.ask(&site.info(), &format!("Bearer {revoked}")).status, 200);
    assert!(site.store.proxy(&["revoke-login", &revoked_id]).ok().contains(&revoked_id));
    site.assert_void(&format!("Bearer {revoked}"));
    let listed = site.store.proxy(&["list-logins"]).ok();
    assert!(listed.contains("revoked") && listed.contains("valid") && !listed.contains(&revoked), "{listed}");

    // A public snap is answered in spite of it: devices keep user logins of the public store for years.
    let public = site.world.snap("public").revision(1);
    site.store.push_pair(&public, &["latest/stable"], "ubuntu");
    let target = site.get("/v2/snaps/info/public");
    assert_eq!(site.ask(&target, &stale).status, 200);
    assert_eq!(
        site.ask(&target, &format!("Bearer {}", site.token)).status,
        404,
        "the store does not grant it"
    );
}

#[test]
fn a_login_does_what_it_was_made_for() {
    let site = Site::new();
    let (_, viewer) = site.store.login("AcmeStore", "package_access");
    let (_, admin) = site.store.login("AcmeStore", "store_admin");
    let (viewer, admin) = (format!("Macaroon {viewer}"), format!("Macaroon {admin}"));
    site.assert_void(&admin);
    let store = site.get("/api/v2/stores/AcmeStore");
    assert_eq!(site.ask(&store, &viewer).status, 403);
    let anonymous = site.store.send(&store);
    assert_eq!(anonymous.status, 401);
    let challenge = anonymous.header("WWW-Authenticate").expect("a challenge");
    assert!(!challenge.contains("refresh"), "nothing that a client could refresh: {challenge}");

    let read = |target: &str, who: &str| site.ask(&site.get(target), who).json();
    let document = read("/api/v2/stores/AcmeStore", &admin);
    assert_eq!(
        (&document["store"]["id"], &document["store"]["brand-id"]),
        (&json!("AcmeStore"), &json!("acme"))
    );
    assert_eq!((&document["users"], &document["invites"]), (&json!([]), &json!([])));
    let listed = read("/api/v2/stores/AcmeStore/snaps", &admin);
    assert_eq!(listed["snaps"][0]["name"], "acme-app");
    assert_eq!(
        (&listed["snaps"][0]["private"], &listed["snaps"][0]["store"]),
        (&json!(true), &json!("AcmeStore"))
    );
    assert_eq!(read("/api/v2/stores/AcmeStore/snaps?q=other", &admin)["snaps"], json!([]));
    for who in [&viewer, &admin] {
        let whoami = read("/api/v2/tokens/whoami", who);
        assert_eq!((&whoami["account"]["id"], &whoami["store_ids"]), (&json!("acme"), &json!(["AcmeStore"])));
        let account = read("/dev/api/account", who);
        assert_eq!(account["account-keys"].as_array().map(Vec::len), Some(2));
        assert_eq!(account["stores"][0]["id"], "AcmeStore");
    }
    // What is fetched is what another store imports.
    let both = json!({"store": document["store"], "snaps": listed["snaps"]}).to_string();
    let other = Server::start();
    let pushed = other
        .with_file("store.json", both.as_bytes(), |path| other.proxy(&["push-brand-store-metadata", path]))
        .ok();
    assert!(pushed.contains("AcmeStore") && pushed.contains("1 snap"), "{pushed}");
    // Another store's metadata and one that never existed.
    let told = |id: &str| {
        let response = site.ask(&site.get(&format!("/api/v2/stores/{id}")), &admin);
        (response.status, response.text())
    };
    site.store.push_store("BoltStore", "bolt", &[]);
    assert_eq!(told("BoltStore"), told("Nowhere"));
    assert_eq!(told("BoltStore").0, 404);
}

#[test]
fn no_header_widens_a_login() {
    let site = Site::new();
    let login = format!("Bearer {}", site.token);
    for header in ["Snap-Device-Store", "X-Ubuntu-Store"] {
        for (store, status) in
            [("AcmeStore", 200), ("BoltStore", 403), ("ubuntu", 403), ("acmestore", 403), ("", 403)]
        {
            let response = site.ask(&site.info().header(header, store), &login);
            assert_eq!(response.status, status, "{header}: {store}: {response:?}");
        }
    }
    let both = site.info().header("Snap-Device-Store", "AcmeStore").header("X-Ubuntu-Store", "BoltStore");
    assert_eq!(site.ask(&both, &login).status, 403);

    let brand = site.world.brand("acme");
    let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
    let mut device = Device::new(&site.store, Snapd::V2_77, &identity);
    device.ensure_session().expect("a session");
    let session = format!("Macaroon root=\"{}\"", device.session.expect("a session"));
    let signed = site.info().header("Snap-Device-Authorization", &session);
    assert_eq!(site.ask(&signed, &login).status, 400, "two principals in one request");
    assert_eq!(site.ask(&signed, "Macaroon root=\"stale\", discharge=\"stale\"").status, 200);
    let twice = site.info().header("Authorization", &login);
    assert_eq!(site.ask(&twice, &login).status, 404, "which of two counts is anybody's guess");
}

#[test]
fn a_login_is_written_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("viewer.login");
    let create = |more: &[&str]| {
        let file = path.to_str().expect("a path of text");
        let base = ["create-login", "--store", "AcmeStore", "--acl", "package_access", "--form", "H", file];
        site.store.proxy(&[&base[..], more].concat())
    };
    let printed = create(&["--expires", "1h"]).ok();
    let written = std::fs::read_to_string(&path).expect("the login");
    let login: Value = serde_json::from_str(&written).expect("JSON");
    let token = login["macaroon"].as_str().expect("a token");
    assert!(!printed.contains(token) && !site.store.log().contains(token), "{printed}");
    assert_eq!(site.ask(&site.info(), &format!("Macaroon {token}")).status, 200);
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(create(&[]).refused().contains("cannot make"), "nothing is overwritten");

    for (args, why) in [
        (["--store", "Nowhere", "--acl", "store_admin"], "push-brand-store-metadata"),
        (["--store", "AcmeStore", "--acl", "root"], "package_access"),
        (["--store", "AcmeStore", "--acl", "overrides"], "leave out --store"),
        (["--store", "AcmeStore", "--acl", "package_access,admin"], "make two"),
        (["--expires", "1d", "--acl", "package_access"], "name it with --store"),
    ] {
        let ran = site.store.proxy(&[&["create-login"][..], &args].concat());
        assert!(ran.code != Some(0) && ran.stderr.contains(why), "{ran:?}");
    }
    assert!(site.store.proxy(&["revoke-login", "AAAAAAAAAAAAAAAA"]).refused().contains("list-logins"));
    // Logins belong to the secret: another one opens none of them.
    let _ = site.store.proxy(&["rotate-secret", "proxy.auth.secret", "--keep-old", "0s"]).ok();
    site.assert_void(&format!("Macaroon {token}"));
}
