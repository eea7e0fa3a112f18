//! The companion on another host: every command that asks the server works over HTTPS with a login.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::bundle::write_pair;
use tests::http::{Connection, Request};
use tests::server::{Ran, SECRET, program};
use tests::world::World;

use super::Site;

/// A workstation with nothing but login files and the authority's certificate.
pub(super) struct Desk<'a> {
    pub(super) site: &'a Site,
    pub(super) folder: TempDir,
}

impl<'a> Desk<'a> {
    pub(super) fn new(site: &'a Site) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        fs::write(folder.path().join("ca.pem"), &site.ca).expect("there is room");
        Self { site, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a login file, and answers the login's id.
    fn login(&self, acls: &str) -> String {
        let (id, token) = self.site.store.site_login(acls);
        fs::write(self.path(acls), token).expect("there is room");
        id
    }

    fn url(&self) -> String {
        format!("https://{}", self.site.address)
    }

    /// Runs `proxy` with a login, on an empty data directory.
    pub(super) fn proxy(&self, login: &str, args: &[&str]) -> Ran {
        self.command()
            .env("AIRLOCK_SERVER", self.url())
            .env("AIRLOCK_TOKEN_FILE", self.path(login))
            .env("AIRLOCK_CA", self.path("ca.pem"))
            .args(args)
            .output()
            .expect("proxy can be started")
            .into()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("proxy"));
        command.env("AIRLOCK_DATA_DIR", self.path("nothing")).stdin(Stdio::null());
        command
    }
}

#[test]
fn an_operator_works_from_afar() {
    let site = Site::new();
    let desk = Desk::new(&site);
    let (admin, pipeline) = (desk.login("admin"), desk.login("admin:imports"));
    let world = World::new();
    fs::write(desk.path("root.assert"), world.anchors()).expect("there is room");
    let root = desk.path("root.assert").display().to_string();
    assert!(desk.proxy("admin", &["trust", "add", &root]).code == Some(0));
    let hello = world.snap("hello").architectures(&["amd64"]);
    for (number, channel) in [(1, "edge"), (2, "stable")] {
        let folder = tempfile::tempdir().expect("there is room");
        let snap = write_pair(folder.path(), &hello.revision(number)).display().to_string();
        let pushed = desk.proxy("admin:imports", &["push-snap", &snap, "--channel", channel]).ok();
        assert!(pushed.contains(&format!("hello revision {number}")), "{pushed}");
    }
    assert_eq!(
        desk.proxy("admin", &["override", "hello", "stable=1"]).ok(),
        "hello stable amd64 1\nhello latest/stable amd64 2 → 1\n"
    );
    let listed = desk.proxy("admin", &["list-overrides"]).ok();
    assert_eq!(listed, "hello stable amd64 1 (upstream 2)\n");

    // Devices see it at once.
    let https = site.store.status().listening;
    let https = https.iter().find_map(|at| at.strip_prefix("https://")?.parse().ok()).expect("an HTTPS port");
    let info = Request::new("GET", "/v2/snaps/info/hello?fields=channel-map,revision", "store");
    let info = Connection::open_tls(https, &site.ca).and_then(|mut port| port.exchange(&info));
    let info = info.expect("an answer").json();
    let stable =
        info["channel-map"].as_array().expect("a list").iter().find(|one| one["channel"]["name"] == "stable");
    assert_eq!(stable.expect("a stable channel")["revision"], 1, "{info}");

    let status = desk
        .command()
        .arg("--ca")
        .arg(desk.path("ca.pem"))
        .args(["status", "--json", "--server", &desk.url(), "--token-file"])
        .arg(desk.path("admin"))
        .output();
    let status = Ran::from(status.expect("proxy can be started"));
    let status: Value =
        serde_json::from_str(&status.stdout).unwrap_or_else(|error| panic!("{error}: {status:?}"));
    assert_eq!((&status["running"], &status["counts"]["snaps"]), (&json!(true), &json!(1)));
    assert_eq!(status["admin-address"], desk.url());

    let events = desk.proxy("admin", &["audit", "--json"]).json_lines();
    let who = |what: &str| events.iter().rev().find(|event| event["what"] == what).map(|event| &event["who"]);
    assert_eq!(who("override"), Some(&json!(format!("login {admin}"))));
    let pushes = events.iter().filter(|event| event["who"] == format!("login {pipeline}")).count();
    assert_eq!(pushes, 2, "{events:#?}");

    // A login that came over the redirecting port is read by nobody.
    let token = fs::read_to_string(desk.path("admin")).expect("a login");
    let wish = json!([{ "snap_name": "hello", "revision": null, "channel": "stable", "series": "16" }]);
    let plain = Request::new("POST", "/v2/metadata/overrides", site.store.host())
        .header("Authorization", &format!("Macaroon {token}"))
        .body(wish.to_string().as_bytes());
    assert_eq!(site.store.send(&plain).status, 308);
    assert_eq!(desk.proxy("admin", &["list-overrides"]).ok(), listed);
}

#[test]
fn settings_are_changed_from_afar_and_secrets_stay() {
    let site = Site::new();
    let desk = Desk::new(&site);
    let _ = (desk.login("admin"), desk.login("admin:read"));
    let dump = desk.proxy("admin:read", &["config"]).ok();
    assert!(dump.contains("proxy.auth.secret: <redacted>\n") && !dump.contains(SECRET), "{dump}");
    assert!(dump.contains("proxy.domain: 127.0.0.1\n"), "{dump}");
    assert_eq!(desk.proxy("admin:read", &["config", "proxy.domain"]).ok(), "127.0.0.1\n");
    let refused = desk.proxy("admin", &["config", "proxy.auth.secret"]).refused();
    assert!(refused.contains("on the server's host only"), "{refused}");
    let lifetime = "proxy.device-auth.session-lifetime=3d";
    assert!(desk.proxy("admin:read", &["config", lifetime]).refused().contains("takes one with admin"));
    let _ = desk.proxy("admin", &["config", lifetime]).ok();
    assert_eq!(site.store.proxy(&["config", "proxy.device-auth.session-lifetime"]).ok(), "3d\n");
    assert!(desk.proxy("admin", &["disable-airgap-mode"]).code == Some(0));
    assert!(desk.proxy("admin", &["enable-airgap-mode"]).code == Some(0));
    let secret = site.store.proxy(&["config", "proxy.auth.secret"]).ok();
    assert_eq!(secret.trim(), SECRET, "a secret that is there is not made anew");

    // What works with files of a host says so.
    for args in [
        &["config", "--export-yaml"][..],
        &["ca", "show"],
        &["check-connections"],
        &["fetch-snaps", "hello"],
        &["register", "--import", "store.assert"],
    ] {
        let ran = desk.proxy("admin", args);
        let told = ran.stderr.contains("AIRLOCK_SERVER") || ran.stderr.contains("store.assert");
        assert!(ran.code == Some(1) && told, "{args:?}: {ran:?}");
    }
    assert!(!desk.path("nothing").exists(), "nothing was written beside");
}

#[test]
fn what_keeps_an_operator_out_is_told() {
    let site = Site::new();
    let desk = Desk::new(&site);
    let _ = (desk.login("admin:read"), desk.login("admin:imports"));
    let big = desk.path("hello-20240102T030405.tar.gz");
    fs::write(&big, vec![7; 24 << 20]).expect("there is room");
    let big = big.display().to_string();
    // The answer to a large upload that is refused at once is heard.
    let refused = desk.proxy("admin:read", &["push-snap", &big]).refused();
    assert!(refused.contains("takes one with admin or admin:imports"), "{refused}");
    let refused = desk.proxy("admin:imports", &["push-snap", &big]).refused();
    assert!(!refused.contains("cannot finish the exchange"), "{refused}");
    assert!(desk.proxy("admin:imports", &["list-devices"]).refused().contains("admin:read"));

    let revoked = desk.login("admin");
    let _ = site.store.proxy(&["revoke-login", &revoked]).ok();
    let unknown = desk.proxy("admin", &["list-stores"]).refused();
    let token = fs::read_to_string(desk.path("admin")).expect("a login");
    assert!(unknown.contains("needs a service login") && !unknown.contains(&token), "{unknown}");
    assert!(desk.proxy("missing", &["list-stores"]).refused().contains("cannot read"));
    let without = desk.command().args(["list-stores", "--server", &desk.url()]).output();
    assert!(Ran::from(without.expect("proxy can be started")).refused().contains("--token-file"));
    let usage = desk.command().args(["list-stores", "--server", "http://127.0.0.1"]).output();
    assert_eq!(Ran::from(usage.expect("proxy can be started")).code, Some(2));
    // The system's authorities know nothing of this store's.
    let mut stranger = desk.command();
    stranger.args(["list-stores", "--server", &desk.url(), "--token-file"]).arg(desk.path("admin:read"));
    let stranger = Ran::from(stranger.output().expect("proxy can be started"));
    assert!(stranger.refused().contains("cannot reach the server"));
}
