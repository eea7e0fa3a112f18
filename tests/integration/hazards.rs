//! Checks `tests/HAZARDS.md`: it lists every hazard once, every test it names exists, and each row has a negative
//! control; its last column repeats the defences in `tests/mutants/controls`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// Rows of each letter.
const ROWS: [(char, RangeInclusive<u32>); 13] = [
    ('A', 1..=13),
    ('B', 1..=11),
    ('C', 1..=11),
    ('D', 1..=8),
    ('E', 1..=12),
    ('F', 1..=6),
    ('G', 1..=12),
    ('H', 1..=4),
    ('I', 1..=4),
    ('J', 1..=9),
    ('K', 1..=13),
    ('L', 1..=5),
    ('M', 1..=83),
];

/// The names of all functions of the workspace's sources.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is text");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

/// The defence of each row, as the page spells it, and the tests that must go red. The relevant lines have one form.
fn controls(folder: &Path) -> BTreeMap<String, (String, Vec<String>)> {
    let entries = fs::read_dir(folder.join("mutants/controls")).expect("the lists of controls").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    let parts: Vec<(&str, &str)> =
        texts.iter().map(|text| text.split_once("[outside]").unwrap_or((text, ""))).collect();
    let mut found: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for control in parts.iter().flat_map(|(controls, _)| controls.split("[[control]]").skip(1)) {
        let value = |key: &str| {
            let line = control.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("no {key} in {control}"))
        };
        let (defences, tests) = found.entry(value("row").to_owned()).or_default();
        defences.push_str(if defences.is_empty() { "" } else { "; " });
        defences.push_str(value("defence"));
        tests.push(value("test").to_owned());
    }
    let outside = parts.iter().flat_map(|(_, outside)| outside.lines());
    for (row, why) in outside.filter_map(|line| line.split_once(" = ")) {
        found.insert(row.to_owned(), (format!("outside: {}", why.trim_matches('"')), Vec::new()));
    }
    found
}

#[test]
fn every_hazard_has_its_proof() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for room in ["integration", "src", "../server/src", "../schema/src", "../cli"] {
        functions(&here.join(room), &mut found);
    }
    let controls = controls(here);
    let page = fs::read_to_string(here.join("HAZARDS.md")).expect("the page of hazards");
    let table = page.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, _, tests, _, taken_out] = cells[..] else { panic!("a row has five cells: {line}") };
        let (defences, red) = controls.get(row).unwrap_or_else(|| panic!("{row} has no control"));
        assert_eq!(taken_out, defences, "{row}: what is taken out");
        for test in red {
            assert!(tests.contains(&format!("`{test}`")), "{row}: {test} goes red and is not named");
        }
        let named = tests.split('`').skip(1).step_by(2);
        for test in named.filter(|name| name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c))) {
            let name = test.rsplit("::").next().unwrap_or(test);
            if name.contains('_') && !name.starts_with("unsafe") {
                assert!(found.contains(name), "{row}: there is no test {test}");
            }
        }
        rows.push(row.to_owned());
    }
    let wanted =
        ROWS.iter().flat_map(|(letter, numbers)| numbers.clone().map(move |n| format!("{letter}{n}")));
    assert_eq!(rows, wanted.collect::<Vec<_>>());
}

/// The text after `key = ` in TOML: literal, literal on several lines, or escaped.
fn text_of(control: &str, key: &str) -> String {
    let (_, rest) =
        control.split_once(&format!("\n{key} = ")).unwrap_or_else(|| panic!("no {key} in {control}"));
    let between = |quote: &str, end: &str| {
        rest.strip_prefix(quote).and_then(|rest| rest.split_once(end)).map(|(text, _)| text.to_owned())
    };
    let literal = between("'''", "'''").or_else(|| between("'", "'\n"));
    let escaped = || serde_json::from_str(rest.lines().next().unwrap_or_default()).ok();
    literal.or_else(escaped).unwrap_or_else(|| panic!("cannot read {key} in {control}"))
}

#[test]
fn every_control_finds_its_place() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lost = Vec::new();
    for entry in fs::read_dir(here.join("mutants/controls")).expect("the lists of controls").flatten() {
        let text = fs::read_to_string(entry.path()).expect("text");
        let text = text.split_once("[outside]").map_or(&*text, |(controls, _)| controls);
        for control in text.split("[[control]]").skip(1) {
            let [row, file, find] = ["row", "file", "find"].map(|key| text_of(control, key));
            let source = fs::read_to_string(here.join("..").join(&file)).unwrap_or_default();
            if source.matches(&find).count() != 1 {
                lost.push(format!("{row}: {find:?} is not once in {file}"));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
