//! Changes the code in small ways, one at a time, and looks whether a test notices; see `run`.
//!
//! The changes are planted into a copy of the repository, all at once (see [`plant`]), and the copy is built once. Each
//! change is then chosen by the environment: the unit tests of its crate run first, and what they let pass meets the
//! integration tests, whose servers inherit the choice. A change that does not compile is left out.

mod plant;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use plant::{Mutant, Planter};
use serde_json::Value;

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

/// The file that learns of the choice.
const LIBRARY: &str = "schema/src/lib.rs";

/// Longest that one run of tests may take; a change that makes it hang is noticed.
const LONGEST: Duration = Duration::from_secs(300);

struct Subject {
    files: &'static str,
    unit: &'static [&'static str],
    integration: &'static [&'static str],
}

/// The copy, and the programs that were built from it.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
    /// The packages whose tests are built.
    packages: Vec<&'static str>,
}

fn main() -> Result<()> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let subjects: Vec<&Subject> = SUBJECTS.iter().filter(|subject| chosen(subject.files, &wanted)).collect();
    ensure!(!subjects.is_empty(), "no subject has these paths: see SUBJECTS in tests/mutants/main.rs");
    let mut packages: Vec<&str> = subjects.iter().map(|subject| subject.package()).collect();
    packages.dedup();
    let work = env::current_dir()?.join("target/mutants");
    let copy = Copy { tree: work.join("tree"), target: work.join("target"), packages };
    let mut skipped = BTreeSet::new();
    let mutants = loop {
        copy.renew()?;
        let planter = copy.plant(skipped)?;
        let failing = copy.failing()?;
        if failing.is_empty() {
            skipped = planter.skipped;
            break planter.mutants;
        }
        skipped = planter.skipped.into_iter().chain(failing).collect();
    };
    let programs = copy.build()?;
    println!("{} changes, {} of them do not compile", mutants.len(), skipped.len());

    let accepted = fs::read_to_string("tests/mutants/accepted").unwrap_or_default();
    let mut missed = 0;
    for subject in subjects {
        ensure!(
            programs.notice(subject, 0)?.is_none(),
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
            match programs.notice(subject, mutant.id)? {
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

/// Are the integration tests left out?
fn unit_only() -> bool {
    env::var_os("MUTANTS_UNIT_ONLY").is_some()
}

impl Copy {
    /// The files of the repository, as they are in the working tree, but those that are planted in.
    fn renew(&self) -> Result<()> {
        let listed =
            Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
        let planted = planted_files()?;
        for name in String::from_utf8(listed.stdout)?.lines() {
            let path = Path::new(name);
            if path.is_file() && name != LIBRARY && !planted.iter().any(|file| file == path) {
                let copy = self.tree.join(name);
                fs::create_dir_all(copy.parent().context("a file in a folder")?)?;
                write_if_new(&copy, &fs::read(name)?)?;
            }
        }
        Ok(())
    }

    fn plant(&self, skipped: BTreeSet<usize>) -> Result<Planter> {
        let mut planter = Planter::new(skipped);
        for file in planted_files()? {
            let name = file.to_string_lossy();
            let planted =
                planter.plant(&name, &fs::read_to_string(&file)?).with_context(|| name.to_string())?;
            let copy = self.tree.join(&file);
            fs::create_dir_all(copy.parent().context("a file in a folder")?)?;
            write_if_new(&copy, planted.as_bytes())?;
        }
        let library = self.tree.join(LIBRARY);
        let text = fs::read_to_string(LIBRARY)? + "\n/// Which change is chosen.\npub mod mutants;\n";
        write_if_new(&library, text.as_bytes())?;
        write_if_new(&self.tree.join("schema/src/mutants.rs"), include_bytes!("chosen.rs"))?;
        Ok(planter)
    }

    fn cargo(&self, command: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(command).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // Warnings speak of what was planted.
        cargo.stderr(Stdio::null());
        cargo
    }

    /// The numbers of the changes that the compiler refuses.
    fn failing(&self) -> Result<BTreeSet<usize>> {
        let output = self
            .cargo(&["check", "--quiet", "-p", "schema", "-p", "server", "--message-format=json"])
            .output()?;
        let mut failing = BTreeSet::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: Value = serde_json::from_str(line)?;
            if message["message"]["level"] != "error" {
                continue;
            }
            for span in message["message"]["spans"].as_array().into_iter().flatten() {
                let file = span["file_name"].as_str().unwrap_or_default();
                let at = span["line_start"].as_u64().unwrap_or_default() as usize;
                failing.extend(self.nearest(file, at));
            }
        }
        if !output.status.success() && failing.is_empty() {
            bail!("the copy does not build");
        }
        Ok(failing)
    }

    /// The number of the change at a line of the copy: on it, or else before it.
    fn nearest(&self, file: &str, line: usize) -> Option<usize> {
        let text = fs::read_to_string(self.tree.join(file)).ok()?;
        let lines: Vec<&str> = text.lines().take(line).collect();
        lines.iter().rev().take(12).find_map(|line| {
            let (_, rest) = line.rsplit_once("mutants::on(")?;
            rest.split(')').next()?.parse().ok()
        })
    }

    fn build(&self) -> Result<Programs> {
        let mut tests =
            self.cargo(&["test", "--no-run", "--lib", "--bins", "--message-format=json", "--quiet"]);
        tests.args(self.packages.iter().flat_map(|package| ["-p", package]));
        if !unit_only() {
            let programs =
                self.cargo(&["build", "--quiet", "-p", "server", "-p", "cli", "--bins"]).status()?;
            ensure!(programs.success(), "the programs do not build");
            tests.args(["-p", "tests", "--test", "integration"]);
        }
        let output = tests.output()?;
        ensure!(output.status.success(), "the tests do not build");
        let messages = String::from_utf8(output.stdout)?;
        let executable = |name: &str| {
            messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
                let is_it = message["target"]["name"] == name && message["profile"]["test"] == true;
                is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
            })
        };
        Ok(Programs {
            tree: self.tree.clone(),
            schema: executable("schema"),
            server: executable("proxyd"),
            integration: executable("integration"),
        })
    }
}

struct Programs {
    tree: PathBuf,
    schema: Option<PathBuf>,
    server: Option<PathBuf>,
    integration: Option<PathBuf>,
}

impl Programs {
    /// Which tests notice a change: 0 those of the crate, 1 the integration tests.
    fn notice(&self, subject: &Subject, id: usize) -> Result<Option<usize>> {
        let unit = if subject.package() == "schema" { &self.schema } else { &self.server };
        if !self.pass(unit.as_deref(), subject.package(), subject.unit, id)? {
            return Ok(Some(0));
        }
        let pass = unit_only() || self.pass(self.integration.as_deref(), "tests", subject.integration, id)?;
        Ok((!pass).then_some(1))
    }

    fn pass(&self, program: Option<&Path>, folder: &str, filters: &[&str], id: usize) -> Result<bool> {
        let mut tests = Command::new(program.context("the tests were not built")?);
        tests.args(filters).arg("--quiet").current_dir(self.tree.join(folder)).env("MUTANT", id.to_string());
        let mut run = tests.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = run.try_wait()? {
                return Ok(status.success());
            }
            if begun.elapsed() > LONGEST {
                run.kill()?;
                run.wait()?;
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Unchanged files keep their time, so that they are not compiled again.
fn write_if_new(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::write(path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
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
