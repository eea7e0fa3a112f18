//! History: what channels, grants and metadata were at every generation, names for generations, and the way back (M9, M10, M68,
//! M69).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::bundle::{Bundle, archive, gzip, store_metadata};
use tests::device::{Device, Snapd};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::{Snap, World};

fn database() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Cluster::shared().database()).expect("a database")
}

/// A store with a world that it trusts.
fn started(setup: Setup) -> (World, Server) {
    let (world, store) = (World::new(), setup.start());
    store.trust(&world);
    (world, store)
}

/// The generation that the store serves.
fn generation(store: &Server) -> i64 {
    store.proxy(&["log", "--json"]).json()["generation"].as_i64().expect("a number")
}

/// What is released, by channel, and what is overridden.
fn map(store: &Server) -> Value {
    let mut released = Vec::new();
    let listed = store.proxy(&["list-pushed-snaps", "--json"]).json();
    for snap in listed["snaps"].as_array().expect("snaps") {
        for revision in snap["revisions"].as_array().expect("revisions") {
            for channel in revision["channels"].as_array().expect("channels") {
                released.push(format!("{} {channel} {}", snap["name"], revision["revision"]));
            }
        }
    }
    released.sort();
    json!({ "released": released, "overrides": store.proxy(&["list-overrides", "--json"]).json()["overrides"] })
}

fn hello(world: &World) -> Snap {
    world.snap("hello").architectures(&["amd64"])
}

/// What operators and imports do to two snaps; each step moves something.
fn steps(world: &World, store: &Server, mut after_each: impl FnMut()) {
    let (hello, tool) = (hello(world), world.snap("tool").architectures(&["amd64"]));
    let [one, two, three] = [1, 2, 3].map(|number| hello.revision(number));
    let commands: [&[&str]; 6] = [
        &["release", "hello", "1", "stable", "--apply"],
        &["override", "hello", "stable=3"],
        &["close-channel", "hello", "edge", "--apply"],
        &["release", "hello", "1", "3/beta/fix", "--create-track", "--apply"],
        &["delete-override", "hello", "stable"],
        &["release", "hello", "2", "edge", "--apply"],
    ];
    store.push_bundle(&Bundle::new(&hello, &[(&one, &["latest/stable"]), (&two, &["latest/edge"])]));
    after_each();
    store.push_pair(&tool.revision(5), &["latest/stable"], "ubuntu");
    after_each();
    store.push_pair(&three, &["latest/stable"], "ubuntu");
    after_each();
    for command in commands {
        let _ = store.proxy(command).ok();
        after_each();
    }
}

fn every_generation_comes_back(setup: Setup) {
    let (world, store) = started(setup);
    let mut known: Vec<(i64, Value)> = Vec::new();
    steps(&world, &store, || known.push((generation(&store), map(&store))));
    let moved = known.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert_eq!(moved, known.len() - 1, "each step moves something: {known:?}");

    for (number, then) in known.iter().rev().chain(&known) {
        let number = number.to_string();
        let (now, before) = (generation(&store), map(&store));
        let plan = store.proxy(&["back", &number, "--json"]).json();
        assert_eq!((generation(&store), map(&store)), (now, before.clone()), "a plan changes nothing");
        let done = store.proxy(&["back", &number, "--apply", "--json"]).json();
        assert_eq!(done["steps"], plan["steps"]);
        assert_eq!(map(&store), *then, "back to {number}");
        let one_more = i64::from(done["applied"] == json!(true));
        assert_eq!(generation(&store), now + one_more, "one change");
        assert_eq!(one_more == 0, before == *then, "{number}: {done}");
        let [there, here] = [["diff", &number, &now.to_string()], ["diff", &now.to_string(), &number]]
            .map(|args| store.proxy(&args).ok().lines().count());
        assert_eq!(there, here, "differences from both sides");
    }
    let mut device = Device::anonymous(&store, Snapd::V2_77);
    assert_eq!(device.install("hello", "edge").expect("an install").snap.revision, 2);
}

#[test]
fn every_generation_comes_back_with_the_embedded_database() {
    every_generation_comes_back(Setup::default());
}

#[test]
fn every_generation_comes_back_with_postgresql() {
    every_generation_comes_back(Setup::default().config("proxy.db.connection", &database()));
}

#[test]
fn the_log_tells_who_moved_what() {
    let (world, store) = started(Setup::default());
    steps(&world, &store, || {});
    let log = store.proxy(&["log", "hello", "--json"]).json();
    let told: Vec<String> = log["entries"]
        .as_array()
        .expect("changes")
        .iter()
        .flat_map(|entry| {
            let moves = entry["moves"].as_array().expect("moves").iter();
            moves.map(|one| {
                format!(
                    "{} {} {} {} {}",
                    entry["what"], one["kind"], one["channel"], one["before"], one["after"]
                )
            })
        })
        .map(|line| line.replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "push-snaps imported latest/edge null 2",
            "push-snaps imported latest/stable null 1",
            "push-snaps imported latest/stable 1 3",
            "release imported latest/stable 3 1",
            "override override latest/stable null 3",
            "close-channel imported latest/edge 2 null",
            "close-channel closed latest/edge null null",
            "release imported 3/beta/fix null 1",
            "delete-override override latest/stable 3 null",
            "release imported latest/edge null 2",
            "release reopened latest/edge null null",
        ]
    );
    let text = store.proxy(&["log", "--last", "3"]);
    assert!(text.stderr.contains("earlier changes are not shown: --last 30"), "{text:?}");
    assert_eq!(text.stdout.lines().count(), 5, "{}", text.stdout);
    assert!(text.stdout.contains("hello latest/stable amd64 3 → none (override)"), "{}", text.stdout);
    let refused = store.proxy(&["log", "helo"]).refused();
    assert!(refused.contains("there is no snap helo"), "{refused}");
}

#[test]
fn only_one_snap_goes_back() {
    let (world, store) = started(Setup::default());
    let (hello, tool) = (world.snap("hello"), world.snap("tool"));
    for number in [1, 2] {
        for snap in [&hello, &tool] {
            store.push_pair(&snap.revision(number), &["latest/stable"], "ubuntu");
        }
        if number == 1 {
            let _ = store.proxy(&["tag", "first"]).ok();
        }
    }
    let steps =
        store.proxy(&["back", "first", "--snap", "tool", "--apply", "--json"]).json()["steps"].clone();
    assert_eq!(steps, json!(["tool latest/stable all 2 → 1"]));
    let told = store.proxy(&["diff", "first"]).ok();
    assert_eq!(told.trim_end(), "hello latest/stable all 1 → 2");
}

#[test]
fn what_a_tag_names_stays() {
    let (world, store) = started(Setup::default());
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let _ = store.proxy(&["tag", "old"]).ok();
    let named = generation(&store) - 1;
    for number in [2, 3] {
        store.push_pair(&hello.revision(number), &["latest/stable"], "ubuntu");
    }
    let taken = store.proxy(&["tag", "old", "--at", "1"]).refused();
    assert!(taken.contains(&format!("tag old names generation {named}")), "{taken}");
    for (args, complaint) in [
        (&["tag", "3rd"][..], "a letter first"),
        (&["tag", "new", "--at", "9999"], "there is no generation 9999 yet"),
        (&["tag", "new", "--at", "2999-01-01"], "2999-01-01 has not come yet"),
        (&["diff", "2999-01-01"], "has not come yet"),
        (&["diff", "1", "2999-01-01T00:00:00Z"], "has not come yet"),
        (&["back", "2999-01-01"], "has not come yet"),
        (&["diff", "nothing"], "there is no tag nothing"),
        (&["tag", "nothing", "--remove"], "there is no tag nothing"),
    ] {
        let refused = store.proxy(args).refused();
        assert!(refused.contains(complaint), "{args:?}: {refused}");
    }

    // Everything that removes revisions keeps what the tag names, and nothing else.
    let refused = store.proxy(&["remove-snap", "hello", "--revision", "1", "--apply"]).refused();
    assert!(refused.contains("needed by tag old (`proxy tag old --remove`)"), "{refused}");
    let _ = store.proxy(&["prune", "--keep", "1", "--apply"]).ok();
    let held = || store.proxy(&["list-pushed-snaps", "--revisions"]).ok();
    assert!(held().contains("(1)") || held().contains(" 1 "), "{}", held());
    let steps = store.proxy(&["back", "old", "--apply", "--json"]).json()["steps"].clone();
    assert_eq!(steps, json!(["hello latest/stable all 3 → 1"]));
    let _ = store.proxy(&["release", "hello", "3", "stable", "--apply"]).ok();

    // Without the tag the revision goes, and then the way back names it and changes nothing.
    let _ = store.proxy(&["tag", "old", "--remove"]).ok();
    assert!(store.proxy(&["tag"]).ok().contains("There is no tag"));
    let _ = store.proxy(&["remove-snap", "hello", "--revision", "1", "--apply"]).ok();
    let before = (generation(&store), map(&store));
    for more in [&[][..], &["--apply"]] {
        let named = named.to_string();
        let refused = store.proxy(&[&["back", &named], more].concat()).refused();
        assert!(refused.contains("hello revision 1"), "{refused}");
        assert_eq!((generation(&store), map(&store)), before);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path().is_dir() {
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

#[test]
fn a_revision_whose_file_is_gone_is_not_released_again() {
    let (world, store) = started(Setup::default());
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let _ = store.proxy(&["tag", "old"]).ok();
    let mut blobs = Vec::new();
    files(&store.data_dir.join("blobs"), &mut blobs);
    store.push_pair(&hello.revision(2), &["latest/stable"], "ubuntu");
    let before = (generation(&store), map(&store));
    let aside = store.data_dir.join("aside");
    let [blob] = &blobs[..] else { panic!("{blobs:?}") };
    fs::rename(blob, &aside).expect("it can be moved");
    let refused = store.proxy(&["back", "old", "--apply", "--json"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("hello revision 1"), "{refused:?}");
    assert_eq!((generation(&store), map(&store)), before);
    fs::rename(&aside, blob).expect("it can be moved");
    let _ = store.proxy(&["back", "old", "--apply"]).ok();
    assert_ne!(map(&store), before.1);
}

#[test]
fn imports_leave_what_went_back() {
    let (world, store) = started(Setup::default());
    let hello = hello(&world);
    let [one, two, three] = [1, 2, 3].map(|number| hello.revision(number));
    let first = Bundle::new(&hello, &[(&one, &["latest/stable"])]);
    let second = Bundle::new(&hello, &[(&one, &[]), (&two, &["latest/stable", "latest/edge"])]);
    let third = Bundle::new(&hello, &[(&two, &["latest/stable", "latest/edge"]), (&three, &["latest/beta"])]);
    store.push_bundle(&first);
    let _ = store.proxy(&["tag", "old"]).ok();
    store.push_bundle(&second);
    let _ = store.proxy(&["back", "old", "--apply"]).ok();
    let decided = map(&store);
    store.push_bundle(&second);
    assert_eq!(map(&store), decided, "the same file again");
    store.push_bundle(&third);
    let released = map(&store)["released"].clone();
    assert_eq!(released, json!([r#""hello" "latest/beta" 3"#, r#""hello" "latest/stable" 1"#]));
}

#[test]
fn two_servers_tell_the_same_history() {
    let (folder, database) = (tempfile::tempdir().expect("there is room"), database());
    let path = folder.path().to_str().expect("a path of text");
    let setup = Setup::default().config("proxy.db.connection", &database).config("proxy.storage.path", path);
    let [first, second] = [setup.clone().start(), setup.start()];
    let world = World::new();
    first.trust(&world);
    let hello = world.snap("hello");
    first.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    let _ = first.proxy(&["tag", "old"]).ok();
    // A change at a server that is behind is planned anew, so this waits for nothing.
    second.push_pair(&hello.revision(2), &["latest/stable"], "ubuntu");
    let refused = first.proxy(&["tag", "old"]).refused();
    assert!(refused.contains("names generation"), "{refused}");
    let _ = second.proxy(&["back", "old", "--apply"]).ok();
    let _ = first.proxy(&["tag", "new"]).ok();
    let [one, other] =
        [&first, &second].map(|store| store.proxy(&["log", "--json"]).json()["entries"].clone());
    assert_eq!(one, other);
    assert_eq!(one.as_array().map(Vec::len), Some(3), "{one}");
    let refused = second.proxy(&["remove-snap", "hello", "--revision", "1", "--apply"]).refused();
    assert!(refused.contains("channel latest/stable"), "{refused}");
}

/// The lines of a change in the log, without when and by whom.
fn last_lines(store: &Server, args: &[&str]) -> Vec<String> {
    let log = store.proxy(&[&["log", "--last", "1"], args].concat()).ok();
    let mut lines = log.lines();
    let column = lines.next().and_then(|heading| heading.find("Change")).expect("a heading");
    lines.map(|line| line[column..].to_owned()).collect()
}

/// A store with a brand's store that grants two snaps, and these.
fn granting(setup: Setup) -> (World, Server, [Snap; 2]) {
    let (world, store) = started(setup);
    let brand = world.brand("acme");
    let snaps = ["hello", "tool"].map(|name| world.snap(name).publisher("acme"));
    store.push_brand(&brand);
    store.push_store("AcmeStore", "acme", &[&snaps[0], &snaps[1]]);
    for snap in [&snaps[1], &snaps[0]] {
        let bundle = Bundle::new(snap, &[(&snap.revision(1), &["latest/stable"])]);
        store.push_bundle(&bundle.from_store("AcmeStore"));
    }
    (world, store, snaps)
}

fn grants_and_metadata_are_told(setup: Setup) {
    let (world, store, [hello, tool]) = granting(setup);
    assert_eq!(
        last_lines(&store, &[]),
        ["hello latest/stable amd64 none → 1", "hello: added, pushed for AcmeStore"]
    );
    let before = store.proxy(&["log", "tool"]).ok();
    assert!(before.contains("store AcmeStore grants tool (own)"), "{before}");
    assert!(!before.contains("hello"), "{before}");

    // A grant has a history before anybody pushes its snap, and after it is gone.
    let later = world.snap("later").publisher("acme");
    store.push_store("AcmeStore", "acme", &[&hello, &tool, &later]);
    let granted = generation(&store);
    store.push_store("AcmeStore", "acme", &[&hello, &tool]);
    for name in ["later", &later.id] {
        let lines = store.proxy(&["log", name]).ok();
        assert!(lines.contains("store AcmeStore grants later (own)"), "{lines}");
        assert!(lines.contains("store AcmeStore no longer grants later (own)"), "{lines}");
        let gone = store.proxy(&["diff", &granted.to_string(), "--snap", name]).ok();
        assert_eq!(gone.trim_end(), "store AcmeStore no longer grants later (own)");
    }
    let refused = store.proxy(&["log", "latest"]).refused();
    assert!(refused.contains("there is no snap latest"), "{refused}");

    // The same again writes nothing, and a list without a snap takes its grant.
    let start = generation(&store);
    store.push_store("AcmeStore", "acme", &[&hello, &tool]);
    assert_eq!(
        store.proxy(&["diff", &start.to_string()]).ok().trim_end(),
        format!("Generations {start} and {} do not differ.", start + 1)
    );
    assert_eq!(store.proxy(&["log", "tool"]).ok(), before);
    let mut metadata = store_metadata("AcmeStore", "acme", &[&hello]);
    metadata["stores"][0]["name"] = json!("Acme");
    metadata["stores"][0]["snap-name-prefixes"] = json!(["acme-"]);
    metadata["stores"][0]["store-whitelist"] =
        json!((0..40).map(|number| format!("Store{number}")).collect::<Vec<_>>());
    let _ = store.try_push_stores(&metadata, &[]).ok();
    let told = [
        "store AcmeStore no longer grants tool (own)",
        "store AcmeStore: name \"acme devices\" → \"Acme\", snap-name-prefixes [] → [\"acme-\"], store-whitelist changed",
    ];
    assert_eq!(last_lines(&store, &[]), told);
    assert_eq!(last_lines(&store, &["tool"]), &told[..1]);
    let diff = store.proxy(&["diff", &start.to_string()]).ok();
    assert_eq!(diff.lines().collect::<Vec<_>>(), told);
    let now = generation(&store).to_string();
    let reverse = store.proxy(&["diff", &now, &start.to_string(), "--snap", "tool"]).ok();
    assert_eq!(reverse.trim_end(), "store AcmeStore grants tool (own)");
    let diff = store.proxy(&["diff", &start.to_string(), "--json"]).json();
    assert_eq!(diff["moves"], json!([]));
    let own = json!([{ "reason": "own", "name": "tool" }]);
    assert_eq!(
        diff["grants"],
        json!([{ "store": "AcmeStore", "snap": "tool", "snap-id": tool.id, "before": own, "after": [] }])
    );
    assert_eq!(diff["metadata"][0]["of"], "store");
    assert_eq!(
        diff["metadata"][0]["fields"][2],
        json!({ "field": "store-whitelist", "before": null, "after": null })
    );

    let _ = store.proxy(&["remove-store", "AcmeStore", "--apply"]).ok();
    assert_eq!(
        last_lines(&store, &[]),
        [
            "store AcmeStore no longer grants hello (own)",
            "store AcmeStore: removed",
            "hello: no longer pushed for AcmeStore",
            "tool: no longer pushed for AcmeStore",
        ]
    );
}

#[test]
fn grants_and_metadata_are_told_with_the_embedded_database() {
    grants_and_metadata_are_told(Setup::default());
}

#[test]
fn grants_and_metadata_are_told_with_postgresql() {
    grants_and_metadata_are_told(Setup::default().config("proxy.db.connection", &database()));
}

/// A bundle whose metadata says something else about the snap.
fn saying(bundle: &Bundle, fields: &Value) -> Vec<u8> {
    let mut members = bundle.members();
    let mut metadata: Value = serde_json::from_slice(&members[0].bytes).expect("JSON");
    for (field, value) in fields.as_object().expect("fields") {
        metadata["snap"][field] = value.clone();
    }
    members[0].bytes = metadata.to_string().into_bytes();
    let manifest = bundle.manifest(&members);
    gzip(&archive(std::iter::once(&manifest).chain(&members)))
}

#[test]
fn attack_texts_in_history_have_no_effect_and_are_short() {
    let (_world, store, [hello, _]) = granting(Setup::default());
    let next = |number: u32| {
        Bundle::new(&hello, &[(&hello.revision(number), &["latest/stable"])]).from_store("AcmeStore")
    };
    let title = "\u{202e}Hello\u{1b}[2J\nstore AcmeStore grants everything (own)";
    let fields = json!({ "title": title, "description": "long ".repeat(2000) });
    let _ = store.try_push_bundle(&saying(&next(2), &fields)).ok();
    for args in [&["log"][..], &["diff", "0"], &["log", "--json"], &["diff", "0", "--json"]] {
        let shown = store.proxy(args).ok();
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(steers), "{shown:?}");
        assert!(!shown.contains("long long") && shown.len() < 10_000, "{shown}");
        assert!(!shown.lines().any(|line| line.starts_with("store AcmeStore grants everything")), "{shown}");
    }
    let lines = last_lines(&store, &[]);
    assert_eq!(lines[0], "hello latest/stable amd64 1 → 2");
    assert!(lines[1].starts_with("hello: description changed, title \"hello\" → "), "{lines:?}");
    assert_eq!(lines.len(), 2);
    // Texts of another revision that say the same are no change of theirs.
    let _ = store.try_push_bundle(&saying(&next(3), &fields)).ok();
    assert_eq!(last_lines(&store, &[]), ["hello latest/stable amd64 2 → 3"]);
}

#[test]
fn the_way_back_leaves_grants_and_says_so() {
    let (_world, store, [hello, tool]) = granting(Setup::default());
    let _ = store.proxy(&["tag", "old"]).ok();
    let second = Bundle::new(&hello, &[(&hello.revision(2), &["latest/stable"])]);
    store.push_bundle(&second.from_store("AcmeStore"));
    let plan = store.proxy(&["back", "old"]);
    assert!(!plan.stderr.contains("Grants"), "{plan:?}");
    store.push_store("AcmeStore", "acme", &[&hello]);
    let plan = store.proxy(&["back", "old"]);
    assert!(plan.stderr.contains("Grants stay as they are and differ from those of generation"), "{plan:?}");
    let plan = store.proxy(&["back", "old", "--snap", "hello", "--apply"]);
    assert!(!plan.stderr.contains("Grants"), "{plan:?}");
    let _ = plan.ok();
    let told = store.proxy(&["diff", "old"]).ok();
    assert_eq!(told.trim_end(), "store AcmeStore no longer grants tool (own)");
    // Granted again, nothing differs.
    store.push_store("AcmeStore", "acme", &[&hello, &tool]);
    assert!(!store.proxy(&["back", "old"]).stderr.contains("Grants"));
}
