//! How much a key signs on a day, and what operators see of devices that get no serial.

use tempfile::TempDir;
use tests::factory::Newborn;
use tests::http::Response;
use tests::postgres::Cluster;
use tests::server::{SECRET, Server, Setup};

use crate::signing::{Site, assert_refused, serial_of, state, until};

fn findings(store: &Server) -> Vec<String> {
    let found = store.proxy(&["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found.stdout).expect("JSON");
    let found = found["findings"].as_array().expect("a list").iter();
    found.map(|one| one["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn attack_a_key_signs_no_more_on_a_day_than_its_limit_at_two_servers() {
    let folder = TempDir::new().expect("there is room");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Cluster::shared().database()).expect("a database");
    let setup = Setup::default()
        .config("proxy.db.connection", &database)
        .config("proxy.storage.path", folder.path().to_str().expect("a path of text"))
        .config("proxy.signing.secret", SECRET);
    let (site, second) = (Site::on(setup.clone().start()), setup.start());
    site.add(&["--serial", "assigned"]);
    let limit = |most: u32| {
        let _ = site.store.proxy(&["keys", "limit", "factory-1", "--per-day", &most.to_string()]).ok();
        until("the second server knows the limit", || state(&second, "factory-1")["per-day"] == most);
    };
    limit(3);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let devices: Vec<Newborn> = names.map(|name| site.device(name)).into();
    let servers = [&site.store, &second];
    let at_once = || -> Vec<Response> {
        std::thread::scope(|scope| {
            let asking = |(number, device): (usize, &Newborn)| {
                let (store, device) = (servers[number % 2], device.clone());
                scope.spawn(move || device.register(store))
            };
            let posts: Vec<_> = devices.iter().enumerate().map(asking).collect();
            posts.into_iter().map(|post| post.join().expect("an answer")).collect()
        })
    };
    let given = |answers: &[Response]| answers.iter().filter(|answer| answer.status == 200).count();
    let answers = at_once();
    assert_eq!(given(&answers), 3);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_refused(answer, 503, "unavailable");
        assert!(
            answer.text().contains("has signed the 3 documents that it may sign in a day"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(given(&at_once()), 3, "those that have a serial get it again");
    for store in servers {
        assert_eq!(state(store, "factory-1")["today"], 3);
        assert!(findings(store).contains(&"key-at-its-limit".to_owned()));
    }
    assert!(site.store.proxy(&["keys", "list"]).ok().contains("3; 3 of 3 today"));
    let misses = site.store.proxy(&["list-misses"]).ok();
    assert!(misses.contains("acme/gateway  day-limit"), "{misses}");
    limit(5);
    assert_eq!(given(&at_once()), 5);
    let store = site.store.kill().start();
    assert_eq!(state(&store, "factory-1")["today"], 5, "a start forgets nothing");
    assert_eq!(given(&devices.iter().map(|device| device.register(&store)).collect::<Vec<_>>()), 5);
    let _ = store.proxy(&["keys", "limit", "factory-1", "--none"]).ok();
    assert_eq!(given(&devices.iter().map(|device| device.register(&store)).collect::<Vec<_>>()), 8);
}

#[test]
fn what_keeps_devices_from_a_serial_is_told() {
    let site = Site::on(Setup::default().start());
    let store = &site.store;
    site.list("G-1,00:16:3e:00:00:01\nG-2,00:16:3e:00:00:02\n");
    let board = |name: &str, hardware: &str, serial: &str| {
        let about = format!("{{\"hardware-id\": \"{hardware}\"}}");
        Newborn { about, ..site.device(name).proposing(serial) }
    };
    // The serial of another board, and a board that nobody listed.
    for _ in 0..2 {
        let other = board("a", "00:16:3e:00:00:02", "G-1");
        assert_refused(&other.register(store), 403, "serial-not-listed");
    }
    let stranger = Newborn { proposed: None, ..board("b", "00:16:3e:00:00:09", "G-1") };
    assert_refused(&stranger.register(store), 403, "serial-not-listed");
    let honest = board("c", "00:16:3e:00:00:01", "G-1");
    assert_eq!(serial_of(&honest, &honest.register(store)), "G-1");
    let misses = store.proxy(&["list-misses", "--json"]).json();
    let told = &misses["registrations"][0];
    assert_eq!((&told["model"], &told["check"]), (&"acme/gateway".into(), &"serial-not-listed".into()));
    assert_eq!(told["times"], 3);
    let text = store.proxy(&["list-misses"]).ok();
    assert!(text.contains("Requests for a serial that failed"), "{text}");
    assert!(findings(store).contains(&"registrations-refused".to_owned()));
    // Nothing of a request that nobody signed is repeated.
    let forged = site.device("d").post(store, b"type: serial-request\nmodel: \x1b[2J\n\nAAAA\n");
    assert_eq!(forged.status, 400);
    assert!(!store.proxy(&["list-misses"]).ok().contains("[2J"));
    let cleared = store.proxy(&["list-misses", "--clear", "--json"]).json();
    assert_eq!(cleared["cleared"], 4);
    assert_eq!(store.proxy(&["list-misses", "--json"]).json()["registrations"], serde_json::json!([]));
    assert!(!findings(store).contains(&"registrations-refused".to_owned()));
}
