//! `config` and what builds on it, with the server down and running.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use schema::config::{ConfigLock, FILE_NAME, KEYS, Kind, RotatedSecret, Settings, UnseenChange};
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
    let file =
        new.file("u.yaml", "proxy.domain: a".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    let path = file.display().to_string();
    new.run(["config", "--import-yaml", &path]).fails(&format!("`iconv -f UTF-16 -t UTF-8 {path}`"));
    new.file("v.yaml", "proxy.port.http: x\n");
    new.line("config --import-yaml v.yaml").fails("cannot use v.yaml: cannot set proxy.port.http");
}

/// Values that each kind can hold, with those that YAML reads as something else.
fn samples(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Text => {
            &["x", "off", "yes", "007", "1.5", "~", "a: b # c", "[::]", "- a", "\"q\"", "null", "*a", " x "]
        }
        Kind::Host => &["store.example", "10.0.0.7", "::1", "[::1]"],
        Kind::Address => &["[::]", "::1", "0.0.0.0", "[fd00::7]"],
        Kind::Port => &["0", "8443"],
        Kind::Listen | Kind::Socket => &["[::]:8444", "127.0.0.1:0", "[fd00::7]:9600"],
        Kind::Number => &["0", "20", "007"],
        Kind::Switch => &["True", "False"],
        Kind::Quarantine => &["off", "parcels", "all"],
        Kind::Url => &["http://a.example", "https://[::1]:8080/x?y=1#z"],
        Kind::Origin => &["http://store.example", "https://store.example:8443"],
        Kind::DeviceServices => &["[]", "[\"https://serials.acme.example/v1\",\"http://10.0.0.7:8080/\"]"],
        Kind::HttpsUrl => &["https://ca.internal/acme"],
        Kind::Database => {
            &["postgresql://u@h:5432/d", "postgresql://u:p@h/d", "postgresql://u@h/d?password=p"]
        }
        Kind::Duration => &["30s", "3600", "7d"],
        Kind::List => &["[]", "[\"a: b\",\"off\",\"#\"]"],
        Kind::Networks => &["[]", "[\"10.0.0.7\",\"fd00::/8\"]"],
        Kind::Pem => &[PEM],
        Kind::ClientAuth => &["off", "optional", "required"],
        Kind::Path => &["/etc/cas", "/a b/#c: d"],
        Kind::Key32 => &[KEY],
        Kind::AcmeChallenge => &["http-01", "tls-alpn-01"],
        Kind::Backend => &["local", "s3"],
        Kind::LogFormat => &["text", "json"],
        Kind::LogLevel => &["debug"],
        Kind::MacKey => &["zWND_-Zg"],
        Kind::DeltaFormats => &["[\"xdelta3\"]"],
        Kind::OldSecrets => &["[]"],
    }
}

/// A configuration file that holds these values, whatever they have to fit with.
fn holding(values: &[(&str, &str)]) -> Site {
    let site = Site::new();
    let mut settings = Settings::default();
    for (name, value) in values {
        settings.set(name, value).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
    }
    fs::create_dir_all(&site.data).expect("a folder");
    settings.save(&site.data).expect("a file");
    site
}

#[test]
fn every_value_goes_out_and_comes_back_by_dump_and_by_export() {
    // Every key at once, once with each of the values that its kind can hold.
    let most = KEYS.iter().map(|key| samples(key.kind).len()).max().unwrap_or_default();
    for turn in 0..most {
        let values: Vec<_> = KEYS
            .iter()
            .filter(|key| turn == 0 || !key.secret)
            .map(|key| (key.name, samples(key.kind)))
            .map(|(name, samples)| (name, samples[turn % samples.len()]))
            .collect();
        let site = holding(&values);
        let export = site.line("config --export-yaml").ok();
        for out in ["config", "config --export-yaml", "config --json"] {
            let text = site.line(out).ok();
            let file = site.file("out.yaml", &text);
            site.run([std::ffi::OsStr::new("config"), "--import-yaml".as_ref(), file.as_os_str()]).ok();
            assert_eq!(site.line("config --export-yaml").ok(), export, "{out}: {text}");
        }
    }
}

#[test]
fn a_dump_makes_another_host_the_same_but_for_its_secrets() {
    for (name, value) in [
        ("proxy.ipaddress", "[fd00::7]"),
        ("proxy.log.level", "debug"),
        ("proxy.airgap", "True"),
        ("proxy.device-auth.secret", KEY),
        ("proxy.key.public", PEM),
    ] {
        let (old, new) = (holding(&[(name, value)]), Site::new());
        let dump = old.line("config").ok();
        let imported = new.run_with(&dump, ["config", "--import-yaml"]);
        let hidden = value == KEY;
        assert_eq!(
            imported.stderr.contains(&format!("stay as they are: {name}")),
            hidden,
            "{}",
            imported.stderr
        );
        imported.ok();
        assert_eq!(new.run(["config", name]).ok().trim_end() == value.trim_end(), !hidden, "{name}");
    }
    let words = "proxy: {airgap: on, ipaddress: '[::1]'}\nproxy.tls.client-auth: off\nproxy.storage.s3.use-path-style: no\n";
    let site = Site::new();
    site.run_with(words, ["config", "--import-yaml"]).ok();
    let read = site.line("config proxy.airgap proxy.tls.client-auth proxy.storage.s3.use-path-style").ok();
    assert_eq!(read, "True\noff\nFalse\n");
    // Only what a dump hides may stay as it is.
    site.run_with("proxy.domain: <redacted>", ["config", "--import-yaml"]).fails("stands for a secret");
    site.run(["config", "proxy.upstream=http://u:hunter2@h"]).ok();
    assert!(!site.line("config").ok().contains("hunter2"));
    site.run_with(&site.line("config").ok(), ["config", "--import-yaml"]).ok();
    assert_eq!(site.line("config proxy.upstream").ok(), "http://u:hunter2@h\n");
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
    for nothing in ["", "\n"] {
        set("proxy.auth.secret", nothing).fails("`proxy config proxy.auth.secret=` clears it");
    }
    assert_eq!(site.line("config proxy.auth.secret").ok(), format!("{KEY}\n"));
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
    assert!(first.site.airgap);
    let (device, auth) = (first.secret(RotatedSecret::Sessions), first.secret(RotatedSecret::Logins));
    assert!(device.is_some() && auth.is_some() && device != auth);
    let done = site.line("enable-airgap-mode --password hunter2");
    assert!(done.stderr.starts_with("note: --password has no meaning"), "{done:?}");
    assert_eq!(done.ok(), "Store is already in device authenticated air-gapped mode\n");
    assert_eq!(read(), first, "a second run changes nothing");
    site.line("disable-airgap-mode").ok();
    assert!(!read().site.airgap);
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

#[test]
fn keys_say_what_they_are_for() {
    let site = Site::new();
    let told = site.line("config --describe proxy.port.http").ok();
    let wanted = "proxy.port.http\n  Port of plain HTTP.\n  value:    a port number from 0 to 65535\n  default:  80\n  \
                  example:  proxy config proxy.port.http=8080\n  applies:  when the server is started again\n  \
                  since:    0.1.0\n";
    assert_eq!(told, wanted);
    assert_eq!(site.line("config proxy.port.http --describe").ok(), told);
    let all: Value = serde_json::from_str(&site.line("config --describe --json").ok()).expect("JSON");
    let names: Vec<&str> =
        all.as_array().expect("a list").iter().filter_map(|key| key["key"].as_str()).collect();
    assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    let idle = site.line("config --describe proxy.cache").ok();
    assert!(idle.contains("has no effect") && !idle.contains("example"), "{idle}");
    site.line("config --describe proxy.domian").fails("did you mean proxy.domain?");
    site.run(["config", "proxy.domian=x"]).fails("did you mean proxy.domain?");
    for (line, wanted) in [
        ("config PROXY.DOMAIN", "did you mean proxy.domain?"),
        ("config domain", "did you mean proxy.domain?"),
        ("config port.http=80", "did you mean proxy.port.http?"),
        ("config set proxy.domain x", "`proxy config proxy.domain=x`"),
        ("config get proxy.domain", "`proxy config proxy.domain`"),
        ("config set http.cert_path FILE", "`proxy import-certificate"),
    ] {
        site.line(line).fails(wanted);
    }
    assert_eq!(site.run(["config", "--describe", "--export-yaml"]).code, 2);
}

#[test]
fn a_change_without_a_server_is_noted_for_its_audit_log() {
    let site = Site::new();
    let noted = || UnseenChange::all(&site.data).expect("the notes");
    site.run(["config", "proxy.domain=a.example", "proxy.port.http=80"]).ok();
    // Setting what is set changes nothing.
    site.run(["config", "proxy.domain=a.example"]).ok();
    site.run(["config", "proxy.domain=b.example", "proxy.port.http=x"]).fails("cannot set");
    site.run(["config", &format!("proxy.auth.secret={KEY}")]).ok();
    let keys: Vec<_> = noted().into_iter().flat_map(|noted| noted.changes).map(|change| change.key).collect();
    assert_eq!(keys, ["proxy.domain", "proxy.auth.secret"]);
    assert!(
        !format!("{:?}", noted()).contains(KEY)
            && noted().iter().all(|change| change.who.starts_with("uid "))
    );
    let mode = fs::metadata(site.data.join("airlock.changes")).expect("the file").mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn commands_at_once_lose_nothing_that_they_acknowledged() {
    let site = Site::new();
    let at_once = |lines: &[String]| -> Vec<String> {
        let running: Vec<_> = lines
            .iter()
            .map(|line| {
                site.command().args(line.split_whitespace()).stdout(Stdio::piped()).spawn().expect("a start")
            })
            .collect();
        let ended = running.into_iter().map(|child| child.wait_with_output().expect("an end"));
        ended.map(|done| String::from_utf8(done.stdout).expect("text")).collect()
    };
    let port = |name: &str| format!("proxy.port.{name}");
    let names =
        ["http", "https", "memcached", "snapauth", "snapident", "snapmodels", "snaprevs", "snapstorage"];
    at_once(&names.map(|name| format!("config {}=7777", port(name))));
    let settings = Settings::load(&site.data).expect("a configuration");
    assert_eq!(
        names.map(|name| settings.get(&port(name)).map(str::to_owned)),
        [(); 8].map(|()| Some("7777".into()))
    );
    let said = at_once(&[(); 8].map(|()| "enable-airgap-mode --json".to_owned()));
    let made = said.iter().filter(|said| said.contains("proxy.device-auth.secret")).count();
    assert_eq!(made, 1, "{said:?}");
}

#[test]
fn a_server_that_starts_is_waited_for() {
    let site = Site::new();
    let starting = ConfigLock::try_take(&site.data).expect("a lock").expect("nobody else has it");
    let mut command = site.command();
    let child =
        command.args(["config", "proxy.domain=a.example"]).stdout(Stdio::piped()).spawn().expect("a start");
    let answer = json!({"values": {"proxy.domain": "a.example"}, "after-restart": []});
    let stub = Stub::start(&site, &[("PATCH /v1/config", 200, answer)]);
    drop(starting);
    assert!(child.wait_with_output().expect("an end").status.success());
    assert_eq!(stub.asked().len(), 1);
    assert!(!site.data.join(FILE_NAME).exists(), "the server owns the file");
}

#[test]
fn the_backup_recipe_moves_a_store_to_an_empty_host() {
    let (old, new) = (Site::new(), Site::new());
    let database = "postgresql://u:hunter2@db/x";
    old.run(["config", "proxy.domain=snaps.internal", &format!("proxy.db.connection={database}")]).ok();
    old.run(["config", "proxy.admin.address=127.0.0.1:8444"]).fails("there is no certificate");
    old.line("import-certificate --selfsigned --force").ok();
    old.run(["config", "proxy.admin.address=127.0.0.1:8444"]).ok();
    old.line("enable-airgap-mode").ok();
    old.line("generate-keys").ok();
    let secrets = ["proxy.tls.key", "proxy.key.private", "proxy.device-auth.secret", "proxy.auth.secret"];
    let backup = old.line("config").ok();
    let imported = new.run_with(&backup, ["config", "--import-yaml"]);
    assert!(
        imported.stderr.contains("proxy.db.connection") && imported.stderr.contains("--set-from-stdin KEY"),
        "{imported:?}"
    );
    imported.ok();
    let status = new.line("status").stdout;
    assert!(status.contains("HTTPS stays off, because proxy.tls.cert waits for proxy.tls.key"), "{status}");
    let held = Settings::load(&new.data).expect("a configuration");
    assert!(held.listen.admin.is_none(), "nothing is open without TLS");
    for name in secrets {
        let secret = old.run(["config", name]).ok();
        new.run_with(&secret, ["config", "--set-from-stdin", name]).ok();
    }
    new.run_with(database, ["config", "--set-from-stdin", "proxy.db.connection"]).ok();
    assert_eq!(new.line("config --export-yaml").ok(), old.line("config --export-yaml").ok());
    assert!(Settings::load(&new.data).expect("a configuration").listen.admin.is_some());
    // What is whole stays whole.
    new.run(["config", "proxy.tls.key="]).fails("would be left without");
}
