//! Limits to the byte, and the behaviour around them: interrupted reads, documents, announced lengths.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Files one after another, as the writer writes them.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (name, content) in files {
        tar.add(name, content.len() as u64, *content).expect("added");
    }
    tar.finish().expect("finished")
}

fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    gzip.write_all(bytes).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

/// How many bytes all members have together.
fn total(bytes: impl Read, limits: Limits) -> Result<u64, BundleError> {
    let mut bundle = BundleReader::new(bytes, limits)?;
    let mut total = 0;
    while let Some(mut member) = bundle.next_member()? {
        total += io::copy(&mut member, &mut io::sink()).map_err(BundleError::Read)?;
    }
    Ok(total)
}

#[test]
fn the_ratio_counts_compressed_bytes_and_lets_small_files_be() {
    let strict = Limits { ratio: 2, ..Limits::default() };
    let small = archive(&[("jq_6.snap", &[0; 100_000])]);
    assert_eq!(total(&gzip(&small, Compression::best())[..], strict).expect("small enough"), 100_000);
    let large = vec![0; Limits::RATIO_FREE as usize + (1 << 20)];
    let archive = archive(&[("jq_6.snap", &large)]);
    assert_eq!(
        total(&gzip(&archive, Compression::none())[..], strict).expect("as it came"),
        large.len() as u64
    );
    let squeezed = total(&gzip(&archive, Compression::fast())[..], Limits { ratio: 50, ..strict });
    let refused = format!("{:?}", squeezed.expect_err("a hundred times as large"));
    assert!(refused.contains("per compressed byte"), "{refused}");
}

#[test]
fn an_interrupted_read_is_read_again() {
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = buf.len().min(100);
            self.0.read(&mut buf[..count])
        }
    }
    let whole = archive(&[("jq_6.snap", &[7; 1500])]);
    for whole in [gzip(&whole, Compression::fast()), whole] {
        assert_eq!(total(Interrupted(&whole, false), Limits::default()).expect("read in the end"), 1500);
    }
}

#[test]
fn an_empty_file_is_no_bundle() {
    assert!(matches!(total(&b""[..], Limits::default()), Err(BundleError::Looks(_))));
}

#[test]
fn a_document_is_read_whole_within_its_limit() {
    let limits = Limits { document: 600, ..Limits::default() };
    for (size, good) in [(599, true), (600, true), (601, false)] {
        let content = vec![b'x'; size];
        // The name promises nothing, so the document limit applies only when the entry is read as a document.
        let bytes = archive(&[("folder/notes", &content)]);
        let mut bundle = BundleReader::new(&bytes[..], limits).expect("an archive");
        let member = bundle.next_member().expect("an archive").expect("a member");
        assert_eq!((member.name(), member.path()), ("notes", "folder/notes"));
        match member.document() {
            Ok(read) => assert!(good && read == content, "{size}"),
            Err(error) => {
                assert!(!good && matches!(error, BundleError::TooLarge { limit: 600, .. }), "{error}")
            }
        }
    }
}

#[test]
fn larger_limits_take_what_the_usual_ones_do() {
    let bytes = archive(&[("metadata.json", b"{}"), ("jq_6.snap", &[1; 5000])]);
    for limits in [Limits::archive(), Limits::backup()] {
        let Limits { document, documents, total: whole, entries, .. } = Limits::default();
        assert_eq!(total(&bytes[..], limits).expect("a bundle"), 5002);
        assert!(limits.document >= document && limits.documents >= documents);
        assert!(limits.total > whole && limits.entries > entries);
    }
}

#[test]
fn the_length_is_known_before_anything_is_written() {
    for sizes in [&[][..], &[0], &[1, 512, 513], &[5000]] {
        let contents: Vec<Vec<u8>> = sizes.iter().map(|size| vec![1; *size]).collect();
        let names: Vec<String> = (0..sizes.len()).map(|number| number.to_string()).collect();
        let files: Vec<_> =
            names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
        let told = TarWriter::length(sizes.iter().map(|size| *size as u64));
        assert_eq!(told, archive(&files).len() as u64, "{sizes:?}");
    }
    let error = TarWriter::new(io::sink()).add("a", 8 << 30, io::empty()).expect_err("too large");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "refused before it is read: {error}");
}
