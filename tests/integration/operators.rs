//! What operators do on the pages: approvals, trains, a folder of the host; and what the pages plot (M43 to M45).

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::attack::until;
use tests::bundle::store_metadata;
use tests::http::Request;
use tests::screen::{Browser, Screen};
use tests::server::{Server, Setup};
use tests::world::map;

/// What the page says came of a form.
fn said(browser: &mut Browser<'_>, form: &str, fields: &[(&str, &str)]) -> String {
    let done = browser.post(form, fields);
    assert_eq!(done.status, 303, "{form} {fields:?}: {done:?}");
    let there = done.header("Location").expect("a page").to_owned();
    let page = browser.page(&there);
    let notice = page.lines().find(|line| line.contains("class=\"notice"));
    notice.unwrap_or_else(|| panic!("{form} {fields:?} says nothing: {page}")).to_owned()
}

/// All that was counted of a metric under a label, in a step.
fn counted(store: &Server, metric: &str, label: &str, step: &str) -> u64 {
    let target = format!("/v1/measures?metric={metric}&step={step}&last=2");
    let answer: Value = store.admin("GET", &target, b"").json();
    let series = answer["series"].as_array().expect("series").iter().find(|one| one["label"] == label);
    let values = series.and_then(|series| series["values"].as_array().cloned()).unwrap_or_default();
    values.iter().filter_map(Value::as_u64).sum()
}

#[test]
fn what_is_counted_outlives_the_server_and_is_plotted() {
    let screen = Screen::new(Setup::default());
    let contacts = ("airlock_http_requests_total", "/v2/snaps/refresh");
    for serial in ["SN-1", "SN-2", "SN-3"] {
        let _ = screen.device(serial);
    }
    let before = counted(&screen.store, contacts.0, contacts.1, "hour");
    assert!(before >= 3, "{before}");
    assert_eq!(counted(&screen.store, contacts.0, contacts.1, "day"), before, "looking counts nothing twice");
    assert_eq!(counted(&screen.store, "airlock_sessions_total", "begun", "hour"), 3);
    let mut browser = screen.browser();
    let page = browser.page("/pages/now");
    for title in ["Contacts of devices", "Device sessions by outcome", "Bytes downloaded", "Free space"] {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "{title}: {page}");
    }
    assert!(page.contains(&format!("<td class=\"n\">{before}</td>")), "the table behind the plot: {page}");
    for place in ["fleet", "fleet?step=day", "snap?name=hello"] {
        assert!(browser.page(&format!("/pages/{place}")).contains("<figure>"), "{place}");
    }
    assert!(browser.page("/pages/fleet").contains("Revisions of hello that devices run"));
    assert!(browser.page("/pages/device?device=acme/gateway/SN-1").contains("class=\"plot strip\""));
    assert_eq!(screen.store.admin("GET", "/v1/measures?snap=nowhere", b"").status, 422);
    // What nobody has looked at since is written down when the server stops, and the next one adds to it.
    let _ = screen.device("SN-4");
    let Screen { store, .. } = screen;
    let store = store.stop().start();
    assert_eq!(counted(&store, contacts.0, contacts.1, "hour"), before + 1);
    assert_eq!(counted(&store, "airlock_sessions_total", "begun", "day"), 4);
}

#[test]
fn attack_who_asks_does_not_approve_on_a_page() {
    let screen = Screen::new(Setup::default());
    let _device = screen.device("SN-1");
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let plan = [
        "rollout",
        "plan",
        "spring",
        "--snap",
        "hello",
        "--revision",
        "2",
        "--wave",
        "100%",
        "--approvals",
        "1",
    ];
    let _ = screen.store.proxy(&plan).ok();
    let [asks, approves] =
        ["admin,approve", "admin:read,approve"].map(|acls| screen.store.site_login(acls).1);
    let (mut asks, mut approves) = (screen.holder(&asks), screen.holder(&approves));
    let standing = asks.standing("/pages/rollouts", "spring");
    let start = [("name", "spring"), ("action", "start"), ("standing", &standing)];
    assert!(said(&mut asks, "/pages/rollouts", &start).contains("proxy approvals"), "it waits");
    assert!(asks.page("/pages/now").contains("/pages/approvals\">1</a>"), "Now tells that something waits");
    let own = asks.page("/pages/approvals");
    assert!(own.contains("You asked for this") && !own.contains("value=\"approve\""), "{own}");
    let id = own
        .split("id=\"request-")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a request")
        .to_owned();
    let vote = [("id", &*id), ("decision", "approve"), ("why", "<script>alert(1)</script>")];
    // Whoever asked sends the form all the same.
    assert!(said(&mut asks, "/pages/approvals", &vote).contains("notice bad"), "the asker approved");
    assert!(
        said(&mut asks, "/pages/rollouts", &start).contains("notice bad"),
        "it was started by one person"
    );
    // Nor does a login that only looks.
    let (_, reader) = screen.store.site_login("admin:read");
    let mut reader = screen.holder(&reader);
    assert!(!reader.page("/pages/approvals").contains("value=\"approve\""));
    assert!(said(&mut reader, "/pages/approvals", &vote).contains("not for this"));
    assert_eq!(reader.post("/pages/approvals", &[("id", &id), ("decision", "perhaps")]).status, 422);
    // Somebody else does.
    assert!(approves.page("/pages/approvals").contains("value=\"approve\""));
    assert!(said(&mut approves, "/pages/approvals", &vote).contains("Your approval counts"));
    assert!(said(&mut approves, "/pages/approvals", &vote).contains("notice bad"), "one person counts once");
    assert!(said(&mut asks, "/pages/rollouts", &start).contains("The rollout is started"));
    assert!(asks.page("/pages/approvals").contains("Nothing waits"));
    let ended = asks.page("/pages/approvals?all=1");
    assert!(ended.contains("&lt;script&gt;") && !ended.contains("<script>alert"), "{ended}");
}

#[test]
fn attack_a_train_goes_one_step_for_two_who_press_at_once() {
    let screen = Screen::new(Setup::default());
    let _device = screen.device("SN-1");
    let push = |sequence: u32, revision: &str| {
        let entry = map(&[
            ("name", "hello"),
            ("id", &screen.hello.id),
            ("presence", "optional"),
            ("revision", revision),
        ]);
        let set = screen.brand.validation_set("line7", sequence, vec![entry]);
        let _ = screen.store.try_push_assertions(set.bytes()).ok();
    };
    push(1, "1");
    let _ = screen.store.proxy(&["train", "hold", "acme/line7"]).ok();
    push(2, "2");
    let mut browser = screen.browser();
    let page = browser.page("/pages/trains");
    assert!(page.contains("acme/line7") && page.contains("devices can take it"), "{page}");
    let set = ("set", "acme/line7");
    let standing = browser.standing("/pages/trains", "acme/line7");
    let standing = ("standing", &*standing);
    let depart = |waves| [set, ("action", "depart"), ("sequence", "2"), ("waves", waves), standing];
    assert_eq!(browser.post("/pages/trains", &depart("half of them")).status, 422);
    assert!(said(&mut browser, "/pages/trains", &depart("5%, 50%, 100%")).contains("its first wave is open"));
    let page = browser.page("/pages/trains");
    assert_eq!(page.matches("class=\"bar\"").count(), 3, "{page}");
    let standing = browser.standing("/pages/trains", "acme/line7");
    let next = [set, ("action", "next"), ("standing", &standing)];
    assert!(said(&mut browser, "/pages/trains", &next).contains("The next step is taken"));
    let mut other = screen.browser();
    assert!(said(&mut other, "/pages/trains", &next).contains("This has changed since you looked at it"));
    let train = screen.store.proxy(&["train", "show", "acme/line7", "--json"]).json();
    let opened =
        train["journey"]["waves"].as_array().expect("waves").iter().filter(|wave| !wave["opened"].is_null());
    assert_eq!(opened.count(), 2, "{train}");
    // Back is a new sequence, which needs a key of this store.
    let standing = browser.standing("/pages/trains", "acme/line7");
    let back = [set, ("action", "back"), ("sequence", "1"), ("standing", &standing)];
    assert!(said(&mut browser, "/pages/trains", &back).contains("sign"));
    assert_eq!(browser.post("/pages/trains", &[set, ("action", "explode")]).status, 422);
}

#[test]
fn attack_only_the_named_folder_of_the_host_is_imported() {
    let screen = Screen::new(Setup::default());
    let place = TempDir::new().expect("there is room");
    let folder = place.path().join("in");
    fs::create_dir(&folder).expect("there is room");
    let metadata = store_metadata("SecondStore", "acme", &[&screen.hello]).to_string();
    fs::write(folder.join("stores.json"), &metadata).expect("there is room");
    fs::write(folder.join("bad <img src=x>.json"), "{}").expect("there is room");
    fs::write(place.path().join("outside.json"), &metadata).expect("there is room");
    symlink("../outside.json", folder.join("link.json")).expect("a link");
    let mut browser = screen.browser();
    let begin = |file| [("kind", "stores"), ("file", file), ("try", "false")];
    // Until a folder is named there is none.
    assert_eq!(browser.post("/pages/imports/folder", &begin("stores.json")).status, 422);
    let setting = format!("proxy.admin.import-folder={}", folder.display());
    let _ = screen.store.proxy(&["config", &setting]).ok();
    let page = browser.page("/pages/imports");
    assert!(page.contains("stores.json") && page.contains("bad &lt;img"), "{page}");
    assert!(!page.contains("link.json") && !page.contains("<img src=x>"), "{page}");
    for file in ["../outside.json", "link.json", "/etc/passwd", "nothing.json"] {
        assert!(said(&mut browser, "/pages/imports/folder", &begin(file)).contains("no such file"), "{file}");
    }
    let (_, reader) = screen.store.site_login("admin:read");
    let mut reader = screen.holder(&reader);
    assert!(!reader.page("/pages/imports").contains("stores.json"), "who only looks sees no folder");
    assert_eq!(reader.post("/pages/imports/folder", &begin("stores.json")).status, 403);
    assert!(!screen.store.proxy(&["list-stores"]).ok().contains("SecondStore"));
    // A bad file is in no other's way.
    assert!(said(&mut browser, "/pages/imports/folder", &begin("")).contains("has begun"));
    let mut ended = String::new();
    let _ = until("the folder is imported", Duration::from_secs(60), || {
        ended = browser.page("/pages/imports");
        ended.contains("Ended:")
    });
    assert!(ended.contains("2 of 2 files") && ended.contains("class=\"tag bad\""), "{ended}");
    assert!(screen.store.proxy(&["list-stores"]).ok().contains("SecondStore"));
    let log = screen.store.proxy(&["audit", "--json"]).json_lines();
    assert!(log.iter().any(|event| event["detail"].to_string().contains("stores.json")), "the log has it");
}

#[test]
fn attack_no_form_of_another_site_is_taken_by_any_page() {
    let screen = Screen::new(Setup::default());
    let mut browser = screen.browser();
    for form in [
        "approvals",
        "trains",
        "rollouts",
        "imports",
        "imports/folder",
        "settings",
        "device/block",
        "device/tag",
        "logout",
    ] {
        let target = format!("/pages/{form}");
        let refused = browser.post_from(
            &target,
            &[("id", "1")],
            &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        );
        assert_eq!(refused.status, 403, "{form}: {refused:?}");
        assert!(refused.text().contains("nothing was done"), "{form}");
        let host = browser.host();
        let plain = Request::new("POST", &target, &host).body(b"id=1");
        assert_eq!(browser.send(plain).status, 403, "{form}");
    }
    assert_eq!(browser.get("/pages/now").status, 200, "nobody was logged out");
}
