//! What can be planned, how a plan would go, and where it travels (M20, M27).

use serde_json::{Value, json};
use tests::server::{Server, Setup};

use super::Scene;

#[test]
fn what_cannot_be_planned_says_why() {
    let scene = Scene::new(Setup::default());
    let _device = scene.device("in-1");
    let plan = |more: &[&str]| {
        let first = ["rollout", "plan", "spring", "--snap", "hello", "--revision"];
        scene.store.proxy(&[&first[..], more].concat())
    };
    for (more, complaint) in [
        (&["7", "--wave", "100%"][..], "revision 7 of hello is not held"),
        (&["1", "--wave", "100%"], "revision 1 is released in latest/stable of hello already"),
        (&["2", "--wave", "group=lab"], "there is no group lab"),
        (&["2", "--wave", "100%", "--channel", "3/stable"], "nothing is released in 3/stable of hello"),
    ] {
        let refused = plan(more).refused();
        assert!(refused.contains(complaint), "{more:?}: {refused}");
    }
    let refused = scene.store.proxy(&["group", "add", "none", "--apply"]).refused();
    assert!(refused.contains("group none would have no rule"), "{refused}");
    let shown = scene.store.proxy(&["group", "add", "none", "--serial", "x*"]).ok();
    assert!(shown.contains("0 of 1 devices that were seen"), "{shown}");
    assert!(scene.store.proxy(&["group", "list"]).ok().contains("There is no group"), "a plan saves nothing");
    scene.group("none", "x*");
    let _ = plan(&["2", "--wave", "group=none", "--wave", "100%"]).ok();
    let refused = scene.store.proxy(&["rollout", "start", "spring"]).refused();
    assert!(refused.contains("the first wave, group=none, takes no device"), "{refused}");
}

#[test]
fn a_plan_is_simulated_and_travels() {
    let scene = Scene::new(Setup::default());
    for number in 1..=4 {
        let _device = scene.device(&format!("SN-{number}"));
    }
    scene.group("first", "SN-1");
    let plan = [
        "rollout",
        "plan",
        "spring",
        "--snap",
        "hello",
        "--to",
        "2",
        "--soak",
        "24h",
        "--wave",
        "group=first",
    ];
    let _ = scene.store.proxy(&[&plan[..], &["--wave", "100%"]].concat()).ok();
    let simulated = scene.store.proxy(&["rollout", "simulate", "spring", "--json"]).json();
    let counts = |at: usize| ["devices", "done", "silent"].map(|count| simulated["waves"][at][count].clone());
    assert_eq!(
        (counts(0), counts(1)),
        ([json!(1), json!(1), json!(0)], [json!(3), json!(3), json!(0)]),
        "{simulated}"
    );
    assert_eq!(simulated["state"], "finished", "{simulated}");
    let moment = |text: &Value| {
        let text = text.as_str().expect("a moment");
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a moment")
    };
    let hours = |at: &Value| (moment(at) - moment(&simulated["from"])).whole_hours();
    // They come each six hours: offered at the first visit, done at the second, and then it soaks.
    let waves = &simulated["waves"];
    assert!((11..=12).contains(&hours(&waves[0]["all-done"])), "{simulated}");
    assert!((36..=38).contains(&hours(&waves[1]["opens"])), "{simulated}");
    assert!((72..=76).contains(&hours(&simulated["ends"])), "{simulated}");
    assert_eq!(scene.rollout()["state"], "planned", "nothing has changed");

    // Another store with the same snap and group takes the same devices.
    let exported = scene.store.proxy(&["rollout", "export", "spring"]).ok();
    let other = Scene::new(Setup::default());
    other.store.with_file("spring.json", exported.as_bytes(), |file| {
        let refused = other.store.proxy(&["rollout", "import", file]).refused();
        assert!(refused.contains("there is no group first"), "{refused}");
        other.group("first", "SN-1");
        let _ = other.store.proxy(&["rollout", "import", file]).ok();
    });
    for (field, value, complaint) in [
        ("approvals", json!(3), "--approvals is 3: at most 2"),
        ("soak", json!(315_360_001), "--soak is 315360001 seconds: it can be ten years"),
    ] {
        let mut plan: Value = serde_json::from_str(&exported).expect("JSON");
        (plan["plan"]["name"], plan["plan"][field]) = ("endless".into(), value);
        other.store.with_file("bad.json", plan.to_string().as_bytes(), |file| {
            let refused = other.store.proxy(&["rollout", "import", file]).refused();
            assert!(refused.contains(complaint), "{refused}");
        });
    }
    let places = |store: &Server| -> Vec<Value> {
        let place = |number| {
            let target = format!("/v1/rollout-reasons?device=acme/gateway/SN-{number}");
            store.admin("GET", &target, &[]).json()["rollouts"][0]["place"].clone()
        };
        (1..=20).map(place).collect()
    };
    assert_eq!(places(&other.store), places(&scene.store));

    // What became of it there comes out again, with the rows of the audit chain that are about it.
    let _device = other.device("SN-1");
    other.group("spring", "none");
    for step in ["start", "pause", "back"] {
        let _ = other.store.proxy(&["rollout", step, "spring"]).ok();
    }
    let report = other.store.proxy(&["rollout", "export", "spring"]).json();
    let planned: Value = serde_json::from_str(&exported).expect("JSON");
    assert_eq!(
        (&report["plan"], &report["outcome"]["state"]),
        (&planned["plan"], &json!("back")),
        "{report}"
    );
    let (entries, audit) =
        (report["audit"].as_array().expect("a list"), other.store.proxy(&["audit", "--json"]).ok());
    let done = entries.iter().filter(|entry| entry["outcome"] == "done");
    let steps: Vec<_> = done.map(|entry| entry["what"].as_str().expect("a word")).collect();
    assert_eq!(steps, ["rollout-plan", "rollout-start", "rollout-pause", "rollout-back"]);
    for entry in entries {
        let hash = entry["hash"].as_str().expect("a digest");
        assert!(audit.contains(hash), "{entry} is in no row of {audit}");
    }
    let refused = other
        .store
        .with_file("not.json", b"{}", |file| other.store.proxy(&["rollout", "import", file]).refused());
    assert!(refused.contains("is no export: `proxy rollout export NAME"), "{refused}");
}
