//! Old revisions: what nothing needs is told, and goes when the settings say so; what a channel, a tag or a device needs stays.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::attack::until;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::Server;
use tests::world::World;

fn revisions(store: &Server) -> BTreeSet<u64> {
    let listed = store.proxy(&["list-pushed-snaps", "--revisions", "--json"]).json();
    let text = listed.to_string();
    (1..=9).filter(|number| text.contains(&format!("\"revision\":{number},"))).collect()
}

#[test]
fn what_is_left_over_is_told_and_goes_when_the_settings_say_so() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let (app, brand) = (world.snap("acme-app"), world.brand("acme"));
    store.push_brand(&brand);
    let made: Vec<_> = (1..=7).map(|number| app.revision(number)).collect();
    for (revision, channel) in
        made.iter().zip(["stable", "stable", "stable", "stable", "beta", "stable", "stable"])
    {
        store.push_pair(revision, &[&format!("latest/{channel}")], "ubuntu");
        if revision.number == 4 {
            let _ = store.proxy(&["tag", "spring"]).ok();
        }
    }
    // One device runs an earlier revision, and stays away from then on.
    let identity = brand.device(&brand.model("gateway"), "SN-1");
    let mut device = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    device.installed = vec![Installed::new("acme-app", &app.id, 2, "latest/stable")];
    assert!(device.refresh_all().is_ok());
    assert_eq!(revisions(&store), BTreeSet::from_iter(1..=7));

    let doctor = |wanted: bool| {
        until("the plan is made", Duration::from_secs(30), || {
            store.proxy(&["doctor", "--json"]).stdout.contains("revisions-left-over") == wanted
        });
    };
    doctor(false);
    let _ = store.proxy(&["config", "proxy.retention.keep=1"]).ok();
    doctor(true);
    // 1, 3 and 6: the newest is kept, 5 is in beta, 4 is tagged, and the device runs 2.
    let told = store.proxy(&["status"]).stdout;
    assert!(told.contains("3 may go") && told.contains("proxy prune --keep 1"), "{told}");
    let plan = store.proxy(&["prune", "--keep", "1"]).ok();
    for number in 1..=7 {
        let goes = plan.contains(&format!("acme-app revision {number} "));
        assert_eq!(goes, [1, 3, 6].contains(&number), "{number}: {plan}");
    }
    assert_eq!(revisions(&store), BTreeSet::from_iter(1..=7), "it was only told");

    let _ = store.proxy(&["config", "proxy.retention.apply=true"]).ok();
    until("they are gone", Duration::from_secs(30), || revisions(&store) == BTreeSet::from([2, 4, 5, 7]));
    doctor(false);
    let log = store.proxy(&["audit"]).ok();
    assert!(log.contains("retention") && log.contains("keep 1"), "{log}");
    // The device can still come back to what it runs.
    let mut again = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    let wanted = Action::Install("acme-app".to_owned(), Wanted::revision(2));
    let outcome = again.act_on_one(wanted).expect("an answer");
    again.download(&outcome.snap.download).expect("it is there");
}
