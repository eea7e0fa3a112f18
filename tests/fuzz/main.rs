//! The program that libFuzzer drives. `FUZZ_TARGET` names what is fuzzed; see `run`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match targets::TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => *target,
        None => panic!("cannot fuzz {name:?}: set FUZZ_TARGET to one of the folders of corpus/"),
    }
});

fuzz_target!(|data: &[u8]| TARGET(data));
