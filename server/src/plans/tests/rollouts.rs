//! Rollouts: how gates are judged, and what ends one.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use schema::api::admin::{RolloutAction, RolloutState};
use schema::api::device::Installed;
use schema::rollout::{GroupRules, Share, place};
use schema::store::DeviceId;
use time::{Duration, OffsetDateTime};

use super::snapshot;
use crate::catalog::{Ask, Catalog, Layer, Scope, Target, unheard};
use crate::fleet::progress::tests::{record, with};
use crate::fleet::{Outcome, Progress};
use crate::imports::tests::world::JQ;
use crate::plans::By;
use crate::plans::gates::Verdict;
use crate::plans::rollouts::{judge, plan_step};
use crate::storage::records::Origin;
use crate::storage::rollouts::{RolloutRecord, group_fact};

const SECOND: i64 = 1_000_000;

fn catalog(record: &RolloutRecord) -> Catalog {
    let mut snapshot = snapshot(&[("amd64", 1), ("arm64", 2)]);
    snapshot.meta.extend([record.fact("spring")]);
    Catalog::compile(snapshot, "http://store.test", None).expect("a catalog")
}

fn device(number: usize) -> DeviceId {
    format!("acme/gateway/{number}").parse().expect("a device")
}

/// A wave with so many devices that are doing so.
fn wave(of: &[(Outcome, usize)], last_done_micros: i64) -> Progress<'static> {
    static DEVICES: LazyLock<Vec<DeviceId>> = LazyLock::new(|| (0..1000).map(device).collect());
    let all = of.iter().flat_map(|(outcome, count)| std::iter::repeat_n(*outcome, *count));
    Progress { devices: DEVICES.iter().zip(all).collect(), last_done_micros }
}

#[test]
fn a_gate_is_judged_by_its_wave() {
    use Outcome::{Absent, Done, Failed, Held, Silent, Waiting};
    let waits = |why: &str| Some(Verdict::Wait(why.into()));
    let hour = 3600 * SECOND;
    let running = record(JQ, 5, &["10%", "100%"]);
    let last = with(running.clone(), |course| course.opened = vec![0, 0]);
    let partial = record(JQ, 5, &["10%"]);
    let approved = with(running.clone(), |course| course.approvals = 1);
    let excused = with(running.clone(), |course| course.excused = (0..3).map(device).collect());
    // `None` for a stop.
    for (record, waves, now, expected) in [
        (
            &running,
            vec![wave(&[(Done, 9), (Waiting, 1)], 0)],
            9 * hour,
            waits("1 devices of open waves have yet to settle"),
        ),
        (&running, vec![wave(&[(Done, 10)], 0)], hour - 1, waits("it soaks until 1970-01-01T01:00:00Z")),
        (
            &running,
            vec![wave(&[(Done, 10)], hour)],
            2 * hour - 1,
            waits("it soaks until 1970-01-01T02:00:00Z"),
        ),
        (&running, vec![wave(&[(Done, 10)], hour)], 2 * hour, Some(Verdict::Open)),
        (
            &approved,
            vec![wave(&[(Done, 10)], hour)],
            2 * hour,
            waits(
                "what comes next needs approval: `proxy rollout next spring` asks for it, and does it once it is approved",
            ),
        ),
        (&running, vec![wave(&[(Done, 98), (Failed, 2)], 0)], hour, Some(Verdict::Open)),
        (&running, vec![wave(&[(Failed, 3), (Done, 97)], 0)], hour, None),
        (&running, vec![wave(&[(Failed, 3), (Done, 1), (Waiting, 96)], 0)], 0, None),
        (&running, vec![wave(&[(Done, 95), (Silent, 5)], 0)], hour, Some(Verdict::Open)),
        (&running, vec![wave(&[(Silent, 6), (Done, 94)], 0)], hour, None),
        (&running, vec![wave(&[(Done, 10), (Held, 90)], 0)], hour, Some(Verdict::Open)),
        (&running, vec![wave(&[(Failed, 1), (Done, 9), (Absent, 990)], 0)], hour, None),
        (&excused, vec![wave(&[(Failed, 3), (Done, 7)], 0)], hour, Some(Verdict::Open)),
        (&excused, vec![wave(&[(Failed, 4), (Done, 7)], 0)], hour, None),
        (
            &running,
            vec![wave(&[(Held, 10)], 0)],
            hour,
            waits("no device of the last open wave has it: `proxy rollout next spring` goes on"),
        ),
        (
            &running,
            vec![wave(&[(Absent, 10)], 0)],
            hour,
            waits("no device of the last open wave has it: `proxy rollout next spring` goes on"),
        ),
        // A group that is empty by now proves nothing.
        (
            &running,
            vec![wave(&[], 0)],
            hour,
            waits("no device of the last open wave has it: `proxy rollout next spring` goes on"),
        ),
        (&last, vec![wave(&[(Done, 1)], 0), wave(&[(Done, 9)], 0)], hour, Some(Verdict::Finish)),
        (&last, vec![wave(&[(Done, 1)], 0), wave(&[], 0)], hour, Some(Verdict::Finish)),
        (&last, vec![wave(&[(Silent, 1)], 0), wave(&[(Done, 99)], 0)], hour, None),
        (
            &partial,
            vec![wave(&[(Done, 1)], 0)],
            hour,
            waits(
                "all waves are open and none is 100%: `proxy rollout next spring` releases it to everybody",
            ),
        ),
    ] {
        let catalog = catalog(record);
        let rollout = catalog.rollout("spring").expect("a rollout");
        let found = judge(&catalog, &rollout, &waves, now);
        match (expected, &found) {
            (None, Verdict::Stop(why, devices)) => {
                let bad = waves.iter().map(|wave| wave.count(Failed) + wave.count(Silent)).max();
                let excused = record.course.excused.len();
                assert_eq!(Some(devices.len() + excused), bad, "{why}");
            }
            (expected, _) => assert_eq!(Some(&found), expected.as_ref(), "{waves:?}"),
        }
    }
}

#[test]
fn a_revision_that_is_gone_stops_it() {
    let gone = record(JQ, 7, &["100%"]);
    let catalog = catalog(&gone);
    let verdict = judge(&catalog, &catalog.rollout("spring").expect("a rollout"), &[], 0);
    assert_eq!(verdict, Verdict::Stop("revision 7 is no longer held".into(), BTreeSet::new()));
}

#[test]
fn the_end_is_one_release() {
    let last = with(record(JQ, 5, &["10%", "100%"]), |course| course.opened = vec![0, 0]);
    let by = By { who: "operator".into(), now: OffsetDateTime::UNIX_EPOCH + Duration::hours(9) };
    let change = plan_step(&catalog(&last), "spring", RolloutAction::Next, &[], &by).expect("a plan");
    let released: Vec<_> = change
        .releases
        .iter()
        .map(|row| (row.channel.to_string(), row.architecture.to_string(), row.revision, row.origin))
        .collect();
    assert_eq!(released, [("latest/stable".to_owned(), "all".to_owned(), 5, Origin::Imported)]);
    // Revision 5 is for all architectures, so nothing for a single one stays.
    assert_eq!(change.releases_closed.len(), 2);
    let finished = with(last, |course| course.state = RolloutState::Finished);
    assert_eq!(change.meta, [finished.fact("spring")]);
}

#[test]
fn waves_that_add_nobody_are_passed_over_but_the_last() {
    let first = record(JQ, 5, &["group=a", "group=b", "1%", "100%"]);
    let by = By { who: "operator".into(), now: OffsetDateTime::UNIX_EPOCH };
    let waves =
        [wave(&[(Outcome::Done, 1)], 0), wave(&[], 0), wave(&[], 0), wave(&[(Outcome::Waiting, 9)], 0)];
    let opened = |record: &RolloutRecord| {
        let change = plan_step(&catalog(record), "spring", RolloutAction::Next, &waves, &by).expect("a plan");
        let after: RolloutRecord = serde_json::from_str(&change.meta[0].1).expect("a record");
        after.course.opened.len()
    };
    assert_eq!(opened(&first), 3, "the fourth takes everybody");
    assert_eq!(opened(&with(first.clone(), |course| course.opened = vec![0; 3])), 4);
}

#[test]
fn only_devices_of_open_waves_are_lifted_in_any_rollout() {
    let rules = GroupRules { serial: Some("*7".into()), ..GroupRules::default() };
    let lab = group_fact("lab", Some(&rules));
    let (mut lifted, mut left) = (0, 0);
    for seed in 0..120_usize {
        let share = ["1%", "10%", "50%", "99.99%"][seed % 4];
        let state =
            [RolloutState::Running, RolloutState::Running, RolloutState::Paused, RolloutState::Planned]
                [seed / 4 % 4];
        let opened = if state == RolloutState::Planned { 0 } else { 1 + seed / 16 % 3 };
        let (name, waves) = (format!("rollout-{seed}"), ["group=lab", share, "100%"]);
        let rollout = with(record(JQ, 5, &waves), |course| {
            (course.state, course.opened) = (state, vec![0; opened]);
        });
        let mut snapshot = snapshot(&[("amd64", 1)]);
        snapshot.meta.extend([lab.clone(), rollout.fact(&name)]);
        let catalog = Catalog::compile(snapshot, "http://store.test", None).expect("a catalog");
        let view = catalog.view(Scope::anonymous());
        for number in 0..100 {
            let (device, has) = (device(number), number % 3 == 0);
            let installed = [Installed {
                snap_id: JQ.into(),
                instance_key: JQ.into(),
                revision: if has { 5 } else { 1 },
                tracking_channel: "latest/stable".into(),
                epoch: None,
                cohort_key: None,
                ignore_validation: false,
                held: None,
                validation_sets: Vec::new(),
            }];
            let target = Target {
                device: Some(&device),
                store: None,
                architecture: Some("amd64"),
                installed: &installed,
                now_micros: 0,
            };
            let ask = Ask { snap_id: Some(JQ), own: Some(&installed[0]), ..Ask::default() };
            let offer = view.resolve(&target, &ask, &mut unheard).expect("an offer");
            let taken = [
                device.serial.ends_with('7'),
                share.parse::<Share>().expect("a share").takes(place(&name, "salt", &device)),
                true,
            ];
            let inside = taken[..opened].contains(&true);
            let gets = inside && (state == RolloutState::Running || (state == RolloutState::Paused && has));
            assert_eq!(
                offer.revision.number == 5,
                gets,
                "{device} of {name}: {state}, {opened} of {waves:?}"
            );
            assert_eq!(offer.layer == Layer::Rollout, gets);
            if gets { lifted += 1 } else { left += 1 }
        }
        let anyone = Target { architecture: Some("amd64"), ..Target::anyone(0) };
        let ask = Ask { snap_id: Some(JQ), ..Ask::default() };
        let offer = view.resolve(&anyone, &ask, &mut unheard).expect("an offer");
        assert_eq!(
            offer.revision.number == 5,
            opened == 3 && state == RolloutState::Running,
            "without a session"
        );
    }
    assert!(lifted > 2000 && left > 2000, "{lifted} and {left}");
}
