//! `GET /_status/ready` says no, and names the part, whichever part is broken (hazard F6).

use std::fs;

use tests::postgres::{Cluster, connect};
use tests::prometheus::Scrape;
use tests::server::{Server, Setup};

use super::{database, get, runtime, watched};
use crate::sessions::restart::until;

/// The codes of what is not ready; none when all is.
fn troubles(store: &Server) -> Vec<String> {
    let answer = get(store, "/_status/ready");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let body = answer.json();
    match answer.status {
        200 => {
            assert_eq!(body, serde_json::json!({ "status": "ready" }));
            Vec::new()
        }
        503 => {
            let list = body["error-list"].as_array().expect("a list of errors");
            assert!(answer.header("X-Oops-Id").is_some());
            list.iter().map(|entry| entry["code"].as_str().expect("a code").to_owned()).collect()
        }
        status => panic!("{status} {body}"),
    }
}

fn becomes(store: &Server, wanted: &[&str]) {
    until(&format!("{wanted:?} is what is wrong"), || troubles(store) == wanted);
    let inside = get(store, "/_status/ready").text();
    for detail in ["/tmp", "airlock-", "postgres", "SELECT", "os error", "schema_migrations"] {
        assert!(!inside.contains(detail), "{inside}");
    }
}

#[test]
fn a_database_that_is_away() {
    let cluster = Cluster::start().expect("a PostgreSQL of its own");
    let store = watched().config("proxy.db.connection", &database(&cluster)).start();
    becomes(&store, &[]);
    cluster.stop().expect("the database stops");
    becomes(&store, &["database-unavailable"]);
    assert_eq!(get(&store, "/_status/check").status, 503);
    let scrape = Scrape::of(&store);
    assert!(scrape.value("airlock_ready{part=\"database\"}") < 0.5);
    assert!(scrape.value("airlock_ready{part=\"storage\"}") > 0.5);
    assert_eq!(scrape.get("airlock_devices_seen"), None, "what is not known is not told");
    let told: serde_json::Value =
        serde_json::from_str(&store.proxy(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!(told["backup"], serde_json::Value::Null);
    let told = store.proxy(&["status"]).stdout;
    assert!(told.contains("Last made: not known while the database does not answer"), "{told}");
    cluster.resume().expect("the database starts");
    becomes(&store, &[]);
    assert!(store.log().contains("database-unavailable"), "the log tells why");
}

#[test]
fn an_embedded_database_whose_file_is_gone() {
    let store = Server::start();
    becomes(&store, &[]);
    let (file, aside) = (store.data_dir.join("airlock.db"), store.data_dir.join("aside"));
    fs::rename(&file, &aside).expect("it is moved");
    becomes(&store, &["database-unavailable"]);
    fs::copy(&aside, &file).expect("it is copied");
    becomes(&store, &["database-unavailable"]);
    fs::rename(&aside, &file).expect("it is moved back");
    becomes(&store, &[]);
}

#[test]
fn storage_that_takes_no_files() {
    let store = Server::start();
    for folder in ["staging", "blobs"] {
        let (place, aside) = (store.data_dir.join(folder), store.data_dir.join("aside"));
        fs::rename(&place, &aside).expect("it is moved");
        becomes(&store, &["storage-not-writable"]);
        fs::rename(&aside, &place).expect("it is moved back");
        becomes(&store, &[]);
    }
    let left = fs::read_dir(store.data_dir.join("staging")).expect("a folder").count();
    assert_eq!(left, 0, "trying leaves nothing behind");
}

#[test]
fn a_secret_that_is_missing_or_not_the_stores() {
    let fresh = Setup::default().config("proxy.device-auth.secret", "").config("proxy.airgap", "").start();
    becomes(&fresh, &["session-secret-missing", "airgap-mode-off"]);
    let _ = fresh.proxy(&["enable-airgap-mode"]).ok();
    becomes(&fresh, &[]);

    let url = database(Cluster::shared());
    let store = Setup::default().config("proxy.db.connection", &url).start();
    becomes(&store, &[]);
    let names = |key: &str| {
        runtime().block_on(async {
            let client = connect(&url).await.expect("the database answers");
            // As another server of this database would that was given another secret.
            client
                .execute("UPDATE meta SET value = $1 WHERE name = 'session-key'", &[&key])
                .await
                .expect("a fact");
            client
                .batch_execute(
                    "INSERT INTO touched (subject, key, generation)
                     SELECT 'fact', 'session-key', value + 1 FROM counters WHERE name = 'generation'
                     ON CONFLICT (subject, key) DO UPDATE SET generation = excluded.generation",
                )
                .await
                .expect("the note of what was touched");
        });
        let before = store.proxy(&["status", "--json"]).stdout;
        let _ = store.proxy(&["block-device", "acme/gateway/SN-9", "--unseen"]).ok();
        let _ = store.proxy(&["unblock-device", "acme/gateway/SN-9"]).ok();
        serde_json::from_str::<serde_json::Value>(&before).expect("JSON")["session-key"]
            .as_str()
            .map(str::to_owned)
    };
    let own = names("somebody-else").expect("a key");
    becomes(&store, &["session-secret-foreign"]);
    let _ = names(&own);
    becomes(&store, &[]);
}

#[test]
fn a_schema_that_is_another_programs() {
    let url = database(Cluster::shared());
    let store = Setup::default().config("proxy.db.connection", &url).start();
    becomes(&store, &[]);
    let run = |statement: &str| {
        runtime().block_on(async {
            connect(&url)
                .await
                .expect("the database answers")
                .batch_execute(statement)
                .await
                .expect("a statement");
        });
    };
    for (broken, mended) in [
        (
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (9999, 'later', 'x', 0)",
            "DELETE FROM schema_migrations WHERE version = 9999",
        ),
        (
            "UPDATE schema_migrations SET checksum = 'x' || checksum WHERE version = 1",
            "UPDATE schema_migrations SET checksum = substr(checksum, 2) WHERE version = 1",
        ),
    ] {
        run(broken);
        becomes(&store, &["schema-not-recognised"]);
        assert_eq!(get(&store, "/_status/check").status, 200, "{broken}");
        run(mended);
        becomes(&store, &[]);
    }
}
