//! The server dies at the N-th step of an operation, or its N-th write, statement or commit fails, for N = 1, 2, 3 … until
//! the operation gets through.

use std::collections::BTreeSet;

use tests::http::Response;
use tests::server::Server;

use super::answers::Answers;
use super::long;
use super::operations::{OPERATIONS, Operation, operation};
use super::scene::{Engine, Order, Place, Scene, files, verified};

/// What happens at the N-th step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
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
    pub(super) order: Order,
    pub(super) old: Answers,
    pub(super) new: Answers,
    untouched: BTreeSet<String>,
    clean: BTreeSet<String>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(scene: &'a Scene, operation: &Operation) -> Self {
        let place = scene.place();
        let order = (operation.order)(scene);
        let untouched = files(&place.data());
        let store = place.start();
        let old = scene.answers(&store);
        order.obeyed(&store);
        let new = scene.answers(&store);
        verified(&store, operation.name);
        let _ = store.stop();
        let clean = files(&place.data());
        Self { scene, name: operation.name, order, old, new, untouched, clean }
    }

    /// Goes through every step; how many there are.
    fn run(&self, fault: Fault) -> u32 {
        for step in 1.. {
            let place = self.scene.place();
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
        let _ = if answer.is_ok() { doomed.kill() } else { doomed.wait() };
        let Some(point) = place.fired() else {
            assert!(acknowledged, "{when}: {answer:?}");
            return false;
        };
        let when = format!("{when} ({point})");
        let store = place.start();
        let seen = self.scene.answers(&store);
        self.is_old_or_new(&seen, acknowledged, &when);
        verified(&store, &when);
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
        assert!(matches!(answer.status, 200 | 503), "{when}: a fault of ours is 503: {answer:?}");
        let seen = self.scene.answers(&doomed);
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
            // While the database is away nothing says what may go, so that files with a name wait for the clean-up.
            let excused = lasting && left.iter().all(|name| name.starts_with("blobs/"));
            assert!(left.is_empty() || excused, "{when}: refused means untouched: {left:?} {answer:?}");
        }
        let store = match lasting {
            true => {
                let _ = doomed.kill();
                place.start()
            }
            false => doomed,
        };
        self.again(place, &store, step, &when);
        verified(&store, &when);
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
        if step % 4 == 0 || self.new == self.old {
            assert_eq!(self.scene.answers(store), self.new, "{when}, again");
        }
        assert_eq!(files(&place.data()), self.clean, "{when}, again");
    }
}

/// Does the server say that it cannot tell, and what to do?
fn is_unknown(answer: &Response) -> bool {
    answer.text().contains("run it again")
}

/// Sweeps these operations, and prints how many steps each has.
fn sweep(engine: Engine, names: &[&str], faults: &[Fault]) -> u32 {
    let scene = Scene::new(engine);
    let mut total = 0;
    for name in names {
        let sweep = Sweep::new(&scene, operation(name));
        for &fault in faults {
            let begun = std::time::Instant::now();
            let steps = sweep.run(fault);
            println!("{engine:?} {name}: {steps} points of {fault:?} in {:?}", begun.elapsed());
            total += steps;
        }
    }
    total
}

/// The names of all operations.
fn all() -> Vec<&'static str> {
    OPERATIONS.iter().map(|operation| operation.name).collect()
}

/// Keeps going when an operation fails, so that one run shows all of them.
#[test]
fn probe() {
    let faults: Vec<Fault> = match std::env::var("PROBE").as_deref() {
        Ok("death") => vec![Fault::Death],
        Ok("failure") => vec![Fault::Failure],
        _ => vec![Fault::Outage],
    };
    let names = std::env::var("PROBE_NAMES")
        .map(|n| n.split(',').map(|n| operation(n).name).collect())
        .unwrap_or_else(|_| all());
    for name in names {
        for fault in &faults {
            let ran = std::panic::catch_unwind(|| sweep(Engine::Sqlite, &[name], &[*fault]));
            println!("PROBED {name} {fault:?} {ran:?}");
        }
    }
    let _ = long();
}
