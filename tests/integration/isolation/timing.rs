//! Denying what belongs to another store takes as long as denying what never existed (D4).
//!
//! Both are requested alternately, in random order, over one connection; the medians differ by less than 10 %.
//! Another program may disturb one round, so the next one is tried; a real difference shows in every round.

use std::time::{Duration, Instant};

use tests::attack::{Chance, percentile, size};
use tests::device::Dialect;
use tests::http::{Connection, Request};

use super::principals::Town;
use super::{plain, rename, routes};

/// The routes that are asked for one thing by its name.
const NAMED: [&str; 6] = [
    "POST /v2/snaps/refresh",
    "GET /v2/snaps/info/{name}",
    "GET /v2/assertions/{*path}",
    "GET /api/v1/snaps/download/{file}",
    "GET /api/v1/snaps/resources/download/{file}",
    "POST /v2/cohorts",
];

/// Medians of both, asked in turn.
fn medians(
    connection: &mut Connection,
    pair: &[Request; 2],
    chance: &mut Chance,
    rounds: usize,
) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let first = chance.below(2);
        for which in [first, 1 - first] {
            let begun = Instant::now();
            let answer = connection.exchange(&pair[which]).expect("an answer");
            times[which].push(begun.elapsed());
            assert!(answer.status < 500);
        }
    }
    times.each_mut().map(|times| percentile(times, 50))
}

#[test]
fn what_is_foreign_takes_as_long_as_what_never_was() {
    let town = Town::new();
    let stranger = town.principal("a device of bolt");
    let (own, ghost) = (&town.subjects[0], town.subjects[0].ghost());
    let mut connection = Connection::open(town.store.address).expect("the store listens");
    let mut chance = Chance::new(7);
    let rounds = size(200, 4000);
    let mut asked = 0;
    for row in routes::rows().into_iter().filter(|row| NAMED.contains(&row.route)) {
        for foreign in (row.requests)(own, town.store.host()) {
            let missing = rename(&foreign, own, &ghost);
            let pair = [foreign, missing].map(|mut request| {
                stranger.sign(&mut request, Dialect::V2);
                request
            });
            let answers = pair.each_ref().map(|request| connection.exchange(request).expect("an answer"));
            assert_eq!(plain(&answers[0], own), plain(&answers[1], &ghost), "{}", pair[0].target);
            let mut seen = Vec::new();
            let even = (0..6).any(|_| {
                let [foreign, missing] = medians(&mut connection, &pair, &mut chance, rounds);
                seen.push((foreign, missing));
                let (less, more) = (foreign.min(missing), foreign.max(missing));
                more.as_secs_f64() <= less.as_secs_f64() * 1.1
            });
            println!("{} {}: foreign and missing {:?}", pair[0].method, pair[0].target, seen.last());
            assert!(even, "{} {} tells by its time what is there: {seen:?}", pair[0].method, pair[0].target);
            asked += seen.len() * rounds * 2;
        }
    }
    println!("{asked} requests timed");
}
