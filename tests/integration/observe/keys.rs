//! Account keys that end are in the status long before they do, with what that means for this store (hazard H2).

use tests::server::Server;
use tests::world::{SINCE, World, stream};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

#[test]
fn account_keys_that_end_soon_are_in_the_status() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    store.push_brand(&world.brand("acme"));
    let own = |sentences: &[String]| sentences.iter().filter(|text| text.contains("ending of acme")).count();
    for (revision, days, warnings, problems) in [(1, 200, 0, 0), (2, 80, 1, 0), (3, 20, 1, 0), (4, 5, 0, 1)] {
        let until = OffsetDateTime::now_utc().truncate_to_second() + Duration::days(days) + Duration::HOUR;
        let key = world
            .account_key_of("acme", "ending", &world.key("ending"))
            .header("revision", revision.to_string())
            .header("since", SINCE)
            .header("until", until.format(&Rfc3339).expect("a time"));
        let _ = store.try_push_assertions(&stream(&[world.sign(&key)])).ok();
        let status = store.status();
        assert_eq!(
            (own(&status.warnings), own(&status.problems)),
            (warnings, problems),
            "{days} days: {status:?}"
        );
        let shown = store.proxy(&["status"]).stdout;
        if warnings + problems > 0 {
            assert!(shown.contains(&format!("ends in {days} days, on {}", until.date())), "{shown}");
            assert!(shown.contains("documents that it signed before stay good"), "{shown}");
        }
    }
    let _ = store.proxy(&["config", "proxy.device-auth.strict-key-expiry=true"]).ok();
    let problems = store.status().problems;
    assert!(problems.iter().any(|text| text.contains("are refused from then on")), "{problems:?}");
}
