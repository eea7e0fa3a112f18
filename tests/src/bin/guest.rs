//! What the package test needs from outside of the machine that it boots: files to carry in, a device, and somebody who does what a
//! page says.
//!
//! ```text
//! guest files DIR                 writes what an operator of the store would carry in
//! guest visit DIR                 a device of the brand logs in, or goes on with its session, and installs
//! guest page FILE RUN...          runs the page's commands of the store, each by `RUN... COMMAND`
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use tests::bundle::{store_metadata, write_pair};
use tests::device::{Device, Snapd};
use tests::keys::Keyring;
use tests::pages::{as_shown, steps};
use tests::world::World;

/// Where the store is, as every link has it.
const URL: &str = "http://snaps.internal";

/// Helps the package test.
#[derive(Parser)]
enum Args {
    /// Write what is carried in
    Files {
        /// Where to
        dir: PathBuf,
    },
    /// Be a device
    Visit {
        /// Where `files` wrote to; the session is kept there
        dir: PathBuf,
    },
    /// Do what a page says
    Page {
        /// The page
        file: PathBuf,
        /// What runs a command on the store
        #[arg(required = true)]
        run: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Files { dir } => files(&dir),
        Args::Visit { dir } => visit(&dir),
        Args::Page { file, run } => page(&file, &run),
    }
}

fn world(dir: &Path) -> World {
    World::with_keys("package-root", Keyring::in_folder(&dir.join("keys")))
}

fn files(dir: &Path) -> anyhow::Result<()> {
    let world = world(dir);
    let brand = world.brand("acme");
    let hello = world.snap("hello").publisher("acme");
    fs::write(dir.join("root.assert"), world.anchors())?;
    fs::write(dir.join("keys.assert"), brand.account_keys())?;
    fs::write(dir.join("store.json"), store_metadata("AcmeStore", "acme", &[&hello]).to_string())?;
    let _ = write_pair(dir, &hello.revision(1));
    Ok(())
}

fn visit(dir: &Path) -> anyhow::Result<()> {
    let world = world(dir);
    let brand = world.brand("acme");
    let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
    let mut device = Device::at(SocketAddr::from(([127, 0, 0, 1], 80)), URL, Snapd::V2_77).trusting(&world);
    device.store = identity.store().map(str::to_owned);
    device.identity = Some(identity);
    let kept = dir.join("session");
    device.session = fs::read_to_string(&kept).ok();
    let before = device.session.clone();
    let outcome = device.install("hello", "latest/stable")?;
    device.fetch_and_check(&outcome)?;
    let session = device.session.clone().context("the device has no session")?;
    ensure!(before.is_none_or(|before| before == session), "the device had to log in again");
    fs::write(&kept, session)?;
    println!("hello revision {} came whole", outcome.snap.revision);
    Ok(())
}

fn page(file: &Path, run: &[String]) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (program, args) = run.split_first().context("nothing runs the commands")?;
    for step in steps(&text).iter().filter(|step| step.machine == "store") {
        println!("# {}", step.command);
        let output =
            Command::new(program).args(args).arg(format!("{{ {}\n}} 2>&1", step.command)).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        let place = format!("{}:{}", file.display(), step.line);
        ensure!(output.status.success(), "{place}: ended with {}", output.status);
        // apt and its kind say much that no page repeats.
        let lines: Vec<&str> = text.lines().collect();
        if !step.command.starts_with("apt-get ") && !as_shown(&lines, &step.shown) {
            bail!("{place}: that is not what the page shows: {:?}", step.shown);
        }
    }
    Ok(())
}
