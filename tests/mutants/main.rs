//! Changes the code in small ways, one at a time, and looks whether a test notices; see `run`.
//!
//! The changes are planted into a copy of the repository, all at once (see [`plant`]), and the copy is built once. Each
//! change is then chosen by the environment: the unit tests of its crate run first, and what they let pass meets the
//! integration tests, whose servers inherit the choice. A change that does not compile is left out.

mod controls;
mod copy;
mod plant;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use copy::Copy;
use plant::{Mutant, Planter};
use programs::Programs;

/// What is changed, and which tests are to notice: those of the crate by filter, then those of `integration`.
const SUBJECTS: &[Subject] = &[
    Subject {
        files: "schema/src/session",
        unit: &["session::"],
        integration: &["sessions::", "rotate::", "fuzz::every"],
    },
    Subject {
        files: "schema/src/service_login.rs",
        unit: &["service_login::"],
        integration: &["logins::", "fuzz::every"],
    },
    Subject {
        files: "schema/src/assertion",
        // The properties take most of the time and notice what the others do.
        unit: &["assertion::", "--skip", "assertion::properties"],
        integration: &["fuzz::every", "hostile::documents", "sessions::"],
    },
    Subject {
        files: "schema/src/api/credential.rs",
        unit: &["api::"],
        integration: &["fuzz::every", "logins::"],
    },
    Subject { files: "schema/src/api/range.rs", unit: &["api::"], integration: &["fuzz::every"] },
    Subject {
        files: "server/src/sessions",
        unit: &["sessions::"],
        integration: &["sessions::", "rotate::", "logins::", "isolation::"],
    },
    Subject {
        files: "server/src/catalog/scope.rs",
        unit: &["catalog::"],
        integration: &["isolation::", "logins::", "answers::"],
    },
    Subject {
        files: "server/src/imports",
        unit: &["imports::"],
        integration: &["hostile::", "archives::", "life::", "removing::", "crash::"],
    },
];

struct Subject {
    files: &'static str,
    unit: &'static [&'static str],
    integration: &'static [&'static str],
}

fn main() -> Result<()> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    if let [first, rows @ ..] = &wanted[..]
        && first == "--controls"
    {
        return controls::run(rows);
    }
    let subjects: Vec<&Subject> = SUBJECTS.iter().filter(|subject| chosen(subject.files, &wanted)).collect();
    ensure!(!subjects.is_empty(), "no subject has these paths: see SUBJECTS in tests/mutants/main.rs");
    let copy = Copy::new("mutants")?;
    let mut skipped = BTreeSet::new();
    let mutants = loop {
        let mut planter = Planter::new(skipped);
        copy.fill(&planted(&mut planter)?)?;
        let failing = copy.failing()?;
        if failing.is_empty() {
            skipped = planter.skipped;
            break planter.mutants;
        }
        skipped = planter.skipped.into_iter().chain(failing).collect();
    };
    let integration = env::var_os("MUTANTS_UNIT_ONLY").is_none();
    let packages = subjects.iter().map(|subject| subject.package()).collect();
    let programs = copy.build(&packages, integration)?;
    println!("{} changes, {} of them do not compile", mutants.len(), skipped.len());

    let accepted = fs::read_to_string("tests/mutants/accepted").unwrap_or_default();
    let mut missed = 0;
    for subject in subjects {
        ensure!(
            notice(&programs, subject, integration, 0)?.is_none(),
            "the tests of {} fail without a change",
            subject.files
        );
        let of_subject = |mutant: &&Mutant| {
            mutant.file.starts_with(subject.files)
                && !skipped.contains(&mutant.id)
                && chosen(&mutant.file, &wanted)
        };
        let (mut tried, mut caught, mut explained) = (0, [0, 0], 0);
        for mutant in mutants.iter().filter(of_subject) {
            tried += 1;
            let Mutant { file, line, function, what, .. } = mutant;
            match notice(&programs, subject, integration, mutant.id)? {
                Some(stage) => caught[stage] += 1,
                None if accepted.contains(&format!("\n{file} {function}: {what}\n")) => explained += 1,
                None => {
                    missed += 1;
                    println!("MISSED {} {file}:{line} {function}: {what}", mutant.id);
                }
            }
        }
        println!(
            "{}: {tried} tried, {} noticed by unit tests, {} by integration tests, {explained} explained",
            subject.files, caught[0], caught[1]
        );
    }
    ensure!(
        missed == 0,
        "{missed} changes go unnoticed: write a test, or explain them in tests/mutants/accepted"
    );
    Ok(())
}

/// Is this path one of those asked for? All are, when none is.
fn chosen(path: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| path.starts_with(one) || one.starts_with(path))
}

impl Subject {
    /// The package whose unit tests look first.
    fn package(&self) -> &'static str {
        self.files.split('/').next().unwrap_or_default()
    }
}

/// Which tests notice a change: 0 those of the crate, 1 the integration tests.
fn notice(programs: &Programs, subject: &Subject, integration: bool, id: usize) -> Result<Option<usize>> {
    if !programs.pass(subject.package(), subject.unit, id)? {
        return Ok(Some(0));
    }
    Ok((integration && !programs.pass("tests", subject.integration, id)?).then_some(1))
}

/// The text of every file that changes are planted in, with them.
fn planted(planter: &mut Planter) -> Result<BTreeMap<PathBuf, String>> {
    let plant = |file: PathBuf| {
        let name = file.to_string_lossy();
        let text = planter.plant(&name, &fs::read_to_string(&file)?).with_context(|| name.to_string())?;
        Ok((file.clone(), text))
    };
    planted_files()?.into_iter().map(plant).collect()
}

/// Every file that changes are planted in.
fn planted_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    SUBJECTS.iter().try_for_each(|subject| rust_files(Path::new(subject.files), &mut files))?;
    Ok(files)
}

/// The files of a folder, or the file itself, without those that hold only tests.
fn rust_files(path: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    const ONLY_TESTS: [&str; 8] = [
        "tests",
        "tests.rs",
        "vectors.rs",
        "verdicts.rs",
        "properties.rs",
        "fixtures.rs",
        "batches.rs",
        "rules.rs",
    ];
    if path.is_file() {
        if path.extension().is_some_and(|name| name == "rs") {
            into.push(path.to_owned());
        }
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !ONLY_TESTS.iter().any(|name| *entry.file_name() == **name) {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.iter().try_for_each(|entry| rust_files(entry, into))
}
