//! What waits for approvals is as if nobody had pushed it: by every route, for everybody.

use tests::bundle::store_metadata;
use tests::device::Dialect;
use tests::http::Connection;
use tests::world::World;

use super::principals::{Credential, Principal, Town};
use super::routes::{self, Subject};
use super::{Audience, claim_store, exchange};

/// How many answers show the snap.
fn shown(town: &Town, who: &[&Principal], subject: &Subject) -> usize {
    let mut count = 0;
    for principal in who {
        let mut connection = Connection::open(town.store.address).expect("the store listens");
        // The word of the program that sets overrides echoes what it was told.
        for row in routes::rows().into_iter().filter(|row| row.audience != Audience::Overriders) {
            for dialect in Dialect::ALL {
                for mut request in (row.requests)(subject, town.store.host()) {
                    principal.sign(&mut request, dialect);
                    claim_store(&mut request, dialect, None);
                    let response = exchange(&mut connection, town, &request);
                    assert!(response.status < 500, "{request:?}: {response:?}");
                    count += usize::from((row.shows)(subject, &response));
                }
            }
        }
    }
    count
}

#[test]
fn nobody_sees_what_waits() {
    let town = Town::new();
    let late = World::new().snap("late-app").publisher("dev").component("part", 3).revision(1);
    let subject = Subject::of(&late);
    let is_good = |principal: &&Principal| principal.credential == Credential::Good;
    let everybody: Vec<&Principal> = town.principals.iter().filter(is_good).collect();
    let _ = town.store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let pushed = town.store.try_push_pair(&late, &["latest/stable"], "ubuntu").ok();
    assert!(pushed.contains("No device sees anything of it"), "{pushed}");
    assert_eq!(shown(&town, &everybody, &subject), 0);
    let app = World::new().snap("acme-app").publisher("acme");
    let metadata = store_metadata("BoltStore", "bolt", &[&app]);
    let waits = town.store.try_push_stores(&metadata, &["--widen", "acme-app"]).ok();
    assert!(waits.contains("No device sees anything of it"), "{waits}");
    let stranger = [town.principal("a device of bolt")];
    assert_eq!(shown(&town, &stranger, &town.subjects[0]), 0, "a grant that waits");

    // The same file without waiting: the questions do find it.
    let _ = town.store.proxy(&["config", "proxy.imports.quarantine=off"]).ok();
    let _ = town.store.try_push_pair(&late, &["latest/stable"], "ubuntu").ok();
    assert!(shown(&town, &everybody, &subject) > 20);
}
