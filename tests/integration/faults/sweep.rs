//! The server dies at the N-th step of an operation, or its N-th write, statement or commit fails, for N = 1, 2, 3 … until
//! the operation gets through.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use tests::device::{Device, Snapd};
use tests::http::Response;
use tests::server::{Server, Setup};

use super::answers::Answers;
use super::operations::{Damage, OPERATIONS, Operation, operation};
use super::scene::{Engine, Order, Place, Scene, files, problems};
use super::{kills, long};
use crate::verify::blob;

/// What happens at the N-th step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends.
    Death,
    /// That one thing fails.
    Failure,
    /// That and everything after it fails.
    Outage,
}

/// An operation, and what there is before and after one clean run.
pub(super) struct Sweep<'a> {
    scene: &'a Scene,
    name: &'static str,
    damage: Damage,
    /// A data directory as it is before the operation.
    stock: Place,
    pub(super) order: Order,
    pub(super) old: Answers,
    pub(super) new: Answers,
    untouched: BTreeSet<String>,
    clean: BTreeSet<String>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(scene: &'a Scene, operation: &Operation) -> Self {
        let stock = scene.place();
        let mut order = (operation.order)(scene);
        if let Some(first) = operation.first {
            let store = stock.start();
            let answer = first(scene).give(&store).expect("an answer");
            assert_eq!(answer.status, 200, "{}: {answer:?}", operation.name);
            order.target = order.target.replace("{id}", answer.json()["id"].as_str().unwrap_or_default());
            let _ = store.stop();
        }
        if operation.damage != Damage::Nothing {
            let digest = scene.world.snap("rusty").revision(1).image.digest;
            fs::write(blob(&stock.data(), &digest), b"rust").expect("a file of our own");
        }
        let place = scene.place_like(&stock.data());
        let untouched = files(&place.data());
        let store = place.start();
        let old = scene.answers(&store);
        order.obeyed(&store);
        let new = scene.answers(&store);
        let wrong = problems(&store, operation.name).len();
        assert_eq!(wrong, usize::from(operation.damage == Damage::Stays), "{}", operation.name);
        let _ = store.stop();
        let clean = files(&place.data());
        let (name, damage) = (operation.name, operation.damage);
        Self { scene, name, damage, stock, order, old, new, untouched, clean }
    }

    /// A copy of everything as it is before the operation.
    fn place(&self) -> Place {
        self.scene.place_like(&self.stock.data())
    }

    /// As [`Sweep::place`], where there is a place already.
    pub(super) fn stock(&self, place: &Place) {
        self.scene.stock_like(&self.stock.data(), place);
    }

    /// Has the server check everything: nothing is wrong but what was before.
    pub(super) fn verified(&self, store: &Server, when: &str) {
        let wrong = problems(store, when);
        assert!(wrong.len() <= usize::from(self.damage != Damage::Nothing), "{when}: {wrong:?}");
    }

    /// Goes through every step; how many there are.
    fn run(&self, fault: Fault) -> u32 {
        for step in 1.. {
            let place = self.place();
            let when = format!("{} with a {fault:?} at step {step}", self.name);
            let hit = match fault {
                Fault::Death => self.dies(&place, step, &when),
                Fault::Failure | Fault::Outage => self.fails(&place, step, fault, &when),
            };
            if !hit {
                return step - 1;
            }
        }
        0
    }

    fn dies(&self, place: &Place, step: u32, when: &str) -> bool {
        let doomed = place.start_doomed();
        place.arm(&format!("step:{step}"));
        let answer = self.order.give(&doomed);
        let acknowledged = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        // What was acknowledged has to be there, however the server ends right after.
        let ended = if answer.is_ok() { doomed.kill() } else { doomed.wait() };
        assert_eq!(ended.signal, Some(9), "{when}: {answer:?}");
        let Some(point) = place.fired() else {
            assert!(acknowledged, "{when}: {answer:?}");
            return false;
        };
        let when = format!("{when} ({point})");
        let store = place.start();
        let seen = self.scene.answers(&store);
        self.is_old_or_new(&seen, acknowledged, &when);
        self.verified(&store, &when);
        self.again(place, &store, step, &when);
        true
    }

    fn fails(&self, place: &Place, step: u32, fault: Fault, when: &str) -> bool {
        let doomed = place.start_doomed();
        let lasting = fault == Fault::Outage;
        place.arm(&format!("{}:{step}", if lasting { "fail-from" } else { "fail" }));
        let answer = self.order.give(&doomed).expect("a server that lives answers");
        let Some(point) = place.fired() else {
            assert_eq!(answer.status, 200, "{when}: {answer:?}");
            return false;
        };
        let when = format!("{when} ({point})");
        assert!(matches!(answer.status, 200 | 503), "{when}: our own fault is 503: {answer:?}");
        // A flush that failed may succeed when it is tried again, and mean nothing: it is never believed.
        let is_flush =
            ["blob.sync", "config.sync", "config.flush"].iter().any(|name| point.starts_with(name));
        assert!(!is_flush || answer.status == 503, "{when}: a flush that failed is no success: {answer:?}");
        let seen = self.scene.answers_meanwhile(&doomed);
        match is_unknown(&answer) {
            // It may become visible between two answers.
            true => seen.iter().for_each(|(question, said)| {
                let known = [&self.old, &self.new].map(|answers| answers.get(question) == Some(said));
                assert!(known.contains(&true), "{when}: neither before nor after: {question}: {said}");
            }),
            false => self.is_old_or_new(&seen, answer.status == 200, &when),
        }
        if answer.status == 503 && !is_unknown(&answer) {
            assert_eq!(seen, self.old, "{when}: refused means untouched: {answer:?}");
            let left: Vec<String> = files(&place.data()).difference(&self.untouched).cloned().collect();
            // If nothing says what may be removed, or another server may need them, published files wait for the
            // clean-up.
            let waits = lasting || self.scene.engine == Engine::Postgres;
            let excused = waits && left.iter().all(|name| name.starts_with("blobs/"));
            assert!(left.is_empty() || excused, "{when}: refused means untouched: {left:?} {answer:?}");
        }
        let store = match lasting {
            true => {
                let _ = doomed.kill();
                place.start()
            }
            false => doomed,
        };
        if lasting && point.starts_with("sql.commit") && answer.status == 503 && !is_unknown(&answer) {
            // Until then memory has answered.
            assert_eq!(self.scene.answers(&store), self.old, "{when}: refused means untouched after a start");
        }
        self.again(place, &store, step, &when);
        self.verified(&store, &when);
        true
    }

    pub(super) fn is_old_or_new(&self, seen: &Answers, acknowledged: bool, when: &str) {
        if acknowledged {
            assert_eq!(*seen, self.new, "{when}: acknowledged means visible");
        } else if *seen != self.old {
            assert_eq!(*seen, self.new, "{when}: neither before nor after");
        }
    }

    /// The operation once more, which ends where one clean run ended.
    pub(super) fn again(&self, place: &Place, store: &Server, step: u32, when: &str) {
        let answer = self.order.give(store).expect("an answer");
        // What is gone cannot be removed again.
        assert!(matches!(answer.status, 200 | 422), "{when}, again: {answer:?}");
        // Asking is the most of the work, and these are the answers of the same files.
        if step.is_multiple_of(4) || self.new == self.old {
            assert_eq!(self.scene.answers(store), self.new, "{when}, again");
        }
        assert_eq!(files(&place.data()), self.clean, "{when}, again");
    }
}

/// Whether the server says that the result is unknown, and what to do.
fn is_unknown(answer: &Response) -> bool {
    answer.text().contains("run it again")
}

/// Sweeps these operations, and prints how many steps each has.
pub(super) fn sweep(engine: Engine, names: &[&str], fault: Fault) -> u32 {
    let scene = Scene::new(engine);
    let mut total = 0;
    for name in names {
        let sweep = Sweep::new(&scene, operation(name));
        let begun = Instant::now();
        let steps = sweep.run(fault);
        println!("{engine:?} {name}: {steps} steps of {fault:?} in {:?}", begun.elapsed());
        total += steps;
    }
    total
}

/// Sweeps every operation on both engines in the long run, and otherwise these on the embedded one.
fn sweep_some(names: &[&str], fault: Fault, at_least: u32) {
    let all: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let total = match long() {
        true => sweep(Engine::Postgres, &all, fault) + sweep(Engine::Sqlite, &all, fault),
        false => sweep(Engine::Sqlite, names, fault),
    };
    println!("{total} steps of {fault:?}");
    assert!(total >= at_least, "only {total} steps: do the failpoints still stand in the way of these?");
}

/// Operations that bring files.
const PUSHES: [&str; 5] = ["first-push", "second-push", "archive", "repair", "push-again"];
/// Operations that write the file of settings.
const SETTINGS: [&str; 6] =
    ["registration", "domain", "setting", "rotation", "login-rotation", "certificate"];

/// The others.
fn changes() -> Vec<&'static str> {
    let all = OPERATIONS.iter().map(|operation| operation.name);
    all.filter(|name| !PUSHES.contains(name) && !SETTINGS.contains(name)).collect()
}

/// Kills at every step of these operations; there are that many at least.
fn killed(engine: Engine, names: &[&str], at_least: u32) {
    let total = sweep(engine, names, Fault::Death);
    println!("{engine:?}: {total} kills");
    assert!(total >= at_least, "only {total} kills: do the failpoints still stand in the way of these?");
}

#[test]
fn pushes_live_through_death() {
    killed(Engine::Sqlite, &PUSHES, kills::PUSHES);
}

#[test]
fn settings_live_through_death() {
    killed(Engine::Sqlite, &SETTINGS, kills::SETTINGS);
}

#[test]
fn every_change_lives_through_death() {
    killed(Engine::Sqlite, &changes(), kills::CHANGES);
}

#[test]
fn postgresql_pushes_live_through_death() {
    let names = if long() { &PUSHES[..] } else { &PUSHES[..2] };
    killed(Engine::Postgres, names, kills::PUSHES_ON_POSTGRESQL);
}

#[test]
fn postgresql_changes_live_through_death() {
    let short = || ["metadata", "remove-snap", "rotation", "gc"].to_vec();
    let names = if long() { [&changes()[..], &SETTINGS].concat() } else { short() };
    killed(Engine::Postgres, &names, kills::CHANGES_ON_POSTGRESQL);
}

#[test]
fn a_failure_is_a_refusal() {
    sweep_some(&["first-push", "domain"], Fault::Failure, 80);
}

#[test]
fn an_outage_is_a_refusal() {
    sweep_some(&["second-push"], Fault::Outage, 40);
}

/// Every point must be reached by some operation; otherwise a kill there would test nothing.
#[test]
fn every_point_is_passed() {
    let scene = Scene::new(Engine::Sqlite);
    let born = scene.empty_place();
    drop(Setup::empty().failpoint("trace").start_at(&born.data()).expect("a store is born"));
    let mut passed =
        names(&fs::read_to_string(born.data().join("proxyd.log")).expect("a log"), "failpoint ", ':');
    for operation in &OPERATIONS {
        let sweep = Sweep::new(&scene, operation);
        let place = sweep.place();
        // What was cut off is removed at the start.
        fs::write(place.data().join("staging/left"), b"left").expect("a folder of our own");
        let store = Setup::empty().failpoint("trace").start_at(&place.data()).expect("it starts");
        sweep.order.obeyed(&store);
        let _ = Device::new(&store, Snapd::V2_77, &scene.witness.identity).ensure_session();
        passed.extend(names(&store.log(), "failpoint ", ':'));
    }
    let mut written = names(include_str!("../../../schema/src/config/file.rs"), "may(\"", '"');
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the server's source").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != "failpoint.rs" {
                let text = fs::read_to_string(entry.path()).expect("source is text");
                for macro_ in ["failpoint!(\"", "failpoint_io!(\"", "  point(\""] {
                    written.extend(names(&text, macro_, '"'));
                }
            }
        }
    }
    assert!(written.len() > 20, "{written:?}");
    // Those of a restore, of a parcel and of an import that waits are passed where it is killed.
    passed.extend(crate::parcels::POINTS.map(str::to_owned));
    passed.extend(crate::quarantine::POINTS.map(str::to_owned));
    passed.extend(crate::backup::RESTORE_POINTS.iter().map(|(name, _, _)| (*name).to_owned()));
    assert_eq!(written.difference(&passed).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// What stands between each `before` and the next `after`.
fn names(text: &str, before: &str, after: char) -> BTreeSet<String> {
    let found = text.split(before).skip(1).filter_map(|rest| rest.split_once(after));
    found.map(|(name, _)| name.to_owned()).collect()
}
