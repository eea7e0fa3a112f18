//! A5 to A12: what the files of a bundle can say.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::attack::until;
use tests::bundle::{Bundle, Member, Release, archive, gzip, store_metadata};
use tests::device::{Device, Snapd};
use tests::snap::Image;
use tests::world::stream;

use super::{Siege, within};

/// A bundle of a new revision whose members were changed.
fn changed(siege: &Siege, change: impl Fn(&mut Member)) -> Vec<u8> {
    let new = siege.hello.revision(2);
    let mut members = Bundle::new(&siege.hello, &[(&new, &["latest/stable"])]).members();
    members.iter_mut().for_each(change);
    gzip(&archive(&members))
}

/// The same with other metadata.
fn with_metadata(siege: &Siege, metadata: &[u8]) -> Vec<u8> {
    changed(siege, |member| {
        if member.name == "metadata.json" {
            metadata.clone_into(&mut member.bytes);
        }
    })
}

#[test]
fn json_bombs() {
    let siege = Siege::new();
    let honest =
        Bundle::new(&siege.hello, &[(&siege.hello.revision(2), &["latest/stable"])]).metadata().to_string();
    let deep = "[".repeat(200_000);
    let nested =
        honest.replacen("\"media\":[]", &format!("\"media\":{}{}", "[".repeat(500), "]".repeat(500)), 1);
    let cases = [
        ("depth", deep.clone()),
        ("depth inside", nested),
        ("a number too large", honest.replace("\"revision\":2", "\"revision\":1e400")),
        ("a number that is no revision", honest.replace("\"revision\":2", "\"revision\":2.5")),
        ("a negative revision", honest.replace("\"revision\":2", "\"revision\":-2")),
        ("a revision of text", honest.replace("\"revision\":2", "\"revision\":\"2\"")),
        ("a name twice", honest.replacen('{', "{\"name\":\"other\",", 1)),
        ("a map that is a number", honest.replace("\"channel-map\":[", "\"channel-map\":1,\"x\":[")),
        ("no JSON", "{".to_owned()),
        ("an endless text", format!("{{\"name\":\"{}\"}}", "a".repeat(40 << 20))),
    ];
    for (what, metadata) in &cases {
        let bundle = with_metadata(&siege, metadata.as_bytes());
        let ran = within(Duration::from_secs(10), what, || siege.store.try_push_bundle(&bundle));
        let reason = if metadata.len() > 32 << 20 { "limit" } else { "metadata.json" };
        siege.assert_refused(what, &ran, reason);
    }
    // The same for the metadata of a brand's store.
    let honest = store_metadata("AcmeStore", "acme", &[&siege.hello]).to_string();
    let cases = [
        ("depth", deep),
        ("a name twice", honest.replacen("\"id\":", "\"id\":\"OtherStore\",\"id\":", 1)),
        ("wrong types", honest.replace("\"snaps\":{", "\"snaps\":7,\"x\":{")),
        ("no JSON", "]".to_owned()),
        ("an id that is none", honest.replace("AcmeStore", "../AcmeStore")),
    ];
    for (what, metadata) in cases {
        let push = |path: &str| siege.store.proxy(&["push-brand-store-metadata", path]);
        let ran = siege.store.with_file("store.json", metadata.as_bytes(), push);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stdout);
        siege.assert_untouched(what);
    }
}

#[test]
fn right_signature_wrong_bytes() {
    let siege = Siege::new();
    let (second, third) = (siege.hello.revision(2), siege.hello.revision(3));
    let foreign = siege.world.snap("other").revision(2);
    let swap = |bytes: &[u8]| {
        changed(&siege, |member| {
            if member.name.ends_with(".snap") {
                bytes.clone_into(&mut member.bytes);
            }
        })
    };
    let mut flipped = second.image.bytes.clone();
    flipped[1000] ^= 1;
    let mut longer = second.image.bytes.clone();
    longer.extend([0; 4096]);
    for (what, bytes) in [
        ("another revision's bytes", &third.image.bytes),
        ("another snap's bytes", &foreign.image.bytes),
        ("one bit", &flipped),
        ("more bytes", &longer),
        ("fewer bytes", &second.image.bytes[..4096.min(second.image.bytes.len() - 1)].to_vec()),
        ("no bytes", &Vec::new()),
    ] {
        siege.assert_refused(what, &siege.store.try_push_bundle(&swap(bytes)), "hello_2.snap");
    }
    // Documents that are true each, and together lie.
    let fresh = siege.world.snap("fresh");
    let revision = fresh.revision(2);
    let with = |documents: &[schema::assertion::Assertion]| {
        let mut all = vec![siege.world.store_key(), siege.world.account("dev")];
        all.extend(documents.iter().cloned());
        stream(&all)
    };
    let lies: Vec<(&str, Vec<u8>)> = vec![
        ("another snap's declaration", with(&[foreign.snap.declaration(), revision.assertion()])),
        (
            "a size that is not the file's",
            with(&[fresh.declaration(), siege.world.sign(&revision.document().header("snap-size", "4097"))]),
        ),
        ("no revision", with(&[fresh.declaration()])),
        ("no declaration", with(&[revision.assertion()])),
        (
            "an unknown publisher",
            with(&[fresh.clone().publisher("nobody").declaration(), revision.assertion()]),
        ),
        (
            "a declaration of no name",
            with(&[siege.world.snap("").id(&fresh.id).declaration(), revision.assertion()]),
        ),
    ];
    for (what, documents) in lies {
        let mut members = Bundle::new(&fresh, &[(&revision, &["latest/stable"])]).members();
        for member in members.iter_mut().filter(|member| member.name.ends_with(".assert")) {
            documents.clone_into(&mut member.bytes);
        }
        let ran = siege.store.try_push_bundle(&gzip(&archive(&members)));
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stdout);
        siege.assert_untouched(what);
    }
    // A signed revision over bytes that are no snap, and over a snap of another name.
    for (what, image) in [
        ("no squashfs", Image::of(b"not a snap".repeat(1000))),
        ("another name inside", foreign.image.clone()),
    ] {
        let revision = siege.hello.with_image(4, "4", image);
        let ran = siege.store.try_push_pair(&revision, &["latest/stable"], "ubuntu");
        siege.assert_refused(what, &ran, "hello_4.snap");
    }
    // The honest ones still go in.
    siege.store.push_pair(&second, &["latest/stable"], "ubuntu");
}

#[test]
fn older_never_replaces_newer() {
    let siege = Siege::new();
    let newer = siege.hello.clone().declaration_at(5, 0).declared("aliases", Vec::<String>::new());
    let _ = siege.store.try_push_assertions(newer.declaration().bytes()).ok();
    let reference = newer.declaration().reference();
    let ran = siege.store.try_push_assertions(siege.hello.declaration().bytes());
    assert_eq!(ran.code, Some(0), "what is held already is no error: {}", ran.stderr);
    let mut device = Device::anonymous(&siege.store, Snapd::V2_77).trusting(&siege.world);
    assert_eq!(device.assertion(&reference).expect("the newer one").bytes(), newer.declaration().bytes());

    // A new bundle, then an old medium with an older map.
    let (first, second) = (siege.hello.revision(1), siege.hello.revision(2));
    let new = Bundle::new(&siege.hello, &[(&second, &["latest/stable"])]);
    siege.store.push_bundle(&new);
    let old = Bundle::new(&siege.hello, &[(&first, &["latest/stable"])]);
    let ran = siege.store.try_push_bundle(&old.pack());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("--push-channel-map"), "the operator is told how to insist: {}", ran.stderr);
    assert_eq!(device.install("hello", "stable").expect("the newer map").snap.revision, 2);
    let insist = |path: &str| siege.store.proxy(&["push-snap", path, "--push-channel-map"]).ok();
    let _ = siege.store.with_file("hello-20240102T030405.tar.gz", &old.pack(), insist);
    assert_eq!(device.install("hello", "stable").expect("the older map, on request").snap.revision, 1);
}

#[test]
fn numbers_have_bounds() {
    let siege = Siege::new();
    let key = siege.world.key("store");
    let honest = siege.hello.revision(2).assertion();
    let honest = std::str::from_utf8(honest.content()).expect("text");
    let numbers =
        ["0", "-1", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "01", "1e3"];
    for number in numbers {
        // Signed by whom it takes, as no honest signer would.
        let content = honest.replace("snap-revision: 2\n", &format!("snap-revision: {number}\n"));
        assert_ne!(content, honest, "a number to put another one in place of");
        let document = format!("{content}\n\n{}\n", key.sign(content.as_bytes(), 1_800_000_000));
        let mut documents =
            stream(&[siege.world.store_key(), siege.world.account("dev"), siege.hello.declaration()]);
        documents.push(b'\n');
        documents.extend(document.into_bytes());
        let bundle = changed(&siege, |member| {
            if member.name.ends_with(".assert") {
                documents.clone_into(&mut member.bytes);
            }
        });
        let ran = siege.store.try_push_bundle(&bundle);
        assert_eq!(ran.code, Some(1), "{number}: {}", ran.stdout);
        siege.assert_untouched(number);
    }
}

#[test]
fn no_channel_points_at_nothing() {
    let siege = Siege::new();
    let second = siege.hello.revision(2);
    let mut bundle = Bundle::new(&siege.hello, &[(&second, &["latest/edge"])]);
    for (channel, revision) in [("latest/beta", 99), ("latest/stable", 77)] {
        bundle.releases.push(Release {
            channel: channel.to_owned(),
            architecture: "amd64".to_owned(),
            revision,
        });
    }
    let ran = siege.store.try_push_bundle(&bundle.pack());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("99") && ran.stderr.contains("77"), "each is reported: {}", ran.stderr);
    let mut device = Device::anonymous(&siege.store, Snapd::V2_77).trusting(&siege.world);
    let info = device.info("hello").expect("an info");
    assert!(info.channels.iter().all(|(_, revision)| [1, 2].contains(revision)), "{info:?}");
    for channel in ["latest/stable", "latest/beta", "latest/edge"] {
        let outcome = device.install("hello", channel).expect("something that is there");
        device.fetch_and_check(&outcome).expect("whole");
    }
    // Metadata that grants what nobody pushed is kept, and status says so.
    let ghost = siege.world.snap("ghost");
    siege.store.push_store("AcmeStore", "acme", &[&siege.hello, &ghost]);
    let status = siege.store.proxy(&["status"]);
    assert!(status.stdout.contains("ghost"), "{}", status.stdout);
    // Another brand cannot take a store over.
    let stolen = serde_json::to_vec(&store_metadata("AcmeStore", "bolt", &[&siege.hello])).expect("JSON");
    let push = |path: &str| siege.store.proxy(&["push-brand-store-metadata", path]);
    let refusal = siege.store.with_file("store.json", &stolen, push).refused();
    assert!(refusal.contains("AcmeStore") && refusal.contains("acme"), "{refusal}");
    let mut global: Value = store_metadata("ubuntu", "acme", &[&siege.hello]);
    global["stores"][0]["brand-id"] = json!("acme");
    let global = serde_json::to_vec(&global).expect("JSON");
    let _ = siege.store.with_file("store.json", &global, push).refused();
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    let siege = Siege::new();
    let snap = siege.hello.clone().payload(2_000_000);
    let good = snap.revision(2);
    // The same snap, as far as anybody sees who looks into it: only its payload is another one.
    let mut evil = good.image.bytes.clone();
    evil[200_000..1_800_000].iter_mut().for_each(|byte| *byte ^= 0x55);
    let folder = tempfile::tempdir().expect("there is room");
    let path = tests::bundle::write_pair(folder.path(), &good);
    let file = fs::File::options().write(true).open(&path).expect("it was written");
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..10 {
        let stop = AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut flip = false;
                while !stop.load(Ordering::Relaxed) {
                    flip = !flip;
                    let bytes = if flip { &evil } else { &good.image.bytes };
                    // In place, so that it never gets shorter.
                    file.write_all_at(bytes, 0).expect("it can be written");
                }
            });
            let args = ["push-snap", path.to_str().expect("text"), "--channel", "latest/edge"];
            let ran = siege.store.proxy(&args);
            stop.store(true, Ordering::Relaxed);
            ran
        });
        match ran.code {
            Some(0) => taken += 1,
            Some(1) => refused += 1,
            other => panic!("{other:?}: {}", ran.stderr),
        }
        let mut device = Device::anonymous(&siege.store, Snapd::V2_77).trusting(&siege.world);
        if let Ok(outcome) = device.install("hello", "latest/edge") {
            device.fetch_and_check(&outcome).expect("what is visible is whole and signed");
        }
    }
    println!("{taken} pushes taken, {refused} refused while the file changed");
}

#[test]
fn cut_off_anywhere() {
    let siege = Siege::new();
    let second = siege.hello.revision(2);
    let bundle = Bundle::new(&siege.hello, &[(&second, &["latest/stable"])]);
    let whole = bundle.pack();
    let plain = archive(bundle.members().iter());
    for (form, bytes) in [("compressed", &whole), ("plain", &plain)] {
        for part in 0..24 {
            let length = bytes.len() * part / 24;
            let ran = siege.store.try_push_bundle(&bytes[..length]);
            assert_eq!(ran.code, Some(1), "{length} of {} bytes, {form}: {}", bytes.len(), ran.stdout);
        }
        siege.assert_untouched(form);
        assert_eq!(siege.staged(), 0, "{form}: what was staged goes");
    }
    // A reader that goes away in the middle of sending.
    use std::os::unix::net::UnixStream;
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        let mut socket =
            UnixStream::connect(siege.store.data_dir.join("admin.sock")).expect("the admin socket");
        let head = format!(
            "POST /v1/snaps?file=x.tar.gz HTTP/1.1\r\nHost: airlock\r\nContent-Length: {}\r\n\r\n",
            whole.len()
        );
        std::io::Write::write_all(&mut socket, head.as_bytes()).expect("the head goes out");
        std::io::Write::write_all(&mut socket, &whole[..length]).expect("a part goes out");
        drop(socket);
    }
    // The next push comes after them in the same queue, and nothing of them is left then.
    siege.assert_refused("nothing", &siege.store.try_push_bundle(b""), "bundle");
    until("what was staged is gone", Duration::from_secs(10), || siege.staged() == 0);
    let ran = siege.store.try_push_bundle(&whole);
    assert_eq!(ran.code, Some(0), "the whole file: {}", ran.stderr);
}

#[test]
fn one_bad_document_refuses_the_file() {
    let siege = Siege::new();
    let world = &siege.world;
    let brand = world.brand("acme");
    let stranger = tests::world::World::rooted("stranger");
    let good: Vec<Vec<u8>> = {
        let mut all = schema::assertion::Assertion::decode_stream(&brand.account_keys()).expect("documents");
        all.push(brand.model("gateway"));
        all.into_iter().map(|one| one.bytes().to_vec()).collect()
    };
    let mut broken = good[2].clone();
    broken[40] ^= 4;
    let poisons: Vec<(&str, Vec<u8>)> = vec![
        ("a stranger's account", stranger.account("mallory").bytes().to_vec()),
        ("a flipped bit", broken),
        ("no assertion", b"type: model\n\nnothing\n".to_vec()),
        ("a missing prerequisite", {
            let key = world.key("device-1");
            world.sign(&world.account_key_of("nobody-known", "lonely", &key)).bytes().to_vec()
        }),
        ("an empty signature", b"type: account\nauthority-id: a\n\n\n".to_vec()),
    ];
    for (what, poison) in poisons {
        for place in 0..=good.len() {
            let mut texts = good.clone();
            texts.insert(place, poison.clone());
            let ran = siege.store.try_push_assertions(&texts.join(&b'\n'));
            assert_eq!(ran.code, Some(1), "{what} at {place}: {}", ran.stdout);
        }
        siege.assert_untouched(what);
    }
    // Any order does for the good ones.
    let mut shuffled = good.clone();
    shuffled.reverse();
    let _ = siege.store.try_push_assertions(&shuffled.join(&b'\n')).ok();
    let again = siege.store.try_push_assertions(&good.join(&b'\n'));
    assert_eq!(again.code, Some(0), "importing again is harmless: {}", again.stderr);
}
