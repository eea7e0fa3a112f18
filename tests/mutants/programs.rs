//! The tests that were built from the copy, which changes each of them meets, and what they say of one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::workers::each;

/// Quick tests are run together, as many as take this long: beginning a process takes time too.
const TOGETHER: Duration = Duration::from_secs(1);
/// A test that takes longer is run only where no quicker one meets the change.
const LONG: Duration = Duration::from_secs(20);
/// So long are tests tried for one change, going by how long they took: what many tests meet and none of the quick ones
/// notices counts as unnoticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that holds tests.
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// Is what fails run again? Whatever meets real servers may fail by chance on a busy host.
    pub doubted: bool,
}

/// One test, as it went without a change.
pub struct Test {
    /// Its name.
    pub name: String,
    /// The changes that it met.
    reached: BTreeSet<usize>,
    /// How long it took.
    took: Duration,
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs each test of these filters alone, without a change, and keeps what it meets: quickest first. What fails is
    /// told of and left out.
    pub fn tests(&self, filters: &[&str], notes: &Path) -> Result<Vec<Test>> {
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let listed = self.command(filters).args(["--list", "--format", "terse"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        fs::create_dir_all(notes)?;
        let ran = each(&names, |name| -> Result<Option<Test>> {
            let note = notes.join(name.replace("::", "."));
            let _ = fs::remove_file(&note);
            let begun = Instant::now();
            let mut command = self.command(&["--exact", "--quiet", name]);
            let passed = passes(command.env("MUTANTS_REACHED", &note), Duration::from_secs(600))?;
            let took = begun.elapsed();
            if !passed {
                println!("{name} fails without a change and is left out");
                return Ok(None);
            }
            let met = fs::read_to_string(&note).unwrap_or_default();
            let reached =
                met.lines().map(str::parse).collect::<Result<_, _>>().context(note.display().to_string())?;
            Ok(Some(Test { name: (*name).to_owned(), reached, took }))
        });
        let ran: Result<Vec<Option<Test>>> = ran.into_iter().collect();
        let mut tests: Vec<Test> = ran?.into_iter().flatten().collect();
        tests.sort_by_key(|test| test.took);
        Ok(tests)
    }

    /// Does one of these tests notice the change? Only those that meet it are run. `None` when none does.
    pub fn notices<'a>(&self, tests: impl Iterator<Item = &'a Test>, id: usize) -> Result<Option<bool>> {
        let mut meeting: Vec<&Test> = tests.filter(|test| test.reached.contains(&id)).collect();
        if meeting.first().is_none_or(|quickest| quickest.took < LONG) {
            meeting.retain(|test| test.took < LONG);
        }
        let mut tried = Duration::ZERO;
        meeting.retain(|test| {
            tried += test.took;
            tried <= PATIENCE || tried == test.took
        });
        let mut left = &meeting[..];
        while !left.is_empty() {
            let mut total = Duration::ZERO;
            let fits = |test: &&&Test| {
                total += test.took;
                total <= TOGETHER
            };
            let (now, later) = left.split_at(left.iter().take_while(fits).count().max(1));
            if self.fail(now, id)? && (!self.doubted || self.fail(now, id)?) {
                return Ok(Some(true));
            }
            left = later;
        }
        Ok((!meeting.is_empty()).then_some(false))
    }

    fn fail(&self, tests: &[&Test], id: usize) -> Result<bool> {
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        let took: Duration = tests.iter().map(|test| test.took).sum();
        let mut command = self.command(&["--exact", "--quiet"]);
        command.args(names).env("MUTANT", id.to_string());
        // A change that makes it hang is noticed.
        Ok(!passes(&mut command, took * 4 + Duration::from_secs(10))?)
    }
}

/// Runs tests to their end, or to the end of their time; then all that they started ends with them.
fn passes(command: &mut Command, longest: Duration) -> Result<bool> {
    let mut run = command.process_group(0).stdout(Stdio::null()).spawn()?;
    let begun = Instant::now();
    loop {
        if let Some(status) = run.try_wait()? {
            return Ok(status.success());
        }
        if begun.elapsed() > longest {
            Command::new("kill").args(["-KILL", "--", &format!("-{}", run.id())]).status()?;
            run.wait()?;
            return Ok(false);
        }
        sleep(Duration::from_millis(3));
    }
}
