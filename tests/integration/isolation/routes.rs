//! One row for every route: what to ask for a snap, and when an answer shows it.

use schema::digest::Sha3_384;
use serde_json::{Value, json};
use tests::http::{Request, Response};
use tests::world::Revision;

/// A snap by everything that names it. All names of one kind have the same length.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) digest: String,
    component_digest: String,
}

impl Subject {
    pub(super) fn of(revision: &Revision) -> Self {
        Self {
            name: revision.snap.name.clone(),
            id: revision.snap.id.clone(),
            digest: revision.image.digest.to_base64url(),
            component_digest: revision.components[0].image.digest.to_base64url(),
        }
    }

    /// Is it what a list of acme's store shows?
    pub(super) fn is_listed(&self, request: &Request) -> bool {
        request.target.contains("/snaps") && ["acme-app", "shared"].contains(&self.name.as_str())
    }

    /// Names of the same lengths that nothing ever had.
    pub(super) fn ghost(&self) -> Self {
        let turn =
            |text: &str| text.chars().rev().map(|letter| if letter == '-' { 'q' } else { letter }).collect();
        Self {
            name: turn(&self.name),
            id: turn(&self.id),
            digest: turn(&self.digest),
            component_digest: turn(&self.component_digest),
        }
    }

    /// What stands for the names of a subject when answers are compared.
    pub(super) fn blank(like: &Self) -> Self {
        let blank = |text: &str| "?".repeat(text.len());
        Self {
            name: blank(&like.name),
            id: blank(&like.id),
            digest: blank(&like.digest),
            component_digest: blank(&like.component_digest),
        }
    }

    /// A text with our names replaced by another's.
    pub(super) fn replaced_in(&self, text: &str, other: &Self) -> String {
        let pairs = [
            (&self.component_digest, &other.component_digest),
            (&self.digest, &other.digest),
            (&self.id, &other.id),
            (&self.name, &other.name),
        ];
        pairs.iter().fold(text.to_owned(), |text, (own, theirs)| text.replace(*own, theirs))
    }
}

/// Who may be shown a snap by a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Those who see the snap.
    Anybody,
    /// Those who administer the store that the request names.
    Administrators,
    /// Those who may change overrides, of every snap. They are people's programs: no session plays a part.
    Overriders,
}

/// What a route is asked, and how to tell that it shows a snap.
pub(super) struct Row {
    pub(super) audience: Audience,
    pub(super) route: &'static str,
    /// Does the answer depend on who asks?
    pub(super) scoped: bool,
    pub(super) requests: fn(&Subject, &str) -> Vec<Request>,
    pub(super) shows: fn(&Subject, &Response) -> bool,
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let row =
        |route, scoped, requests, shows| Row { audience: Audience::Anybody, route, scoped, requests, shows };
    let open = |route, requests| row(route, false, requests, names_it);
    let scoped = |route, requests, shows| row(route, true, requests, shows);
    let told = |route, requests| Row {
        audience: Audience::Administrators,
        ..row(route, true, requests, holds_its_id as fn(&Subject, &Response) -> bool)
    };
    vec![
        open("POST /api/v1/snaps/auth/nonces", |_, host| {
            vec![post("/api/v1/snaps/auth/nonces", host, &Value::Null)]
        }),
        open("POST /api/v1/snaps/auth/sessions", |snap, host| {
            let body =
                json!({"device-session-request": snap.name, "model-assertion": "", "serial-assertion": ""});
            vec![post("/api/v1/snaps/auth/sessions", host, &body)]
        }),
        scoped("POST /v2/snaps/refresh", refresh, shows_in_refresh),
        scoped(
            "GET /v2/snaps/info/{name}",
            |snap, host| {
                let target = |query: &str| format!("/v2/snaps/info/{}?{query}", snap.name);
                vec![
                    get(&target("architecture=amd64&fields=download"), host),
                    get(&target("architecture=amd64&fields=channel-map"), host),
                ]
            },
            answered,
        ),
        scoped(
            "GET /v2/snaps/find",
            |snap, host| {
                vec![
                    get(&format!("/v2/snaps/find?q={}", snap.name), host),
                    get(&format!("/v2/snaps/find?name={}", snap.name), host),
                    get("/v2/snaps/find?category=featured", host),
                    get("/v2/snaps/find?q=", host),
                ]
            },
            lists_it,
        ),
        open("GET /v2/snaps/categories", |_, host| vec![get("/v2/snaps/categories", host)]),
        open("GET /api/v1/snaps/sections", |_, host| vec![get("/api/v1/snaps/sections", host)]),
        scoped(
            "GET /api/v1/snaps/names",
            |_, host| vec![get("/api/v1/snaps/names?confinement=strict", host)],
            lists_it,
        ),
        scoped(
            "GET /v2/assertions/{*path}",
            |snap, host| {
                let Subject { id, digest, component_digest, .. } = snap;
                let get = |path: String| get(&format!("/v2/assertions/{path}"), host);
                vec![
                    get(format!("snap-declaration/16/{id}?max-format=7")),
                    get(format!("snap-revision/{digest}?max-format=0")),
                    get(format!("snap-revision/{digest}/global-upload?max-format=0")),
                    get(format!("snap-resource-revision/{id}/part/{component_digest}?max-format=0")),
                    get(format!("snap-resource-pair/{id}/part/3/1?max-format=0")),
                ]
            },
            answered,
        ),
        open("GET /v2/auth/store/assertions", |_, host| vec![get("/v2/auth/store/assertions", host)]),
        scoped(
            "GET /api/v1/snaps/download/{file}",
            |snap, host| {
                let target = format!("/api/v1/snaps/download/{}_1.snap", snap.id);
                let whole = get(&target, host);
                let range = whole.clone().header("Range", "bytes=100-");
                vec![whole.clone(), range, Request { method: "HEAD".to_owned(), ..whole }]
            },
            answered,
        ),
        scoped(
            "GET /api/v1/snaps/resources/download/{file}",
            |snap, host| {
                let whole = get(&format!("/api/v1/snaps/resources/download/{}_part_3.comp", snap.id), host);
                vec![whole.clone(), Request { method: "HEAD".to_owned(), ..whole }]
            },
            answered,
        ),
        // Icons are fetched without a session, under their content's digest; no other file is served there.
        Row {
            audience: Audience::Anybody,
            route: "GET /icons/{file}",
            scoped: false,
            requests: |snap, host| {
                let hex = Sha3_384::from_base64url(&snap.digest).expect("a digest").to_hex();
                ["png", "jpg", "svg", "snap"]
                    .map(|format| get(&format!("/icons/{hex}.{format}"), host))
                    .to_vec()
            },
            shows: answered,
        },
        scoped(
            "POST /v2/cohorts",
            |snap, host| vec![post("/v2/cohorts", host, &json!({"snaps": [snap.name]}))],
            answered,
        ),
        told("GET /api/v2/stores/{id}", |_, host| stores("", host)),
        told("GET /api/v2/stores/{id}/snaps", |snap, host| {
            [stores("/snaps", host), stores(&format!("/snaps?q={}", snap.name), host)].concat()
        }),
        told("GET /api/v2/tokens/whoami", |_, host| vec![get("/api/v2/tokens/whoami", host)]),
        Row {
            audience: Audience::Overriders,
            ..scoped(
                "GET /v2/metadata/overrides/{snap}",
                |snap, host| vec![get(&format!("/v2/metadata/overrides/{}", snap.name), host)],
                answered,
            )
        },
        Row {
            audience: Audience::Overriders,
            ..scoped(
                "POST /v2/metadata/overrides",
                |snap, host| {
                    let wish = json!([{"snap_name": snap.name, "revision": 1, "channel": "edge/matrix"}]);
                    vec![post("/v2/metadata/overrides", host, &wish)]
                },
                answered,
            )
        },
        told("GET /dev/api/account", |_, host| vec![get("/dev/api/account", host)]),
        open("POST /api/v1/snaps/auth/request-id", |_, host| {
            vec![post("/api/v1/snaps/auth/request-id", host, &Value::Null)]
        }),
        open("POST /api/v1/snaps/auth/devices", |_, host| {
            vec![post("/api/v1/snaps/auth/devices", host, &Value::Null)]
        }),
        open("POST /request-id", |_, host| vec![post("/request-id", host, &Value::Null)]),
        open("POST /serial", |_, host| vec![post("/serial", host, &Value::Null)]),
        open("HEAD /", |_, host| vec![Request { method: "HEAD".to_owned(), ..get("/", host) }]),
        open("GET /_status/check", |_, host| vec![get("/_status/check", host)]),
        open("GET /_status/ready", |_, host| vec![get("/_status/ready", host)]),
    ]
}

/// The same of every store.
fn stores(rest: &str, host: &str) -> Vec<Request> {
    ["AcmeStore", "BoltStore", "AcmeStor", "nowhere"]
        .map(|store| get(&format!("/api/v2/stores/{store}{rest}"), host))
        .to_vec()
}

fn get(target: &str, host: &str) -> Request {
    Request::new("GET", target, host)
}

fn post(target: &str, host: &str, body: &Value) -> Request {
    let bytes =
        if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON of plain values") };
    Request::new("POST", target, host).body(&bytes)
}

fn refresh(snap: &Subject, host: &str) -> Vec<Request> {
    let held = json!({"snap-id": snap.id, "instance-key": snap.id, "revision": 7, "tracking-channel": "latest/stable",
        "epoch": {"read": [0], "write": [0]}});
    let declaration = json!({"type": "snap-declaration", "primary-key": ["16", snap.id]});
    let revision = json!({"type": "snap-revision", "primary-key": [snap.digest]});
    let bodies = [
        json!({"context": [], "actions": [{"action": "install", "instance-key": "install-1", "name": snap.name,
            "channel": "stable", "epoch": null}]}),
        json!({"context": [], "actions": [{"action": "install", "instance-key": "install-1", "name": snap.name,
            "revision": 1, "epoch": null}]}),
        json!({"context": [], "actions": [{"action": "download", "instance-key": "download-1", "name": snap.name,
            "epoch": null}]}),
        json!({"context": [held], "actions": [{"action": "refresh", "instance-key": snap.id, "snap-id": snap.id}]}),
        json!({"context": [], "actions": [{"action": "fetch-assertions", "key": "AAA", "assertions": [declaration]}]}),
        json!({"context": [], "actions": [{"action": "fetch-assertions", "key": "AAA", "assertions": [revision]}]}),
    ];
    let posts = bodies.iter().map(|body| post("/v2/snaps/refresh", host, body));
    posts.map(|request| request.header("Content-Type", "application/json")).collect()
}

/// A snap object, or a stream where its documents are.
fn shows_in_refresh(_: &Subject, response: &Response) -> bool {
    let body = response.json();
    let result = &body["results"][0];
    result["snap"].is_object()
        || result["assertion-stream-urls"].as_array().is_some_and(|urls| !urls.is_empty())
}

/// Answered with what was asked for.
fn answered(_: &Subject, response: &Response) -> bool {
    matches!(response.status, 200 | 206)
}

/// Listed by name.
fn lists_it(snap: &Subject, response: &Response) -> bool {
    let text = response.text();
    text.contains(&format!("\"name\":\"{}\"", snap.name))
        || text.contains(&format!("\"package_name\":\"{}\"", snap.name))
}

/// Told by its id.
fn holds_its_id(snap: &Subject, response: &Response) -> bool {
    response.text().contains(&snap.id)
}

/// Named anywhere.
fn names_it(snap: &Subject, response: &Response) -> bool {
    [&snap.name, &snap.id, &snap.digest].iter().any(|name| response.text().contains(name.as_str()))
}
