//! The pages in a real browser: `tests/pages/run` says how. This makes the store, and `shift.mjs` is the shift of an operator.

use std::env;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::params;
use tests::bundle::store_metadata;
use tests::device::{Action, Wanted};
use tests::screen::Screen;
use tests::server::Setup;
use tests::world::map;

/// Devices of the store.
const DEVICES: i64 = 10_000;
/// Names that have an effect where they are trusted.
const HOSTILE: [&str; 3] = [
    "<script>alert(1)<|script><img src=x onerror=alert(1)>",
    "SN-\u{202e}gpj.exe\u{200b}",
    "'\" onmouseover=alert(1) x='",
];

fn micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_micros()).expect("a clock of this age")
}

/// Devices that came over the last 30 days, most of them today.
fn plant(screen: Screen, count: i64) -> Screen {
    let Screen { world, brand, hello, store, ca, .. } = screen;
    let stopped = store.stop();
    let mut database = rusqlite::Connection::open(stopped.data_dir.join("airlock.db")).expect("the database");
    let transaction = database.transaction().expect("a transaction");
    let now = micros();
    let runs = "INSERT INTO device_snaps (brand, model, serial, snaps) VALUES ('acme', ?1, ?2, ?3)";
    let mut snaps = vec![serde_json::json!([hello.id, 1, "latest/stable"])];
    for name in ["core24", "snapd", "gateway-app", "panel-ui"] {
        snaps.push(serde_json::json!([world.snap(name).id, 40, "latest/stable"]));
    }
    let snaps = serde_json::Value::from(snaps).to_string();
    for number in 0..count {
        let age = if number % 40 == 0 { number * 240_000_000 } else { number % 7200 * 1_000_000 };
        let last = now - age.min(30 * 86_400_000_000);
        let model = ["gateway", "gateway-2000", "panel"][usize::try_from(number % 3).unwrap_or(0)];
        let serial = format!("SN-{number:06}");
        let _ = transaction.execute(runs, params![model, serial, snaps]).expect("what a device runs");
        transaction
            .execute(
                "INSERT INTO devices (brand, model, serial, first_seen, last_seen, address, client, missed, store, agent,
                    architecture, verified, pace)
                 VALUES ('acme', ?1, ?2, ?3, ?4, ?5, '', NULL, 'AcmeStore', 'snapd/2.77 (series 16; classic=false)', 'arm64', 1, ?6)",
                params![
                    model,
                    serial,
                    now - 200 * 86_400_000_000,
                    last,
                    format!("10.{}.{}.{}", number / 65536, number / 256 % 256, number % 256),
                    4 * 3_600_000_000_i64,
                ],
            )
            .expect("a device");
    }
    plant_counts(&transaction, now, &hello.id);
    transaction.commit().expect("a commit");
    drop(database);
    let store = stopped.start();
    let address = Screen::address_of(&store);
    Screen { world, brand, hello, store, ca, address }
}

/// What was counted over the last 30 days, in hours and in days.
fn plant_counts(transaction: &rusqlite::Transaction<'_>, now: i64, hello: &str) {
    let revisions = format!("airlock_revision_devices:{hello}");
    for (step, micros) in [("hour", 3_600_000_000), ("day", 86_400_000_000)] {
        for ago in 0..30_i64 {
            let at = (now / micros - ago) * micros;
            let wave = 40 + (ago * 7) % 30;
            for (metric, label, value) in [
                ("airlock_http_requests_total", "/v2/snaps/refresh", 50 * wave),
                ("airlock_sessions_total", "begun", 9 * wave),
                ("airlock_sessions_total", "nonce", wave / 4),
                ("airlock_sessions_total", "signature", ago % 5),
                ("airlock_sessions_total", "serial", ago % 3),
                ("airlock_sessions_total", "model", ago % 4),
                ("airlock_snaps_served_bytes_total", "", wave * 90_000_000),
                ("airlock_deltas_served_bytes_total", "xdelta3", wave * 17_000_000),
                ("airlock_data_free_bytes", "data", 400_000_000_000 - ago * 3_000_000_000),
                ("airlock_data_free_bytes", "blobs", 900_000_000_000 + ago * 9_000_000_000),
                (&*revisions, "1", 200 * ago + 1000),
                (&*revisions, "2", 9000 - 200 * ago),
                (&*revisions, "3", 40),
            ] {
                let row = params![step, metric, at, label, value];
                let sql = "INSERT INTO measures (step, metric, at, label, value) VALUES (?1, ?2, ?3, ?4, ?5)
                    ON CONFLICT (step, metric, at, label) DO UPDATE SET value = excluded.value";
                let _ = transaction.execute(sql, row).expect("a count");
            }
        }
    }
}

/// A store on a busy night: a wave that stopped, an import that was refused, devices that miss things, and hostile names.
fn busy() -> Screen {
    let screen = plant(Screen::new(Setup::default()), DEVICES);
    for serial in HOSTILE {
        let mut device = screen.device(serial);
        for wanted in ["charmed-postgresql", serial] {
            let _ = device.act_on_one(Action::Install(wanted.to_owned(), Wanted::channel("14/stable")));
        }
    }
    let _ = screen.store.proxy(&["list-devices"]).ok();
    for name in ["core24", "snapd", "gateway-app", "panel-ui", "mqtt-bridge"] {
        let snap = screen.world.snap(name).publisher("acme").summary(HOSTILE[0]);
        for (revision, channel) in [(40, "latest/stable"), (41, "latest/candidate"), (42, "latest/edge")] {
            screen.store.push_pair(
                &snap.versioned(revision, &format!("24.{revision}")),
                &[channel],
                "AcmeStore",
            );
        }
    }
    for (name, waves) in [("spring", ["5%", "100%"]), ("summer", ["1%", "50%"])] {
        let (snap, revision) = if name == "spring" { ("hello", "2") } else { ("core24", "41") };
        let plan = [
            "rollout",
            "plan",
            name,
            "--snap",
            snap,
            "--revision",
            revision,
            "--wave",
            waves[0],
            "--wave",
            waves[1],
        ];
        let _ = screen.store.proxy(&plan);
    }
    let _ = screen.store.proxy(&["rollout", "start", "spring"]).ok();
    let _ = screen.store.proxy(&["rollout", "pause", "spring"]).ok();
    let night = "/v1/assertions?as=assertions&file=night.assert";
    assert_eq!(screen.store.admin("POST", night, b"this is no assertion").status, 422);
    let _ = screen.store.proxy(&["block-device", "acme/panel/SN-000002"]).ok();
    // Three rollouts wait for a second person: one for each way of pressing a button.
    for (name, snap) in [("harvest", "snapd"), ("autumn", "gateway-app"), ("winter", "panel-ui")] {
        let plan = [
            "rollout",
            "plan",
            name,
            "--snap",
            snap,
            "--revision",
            "41",
            "--wave",
            "100%",
            "--approvals",
            "1",
        ];
        let _ = screen.store.proxy(&plan).ok();
        let waits = screen.store.proxy(&["rollout", "start", name]).refused();
        assert!(waits.contains("proxy approvals"), "{waits}");
    }
    for (sequence, revision) in [(1, "1"), (2, "2")] {
        let entry = map(&[
            ("name", "hello"),
            ("id", &screen.hello.id),
            ("presence", "optional"),
            ("revision", revision),
        ]);
        let set = screen.brand.validation_set("line7", sequence, vec![entry]);
        let _ = screen.store.try_push_assertions(set.bytes()).ok();
        if sequence == 1 {
            let _ = screen.store.proxy(&["train", "hold", "acme/line7"]).ok();
        }
    }
    let waves = ["1%", "2%", "5%", "10%", "50%", "100%"].iter().flat_map(|wave| ["--wave", *wave]);
    let depart: Vec<&str> = ["train", "depart", "acme/line7", "2"].into_iter().chain(waves).collect();
    let _ = screen.store.proxy(&depart).ok();
    let inbox = screen.store.data_dir.join("inbox");
    std::fs::create_dir(&inbox).expect("there is room");
    for file in ["stores-of-the-night.json", "bad <img src=x onerror=alert(1)>.json"] {
        std::fs::write(inbox.join(file), "{}").expect("there is room");
    }
    let _ = screen.store.proxy(&["config", &format!("proxy.admin.import-folder={}", inbox.display())]).ok();
    quarantine(&screen);
    screen
}

/// An import that waits: a snap that asks for more than before, another that is new, and grants.
fn quarantine(screen: &Screen) {
    let _ = screen.store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let hostile = serde_json::to_string(HOSTILE[0]).expect("JSON");
    let yaml = format!(
        "plugs: {{etc: {{interface: system-files}}, network: {{interface: network}}, {hostile}: {{interface: home}}}}\n"
    );
    let greedy = screen.world.snap("gateway-app").publisher("acme").yaml(&yaml).versioned(43, "24.43");
    let waits = screen.store.try_push_pair(&greedy, &["latest/stable", "latest/edge"], "AcmeStore").ok();
    assert!(waits.contains("No device sees anything of it"), "{waits}");
    let names: Vec<_> = ["panel-ui", "mqtt-bridge", "core24"].map(|name| screen.world.snap(name)).into();
    let metadata = store_metadata("NightStore", "acme", &names.iter().collect::<Vec<_>>());
    let _ = screen.store.try_push_stores(&metadata, &[]).ok();
}

fn shift(screen: &Screen, more: &[(&str, &str)]) {
    let driver = env::var_os("PAGES_DRIVER").expect("tests/pages/run sets this");
    let (_, admin) = screen.store.site_login("admin,approve");
    let (_, reader) = screen.store.site_login("admin:read");
    let ran = Command::new("node")
        .arg(driver)
        .env("PAGES_URL", format!("https://{}", screen.address))
        .env("PAGES_ADMIN", admin)
        .env("PAGES_READER", reader)
        .env("PAGES_LINK", screen.link())
        .envs(more.iter().copied())
        .status();
    assert!(ran.expect("node can be started").success(), "the browser found something: see above");
}

#[test]
fn the_shift_of_an_operator() {
    shift(&busy(), &[]);
}

#[test]
fn pages_of_a_hundred_thousand_devices_are_small_and_quick() {
    let screen = plant(Screen::new(Setup::default()), 100_000);
    let mut browser = screen.browser();
    println!("memory before: {} MiB", screen.store.memory() / 1024);
    for page in [
        "now",
        "fleet",
        "fleet?stale=86400",
        "fleet?serial=SN-099999",
        "snaps",
        "imports",
        "rollouts",
        "misses",
        "keys",
        "audit",
        "settings",
        "registrations",
        "trains",
        "approvals",
        "now?step=day",
        "fleet?step=day",
        "device?device=acme/gateway/SN-000000",
    ] {
        let target = format!("/pages/{page}");
        let mut bytes = browser.page(&target).len();
        let mut times: Vec<u128> = (0..20)
            .map(|_| {
                let begun = std::time::Instant::now();
                bytes = bytes.max(browser.page(&target).len());
                begun.elapsed().as_millis()
            })
            .collect();
        times.sort_unstable();
        println!("{target}: {} ms, at most {} ms, {bytes} bytes", times[10], times[19]);
        assert!(bytes <= 100 * 1024, "{target}");
    }
    println!("memory after: {} MiB", screen.store.memory() / 1024);
}
