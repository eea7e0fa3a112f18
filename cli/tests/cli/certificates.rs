//! Certificates: import, the store's own authority, and trust in outgoing TLS.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use schema::config::{FILE_NAME, Settings};
use serde_json::{Value, json};

use crate::support::{Site, Stub};

/// Runs `openssl` in the folder of the site.
fn openssl(site: &Site, words: &[&str]) -> String {
    let mut command = Command::new("openssl");
    let done = command.args(words).current_dir(site.folder.path()).stdin(Stdio::null()).output();
    let done = done.expect("openssl is installed");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// A self-signed certificate for a host, as `NAME.pem` and `NAME.key`.
fn certificate(site: &Site, name: &str, host: &str, more: &[&str]) {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let (subject, alternative) = (format!("/CN={host}"), format!("subjectAltName=DNS:{host}"));
    let words = ["req", "-x509", "-newkey", "rsa:2048", "-keyout", &key, "-out", &pem, "-subj", &subject];
    let extensions = ["-addext", &alternative, "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(site, &[&words[..], &extensions, more].concat());
}

fn site() -> Site {
    let site = Site::new();
    site.line("config proxy.domain=snaps.internal").ok();
    certificate(&site, "one", "snaps.internal", &["-nodes"]);
    site
}

fn read(site: &Site, file: &str) -> String {
    fs::read_to_string(site.folder.path().join(file)).expect("a file")
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn a_pair_comes_from_files_or_standard_input_in_any_order() {
    let site = site();
    let said = site.line("import-certificate one.key one.pem").ok();
    assert!(said.starts_with("Certificate of snaps.internal for snaps.internal\nIssued by snaps.internal, chain of 1 certificate\nValid from "), "{said}");
    assert_eq!(site.line("config proxy.tls.cert").ok(), read(&site, "one.pem"));
    let both = read(&site, "one.pem") + &read(&site, "one.key");
    for args in [&["import-certificate"][..], &["import-certificate", "-"]] {
        let before = fs::read(site.data.join(FILE_NAME)).expect("a configuration");
        site.run_with(&both, args).ok();
        assert_eq!(
            fs::read(site.data.join(FILE_NAME)).expect("a configuration"),
            before,
            "again is harmless"
        );
    }
    let json: Value =
        serde_json::from_str(&site.run_with(&both, ["import-certificate", "--json"]).ok()).expect("JSON");
    assert_eq!((&json["names"], &json["chain-length"]), (&json!(["snaps.internal"]), &json!(1)));
    site.run(["config", "proxy.tls.key=", "proxy.tls.cert="]).ok();
    assert_eq!(site.line("config proxy.tls.cert").ok(), "\n");
    assert_eq!(site.line("import-certificate one.pem --selfsigned").code, 2);
}

#[test]
fn what_is_refused_leaves_the_old_pair() {
    let site = site();
    site.line("import-certificate one.pem one.key").ok();
    let before = fs::read(site.data.join(FILE_NAME)).expect("a configuration");
    certificate(&site, "two", "store.example", &["-nodes"]);
    for (line, said) in [
        (
            "import-certificate one.pem two.key",
            "the key (two.key line 1) does not belong to the certificate of snaps.internal (one.pem line 1)",
        ),
        ("import-certificate one.pem", "no private key"),
        ("import-certificate missing.pem", "cannot read missing.pem: No such file"),
        (
            "import-certificate two.pem two.key",
            "is for store.example, not for snaps.internal: set proxy.domain, or have one made for snaps.internal; `proxy import-certificate --force` takes it",
        ),
    ] {
        site.line(line).fails(said);
        assert_eq!(fs::read(site.data.join(FILE_NAME)).expect("a configuration"), before, "{line}");
    }
    site.run(["config", &format!("proxy.tls.cert={}", read(&site, "two.pem"))]).fails("does not belong to");
    site.run(["config", "proxy.tls.key="]).fails("proxy.tls.cert would be left without proxy.tls.key");
    assert_eq!(fs::read(site.data.join(FILE_NAME)).expect("a configuration"), before);
    let forced = site.line("import-certificate two.pem two.key --force");
    assert!(forced.stderr.starts_with("warning: the certificate is for store.example"), "{forced:?}");
    forced.ok();
    assert_eq!(site.line("config proxy.tls.cert").ok(), read(&site, "two.pem"));
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let site = site();
    certificate(&site, "locked", "snaps.internal", &["-passout", "pass:open sesame"]);
    mode(&site.file("right", "open sesame\n"), 0o600);
    mode(&site.file("wrong", "open\n"), 0o600);
    site.line("import-certificate locked.pem locked.key")
        .fails("locked.key line 1: the key is encrypted: give its passphrase with --passphrase-file");
    site.line("import-certificate locked.pem locked.key --passphrase-file wrong")
        .fails("locked.key line 1: the passphrase does not open the key");
    site.line("import-certificate locked.pem locked.key --passphrase-file right").ok();
    assert!(site.line("config proxy.tls.key").ok().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    mode(&site.folder.path().join("right"), 0o644);
    let done = site.line("import-certificate locked.pem locked.key --passphrase-file right");
    assert!(
        done.stderr.starts_with("warning: right holds a passphrase and can be read by others (owner "),
        "{done:?}"
    );
}

#[test]
fn a_terminal_is_asked_for_the_passphrase() {
    let site = site();
    certificate(&site, "locked", "snaps.internal", &["-passout", "pass:open sesame"]);
    let mut command = site.command_as(Path::new("script"));
    let line = format!("{} import-certificate locked.pem locked.key", env!("CARGO_BIN_EXE_proxy"));
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("script is installed");
    let (mut keyboard, mut screen) =
        (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("Passphrase of the key at locked.key line 1: ") {
        let mut byte = [0];
        screen.read_exact(&mut byte).expect("a prompt");
        seen.extend(byte);
    }
    keyboard.write_all(b"open sesame\n").expect("somebody reads");
    let mut rest = String::new();
    screen.read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("an end").success(), "{rest}");
    assert!(rest.contains("Certificate of snaps.internal for snaps.internal"), "{rest}");
}

#[test]
fn a_running_server_gets_both_halves_at_once() {
    let site = site();
    let stub = Stub::start(&site, &[("PATCH /v1/config", 200, json!({"values": {}, "after-restart": []}))]);
    site.line("import-certificate one.pem one.key").ok();
    let asked = stub.asked();
    assert_eq!(asked.len(), 1);
    let change: Value = serde_json::from_slice(&asked[0].body).expect("JSON");
    let keys: Vec<&String> = change["values"].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["proxy.tls.cert", "proxy.tls.key"]);
    drop(stub);

    fs::remove_file(site.data.join(schema::api::admin::SOCKET_NAME)).expect("gone");
    let _stub =
        Stub::start(&site, &[("PATCH /v1/config", 400, json!({"code": "x", "message": "not today"}))]);
    let done = site.line("import-certificate one.pem one.key");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", "error: not today\n"));
}

#[test]
fn owners_and_modes_of_files_are_told() {
    let site = site();
    let key = site.folder.path().join("one.key");
    mode(&key, 0o640);
    let done = site.line("import-certificate one.pem one.key");
    let owner = owner(&key);
    assert_eq!(
        done.stderr,
        format!(
            "warning: one.key holds a private key and can be read by others (owner {owner}, mode 0640): run `chmod 600` on it\n"
        )
    );
    done.ok();
    fs::create_dir(site.folder.path().join("folder")).expect("a folder");
    mode(&site.folder.path().join("folder"), 0o700);
    site.line("import-certificate folder").fails(&format!("cannot read folder (owner {owner}, mode 0700)"));

    site.line("ca init").ok();
    let own = site.data.join("ca/ca.key");
    assert_eq!(fs::metadata(&own).expect("a key").mode() & 0o7777, 0o600);
    mode(&own, 0o640);
    site.line("ca issue-server")
        .fails(&format!("ca.key holds a private key and can be read by others (owner {owner}, mode 0640)"));
    mode(&own, 0o600);
    if fs::metadata(&own).expect("a key").uid() != 0 {
        mode(&own, 0o000);
        site.line("ca issue-server").fails(&format!("ca.key (owner {owner}, mode 0000): Permission denied"));
        return;
    }
    std::os::unix::fs::chown(&own, Some(65534), None).expect("an owner");
    site.line("ca issue-server").fails("ca.key belongs to another user (owner nobody, mode 0600)");
    // The same as somebody who is not root.
    std::os::unix::fs::chown(&key, Some(0), Some(0)).expect("an owner");
    mode(&key, 0o600);
    mode(site.folder.path(), 0o755);
    let program = site.file("proxy", fs::read(env!("CARGO_BIN_EXE_proxy")).expect("the program"));
    mode(&program, 0o755);
    let mut command = site.command_as(&program);
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let output =
        command.args(["import-certificate", "one.pem", "one.key", "--data-dir", "elsewhere"]).output();
    let said = String::from_utf8(output.expect("the program runs").stderr).expect("text");
    assert!(said.contains("cannot read one.key (owner root, mode 0600): Permission denied"), "{said}");
}

fn owner(path: &Path) -> String {
    let id = fs::metadata(path).expect("a file").uid();
    let output = Command::new("id").args(["-nu", &id.to_string()]).output().expect("id is installed");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_self_signed_pair_is_for_the_domain() {
    let site = Site::new();
    site.line("config proxy.domain=10.0.0.7").ok();
    assert!(
        site.line("import-certificate --selfsigned")
            .ok()
            .starts_with("Certificate of 10.0.0.7 for 10.0.0.7\n")
    );
    let pair =
        Settings::load(&site.data).expect("a configuration").tls_pair().expect("fitting").expect("a pair");
    assert!(pair.covers("10.0.0.7"));
    site.file("self.pem", pair.cert_pem());
    let said = openssl(
        &site,
        &["verify", "-CAfile", "self.pem", "-purpose", "sslserver", "-verify_ip", "10.0.0.7", "self.pem"],
    );
    assert_eq!(said, "self.pem: OK\n");
}

#[test]
fn the_own_authority_issues_for_the_store_and_for_clients() {
    let site = site();
    site.line("ca show").fails("there is no authority yet: run `proxy ca init`");
    site.line("ca issue-server").fails("run `proxy ca init`");
    assert!(site.line("ca init").ok().starts_with("Made the authority snaps.internal CA, valid to 20"));
    let ca = fs::read_to_string(site.data.join("ca/ca.pem")).expect("a certificate");
    assert_eq!(fs::metadata(site.data.join("ca/ca.pem")).expect("a file").mode() & 0o7777, 0o644);
    site.line("ca init --name Another").fails("there is an authority already");
    assert_eq!(site.line("ca show").ok(), ca);
    site.file("ca.pem", &ca);

    site.line("ca issue-server --name store.example").fails("not for snaps.internal");
    let said = site.line("ca issue-server --name snaps.internal --ip 10.0.0.7").ok();
    assert!(said.starts_with("Certificate of snaps.internal for snaps.internal, 10.0.0.7\nIssued by snaps.internal CA, chain of 2 certificates\n"), "{said}");
    site.file("server.pem", site.line("config proxy.tls.cert").ok());
    openssl(
        &site,
        &[
            "verify",
            "-CAfile",
            "ca.pem",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            "snaps.internal",
            "server.pem",
        ],
    );
    let chain = site.line("config proxy.tls.cert").ok();
    fs::create_dir(site.folder.path().join("out")).expect("a folder");
    assert_eq!(
        site.line("ca issue-server --name mirror.internal --out out").ok(),
        "Wrote out/mirror.internal.key\nWrote out/mirror.internal.pem\n"
    );
    assert_eq!(site.line("config proxy.tls.cert").ok(), chain, "the store's own stays");

    site.line("ca issue-client gateway-17 --out out").ok();
    assert_eq!(
        fs::metadata(site.folder.path().join("out/gateway-17.key")).expect("a key").mode() & 0o7777,
        0o600
    );
    openssl(&site, &["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "out/gateway-17.pem"]);
    site.line("ca issue-client gateway-17 --out out").fails("is there already");
    site.line("ca issue-client ../x").fails("give a name without slashes");
    openssl(&site, &["req", "-new", "-key", "one.key", "-subj", "/CN=x", "-out", "g.csr"]);
    assert_eq!(
        site.line("ca issue-client gateway-18 --csr g.csr --days 30").ok(),
        "Wrote ./gateway-18.pem\n"
    );
    openssl(&site, &["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "gateway-18.pem"]);
    assert!(
        openssl(&site, &["x509", "-in", "gateway-18.pem", "-noout", "-subject"]).contains("CN = gateway-18")
    );
    site.line("ca issue-client gateway-19 --csr one.pem").fails("expected one CERTIFICATE REQUEST block");
    site.line("ca issue-client gateway-19 --days 9999").fails("cannot issue for 9999 days");
}

#[test]
fn the_line_for_devices_can_be_pasted() {
    let site = site();
    site.line("ca init").ok();
    let line = site.line("ca show --snapd").ok();
    assert!(
        line.starts_with("sudo snap set system store-certs.airlock=\"-----BEGIN CERTIFICATE-----\n"),
        "{line}"
    );
    // A shell hands the program the certificate as it is.
    let script = format!("sudo() {{ printf '%s\\n' \"$#\" \"$@\"; }}\n{line}");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let ca = site.line("ca show").ok();
    assert_eq!(
        String::from_utf8(output.stdout).expect("text"),
        format!("4\nsnap\nset\nsystem\nstore-certs.airlock={ca}")
    );
}

#[test]
fn outgoing_tls_trusts_the_given_certificates_alone() {
    let site = site();
    let authority = |name: &str| {
        let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        let words = [
            "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", &key, "-out", &pem, "-subj", &subject,
        ];
        openssl(&site, &[&words[..], &["-addext", "basicConstraints=critical,CA:TRUE"]].concat());
    };
    // A server that signed itself is no authority.
    site.line("use-ca-certs one.pem").fails("snaps.internal signed itself and is no authority");
    authority("one");
    let pem = read(&site, "one.pem");
    let said = site.run_with(&format!("text\n{pem}"), ["use-ca-certs"]).ok();
    assert_eq!(said, "Trusting this certificate in outgoing TLS, and no others\n");
    assert_eq!(site.line("config proxy.ca-certs").ok(), pem);
    authority("two");
    let said = site.line("use-ca-certs one.pem two.pem").ok();
    assert_eq!(said, "Trusting these 2 certificates in outgoing TLS, and no others\n");
    let both = site.line("config proxy.ca-certs").ok();
    assert_eq!(both, pem.clone() + &read(&site, "two.pem"));
    site.line("use-ca-certs one.key").fails("one.key line 1: a private key is among the certificates");
    site.run_with("", ["use-ca-certs"]).fails("standard input is empty");
    site.run(["config", "proxy.ca-certs=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
        .fails(
            "there is no certificate to be trusted: proxy.ca-certs line 1: the certificate cannot be read",
        );
    assert_eq!(site.line("config proxy.ca-certs").ok(), both);
    site.line("remove-ca-certs").ok();
    assert_eq!(site.line("config proxy.ca-certs").ok(), "\n");
}
