//! Files as people really have them (hazard M7): what is in one is taken, named, or the file is refused by its real cause.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tests::bundle::{Bundle, write_pair};
use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::server::{Server, Setup};
use tests::snap::Image;
use tests::world::World;

fn world_and_store() -> (World, Server) {
    let (world, store) = (World::new(), Setup::default().start());
    store.trust(&world);
    (world, store)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

/// A snap's file, packed by the tool that snapd uses.
fn packed(name: &str, compression: &str) -> Vec<u8> {
    let folder = TempDir::new().expect("there is room");
    let meta = folder.path().join("root/meta");
    fs::create_dir_all(&meta).expect("there is room");
    let yaml = format!("name: {name}\nversion: \"1\"\nsummary: {}\ndescription: x\n", "packed ".repeat(2000));
    fs::write(meta.join("snap.yaml"), yaml).expect("there is room");
    let done = Command::new("mksquashfs")
        .args(["root", "image", "-noappend", "-quiet", "-no-progress", "-all-root", "-comp", compression])
        .current_dir(folder.path())
        .output()
        .expect("mksquashfs is installed");
    assert!(done.status.success(), "{compression}: {}", String::from_utf8_lossy(&done.stderr));
    fs::read(folder.path().join("image")).expect("an image")
}

#[test]
fn a_snap_of_any_compression_is_judged_alike_by_inspect_and_the_store() {
    let (world, store) = world_and_store();
    let trusted = store.data_dir.join("root.assert");
    fs::write(&trusted, world.anchors()).expect("there is room");
    for (compression, number) in [("gzip", 1), ("lzo", 2), ("xz", 3), ("lz4", 4), ("zstd", 5), ("lzma", 6)] {
        let name = format!("by-{compression}");
        let snap = world.snap(&name);
        // No kernel mounts LZMA, and no tool of today writes it.
        let mut bytes = packed(&name, if compression == "lzma" { "gzip" } else { compression });
        if compression == "lzma" {
            bytes[20] = 2;
        }
        let revision = snap.with_image(number, "1", Image::of(bytes.clone()));
        let bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]).pack();
        let inspected = store.with_file("b.tar.gz", &bundle, |file| {
            store.proxy(&["inspect", file, "--trust", text(&trusted)])
        });
        let pushed = store.try_push_pair(&revision, &["latest/stable"], "ubuntu");
        if compression == "lzma" {
            for ran in [inspected, pushed] {
                let said = ran.refused();
                assert!(said.contains("compressed with LZMA, which no device can mount"), "{said}");
            }
            continue;
        }
        assert!(inspected.ok().contains("Verified: yes"), "{compression}");
        let _ = pushed.ok();
        let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
        let outcome = device.install(&name, "stable").expect("an install");
        assert_eq!(device.fetch_and_check(&outcome).expect("its file"), bytes, "{compression}");
    }
}

/// What a device reads about a snap.
fn texts(store: &Server, name: &str) -> Value {
    let request = Request::new("GET", &format!("/v2/snaps/info/{name}"), store.host())
        .header("Snap-Device-Series", "16")
        .header("Snap-Device-Architecture", "amd64");
    store.send(&request).json()["snap"].clone()
}

#[test]
fn the_texts_are_those_of_the_newest_revision_of_the_default_channel() {
    let (world, store) = world_and_store();
    let of = |number: u32, word: &str| {
        let yaml = format!(
            "title: {word} title\nlicense: {word}\nlinks:\n  website: [https://{word}.example]\n  contact: [mailto:{word}@x]\napps:\n  run:\n    command: bin/run\n    common-id: org.{word}\n"
        );
        let snap = world.snap("texts").summary(&format!("{word} summary")).yaml(&yaml);
        snap.revision(number)
    };
    let says = |word: &str| {
        let told = texts(&store, "texts");
        for (key, wanted) in [
            ("title", format!("{word} title")),
            ("summary", format!("{word} summary")),
            ("license", word.to_owned()),
            ("website", format!("https://{word}.example")),
            ("contact", format!("mailto:{word}@x")),
        ] {
            assert_eq!(told[key], *wanted, "{key}: {told}");
        }
        assert_eq!(told["links"]["website"][0], format!("https://{word}.example"), "{told}");
    };
    store.push_pair(&of(1, "old"), &["latest/stable"], "ubuntu");
    says("old");
    // Elsewhere than in the default channel it changes nothing.
    store.push_pair(&of(3, "edgy"), &["latest/edge"], "ubuntu");
    says("old");
    store.push_pair(&of(2, "new"), &["latest/stable"], "ubuntu");
    says("new");
    let found = |word: &str| {
        let request = Request::new("GET", &format!("/v2/snaps/find?q={word}"), store.host())
            .header("Snap-Device-Series", "16")
            .header("Snap-Device-Architecture", "amd64");
        store.send(&request).json()["results"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("new"), found("old")), (1, 0));
    let _ = store.proxy(&["release", "texts", "3", "stable", "--apply"]).ok();
    says("edgy");
    // A store's own words stand for the revisions that they were said of.
    let snap = world.snap("texts").summary("of the snap itself");
    let revision = snap.revision(5);
    store.push_bundle(&Bundle::new(&snap, &[(&revision, &["latest/stable"])]));
    assert_eq!(texts(&store, "texts")["summary"], "From the bundle");
    store.push_pair(&of(6, "newest"), &["latest/stable"], "ubuntu");
    says("newest");
}

#[test]
fn a_folder_of_a_mac_is_pushed_and_what_is_passed_over_is_named() {
    let (world, store) = world_and_store();
    let usb = TempDir::new().expect("there is room");
    let hello = world.snap("hello");
    let _ = write_pair(usb.path(), &hello.revision(1));
    let apple = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ";
    let litter = [
        "._hello_1.snap",
        "._hello_1.assert",
        "._x.tar.gz",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "hello_1.snap~",
    ];
    for name in litter {
        fs::write(usb.path().join(name), apple).expect("there is room");
    }
    for name in ["System Volume Information", ".Trashes", ".Spotlight-V100", "lost+found"] {
        fs::create_dir(usb.path().join(name)).expect("there is room");
    }
    fs::write(usb.path().join("alone_7.assert"), "x").expect("there is room");
    let ran = store.proxy(&["push-snap", text(usb.path()), "--channel", "stable"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("hello revision 1"), "{}", ran.stdout);
    for name in
        [&litter[..], &["System Volume Information", ".Trashes", "lost+found", "alone_7.assert"]].concat()
    {
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains(" hello_1.assert"), "{}", ran.stderr);
    let empty = TempDir::new().expect("there is room");
    let said = store.proxy(&["push-snap", text(empty.path())]).refused();
    assert!(said.contains("cannot find bundles or snaps in"), "{said}");
}

#[test]
fn a_file_with_nothing_in_it_is_refused_by_every_command() {
    let (_world, store) = world_and_store();
    let nothing: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b" \n\t\n", "white space"),
        (b"\xef\xbb\xbf\n", "white space"),
        (&[0; 64], "zero bytes"),
    ];
    for (bytes, word) in nothing {
        for command in [
            &["push-assertions"][..],
            &["push-account-keys"],
            &["push-brand-store-metadata"],
            &["push-snap"],
            &["push-store"],
            &["register", "--import"],
            &["trust", "add"],
            &["inspect"],
            &["use-ca-certs"],
            &["import-certificate"],
        ] {
            let said = store
                .with_file("file.tar.gz", bytes, |file| store.proxy(&[command, &[file]].concat()).refused());
            let named = ["empty", word, "no PEM", "not PEM"].iter().any(|word| said.contains(word));
            assert!(named, "{command:?} with {word}: {said}");
        }
    }
}

#[test]
fn what_a_file_is_instead_is_told() {
    let (world, store) = world_and_store();
    let revision = world.snap("hello").revision(1);
    let stream = String::from_utf8(revision.stream()).expect("a text");
    let utf16: Vec<u8> = stream.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let snap = world.snap("bundled");
    let bundle = Bundle::new(&snap, &[(&snap.revision(1), &["latest/stable"])]).pack();
    for (command, bytes, wanted) in [
        ("push-snap", &b"<!DOCTYPE html><title>Log in</title>"[..], "a web page"),
        ("push-snap", b"PK\x03\x04....", "a ZIP archive"),
        ("push-snap", &[&bundle[..], b"garbage"].concat(), "what follows the end of the archive"),
        ("push-snap", &bundle[..bundle.len() / 2], "cut off"),
        ("push-assertions", stream.replace('\n', "\r\n").as_bytes(), "its lines end in CR LF"),
        ("push-assertions", format!("\u{feff}{stream}").as_bytes(), "a byte order mark"),
        ("push-assertions", &utf16, "UTF-16"),
        ("push-assertions", b"{\"error-list\":[]}", "JSON"),
        ("push-assertions", b"<html>", "a web page"),
        (
            "import-certificate",
            b"-----BEGIN PGP MESSAGE-----\n\naGVsbG8=\n=abcd\n-----END PGP MESSAGE-----\n",
            "no certificate (there is PGP MESSAGE",
        ),
    ] {
        let said = store.with_file("file.tar.gz", bytes, |file| store.proxy(&[command, file]).refused());
        assert!(said.contains(wanted), "{command}: {wanted}: {said}");
    }
    let folder = TempDir::new().expect("there is room");
    let path = write_pair(folder.path(), &revision);
    for (name, wanted) in
        [("hello_1 (1).snap", "is not called NAME_REVISION.snap"), ("HELLO_1.SNAP", "is not in lower case")]
    {
        let copy = folder.path().join(name);
        fs::copy(&path, &copy).expect("there is room");
        fs::copy(path.with_extension("assert"), copy.with_extension("assert")).expect("there is room");
        let said = store.proxy(&["push-snap", text(&copy), "--channel", "stable"]).refused();
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn the_authorities_of_a_whole_system_are_taken() {
    let (_world, store) = world_and_store();
    let system =
        fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").expect("ca-certificates is installed");
    let count = system.matches("-----BEGIN CERTIFICATE-----").count();
    assert!(count > 100, "{count}");
    let taken = store.proxy(&["use-ca-certs", "/etc/ssl/certs/ca-certificates.crt", "--json"]).json();
    let (kept, left_out) = (&taken["ca-certs"], taken["left-out"].as_array().map_or(0, Vec::len));
    assert_eq!(
        kept.as_u64().and_then(|kept| usize::try_from(kept).ok()).map(|kept| kept + left_out),
        Some(count)
    );
    // Some expire each year.
    assert!(left_out < count / 5, "{taken}");
}
