//! Behaviour of every command: names, exit codes, pipes, colours, secrets.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use schema::config::FILE_NAME;
use serde_json::json;

use crate::support::{Site, Stub};

#[test]
fn it_mentions_the_name_it_was_called_by() {
    let site = Site::new();
    for name in ["snap-proxy", "snap-store-proxy", "enterprise-store"] {
        let link = site.folder.path().join(name);
        symlink(env!("CARGO_BIN_EXE_proxy"), &link).expect("a link");
        let run = |args: &[&str]| {
            let output = site.command_as(&link).args(args).output().expect("the program runs");
            String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
        };
        let help = run(&["push-snap", "--help"]);
        assert!(help.contains(&format!("Usage: {name} push-snap")), "{help}");
        assert!(help.contains(&format!("  {name} push-snap core24-")) && !help.contains(" proxy "), "{help}");
        assert!(run(&["--version"]).starts_with(&format!("{name} ")));
        assert!(run(&["status"]).contains(&format!("run `{name} enable-airgap-mode`")));
        assert!(run(&["completions", "bash"]).trim_end().ends_with(&format!(" {name}")));
        assert!(run(&["man"]).contains(&format!(".TH {name} 1")));
    }
}

#[test]
fn exit_codes() {
    let site = Site::new();
    for (line, code) in [
        ("--help", 0),
        ("--version", 0),
        ("config --help", 0),
        ("config", 0),
        ("create-database", 0),
        ("create-database postgresql://h/d", 0),
        ("completions zsh", 0),
        ("man", 0),
        ("", 2),
        ("nonsense", 2),
        ("config --nonsense", 2),
        ("completions nonsense", 2),
        ("config proxy.nonsense", 1),
        ("create-database mysql://h/d", 1),
        ("status", 1),
        ("list-stores", 1),
    ] {
        assert_eq!(site.line(line).code, code, "{line}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let site = Site::new();
    for args in [&["completions", "bash"][..], &["config"], &["--help"]] {
        let mut command = site.command();
        let mut child =
            command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_reader_that_leaves_early_does_not_stop_the_work() {
    let site = Site::new();
    let answer = json!({"snaps": [{"name": "a", "snap-id": "i", "store": "ubuntu", "channel-map-updated": true,
        "channels": [], "revisions": [{"revision": 1, "already-held": false}]}], "warnings": []});
    let stub = Stub::start(&site, &[("POST /v1/snaps", 200, answer)]);
    let files: Vec<_> = (0..20).map(|n| site.file(&format!("{n}.tar"), "x")).collect();
    let mut command = site.command();
    let mut child = command.arg("push-snap").args(&files).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "[snap a] Uploaded snap blob and assertions for a revision 1\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(stub.asked().len(), files.len());
}

#[test]
fn colours_need_a_terminal() {
    let site = Site::new();
    let done = site.line("list-stores");
    assert!(done.stderr.starts_with("error: "), "{done:?}");
    let forced = |no_color: &str| {
        let mut command = site.command();
        command.arg("list-stores").env("CLICOLOR_FORCE", "1").env("NO_COLOR", no_color);
        String::from_utf8(command.output().expect("it runs").stderr).expect("text")
    };
    assert!(forced("").starts_with('\u{1b}'), "{:?}", forced(""));
    assert!(!forced("1").contains('\u{1b}'), "{:?}", forced("1"));
}

#[test]
fn manual_pages_are_written_for_each_command() {
    let site = Site::new();
    let folder = site.folder.path().join("man1");
    std::fs::create_dir(&folder).expect("a folder");
    site.run(["man".as_ref(), "--dir".as_ref(), folder.as_os_str()]).ok();
    let page = std::fs::read_to_string(folder.join("proxy-push-snap.1")).expect("a page");
    assert!(page.contains("hello_42.snap"), "{page}");
    assert!(folder.join("proxy-trust-add.1").exists());
}

#[test]
fn help_is_where_people_look_for_it() {
    let site = Site::new();
    let all = site.line("--help").ok();
    for group in ["Import:", "Channels:", "Devices:", "Certificates:", "Upkeep:", "Connected side:"] {
        assert!(all.contains(&format!("\n{group}\n  ")), "{group}: {all}");
    }
    assert_eq!(site.line("help").ok(), all);
    assert_eq!(site.line("help push-snap").ok(), site.line("push-snap --help").ok());
    assert_eq!(site.line("help ca issue-server").ok(), site.line("ca issue-server --help").ok());
    let done = site.line("list-stroes");
    assert!(done.code == 2 && done.stderr.contains("did you mean list-stores?"), "{done:?}");
    assert_eq!(
        site.line("nothing-like-it").stderr,
        "error: there is no command nothing-like-it: `proxy help` lists all\n"
    );
    for (line, wanted) in [
        ("rollout shw x", "shw of `proxy rollout`: did you mean show? `proxy rollout --help` lists all"),
        ("ca status", "status of `proxy ca`: `proxy ca --help` lists all"),
    ] {
        let done = site.line(line);
        assert_eq!((done.code, done.stderr), (2, format!("error: there is no command {wanted}\n")), "{line}");
    }
    assert!(site.line("--json ca status").stderr.contains(r#""next":"proxy ca --help""#));
    assert_eq!(site.line("log --last 0").code, 2);
    for line in ["--json config proxy.domain", "config --json proxy.domain", "config proxy.domain --json"] {
        assert_eq!(site.line(line).ok(), "{\n  \"proxy.domain\": \"localhost\"\n}\n", "{line}");
    }
    // The files are looked at, wherever the options are.
    let remote = "--server https://127.0.0.1:1 --token-file t";
    for line in [format!("list-stores {remote} --ca none.pem"), format!("--ca none.pem {remote} list-stores")]
    {
        site.file("t", r#"{"r": "x", "d": "y"}"#);
        let done = site.line(&line);
        assert_eq!((done.code, done.stderr.contains("unexpected argument")), (1, false), "{line}: {done:?}");
    }
}

#[test]
fn errors_for_programs_are_json() {
    let site = Site::new();
    let told = |line: &str, code: i32| -> serde_json::Value {
        let done = site.line(line);
        assert_eq!(done.code, code, "{line}: {done:?}");
        serde_json::from_str(&done.stderr).unwrap_or_else(|error| panic!("{line}: {error}: {done:?}"))
    };
    let down = told("list-stores --json", 1);
    assert_eq!(
        (&down["code"], &down["next"]),
        (&json!("not-running"), &json!(format!("proxyd --data-dir {}", site.data.display())))
    );
    assert_eq!(told("config proxy.nonsense --json", 1)["code"], "invalid-setting");
    assert_eq!(told("--json config --nonsense", 2)["next"], "proxy config --help");
    assert_eq!(told("list-stroes --json", 2)["code"], "usage");
    let group = told("--json jobs", 2);
    assert_eq!(
        (&group["message"], &group["next"]),
        (&json!("proxy jobs is followed by one of list, pause, resume"), &json!("proxy jobs --help"))
    );
    let none = told("--json", 2);
    let names = none["message"].as_str().expect("a text");
    assert!(names.contains("push-snap") && !names.contains("complete,"), "{names}");
    let file = site.file("data/airlock.yaml", "");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(told("config --json", 1)["next"], format!("chmod 600 {}", file.display()));
    std::fs::remove_file(&file).expect("gone");
    let refusal = json!({"code": "unknown-snap", "message": "there is no snap a: `proxy list-pushed-snaps` shows what was pushed", "details": ["one"]});
    let _stub = Stub::start(&site, &[("GET /v1/stores", 422, refusal)]);
    let told = told("list-stores --json", 1);
    assert_eq!(
        (&told["code"], &told["next"], &told["details"]),
        (&json!("unknown-snap"), &json!("proxy list-pushed-snaps"), &json!(["one"]))
    );
    // What is true or false is a boolean.
    let values: serde_json::Value =
        serde_json::from_str(&site.line("config proxy.airgap --json").ok()).expect("JSON");
    assert_eq!(values, json!({"proxy.airgap": false}));
}

#[test]
fn a_file_for_another_command_is_refused_with_that_command() {
    let site = Site::new();
    let stub = Stub::start(&site, &[]);
    site.file("m.json", r#"{"format": 1, "stores": [{"id": "a"}]}"#);
    site.file("k.assert", "type: account-key\nrevision: 1\n");
    site.file("c.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    site.file("p.html", "<!DOCTYPE html><title>Please log in</title>");
    site.file("u.assert", "type: account\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    site.file("s.bin", "hsqs0000");
    site.file("b.json", "\u{feff}{\"stores\": []}");
    site.file("bare.json", "\u{feff}{\"snaps\": []}");
    site.file("b.assert", "\u{feff}type: account-key\n");
    for (line, wanted) in [
        ("push-account-keys m.json", "`proxy push-brand-store-metadata m.json`"),
        ("push-assertions m.json", "`proxy push-brand-store-metadata m.json`"),
        ("push-brand-store-metadata k.assert", "`proxy push-account-keys k.assert`"),
        ("push-snap k.assert", "`proxy push-account-keys k.assert`"),
        ("push-store m.json", "`proxy push-brand-store-metadata m.json`"),
        ("push-account-keys c.pem", "`proxy import-certificate c.pem KEY`"),
        ("import-certificate k.assert", "`proxy push-account-keys k.assert`"),
        ("inspect c.pem", "`proxy import-certificate c.pem KEY`"),
        ("push-snap p.html", "a web page"),
        ("push-brand-store-metadata p.html", "a web page"),
        ("push-account-keys u.assert", "iconv"),
        ("push-snap s.bin", "NAME_REVISION.snap"),
        ("push-brand-store-metadata b.json", "b.json begins with a byte order mark"),
        ("push-brand-store-metadata bare.json", "bare.json begins with a byte order mark"),
        ("push-account-keys b.assert", "b.assert begins with a byte order mark"),
        ("register --import m.json", "`proxy push-brand-store-metadata m.json`"),
    ] {
        site.line(line).fails(wanted);
    }
    assert!(stub.asked().is_empty(), "{:?}", stub.asked());
}

/// Every secret holds a marker; no command reveals one unless it is asked for secrets.
#[test]
fn secrets_show_up_nowhere() {
    const MARKER: &str = "TUFSS0VS";
    let site = Site::new();
    let secret = format!("{MARKER}{}", "A".repeat(35)) + "=";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----\n");
    let database = format!("postgresql://u:{MARKER}@h/d");
    let yaml = format!(
        "proxy.auth.secret: {secret}\nproxy.device-auth.secret: {secret}\nproxy.db.connection: {database}\n\
         proxy.key.private: {0}\nproxy.tls.key: {0}\n",
        serde_json::Value::from(pem.clone())
    );
    let quiet = |done: crate::support::Done, what: &str| {
        assert!(!done.stdout.contains(MARKER) && !done.stderr.contains(MARKER), "{what}: {done:?}");
    };
    quiet(site.run_with(&yaml, ["config", "--import-yaml"]), "import");
    // Only an edited file can contain an unknown key.
    let file = site.data.join(FILE_NAME);
    std::fs::write(&file, &yaml).expect("a configuration");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    site.file("x.pem", &pem);
    assert!(site.line("config --export-yaml").ok().matches(MARKER).count() == 5);
    site.file("x.assert", format!("{MARKER}: broken"));
    let every_command = || {
        for line in [
            "config",
            "config --json",
            "config proxy.domain",
            "config --help",
            "status",
            "status --json",
            "enable-airgap-mode",
            "enable-airgap-mode --json",
            "disable-airgap-mode",
            "generate-keys",
            "generate-keys --json",
            "check-connections",
            "create-database",
            "list-stores",
            "list-account-keys",
            "list-pushed-snaps",
            "verify",
            "gc",
            "import-certificate x.pem",
            "import-certificate --selfsigned",
            "ca init",
            "ca issue-server",
            "ca issue-client x --csr x.pem",
            "ca show --snapd",
            "use-ca-certs x.pem",
            "remove-ca-certs",
            "push-snap x.assert",
            "push-assertions x.assert",
            "register --import x.assert",
            "trust list",
            "block-device a/b/c",
            "completions bash",
            "man",
        ] {
            quiet(site.line(line), line);
        }
        for args in [
            &["config", &format!("proxy.auth.secret={secret}")][..],
            &["config", &format!("proxy.auth.secret={MARKER}")],
            &["config", &format!("proxy.auth.secret={secret}"), "proxy.port.http=x"],
            &["config", &format!("proxy.db.connection=mysql://u:{MARKER}@h")],
            &["config", &format!("proxy.tls.key={pem}"), "proxy.domain"],
            &["create-database", &database],
            &["create-database", &format!("mysql://u:{MARKER}@h")],
            &["migrate-database", &database],
            &["migrate-database", &format!("mysql://u:{MARKER}@h")],
        ] {
            quiet(site.run(args), args[0]);
        }
        for broken in [
            format!("proxy.auth.secret: {MARKER}\n"),
            format!("proxy.auth.secret: [{MARKER}\n"),
            format!("proxy.auth.secret: {{x: {MARKER}}}\n"),
            format!("{MARKER}\n"),
            format!("- {MARKER}\n"),
            format!("proxy.auth.secret: *{MARKER}\n"),
        ] {
            quiet(site.run_with(&broken, ["config", "--import-yaml"]), &broken);
        }
    };
    every_command();
    // The same against a server that answers, and that refuses.
    let refusal = json!({"code": "no", "message": "refused"});
    let _stub = Stub::start(&site, &[("PATCH /v1/config", 400, refusal)]);
    every_command();
}
