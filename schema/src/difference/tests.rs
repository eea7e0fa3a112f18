//! Real images of `mksquashfs`, compared and put together again.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// Text that compresses, and differs in places.
fn words(seed: u32, count: u32) -> String {
    let word = |at: u32| format!("{:x} ", (at / 7).wrapping_mul(2_654_435_761) % 997);
    let mut text: String = (0..count).map(word).collect();
    // A line in the middle moves everything behind it.
    text.insert_str(text.len() / 3, &format!("this is version {seed}\n"));
    text
}

/// An image of two files as `snap pack` makes it.
fn pack(folder: &Path, version: u32, options: &[&str]) -> PathBuf {
    let root = folder.join(format!("root{version}"));
    fs::create_dir_all(root.join("meta")).expect("a folder");
    fs::write(root.join("meta/snap.yaml"), format!("name: hello\nversion: '{version}'\n")).expect("a file");
    fs::write(root.join("big"), words(version, 400_000)).expect("a file");
    fs::write(root.join("same"), words(0, 100_000)).expect("a file");
    let image = folder.join(format!("image{version}"));
    let base = ["-noappend", "-quiet", "-no-progress", "-all-root", "-no-xattrs", "-mkfs-time", "1700000000"];
    let done = Command::new("mksquashfs")
        .args([&root, &image])
        .args(base)
        .args(["-all-time", "1700000000"])
        .args(options)
        .output()
        .expect("mksquashfs is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    image
}

fn open(path: &Path) -> (File, Sha3_384) {
    let bytes = fs::read(path).expect("a file");
    (File::open(path).expect("a file"), Sha3_384::of(&bytes))
}

fn made(old: &Path, new: &Path) -> Result<Vec<u8>, DifferenceError> {
    let ((mut base, base_digest), (mut target, target_digest)) = (open(old), open(new));
    let mut out = Vec::new();
    make((&mut base, &base_digest), (&mut target, &target_digest), &mut out)?;
    Ok(out)
}

fn applied(difference: &[u8], old: &Path) -> Result<Vec<u8>, DifferenceError> {
    let mut difference = BufReader::new(difference);
    let head = read_head(&mut difference)?;
    let mut out = Vec::new();
    apply(&head, difference, &mut File::open(old).expect("a file"), &mut out)?;
    Ok(out)
}

#[test]
fn an_image_is_put_together_again_from_the_old_one_and_a_small_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    for (compression, most) in [("xz", 10), ("zstd", 10), ("gzip", 100), ("lzo", 100), ("lz4", 100)] {
        for fragments in [&["-no-fragments"][..], &[]] {
            let options = [&["-comp", compression], fragments].concat();
            let (old, new) = (pack(folder.path(), 1, &options), pack(folder.path(), 2, &options));
            let difference = made(&old, &new).expect(compression);
            let whole = fs::read(&new).expect("an image");
            assert!(applied(&difference, &old).expect(compression) == whole, "{compression}");
            let percent = difference.len() * 100 / whole.len();
            println!("{compression} {fragments:?}: {} of {} bytes", difference.len(), whole.len());
            assert!(percent <= most, "{compression} {fragments:?}: {percent} %");
        }
    }
}

#[test]
fn what_is_cut_altered_or_applied_to_another_file_gives_no_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-comp", "xz", "-no-fragments"];
    let (old, new) = (pack(folder.path(), 1, &options), pack(folder.path(), 2, &options));
    let whole = fs::read(&new).expect("an image");
    let difference = made(&old, &new).expect("a difference");
    for at in (0..difference.len()).step_by(97) {
        assert!(applied(&difference[..at], &old).is_err(), "cut at {at}");
        let mut bad = difference.clone();
        bad[at] ^= 0x55;
        // The head names digests, which the caller compares.
        let given = applied(&bad, &old).map(|given| given == whole);
        assert!(given.is_err() || at < 500, "altered at {at}: {given:?}");
    }
    let other = pack(folder.path(), 3, &["-comp", "xz", "-no-fragments", "-b", "65536"]);
    let given = applied(&difference, &other);
    assert!(given.is_err() || given.is_ok_and(|given| given != whole), "another old file");
    assert!(matches!(made(&other, &new), Err(DifferenceError::Unfit)));
    let mut text = Vec::new();
    File::open(folder.path().join("root1/big")).expect("a file").read_to_end(&mut text).expect("a text");
    fs::write(folder.path().join("text"), text).expect("a file");
    assert!(matches!(made(&folder.path().join("text"), &new), Err(DifferenceError::Unfit)));
}
