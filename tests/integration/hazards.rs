//! `tests/HAZARDS.md` names every hazard once, and every test it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Rows of each letter.
const ROWS: [(char, u32); 12] = [
    ('A', 12),
    ('B', 10),
    ('C', 11),
    ('D', 8),
    ('E', 11),
    ('F', 6),
    ('G', 11),
    ('H', 4),
    ('I', 4),
    ('J', 6),
    ('K', 9),
    ('L', 5),
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

#[test]
fn every_hazard_has_its_proof() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for room in ["integration", "src", "../server/src", "../schema/src", "../cli"] {
        functions(&here.join(room), &mut found);
    }
    let page = fs::read_to_string(here.join("HAZARDS.md")).expect("the page of hazards");
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, _, tests, ..] = &cells[..] else { panic!("a row has five cells: {line}") };
        let named = tests.split('`').skip(1).step_by(2);
        for test in named.filter(|name| name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c))) {
            let name = test.rsplit("::").next().unwrap_or(test);
            if name.contains('_') && !name.starts_with("unsafe") {
                assert!(found.contains(name), "{row}: there is no test {test}");
            }
        }
        rows.push((*row).to_owned());
    }
    let wanted = ROWS.iter().flat_map(|(letter, count)| (1..=*count).map(move |n| format!("{letter}{n}")));
    assert_eq!(rows, wanted.collect::<Vec<_>>());
}
