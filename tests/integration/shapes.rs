//! What commands print for programs has one shape: names in kebab-case, and what is true or false is a boolean.

use serde_json::Value;
use tests::server::{Server, Setup};
use tests::world::World;

/// Names and values that are of another shape, each with its place.
fn misshapen(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                // Ids of stores and keys of the configuration are names that operators type.
                let is_kebab = place.ends_with("/grants")
                    || name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
                if !is_kebab {
                    found.push(format!("{place}: {name}"));
                }
                misshapen(inner, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| misshapen(inner, place, found)),
        Value::String(text) if ["true", "false"].contains(&&*text.to_lowercase()) => {
            found.push(format!("{place}: {text:?}"));
        }
        _ => {}
    }
}

#[test]
fn names_are_kebab_case_and_booleans_are_booleans() {
    let world = World::new();
    let store = Setup::default().config("proxy.port.https", "0").start();
    store.trust(&world);
    let brand = world.brand("acme");
    store.push_brand(&brand);
    let hello = world.snap("hello");
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&hello.revision(2), &["latest/edge"], "ubuntu");
    store.push_store("AcmeStore", "acme", &[]);
    let mut found = Vec::new();
    for line in [
        "status",
        "doctor",
        "config",
        "config --describe",
        "config proxy.verify.rate=5 proxy.trust-forwarded-proto=true",
        "list-imports",
        "list-pushed-snaps",
        "list-pushed-snaps --revisions",
        "list-stores",
        "list-account-keys",
        "trust list",
        "override hello stable=2",
        "list-overrides",
        "delete-override hello stable",
        "release hello 2 candidate",
        "release hello 2 candidate --apply",
        "close-channel hello candidate --apply",
        "prune --keep 1",
        "remove-snap hello --revision 1",
        "block-device acme/m/1 --unseen",
        "unblock-device acme/m/1",
        "device tag acme/m/1 lab",
        "group add lab --tag lab --apply",
        "group list",
        "rollout plan spring --snap hello --revision 2 --wave group=lab --wave 100%",
        "rollout show spring",
        "rollout simulate spring",
        "rollout export spring",
        "rollout list",
        "rollout why acme/m/1",
        "rollout back spring",
        "train hold acme/line7",
        "train list",
        "train show acme/line7",
        "train draft acme/line7 --snap hello",
        "list-devices",
        "list-misses",
        "deltas list",
        "list-misses --clear",
        "jobs",
        "gc --dry-run",
        "verify",
        "check-connections",
        "list-logins",
        "keys list",
        "models list",
        "serials list",
        "create-login --store AcmeStore --acl package_access",
        "create-database",
        "import-certificate --selfsigned",
        "acme status",
        "audit",
    ] {
        let args: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        let ran = store.proxy(&args);
        let text = if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout };
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        for value in values {
            let value = value.unwrap_or_else(|error| panic!("{line}: {error} in {text}"));
            misshapen(&value, line, &mut found);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn channels_that_change_are_lines_and_moves() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let hello = world.snap("hello").architectures(&["amd64"]);
    store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
    store.push_pair(&hello.revision(2), &["latest/edge"], "ubuntu");
    let said = |line: &str| store.proxy(&line.split(' ').collect::<Vec<_>>()).ok();
    assert_eq!(said("override hello stable=2"), "hello stable amd64 2\nhello latest/stable amd64 1 → 2\n");
    // What is there already is no change.
    assert_eq!(said("override hello stable=2"), "hello stable amd64 2\n");
    let back = said("delete-override hello stable");
    assert!(back.ends_with("(revision 1)\nhello latest/stable amd64 2 → 1\n"), "{back}");
    assert_eq!(said("release hello 2 beta"), "hello latest/beta amd64 none → 2\n");
    let plan = store.proxy(&["release", "hello", "2", "beta", "--apply", "--json"]).json();
    let moved = serde_json::json!([{"snap": "hello", "channel": "latest/beta", "architecture": "amd64", "before": null, "after": 2}]);
    assert_eq!(plan["moves"], moved);
    assert_eq!(
        said("close-channel hello beta --apply").lines().next(),
        Some("hello latest/beta amd64 2 → none")
    );
    // A typing error opens no track and blocks no device.
    for (line, wanted) in [
        ("override hello stabel=2", "did you mean stable?"),
        ("override hello latset/edge=2", "did you mean latest?"),
        ("release hello 2 3/edge", "--create-track"),
        ("release hello 2 latest/egde", "did you mean edge?"),
        ("block-device acme/m/1", "--unseen"),
    ] {
        let refused = store.proxy(&line.split(' ').collect::<Vec<_>>()).refused();
        assert!(refused.contains(wanted), "{line}: {refused}");
    }
    let made = said("release hello 2 3/edge --create-track --apply");
    assert_eq!(made, "hello 3/edge amd64 none → 2\n");
    assert_eq!(said("release hello 1 3/edge --apply"), "hello 3/edge amd64 2 → 1\n");
}
