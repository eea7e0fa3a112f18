//! Changes the code in small ways, one at a time, and checks whether a test notices; see `run`.
//!
//! All changes are planted into one copy of the repository (see [`plant`]), which is built once. Every test then runs
//! alone, and the changes it reaches are recorded (see [`programs`]). The environment selects a change: the unit
//! tests of its crate that reach it run first, and changes they miss go to the integration tests, whose servers
//! inherit the selection. A change that does not compile is left out; one that no test reaches counts as missed
//! without a run.

mod controls;
mod copy;
mod plant;
mod programs;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use copy::{Copy, Programs};
use plant::{Mutant, Planter};
use programs::Test;
use workers::each;

/// How many of a hundred changes must be noticed or explained.
const ENOUGH: f64 = 95.0;

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
    Subject { files: "schema/src/bundle", unit: &["bundle::"], integration: &["fuzz::every", "hostile::"] },
    Subject {
        files: "server/src/imports",
        unit: &["imports::"],
        integration: &["hostile::", "archives::", "life::", "removing::", "crash::", "overrides"],
    },
];

struct Subject {
    files: &'static str,
    unit: &'static [&'static str],
    integration: &'static [&'static str],
}

/// What became of the changes of a subject.
#[derive(Default)]
struct Figures {
    changes: usize,
    unit: usize,
    integration: usize,
    explained: usize,
    missed: usize,
}

#[derive(Clone, Copy)]
enum Outcome {
    Unit,
    Integration,
    Explained,
    Missed,
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

    let filters: BTreeSet<&str> = subjects.iter().flat_map(|subject| subject.integration).copied().collect();
    let filters: Vec<&str> = filters.into_iter().filter(|_| integration).collect();
    let tests = match integration {
        true => programs.of("tests")?.tests(&filters, &copy.notes)?,
        false => Vec::new(),
    };
    let accepted = fs::read_to_string("tests/mutants/accepted")?;
    let reasons = accepted.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let accepted = Mutex::new(reasons.collect());
    let mut table = Vec::new();
    for subject in subjects {
        let of_subject = |mutant: &&Mutant| {
            mutant.file.starts_with(subject.files)
                && !skipped.contains(&mutant.id)
                && chosen(&mutant.file, &wanted)
        };
        let mutants: Vec<&Mutant> = mutants.iter().filter(of_subject).collect();
        table.push((subject.files, subject.try_all(&mutants, &programs, &tests, &accepted, &copy.notes)?));
    }
    if wanted.is_empty() {
        for line in accepted.into_inner().unwrap_or_else(PoisonError::into_inner) {
            println!("EXPLAINED FOR NOTHING {line}");
        }
    }
    println!("{}", Figures::HEAD);
    table.iter().for_each(|(files, figures)| println!("{files:30}{figures}"));
    ensure!(
        table.iter().all(|(_, figures)| figures.percent() >= ENOUGH),
        "too many changes go unnoticed: write tests, or explain them in tests/mutants/accepted"
    );
    Ok(())
}

impl Subject {
    /// Tries the changes, two at a time, and tells of each that goes unnoticed.
    fn try_all(
        &self,
        mutants: &[&Mutant],
        programs: &Programs,
        integration: &[Test],
        accepted: &Mutex<Vec<&str>>,
        notes: &Path,
    ) -> Result<Figures> {
        let program = programs.of(self.package())?;
        let unit = program.tests(self.unit, notes)?;
        let own = |test: &&Test| self.integration.iter().any(|filter| test.name.contains(filter));
        let outcomes = each(mutants, |mutant| -> Result<Outcome> {
            let by_unit = program.notices(unit.iter(), mutant.id)?;
            if by_unit == Some(true) {
                return Ok(Outcome::Unit);
            }
            if is_explained(mutant, accepted) {
                return Ok(Outcome::Explained);
            }
            let by_integration = match integration.is_empty() {
                true => None,
                false => programs.of("tests")?.notices(integration.iter().filter(own), mutant.id)?,
            };
            if by_integration == Some(true) {
                return Ok(Outcome::Integration);
            }
            let Mutant { id, file, line, function, what } = mutant;
            let unmet = if by_unit.or(by_integration).is_none() { ", which no test meets" } else { "" };
            println!("MISSED {id} {file}:{line} {function}: {what}{unmet}");
            Ok(Outcome::Missed)
        });
        let mut figures = Figures { changes: mutants.len(), ..Figures::default() };
        for outcome in outcomes {
            *match outcome? {
                Outcome::Unit => &mut figures.unit,
                Outcome::Integration => &mut figures.integration,
                Outcome::Explained => &mut figures.explained,
                Outcome::Missed => &mut figures.missed,
            } += 1;
        }
        Ok(figures)
    }

    /// The package whose unit tests look first.
    fn package(&self) -> &'static str {
        self.files.split('/').next().unwrap_or_default()
    }
}

impl Figures {
    const HEAD: &str =
        "subject                        changes   unit  integration  explained  missed  percent";

    /// Of those that a test can notice.
    fn percent(&self) -> f64 {
        match self.changes - self.explained {
            0 => 100.0,
            noticeable => 100.0 * (self.unit + self.integration) as f64 / noticeable as f64,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, unit, integration, explained, missed } = self;
        let percent = self.percent();
        write!(f, "{changes:8}{unit:7}{integration:13}{explained:11}{missed:8}{percent:9.1}")
    }
}

/// Takes one line of `accepted` that explains this change: there are as many as there are changes of that description.
fn is_explained(mutant: &Mutant, accepted: &Mutex<Vec<&str>>) -> bool {
    let Mutant { file, function, what, .. } = mutant;
    let wanted = format!("{file} {function}: {what}");
    let mut lines = accepted.lock().unwrap_or_else(PoisonError::into_inner);
    let found = lines.iter().position(|line| *line == wanted);
    found.map(|at| lines.swap_remove(at)).is_some()
}

/// Is this path one of those asked for? All are, when none is.
fn chosen(path: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| path.starts_with(one) || one.starts_with(path))
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
    const ONLY_TESTS: [&str; 10] = [
        "tests",
        "tests.rs",
        "vectors.rs",
        "verdicts.rs",
        "properties.rs",
        "fixtures.rs",
        "batches.rs",
        "rules.rs",
        "rules",
        "limits.rs",
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
