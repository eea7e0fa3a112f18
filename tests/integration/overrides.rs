//! Overrides: another revision than the imported channel map says, for every device at once.

use tests::device::{Device, Snapd};
use tests::server::Setup;
use tests::world::World;

#[test]
fn an_override_counts_at_once_and_until_it_is_deleted() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let hello = world.snap("hello").architectures(&["amd64"]);
    let (first, second) = (hello.revision(1), hello.revision(2));
    let arm = world.snap("hello").architectures(&["arm64"]).revision(3);
    store.push_pair(&first, &["latest/edge"], "ubuntu");
    store.push_pair(&second, &["latest/stable"], "ubuntu");
    store.push_pair(&arm, &["latest/stable"], "ubuntu");

    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    device.install_for_good("hello", "stable").expect("an install");
    assert_eq!(
        store.proxy(&["override", "hello", "stable=1"]).ok(),
        "hello stable amd64 1\nhello latest/stable amd64 2 → 1\n"
    );
    assert_eq!(store.proxy(&["list-overrides", "hello"]).ok(), "hello stable amd64 1 (upstream 2)\n");

    // Refresh, info and find follow; another architecture does not.
    let back = device.refresh_all().expect("a refresh with news");
    assert_eq!(back.iter().map(|outcome| outcome.snap.revision).collect::<Vec<_>>(), [1]);
    let stable = |device: &mut Device| device.info("hello").expect("an info").channels[0].clone();
    assert_eq!(stable(&mut device), ("latest/stable".to_owned(), 1));
    assert_eq!(device.find("hello").expect("a find").len(), 1);
    let mut other = Device::anonymous(&store, Snapd::V2_77);
    other.architecture = "arm64".to_owned();
    assert_eq!(stable(&mut other), ("latest/stable".to_owned(), 3));

    // A later import moves what was imported, and the override stays above it.
    let third = hello.revision(4);
    store.push_pair(&third, &["latest/stable"], "ubuntu");
    assert_eq!(stable(&mut device), ("latest/stable".to_owned(), 1));
    assert_eq!(store.proxy(&["list-overrides"]).ok(), "hello stable amd64 1 (upstream 4)\n");
    let store = store.stop().start();
    device.move_to(&store);
    assert_eq!(stable(&mut device), ("latest/stable".to_owned(), 1));

    // A channel that was never imported.
    assert_eq!(
        store.proxy(&["override", "hello", "9/beta=3", "--create-track"]).ok(),
        "hello 9/beta arm64 3\nhello 9/beta arm64 none → 3\n"
    );
    let listed = store.proxy(&["list-overrides", "hello"]).ok();
    assert!(listed.contains("hello 9/beta arm64 3 (nothing upstream)\n"), "{listed}");

    let deleted = store.proxy(&["delete-override", "hello", "latest/stable"]).ok();
    assert_eq!(
        deleted,
        "hello stable amd64 is tracking upstream (revision 4)\nhello latest/stable amd64 1 → 4\n"
    );
    assert_eq!(stable(&mut device), ("latest/stable".to_owned(), 4));
    for (args, complaint) in [
        (["delete-override", "hello", "stable"], "there is no override of hello in stable"),
        (["override", "hello", "stable=9"], "revision 9 of hello is not held (held: 1, 2, 3, 4)"),
        (["override", "never-was", "stable=1"], "there is no snap never-was"),
        (["override", "hello", "no/such/channel=1"], "invalid channel"),
    ] {
        let refused = store.proxy(&args).refused();
        assert!(refused.contains(complaint), "{refused}");
    }
}

#[test]
fn a_revision_for_all_architectures_overrides_each_of_them() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&world.snap("tool").architectures(&["amd64"]).revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("tool").architectures(&["arm64"]).revision(2), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("tool").architectures(&["all"]).revision(3), &["latest/edge"], "ubuntu");
    let got = |architecture: &str| {
        let mut device = Device::anonymous(&store, Snapd::V2_77);
        device.architecture = architecture.to_owned();
        device.install("tool", "stable").expect("an install").snap.revision
    };
    assert_eq!((got("amd64"), got("arm64")), (1, 2));
    assert_eq!(store.proxy(&["override", "tool", "stable=2"]).ok(), "tool stable arm64 2\n");
    assert_eq!(
        store.proxy(&["override", "tool", "stable=3"]).ok(),
        "tool stable all 3\ntool latest/stable all none → 3\ntool latest/stable amd64 1 → 3\ntool latest/stable arm64 2 → 3\n"
    );
    assert_eq!((got("amd64"), got("arm64")), (3, 3));
    assert_eq!(
        store.proxy(&["override", "tool", "stable=1"]).ok(),
        "tool stable amd64 1\ntool latest/stable amd64 3 → 1\n"
    );
    assert_eq!((got("amd64"), got("arm64")), (1, 3));
    let deleted = store.proxy(&["delete-override", "tool", "stable"]).ok();
    assert_eq!(
        deleted,
        "tool stable amd64 is tracking upstream (revision 1)\ntool stable arm64 is tracking upstream (revision 2)\n\
         tool latest/stable all 3 → none\ntool latest/stable arm64 3 → 2\n"
    );
    assert_eq!((got("amd64"), got("arm64")), (1, 2));
}
