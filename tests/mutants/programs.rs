//! The tests that were built from the copy, and what they say of a change.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Longest that one run of tests may take; a change that makes it hang is noticed.
const LONGEST: Duration = Duration::from_secs(300);

/// Programs that hold tests.
pub struct Programs {
    /// The copy that they were built from.
    pub tree: PathBuf,
    /// The unit tests of `schema`.
    pub schema: Option<PathBuf>,
    /// The unit tests of `server`.
    pub server: Option<PathBuf>,
    /// The integration tests.
    pub integration: Option<PathBuf>,
}

impl Programs {
    /// Do the tests of these filters pass, in the program of this package, under this change?
    pub fn pass(&self, package: &str, filters: &[&str], id: usize) -> Result<bool> {
        let program = match package {
            "schema" => &self.schema,
            "server" => &self.server,
            _ => &self.integration,
        };
        let mut tests = Command::new(program.as_ref().context("the tests were not built")?);
        tests.args(filters).arg("--quiet").current_dir(self.tree.join(package)).env("MUTANT", id.to_string());
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
