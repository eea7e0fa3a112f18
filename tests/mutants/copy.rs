//! The copy of the repository that changes are planted in, and its build.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::programs::Program;

/// The file that learns of the choice.
const LIBRARY: &str = "schema/src/lib.rs";
/// Where it is in the copy.
const CHOSEN: &str = "schema/src/mutants.rs";

/// A copy of the repository.
pub struct Copy {
    /// Where it is noted what a test meets.
    pub notes: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

/// The tests that were built from it, by package.
pub struct Programs(BTreeMap<&'static str, Program>);

impl Copy {
    /// The one in the folder `target/NAME`.
    pub fn new(name: &str) -> Result<Self> {
        let work = env::current_dir()?.join("target").join(name);
        Ok(Self { notes: work.join("notes"), tree: work.join("tree"), target: work.join("target") })
    }

    /// Makes it the repository as it is in the working tree, but for the text of the files in `planted`.
    pub fn fill(&self, planted: &BTreeMap<PathBuf, String>) -> Result<()> {
        let listed =
            Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let names: BTreeSet<&Path> = listed.lines().map(Path::new).filter(|name| name.is_file()).collect();
        // A module that moved would be found at both places.
        remove_others(&self.tree, Path::new(""), &names)?;
        for name in names {
            let mut content = match planted.get(name) {
                Some(text) => text.clone().into_bytes(),
                None => fs::read(name)?,
            };
            if name == Path::new(LIBRARY) {
                content.extend_from_slice(b"\n/// Which change is chosen.\npub mod mutants;\n");
            }
            write_if_new(&self.tree.join(name), &content)?;
        }
        write_if_new(&self.tree.join(CHOSEN), include_bytes!("chosen.rs"))
    }

    fn cargo(&self, command: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(command).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // Warnings speak of what was planted.
        cargo.stderr(Stdio::null());
        cargo
    }

    /// The numbers of the changes that the compiler refuses.
    pub fn failing(&self) -> Result<BTreeSet<usize>> {
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

    /// Builds the unit tests of these packages, and with `integration` also the programs and the tests of them.
    pub fn build(&self, packages: &BTreeSet<&str>, integration: bool) -> Result<Programs> {
        let mut tests =
            self.cargo(&["test", "--no-run", "--lib", "--bins", "--message-format=json", "--quiet"]);
        // With `schema`, whatever is asked for: cargo refuses `--lib` where no package has one.
        tests.args(packages.iter().chain([&"schema"]).flat_map(|package| ["-p", package]));
        if integration {
            let programs =
                self.cargo(&["build", "--quiet", "-p", "server", "-p", "cli", "--bins"]).status()?;
            ensure!(programs.success(), "the programs do not build");
            tests.args(["-p", "tests", "--test", "integration"]);
        }
        let output = tests.output()?;
        ensure!(output.status.success(), "the tests do not build");
        let messages = String::from_utf8(output.stdout)?;
        let program = |(package, name): (&'static str, &str)| {
            let path = messages.lines().find_map(|line| {
                let message: Value = serde_json::from_str(line).ok()?;
                let is_it = message["target"]["name"] == name && message["profile"]["test"] == true;
                is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
            })?;
            Some((package, Program { path, folder: self.tree.join(package), doubted: package == "tests" }))
        };
        let all = [("schema", "schema"), ("server", "proxyd"), ("tests", "integration")];
        Ok(Programs(all.into_iter().filter_map(program).collect()))
    }
}

impl Programs {
    /// The tests of a package.
    pub fn of(&self, package: &str) -> Result<&Program> {
        self.0.get(package).with_context(|| format!("the tests of {package} were not built"))
    }
}

impl Copy {
    /// Builds everything as `tests/run` does, and answers the programs that hold tests, each with the folder that it
    /// runs in.
    pub fn build_as_it_is(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let told = format!("the copy does not build: run `cargo check` in {}", self.tree.display());
        let build = |command: &[&str]| -> Result<()> {
            ensure!(self.cargo(&[&["build", "--quiet"], command].concat()).status()?.success(), told.clone());
            Ok(())
        };
        build(&["-p", "server", "-p", "cli", "--bins"])?;
        // What `tests/run` has unpacked for the tests.
        let tools = self.target.join("tools");
        if !tools.exists() {
            symlink(env::current_dir()?.join("target/tools"), tools)?;
        }
        let units = ["-p", "schema", "-p", "server", "-p", "cli", "--lib", "--bins"];
        let mut programs = Vec::new();
        for tests in [&units[..], &["-p", "cli", "--test", "cli"], &["-p", "tests", "--test", "integration"]]
        {
            let built =
                self.cargo(&["test", "--no-run", "--quiet", "--message-format=json"]).args(tests).output()?;
            ensure!(built.status.success(), told.clone());
            for line in String::from_utf8(built.stdout)?.lines() {
                let message: Value = serde_json::from_str(line)?;
                let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true);
                let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
                let found = program.zip(folder);
                programs.extend(found.map(|(program, folder)| (program.into(), folder.to_owned())));
            }
        }
        Ok(programs)
    }
}

/// Removes the files below a folder of the copy that are not among these names.
fn remove_others(tree: &Path, folder: &Path, names: &BTreeSet<&Path>) -> Result<()> {
    let Ok(entries) = fs::read_dir(tree.join(folder)) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => remove_others(tree, &name, names)?,
            false if names.contains(&*name) || name == Path::new(CHOSEN) => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Unchanged files keep their time, so that they are not compiled again.
fn write_if_new(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::create_dir_all(path.parent().context("a file in a folder")?)?;
        fs::write(path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
