//! Hostile and unusual bundles, built block by block; one case per rule.

use std::io::{self, Cursor, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::tar::BLOCK;
use super::*;

/// A header block, ustar unless a test changes it.
struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], kind: u8, size: u64) -> Self {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[136..147].copy_from_slice(b"00000000000");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block).with(124, format!("{size:011o}").as_bytes())
    }

    /// Overwrites bytes and corrects the checksum.
    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }

    /// Followed by its content, padded.
    fn holding(self, content: &[u8]) -> Vec<u8> {
        let mut bytes = [&self.0, content].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

fn entry(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    Block::new(name, kind, content.len() as u64).holding(content)
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name.as_bytes(), b'0', content)
}

/// A long name, GNU's way.
fn long_name(name: &[u8]) -> Vec<u8> {
    Block::new(b"././@LongLink", b'L', name.len() as u64).with(257, b"ustar  \0").holding(name)
}

fn pax(kind: u8, records: &str) -> Vec<u8> {
    entry(b"pax", kind, records.as_bytes())
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 2 * BLOCK]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(bytes).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

type Members = Vec<(String, MemberKind, Vec<u8>)>;

fn read_within(bytes: impl Read, limits: Limits) -> Result<Members, BundleError> {
    let mut bundle = BundleReader::new(bytes, limits)?;
    let mut members = Vec::new();
    while let Some(mut member) = bundle.next_member()? {
        let (path, kind) = (member.path().to_owned(), member.kind());
        let mut content = Vec::new();
        let mut buf = [0; 700];
        loop {
            match member.read_some(&mut buf)? {
                0 => break,
                count => content.extend_from_slice(&buf[..count]),
            }
        }
        assert_eq!(content.len() as u64, member.size());
        members.push((path, kind, content));
    }
    Ok(members)
}

fn read(bytes: &[u8]) -> Result<Members, BundleError> {
    read_within(bytes, Limits::default())
}

/// What a separate archive reader sees, one that applies extensions.
fn read_independently(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ::tar::Archive::new(bytes);
    let mut files = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("text");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            files.push((name.trim_start_matches("./").to_owned(), content));
        }
    }
    files
}

#[test]
fn accepted_archives_mean_the_same_to_an_independent_reader() {
    let long = format!("{}/jq_6.snap", "d".repeat(120));
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", vec![]),
        ("two files", vec![file("manifest.json", b"{}"), file("jq_6.snap", &[7; 1500])]),
        ("an empty file", vec![file("jq_6.snap", b""), file("b", b"x")]),
        (
            "in a folder",
            vec![entry(b"./", b'5', b""), entry(b"jq/", b'5', b""), file("./jq/jq_6.assert", b"a")],
        ),
        ("oldest type byte", vec![entry(b"jq_6.snap", 0, b"abc")]),
        ("oldest form", vec![Block::new(b"jq_6.snap", b'0', 3).with(257, &[0; 8]).holding(b"abc")]),
        ("GNU's form", vec![Block::new(b"jq_6.snap", b'0', 3).with(257, b"ustar  \0").holding(b"abc")]),
        ("prefix", vec![Block::new(b"jq_6.snap", b'0', 3).with(345, b"some/folder").holding(b"abc")]),
        ("GNU long name", vec![long_name(format!("{long}\0").as_bytes()), file("cut", b"abc")]),
        ("PAX name", vec![pax(b'x', &format!("{} path={long}\n", long.len() + 10)), file("cut", b"abc")]),
        ("same size again", vec![pax(b'x', "9 size=3\n"), file("jq_6.snap", b"abc")]),
        ("times, owners", vec![pax(b'x', "13 mtime=1.5\n9 uid=12\n11 uname=a\n"), file("jq_6.snap", b"abc")]),
        ("a global comment", vec![pax(b'g', "13 comment=x\n"), file("jq_6.snap", b"abc")]),
        (
            "spaces before a number",
            vec![Block::new(b"a", b'0', 3).with(124, b"          3\0").holding(b"abc")],
        ),
    ];
    for (what, entries) in cases {
        let bytes = archive(&entries);
        let ours = read(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let ours: Vec<_> = ours.into_iter().map(|(name, _, content)| (name, content)).collect();
        assert_eq!(ours, read_independently(&bytes), "{what}");
        assert_eq!(read(&gzip(&bytes)).expect(what).len(), ours.len(), "{what}, compressed");
    }
}

#[test]
fn hostile_names_refuse_the_bundle() {
    for name in [
        &b"../jq_6.snap"[..],
        b"a/../../jq_6.snap",
        b"/etc/jq_6.snap",
        b"jq_6.snap\n",
        b"jq\xff_6.snap",
        b"a\\..\\jq_6.snap",
        b"C:\\jq_6.snap",
        b"a//jq_6.snap",
        b"jq_6.snap/",
    ] {
        let result = read(&archive(&[entry(name, b'0', b"abc")]));
        assert!(matches!(result, Err(BundleError::Name { .. })), "{name:?}: {result:?}");
        let folder = read(&archive(&[entry(&[name, b"/"].concat(), b'5', b"")]));
        // A folder name may end with a slash; all other rules apply to it too.
        let refused = matches!(folder, Err(BundleError::Name { .. }));
        assert!(refused, "{name:?} as a folder: {folder:?}");
        let long = long_name(&[name, b"\0"].concat());
        let result = read(&archive(&[long, file("a", b"abc")]));
        assert!(matches!(result, Err(BundleError::Name { .. })), "{name:?} as a long name: {result:?}");
    }
    let inner_nul = Block::new(b"a\0b", b'0', 0).holding(b"");
    assert!(matches!(read(&archive(&[file("x", b""), inner_nul])), Err(BundleError::Header { .. })));
}

#[test]
fn a_name_is_there_once_whatever_its_case() {
    for (first, second) in [
        ("jq_6.snap", "jq_6.snap"),
        ("jq_6.snap", "JQ_6.snap"),
        ("readme", "ReadMe"),
        ("ä/notes", "Ä/notes"),
        ("./jq_6.snap", "jq_6.snap"),
        ("a/jq_6.snap", "b/jq_6.snap"),
        ("manifest.json", "b/manifest.json"),
        ("a/jq_6.assert", "b/Jq_6.assert"),
    ] {
        let result = read(&archive(&[file(first, b"1"), file(second, b"2")]));
        assert!(matches!(result, Err(BundleError::Duplicate { .. })), "{first} {second}: {result:?}");
    }
    let folder = read(&archive(&[entry(b"a/", b'5', b""), file("A", b"2")]));
    assert!(matches!(folder, Err(BundleError::Duplicate { .. })), "{folder:?}");
    // One store answer per folder and meaningless files may share their last part.
    for name in ["metadata.json", "readme"] {
        let entries = [file(&format!("a/{name}"), b"1"), file(&format!("b/{name}"), b"2")];
        assert_eq!(read(&archive(&entries)).expect("two files").len(), 2);
    }
}

#[test]
fn only_files_and_folders_are_read() {
    for kind in [b'1', b'2', b'3', b'4', b'6', b'7', b'S', b'D', b'M', b'V', b'N', b'A', b'X', b'K', 0xff] {
        let result = read(&archive(&[file("a", b"1"), entry(b"b", kind, b"")]));
        assert!(matches!(result, Err(BundleError::EntryType { .. })), "{kind:#x}: {result:?}");
    }
    for (kind, told) in
        [(b'2', "a symbolic link"), (b'4', "a device"), (b'S', "a sparse file"), (b'V', "'V'")]
    {
        let error =
            read(&archive(&[file("a", b"1"), entry(b"the-name", kind, b"")])).expect_err(told).to_string();
        assert!(error.contains(told) && error.contains("the-name"), "{error}");
    }
}

#[test]
fn what_readers_could_understand_differently_is_refused() {
    let snap = || Block::new(b"jq_6.snap", b'0', 3);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("two sizes", vec![pax(b'x', "9 size=0\n"), file("a", &[0; 512])]),
        ("size for all", vec![pax(b'g', "9 size=3\n"), file("a", b"abc")]),
        ("path for all", vec![pax(b'g', "9 path=b\n"), file("a", b"abc")]),
        ("unknown extension", vec![pax(b'x', "18 SCHILY.foo=bar\n"), file("a", b"abc")]),
        ("sparse extension", vec![pax(b'x', "22 GNU.sparse.major=1\n"), file("a", b"abc")]),
        ("malformed extension", vec![pax(b'x', "99 mtime=1\n"), file("a", b"abc")]),
        ("two extensions", vec![pax(b'x', "9 path=b\n"), pax(b'x', "9 path=c\n"), file("a", b"abc")]),
        ("two names", vec![pax(b'x', "9 path=b\n"), long_name(b"c\0"), file("a", b"abc")]),
        ("two long names", vec![long_name(b"b\0"), long_name(b"c\0"), file("a", b"abc")]),
        ("unended long name", vec![long_name(b"b"), file("a", b"abc")]),
        // Some readers look for them in these forms, others do not.
        ("long name in a POSIX header", vec![entry(b"././@LongLink", b'L', b"b\0"), file("a", b"abc")]),
        (
            "extension in the oldest form",
            vec![Block::new(b"x", b'x', 9).with(257, &[0; 8]).holding(b"9 path=b\n"), file("a", b"abc")],
        ),
        ("empty long name", vec![long_name(b"\0"), file("a", b"abc")]),
        ("extension of nothing", vec![file("a", b"abc"), pax(b'x', "9 path=b\n")]),
        ("long name of nothing", vec![file("a", b"abc"), long_name(b"b\0")]),
        ("link target of a file", vec![snap().with(157, b"/etc/passwd").holding(b"abc")]),
        ("folder with content", vec![entry(b"a/", b'5', b"abc")]),
        ("binary size", vec![snap().with(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x03").holding(b"abc")]),
        ("negative size", vec![snap().with(124, b"-0000000003\0").holding(b"abc")]),
        ("size without end", vec![snap().with(124, b"000000000003").holding(b"abc")]),
        ("size cut in two", vec![snap().with(124, b"00003\x00000003").holding(b"abc")]),
        ("no size", vec![snap().with(124, &[0; 12]).holding(b"abc")]),
        ("decimal size", vec![snap().with(124, b"00000000009\0").holding(b"abc")]),
        ("no name", vec![Block::new(b"", b'0', 0).holding(b"")]),
        ("GNU's form with a prefix", vec![snap().with(257, b"ustar  \0").with(345, b"x").holding(b"abc")]),
        ("oldest form with a prefix", vec![snap().with(257, &[0; 8]).with(345, b"x").holding(b"abc")]),
        ("unknown form", vec![snap().with(257, b"ustar\x0001").holding(b"abc")]),
        ("data behind the prefix", vec![snap().with(500, b"x").holding(b"abc")]),
    ];
    for (what, entries) in cases {
        // A file comes first: an error in the very first block would mean that it is not an archive at all.
        let entries = [vec![file("first", b"1")], entries].concat();
        let result = read(&archive(&entries));
        let refused = matches!(result, Err(BundleError::Header { .. } | BundleError::Name { .. }));
        assert!(refused, "{what}: {result:?}");
    }
    let mut broken = archive(&[file("first", b"1"), file("a", b"abc")]);
    broken[1024] ^= 1;
    assert!(matches!(read(&broken), Err(BundleError::Header { .. })));
}

#[test]
fn entries_inside_entries_stay_inside() {
    let inner = archive(&[file("jq_6.snap", b"inner")]);
    let members = read(&archive(&[file("notes.tar", &inner)])).expect("one file");
    assert_eq!(members, [("notes.tar".to_owned(), MemberKind::Other, inner)]);
}

#[test]
fn an_archive_ends_cleanly() {
    let good = archive(&[file("jq_6.snap", b"abc")]);
    let padded = [&good[..], &[0; 9 * BLOCK]].concat();
    assert_eq!(read(&padded).expect("padding is fine").len(), 1);
    for (what, bytes) in [
        ("data after the end", [&good[..], b"x"].concat()),
        ("data after padding", [&padded[..], b"x"].concat()),
        ("a second archive", [&good[..], &good[..]].concat()),
        ("one zero block", [&file("a", b"abc")[..], &[0; BLOCK], &good[..]].concat()),
    ] {
        for bytes in [bytes.clone(), gzip(&bytes)] {
            assert!(matches!(read(&bytes), Err(BundleError::TrailingData)), "{what}");
        }
    }
}

#[test]
fn cut_anywhere_it_is_refused() {
    let whole = archive(&[pax(b'x', "9 size=3\n"), file("jq_6.snap", b"abc"), file("b", &[3; 900])]);
    for whole in [gzip(&whole), whole] {
        assert_eq!(read(&whole).expect("whole").len(), 2);
        for cut in 0..whole.len() {
            let result = read(&whole[..cut]);
            let refused = matches!(
                result,
                Err(BundleError::Truncated
                    | BundleError::NotABundle
                    | BundleError::Looks(_)
                    | BundleError::AfterEnd)
            );
            assert!(refused, "cut at {cut}: {result:?}");
        }
    }
}

#[test]
fn a_failing_medium_is_no_end() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("pulled out"))
        }
    }
    let whole = archive(&[file("jq_6.snap", b"abc"), file("b", &[3; 900])]);
    for whole in [gzip(&whole), whole] {
        for cut in 0..whole.len() {
            let result = read_within(Cursor::new(&whole[..cut]).chain(Failing), Limits::default());
            let refused = matches!(result, Err(BundleError::Read(_)));
            // The last bytes of the padding are read together with whatever would follow.
            assert!(refused, "cut at {cut}: {result:?}");
        }
    }
}

#[test]
fn several_gzip_members_are_one_stream_and_nothing_else_may_follow() {
    let whole = archive(&[file("jq_6.snap", b"abc"), file("b", &[3; 900])]);
    for cut in [0, 1, 511, 700, 1024, whole.len()] {
        let two = [gzip(&whole[..cut]), gzip(&whole[cut..])].concat();
        assert_eq!(read(&two).expect("two members").len(), 2, "cut at {cut}");
    }
    let second_archive = [gzip(&whole), gzip(&whole)].concat();
    assert!(matches!(read(&second_archive), Err(BundleError::TrailingData)));
    for tail in [&b"garbage behind the end"[..], &whole, &[0; 64]] {
        let result = read(&[&gzip(&whole)[..], tail].concat());
        assert!(matches!(result, Err(BundleError::AfterEnd)), "{result:?}");
    }
    let mut damaged = gzip(&whole);
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    assert!(matches!(read(&damaged), Err(BundleError::Gzip(_))));
}

#[test]
fn other_files_are_named_as_such() {
    for bytes in [&b""[..], b"h", b"hsqs and so on", &[b'x'; 2000], b"{\"stores\": []}", b"BZh91AY"] {
        let result = read(bytes);
        assert!(matches!(result, Err(BundleError::NotABundle | BundleError::Looks(_))), "{result:?}");
    }
    // Shorter than a header, and not written by any archiver.
    let page = gzip(b"<html>Please log in</html>");
    for (bytes, wanted) in [
        (&b""[..], "empty"),
        (b"hsqs", "squashfs"),
        (b"<!DOCTYPE html>", "a web page"),
        (&page, "a web page"),
    ] {
        let said = read(bytes).expect_err(wanted).to_string();
        assert!(said.contains(wanted), "{said}");
    }
    let added = [&gzip(&archive(&[file("jq_6.snap", b"abc")]))[..], b"garbage"].concat();
    assert!(matches!(read(&added), Err(BundleError::AfterEnd)));
    assert!(matches!(read(&[b'x'; 2000]), Err(BundleError::NotABundle)));
}

#[test]
fn every_limit_holds() {
    let bytes = archive(&[
        file("a/metadata.json", &[b' '; 600]),
        pax(b'x', "13 comment=x\n"),
        file("b/metadata.json", &[b' '; 600]),
        file("jq_6.snap", &[1; 5000]),
    ]);
    let exact = Limits {
        entry: 5000,
        document: 600,
        documents: 1200,
        total: bytes.len() as u64,
        entries: 4,
        extension: 13,
        ratio: 1,
    };
    assert_eq!(read_within(&bytes[..], exact).expect("within every limit").len(), 3);
    for limits in [
        Limits { entry: 4999, ..exact },
        Limits { document: 599, ..exact },
        Limits { documents: 1199, ..exact },
        Limits { total: exact.total - 1, ..exact },
        Limits { entries: 3, ..exact },
        Limits { extension: 12, ..exact },
    ] {
        for bytes in [bytes.clone(), gzip(&bytes)] {
            let result = read_within(&bytes[..], limits);
            assert!(matches!(result, Err(BundleError::TooLarge { .. })), "{limits:?}: {result:?}");
        }
    }
}

#[test]
fn a_small_file_that_expands_a_thousandfold_is_refused_early() {
    struct Bomb {
        header: Cursor<Vec<u8>>,
        zeros: u64,
    }
    impl Read for Bomb {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.header.read(buf)? {
                0 => {
                    let count = self.zeros.min(buf.len() as u64);
                    buf[..count as usize].fill(0);
                    self.zeros -= count;
                    Ok(count as usize)
                }
                count => Ok(count),
            }
        }
    }
    let size = 4 * Limits::RATIO_FREE;
    let in_a_file = Block::new(b"jq_6.snap", b'0', size).holding(b"");
    let in_the_padding = archive(&[]);
    let in_an_extension = Block::new(b"x", b'x', size).holding(b"");
    for (header, ratio) in [(in_a_file, true), (in_the_padding, true), (in_an_extension, false)] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        let mut bomb = Bomb { header: Cursor::new(header), zeros: size + 1024 };
        io::copy(&mut bomb, &mut gzip).expect("memory takes it");
        let bytes = gzip.finish().expect("memory takes it");
        match read(&bytes) {
            Err(BundleError::TooLarge { what, .. }) => {
                assert_eq!(what == "decoded bytes per compressed byte", ratio, "{what}");
            }
            other => panic!("{:?}", other.map(|members| members.len())),
        }
    }
}

#[test]
fn what_the_writer_writes_is_read_by_all() {
    let mut bundle = BundleWriter::new(Vec::new());
    bundle.add_bytes("manifest.json", b"{\"format\":1}").expect("added");
    bundle.add("jq_6.snap", 100_000, io::repeat(5).take(100_000)).expect("added");
    bundle.add_bytes("empty", b"").expect("added");
    let bytes = bundle.finish().expect("finished");
    let members = read(&bytes).expect("a bundle");
    assert_eq!(members[1], ("jq_6.snap".to_owned(), MemberKind::Snap, vec![5; 100_000]));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
    let independent = read_independently(&plain);
    assert_eq!(independent.len(), 3);
    assert!(independent.iter().zip(&members).all(|(a, b)| (&a.0, &a.1) == (&b.0, &b.2)));
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut bundle = BundleWriter::new(io::sink());
    assert!(bundle.add("a", 8 << 30, io::empty()).is_err());
    assert!(bundle.add("../a", 0, io::empty()).is_err());
    assert!(bundle.add(&"a".repeat(101), 0, io::empty()).is_err());
    assert!(bundle.add("short", 5, &b"1234"[..]).is_err());
    assert!(bundle.add("long", 5, &b"123456"[..]).is_err());
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0usize..2560, byte: u8, cut in 0usize..2560) {
        let mut bytes = archive(&[pax(b'x', "9 size=3\n"), file("jq_6.snap", b"abc")]);
        let last = bytes.len() - 1;
        bytes[at.min(last)] = byte;
        let _ = read(&bytes);
        let mut bytes = gzip(&bytes);
        let last = bytes.len() - 1;
        bytes[at % last] ^= byte;
        let _ = read(&bytes[..cut.min(last)]);
        let _ = read(&bytes);
    }
}
