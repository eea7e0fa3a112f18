//! Power cuts: the data directory lies on a volume of its own (ext4 in a file, mounted by loop). The server stops at every
//! step of an operation and the file is copied as it is then: it holds what was flushed and nothing else, since the file
//! system itself writes back only once an hour. Each copy is mounted again, as after the cut, and a server started on it.
//!
//! Needs the right to mount; without it this says SKIPPED.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tests::memory;

use super::long;
use super::operations::{OPERATIONS, operation};
use super::scene::{Engine, Place, Scene, files};
use super::sweep::{Fault, Sweep, sweep};

/// A mounted volume; unmounted when it is dropped.
pub(crate) struct Volume {
    at: PathBuf,
}

impl Drop for Volume {
    fn drop(&mut self) {
        if run("umount", &[&self.at]).is_err() {
            let _ = run("umount", &[Path::new("-l"), &self.at]);
        }
    }
}

impl Volume {
    /// Mounts `what` as the data directory of a place.
    pub(crate) fn mount(options: &[&str], what: &Path, place: &Place) -> Result<Self, String> {
        let at = place.data();
        fs::create_dir_all(&at).expect("a folder of our own");
        let arguments: Vec<&Path> = options.iter().map(Path::new).chain([what, &at]).collect();
        run("mount", &arguments)?;
        Ok(Self { at })
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr).trim())),
    }
}

/// What the volume holds at each step of an operation, and after it was acknowledged.
struct Recording {
    folder: tempfile::TempDir,
    images: Vec<PathBuf>,
}

impl Recording {
    /// Runs the operation; an error when nothing can be mounted here.
    fn new(clean: &Sweep<'_>) -> Result<Self, String> {
        let place = Place::new();
        let image = place.beside("image");
        let file = fs::File::create(&image).expect("a folder of our own");
        file.set_len(24 << 20).expect("room for an image");
        let quiet = ["-q", "-F", "-b", "4096", "-J", "size=4"].map(Path::new);
        run("mkfs.ext4", &[&quiet[..], &[&image]].concat())?;
        let volume = Volume::mount(&["-o", "loop,commit=3600"], &image, &place)?;
        clean.stock(&place);
        run("sync", &[Path::new("-f"), &place.data()])?;

        let store = place.start_doomed();
        let mut recording = Self { folder: memory::folder("airfault-"), images: Vec::new() };
        place.arm("stop");
        let pid = Pid::from_raw(i32::try_from(store.pid()).expect("a process id"));
        std::thread::scope(|scope| {
            let given = scope.spawn(|| clean.order.obeyed(&store));
            while !given.is_finished() {
                match waitpid(pid, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Stopped(..)) => {
                        recording.take(&image);
                        kill(pid, Signal::SIGCONT).expect("an own process can be signalled");
                    }
                    Ok(_) => std::thread::yield_now(),
                    Err(error) => panic!("cannot wait for the server: {error}"),
                }
            }
        });
        recording.take(&image);
        let _ = store.kill();
        drop(volume);
        Ok(recording)
    }

    fn take(&mut self, image: &Path) {
        let copy = self.folder.path().join(self.images.len().to_string());
        run("cp", &[Path::new("--sparse=always"), image, &copy]).expect("room for a copy of the volume");
        self.images.push(copy);
    }
}

/// Cuts the power at every step of these operations, or kills the process there where nothing can be mounted.
fn cuts(names: &[&str]) {
    let scene = Scene::new(Engine::Sqlite);
    let mut total = 0;
    for name in names {
        let clean = Sweep::new(&scene, operation(name));
        let recording = match Recording::new(&clean) {
            Ok(recording) => recording,
            Err(why) => {
                println!("SKIPPED: no power cuts, for nothing can be mounted here: {why}");
                let killed = sweep(Engine::Sqlite, names, Fault::Death);
                println!("{killed} points of death instead");
                return;
            }
        };
        let mut done = false;
        let last = recording.images.len() - 1;
        for (number, image) in recording.images.iter().enumerate() {
            let when = format!("{name}, power cut at step {} of {}", number + 1, last + 1);
            let place = Place::new();
            let volume =
                Volume::mount(&["-o", "loop"], image, &place).expect("a volume can be mounted again");
            let store = place.start();
            let seen = scene.answers(&store);
            clean.is_old_or_new(&seen, number == last || done && clean.old != clean.new, &when);
            done |= seen == clean.new;
            clean.verified(&store, &when);
            let mut left = files(&place.data());
            left.retain(|name| name.starts_with("staging/") || name.starts_with("airlock.new."));
            assert!(left.is_empty(), "{when}: {left:?}");
            if number % 8 == 0 {
                clean.again(&place, &store, 0, &when);
            }
            let _ = store.kill();
            drop(volume);
        }
        println!("{name}: {} images", recording.images.len());
        total += recording.images.len();
    }
    println!("{total} power cuts");
}

#[test]
fn power_is_cut_during_imports() {
    cuts(&["first-push", "archive", "metadata"]);
}

#[test]
fn power_is_cut_during_upkeep() {
    cuts(&["override", "prune", "domain"]);
}

#[test]
fn power_is_cut_during_the_rest() {
    let tried = ["first-push", "archive", "metadata", "override", "prune", "domain"];
    let rest = OPERATIONS.iter().map(|operation| operation.name).filter(|name| !tried.contains(name));
    if long() {
        cuts(&rest.collect::<Vec<_>>());
    }
}
