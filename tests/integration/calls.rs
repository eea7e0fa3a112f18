//! Each call of the admin API is declared once: no other source names a method's path.

use std::fs;
use std::path::{Path, PathBuf};

use schema::api::admin::calls::CALLS;

/// The only file that may name paths of the admin API.
const DECLARED_IN: &str = "schema/src/api/admin/calls.rs";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a text names a path, and not just a longer path around it.
fn names(text: &str, path: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
    text.match_indices(path).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + path.len()..]);
        !before.ends_with(part_of_name) && (path.ends_with('/') || !after.starts_with(part_of_name))
    })
}

#[test]
fn no_path_is_written_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = Vec::new();
    for part in ["schema/src", "server/src", "cli/src"] {
        sources(&root.join(part), &mut files);
    }
    let folders: Vec<&str> =
        CALLS.iter().map(|(_, path)| path.split_once('{').map_or(*path, |(folder, _)| folder)).collect();
    let twice: Vec<String> = files
        .iter()
        .filter(|file| !file.ends_with(DECLARED_IN))
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("source is text");
            let found: Vec<_> = folders.iter().filter(|path| names(&text, path)).collect();
            found.into_iter().map(|path| format!("{}: {path}", file.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(twice.is_empty(), "these belong in {DECLARED_IN} only:\n{}", twice.join("\n"));
}

#[test]
fn a_path_is_recognised_wherever_it_stands() {
    for text in ["\"/v1/snaps\"", "`GET /v1/snaps`", "format!(\"/v1/snaps?file={name}\")", "/v1/snaps/"] {
        assert!(names(text, "/v1/snaps"), "{text}");
    }
    for text in ["/api/v1/snaps", "/v1/snaps-of", "/v1/snap"] {
        assert!(!names(text, "/v1/snaps"), "{text}");
    }
    assert!(names("\"/v1/trust/ab12\"", "/v1/trust/"));
}
