//! Searches of a long audit log.

use std::time::{Duration, Instant};

use super::contract;
use super::fixture::{NOW, Store, run};
use crate::storage::engine::{Lane, Mode, Sql};
use crate::storage::{Database, EventsWhere};

contract! {
    a_long_log_is_searched_quickly_by_time_person_and_subject
}

/// Rows of a statement.
const STEP: i64 = 50_000;
/// How long a search of a million events may take.
const QUICK: Duration = Duration::from_millis(300);
/// From one event to the next, in microseconds.
const PACE: i64 = 60_000_000;

// Nine of ten events are of one person about the store; one in ten thousand is of another; each device has a few.
const FILL: &str =
    "WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2)
    INSERT INTO audit (sequence, at, who, what, subject, outcome, detail, hash)
    SELECT i, $3 + i * 60000000,
        CASE WHEN i % 10000 = 0 THEN 'login rare' ELSE 'uid 0' END,
        CASE WHEN i % 5000 = 0 THEN 'block-device' ELSE 'push-snaps' END,
        CASE WHEN i % 10 = 0 THEN 'acme/gateway/SN-' || (i % 100000) ELSE 'the store' END,
        'done', '{\"file\":\"a bundle of this length, as usual.tar.gz\"}', 'hash' FROM n";

async fn fill(database: &Database, count: i64) {
    for first in (1..=count).step_by(usize::try_from(STEP).unwrap()) {
        let mut transaction = database.engine.begin(Lane::Operator, Mode::Write).await.unwrap();
        let bounds = vec![first.into(), (first + STEP - 1).min(count).into(), NOW.into()];
        let _ = transaction.query(Sql::new("TEST", FILL), bounds).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let _ = run(database, "ANALYZE audit").await;
}

async fn a_long_log_is_searched_quickly_by_time_person_and_subject(store: Store) {
    let database = store.migrated().await;
    #[expect(clippy::disallowed_methods, reason = "the size of a test")]
    let is_long = std::env::var_os("AIRLOCK_LONG").is_some();
    let count = if is_long { 1_000_000 } else { 20_000 };
    fill(database, count).await;
    let at = |number: i64| Some(NOW + number * PACE);
    let text = |text: &str| Some(text.to_owned());
    let (middle, device) = (count / 2, text("acme/gateway/SN-100"));
    let all = EventsWhere::default;
    let searches = [
        ("nothing", all(), 51),
        ("a page far back", EventsWhere { before: Some(100), ..all() }, 51),
        ("the newest hour", EventsWhere { since_micros: at(count - 59), ..all() }, 51),
        ("before the middle", EventsWhere { until_micros: at(middle), ..all() }, 51),
        (
            "an hour in the middle",
            EventsWhere { since_micros: at(middle), until_micros: at(middle + 60), ..all() },
            51,
        ),
        ("an hour before the first", EventsWhere { until_micros: at(-60), ..all() }, 0),
        ("all the time", EventsWhere { since_micros: at(0), until_micros: at(count + 1), ..all() }, 51),
        ("a person", EventsWhere { who: text("uid 0"), ..all() }, 51),
        ("a rare person", EventsWhere { who: text("login rare"), ..all() }, count / 10_000),
        ("nobody", EventsWhere { who: text("login nobody"), ..all() }, 0),
        (
            "a rare person at a time",
            EventsWhere {
                who: text("login rare"),
                since_micros: at(middle),
                until_micros: at(middle + 10_000),
                ..all()
            },
            1,
        ),
        ("an action", EventsWhere { what: text("block-device"), ..all() }, count / 5000),
        ("a device", EventsWhere { subject: device.clone(), ..all() }, (count / 100_000).max(1)),
        (
            "a device at a time",
            EventsWhere { subject: device.clone(), since_micros: at(1), until_micros: at(200), ..all() },
            1,
        ),
        (
            "a rare person about what is usual",
            EventsWhere { who: text("login rare"), subject: text("the store"), ..all() },
            0,
        ),
        (
            "a usual person about a device",
            EventsWhere { who: text("uid 0"), subject: device.clone(), ..all() },
            (count / 100_000).max(1),
        ),
        (
            "a rare action about what is usual",
            EventsWhere { what: text("block-device"), subject: text("the store"), ..all() },
            0,
        ),
        (
            "a rare person and a usual action",
            EventsWhere { who: text("login rare"), what: text("push-snaps"), ..all() },
            0,
        ),
    ];
    let mut slow = Vec::new();
    for (name, search, expected) in searches {
        let begun = Instant::now();
        let found = database.events_where(search, 51).await.unwrap();
        let took = begun.elapsed();
        println!("{name}: {} ms, {} events", took.as_millis(), found.len());
        assert_eq!(found.len(), usize::try_from(expected.min(51)).unwrap(), "{name}");
        assert!(found.is_sorted_by(|one, other| one.sequence > other.sequence), "{name}: newest first");
        if is_long && took > QUICK {
            slow.push(format!("{name}: {took:?}"));
        }
    }
    assert!(slow.is_empty(), "slower than {QUICK:?}: {slow:?}");
}
