//! Settings are read in types: which key fills which field is written in one file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::server::{SECRET, Server, proxy};

/// Places that ask for a value by the name of its key, as `FILE:LINE`.
fn by_name(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            by_name(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is text");
            found.extend(places(&text).map(|line| format!("{}:{line}", path.display())));
        }
    }
}

/// Whatever the method is called, and wherever the line breaks.
fn places(text: &str) -> impl Iterator<Item = usize> {
    let names = ["proxy.", "internal."];
    let quoted = text.match_indices('"').filter(move |(at, _)| {
        let asks =
            ["settings.value(", "settings.get(", ".is_on(", ".seconds(", ".number(", ".port(", ".list("];
        let before = text[..*at].trim_end();
        names.iter().any(|name| text[at + 1..].starts_with(name))
            && asks.iter().any(|ask| before.ends_with(ask))
    });
    quoted.map(|(at, _)| text[..at].lines().count())
}

#[test]
fn no_value_is_asked_for_by_the_name_of_its_key() {
    let planted = "fn f() {\n    settings.value(\n        \"proxy.domain\",\n    );\n    held.is_on(\"proxy.airgap\");\n}\n";
    assert_eq!(places(planted).collect::<Vec<_>>(), [3, 5]);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for room in ["../server/src", "../cli/src"] {
        by_name(&here.join(room), &mut found);
    }
    assert_eq!(found, Vec::<String>::new(), "read a field of schema/src/config/sections.rs instead");
}

#[test]
fn the_page_of_settings_is_what_the_table_of_keys_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/docs/settings.md");
    assert!(
        fs::read_to_string(page).expect("the page") == schema::config::settings_page(),
        "run `proxy config --describe --page > packaging/docs/settings.md`"
    );
}

#[test]
fn the_history_says_who_changed_what_and_no_secret() {
    let store = Server::start();
    let _ = store.proxy(&["config", "proxy.device-auth.session-lifetime=3d"]).ok();
    let _ = store.proxy(&["config", "proxy.device-auth.session-lifetime=4d", "proxy.cache.size=7"]).ok();
    let _ = store.proxy(&["config", "proxy.device-auth.session-lifetime=nonsense"]).refused();
    let _ = store.proxy(&["rotate-secret", "proxy.device-auth.secret", "--keep-old", "1d"]).ok();
    let _ = store.proxy(&["config", "proxy.storage.s3.secret-access-key=hunter2hunter2"]).ok();
    let stopped = store.stop();
    let _ = proxy(&stopped.data_dir, &["config", "proxy.device-auth.session-lifetime="]).ok();
    let store = stopped.start();

    let history = |args: &[&str]| -> Vec<Value> {
        let shown = store.proxy(&[&["config", "--history", "--json"], args].concat()).json();
        shown["changes"].as_array().expect("changes").clone()
    };
    let lifetime = history(&["proxy.device-auth.session-lifetime"]);
    let short: Vec<_> = lifetime.iter().map(|c| [&c["old"], &c["new"], &c["server-stopped"]]).collect();
    let wanted = [json!(["7d", "3d", false]), json!(["3d", "4d", false]), json!(["4d", "7d", true])];
    assert_eq!(json!(short), json!(wanted), "{lifetime:?}");
    for change in &lifetime {
        assert!(change["who"].as_str().is_some_and(|who| who.starts_with("uid ")), "{change}");
        assert!(change["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{change}");
    }
    let secrets = history(&["proxy.device-auth"]);
    let rotated = secrets.iter().find(|change| change["key"] == json!("proxy.device-auth.secret"));
    let [old, new] =
        ["old", "new"].map(|field| rotated.expect("a rotation")[field].as_str().expect("a text"));
    assert!(
        old != new && old.starts_with("<fingerprint ") && new.starts_with("<fingerprint "),
        "{old} {new}"
    );
    let text = store.proxy(&["config", "--history"]).ok();
    assert!(text.contains("7d -> 3d") && text.contains("(not set) -> <redacted>"), "{text}");
    let log = store.proxy(&["audit", "--json"]).ok();
    for secret in [SECRET, "hunter2"] {
        assert!(!text.contains(secret) && !log.contains(secret), "{text}{log}");
    }
    assert!(store.proxy(&["config", "--history", "proxy.domian"]).refused().contains("proxy.domain"));
}
