//! Settings are read in types: which key fills which field is written in one file.

use std::fs;
use std::path::Path;

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
