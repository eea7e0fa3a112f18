//! No circle between the parts of a program, and no arrow of the server that points up, read off the paths in the sources.
//!
//! A path counts where it leaves one module for another: between the two children of the module that holds both. What a child
//! takes from its parent, or a parent from its child, is no arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every room of the server: each uses those of lines below its own, never one beside or above it.
const ROOMS: [&[&str]; 15] = [
    &["run"],
    &["admin", "http", "metrics", "pages"],
    &["jobs"],
    &["backup", "cleanup", "doctor", "renewal", "restore", "upkeep", "verify"],
    &["site"],
    &["observe", "plans", "signing", "unsettled", "visits"],
    &["deltas", "fleet", "imports", "parcels", "rounds", "sessions", "store"],
    &["approvals"],
    &["catalog"],
    &["storage"],
    &["acme", "logs", "relay"],
    &["tls"],
    &["listen"],
    &["clock"],
    &["failpoint"],
];

type Module = Vec<String>;

/// For each module, which of its children use which others, and where that is written.
type Arrows = BTreeMap<String, BTreeMap<(String, String), String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The modules below a folder with their text, tests apart.
fn modules(folder: &Path, own: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let child: Module = own.iter().cloned().chain([stem.clone()]).collect();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            modules(&path, &child, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = if ["mod", "lib", "main"].contains(&&*stem) { own.clone() } else { child };
            found.insert(name, without_tests(&fs::read_to_string(&path).expect("source is text")));
        }
    }
}

/// Code without comments, up to the tests at its end.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of a tree such as `crate::a::{b, c::{self, d}}`.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("at least one").push(letter);
    }
    parts.iter().filter(|part| !part.is_empty()).flat_map(|part| expand(&format!("{before}{part}"))).collect()
}

/// Every path that begins at the crate, at this module or above it.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' || before == '$' {
                continue;
            }
            let is_use = code[..at].trim_end().ends_with("use");
            let rest = &code[at..];
            let end = match is_use {
                true => rest.find(';').unwrap_or(rest.len()),
                false => {
                    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len())
                }
            };
            let tree: String = rest[..end].split_whitespace().collect();
            found.extend(expand(&tree));
        }
    }
    found
}

/// What a path of a module names: a module that is there, or one above it.
fn target(own: &Module, path: &str, all: &BTreeMap<Module, String>) -> Module {
    let mut at = own.clone();
    for (number, part) in path.split("::").enumerate() {
        match part {
            "crate" if number == 0 => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => at.push(name.to_owned()),
        }
    }
    while !all.contains_key(&at) && !at.is_empty() {
        at.pop();
    }
    at
}

fn arrows(all: &BTreeMap<Module, String>) -> Arrows {
    let mut arrows = Arrows::new();
    for (own, code) in all {
        for path in paths(code) {
            let there = target(own, &path, all);
            let shared = own.iter().zip(&there).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (own.get(shared), there.get(shared)) {
                let within = arrows.entry(own[..shared].join("::")).or_default();
                let place = format!("{} names {path}", own.join("::"));
                within.entry((from.clone(), to.clone())).or_insert(place);
            }
        }
    }
    arrows
}

/// Those that lead back to themselves.
fn circle<'a>(arrows: &'a BTreeMap<(String, String), String>) -> BTreeSet<&'a str> {
    let leads_back = |start: &'a str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            let next = arrows.keys().filter(|(from, _)| from == at).map(|(_, to)| to.as_str());
            open.extend(next.filter(|to| seen.insert(*to)));
        }
        seen.contains(start)
    };
    arrows.keys().map(|(from, _)| from.as_str()).filter(|from| leads_back(from)).collect()
}

fn of(program: &str) -> BTreeMap<Module, String> {
    let mut all = BTreeMap::new();
    modules(&root().join(program).join("src"), &Vec::new(), &mut all);
    assert!(all.len() > 20, "{program} has few modules: {all:?}");
    all
}

#[test]
fn there_is_no_circle() {
    for program in ["server", "cli", "schema"] {
        for (within, arrows) in arrows(&of(program)) {
            let found = circle(&arrows);
            let places: Vec<_> = arrows
                .iter()
                .filter(|((from, to), _)| found.contains(from.as_str()) && found.contains(to.as_str()))
                .collect();
            assert!(found.is_empty(), "a circle in {program}::{within}: {places:#?}");
        }
    }
}

#[test]
fn no_arrow_of_the_server_points_up() {
    let all = of("server");
    let line = |room: &str| ROOMS.iter().position(|line| line.contains(&room));
    let there: BTreeSet<&str> = all.keys().filter_map(|module| Some(module.first()?.as_str())).collect();
    let listed: BTreeSet<&str> = ROOMS.iter().flat_map(|line| line.iter().copied()).collect();
    assert_eq!(there, listed, "every room has its line");
    for ((from, to), place) in &arrows(&all)[""] {
        assert!(line(from) < line(to), "{from} must not use {to}: {place}");
    }
}

#[test]
fn rooms_that_decide_have_no_clock() {
    for (module, code) in of("server") {
        if module.first().is_some_and(|room| ["plans", "catalog"].contains(&room.as_str())) {
            for clock in ["crate::clock", "Instant::now", "SystemTime::now", "now_utc"] {
                assert!(
                    !code.contains(clock),
                    "{} reads {clock}: its caller passes the time in",
                    module.join("::")
                );
            }
        }
    }
}

#[test]
fn the_architecture_shows_the_same_order_and_every_room() {
    let page = fs::read_to_string(root().join("server/ARCHITECTURE.md")).expect("the page");
    let shown: Vec<Vec<&str>> = page
        .split("```rooms\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next())
        .expect("a block of rooms")
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(shown, ROOMS.map(<[_]>::to_vec));
    for room in ROOMS.iter().flat_map(|line| line.iter()) {
        let row = [format!("| `{room}/` |"), format!("| `{room}.rs` |")];
        assert!(row.iter().any(|row| page.contains(row)), "{room} has no row in the table of rooms");
    }
}

#[test]
fn paths_are_found_in_every_form() {
    let code =
        "use crate::a::{b, c::{self, d}};\npub(crate) use super::e;\nfn f() { crate::g::h(); $crate::no; }";
    let mut found = paths(code);
    found.sort();
    assert_eq!(found, ["crate::a::b", "crate::a::c::d", "crate::a::c::self", "crate::g::h", "super::e"]);
}
