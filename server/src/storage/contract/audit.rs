//! Searches of a long audit log.

use std::time::{Duration, Instant};

use schema::migrations::MIGRATIONS;

use super::contract;
use super::fixture::{NOW, Store, event, run};
use super::history::Random;
use crate::storage::audit::widen_spans;
use crate::storage::engine::{Lane, Mode, Sql};
use crate::storage::records::AuditRecord;
use crate::storage::{Database, EventsWhere};

contract! {
    a_search_by_time_finds_everything_whatever_clocks_did
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
        widen_spans(&mut transaction, count).await.unwrap();
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
    let mut judge = |name: &str, begun: Instant, found: usize| {
        let took = begun.elapsed();
        println!("{name}: {} ms, {found} events", took.as_millis());
        if is_long && took > QUICK {
            slow.push(format!("{name}: {took:?}"));
        }
    };
    for (name, search, expected) in searches {
        let begun = Instant::now();
        let found = database.events_where(search, 51).await.unwrap();
        judge(name, begun, found.len());
        assert_eq!(found.len(), usize::try_from(expected.min(51)).unwrap(), "{name}");
        assert!(found.is_sorted_by(|one, other| one.sequence > other.sequence), "{name}: newest first");
    }
    // What other pages ask of the log.
    let begun = Instant::now();
    judge("the last imports", begun, database.imports(i64::MIN, 50).await.unwrap().len());
    let begun = Instant::now();
    judge("changes of settings", begun, database.events_of("config").await.unwrap().len());
    let begun = Instant::now();
    judge("the last backup", begun, database.last_event_of("backup").await.unwrap().iter().len());
    assert!(slow.is_empty(), "slower than {QUICK:?}: {slow:?}");
}

async fn a_search_by_time_finds_everything_whatever_clocks_did(store: Store) {
    let database = store.migrated().await;
    let (mut random, mut now, mut times) = (Random(41), NOW, Vec::new());
    run(database, "CREATE TABLE before AS SELECT span, earliest, latest FROM audit_spans").await;
    // A clock that jumps ahead and back, and two servers whose clocks differ.
    for number in 0..1600 {
        now += match random.below(120) {
            0 => 900_000_000,
            1 => -900_000_000,
            2 => 5_000_000,
            _ => 1_000,
        };
        let at = now - if random.below(3) == 0 { 40_000 } else { 0 };
        times.push(at);
        // A server of an earlier release leaves the spans as they are.
        let is_older = number % 7 == 0 || number > 1500;
        if is_older {
            run(database, "INSERT INTO before SELECT span, earliest, latest FROM audit_spans").await;
        }
        database.record_event(&event(["push", "block"][number % 2]), at).await.unwrap();
        if is_older {
            run(database, "DELETE FROM audit_spans").await;
            run(database, "INSERT INTO audit_spans SELECT span, earliest, latest FROM before").await;
            run(database, "DELETE FROM before").await;
        }
    }
    run(database, "DROP TABLE before").await;
    let all = database.events_where(EventsWhere::default(), 9999).await.unwrap();
    assert!(all.iter().rev().map(|event| event.at_micros).eq(times.iter().copied()));
    for _ in 0..200 {
        let mut bound = || times[usize::try_from(random.below(1600)).unwrap()];
        let (since, until) = (bound(), bound());
        let of = EventsWhere {
            since_micros: Some(since).filter(|since| since % 3 > 0),
            until_micros: Some(until).filter(|until| until % 5 > 0),
            before: Some(1200).filter(|_| since % 2 == 0),
            what: Some("push".to_owned()).filter(|_| until % 2 == 0),
            ..EventsWhere::default()
        };
        let fits = |event: &&AuditRecord| {
            of.since_micros.is_none_or(|since| event.at_micros >= since)
                && of.until_micros.is_none_or(|until| event.at_micros < until)
                && of.before.is_none_or(|before| event.sequence < before)
                && of.what.as_ref().is_none_or(|what| event.event.what == *what)
        };
        let expected: Vec<i64> = all.iter().filter(fits).take(60).map(|event| event.sequence).collect();
        let found = database.events_where(of.clone(), 60).await.unwrap();
        assert!(found.iter().map(|event| event.sequence).eq(expected), "{of:?}");
    }
    // The spans of an upgraded database are the same, once a server of this release has written.
    database.record_event(&event("push"), now).await.unwrap();
    let spans = "SELECT span, earliest, latest FROM audit_spans ORDER BY span";
    let kept = run(database, spans).await;
    assert!(kept.len() > 4);
    run(database, "DELETE FROM audit_spans").await;
    let migration = MIGRATIONS.iter().find(|one| one.name == "audit_spans").unwrap();
    let fill = migration.sql.split(';').find(|part| part.contains("INSERT INTO audit_spans")).unwrap();
    run(database, fill).await;
    assert_eq!(run(database, spans).await, kept);
    assert_eq!(database.check_audit(None).await.unwrap().rows, 1601);
}
