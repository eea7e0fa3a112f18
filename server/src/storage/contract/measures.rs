//! Counts in steps: servers add up, a gauge keeps its lowest value, and only so many steps are kept.

use schema::api::admin::MeasureStep;

use super::contract;
use super::fixture::{NOW, Store, run};
use crate::storage::measures::{Measure, Meeting, REVISIONS};
use crate::storage::{Database, engine::Value};

contract! {
    counts_of_two_servers_add_up_in_the_hour_and_in_the_day
    the_lowest_of_a_gauge_stays
    only_so_many_steps_are_kept_whatever_the_clock_says
    what_devices_run_replaces_what_they_ran
}

const HOUR: i64 = MeasureStep::Hour.micros();

fn measure(metric: &str, label: &str, value: u64) -> Measure {
    Measure { metric: metric.into(), label: label.into(), value }
}

async fn value(database: &Database, metric: &str, step: MeasureStep, label: &str, at: i64) -> Option<u64> {
    let counts = database.measures(metric, step, 0, i64::MAX).await.unwrap();
    counts.get(label).and_then(|counts| counts.get(&step.begin(at)).copied())
}

async fn counts_of_two_servers_add_up_in_the_hour_and_in_the_day(store: Store) {
    let one = store.migrated().await;
    let other = store.another().await;
    let counts = [measure("visits", "well", 2), measure("visits", "refused", 3), measure("bytes", "", 7)];
    let backwards: Vec<Measure> = counts.iter().rev().cloned().collect();
    let (first, second) = tokio::join!(
        async {
            for _ in 0..5 {
                one.record_measures(&counts, Meeting::Sum, NOW).await.unwrap();
            }
        },
        async {
            for _ in 0..5 {
                other.record_measures(&backwards, Meeting::Sum, NOW).await.unwrap();
            }
        }
    );
    let ((), ()) = (first, second);
    one.record_measures(&counts[..1], Meeting::Sum, NOW + HOUR).await.unwrap();
    for (step, label, at, expected) in [
        (MeasureStep::Hour, "well", NOW, 20),
        (MeasureStep::Hour, "refused", NOW, 30),
        (MeasureStep::Hour, "well", NOW + HOUR, 2),
        (MeasureStep::Day, "well", NOW, 22),
        (MeasureStep::Day, "refused", NOW, 30),
    ] {
        assert_eq!(value(&other, "visits", step, label, at).await, Some(expected), "{step:?} {label}");
    }
    assert_eq!(value(one, "bytes", MeasureStep::Day, "", NOW).await, Some(70));
    let later = one.measures("visits", MeasureStep::Hour, NOW, i64::MAX).await.unwrap();
    assert_eq!(later.len(), 1, "only steps that begin within the time that was asked for: {later:?}");
}

async fn the_lowest_of_a_gauge_stays(store: Store) {
    let database = store.migrated().await;
    for free in [500, 200, 900] {
        let free = measure("free", "data", free);
        database.record_measures(&[free], Meeting::Least, NOW).await.unwrap();
    }
    assert_eq!(value(database, "free", MeasureStep::Hour, "data", NOW).await, Some(200));
    assert_eq!(value(database, "free", MeasureStep::Day, "data", NOW).await, Some(200));
}

async fn only_so_many_steps_are_kept_whatever_the_clock_says(store: Store) {
    let database = store.migrated().await;
    for hour in 0..400 {
        let visit = measure("visits", "", 1);
        database.record_measures(&[visit], Meeting::Sum, NOW + hour * HOUR).await.unwrap();
    }
    // The clock was 100 years ahead for an hour.
    database.record_measures(&[measure("visits", "", 1)], Meeting::Sum, NOW + 876_600 * HOUR).await.unwrap();
    database.record_revisions(&[], NOW + 876_600 * HOUR).await.unwrap();
    let hours = database.measures("visits", MeasureStep::Hour, 0, i64::MAX).await.unwrap();
    assert_eq!(hours[""].len(), 336, "14 days of hours");
    assert!(hours[""].contains_key(&MeasureStep::Hour.begin(NOW + 399 * HOUR)), "the newest hours are there");
    assert!(!hours[""].contains_key(&MeasureStep::Hour.begin(NOW + 64 * HOUR)), "the oldest are gone");
    let days = database.measures("visits", MeasureStep::Day, 0, i64::MAX).await.unwrap();
    assert!(days[""].len() > 16, "days are kept for longer: {days:?}");
    for day in 0..420 {
        let visit = measure("visits", "", 1);
        database.record_measures(&[visit], Meeting::Sum, NOW + day * 24 * HOUR).await.unwrap();
    }
    database.record_revisions(&[], NOW).await.unwrap();
    let rows =
        run(database, "SELECT step, COUNT(DISTINCT at) FROM measures GROUP BY step ORDER BY step").await;
    let count = |row: &Vec<Value>| row[1].clone();
    assert_eq!(rows.iter().map(count).collect::<Vec<_>>(), [Value::Int(400), Value::Int(336)]);
}

async fn what_devices_run_replaces_what_they_ran(store: Store) {
    let database = store.migrated().await;
    let of = |revision: &str, devices: u64| measure(&format!("{REVISIONS}hello"), revision, devices);
    database.record_measures(&[measure("visits", "", 9)], Meeting::Sum, NOW).await.unwrap();
    database.record_revisions(&[of("1", 80), of("2", 20)], NOW).await.unwrap();
    database.record_revisions(&[of("2", 100)], NOW + 1).await.unwrap();
    for step in MeasureStep::ALL {
        let found = database.measures(&format!("{REVISIONS}hello"), step, 0, i64::MAX).await.unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["2"], "{step:?}");
        assert_eq!(found["2"].values().collect::<Vec<_>>(), [&100]);
        assert_eq!(value(database, "visits", step, "", NOW).await, Some(9), "other metrics stay");
    }
}
