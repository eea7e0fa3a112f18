//! What runs in the background is listed, is held and goes on.

use serde_json::Value;
use tests::server::{Server, Setup};

/// One job, as `proxy jobs list` tells it.
fn job(store: &Server, name: &str) -> Value {
    let listed = store.proxy(&["jobs", "list", "--json"]).json();
    let jobs = listed["jobs"].as_array().expect("a list");
    jobs.iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("no {name} in {jobs:?}")).clone()
}

#[test]
fn a_job_is_held_and_goes_on() {
    let store = Setup::default().start();
    assert_eq!(job(&store, "epochs")["pace-seconds"], 5);
    assert!(job(&store, "epochs")["next-run"].is_string());

    let _ = store.proxy(&["jobs", "pause", "epochs"]).ok();
    let held = job(&store, "epochs");
    assert_eq!((&held["paused"], &held["next-run"]), (&Value::Bool(true), &Value::Null));
    let status = store.proxy(&["status", "--json"]).json();
    assert!(status["jobs"].as_array().expect("a list").contains(&job(&store, "epochs")), "{status}");

    let _ = store.proxy(&["jobs", "resume", "epochs"]).ok();
    assert_eq!(job(&store, "epochs")["paused"], Value::Bool(false));

    let audit = store.proxy(&["audit", "--json"]).json_lines();
    for what in ["pause-job", "resume-job"] {
        assert!(audit.iter().any(|event| event["what"] == what && event["subject"] == "epochs"), "{audit:?}");
    }
}

#[test]
fn a_job_that_is_not_there_is_named() {
    let store = Setup::default().start();
    let refused = store.proxy(&["jobs", "pause", "everything"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("there is no job everything") && refused.stderr.contains("proxy jobs list")
    );
}
