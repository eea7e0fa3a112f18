//! The first life of a store: the operator sets it up and pushes, a device logs in, installs and refreshes.

use tests::bundle::Bundle;
use tests::device::{Action, Device, Snapd, Trouble, Wanted};
use tests::server::{Setup, proxy};
use tests::world::{World, stream};

/// The whole story, once for each recorded snapd.
fn story(snapd: Snapd) {
    let world = World::new();
    let brand = world.brand("acme");
    let model = brand.model_in("gateway", "AcmeStore");
    let identity = brand.device(&model, "SN-1");
    let hello = world.snap("hello").publisher("acme").payload(400_000);
    let base = world.snap("core-base").kind("base");

    // An empty data directory: the operator's first commands.
    let folder = tempfile::tempdir().expect("there is room");
    let data_dir = folder.path().join("store");
    let values = ["proxy.domain=127.0.0.1", "proxy.ipaddress=127.0.0.1", "proxy.port.http=0"];
    let _ = proxy(&data_dir, &[&["config"], &values[..]].concat()).ok();
    let store = Setup::empty().start_at(&data_dir).unwrap_or_else(|failure| panic!("{failure}"));
    let mut stranger = Device::anonymous(&store, snapd);
    let refusal = stranger.install("hello", "stable").expect_err("devices are not served yet");
    assert_eq!(refusal.status(), Some(503), "{refusal}");
    assert!(refusal.to_string().contains("enable-airgap-mode"), "{refusal}");
    let _ = store.proxy(&["enable-airgap-mode"]).ok();
    let again = store.proxy(&["enable-airgap-mode"]);
    assert_eq!(again.code, Some(0), "switching on twice is harmless: {}", again.stderr);

    // Trust, a pair, a bundle, metadata, keys: in an order of our own.
    store.trust(&world);
    store.push_store("AcmeStore", "acme", &[&hello]);
    store.push_pair(&base.revision(3), &["latest/stable"], "ubuntu");
    let (first, second) = (hello.revision(1), hello.revision(2));
    let bundle = Bundle::new(&hello, &[(&first, &["latest/stable"]), (&second, &["latest/edge"])]);
    let pushed = store.try_push_bundle(&bundle.clone().from_store("AcmeStore").pack()).ok();
    assert!(
        pushed.contains("[snap hello] Uploaded snap blob and assertions for hello revision 1"),
        "{pushed}"
    );
    assert!(pushed.contains("[snap hello] Channelmaps were successfully updated."), "{pushed}");
    store.push_brand(&brand);
    let again = store.try_push_bundle(&bundle.from_store("AcmeStore").pack());
    assert_eq!(again.code, Some(0), "pushing twice is harmless: {}", again.stderr);

    // What the operator sees.
    let listed = store.proxy(&["list-pushed-snaps"]).ok();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [vec!["Name", "Stores"], vec!["core-base", "ubuntu"], vec!["hello", "AcmeStore"]],
        "{listed}"
    );
    let status = store.proxy(&["status"]).ok();
    assert!(status.contains("Store DB: ok"), "{status}");
    assert!(status.contains("Store is in device authenticated air-gapped mode"), "{status}");
    assert!(status.contains("AcmeStore"), "{status}");
    assert!(status.contains(brand.serial_key().public().id()), "{status}");

    // A device of the brand: find, info, install, refresh.
    let mut device = Device::new(&store, snapd, &identity).trusting(&world);
    let found: Vec<String> =
        device.find("hello").expect("a find").into_iter().map(|found| found.name).collect();
    assert_eq!(found, ["hello"]);
    let info = device.info("hello").expect("an info");
    assert_eq!(info.channels, [("latest/stable".to_owned(), 1), ("latest/edge".to_owned(), 2)]);
    let outcome = device.install_for_good("hello", "latest/stable").expect("an install");
    assert_eq!((outcome.snap.revision, outcome.effective_channel.as_str()), (1, "latest/stable"));
    assert!(device.refresh_all().expect("a refresh with nothing new").is_empty());

    // The operator releases revision 2; the fleet follows.
    store.push_pair(&second, &["latest/stable"], "AcmeStore");
    let updated = device.refresh_all().expect("a refresh with news");
    assert_eq!(updated.iter().map(|outcome| outcome.snap.revision).collect::<Vec<_>>(), [2]);

    // A broken download goes on where it broke.
    let outcome = device.install("hello", "edge").expect("a plan");
    let part = device.begin_download(&outcome.snap.download, 100_000).expect("the first part");
    assert_eq!(part.len(), 100_000);
    let whole = device.resume(&outcome.snap.download, part).expect("the rest");
    assert_eq!(whole, second.image.bytes);

    // For a device without a session the brand's snap does not exist.
    assert_eq!(stranger.info("hello"), Err(Trouble::NotFound));
    assert_eq!(stranger.info("hello"), stranger.info("never-was"));
    assert!(stranger.find("hello").expect("a find").is_empty());
    let refused = stranger.install("hello", "stable").expect_err("nothing to install");
    assert!(matches!(&refused, Trouble::Snap { code, .. } if code == "name-not-found"), "{refused}");
    assert_eq!(
        stranger.info("core-base").expect("a public snap").channels,
        [("latest/stable".to_owned(), 3)]
    );

    let _ = store.stop();
}

#[test]
fn a_store_and_a_device_with_snapd_2_57_6() {
    story(Snapd::V2_57);
}

#[test]
fn a_store_and_a_device_with_snapd_2_77() {
    story(Snapd::V2_77);
}

#[test]
fn channels_revisions_and_architectures() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let tool = world.snap("tool");
    store.push_pair(&tool.revision(4), &["latest/stable", "2/stable"], "ubuntu");
    store.push_pair(&tool.revision(5), &["latest/edge"], "ubuntu");
    store.push_pair(&tool.revision(6), &["latest/beta/fix-7"], "ubuntu");
    store.push_pair(&world.snap("arm-only").architectures(&["arm64"]).revision(1), &["stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    for (asked, revision, effective) in [
        ("stable", 4, "latest/stable"),
        ("latest/candidate", 4, "latest/stable"),
        ("latest/beta", 4, "latest/stable"),
        ("edge", 5, "latest/edge"),
        ("2", 4, "2/stable"),
        ("2/edge", 4, "2/stable"),
        ("beta/fix-7", 6, "latest/beta/fix-7"),
        ("edge/no-such-branch", 5, "latest/edge"),
    ] {
        let outcome = device.install("tool", asked).unwrap_or_else(|trouble| panic!("{asked}: {trouble}"));
        assert_eq!(
            (outcome.snap.revision, outcome.effective_channel.as_str()),
            (revision, effective),
            "{asked}"
        );
    }
    let pinned =
        device.act_on_one(Action::Install("tool".to_owned(), Wanted::revision(6))).expect("a revision");
    assert_eq!(pinned.snap.revision, 6);
    let missing = device.install("tool", "3/stable").expect_err("no such track");
    let Trouble::Snap { code, name, releases } = &missing else { panic!("{missing}") };
    assert_eq!((code.as_str(), name.as_str()), ("revision-not-found", "tool"));
    assert!(releases.contains(&"amd64 2/stable".to_owned()), "{releases:?}");
    let elsewhere = device.install("arm-only", "stable").expect_err("not for this machine");
    assert!(matches!(&elsewhere, Trouble::Snap { code, .. } if code == "revision-not-found"), "{elsewhere}");
    device.architecture = "arm64".to_owned();
    assert_eq!(device.install("arm-only", "stable").expect("on arm64").snap.revision, 1);
}

#[test]
fn components_come_with_their_snap() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let revision = world.snap("kit").component("extra", 9).revision(2);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    let outcome = device.install_for_good("kit", "stable").expect("an install");
    let resource = outcome.snap.resources.first().expect("a component in the answer");
    assert_eq!((resource.name.as_deref(), resource.revision), (Some("extra"), Some(9)));
    assert_eq!(resource.kind.as_deref(), Some("component/standard"));
    let download = resource.download.clone().expect("a link to the component");
    assert_eq!(device.download(&download).expect("the component"), revision.components[0].image.bytes);
    for document in revision.assertions().iter().skip(4) {
        let served = device.assertion(&document.reference()).expect("documents of the component");
        assert_eq!(served.bytes(), document.bytes());
    }
}

#[test]
fn documents_are_served_byte_for_byte_and_by_format() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    let plain = world.snap("gated").declaration_at(1, 0);
    let newer =
        world.snap("gated").declaration_at(2, 6).declared("plugs", tests::world::map(&[("network", "true")]));
    store.push_pair(&plain.revision(1), &["latest/stable"], "ubuntu");
    let pushed = store.try_push_assertions(&stream(&[world.store_key(), newer.declaration()]));
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let reference = plain.declaration().reference();
    let mut old = Device::anonymous(&store, Snapd::V2_57);
    assert_eq!(old.assertion(&reference).expect("format 0").bytes(), plain.declaration().bytes());
    let mut new = Device::anonymous(&store, Snapd::V2_77);
    assert_eq!(new.assertion(&reference).expect("format 6").bytes(), newer.declaration().bytes());
}

#[test]
fn validation_sets_by_point_and_latest() {
    use schema::assertion::AssertionType;
    use serde_json::json;

    let world = World::new();
    let brand = world.brand("acme");
    let store = Setup::default().start();
    store.trust(&world);
    store.push_brand(&brand);
    let hello = world.snap("hello");
    let entry = || vec![tests::world::map(&[("name", "hello"), ("id", &hello.id), ("presence", "required")])];
    let points: Vec<_> = (1..=3).map(|point| brand.validation_set("line-a", point, entry())).collect();
    let _ = store.try_push_assertions(&stream(&points)).ok();
    let key = ["16", "acme", "line-a"];
    let identity = brand.device(&brand.model("gateway"), "SN-3");
    let mut device = Device::new(&store, Snapd::V2_77, &identity);
    let latest = device.sequence(AssertionType::ValidationSet, &key, None).expect("the latest point");
    assert_eq!(latest.bytes(), points[2].bytes());
    let second = device.sequence(AssertionType::ValidationSet, &key, Some(2)).expect("the second point");
    assert_eq!(second.bytes(), points[1].bytes());
    assert_eq!(
        device.sequence(AssertionType::ValidationSet, &key, Some(9)).map(|_| ()),
        Err(Trouble::NotFound)
    );
    let wanted = json!({"type": "validation-set", "sequence-key": key, "if-sequence-equal-or-newer-than": 3,
        "if-newer-than": 0});
    let unchanged = device.fetch_assertions(&[("AAA", vec![wanted])]).expect("nothing newer");
    assert!(unchanged[0].0.urls.is_empty() && unchanged[0].0.errors.is_empty(), "{unchanged:?}");
    let wanted = json!({"type": "validation-set", "sequence-key": key, "if-sequence-equal-or-newer-than": 2,
        "if-newer-than": 0});
    let newer = device.fetch_assertions(&[("AAA", vec![wanted])]).expect("a newer point");
    assert_eq!(newer[0].1.len(), 1);
    assert_eq!(newer[0].1[0].bytes(), points[2].bytes());
}

#[test]
fn cohorts_icons_of_the_catalogue_and_connectivity() {
    let world = World::new();
    let store = Setup::default().start();
    store.trust(&world);
    store.push_pair(&world.snap("snapd").kind("snapd").revision(100), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("core").kind("os").revision(16), &["latest/stable"], "ubuntu");
    store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    for snapd in Snapd::ALL {
        let mut device = Device::anonymous(&store, snapd);
        device.connectivity().expect("the store counts as reachable");
        assert!(!device.cohort("hello").expect("a cohort").is_empty());
        assert_eq!(device.cohort("never-was"), Err(Trouble::NotFound));
        let (_, names) = device.catalogue().expect("the daily catalogue");
        assert!(names.contains(&"hello".to_owned()), "{names:?}");
        device.categories().expect("categories");
    }
}
