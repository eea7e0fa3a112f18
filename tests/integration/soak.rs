//! A slice of the soak; `tests/soak` runs it for as long as one likes.

use std::time::Duration;

use tests::soak::{Engine, Plan, run};

fn slice(engine: Engine, seconds: u64) {
    let plan = Plan { engine, length: Duration::from_secs(seconds), seed: 1 };
    match run(&plan) {
        Ok(report) => println!("{report}"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn two_servers_on_postgres() {
    slice(Engine::Postgres, 18);
}

#[test]
fn one_server_on_its_own_database() {
    slice(Engine::Sqlite, 8);
}
