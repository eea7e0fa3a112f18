//! Negative controls for every hazard: removes one defence and checks that its test goes red.
//!
//! The files in the folder `controls` name the defences. All of them are planted into one copy of the repository,
//! which is built once; the environment removes them one at a time, as with the changes of [`crate::plant`].
//!
//! ```toml
//! [[control]]
//! row = "G4"                                  # of tests/HAZARDS.md
//! defence = "the filter of framing"           # as its last column has it
//! file = "server/src/listen/guarded.rs"
//! find = 'self.framing.check(came);'          # stands there exactly once
//! put = 'if !OFF { self.framing.check(came); }'
//! also = []                                   # further places of the defence: find and put, and file where it is
//! another
//! test = "accept::framing::attack_no_request_hides_in_another_directly_or_behind_a_proxy"
//! ```
//!
//! In the copy `put` replaces `find`, and `OFF` is true while this control is tried. If a defence consists in not
//! doing something, `put` does it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::copy::Copy;

const FOLDER: &str = "tests/mutants/controls";

/// Where each test says what it has to say: why it is red.
const LOGS: &str = "target/controls/logs";

/// Longest that one test may take.
const LONGEST: Duration = Duration::from_secs(300);

/// How many tests run at once: what they measure is measured on two cores.
const WORKERS: usize = 2;

/// What the files say, one after another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Controls {
    control: Vec<Control>,
    /// Rows that no change of the code can take out, each with its reason.
    #[serde(rename = "outside")]
    _outside: BTreeMap<String, String>,
}

/// One defence, and the test that has to notice its absence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    row: String,
    /// What it is, in a few words.
    defence: String,
    /// The name of the test, as `cargo nextest list` has it.
    test: String,
    #[serde(flatten)]
    place: Place,
    /// Further places of the same defence.
    #[serde(default)]
    also: Vec<Place>,
}

/// A text of a file and what stands there in the copy.
#[derive(Deserialize)]
struct Place {
    /// From the root of the repository; of an `also` without one, that of the control.
    #[serde(default)]
    file: PathBuf,
    /// Occurs exactly once.
    find: String,
    /// The same without the defence where `OFF` holds.
    put: String,
}

/// What became of one control.
enum Verdict {
    Red,
    Green,
    /// The test fails as it is, so that it says nothing.
    RedAnyway,
}

/// Plants every control, and tries those of the rows in `wanted`: all, when there is none.
pub fn run(wanted: &[String]) -> Result<()> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(FOLDER)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let texts: Vec<String> = files.iter().map(fs::read_to_string).collect::<std::io::Result<_>>()?;
    let page: Controls = toml::from_str(&texts.concat()).context(FOLDER)?;
    let controls = &page.control;
    let chosen: Vec<usize> = (0..controls.len())
        .filter(|&at| wanted.is_empty() || wanted.iter().any(|row| *row == controls[at].row))
        .collect();
    ensure!(!chosen.is_empty(), "no control has these rows: see {FOLDER}");
    let begun = Instant::now();
    let copy = Copy::new("controls")?;
    copy.fill(&planted(controls)?)?;
    let programs = copy.build_as_it_is()?;
    let known = tests_of(&programs)?;
    for control in controls {
        ensure!(known.contains_key(&control.test), "{}: there is no test {}", control.row, control.test);
    }
    let passes = |test: &str, id| passes(known[test], test, id);
    println!("{} controls, built in {} s", controls.len(), begun.elapsed().as_secs());

    let begun = Instant::now();
    // Every test first as it is, once: number 0 takes nothing out.
    let tests: Vec<&str> =
        chosen.iter().map(|&at| &*controls[at].test).collect::<BTreeSet<_>>().into_iter().collect();
    let as_they_are = at_once(&tests, |test| passes(test, 0))?;
    let failing: BTreeSet<&str> =
        tests.iter().zip(&as_they_are).filter(|(_, (passed, _))| !passed).map(|(test, _)| *test).collect();

    println!("{:<4} {:<44} {:<76} {:>5}", "row", "defence", "test", "s");
    let outcomes = at_once(&chosen, |&at| {
        let control = &controls[at];
        let (passed, took) = passes(&control.test, at + 1)?;
        let verdict = match passed {
            _ if failing.contains(&*control.test) => Verdict::RedAnyway,
            true => Verdict::Green,
            false => Verdict::Red,
        };
        let Control { row, defence, test, .. } = control;
        let shown = match verdict {
            Verdict::Red => "red",
            Verdict::Green => "STILL GREEN",
            Verdict::RedAnyway => "FAILS AS IT IS",
        };
        println!("{row:<4} {defence:<44} {test:<76} {:>5.1} {shown}", took.as_secs_f64());
        Ok(verdict)
    })?;
    let red = outcomes.iter().filter(|verdict| matches!(verdict, Verdict::Red)).count();
    println!("{red} of {} are red, in {} s", outcomes.len(), begun.elapsed().as_secs());
    ensure!(red == outcomes.len(), "{} defences go unnoticed: see above", outcomes.len() - red);
    Ok(())
}

/// The text of every file that a control changes, with all of them.
fn planted(controls: &[Control]) -> Result<BTreeMap<PathBuf, String>> {
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (at, control) in controls.iter().enumerate() {
        let places = || std::iter::once(&control.place).chain(&control.also);
        ensure!(places().any(|place| place.put.contains("OFF")), "{}: no OFF takes it out", control.row);
        for place in places() {
            let file = if place.file.as_os_str().is_empty() { &control.place.file } else { &place.file };
            let row = &control.row;
            let text = match texts.remove(file) {
                Some(text) => text,
                None => fs::read_to_string(file).with_context(|| format!("{row}: {}", file.display()))?,
            };
            let found = text.matches(&place.find).count();
            let name = file.display();
            ensure!(found == 1, "{row}: {name} has this {found} times instead of once:\n{}", place.find);
            let krate = if file.starts_with(Path::new("schema")) { "crate" } else { "schema" };
            let put = place.put.replace("OFF", &format!("{krate}::mutants::on({})", at + 1));
            texts.insert(file.clone(), text.replacen(&place.find, &put, 1));
        }
    }
    Ok(texts)
}

/// Does this for each of them, a few at a time, and answers the results in their order.
fn at_once<T: Sync, R: Send>(of: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((at, one)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| of.get(at).map(|one| (at, one)))
                {
                    let result = work(one);
                    if let Ok(mut done) = done.lock() {
                        done.insert(at, result);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_values().collect()
}

/// Which of the programs has each test.
fn tests_of(programs: &[(PathBuf, PathBuf)]) -> Result<BTreeMap<String, &(PathBuf, PathBuf)>> {
    let mut known = BTreeMap::new();
    for program in programs {
        let listed = Command::new(&program.0).args(["--list", "--format", "terse"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        known.extend(names.map(|name| (name.to_owned(), program)));
    }
    Ok(known)
}

/// Does one test pass without this defence, and how long did that take? What it says is kept in a file.
fn passes((program, folder): &(PathBuf, PathBuf), test: &str, id: usize) -> Result<(bool, Duration)> {
    let begun = Instant::now();
    fs::create_dir_all(LOGS)?;
    let log = fs::File::create(Path::new(LOGS).join(format!("{}-{id}", test.replace("::", "."))))?;
    let mut run = Command::new(program);
    run.args([test, "--exact", "--show-output"]).current_dir(folder).env("MUTANT", id.to_string());
    run.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // What it started ends with it, when it takes too long: so it is noticed, too.
    let mut run = run.process_group(0).spawn()?;
    loop {
        if let Some(status) = run.try_wait()? {
            return Ok((status.success(), begun.elapsed()));
        }
        if begun.elapsed() > LONGEST {
            Command::new("kill").args(["-KILL", "--", &format!("-{}", run.id())]).status()?;
            run.wait()?;
            return Ok((false, begun.elapsed()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
