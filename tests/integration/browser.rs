//! The pages on the wire: who is let in, whose forms are taken, and that no text of a device or a medium has an effect (M36 to M39).

use serde_json::json;
use tests::bundle::store_metadata;
use tests::device::{Action, Wanted};
use tests::http::Request;
use tests::screen::{Browser, Screen, field, forms};
use tests::server::{Setup, proxy};
use tests::world::map;

/// Every page that is looked at.
const PAGES: [&str; 14] = [
    "/pages/now",
    "/pages/fleet",
    "/pages/snaps",
    "/pages/snap?name=hello",
    "/pages/imports",
    "/pages/rollouts",
    "/pages/trains",
    "/pages/approvals",
    "/pages/registrations",
    "/pages/misses",
    "/pages/keys",
    "/pages/audit",
    "/pages/settings",
    "/pages/device?device=acme/gateway/SN-1",
];

/// Text that has an effect on a page that trusts it.
const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>";
const BIDI: &str = "SN-\u{202e}gpj.\u{2066}exe\u{200b}";

fn first_line<'a>(page: &'a str, from: &str) -> &'a str {
    page.lines().find(|line| line.contains(from)).unwrap_or_else(|| panic!("no {from} in {page}"))
}

#[test]
fn every_page_shows_what_the_store_knows() {
    let screen = Screen::new(Setup::default());
    let mut device = screen.device("SN-1");
    let wanted = Action::Install("nowhere".into(), Wanted::channel("latest/stable"));
    assert!(device.act_on_one(wanted).is_err());
    let file = format!("/api/v1/snaps/download/{}_2.snap", screen.hello.id);
    assert_eq!(screen.store.send(&device.download_request("GET", &file, None)).status, 200);
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let plan = ["rollout", "plan", "spring", "--snap", "hello", "--revision", "2", "--wave", "100%"];
    let _ = screen.store.proxy(&plan).ok();
    let mut browser = screen.browser();
    for (page, told) in PAGES.into_iter().zip([
        "served",
        "SN-1",
        "hello",
        "candidate",
        "push-snaps",
        "spring",
        "proxy train hold",
        "Nothing waits",
        "No model is registered",
        "nowhere",
        "acme",
        "open-pages",
        "proxy.admin.pages",
        "nowhere",
    ]) {
        let shown = browser.page(page);
        assert!(shown.contains(told), "{page} lacks {told}: {shown}");
        assert!(shown.len() < 100 * 1024, "{page} has {} bytes", shown.len());
    }
    assert_eq!(browser.get("/").header("Location"), Some("/pages/now"));
    assert_eq!(browser.get("/pages/nowhere").status, 404);
    assert!(browser.page("/pages/fleet?below=hello%3D2").contains("SN-1"));
    assert!(!browser.page("/pages/fleet?below=hello%3D1").contains("SN-1"));
    assert!(browser.page("/pages/fleet?serial=SN-1&stale=3600").contains("No device"));
    assert!(browser.page("/pages/device?device=acme/gateway/SN-1&snap=hello").contains("class=\"steps\""));
    let downloads = browser.page("/pages/device?device=acme/gateway/SN-1");
    let downloads = downloads.split("<h2 id=\"downloads\">").nth(1).expect("a list of downloads");
    assert!(first_line(downloads, "hello").contains("whole snap"), "{downloads}");
    let list = browser.page("/pages/misses/snaps.yaml");
    assert!(list.contains("- name: nowhere\n    channel: latest/stable"), "{list}");
}

#[test]
fn an_operator_acts_and_the_log_tells_who() {
    let screen = Screen::new(Setup::default());
    let _device = screen.device("SN-1");
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let plan = ["rollout", "plan", "spring", "--snap", "hello", "--revision", "2", "--wave", "100%"];
    let _ = screen.store.proxy(&plan).ok();
    let (id, token) = screen.store.site_login("admin");
    let mut browser = screen.holder(&token);
    let name = ("device", "acme/gateway/SN-1");
    for (form, fields, told) in [
        ("/pages/rollouts", vec![("name", "spring"), ("action", "start")], "The rollout is started."),
        ("/pages/rollouts", vec![("name", "spring"), ("action", "start")], "spring is running"),
        ("/pages/rollouts", vec![("name", "spring"), ("action", "pause")], "The rollout is paused"),
        ("/pages/device/block", vec![name, ("blocked", "true")], "The device is blocked."),
        ("/pages/device/tag", vec![name, ("tag", "lab"), ("remove", "")], "The device has the tag."),
        (
            "/pages/settings",
            vec![("key", "proxy.device-auth.session-lifetime"), ("value", "3d")],
            "The setting is saved.",
        ),
        ("/pages/settings", vec![("key", "proxy.port.http"), ("value", "no number")], "proxy.port.http"),
    ] {
        let basis = match form.starts_with("/pages/device/") {
            true => String::new(),
            false => {
                let shown = browser.page(form);
                let about = format!("value=\"{}\"", fields[0].1);
                field(
                    forms(&shown).into_iter().find(|form| form.contains(&about)).expect("a form"),
                    "standing",
                )
            }
        };
        let fields = [&fields[..], &[("standing", &*basis)]].concat();
        let done = browser.post(form, &fields);
        assert_eq!(done.status, 303, "{fields:?}: {done:?}");
        let there = done.header("Location").expect("a page").to_owned();
        // A page that renews itself meanwhile does not take the notice away.
        let host = browser.host();
        let _ = browser.send(Request::new("GET", &there, &host).header("By-Itself", "1"));
        let page = browser.page(&there);
        let notice = first_line(&page, "class=\"notice");
        assert!(notice.contains(told), "{fields:?}: {notice}");
        assert!(!browser.page(&there).contains("class=\"notice"), "a notice is told once");
    }
    assert_eq!(screen.store.proxy(&["config", "proxy.device-auth.session-lifetime"]).ok(), "3d\n");
    let log = screen.store.proxy(&["audit", "--json"]).json_lines();
    for what in ["open-pages", "rollout-start", "rollout-pause", "block-device", "device-tag", "config"] {
        let event = log.iter().rev().find(|event| event["what"] == what).expect(what);
        assert_eq!(event["who"], json!(format!("login {id}")), "{event}");
    }
    // The log is searched by each of its columns.
    let found = browser.page("/pages/audit?what=block-device&subject=acme/gateway/SN-1");
    assert!(found.contains("block-device") && !found.contains("rollout-pause"), "{found}");
    assert!(browser.page("/pages/audit?from=2001-01-01&to=2001-01-02").contains("No event fits"));
    assert_eq!(browser.get("/pages/audit?from=yesterday").status, 422);
    let csv = browser.page("/pages/audit/events.csv?what=device-tag");
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let json: serde_json::Value =
        serde_json::from_str(&browser.page("/pages/audit/events.json?what=device-tag")).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_file_is_tried_and_imported_from_a_form() {
    let screen = Screen::new(Setup::default());
    let mut browser = screen.browser();
    let metadata = store_metadata("SecondStore", "acme", &[&screen.hello]).to_string();
    let upload = |browser: &mut Browser<'_>, mode: &str, file: &str| {
        let part = |name: &str, value: &str, more: &str| {
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
        };
        let body = [
            part("kind", "stores", ""),
            part("try", mode, ""),
            part("file", file, "; filename=\"stores.json\""),
            "--edge--\r\n".into(),
        ]
        .concat();
        let request = Request::new("POST", "/pages/imports", &browser.host())
            .header("Sec-Fetch-Site", "same-origin")
            .header("Content-Type", "multipart/form-data; boundary=edge")
            .body(body.as_bytes());
        assert_eq!(browser.send(request).status, 303);
        browser.page("/pages/imports")
    };
    assert!(upload(&mut browser, "true", &metadata).contains("Nothing was changed"));
    assert!(!screen.store.proxy(&["list-stores"]).ok().contains("SecondStore"));
    let page = upload(&mut browser, "false", &metadata);
    assert!(page.contains("Imported:") && page.contains("stores.json"), "{page}");
    assert!(screen.store.proxy(&["list-stores"]).ok().contains("SecondStore"));
    let page = upload(&mut browser, "false", "{\"no\": \"stores\"}");
    assert!(page.contains("class=\"notice bad\"") && page.contains("refused"), "{page}");
}

#[test]
fn attack_no_text_of_a_device_or_a_medium_has_an_effect() {
    let screen = Screen::new(Setup::default());
    let long = "x".repeat(10 * 1024);
    let mut serials = vec![MARKUP.replace('/', "|"), BIDI.to_owned()];
    serials.push(format!("{}-long", &long[..1000]));
    for serial in &serials {
        let mut device = screen.device(serial);
        let name = format!("{}{BIDI}", MARKUP.replace('/', "|"));
        for name in [&name, &long] {
            let _ = device.act_on_one(Action::Install(name.clone(), Wanted::channel("latest/stable")));
        }
    }
    let evil = screen.world.snap("evil").publisher("acme").summary(MARKUP);
    screen.store.push_pair(&evil.versioned(1, "1<b>x"), &["latest/stable"], "AcmeStore");
    for subject in [MARKUP, BIDI, &long] {
        let _ = screen.store.proxy(&["tag", subject]);
        let _ = screen.store.proxy(&[
            "block-device",
            "--unseen",
            &format!("acme/gateway/{}", subject.replace('/', "|")),
        ]);
        screen.store.with_file("bad.assert", subject.as_bytes(), |path| {
            let _ = screen.store.proxy(&["push-assertions", path]);
        });
    }
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let mut browser = screen.browser();
    let own: Vec<String> = serials
        .iter()
        .map(|serial| {
            let coded: String = serial.bytes().map(|byte| format!("%{byte:02x}")).collect();
            format!("/pages/device?device=acme/gateway/{coded}")
        })
        .collect();
    let inbox = tempfile::TempDir::new().expect("there is room");
    std::fs::write(inbox.path().join(format!("{}{BIDI}.json", MARKUP.replace('/', "|"))), "{}")
        .expect("there is room");
    let _ = screen
        .store
        .proxy(&["config", &format!("proxy.admin.import-folder={}", inbox.path().display())])
        .ok();
    let filters = ["fleet?serial", "fleet?brand", "audit?who", "snaps?name", "device?snap"].map(|place| {
        let coded: String = format!("{MARKUP}{BIDI}").bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("/pages/{place}={coded}")
    });
    let others = PAGES.iter().filter(|page| !page.contains("device?")).map(|page| (*page).to_owned());
    let mut planted = 0;
    for page in others.chain(["/pages/snap?name=evil".to_owned()]).chain(own).chain(filters) {
        let answer = browser.get(&page);
        let text = answer.text();
        for bad in
            ["<script>alert", "<img src=x", "<b>x", "onerror=alert(1)>", "\u{202e}", "\u{2066}", "\u{200b}"]
        {
            assert!(!text.contains(bad), "{page} shows {bad:?}: {text}");
        }
        assert!(text.len() < 200 * 1024, "{page} has {} bytes", text.len());
        let scripts = text.matches("<script").count();
        assert_eq!((scripts, text.matches("</script>").count()), (2, 2), "{page}: {text}");
        planted += text.matches("&lt;script&gt;").count() + text.matches("\\u{202e}").count();
    }
    assert!(planted > 10, "nothing was planted");
}

/// A store with a rollout and a train on their way, and an import that waits.
fn under_way() -> Screen {
    let screen = Screen::new(Setup::default());
    for number in 1..=8 {
        let _device = screen.device(&format!("SN-{number}"));
    }
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let waves = ["--wave", "80%", "--wave", "90%", "--wave", "95%", "--wave", "100%"];
    let plan = ["rollout", "plan", "spring", "--snap", "hello", "--revision", "2"];
    let _ = screen.store.proxy(&[&plan[..], &waves].concat()).ok();
    let _ = screen.store.proxy(&["rollout", "start", "spring"]).ok();
    for sequence in 1..=2 {
        let entry = map(&[("name", "hello"), ("id", &screen.hello.id), ("presence", "optional")]);
        let set = screen.brand.validation_set("line7", sequence, vec![entry]);
        let _ = screen.store.try_push_assertions(set.bytes()).ok();
        if sequence == 1 {
            let _ = screen.store.proxy(&["train", "hold", "acme/line7"]).ok();
        }
    }
    let _ = screen.store.proxy(&[&["train", "depart", "acme/line7", "2"][..], &waves].concat()).ok();
    let _ = screen.store.proxy(&["config", "proxy.imports.quarantine=all"]).ok();
    let yaml = format!("plugs: {{{}: {{interface: system-files}}}}\n", json!(MARKUP));
    let greedy = screen.world.snap("hello").publisher("acme").yaml(&yaml).versioned(3, "3<b>x");
    let _ = screen.store.try_push_pair(&greedy, &["latest/edge"], "AcmeStore").ok();
    screen
}

/// Where the page of the only import that waits is.
fn waiting(browser: &mut Browser<'_>) -> String {
    let page = browser.page("/pages/imports");
    let link = page.split('"').find(|part| part.starts_with("/pages/waiting?")).expect("a link");
    link.replace("&amp;", "&")
}

#[test]
fn attack_a_form_of_an_older_page_does_nothing() {
    let screen = under_way();
    let (mut first, mut second) = (screen.browser(), screen.browser());
    let moved = "This has changed since you looked at it, so nothing was done";
    let told = |browser: &mut Browser<'_>, form: &str, fields: &[(&str, &str)]| {
        let done = browser.post(form, fields);
        assert_eq!(done.status, 303, "{fields:?}: {done:?}");
        let there = done.header("Location").expect("a page").to_owned();
        first_line(&browser.page(&there), "class=\"notice").to_owned()
    };
    let state = || {
        let rollout = screen.store.proxy(&["rollout", "show", "spring", "--json"]).json();
        let train = screen.store.proxy(&["train", "show", "acme/line7", "--json"]).json();
        let key = screen.store.proxy(&["config", "proxy.device-auth.session-lifetime"]).ok();
        let waves = |of: &serde_json::Value| {
            let all = of["waves"].as_array().expect("waves");
            (of["state"].clone(), all.iter().filter(|wave| !wave["opened"].is_null()).count())
        };
        (waves(&rollout), train["departed"].clone(), waves(&train["journey"]), key)
    };

    // Every form that goes on from what its page shows says what that was; the others name all of what they want.
    let whole = ["logout", "imports", "imports/folder", "device/block", "device/tag", "approvals"];
    let pages: Vec<String> =
        PAGES.iter().map(|page| (*page).to_owned()).chain([waiting(&mut first)]).collect();
    let mut based = 0;
    for page in &pages {
        let shown = first.page(page);
        for form in forms(&shown) {
            let action = field(&form.replace("action=\"", "name=\"action\" value=\""), "action");
            if !whole.iter().any(|whole| action == format!("/pages/{whole}")) {
                assert!(!field(form, "standing").is_empty() || action == "/pages/settings", "{page}: {form}");
                based += 1;
            }
        }
    }
    assert!(based > 20, "{based} forms");

    // Whatever somebody does, a page that was there before does nothing more.
    for (page, name, steps) in [
        ("/pages/rollouts", ("name", "spring"), ["next", "pause", "resume", "next", "back"]),
        ("/pages/trains", ("set", "acme/line7"), ["next", "pause", "resume", "pause", "resume"]),
    ] {
        for step in steps {
            let standing = second.standing(page, name.1);
            let form = |action| [name, ("standing", &*standing), ("action", action)];
            let notice = told(&mut first, page, &form(step));
            assert!(notice.contains("notice well"), "{page} {step}: {notice}");
            let now = state();
            for late in ["next", "pause", "resume", "back", "start", "depart"] {
                let late = [&form(late)[..], &[("sequence", "2")]].concat();
                let late = match (page, late[2].1) {
                    ("/pages/trains", "start") => continue,
                    ("/pages/rollouts", "depart") => continue,
                    _ => late,
                };
                let notice = told(&mut second, page, &late);
                assert!(notice.contains(moved), "{page} {step} then {late:?}: {notice}");
            }
            let unsaid = told(&mut second, page, &[name, ("action", "next")]);
            assert!(unsaid.contains(moved), "{unsaid}");
            assert_eq!(state(), now, "{page} {step}");
        }
    }
    let standing = second.standing("/pages/settings", "proxy.device-auth.session-lifetime");
    let settings = [("key", "proxy.device-auth.session-lifetime"), ("standing", &*standing), ("value", "3d")];
    assert!(told(&mut first, "/pages/settings", &settings).contains("notice well"));
    let late = [settings[0], settings[1], ("value", "9d")];
    assert!(told(&mut second, "/pages/settings", &late).contains(moved));
    assert_eq!(state().3, "3d\n");

    // Of two that press it at the same moment, one opens a wave.
    let waves = state().2.1;
    let standing = first.standing("/pages/trains", "acme/line7");
    let form = [("set", "acme/line7"), ("standing", &*standing), ("action", "next")];
    std::thread::scope(|scope| {
        for browser in [&mut first, &mut second] {
            let _ = scope.spawn(|| browser.post("/pages/trains", &form));
        }
    });
    assert_eq!(state().2.1, waves + 1, "two pressed it");
}

#[test]
fn an_import_that_waits_is_shown_and_decided() {
    let screen = under_way();
    let mut pushed = screen.browser();
    let page = waiting(&mut pushed);
    let shown = pushed.page(&page);
    for told in
        ["hello", "2 → 3", "system-files", "latest/edge", "somebody else decides", "Refuse and remove it"]
    {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(!shown.contains("value=\"approve\""), "{shown}");
    for bad in ["<script>alert", "<img src=x", "<b>x", "onerror=alert(1)>"] {
        assert!(!shown.contains(bad), "{bad}: {shown}");
    }
    assert!(shown.contains("&lt;script&gt;"), "{shown}");
    let fields = |shown: &str, decision: &'static str| {
        let form = forms(shown).into_iter().find(|form| form.contains("/pages/waiting")).expect("a form");
        [
            ("import", field(form, "import")),
            ("standing", field(form, "standing")),
            ("decision", decision.to_owned()),
        ]
    };
    let send = |browser: &mut Browser<'_>, fields: &[(&'static str, String); 3]| {
        let done = browser.post("/pages/waiting", &fields.each_ref().map(|(name, value)| (*name, &**value)));
        let there = done.header("Location").expect("a page").to_owned();
        first_line(&browser.page(&there), "class=\"notice").to_owned()
    };
    let released = |screen: &Screen| {
        screen.store.proxy(&["list-pushed-snaps", "--json"]).json().to_string().contains("\"revision\":3,")
    };

    // Who only looks sees it, and decides nothing.
    let (_, reader) = screen.store.site_login("admin:read");
    let mut reader = screen.holder(&reader);
    let looked = reader.page(&page);
    assert!(looked.contains("system-files") && !looked.contains("action=\"/pages/waiting\""), "{looked}");
    for decision in ["approve", "release", "refuse"] {
        let notice = send(&mut reader, &fields(&shown, decision));
        assert!(notice.contains("the login is not for this"), "{decision}: {notice}");
    }
    // Nor does whoever pushed it approve it, and nobody releases it unapproved.
    let own = send(&mut pushed, &fields(&shown, "approve"));
    assert!(own.contains("was made by you"), "{own}");
    let early = send(&mut pushed, &fields(&shown, "release"));
    assert!(early.contains("notice bad"), "{early}");
    let (_, other) = screen.store.site_login("admin,approve");
    let mut other = screen.holder(&other);
    let before = other.page(&page);
    assert!(send(&mut other, &fields(&before, "approve")).contains("Your approval counts."));
    assert!(!released(&screen), "approved is not released");
    // A page of before does nothing.
    let late = send(&mut other, &fields(&before, "refuse"));
    assert!(late.contains("This has changed since you looked at it"), "{late}");
    let approved = other.page(&page);
    assert!(send(&mut other, &fields(&approved, "release")).contains("Devices see the import from now on."));
    assert!(released(&screen));
    assert_eq!(other.get(&page).status, 422);

    // Another one is refused.
    let app = screen.world.snap("hello").publisher("acme").revision(4);
    let _ = screen.store.try_push_pair(&app, &["latest/stable"], "AcmeStore").ok();
    let page = waiting(&mut other);
    let shown = other.page(&page);
    assert!(send(&mut other, &fields(&shown, "refuse")).contains("nothing of it is kept"));
    assert!(!other.page("/pages/imports").contains("/pages/waiting?"));
    assert!(
        !screen.store.proxy(&["list-pushed-snaps", "--json"]).json().to_string().contains("\"revision\":4,")
    );
}

#[test]
fn attack_a_form_of_another_site_does_nothing() {
    let screen = Screen::new(Setup::default());
    let _device = screen.device("SN-1");
    let _ = screen.store.proxy(&["list-devices"]).ok();
    let mut browser = screen.browser();
    let own = format!("https://{}", browser.host());
    let fields = [("device", "acme/gateway/SN-1"), ("blocked", "true")];
    for from in [
        vec![],
        vec![("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        vec![("Sec-Fetch-Site", "same-site"), ("Origin", &own)],
        vec![("Origin", "null")],
        vec![("Origin", "https://evil.example")],
        vec![("Sec-Fetch-Site", "same-origin"), ("Origin", "https://evil.example")],
    ] {
        let refused = browser.post_from("/pages/device/block", &fields, &from);
        assert_eq!(refused.status, 403, "{from:?}: {refused:?}");
        assert!(refused.text().contains("nothing was done"), "{refused:?}");
        // Nor does another site log somebody in.
        assert_eq!(
            screen.stranger().post_from("/pages/open", &[("link", &screen.link())], &from).status,
            403
        );
    }
    assert!(!screen.store.proxy(&["show-device", "acme/gateway/SN-1"]).ok().contains("blocked: yes"));
    assert_eq!(browser.post("/pages/device/block", &fields).status, 303);
}

#[test]
fn attack_a_link_lets_one_in_and_a_login_that_ends_lets_nobody_act() {
    let screen = Screen::new(Setup::default());
    let _device = screen.device("SN-1");
    let _ = screen.store.proxy(&["list-devices"]).ok();
    // Looking at a link does not use it up; opening it does.
    let (link, mut first, mut second) = (screen.link(), screen.stranger(), screen.stranger());
    assert_eq!(second.get(&format!("/pages/open/{link}")).status, 200);
    assert_eq!(first.post("/pages/open", &[("link", &link)]).status, 303);
    assert_eq!(second.post("/pages/open", &[("link", &link)]).status, 403);
    assert_eq!(second.cookie, None);
    // A stranger sees a login and nothing else.
    for page in
        PAGES.into_iter().chain(["/pages/live", "/pages/misses/snaps.yaml", "/pages/audit/events.csv"])
    {
        let answer = screen.stranger().get(page);
        assert_eq!((answer.status, answer.header("Location")), (303, Some("/pages/login")), "{page}");
    }
    for token in ["", "nonsense", "__Host-airlock"] {
        assert_eq!(screen.stranger().post("/pages/login", &[("login", token)]).status, 403);
    }
    let (_, of_store) = screen.store.login("AcmeStore", "package_access");
    assert_eq!(screen.stranger().post("/pages/login", &[("login", &of_store)]).status, 403);
    let set = screen.stranger().post("/pages/open", &[("link", &screen.link())]);
    let set = set.header("Set-Cookie").expect("a cookie");
    assert!(
        set.starts_with("__Host-airlock=") && set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
        "{set}"
    );
    // Who may only look, only looks.
    let (_, reader) = screen.store.site_login("admin:read");
    let mut reader = screen.holder(&reader);
    assert!(!reader.page("/pages/device?device=acme/gateway/SN-1").contains("/pages/device/block"));
    let fields = [("device", "acme/gateway/SN-1"), ("blocked", "true")];
    assert_eq!(reader.post("/pages/device/block", &fields).status, 303);
    assert!(reader.page("/pages/now").contains("the login is not for this"));
    // A login that is revoked between the page and its form.
    let (id, token) = screen.store.site_login("admin");
    let mut browser = screen.holder(&token);
    assert!(browser.page("/pages/device?device=acme/gateway/SN-1").contains("/pages/device/block"));
    let _ = screen.store.proxy(&["revoke-login", &id]).ok();
    let ended = browser.post("/pages/device/block", &fields);
    assert_eq!(ended.header("Location"), Some("/pages/login?ended"), "{ended:?}");
    assert_eq!(browser.get("/pages/now").header("Location"), Some("/pages/login?ended"));
    assert!(!screen.store.proxy(&["show-device", "acme/gateway/SN-1"]).ok().contains("blocked: yes"));
    // A link of a login that was revoked before it was opened, and one of a login that was not.
    for (revoked, status) in [(true, 403), (false, 303)] {
        let (id, token) = screen.store.site_login("admin");
        let link = screen.link_of(&token);
        if revoked {
            let _ = screen.store.proxy(&["revoke-login", &id]).ok();
        }
        assert_eq!(screen.stranger().post("/pages/open", &[("link", &link)]).status, status);
    }
    // Logged out is logged out, whoever kept the cookie.
    let mut browser = screen.browser();
    let kept = browser.cookie.clone();
    assert_eq!(browser.post("/pages/logout", &[]).status, 303);
    browser.cookie = kept;
    assert_eq!(browser.get("/pages/now").header("Location"), Some("/pages/login?ended"));
}

#[test]
fn attack_a_page_stays_by_itself() {
    let screen = Screen::new(Setup::default());
    let mut browser = screen.browser();
    let page = browser.page("/pages/now");
    let style = page.split('"').find(|part| part.ends_with(".css")).expect("a style sheet").to_owned();
    let all = PAGES.into_iter().chain(["/", "/pages/login", "/pages/open/x", "/pages/nowhere", &style]);
    for page in all {
        let answer = browser.get(page);
        let policy = answer.header("Content-Security-Policy").unwrap_or_default();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|held| held == part), "{page}: {part} is not in {policy:?}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("X-Frame-Options"), Some("DENY"), "{page}");
        assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"), "{page}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{page}");
        let kept = answer.header("Cache-Control");
        match page == style {
            true => assert_eq!(kept, Some("public, max-age=31536000, immutable")),
            false => assert_eq!(kept, Some("no-store"), "{page}"),
        }
        let text = answer.text();
        for inline in
            [" style=", "<style", " onclick=", "javascript:", "src=\"http", "href=\"http", "href=\"//"]
        {
            assert!(page == style || !text.contains(inline), "{page} holds {inline}");
        }
    }
    // Devices' ports have no pages, and while they are off nobody has.
    for target in ["/pages/now", "/pages/login", "/pages/open/x"] {
        assert_eq!(screen.store.send(&Request::new("GET", target, screen.store.host())).status, 404);
    }
    let _ = screen.store.proxy(&["config", "proxy.admin.pages=False"]).ok();
    for page in PAGES.into_iter().chain(["/", "/pages/login", &style]) {
        let answer = browser.get(page);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("no-such-route")), "{page}");
    }
    let refused = screen.store.proxy(&["open"]).refused();
    assert!(refused.contains("proxy config proxy.admin.pages=True"), "{refused}");
    let _ = proxy(screen.store.data_dir.as_path(), &["config", "proxy.admin.pages=True"]).ok();
    assert_eq!(browser.get("/pages/now").status, 200);
}
