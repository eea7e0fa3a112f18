//! A rollout comes back as it was when the backup was made.

use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::Setup;
use tests::world::World;

use super::{Vault, destroy};

/// The revision that a device gets at its refresh.
fn refreshed(device: &mut Device) -> u32 {
    let id = device.installed[0].instance_key.clone();
    device.act_on_one(Action::Refresh(id, Wanted::default())).expect("a refresh").snap.revision
}

#[test]
fn a_rollout_goes_on_from_the_wave_in_which_it_was_restored() {
    let (world, store, vault) = (World::new(), Setup::default().start(), Vault::new());
    store.trust(&world);
    let (brand, hello) = (world.brand("acme"), world.snap("hello").publisher("acme"));
    store.push_brand(&brand);
    store.push_pair(&hello.revision(1), &["latest/stable"], "AcmeStore");
    store.push_pair(&hello.revision(2), &["latest/candidate"], "AcmeStore");
    store.push_store("AcmeStore", "acme", &[&hello]);
    let mut fleet = ["in-1", "in-2", "out-1"].map(|serial| {
        let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), serial);
        let mut device = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
        device.installed = vec![Installed::new("hello", &hello.id, 1, "latest/stable")];
        assert_eq!(refreshed(&mut device), 1);
        device
    });
    for line in [
        "group add lab --serial in-* --apply",
        "rollout plan spring --snap hello --to 2 --wave group=lab --wave 100%",
        "rollout start spring",
    ] {
        let _ = store.proxy(&line.split(' ').collect::<Vec<_>>()).ok();
    }
    assert_eq!(refreshed(&mut fleet[0]), 2);
    fleet[0].installed[0].revision = 2;
    assert_eq!(fleet.each_mut().map(refreshed), [2, 2, 1]);
    vault.keep(&store, "store.backup", &[]);
    // What comes later is not in it.
    let _ = store.proxy(&["rollout", "next", "spring"]).ok();
    assert_eq!(fleet.each_mut().map(refreshed), [2, 2, 2]);
    destroy(store);

    let restored = vault.rebuild("store.backup", "host", &[]);
    fleet.iter_mut().for_each(|device| device.move_to(&restored));
    assert_eq!(fleet.each_mut().map(refreshed), [2, 2, 1], "the first wave is open, and no other");
    let shown = restored.proxy(&["rollout", "show", "spring", "--json"]).json();
    let count = |wave: usize, what: &str| shown["waves"][wave][what].as_u64();
    assert_eq!((count(0, "done"), count(0, "waiting")), (Some(1), Some(1)), "{shown}");
    let _ = restored.proxy(&["rollout", "next", "spring"]).ok();
    assert_eq!(fleet.each_mut().map(refreshed), [2, 2, 2]);
}
