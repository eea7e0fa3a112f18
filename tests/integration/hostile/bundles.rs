//! A1 to A4: what an archive can do to its reader.

use std::io::Write as _;
use std::time::Duration;

use tests::bundle::{Bundle, Member, gzip};

use super::archive::{Entry, archive, open_archive};
use super::{Siege, within};

/// The honest members of a bundle with a new revision.
fn members(siege: &Siege) -> Vec<Member> {
    let new = siege.hello.revision(2);
    Bundle::new(&siege.hello, &[(&new, &["latest/stable"])]).members()
}

/// Honest entries with others among them.
fn among(siege: &Siege, others: &[Entry]) -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        members(siege).iter().map(|member| Entry::file(&member.name, &member.bytes)).collect();
    entries.splice(1..1, others.iter().cloned());
    entries
}

#[test]
fn names_that_climb_or_deceive() {
    let siege = Siege::new();
    let climbing = format!("..{}", siege.around.path().join("victim").display());
    for (name, reason) in [
        (&b"../victim"[..], "victim"),
        (b"a/../../victim", "victim"),
        (b"/etc/passwd", "passwd"),
        (climbing.as_bytes(), "victim"),
        (b"..", ".."),
        (b"new\nline_2.snap", "line_2.snap"),
        (b"esc\x1b[31m_2.snap", "_2.snap"),
        (b"\xff\xfe_2.snap", "_2.snap"),
        (b"back\\..\\victim", "victim"),
        (b"a//b", "a//b"),
    ] {
        let bundle = gzip(&archive(&among(&siege, &[Entry::file(name, b"evil")])));
        let what = String::from_utf8_lossy(name).into_owned();
        let ran = siege.store.try_push_bundle(&bundle);
        siege.assert_refused(&what, &ran, reason);
        assert!(!ran.stderr.contains('\x1b'), "control characters reach the terminal: {:?}", ran.stderr);
    }
    // Through an extension a name can hold anything.
    for name in [&b"nul\0_2.snap"[..], b"../../victim", b"/victim", b""] {
        let entries = among(&siege, &[Entry::extension(&[("path", name)]), Entry::file("plain", b"evil")]);
        let ran = siege.store.try_push_bundle(&gzip(&archive(&entries)));
        assert_eq!(ran.code, Some(1), "{name:?}: {}", ran.stdout);
        siege.assert_untouched(&format!("{name:?}"));
    }
    // Names that differ only in case are one name on some file systems.
    let entries = among(&siege, &[Entry::file("HELLO_2.snap", b"evil")]);
    siege.assert_refused(
        "another case",
        &siege.store.try_push_bundle(&gzip(&archive(&entries))),
        "hello_2.snap",
    );
}

#[test]
fn only_regular_files() {
    let siege = Siege::new();
    for (kind, what) in [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a character device"),
        (b'4', "a block device"),
        (b'6', "a fifo"),
        (b'7', "a contiguous file"),
        (b'S', "a sparse file"),
        (b'M', "a continuation"),
        (b'V', "a volume label"),
        (b'Z', "an unknown type"),
    ] {
        let entry = Entry::special(kind, "hello_9.snap", "../victim");
        let ran = siege.store.try_push_bundle(&gzip(&archive(&among(&siege, &[entry]))));
        siege.assert_refused(what, &ran, "hello_9.snap");
    }
    // Folders are skipped, and odd modes and owners are not applied.
    let entries = among(&siege, &[Entry::special(b'5', "folder/", "")]);
    let ran = siege.store.try_push_bundle(&gzip(&archive(&entries)));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn headers_that_readers_understand_differently() {
    let siege = Siege::new();
    let honest = members(&siege);
    let snap = honest.iter().find(|member| member.name.ends_with(".snap")).expect("a snap");
    let twice = Entry::file(&snap.name, &snap.bytes);
    let size = |text: &[u8]| Entry::file("x", b"data").size(text);
    let hidden = archive(&[Entry::file("hidden_3.snap", b"evil")]);
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("a name twice", vec![twice]),
        ("a size that differs", vec![Entry::extension(&[("size", b"512")]), Entry::file("x", b"data")]),
        (
            "a size of nothing over hidden entries",
            vec![Entry::extension(&[("size", b"0")]), Entry::file("x", &hidden)],
        ),
        ("a negative size", vec![size(b"-0000000004\0")]),
        ("a size in base 256", vec![size(b"\x80\0\0\0\0\0\0\0\0\0\0\x04")]),
        ("a size with letters", vec![size(b"0000000000z\0")]),
        ("a sparse map", vec![Entry::extension(&[("GNU.sparse.major", b"1")]), Entry::file("x", b"data")]),
        (
            "an unknown extension",
            vec![Entry::extension(&[("hdrcharset", b"BINARY")]), Entry::file("x", b"data")],
        ),
        (
            "a path twice",
            vec![Entry::extension(&[("path", b"a"), ("path", b"b")]), Entry::file("x", b"data")],
        ),
        (
            "a record without a length",
            vec![Entry::file("x", b"path=a\n").kind(b'x'), Entry::file("x", b"data")],
        ),
        (
            "a record that is too long",
            vec![Entry::file("x", b"99 path=a\n").kind(b'x'), Entry::file("x", b"data")],
        ),
        ("a checksum that does not fit", vec![Entry::file("x", b"data").without_checksum()]),
        (
            "an extension of nothing",
            vec![Entry::extension(&[("comment", b"a")]), Entry::extension(&[("comment", b"b")])],
        ),
    ];
    for (what, others) in cases {
        let ran = siege.store.try_push_bundle(&gzip(&archive(&among(&siege, &others))));
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stdout);
        siege.assert_untouched(what);
    }
    // Harmless extensions are.
    let harmless = [("mtime", &b"1704164645.5"[..]), ("uname", b"root"), ("comment", b"made by hand")];
    let entries = among(&siege, &[Entry::extension(&harmless), Entry::file("note.txt", b"hello")]);
    let mut trailing = archive(&entries);
    trailing.extend([0; 2048]);
    trailing.extend(open_archive(&[Entry::file("late_3.snap", b"evil")]));
    let ran = siege.store.try_push_bundle(&gzip(&trailing));
    siege.assert_refused("an archive behind the archive", &ran, "after the end");
    let ran = siege.store.try_push_bundle(&gzip(&archive(&entries)));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// `times` gzip members of 64 MiB of zeros each: about 64 KiB that become 64 MiB, again and again.
fn zeros(head: &[u8], times: usize) -> Vec<u8> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    member.write_all(&vec![0; 64 << 20]).expect("memory takes every byte");
    let member = member.finish().expect("memory takes every byte");
    let mut out = gzip(head);
    (0..times).for_each(|_| out.extend(&member));
    out
}

#[test]
fn bombs() {
    let siege = Siege::new();
    let before = siege.peak_memory();
    let ten_gib = format!("{:011o}\0", (8u64 << 30) - 1);
    let big =
        |name: &str, kind: u8| open_archive(&[Entry::file(name, b"").kind(kind).size(ten_gib.as_bytes())]);
    let many: Vec<Entry> = (0..300_000).map(|number| Entry::file(format!("{number}"), b"")).collect();
    // Each is stopped by its own limit, whatever another one would have stopped later.
    let ratio = "decoded bytes per compressed byte";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("1 GiB of padding", zeros(&archive(&among(&siege, &[])), 16), ratio),
        ("10 GiB of padding", zeros(&archive(&among(&siege, &[])), 160), ratio),
        ("10 GiB of zeros in a snap", zeros(&big("hello_2.snap", b'0'), 160), ratio),
        ("10 GiB of zeros in an unknown file", zeros(&big("readme", b'0'), 160), ratio),
        ("a document of 8 GiB", zeros(&big("metadata.json", b'0'), 20), "bytes in one document"),
        ("an extension of 8 GiB", zeros(&big("PaxHeaders/x", b'x'), 20), "bytes in one extension header"),
        ("300,000 entries", gzip(&archive(&many)), "entries"),
    ];
    for (what, bundle, limit) in cases {
        let ran = within(Duration::from_secs(10), what, || siege.store.try_push_bundle(&bundle));
        siege.assert_refused(what, &ran, limit);
    }
    let grown = siege.peak_memory().saturating_sub(before);
    println!("memory grew by {} KiB over all bombs", grown / 1024);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}
