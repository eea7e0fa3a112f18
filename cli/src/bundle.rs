//! Bundles for upload: a bundle file as it is, or a pair wrapped into one on the fly.
//!
//! A pair becomes an uncompressed tar without a copy on disk: `manifest.json` first, then the files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::bundle::{Assembler, Limits, Manifest, ManifestRelease};
use schema::store::{Channel, StoreId};

use crate::admin::Upload;
use crate::documents::document_name;
use crate::pair::Pair;

/// A bundle file, sent as it is.
pub(crate) fn file(path: &Path) -> anyhow::Result<Upload> {
    let (file, length) = open(path)?;
    Ok(Upload {
        name: document_name(path),
        length,
        reader: Box::new(Exactly { file, left: length, path: path.to_owned() }),
    })
}

/// A wrapped pair; its snap is released to `channels` of the store.
pub(crate) fn wrapped(pair: &Pair, store: &StoreId, channels: &[Channel]) -> anyhow::Result<Upload> {
    let mut parts = Vec::new();
    for path in &pair.files {
        let (file, size) = open(path)?;
        parts.push((document_name(path), size, Exactly { file, left: size, path: path.to_owned() }));
    }
    let mut manifest = Manifest::new(concat!("airlock ", env!("CARGO_PKG_VERSION")));
    manifest.store = Some(store.clone());
    let release = |revision| ManifestRelease { revision, channels: channels.to_vec() };
    manifest.releases = pair.revision.map(release).into_iter().collect();
    let name = parts.first().map(|(name, ..)| format!("{name}.tar")).unwrap_or_default();
    let mut bundle = Assembler::new(manifest);
    for (name, size, reader) in parts {
        bundle.add(&name, size, None, reader);
    }
    let (length, reader) = bundle
        .read(Limits::default())
        .with_context(|| format!("cannot make a bundle of {}", pair.files[0].display()))?;
    Ok(Upload { name, length, reader: Box::new(reader) })
}

/// A split file, sent as one. Every part must have been checked.
pub(crate) fn joined(name: &str, parts: &[PathBuf]) -> anyhow::Result<Upload> {
    let mut length = 0;
    let mut reader: Box<dyn Read + Send> = Box::new(io::empty());
    for path in parts {
        let (file, size) = open(path)?;
        length += size;
        reader = Box::new(reader.chain(Exactly { file, left: size, path: path.clone() }));
    }
    Ok(Upload { name: name.to_owned(), length, reader })
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let what = || format!("cannot read {}", path.display());
    // To open a pipe is to wait for who writes to it.
    let is_file = path.metadata().with_context(what)?.is_file();
    anyhow::ensure!(is_file, "cannot read {}: it is not a regular file", path.display());
    let file = File::open(path).with_context(what)?;
    let meta = file.metadata().with_context(what)?;
    Ok((file, meta.len()))
}

/// A file that yields exactly its measured length, or an error.
struct Exactly {
    file: File,
    left: u64,
    path: PathBuf,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            let text = format!("{} became shorter while it was read", self.path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read_tar(upload: Upload) -> Vec<(String, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut reader = upload.reader;
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, upload.length);
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn a_wrapped_pair_reads_back_manifest_first() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [("a_1.snap", 0), ("a+b_1.comp", 511), ("a+c_1.comp", 512), ("a_1.assert", 70_001)];
        for (name, size) in sizes {
            fs::write(folder.path().join(name), vec![7; size]).unwrap();
        }
        let files = sizes.map(|(name, _)| folder.path().join(name)).to_vec();
        let channels = ["stable".parse().unwrap(), "2/edge/fix".parse().unwrap()];
        let pair = Pair { files, revision: Some(1) };
        let upload = wrapped(&pair, &"acme".parse().unwrap(), &channels).unwrap();
        assert_eq!(upload.name, "a_1.snap.tar");
        let entries = read_tar(upload);
        let (first, manifest) = &entries[0];
        assert_eq!(first, "manifest.json");
        let wanted = format!(
            r#"{{"format":1,"tool":"airlock {}","store":"acme","files":[{{"name":"a_1.snap","size":0}},{{"name":"a+b_1.comp","size":511}},{{"name":"a+c_1.comp","size":512}},{{"name":"a_1.assert","size":70001}}],"releases":[{{"revision":1,"channels":["latest/stable","2/edge/fix"]}}]}}"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(String::from_utf8_lossy(manifest), wanted);
        for ((name, content), (wanted, size)) in entries[1..].iter().zip(sizes) {
            assert_eq!((name.as_str(), content), (wanted, &vec![7; size]));
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        fs::write(&path, [1; 1000]).unwrap();
        let mut shrunk = file(&path).unwrap();
        let mut grown = file(&path).unwrap();
        fs::write(&path, [1; 10]).unwrap();
        let error = shrunk.reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("x.tar became shorter"), "{error}");
        fs::write(&path, [1; 2000]).unwrap();
        assert_eq!(grown.reader.read_to_end(&mut Vec::new()).unwrap(), 1000);
    }
}
