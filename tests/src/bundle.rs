//! Files that an operator carries in: pairs from `snap download`, snap bundles, and brand store metadata.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{Revision, Snap};

/// Writes `NAME_REV.snap`, `NAME_REV.assert` and the components of a revision; the path of the snap.
///
/// # Panics
/// When the folder cannot be written.
#[must_use]
pub fn write_pair(folder: &Path, revision: &Revision) -> PathBuf {
    let write = |name: String, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a folder for test files can be written");
        path
    };
    for component in &revision.components {
        let name = format!("{}+{}_{}.comp", revision.snap.name, component.name, component.revision);
        let _ = write(name, &component.image.bytes);
    }
    let _ = write(format!("{}.assert", revision.stem()), &revision.stream());
    write(format!("{}.snap", revision.stem()), &revision.image.bytes)
}

/// A release: what a channel leads to.
#[derive(Clone)]
pub struct Release {
    /// `TRACK/RISK[/BRANCH]`.
    pub channel: String,
    /// Debian's name of an architecture.
    pub architecture: String,
    /// The revision there.
    pub revision: u32,
}

/// A snap bundle before it is packed.
#[derive(Clone)]
pub struct Bundle {
    /// The store it was fetched from.
    pub store: String,
    /// Its snap.
    pub snap: Snap,
    /// Its revisions.
    pub revisions: Vec<Revision>,
    /// Its channel map.
    pub releases: Vec<Release>,
    /// Its picture, as PNG.
    pub icon: Option<Vec<u8>>,
}

/// One member of an archive.
#[derive(Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Bundle {
    /// A bundle from the global store whose channels lead to these revisions on amd64.
    #[must_use]
    pub fn new(snap: &Snap, revisions: &[(&Revision, &[&str])]) -> Self {
        let releases = revisions.iter().flat_map(|(revision, channels)| {
            channels.iter().map(|channel| Release {
                channel: (*channel).to_owned(),
                architecture: "amd64".to_owned(),
                revision: revision.number,
            })
        });
        Self {
            store: "ubuntu".to_owned(),
            snap: snap.clone(),
            releases: releases.collect(),
            icon: None,
            revisions: revisions.iter().map(|(revision, _)| (*revision).clone()).collect(),
        }
    }

    /// Fetched from a brand store instead.
    #[must_use]
    pub fn from_store(mut self, store: &str) -> Self {
        store.clone_into(&mut self.store);
        self
    }

    /// The store's answer for the snap, as the connected side saved it.
    #[must_use]
    pub fn metadata(&self) -> Value {
        let entry = |release: &Release| {
            let revision = self.revisions.iter().find(|held| held.number == release.revision);
            let (track, risk) = release.channel.split_once('/').expect("a channel has a track and a risk");
            let (version, size, digest) = revision.map_or(("gone".to_owned(), 0, String::new()), |held| {
                (held.version.clone(), held.image.bytes.len(), held.image.digest.to_hex())
            });
            json!({
                "channel": {"architecture": release.architecture, "name": release.channel, "track": track,
                    "risk": risk, "released-at": "2024-01-02T03:04:05+00:00"},
                "revision": release.revision, "version": version, "type": "app", "confinement": "strict",
                "architectures": ["all"], "epoch": {"read": [0], "write": [0]},
                "download": {"url": "https://upstream.example/x.snap", "size": size, "sha3-384": digest, "deltas": []},
            })
        };
        json!({
            "name": self.snap.name, "snap-id": self.snap.id, "default-track": null,
            "snap": {"name": self.snap.name, "snap-id": self.snap.id, "title": self.snap.name,
                "summary": "From the bundle", "description": "A snap made for testing.", "license": "MIT",
                "publisher": {"id": self.snap.publisher, "username": self.snap.publisher,
                    "display-name": self.snap.publisher, "validation": "verified"},
                "private": false, "prices": {}, "links": {}, "media": []},
            "channel-map": self.releases.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    /// Everything but the manifest, in the order of the archive.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let metadata = serde_json::to_vec(&self.metadata()).expect("JSON of plain values");
        let mut members = vec![Member { name: "metadata.json".to_owned(), bytes: metadata }];
        if let Some(icon) = &self.icon {
            members.push(Member { name: format!("{}.icon.png", self.snap.name), bytes: icon.clone() });
        }
        for revision in &self.revisions {
            let mut push = |name, bytes: &[u8]| members.push(Member { name, bytes: bytes.to_vec() });
            push(format!("{}.snap", revision.stem()), &revision.image.bytes);
            push(format!("{}.assert", revision.stem()), &revision.stream());
            for component in &revision.components {
                let name = format!("{}+{}_{}.comp", self.snap.name, component.name, component.revision);
                push(name, &component.image.bytes);
            }
        }
        members
    }

    /// The manifest that belongs to these members.
    #[must_use]
    pub fn manifest(&self, members: &[Member]) -> Member {
        use schema::digest::Sha3_384;
        let files: Vec<Value> = members
            .iter()
            .map(|member| {
                let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &member.bytes);
                let sha256: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                json!({"name": member.name, "size": member.bytes.len(),
                    "sha3-384": Sha3_384::of(&member.bytes).to_hex(), "sha256": sha256})
            })
            .collect();
        let manifest = json!({"format": 1, "tool": "tests", "time": "2024-01-02T03:04:05Z",
            "store": self.store, "files": files});
        let bytes = serde_json::to_vec(&manifest).expect("JSON of plain values");
        Member { name: "manifest.json".to_owned(), bytes }
    }

    /// The bundle as a compressed archive.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let members = self.members();
        let manifest = self.manifest(&members);
        gzip(&archive(std::iter::once(&manifest).chain(&members)))
    }
}

/// A plain archive of regular files.
#[must_use]
pub fn archive<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(member.bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_704_164_645);
        builder.append_data(&mut header, &member.name, &member.bytes[..]).expect("an archive in memory");
    }
    builder.into_inner().expect("an archive in memory")
}

/// Compresses with gzip.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

/// Brand store metadata in the combined form: one store that grants these snaps, given by id and name.
#[must_use]
pub fn store_metadata(store: &str, brand: &str, snaps: &[&Snap]) -> Value {
    let grants: Vec<Value> = snaps
        .iter()
        .map(|snap| {
            json!({"id": snap.id, "name": snap.name, "essential": false, "private": true, "store": store,
                "other-stores": [], "included-stores": [],
                "users": [{"displayname": "Someone", "username": "someone", "roles": ["owner"]}],
                "latest-release": {"channel": "latest/stable", "timestamp": "2024-01-02T03:04:05Z", "version": "1",
                    "revision": 1}})
        })
        .collect();
    json!({"format": 1,
        "stores": [{"id": store, "brand-id": brand, "name": format!("{brand} devices"), "private": true,
            "parent": null, "manual-review-policy": "allow", "roles": [], "store-whitelist": [],
            "allowed-inclusion-source-stores": [], "allowed-inclusion-target-stores": [],
            "snap-name-prefixes": []}],
        "snaps": {(store): grants}})
}
