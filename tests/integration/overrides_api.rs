//! The override API as a site's own tools use it, with a login of this store.

use serde_json::{Value, json};
use tests::device::{Device, Snapd, asks_for_renewal};
use tests::http::{Request, Response};
use tests::server::Server;
use tests::world::World;

/// A store with two revisions of two snaps, and a login for overrides.
struct Site {
    world: World,
    store: Server,
    id: String,
    token: String,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let store = Server::start();
        store.trust(&world);
        for name in ["hello", "other"] {
            let snap = world.snap(name).architectures(&["amd64"]);
            store.push_pair(&snap.revision(1), &["latest/edge"], "ubuntu");
            store.push_pair(&snap.revision(2), &["latest/stable"], "ubuntu");
        }
        let (id, token) = store.site_login("overrides");
        Self { world, store, id, token }
    }

    fn list(&self, snap: &str) -> Request {
        let target = format!("/v2/metadata/overrides/{snap}");
        Request::new("GET", &target, self.store.host()).header("X-Ubuntu-Series", "16")
    }

    fn post(&self, body: &Value) -> Request {
        Request::new("POST", "/v2/metadata/overrides", self.store.host())
            .header("X-Ubuntu-Series", "16")
            .header("Content-Type", "application/json")
            .body(body.to_string().as_bytes())
    }

    fn ask(&self, request: Request) -> Response {
        self.store.send(&request.header("Authorization", &format!("Macaroon {}", self.token)))
    }

    fn held(&self, snap: &str) -> Value {
        self.ask(self.list(snap)).json()["overrides"].clone()
    }

    fn audit(&self) -> Vec<Value> {
        self.store.proxy(&["audit", "--json"]).json_lines()
    }
}

fn wish(snap: &str, revision: impl Into<Value>, channel: &str) -> Value {
    json!({ "snap_name": snap, "revision": revision.into(), "channel": channel, "series": "16" })
}

#[test]
fn an_override_over_http_counts_at_once() {
    let site = Site::new();
    let id = &site.world.snap("hello").id;
    let mut device = Device::anonymous(&site.store, Snapd::V2_77).trusting(&site.world);
    device.install_for_good("hello", "stable").expect("an install");
    assert_eq!(site.held("hello"), json!([]));
    let entry = |revision: Value| {
        json!([{ "snap_id": id, "snap_name": "hello", "revision": revision, "upstream_revision": 2, "channel": "stable",
            "architecture": "amd64", "series": "16" }])
    };
    for spelling in ["Macaroon TOKEN", "Macaroon root=\"TOKEN\"", "Bearer TOKEN"] {
        let value = spelling.replace("TOKEN", &site.token);
        let request = site.post(&json!([wish("hello", 1, "stable")])).header("Authorization", &value);
        let answer = site.store.send(&request);
        assert_eq!((answer.status, &answer.json()["overrides"]), (200, &entry(1.into())), "{spelling}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
    }
    assert_eq!(site.held("hello"), entry(1.into()));
    let back = device.refresh_all().expect("a refresh with news");
    assert_eq!(back.iter().map(|outcome| outcome.snap.revision).collect::<Vec<_>>(), [1]);
    let stable = |device: &mut Device| device.info("hello").expect("an info").channels[0].1;
    assert_eq!(stable(&mut device), 1);
    assert_eq!(device.find("hello").expect("a find").len(), 1);

    let event = site.audit().pop().expect("an event");
    assert_eq!(event["who"], format!("login {}", site.id));
    assert_eq!((&event["what"], &event["subject"]), (&json!("override"), &json!("hello stable")));

    let gone = site.ask(site.post(&json!([wish("hello", Value::Null, "latest/stable")])));
    assert_eq!((gone.status, &gone.json()["overrides"]), (200, &entry(Value::Null)));
    assert_eq!((site.held("hello"), stable(&mut device)), (json!([]), 2));
    assert_eq!(site.audit().pop().expect("an event")["what"], "delete-override");
    let log = site.store.log();
    assert!(!log.contains(&site.token), "{log}");
}

#[test]
fn several_overrides_are_one_change_or_none() {
    let site = Site::new();
    let both = json!([wish("hello", 1, "stable"), wish("other", 1, "9/candidate")]);
    let made = site.ask(site.post(&both));
    assert_eq!(made.json()["overrides"].as_array().map(Vec::len), Some(2), "{made:?}");
    let events = site.audit();
    let event = events.last().expect("an event");
    assert_eq!(event["subject"], "hello stable, other 9/candidate");

    let (hello, other) = (site.held("hello"), site.held("other"));
    let long = json!((0..1001).map(|at| wish("hello", 1, &format!("{at}/edge"))).collect::<Vec<_>>());
    for (body, status, code) in [
        (json!([wish("hello", Value::Null, "stable"), wish("other", 7, "stable")]), 400, "revision-not-held"),
        (json!([wish("hello", 2, "edge"), wish("nowhere", 1, "stable")]), 404, "resource-not-found"),
        (json!([wish("hello", 2, "edge"), wish("hello", Value::Null, "beta")]), 400, "no-override"),
        (json!([wish("hello", 2, "edge"), wish("hello", 1, "latest/edge")]), 400, "channel-twice"),
        (json!([wish("hello", 2, "no/such/channel/there")]), 400, "invalid-channel"),
        // To leave the revision out deletes nothing.
        (json!([{ "snap_name": "hello", "channel": "stable", "series": "16" }]), 400, "invalid-request"),
        (
            json!([{ "snap_name": "hello", "channel": "edge", "revision": 1, "series": "18" }]),
            400,
            "invalid-series",
        ),
        (json!([]), 400, "invalid-request"),
        (json!({}), 400, "invalid-request"),
        (long, 400, "invalid-request"),
    ] {
        let refused = site.ask(site.post(&body));
        assert_eq!(refused.status, status, "{body}: {refused:?}");
        assert_eq!(refused.json()["error-list"][0]["code"], code, "{body}: {refused:?}");
    }
    let mut series = site.list("hello");
    series.replace("X-Ubuntu-Series", Some("18"));
    assert_eq!(site.ask(series).status, 400);
    assert_eq!((site.held("hello"), site.held("other")), (hello, other));
    assert_eq!(site.audit(), events, "what is refused changes nothing");
}

#[test]
fn only_a_login_for_overrides_changes_them() {
    let site = Site::new();
    let brand = site.world.brand("acme");
    site.store.push_brand(&brand);
    site.store.push_store("AcmeStore", "acme", &[]);
    let (revoked_id, revoked) = site.store.site_login("overrides");
    let _ = site.store.proxy(&["revoke-login", &revoked_id]).ok();
    let (_, of_store) = site.store.login("AcmeStore", "package_access,store_admin");
    let (_, reader) = site.store.site_login("admin:read,admin:imports");
    let (_, admin) = site.store.site_login("admin");
    let mut device = Device::new(
        &site.store,
        Snapd::V2_77,
        &brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1"),
    );
    device.ensure_session().expect("a session");
    let session = format!("Macaroon root=\"{}\"", device.session.expect("a session"));
    let wanted = json!([wish("hello", 1, "stable")]);
    let before = site.audit();
    for request in [site.list("hello"), site.post(&wanted)] {
        let with = |name: &str, value: &str| site.store.send(&request.clone().header(name, value));
        for refused in [
            site.store.send(&request),
            with("Authorization", "Macaroon nonsense"),
            with("Authorization", &format!("Bearer {revoked}")),
            with("Authorization", &format!("Macaroon root=\"{}\", discharge=\"x\"", site.token)),
            with("Snap-Device-Authorization", &session),
            with("Snap-Device-Authorization", "Macaroon root=\"void\""),
        ] {
            assert_eq!(refused.status, 401, "{refused:?}");
            let challenge = refused.header("WWW-Authenticate").unwrap_or_default();
            assert_eq!(challenge, "Macaroon realm=\"airlock\"", "{refused:?}");
            assert!(!asks_for_renewal(&refused), "no device is asked to come again: {refused:?}");
            assert_eq!(refused.json()["error-list"][0]["code"], "macaroon-authorization-required");
        }
        for token in [&of_store, &reader] {
            let refused = with("Authorization", &format!("Bearer {token}"));
            assert_eq!(refused.status, 403, "{refused:?}");
        }
    }
    assert_eq!(site.held("hello"), json!([]));
    assert_eq!(site.audit(), before, "what is refused leaves nothing behind");
    let request = site.post(&wanted).header("Authorization", &format!("Bearer {admin}"));
    assert_eq!(site.store.send(&request).status, 200, "an operator may do all of it");
}
