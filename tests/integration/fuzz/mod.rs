//! The corpus of the fuzz targets, put through the same functions as the fuzzer's inputs. `fuzz/run` does long runs.

mod seeds;
#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::thread;

use self::targets::{TARGETS, Target};

/// Puts every input of a folder through a target; says how many there were.
fn replay(name: &str, target: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be listed").path();
        let data = fs::read(&path).expect("an input can be read");
        assert!(catch_unwind(|| target(&data)).is_ok(), "what must hold does not: {}", path.display());
        inputs += 1;
    }
    inputs
}

#[test]
fn every_input_of_the_corpus() {
    thread::scope(|scope| {
        let runs = TARGETS.iter().map(|&(name, target)| (name, scope.spawn(move || replay(name, target))));
        for (name, run) in runs.collect::<Vec<_>>() {
            let inputs =
                run.join().unwrap_or_else(|_| panic!("the corpus of {name} has an input that breaks it"));
            println!("{name}: {inputs} inputs");
            assert!(inputs > 0, "the corpus of {name} is empty");
        }
    });
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(corpus).expect("the corpus is in the repository") {
        let name = entry.expect("a folder can be listed").file_name();
        assert!(TARGETS.iter().any(|(known, _)| **known == *name), "no target is called {name:?}");
    }
}
