//! Unpacks the archive into the stage and checks each file against its digest.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use schema::backup::{Blob, Elsewhere, FORMAT, HOST_FILES, Host, Manifest, Part, RestoreOrder};
use schema::bundle::{BundleError, BundleReader, Limits, Member};
use schema::config::{RotatedSecret, Settings};
use schema::digest::{Hashed, Sha3_384};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::RestoreError;
use super::place::{blob_file, database_file};
use crate::site::{place_of_files, recognise_settings};

/// The unpacked backup.
pub(super) struct Unpacked {
    /// The configuration of the new host.
    pub(super) settings: Settings,
    /// The backup's manifest.
    pub(super) manifest: Manifest,
    /// Files in the stage.
    pub(super) blobs: usize,
    /// Their total size in bytes.
    pub(super) bytes: u64,
    /// Owned files that are missing.
    pub(super) missing: Vec<Blob>,
    /// Where files were kept, if that was not the data directory.
    pub(super) elsewhere: Option<Elsewhere>,
}

/// Reads the archive to its last byte. If the secrets do not fit, it is refused before its files are read.
pub(super) fn unpack(
    folder: &Path,
    order: &RestoreOrder,
    mut archive: impl Read,
) -> Result<Unpacked, RestoreError> {
    let mut reader = BundleReader::new(&mut archive, Limits::backup())?;
    let mut host: Option<(Host, Settings, Option<Elsewhere>)> = None;
    let mut manifest: Option<Manifest> = None;
    let mut database = false;
    let mut wanted: BTreeMap<Sha3_384, u64> = BTreeMap::new();
    while let Some(member) = reader.next_member()? {
        let name = member.path().to_owned();
        let (part, digest) = Part::of(&name).ok_or_else(|| RestoreError::Entry(name.clone()))?;
        match (part, &host, &manifest) {
            (Part::Host, None, None) => {
                let read: Host = document("configuration", member, &digest)?;
                let (settings, elsewhere) = settings(&read, order)?;
                host = Some((read, settings, elsewhere));
            }
            (Part::Manifest, Some((host, settings, _)), None) => {
                let read = take_manifest(member, &digest)?;
                check_secrets(&read, host, settings)?;
                if read.with_blobs {
                    wanted = read.blobs.iter().map(entry).collect::<Result<_, _>>()?;
                }
                manifest = Some(read);
            }
            (Part::Database, _, Some(_)) if !database => {
                write(member, &database_file(folder), &digest, &name)?;
                database = true;
            }
            (Part::Blob, _, Some(_)) if wanted.remove(&digest) == Some(member.size()) => {
                write(member, &blob_file(folder, &digest)?, &digest, &name)?;
            }
            _ => return Err(RestoreError::Entry(name)),
        }
    }
    drop(reader);
    // The sender says at the end whether the archive was complete.
    if archive.read(&mut [0]).map_err(BundleError::Read)? > 0 {
        return Err(BundleError::TrailingData.into());
    }
    let (host, settings, elsewhere) = host.ok_or(RestoreError::NotABackup)?;
    let manifest = manifest.ok_or_else(|| RestoreError::Lacks("its manifest".into()))?;
    if !database {
        return Err(RestoreError::Lacks("its database".into()));
    }
    if let Some(digest) = wanted.keys().next() {
        return Err(RestoreError::Lacks(format!("file {}", digest.to_hex())));
    }
    write_host_files(folder, &host)?;

    let mut done =
        Unpacked { settings, manifest: manifest.clone(), blobs: 0, bytes: 0, missing: Vec::new(), elsewhere };
    let Manifest { with_blobs, blobs, missing, .. } = manifest;
    let listed = if with_blobs { 0 } else { blobs.len() };
    let found = |blob: &Blob| -> Result<bool, RestoreError> {
        match &order.blobs {
            Some(elsewhere) => bring(elsewhere, folder, blob),
            None => Ok(false),
        }
    };
    for (blob, here) in
        blobs.into_iter().map(|blob| (blob, with_blobs)).chain(missing.into_iter().map(|blob| (blob, false)))
    {
        if here || found(&blob)? {
            done.blobs += 1;
            done.bytes += blob.size;
        } else {
            done.missing.push(blob);
        }
    }
    match (&order.blobs, &mut done.elsewhere) {
        (Some(folder), _) if listed > 0 && done.blobs == 0 => {
            return Err(RestoreError::NoBlobs { folder: folder.clone(), listed });
        }
        // Nobody has looked for them there.
        (None, Some(place)) if listed > 0 => {
            place.files = listed;
            drop(done.missing.drain(..listed));
        }
        _ => {}
    }
    Ok(done)
}

fn entry(blob: &Blob) -> Result<(Sha3_384, u64), RestoreError> {
    let digest = Sha3_384::from_hex(&blob.sha3_384);
    let digest = digest.map_err(|_| RestoreError::Entry(blob.sha3_384.chars().take(100).collect()))?;
    Ok((digest, blob.size))
}

/// The backup's configuration, overridden by the instructions, and where it kept files.
fn settings(host: &Host, order: &RestoreOrder) -> Result<(Settings, Option<Elsewhere>), RestoreError> {
    let mut settings = Settings::from_yaml(&host.settings)?;
    if let Some(text) = &order.settings {
        let given = Settings::from_yaml(text)?;
        let pairs: Vec<(&str, &str)> = given.entries().collect();
        settings.set_all(pairs).map_err(schema::config::FileError::from)?;
    }
    // A restore fills the data directory and nothing that other servers may use.
    let place = place_of_files(Path::new(""), &settings);
    let mut again = Vec::new();
    for (key, own) in [("proxy.storage.backend", "local"), ("proxy.storage.path", "")] {
        let value = settings.value(key);
        if value != own {
            again.push(format!("{key}={value}"));
        }
        settings.set(key, "").map_err(schema::config::FileError::from)?;
    }
    if order.embedded {
        settings.set("proxy.db.connection", "").map_err(schema::config::FileError::from)?;
    }
    Ok((settings, (!again.is_empty()).then(|| Elsewhere { place, files: 0, settings: again.join(" ") })))
}

fn check_secrets(manifest: &Manifest, host: &Host, settings: &Settings) -> Result<(), RestoreError> {
    let given = settings.secret(RotatedSecret::Sessions).is_some();
    if host.without_secrets && !given && manifest.session_key.is_some() {
        return Err(RestoreError::NoSecrets);
    }
    recognise_settings(manifest.session_key.as_ref(), settings).map_err(RestoreError::Secret)
}

fn take_manifest<R: Read>(member: Member<'_, R>, digest: &Sha3_384) -> Result<Manifest, RestoreError> {
    /// Read first: the format decides whether the rest can be understood.
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let value: serde_json::Value = document("manifest", member, digest)?;
    let failed = |source| RestoreError::Document { what: "manifest", source };
    let form = Form::deserialize(&value).map_err(failed)?;
    if form.format > FORMAT {
        return Err(RestoreError::Newer(form.format));
    }
    Manifest::deserialize(value).map_err(failed)
}

fn document<T: DeserializeOwned, R: Read>(
    what: &'static str,
    member: Member<'_, R>,
    digest: &Sha3_384,
) -> Result<T, RestoreError> {
    let name = member.path().to_owned();
    let bytes = zeroize::Zeroizing::new(member.document()?);
    if Sha3_384::of(&bytes) != *digest {
        return Err(RestoreError::Damaged(name));
    }
    serde_json::from_slice(&bytes).map_err(|source| RestoreError::Document { what, source })
}

/// Writes an entry, and checks that it matches its name.
fn write(content: impl Read, path: &Path, digest: &Sha3_384, name: &str) -> Result<(), RestoreError> {
    let mut file = create(path, 0o600)?;
    let mut hashed = Hashed::new(content);
    io::copy(&mut hashed, &mut file).map_err(|error| match error.downcast::<BundleError>() {
        Ok(error) => error.into(),
        Err(source) => RestoreError::io("write", path)(source),
    })?;
    if hashed.finish() != *digest {
        return Err(RestoreError::Damaged(name.to_owned()));
    }
    Ok(())
}

/// Creates a file with this mode, whatever the caller's mask is.
fn create(path: &Path, mode: u32) -> Result<File, RestoreError> {
    let create = || -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        Ok(file)
    };
    create().map_err(RestoreError::io("write", path))
}

/// Writes only known names.
fn write_host_files(folder: &Path, host: &Host) -> Result<(), RestoreError> {
    for file in HOST_FILES {
        let Some(text) = host.files.get(file.name) else { continue };
        let path = folder.join(file.name);
        let parent = path.parent().unwrap_or(folder);
        // Everybody may read a certificate; `proxy ca init` makes them and their folder so.
        let (file_mode, folder_mode) = if file.secret { (0o600, 0o700) } else { (0o644, 0o755) };
        if !parent.exists() {
            let make = || {
                DirBuilder::new().recursive(true).mode(folder_mode).create(parent)?;
                fs::set_permissions(parent, Permissions::from_mode(folder_mode))
            };
            make().map_err(RestoreError::io("make", parent))?;
        }
        let mut to = create(&path, file_mode)?;
        io::copy(&mut text.as_bytes(), &mut to).map_err(RestoreError::io("write", &path))?;
    }
    Ok(())
}

/// Takes a file from an outside folder, which holds files by their digest like a data directory, or side by side. A
/// file that does not match its name counts as missing.
fn bring(elsewhere: &Path, folder: &Path, blob: &Blob) -> Result<bool, RestoreError> {
    let (digest, size) = entry(blob)?;
    let name = digest.to_hex();
    let places: [PathBuf; 3] = [
        elsewhere.join(&name[..2]).join(&name),
        elsewhere.join("blobs").join(&name[..2]).join(&name),
        elsewhere.join(&name),
    ];
    for place in places {
        let is_ours = |file: &Path| -> io::Result<bool> {
            let mut hashed = Hashed::new(File::open(file)?);
            Ok(io::copy(&mut hashed, &mut io::sink())? == size && hashed.finish() == digest)
        };
        match fs::symlink_metadata(&place) {
            Ok(meta) if meta.is_file() && meta.len() == size => {}
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(RestoreError::io("look at", &place)(source)),
        }
        let path = blob_file(folder, &digest)?;
        // On one file system, a hard link saves a second copy.
        fs::hard_link(&place, &path)
            .or_else(|_| fs::copy(&place, &path).map(drop))
            .map_err(RestoreError::io("copy", &place))?;
        if is_ours(&path).map_err(RestoreError::io("read", &path))? {
            return Ok(true);
        }
        fs::remove_file(&path).map_err(RestoreError::io("remove", &path))?;
    }
    Ok(false)
}
