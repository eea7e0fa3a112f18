//! The server is killed at every step of copying everything into PostgreSQL: the old database stays as it was, and the new one
//! holds nothing or everything.

use schema::api::admin::DatabaseCopy;
use schema::config::Settings;
use tests::postgres::Cluster;

use super::kills;
use super::scene::{Engine, Order, Scene, on_postgres, verified};

#[test]
fn a_move_to_postgresql_lives_through_death() {
    let scene = Scene::new(Engine::Sqlite);
    let mut killed = 0;
    for step in 1.. {
        let place = scene.place();
        let url = on_postgres(Cluster::shared().database()).expect("a database");
        let copy = Order::json("POST", "/v1/database/copy", &DatabaseCopy { url: url.clone() });
        let doomed = place.start_doomed();
        let old = (step == 1).then(|| scene.answers(&doomed));
        place.arm(&format!("step:{step}"));
        let answer = copy.give(&doomed);
        let ended = if answer.is_ok() { doomed.kill() } else { doomed.wait() };
        assert_eq!(ended.signal, Some(9), "step {step}: {answer:?}");
        let Some(point) = place.fired() else {
            assert_eq!(answer.expect("an answer").status, 200);
            break;
        };
        killed += 1;
        let when = format!("killed at step {step} ({point}) of a move");
        let store = place.start();
        verified(&store, &when);
        let again = copy.give(&store).expect("an answer");
        // What was committed before the death is there, and is not written over.
        assert!(again.status == 200 || again.text().contains("already holds something"), "{when}: {again:?}");
        let expected = old.unwrap_or_else(|| scene.answers(&store));
        let _ = store.stop();
        let mut settings = Settings::load(&place.data()).expect("settings");
        settings.set("proxy.db.connection", &url).expect("a connection");
        settings.save(&place.data()).expect("settings can be saved");
        let moved = place.start();
        assert_eq!(scene.answers(&moved), expected, "{when}");
        verified(&moved, &when);
    }
    println!("{killed} kills during a move");
    assert!(killed >= kills::MOVE, "only {killed} kills");
}
