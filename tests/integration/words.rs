//! No message shows the inside of the program: not of a library, not of a type. Real faults are made, and everything that is said
//! of them is read: on the terminal, in answers and in the log.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::bundle::{Member, archive, gzip};
use tests::postgres::Cluster;
use tests::server::{Setup, proxy};
use tests::world::World;

/// What of the program's inside a text shows.
fn inside(text: &str) -> Vec<String> {
    let words = [
        "untagged enum",
        "db error",
        "Error occurred while",
        "os error",
        "did not match any variant",
        "missing field `",
        "unknown field `",
        "unknown variant `",
        "invalid type:",
        "expected value at",
        "EOF while parsing",
        "Context {",
        "DnsName(",
        "IpAddress(",
        "UnknownIssuer",
        "BadEncoding",
        "AlertReceived",
        "Some(",
        "None)",
        "Ok(",
        "Err(",
        "error connecting to server",
        "Failed to deserialize",
        "at line 1 column",
        "expected u32",
        "expected struct",
        "InvalidContentType",
        "Os {",
        "kind: ",
        "panicked",
    ];
    let mut found: Vec<String> =
        words.iter().filter(|word| text.contains(**word)).map(|word| (*word).to_owned()).collect();
    // Bytes as Rust lists them.
    let listed = |part: &str| {
        let inner = part.split(']').next().unwrap_or_default();
        let numbers: Vec<&str> = inner.split(", ").collect();
        numbers.len() > 2 && numbers.iter().all(|number| number.parse::<u8>().is_ok())
    };
    found.extend(
        text.split('[')
            .skip(1)
            .filter(|part| listed(part))
            .map(|part| format!("[{}", part.chars().take(40).collect::<String>())),
    );
    for line in text.lines().filter(|line| line.starts_with('{')) {
        if line.matches("\"message\":").count() > 1 {
            found.push("two message keys in a line".to_owned());
        }
    }
    found
}

/// Everything that was said, each with what it was said of.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, of: &str, text: impl Into<String>) {
        self.0.push((of.to_owned(), text.into()));
    }
}

#[test]
fn the_check_recognises_what_it_looks_for() {
    for text in [
        "is only valid for DnsName(\"localhost\")",
        "cannot open it: Connection refused (os error 111)",
        "a list [6, 9, 42, 134]",
        "{\"level\":\"WARN\",\"message\":\"a\",\"message\":\"b\"}",
        "data did not match any variant of untagged enum Node",
    ] {
        assert!(!inside(text).is_empty(), "{text}");
    }
    assert!(inside("held: 1, 2, 3; [snap a] a revision 7 is already there").is_empty());
}

#[test]
fn no_message_shows_the_inside_of_the_program() {
    let world = World::new();
    let store = Setup::default().config("proxy.port.https", "0").start();
    store.trust(&world);
    let mut said = Said::default();
    let run = |said: &mut Said, args: &[&str]| {
        let ran = store.proxy(args);
        said.add(&args.join(" "), format!("{}{}", ran.stdout, ran.stderr));
    };
    // Files that cannot be read.
    let folder = tempfile::TempDir::new().expect("there is room");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    for (command, name, bytes) in [
        ("push-brand-store-metadata", "1.json", &b"{\"format\": \"x\", \"stores\": 3}"[..]),
        ("push-brand-store-metadata", "2.json", b"{\"format\": 1, \"stores\": [{\"id\": 4}]}"),
        ("push-brand-store-metadata", "3.json", b"{\"format\": 1, \"stores\": ["),
        ("push-brand-store-metadata", "4.json", b"[]"),
        ("push-account-keys", "5.assert", b"type: account-key\nformat: x\n\nAAA=\n"),
        ("push-assertions", "6.assert", b"type: model\n"),
        ("push-snap", "7.tar.gz", b"\x1f\x8b\x08rubbish"),
        ("register --import", "8.b64", b"e30="),
        ("restore", "9.backup", b"rubbish"),
        ("import-certificate", "10.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("inspect", "11.tar", b"rubbish"),
        ("config --import-yaml", "12.yaml", b"proxy: [1, 2]\n"),
        ("config --import-yaml", "13.yaml", b"proxy.domain: {a: [x, {b: 1}]}\n"),
        ("config --import-yaml", "14.yaml", b"proxy.domain: [\n"),
    ] {
        let path = file(name, bytes);
        let args: Vec<&str> = command.split(' ').chain([&*path]).collect();
        run(&mut said, &args);
    }
    for manifest in [
        json!({ "format": "x" }),
        json!({ "format": 1, "files": 3 }),
        json!({ "format": 1, "tool": "x", "files": [{ "name": 1 }] }),
    ] {
        let member = Member { name: "manifest.json".to_owned(), bytes: manifest.to_string().into_bytes() };
        let bundle = gzip(&archive([&member]));
        let ran = store.try_push_bundle(&bundle);
        said.add("a manifest", format!("{}{}", ran.stdout, ran.stderr));
    }
    // Requests that cannot be read.
    for (method, target, body) in [
        ("POST", "/v1/upkeep", "{"),
        ("POST", "/v1/upkeep", "{\"apply\": 3}"),
        ("POST", "/v1/upkeep", "{\"apply\": true, \"task\": {\"nonsense\": {}}}"),
        ("PATCH", "/v1/config", "{\"values\": [1]}"),
        ("PUT", "/v1/devices/block", "{\"device\": \"a\", \"blocked\": true}"),
        ("GET", "/v1/devices?stale=x", ""),
        ("GET", "/v1/device?device=x", ""),
        ("POST", "/v1/assertions?as=nonsense", ""),
    ] {
        let answer = store.admin(method, target, body.as_bytes());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let failure: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{target}: {error} in {text}"));
        assert!(failure["code"].is_string() && failure["message"].is_string(), "{target}: {text}");
        said.add(target, text);
    }
    // Servers that are not there, not TLS, or of another name.
    let token = file("login", store.site_login("admin").1.as_bytes());
    let closed = "https://127.0.0.1:1".to_owned();
    let plain = store.url.replace("http://", "https://");
    for server in [&closed, &plain] {
        run(&mut said, &["--server", server, "--token-file", &token, "list-stores"]);
    }
    run(&mut said, &["import-certificate", "--selfsigned"]);
    let other = folder.path().join("other");
    for args in [
        &["config", "proxy.domain=elsewhere.example"][..],
        &["ca", "init"],
        &["ca", "issue-server", "--out", folder.path().to_str().expect("text")],
    ] {
        let _ = proxy(&other, args).ok();
    }
    let (pem, key) =
        (folder.path().join("elsewhere.example.pem"), folder.path().join("elsewhere.example.key"));
    run(
        &mut said,
        &["import-certificate", "--force", pem.to_str().expect("text"), key.to_str().expect("text")],
    );
    run(&mut said, &["config", "proxy.port.https=0", "proxy.admin.address=127.0.0.1:0"]);
    let status = store.status();
    let admin = status.admin_address.clone().unwrap_or_default();
    let root = other.join("ca/ca.pem");
    run(
        &mut said,
        &[
            "--server",
            &format!("https://{admin}"),
            "--token-file",
            &token,
            "--ca",
            root.to_str().expect("text"),
            "list-stores",
        ],
    );
    run(&mut said, &["--server", &format!("https://{admin}"), "--token-file", &token, "list-stores"]);
    run(&mut said, &["status"]);
    run(&mut said, &["doctor"]);
    run(&mut said, &["check-connections"]);
    // Databases that are not there, or refuse.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = runtime.block_on(Cluster::shared().database()).expect("a database");
    let nowhere = url.rsplit_once('/').map(|(place, _)| format!("{place}/nowhere")).expect("a URL");
    for database in ["postgresql://a:b@127.0.0.1:1/c", &*nowhere] {
        run(&mut said, &["migrate-database", database]);
        run(&mut said, &["config", &format!("proxy.db.connection={database}")]);
        let data = tempfile::TempDir::new().expect("there is room");
        let _ = proxy(data.path(), &["config", &format!("proxy.db.connection={database}")]).ok();
        said.add(database, Setup::empty().start_at(data.path()).err().expect("no database"));
    }
    said.add("the log", store.log());
    let shown: Vec<String> = said
        .0
        .iter()
        .flat_map(|(of, text)| {
            inside(text).into_iter().map(move |what| format!("{of}: shows {what:?}\n{text}"))
        })
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    let told = said.0.iter().filter(|(_, text)| !text.trim().is_empty()).count();
    assert!(told > 30, "{told} texts");
}

/// `#[error("…")]` texts show no type by `Debug`; quotes around a text are `{name:?}` of a text only.
#[test]
fn no_error_s_text_is_debug_output_of_a_type() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for room in ["schema/src", "server/src", "cli/src"] {
        walk(&root.join(room), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is text");
            // An alternate or hexadecimal form, or the Debug of something that is called an error or a kind, is no quote.
            for (number, line) in (1..).zip(text.lines()) {
                let attribute =
                    line.trim_start().starts_with("#[error(\"") || line.trim_start().starts_with('"');
                let shows = [
                    "{:#?}",
                    "{error:?}",
                    "{source:?}",
                    "{kind:?}",
                    "{cause:?}",
                    "{why:?}",
                    "{err:?}",
                    "{failure:?}",
                ];
                if attribute
                    && shows.iter().any(|form| line.contains(form))
                    && !text[..].contains("#![cfg(test)]")
                {
                    found.push(format!("{}:{number}", path.display()));
                }
            }
        }
    }
}
