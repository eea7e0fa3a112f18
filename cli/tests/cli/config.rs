//! `config` and what builds on it, with the server down and running.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use schema::config::{FILE_NAME, KEYS, Settings};
use serde_json::{Value, json};

use crate::support::{Site, Stub};

const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn a_dump_is_sorted_and_shows_no_secret() {
    let site = Site::new();
    site.run([
        "config",
        "proxy.db.connection=postgresql://snapproxy:hunter2@10.126.46.135:5432/snapproxy",
        &format!("proxy.device-auth.secret={KEY}"),
        &format!("proxy.key.public={PEM}"),
    ])
    .ok();
    let dump = site.line("config").ok();
    let names: Vec<&str> =
        dump.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    let wanted: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, wanted);
    let lines: Vec<&str> = dump.lines().collect();
    for wanted in [
        "proxy.db.connection: postgresql://snapproxy:<redacted>@10.126.46.135:5432/snapproxy",
        "proxy.device-auth.secret: <redacted>",
        "proxy.auth.secret: ",
        "proxy.domain: localhost",
        r"proxy.key.public: -----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(lines.contains(&wanted), "{wanted}: {dump}");
    }
    let json: Value = serde_json::from_str(&site.line("config --json").ok()).expect("JSON");
    assert_eq!(json["proxy.device-auth.secret"], "<redacted>");
}

#[test]
fn values_are_printed_as_they_are_in_the_order_asked() {
    let site = Site::new();
    site.run(["config", &format!("proxy.auth.secret={KEY}"), &format!("proxy.key.public={PEM}")]).ok();
    assert_eq!(site.line("config proxy.auth.secret").ok(), format!("{KEY}\n"));
    assert_eq!(site.line("config proxy.key.public").ok(), PEM);
    assert_eq!(site.line("config proxy.key.public proxy.domain").ok(), format!("{PEM}localhost\n"));
    assert_eq!(site.line("config proxy.key.private").ok(), "\n");
    site.line("config proxy.domain proxy.nonsense").fails("unknown configuration key");
    let json: Value = serde_json::from_str(&site.line("config proxy.domain --json").ok()).expect("JSON");
    assert_eq!(json, json!({"proxy.domain": "localhost"}));
}

#[test]
fn values_are_set_together_or_not_at_all_and_echoed() {
    let site = Site::new();
    let echo = site.run([
        "config",
        "proxy.port.http=8080",
        "proxy.airgap=true",
        &format!("proxy.auth.secret={KEY}"),
    ]);
    assert_eq!(echo.ok(), "proxy.airgap: True\nproxy.auth.secret: <redacted>\nproxy.port.http: 8080\n");
    for (wrong, message) in [
        ("proxy.port.https=70000", "cannot set proxy.port.https: expected a port number"),
        ("proxy.nonsense=1", "unknown configuration key"),
        ("=1", "unknown configuration key"),
        ("proxy.auth.secret=<redacted>", "stands for a secret"),
        ("proxy.db.connection=postgresql://u:<redacted>@h/d", "stands for a secret"),
    ] {
        site.run(["config", "proxy.domain=a.example", wrong]).fails(message);
        assert_eq!(site.line("config proxy.domain").ok(), "localhost\n", "{wrong}");
    }
    assert_eq!(site.run(["config", "proxy.auth.secret="]).ok(), "proxy.auth.secret: \n");
    assert_eq!(site.line("config proxy.auth.secret").ok(), "\n");
    assert_eq!(site.run(["config", "proxy.domain", "proxy.domain=x"]).code, 2);
    assert_eq!(site.line("config --export-yaml --import-yaml").code, 2);
}

#[test]
fn yaml_goes_out_and_comes_back() {
    let (old, new) = (Site::new(), Site::new());
    old.run(["config", "proxy.domain=snaps.internal", &format!("proxy.auth.secret={KEY}")]).ok();
    let yaml = old.line("config --export-yaml").ok();
    assert!(yaml.contains(KEY));
    new.run(["config", "proxy.port.http=8080"]).ok();
    let echo = new.run_with(&yaml, ["config", "--import-yaml"]).ok();
    assert_eq!(echo, "proxy.auth.secret: <redacted>\nproxy.domain: snaps.internal\n");
    assert_eq!(new.line("config proxy.port.http").ok(), "8080\n", "what the YAML does not name stays");
    new.run(["config", "proxy.port.http="]).ok();
    assert_eq!(new.line("config --export-yaml").ok(), yaml);
    let nested = "proxy:\n  domain: nested.internal\n  port:\n    http: 81\n";
    new.run_with(nested, ["config", "--import-yaml"]).ok();
    assert_eq!(new.line("config proxy.domain proxy.port.http").ok(), "nested.internal\n81\n");
    new.run_with("proxy.domain: [", ["config", "--import-yaml"])
        .fails("cannot read the configuration as YAML");
    let dump = new.line("config").ok();
    new.run_with(&dump, ["config", "--import-yaml"]).fails("");
}

#[test]
fn a_value_can_come_from_standard_input() {
    let site = Site::new();
    let set = |key: &str, text: &str| site.run_with(text, ["config", "--set-from-stdin", key]);
    assert_eq!(set("proxy.auth.secret", &format!("{KEY}\n")).ok(), "proxy.auth.secret: <redacted>\n");
    set("proxy.key.public", PEM).ok();
    set("proxy.db.connection", "postgresql://u:p@h/d\n").ok();
    let read = site.line("config proxy.auth.secret proxy.db.connection proxy.key.public").ok();
    assert_eq!(read, format!("{KEY}\npostgresql://u:p@h/d\n{PEM}"));
    set("proxy.nonsense", "x").fails("unknown configuration key");
}

#[test]
fn the_file_keeps_its_owner_and_mode() {
    let site = Site::new();
    site.run(["config", "proxy.domain=a.example"]).ok();
    let file = site.data.join(FILE_NAME);
    assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o7777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("a mode");
    let is_root = fs::metadata(&site.data).expect("a folder").uid() == 0;
    if is_root {
        std::os::unix::fs::chown(&file, Some(1234), Some(4321)).expect("an owner");
    }
    site.run(["config", "proxy.domain=b.example"]).ok();
    let meta = fs::metadata(&file).expect("a file");
    assert_eq!(meta.mode() & 0o7777, 0o400);
    if is_root {
        assert_eq!((meta.uid(), meta.gid()), (1234, 4321));
        // A first file belongs to the one whose folder it is.
        fs::remove_file(&file).expect("gone");
        std::os::unix::fs::chown(&site.data, Some(1234), Some(4321)).expect("an owner");
        site.run(["config", "proxy.domain=c.example"]).ok();
        let meta = fs::metadata(&file).expect("a file");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 4321, 0o600));
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    site.line("config").fails("can be read by others (mode 0640)");
}

#[test]
fn a_missing_data_directory_is_made() {
    let mut site = Site::new();
    site.data = site.data.join("deeper/still");
    assert!(site.line("config").ok().contains("proxy.domain: localhost\n"));
    assert!(!site.data.exists(), "reading makes nothing");
    site.run(["config", "proxy.domain=a.example"]).ok();
    assert_eq!(fs::metadata(&site.data).expect("a folder").mode() & 0o027, 0);
}

#[test]
fn a_running_server_is_asked_to_change() {
    let site = Site::new();
    let answer = json!({"values": {"proxy.domain": "a.example", "proxy.port.http": "81"}, "after-restart": ["proxy.port.http"]});
    let stub = Stub::start(&site, &[("PATCH /v1/config", 200, answer)]);
    let done = site.run(["config", "proxy.domain=a.example", "proxy.port.http=81"]);
    assert_eq!(done.stderr, "note: restart the server to apply proxy.port.http\n");
    assert_eq!(done.ok(), "proxy.domain: a.example\nproxy.port.http: 81\n");
    let asked: Value = serde_json::from_slice(&stub.asked()[0].body).expect("JSON");
    assert_eq!(asked, json!({"values": {"proxy.domain": "a.example", "proxy.port.http": "81"}}));
    assert!(!site.data.join(FILE_NAME).exists(), "the server owns the file");
}

#[test]
fn a_refusal_of_the_server_is_told() {
    let site = Site::new();
    let refusal = json!({"code": "invalid-config", "message": "cannot set proxy.domain: expected a host"});
    let _stub = Stub::start(&site, &[("PATCH /v1/config", 400, refusal)]);
    let done = site.run(["config", "proxy.domain=x"]);
    assert_eq!(done.stderr, "error: cannot set proxy.domain: expected a host\n");
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
}

#[test]
fn the_mode_is_enabled_once_and_keeps_its_secrets() {
    let site = Site::new();
    let read = || Settings::load(&site.data).expect("a configuration");
    site.line("enable-airgap-mode").ok();
    let first = read();
    assert!(first.is_on("proxy.airgap"));
    let (device, auth) = (first.key32("proxy.device-auth.secret"), first.key32("proxy.auth.secret"));
    assert!(device.is_some() && auth.is_some() && device != auth);
    let done = site.line("enable-airgap-mode --password hunter2");
    assert!(done.stderr.starts_with("note: --password has no meaning"), "{done:?}");
    assert_eq!(done.ok(), "Store is already in device authenticated air-gapped mode\n");
    assert_eq!(read(), first, "a second run changes nothing");
    site.line("disable-airgap-mode").ok();
    assert!(!read().is_on("proxy.airgap"));
    let json: Value = serde_json::from_str(&site.line("enable-airgap-mode --json").ok()).expect("JSON");
    assert_eq!(json, json!({"airgap-mode": true, "changed": ["proxy.airgap"]}));
    assert_eq!(read(), first, "the secrets outlive the mode");
}

#[test]
fn keys_are_made_once_and_belong_together() {
    let site = Site::new();
    site.line("generate-keys").ok();
    let (private, public) =
        (site.line("config proxy.key.private").ok(), site.line("config proxy.key.public").ok());
    assert!(
        private.starts_with("-----BEGIN PRIVATE KEY-----\n")
            && private.ends_with("-----END PRIVATE KEY-----\n")
    );
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{public}");
    assert!(private.lines().all(|line| line.len() <= 64));
    let der = |pem: &str| {
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64")
    };
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair as _;
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(&der(&private)).expect("a key");
    assert!(pair.public_modulus_len() * 8 >= 2048);
    let encoded: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("an encoding");
    assert_eq!(encoded.as_ref(), der(&public));

    site.line("generate-keys").fails("generate-keys --force");
    assert_eq!(site.line("config proxy.key.private").ok(), private);
    site.line("generate-keys --force").ok();
    assert_ne!(site.line("config proxy.key.private").ok(), private);
}
