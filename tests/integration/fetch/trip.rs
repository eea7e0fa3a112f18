//! The whole trip with healthy stores.

use std::fs;

use schema::assertion::{Assertion, AssertionType, HeaderValue};
use serde_json::json;
use tests::bundle::{Bundle, Member, archive, gzip};
use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::relay::{Fault, Relay};
use tests::server::{Server, Setup, proxy};
use tests::world::{Revision, SINCE, World, map, stream};

use super::{Connected, push_all, text};

/// A store with these revisions, and one beside it that trusts the same root and has nothing.
fn two_stores(world: &World, revisions: &[(&Revision, &[&str])]) -> (Server, Server) {
    let (from, to) = (Server::start(), Server::start());
    from.trust(world);
    to.trust(world);
    for (revision, channels) in revisions {
        from.push_pair(revision, channels, "ubuntu");
    }
    (from, to)
}

#[test]
fn what_is_fetched_from_one_store_is_installed_from_another() {
    let world = World::new();
    let hello = world.snap("hello").base("core-base").component("extra", 9).payload(300_000);
    let hello = hello.yaml(
        "plugs:\n  theme:\n    interface: content\n    target: $SNAP/x\n    default-provider: themes\n",
    );
    let newer = hello.clone().declaration_at(3, 6);
    let (first, second) = (hello.revision(1), newer.revision(2));
    let base = world.snap("core-base").kind("base").revision(3);
    let snapd = world.snap("snapd").kind("snapd").revision(100);
    let themes = world.snap("themes").base("core-base").revision(4);
    let (from, to) = two_stores(
        &world,
        &[(&base, &["latest/stable"]), (&snapd, &["latest/stable"]), (&themes, &["latest/stable"])],
    );
    let bundle = Bundle::new(&hello, &[(&first, &["latest/stable"]), (&second, &["latest/edge"])]);
    let mut members = bundle.members();
    let mut seen = std::collections::BTreeSet::new();
    members.retain(|member| seen.insert(member.name.clone()));
    members.push(Member { name: "hello.icon.png".into(), bytes: b"\x89PNG a picture".to_vec() });
    from.with_file("hello.tar.gz", &gzip(&archive(&members)), |path| {
        let _ = from.proxy(&["push-snap", path]).ok();
    });

    let host = Connected::to(&from.url, &world);
    let fetched = host.fetch(&[
        "hello",
        "--channel=stable",
        "--channel=edge",
        "--architecture=amd64",
        "--with-dependencies",
    ]);
    assert!(!fetched.stderr.contains("needs"), "{}", fetched.stderr);
    let printed = fetched.ok();
    let bundles = host.bundles();
    assert_eq!(bundles.len(), 4, "{bundles:?}");
    assert!(printed.starts_with("Fetching channel map info for hello\n"), "{printed}");
    let own = bundles.iter().find(|path| text(path).contains("/hello-")).expect("the bundle of hello");
    assert!(printed.contains(&format!("\nDownloaded hello to {}\n", own.display())), "{printed}");
    assert!(host.parts().is_empty(), "nothing is left behind");
    for bundle in &bundles {
        let inspected = host.proxy(&["inspect", text(bundle), "--trust", &host.text("root.assert")]).ok();
        assert!(inspected.ends_with("Verified: yes\n"), "{inspected}");
        let refused = host.proxy(&["inspect", text(bundle)]);
        assert!(refused.stdout.ends_with("Verified: no\n") && refused.code == Some(1), "{refused:?}");
        assert!(refused.stderr.contains("give --trust FILE with that root"), "{refused:?}");
    }

    push_all(&to, &bundles);
    for version in Snapd::ALL {
        let mut here = Device::anonymous(&from, version);
        let mut there = Device::anonymous(&to, version).trusting(&world);
        for (channel, revision) in [("stable", &first), ("edge", &second)] {
            let outcome = there.install("hello", channel).expect("an install from the second store");
            assert_eq!(outcome.snap.revision, revision.number);
            assert_eq!(there.fetch_and_check(&outcome).expect("the snap"), revision.image.bytes);
        }
        for revision in [&first, &second, &base, &snapd, &themes] {
            for document in revision.assertions() {
                let reference = document.reference();
                let served = there.assertion(&reference).expect("a document in the second store");
                assert_eq!(
                    served.bytes(),
                    here.assertion(&reference).expect("in the first").bytes(),
                    "{reference}"
                );
            }
        }
        assert_eq!(there.info("hello").expect("an info"), here.info("hello").expect("an info"));
    }
    let outcome = Device::anonymous(&to, Snapd::V2_77).install("hello", "stable").expect("an install");
    let resource = outcome.snap.resources.first().expect("the component");
    let link = resource.download.clone().expect("its link");
    let bytes = Device::anonymous(&to, Snapd::V2_77).download(&link).expect("the component");
    assert_eq!(bytes, first.components[0].image.bytes);
    let info = Device::anonymous(&to, Snapd::V2_77).info_get("hello", "media");
    assert!(to.send(&info).text().contains("/icons/"), "the icon came along");

    // What was carried before is not carried again.
    let again = host.fetch(&["hello", "--channel=stable", "--channel=edge", "--since", text(own)]);
    assert!(again.stderr.contains("nothing is new for hello"), "{again:?}");
    assert_eq!(host.bundles().len(), 4);
    from.push_pair(&newer.revision(5), &["latest/edge"], "ubuntu");
    let printed = host.fetch(&["hello", "--channel=edge", "--since", text(own)]).ok();
    let path = printed.split_whitespace().last().expect("a path");
    let inspected = host.proxy(&["inspect", path, "--trust", &host.text("root.assert")]).ok();
    assert!(inspected.contains("hello_5.snap") && !inspected.contains("hello_2.snap "), "{inspected}");
    assert!(!inspected.contains("extra_9.comp"), "{inspected}");
    push_all(&to, &[path.into()]);
    let outcome = Device::anonymous(&to, Snapd::V2_77).install("hello", "edge").expect("an install");
    assert_eq!((outcome.snap.revision, outcome.snap.resources.len()), (5, 1));
}

#[test]
fn what_is_missing_is_told_and_several_snaps_fit_into_one_bundle() {
    let world = World::new();
    let tool = world.snap("tool").base("core-base").revision(7);
    let other = world.snap("other").base("core-base").revision(8);
    let (from, to) = two_stores(&world, &[(&tool, &["2/edge/fix-7"]), (&other, &["latest/stable"])]);
    let host = Connected::to(&from.url, &world);
    let list =
        host.file("snaps.yaml", "packages:\n  - name: tool\n    channel: 2/edge/fix-7\n  - name: other\n");
    let fetched = host.fetch(&["--from-yaml", &list, "--single"]);
    assert!(fetched.stderr.contains("tool needs core-base, which is in none"), "{fetched:?}");
    let printed = fetched.ok();
    assert_eq!(host.bundles().len(), 1, "{printed}");
    push_all(&to, &host.bundles());
    let mut device = Device::anonymous(&to, Snapd::V2_77).trusting(&world);
    assert_eq!(device.install("tool", "2/edge/fix-7").expect("the branch").snap.revision, 7);
    assert_eq!(device.install("other", "stable").expect("the other").snap.revision, 8);

    let wanted = host.fetch(&["tool", "--with-dependencies", "--channel=2/edge/fix-7"]);
    assert!(wanted.stderr.contains("tool needs core-base"), "a base that nobody has is told: {wanted:?}");
    assert_eq!(wanted.code, Some(0));
    // One that an architecture lacks is fetched for the other.
    let base = world.snap("core-base").kind("base").architectures(&["amd64"]).revision(3);
    from.push_pair(&base, &["latest/stable"], "ubuntu");
    let wanted = host.fetch(&["other", "--with-dependencies", "--arch=amd64", "--arch=arm64"]);
    let lacking = "other needs core-base: snap core-base has nothing at channel latest/stable for arm64";
    assert!(wanted.stderr.contains(lacking), "{wanted:?}");
    assert!(wanted.ok().contains("\nDownloaded core-base to "), "it is there for amd64");
}

#[test]
fn a_revision_is_released_on_site_where_the_operator_says() {
    let world = World::new();
    let snap = world.snap("tool");
    let (from, to) = two_stores(
        &world,
        &[(&snap.revision(6), &["latest/stable"]), (&snap.revision(7), &["latest/stable"])],
    );
    let host = Connected::to(&from.url, &world);
    let _ = host.fetch(&["tool", "--revision=6", "--channel=14/edge"]).ok();
    push_all(&to, &host.bundles());
    let mut device = Device::anonymous(&to, Snapd::V2_77).trusting(&world);
    assert_eq!(device.install("tool", "14/edge").expect("the new track").snap.revision, 6);
    // A release on site is new even if its revision was carried before, and what was carried is not new again.
    let bundles = host.bundles();
    let mut since = vec!["tool", "--revision=6", "--channel=15/edge", "--since", text(&bundles[0])];
    let printed = host.fetch(&since).ok();
    let path = printed.split_whitespace().last().expect("a path").to_owned();
    push_all(&to, &[(&path).into()]);
    assert_eq!(device.install("tool", "15/edge").expect("the other track").snap.revision, 6);
    since.extend(["--since", &path]);
    let again = host.fetch(&since);
    assert!(again.stderr.contains("nothing is new for tool"), "{again:?}");
    // It stands beside the channels of the other revisions.
    let list = host.file(
        "snaps.yaml",
        "packages:\n  - name: tool\n    revision: 6\n    push_channel: 16/edge\n  - name: tool\n    revision: 7\n",
    );
    let printed = host.fetch(&["--from-yaml", &list]).ok();
    push_all(&to, &[printed.split_whitespace().last().expect("a path").into()]);
    assert_eq!(device.install("tool", "16/edge").expect("the track of the list").snap.revision, 6);
    assert_eq!(device.install("tool", "stable").expect("the channel upstream").snap.revision, 7);
    for (name, args) in [
        ("nothing at channel 3/stable for amd64, only latest/stable for", &["tool", "--channel=3"][..]),
        ("nothing at revision 9", &["tool", "--revision=9"]),
        ("snap never-was is not visible without a login", &["never-was"]),
    ] {
        let refusal = host.fetch(args).refused();
        assert!(refusal.contains(name), "{refusal}");
    }
    // All of what is not there is told at once, and is no reason to go without the rest.
    let list = host.file(
        "misses.yaml",
        "packages:\n  - name: tool\n    channel: 3/stable\n  - name: never-was\n  - name: tool\n  - name: nor-was\n",
    );
    let bundles = host.bundles().len();
    let refusal = host.fetch(&["--from-yaml", &list]).refused();
    for part in ["never-was", "nor-was", "nothing at channel 3/stable", "--skip-missing"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert_eq!(host.bundles().len(), bundles);
    let fetched = host.fetch(&["--from-yaml", &list, "--skip-missing"]);
    for part in ["never-was", "nor-was", "nothing at channel 3/stable"] {
        assert!(fetched.stderr.contains(part), "{part}: {fetched:?}");
    }
    assert!(fetched.ok().contains("Downloaded tool to "));
    let refusal = host.fetch(&["never-was", "--skip-missing"]).refused();
    assert!(refusal.contains("snap never-was is not visible") && !refusal.contains("--skip"), "{refusal}");
}

#[test]
fn what_anybody_sees_upstream_belongs_to_the_global_store_on_site() {
    let world = World::new();
    let revisions = ["core-base", "acme-app"].map(|name| world.snap(name).revision(3));
    let [base, app] = &revisions;
    let (from, _) = two_stores(&world, &[(base, &["latest/stable"]), (app, &["latest/stable"])]);
    let given =
        |request: &Request, name: &str| request.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let relay = Relay::start(&from, move |request, _| {
        let nobody = !given(request, "authorization") && !given(request, "snap-device-store");
        match nobody && request.target.contains("/info/acme-app") {
            true => Fault::Answer(404, vec![], String::new()),
            false => Fault::Pass,
        }
    });
    let host = Connected::to(&relay.url, &world);
    let login = host.file("viewer.login", super::logins::macaroon("root", "d|acl|[\"package_access\"]", 1));
    for (single, bundles) in [(&["--single"][..], 1), (&[], 2)] {
        let _ = fs::remove_dir_all(host.path("out"));
        let args = ["acme-app", "core-base", "--auth", &login, "--store", "AcmeStore"];
        let _ = host.fetch(&[&args[..], single].concat()).ok();
        assert_eq!(host.bundles().len(), bundles);
        let to = Server::start();
        to.trust(&world);
        push_all(&to, &host.bundles());
        let told = to.proxy(&["list-pushed-snaps"]).ok();
        let stores: Vec<&str> = told.split_whitespace().skip(2).collect();
        assert_eq!(stores, ["acme-app", "AcmeStore", "core-base", "ubuntu"], "{told}");
    }
    // What cannot be asked stays with the brand store.
    let closed = Relay::start(&from, move |request, _| match given(request, "authorization") {
        true => Fault::Pass,
        false => Fault::Answer(401, vec![], String::new()),
    });
    let _ = host.proxy(&["config", &format!("proxy.upstream={}", closed.url)]).ok();
    let _ = fs::remove_dir_all(host.path("out"));
    let ran = host.fetch(&["core-base", "--auth", &login, "--store", "AcmeStore"]);
    assert!(ran.stderr.contains("push its bundle with `--store ubuntu`"), "{}", ran.stderr);
    let inspected = host.proxy(&["inspect", text(&host.bundles()[0])]).stdout;
    assert!(
        inspected.contains("fetched from store AcmeStore") && !inspected.contains("belongs to"),
        "{inspected}"
    );
}

#[test]
fn models_and_validation_sets_bring_what_they_name() {
    let world = World::new();
    let brand = world.brand("acme");
    let snap = world.snap("tool").base("core-base");
    let base = world.snap("core-base").kind("base").revision(3);
    let snapd = world.snap("snapd").kind("snapd").revision(100);
    let (first, second) = (snap.revision(1), snap.revision(2));
    let (from, to) = two_stores(
        &world,
        &[
            (&first, &["latest/stable"]),
            (&second, &["latest/stable"]),
            (&base, &["latest/stable"]),
            (&snapd, &["latest/stable"]),
        ],
    );
    from.push_brand(&brand);
    let entry = map(&[("name", "tool"), ("id", &snap.id), ("presence", "required"), ("revision", "1")]);
    let set = brand.validation_set("line-a", 4, vec![entry]);
    let sent = from.try_push_assertions(&stream(std::slice::from_ref(&set)));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let model = brand
        .model_of("gateway")
        .header("required-snaps", vec![HeaderValue::from("tool")])
        .sign(&brand.model_key());
    let host = Connected::to(&from.url, &world);
    let model = host.file("gateway.model", model.bytes());
    let run = host.fetch(&[
        "--model",
        &model,
        "--validation-set",
        "acme/line-a",
        "--with-dependencies",
        "--single",
    ]);
    assert!(!run.stderr.contains("needs"), "{}", run.stderr);
    let _ = run.ok();
    push_all(&to, &host.bundles());
    to.push_brand(&brand);
    let mut device = Device::anonymous(&to, Snapd::V2_77).trusting(&world);
    assert_eq!(device.install("tool", "stable").expect("the released one").snap.revision, 2);
    let pinned =
        device.act_on_one(tests::device::Action::Install("tool".into(), tests::device::Wanted::revision(1)));
    assert_eq!(pinned.expect("the pinned one").snap.revision, 1);
    let served = device.sequence(AssertionType::ValidationSet, &["16", "acme", "line-a"], None);
    assert_eq!(served.expect("the set").bytes(), set.bytes());
    let refusal = host.fetch(&["tool", "--validation-set", "acme/line-b"]).refused();
    assert!(refusal.contains("no validation set acme/line-b"), "{refusal}");
}

#[test]
fn keys_come_with_their_chain_and_are_named_when_malformed() {
    let world = World::new();
    let brand = world.brand("acme");
    let (from, to) = two_stores(&world, &[]);
    from.push_brand(&brand);
    let host = Connected::to(&from.url, &world);
    let (models, serials) = (brand.model_key(), brand.serial_key());
    let (out, root) = (host.text("out"), host.text("root.assert"));
    let fetch = |args: &[&str]| {
        host.proxy(&[&["fetch-account-keys", "--export-dir", &out, "--trust", &root], args].concat())
    };
    let printed = fetch(&["acme", models.public().id(), serials.public().id()]).ok();
    let path = printed.split_whitespace().last().expect("a path").to_owned();
    let documents = Assertion::decode_stream(&std::fs::read(&path).expect("the file")).expect("assertions");
    assert_eq!(documents.len(), 4, "account, two keys and the store's key");
    let inspected = host.proxy(&["inspect", &path, "--trust", &root]).ok();
    assert!(inspected.contains("models of acme") && inspected.ends_with("Verified: yes\n"), "{inspected}");
    // A bad file does not stop the others, and each has its name.
    let bad = host.file("bad.assert", "type: account-key\n");
    let ran = to.proxy(&["push-account-keys", &bad, &path]);
    assert!(ran.stdout.contains(&format!("{path}:\nAdded account")), "{ran:?}");
    assert!(ran.refused().contains(&format!("cannot push {bad}: ")));
    let json = to.proxy(&["push-account-keys", &path, "--json"]).json();
    assert_eq!((&json["files"][0]["file"], &json["files"][0]["added"]), (&json!(path), &json!([])));
    let refused = to.proxy(&["push-snap", "-"]).refused();
    assert!(refused.contains("name that file instead of -"), "{refused}");
    let twice = fetch(&["acme", models.public().id(), models.public().id()]).ok();
    assert!(twice.contains("Downloaded 1 account keys to "), "{twice}");
    let id = models.public().id().to_owned();
    for (until, wanted) in [(SINCE, "is revoked"), ("2021-01-01T00:00:00Z", "is valid only until 2021-01-01")]
    {
        let key = world.account_key_of("acme", "models", &models).header("until", until);
        let text = String::from_utf8(world.sign(&key).bytes().to_vec()).expect("text");
        let (own, id) = (format!("/account-key/{id}"), id.clone());
        let relay = Relay::start(&from, move |request, _| match request.target.contains(&own) {
            true => Fault::Answer(200, vec![], text.clone()),
            false => Fault::Pass,
        });
        let _ = host.proxy(&["config", &format!("proxy.upstream={}", relay.url)]).ok();
        let ran = fetch(&["acme", &id]);
        assert!(ran.stderr.contains(wanted), "{ran:?}");
        assert!(ran.ok().contains("Downloaded 1 account keys to "), "a site learns of it");
    }
    let _ = host.proxy(&["config", &format!("proxy.upstream={}", from.url)]).ok();
    for (args, wanted) in [
        (&["acme", models.public().id(), "\\"][..], "malformed key id \"\\\\\""),
        (&["acme", "short"], "malformed key id \"short\""),
        (&["ac me", models.public().id()], "malformed account id"),
        (&["other", models.public().id()], "belongs to account acme"),
        (&["acme", &"A".repeat(64)], "has no account-key AAAA"),
    ] {
        let refusal = fetch(args).refused();
        assert!(refusal.contains(wanted), "{refusal}");
    }
}

#[test]
fn only_the_configured_certificates_are_trusted() {
    let world = World::new();
    let folder = tempfile::tempdir().expect("there is room");
    let data_dir = folder.path().join("store");
    let values =
        ["proxy.domain=127.0.0.1", "proxy.ipaddress=127.0.0.1", "proxy.port.http=0", "proxy.port.https=0"];
    let _ = proxy(&data_dir, &[&["config"], &values[..]].concat()).ok();
    let _ = proxy(&data_dir, &["ca", "init"]).ok();
    let _ = proxy(&data_dir, &["ca", "issue-server"]).ok();
    let certificate = proxy(&data_dir, &["ca", "show"]).ok();
    let from = Setup::empty().start_at(&data_dir).unwrap_or_else(|failure| panic!("{failure}"));
    let _ = from.proxy(&["enable-airgap-mode"]).ok();
    from.trust(&world);
    from.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    assert!(from.url.starts_with("https://"), "{}", from.url);
    let host = Connected::to(&from.url, &world);
    let refusal = host.fetch(&["hello"]).refused();
    assert!(refusal.contains("cannot reach https://127.0.0.1"), "{refusal}");
    assert!(refusal.contains("proxy.ca-certs"), "{refusal}");
    let file = host.file("upstream.pem", certificate);
    let _ = host.proxy(&["use-ca-certs", &file]).ok();
    let _ = host.fetch(&["hello"]).ok();
    assert_eq!(host.bundles().len(), 1);
}
