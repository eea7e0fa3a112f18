//! A connection that fails in every way: what was fetched is complete, or there is nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::attack::until;
use tests::http::Request;
use tests::relay::{Fault, Relay};
use tests::server::{Server, program};
use tests::world::World;

use super::{Connected, text};

/// A store with one snap of more than one read, and a picture of what it should be.
fn store(world: &World) -> (Server, Vec<u8>) {
    let store = Server::start();
    store.trust(world);
    let revision = world.snap("hello").payload(400_000).revision(1);
    store.push_pair(&revision, &["latest/stable"], "ubuntu");
    (store, revision.image.bytes)
}

fn is_download(request: &Request) -> bool {
    request.target.contains("/download/")
}

/// Bundles that were begun.
fn unfinished(host: &Connected) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.path("out/.airlock-parts")).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "new"))
        .collect()
}

#[test]
fn what_fails_in_passing_is_tried_again() {
    let world = World::new();
    let (store, image) = store(&world);
    let elsewhere = Relay::start(&store, |_, _| Fault::Pass);
    let redirect = elsewhere.url.clone();
    type Plan = Box<dyn Fn(&Request, usize) -> Fault + Send + Sync>;
    let first = |fault: Fault| -> Plan {
        Box::new(move |_, count| if count == 0 { fault.clone() } else { Fault::Pass })
    };
    let download = |fault: fn(usize) -> Fault| -> Plan {
        Box::new(move |request, count| if is_download(request) { fault(count) } else { Fault::Pass })
    };
    let plans: Vec<(&str, Plan)> = vec![
        ("everything is dropped once", first(Fault::Drop)),
        ("everything fails once", first(Fault::Answer(503, vec![], "busy".into()))),
        ("everything fails once as a gateway does", first(Fault::Answer(502, vec![], "<html>".into()))),
        ("everything breaks once in its body", first(Fault::Cut(10))),
        ("everything dribbles", Box::new(|_, _| Fault::Dribble(997))),
        (
            "downloads break again and again",
            download(|count| if count < 6 { Fault::Cut(70_000) } else { Fault::Pass }),
        ),
        (
            "a download ends early",
            download(|count| if count == 0 { Fault::Short(90_000) } else { Fault::Pass }),
        ),
        ("a download is damaged once", download(|count| if count == 0 { Fault::Flip } else { Fault::Pass })),
        (
            "the range is ignored",
            download(|count| match count {
                0 => Fault::Cut(50_000),
                1 => Fault::Answer(416, vec![], String::new()),
                _ => Fault::Pass,
            }),
        ),
        (
            "another port has the files",
            Box::new(
                move |request, _| {
                    if is_download(request) { Fault::Redirect(redirect.clone()) } else { Fault::Pass }
                },
            ),
        ),
    ];
    for (what, plan) in plans {
        let relay = Relay::start(&store, plan);
        let host = Connected::to(&relay.url, &world);
        let ran = host.fetch(&["hello"]);
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
        let bundles = host.bundles();
        assert_eq!(bundles.len(), 1, "{what}");
        let inspected =
            host.proxy(&["inspect", text(&bundles[0]), "--trust", &host.text("root.assert")]).ok();
        assert!(inspected.contains(&format!("hello_1.snap {} bytes", image.len())), "{what}: {inspected}");
        assert!(host.parts().is_empty(), "{what}");
    }
}

#[test]
fn a_store_that_asks_for_patience_gets_it() {
    let world = World::new();
    let (store, _) = store(&world);
    let relay = Relay::start(&store, |request, count| match is_download(request) && count == 0 {
        true => Fault::Answer(429, vec![("Retry-After", "1".into())], String::new()),
        false => Fault::Pass,
    });
    let host = Connected::to(&relay.url, &world);
    let ran = host.fetch(&["hello"]);
    assert!(ran.stderr.contains("the store asks to wait for 1 seconds"), "{}", ran.stderr);
    let _ = ran.ok();
    assert_eq!(host.bundles().len(), 1);
}

#[test]
fn what_fails_for_good_leaves_no_bundle_and_says_why() {
    let world = World::new();
    let (store, _) = store(&world);
    let on = |part: &'static str, fault: Fault| {
        move |request: &Request, _: usize| {
            if request.target.contains(part) { fault.clone() } else { Fault::Pass }
        }
    };
    let replace = |from: &str, to: &str| Fault::Replace(from.to_owned(), to.to_owned());
    let id = world.snap("hello").id;
    let html = || Fault::Answer(404, vec![("Content-Type", "text/html".into())], "<html>".into());
    let gone = r#"{"error-list":[{"code":"not-found","message":"none"}]}"#;
    let cases = [
        ("/download/", Fault::Flip, "arrived damaged twice"),
        ("/download/", Fault::Answer(403, vec![], String::new()), "not for this login"),
        ("/download/", Fault::Answer(404, vec![], String::new()), "HTTP 404"),
        ("/download/", Fault::Answer(200, vec![], "x".repeat(900_000)), "arrived damaged twice"),
        ("/download/", Fault::Answer(500, vec![], String::new()), "has a server error (HTTP 500"),
        (
            "/info/",
            Fault::Answer(401, vec![], r#"{"error-list":[{"code":"x","message":"who?"}]}"#.into()),
            "who?",
        ),
        (
            "/info/",
            Fault::Answer(200, vec![], "<html>portal</html>".into()),
            "cannot understand the store's answer about snap hello: it is a web page",
        ),
        ("/refresh", Fault::Answer(200, vec![], "<html>".into()), "it is a web page"),
        ("/download/", Fault::Answer(200, vec![], "<html>".into()), "hello_1.snap: it is a web page"),
        (
            "/info/",
            Fault::Answer(429, vec![("Retry-After", "61".into())], String::new()),
            "gets too many requests from here (HTTP 429 Too Many Requests): run the same command again in 61 seconds",
        ),
        ("/refresh", Fault::Answer(200, vec![], r#"{"results":[]}"#.into()), "the store left it out"),
        ("/refresh", Fault::Drop, "cannot reach"),
        ("/refresh", replace("\"revision\":1", "\"revision\":2"), "signed is revision 1"),
        ("/refresh", replace("\"size\":", "\"size\":1"), "signed is revision 1"),
        ("/refresh", replace("\"hello\"", "\"other\""), "it is about other"),
        ("/refresh", replace(&id, &id.replace(|_| true, "x")), "signed is revision 1"),
        ("/refresh", replace("\"sha3-384\":\"", "\"sha3-384\":\"0"), "the store gives a wrong digest"),
        (
            "/info/",
            replace("\"title\":\"hello\"", "\"title\":5"),
            "the store's answer about hello is unusable",
        ),
        ("/assertions/account/", replace("display-name", "display-nome"), "cannot understand"),
        (
            "/assertions/account/",
            replace("validation: verified", "validation: unproven"),
            "cannot verify account/dev",
        ),
        ("/assertions/account/dev", replace("dev", "ded"), "it is about account/ded"),
        ("/assertions/snap-revision/", html(), "HTTP 404"),
        (
            "/assertions/snap-revision/",
            Fault::Answer(404, vec![], gone.into()),
            "the store has no snap-revision/",
        ),
        ("/assertions/account/", Fault::Answer(404, vec![], gone.into()), "which snap-"),
        ("/assertions/snap-declaration/", Fault::Flip, "hello"),
        ("/assertions/account/", Fault::Answer(200, vec![], "type: account\n".into()), "cannot understand"),
    ];
    for (part, fault, wanted) in cases {
        let what = format!("{part} {fault:?}").chars().take(80).collect::<String>();
        let relay = Relay::start(&store, on(part, fault));
        let host = Connected::to(&relay.url, &world);
        let refusal = host.fetch(&["hello"]).refused();
        assert!(refusal.contains(wanted), "{what}: {refusal}");
        assert!(host.bundles().is_empty(), "{what}");
    }
    // The same documents, and nobody trusts their root.
    let host = Connected::to(&store.url, &world);
    let refusal = host.proxy(&["fetch-snaps", "hello", "--export-dir", &host.text("out")]).refused();
    assert!(refusal.contains("cannot prove revision 1 of hello"), "{refusal}");
    assert!(host.bundles().is_empty());
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let world = World::new();
    let (store, image) = store(&world);
    let cutting = Relay::start(&store, |request, count| match (is_download(request), count) {
        (false, _) => Fault::Pass,
        (true, 0) => Fault::Cut(150_000),
        (true, _) => Fault::Drop,
    });
    let host = Connected::to(&cutting.url, &world);
    let refusal = host.fetch(&["hello"]).refused();
    assert!(refusal.contains("run the same command again"), "{refusal}");
    let parts = host.parts();
    assert!(host.bundles().is_empty() && parts.len() == 1, "{parts:?}");
    assert!(0 < parts[0] && parts[0] <= 150_000, "{parts:?}");

    let healthy = Relay::start(&store, |_, _| Fault::Pass);
    let _ = host.proxy(&["config", &format!("proxy.upstream={}", healthy.url)]).ok();
    let _ = host.fetch(&["hello"]).ok();
    let ranges: Vec<String> = healthy
        .seen()
        .into_iter()
        .filter(is_download)
        .flat_map(|request| request.headers)
        .filter_map(|(name, value)| name.eq_ignore_ascii_case("range").then_some(value))
        .collect();
    assert_eq!(ranges, [format!("bytes={}-", parts[0])]);
    let bundle = fs::metadata(&host.bundles()[0]).expect("the bundle").len();
    assert!(bundle > image.len() as u64 && host.parts().is_empty());
}

#[test]
fn a_download_that_fails_ends_the_fetch_and_leaves_no_bundle() {
    let world = World::new();
    let (store, _) = store(&world);
    store.push_pair(&world.snap("other").revision(1), &["latest/stable"], "ubuntu");
    for refused in ["hello", "other"] {
        let id = world.snap(refused).id;
        // The one is tried again after a pause, in which its bytes are waited for.
        let relay = Relay::start(&store, move |request, _| match is_download(request) {
            false => Fault::Pass,
            true if request.target.contains(&id) => Fault::Answer(404, vec![], String::new()),
            true => Fault::Drop,
        });
        let host = Connected::to(&relay.url, &world);
        let refusal = host.fetch(&["hello", "other", "--single"]).refused();
        assert!(refusal.contains(&format!("cannot download {refused}_1.snap")), "{refusal}");
        assert!(refusal.contains("HTTP 404"), "{refusal}");
        assert_eq!((host.bundles().len(), unfinished(&host).len()), (0, 0), "{refused}");
    }
}

#[test]
fn a_run_that_is_killed_leaves_its_parts_and_no_bundle() {
    let world = World::new();
    let (store, image) = store(&world);
    // The second attempt comes after a pause, in which the process waits.
    let cutting = Relay::start(&store, |request, count| match (is_download(request), count) {
        (false, _) => Fault::Pass,
        (true, 0) => Fault::Cut(150_000),
        (true, _) => Fault::Drop,
    });
    let host = Connected::to(&cutting.url, &world);
    let mut child = Command::new(program("proxy"))
        .args(["--data-dir", &host.text("data"), "fetch-snaps", "hello", "--export-dir", &host.text("out")])
        .args(["--trust", &host.text("root.assert")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("proxy can be started");
    until("the download breaks off", Duration::from_secs(30), || {
        cutting.seen().iter().filter(|request| is_download(request)).count() > 1
    });
    child.kill().expect("it runs");
    let _ = child.wait().expect("it ended");
    let unfinished = unfinished(&host);
    assert_eq!((host.bundles().len(), unfinished.len()), (0, 1), "a bundle was begun, and none is there");
    // The name of one that was begun in another second.
    let older = host.path("out/.airlock-parts/hello-20200101T000000.tar.gz.new");
    fs::rename(&unfinished[0], older).expect("a file");

    let _ = host.proxy(&["config", &format!("proxy.upstream={}", store.url)]).ok();
    let _ = host.fetch(&["hello"]).ok();
    let bundle = fs::metadata(&host.bundles()[0]).expect("the bundle").len();
    assert!(bundle > image.len() as u64 && !host.path("out/.airlock-parts").exists());
}

#[test]
fn two_runs_do_not_work_in_one_folder() {
    let world = World::new();
    let (store, _) = store(&world);
    let host = Connected::to(&store.url, &world);
    fs::create_dir_all(host.path("out/.airlock-parts")).expect("a folder");
    let lock = fs::File::create(host.path("out/.airlock-parts/lock")).expect("a file");
    lock.lock().expect("the lock");
    let refusal = host.fetch(&["hello"]).refused();
    assert!(refusal.contains("another fetch is running there"), "{refusal}");
    drop(lock);
    let _ = host.fetch(&["hello"]).ok();
}

#[test]
fn a_store_that_ignores_the_format_asked_for_is_told_off() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let snap = world.snap("hello").declaration_at(2, 6);
    store.push_pair(&snap.revision(1), &["latest/stable"], "ubuntu");
    let text = String::from_utf8(snap.declaration().bytes().to_vec()).expect("text");
    let relay = Relay::start(&store, move |request, _| {
        let lower = request.target.contains("/snap-declaration/") && request.target.ends_with("max-format=5");
        if lower { Fault::Answer(200, vec![], text.clone()) } else { Fault::Pass }
    });
    let host = Connected::to(&relay.url, &world);
    let refusal = host.fetch(&["hello"]).refused();
    assert!(refusal.contains("in format 6, asked for 5 at most"), "{refusal}");
    assert!(host.bundles().is_empty());
}

#[test]
fn a_picture_is_no_reason_to_fail() {
    let world = World::new();
    let (store, _) = store(&world);
    let answers = [
        (Fault::Answer(200, vec![], "x".repeat(300_001)), "missing or too large"),
        (Fault::Answer(404, vec![], String::new()), "missing or too large"),
        (Fault::Answer(200, vec![], "<html>".into()), "neither PNG, JPEG nor SVG"),
        (Fault::Drop, "was left out: cannot reach"),
    ];
    for (fault, wanted) in answers {
        let relay = Relay::start(&store, move |request, _| {
            if request.target.contains("/info/") {
                let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
                let host = host.map(|(_, value)| value.clone()).unwrap_or_default();
                let icon = format!("\"media\":[{{\"type\":\"icon\",\"url\":\"http://{host}/icon.png\"}}]");
                return Fault::Replace("\"media\":[]".into(), icon);
            }
            if request.target == "/icon.png" { fault.clone() } else { Fault::Pass }
        });
        let host = Connected::to(&relay.url, &world);
        let ran = host.fetch(&["hello"]);
        assert!(ran.stderr.contains(wanted), "{wanted}: {}", ran.stderr);
        let _ = ran.ok();
        let inspected =
            host.proxy(&["inspect", text(&host.bundles()[0]), "--trust", &host.text("root.assert")]);
        assert!(!inspected.ok().contains(".icon."), "{wanted}");
    }
}

#[test]
fn a_bundle_never_takes_the_place_of_another() {
    let world = World::new();
    let (store, _) = store(&world);
    let host = Connected::to(&store.url, &world);
    for count in 1..=3 {
        let _ = host.fetch(&["hello"]).ok();
        assert_eq!(host.bundles().len(), count);
    }
}
