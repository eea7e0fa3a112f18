//! `manifest.json`: what a bundle holds and where it comes from.
//!
//! ```json
//! {"format": 1, "tool": "proxy 1.0", "time": "2026-09-19T15:48:44Z", "store": "ubuntu",
//!  "files": [{"name": "jq_6.snap", "size": 245760, "sha3-384": "95e6…"}],
//!  "releases": [{"revision": 6, "channels": ["latest/stable"]}]}
//! ```
//!
//! Only `format` is required. Unknown fields are ignored; a newer format is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BundleError, json};
use crate::store::{Channel, SnapName, StoreId};

/// A bundle's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The format version; see [`Manifest::FORMAT`].
    pub format: u32,
    /// The program that wrote the bundle, and its version.
    #[serde(default)]
    pub tool: String,
    /// When it was written, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The store that the snaps were fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// Snaps that belong to another store than [`Manifest::store`]: those that a brand store shows from the global store, such
    /// as the boot bases, and those of its base store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<SnapName, StoreId>,
    /// Files that the bundle must contain; more are allowed.
    #[serde(default)]
    pub files: Vec<ManifestFile>,
    /// On-site releases of revisions, for all their architectures. If present, they replace the channel map of the
    /// metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ManifestRelease>,
}

/// A file that a bundle must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestFile {
    /// Its name, with or without folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA3-384 of its content, 96 hexadecimal digits in lower case.
    #[serde(default, rename = "sha3-384", skip_serializing_if = "Option::is_none")]
    pub sha3_384: Option<String>,
}

/// The channels of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestRelease {
    /// Which revision of the snap.
    #[serde(deserialize_with = "json::revision")]
    pub revision: u32,
    /// Where it is released.
    pub channels: Vec<Channel>,
}

/// Why a manifest is unusable or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The format is newer than this version.
    #[error(
        "the bundle has format {0}, which this version cannot read: upgrade the store, or fetch with the matching version"
    )]
    Newer(u32),
    /// A listed file is missing.
    #[error("{0:?} is missing from the bundle although its manifest lists it: fetch it again")]
    Missing(String),
    /// A listed file differs.
    #[error("{0:?} is not the file that the manifest lists: size or digest differ")]
    Differs(String),
}

impl Manifest {
    /// The format that is written, and the newest that is read.
    pub const FORMAT: u32 = 1;

    /// An empty manifest.
    #[must_use]
    pub fn new(tool: &str) -> Self {
        Self {
            format: Self::FORMAT,
            tool: tool.into(),
            time: None,
            store: None,
            stores: BTreeMap::new(),
            files: Vec::new(),
            releases: Vec::new(),
        }
    }

    /// Reads `manifest.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        /// Read first: the format decides whether the rest can be understood.
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form = json::parse("manifest.json", bytes)?;
        if form.format > Self::FORMAT {
            return Err(ManifestError::Newer(form.format).into());
        }
        json::parse("manifest.json", bytes)
    }

    /// Checks that every listed file is present. `found` returns size and digest (hexadecimal) of a member by name.
    pub fn check<'a>(&self, found: impl Fn(&str) -> Option<(u64, &'a str)>) -> Result<(), ManifestError> {
        for file in &self.files {
            let Some((size, digest)) = found(&file.name) else {
                return Err(ManifestError::Missing(file.name.chars().take(80).collect()));
            };
            if size != file.size || file.sha3_384.as_ref().is_some_and(|wanted| wanted != digest) {
                return Err(ManifestError::Differs(file.name.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_known_and_ignores_the_rest() {
        let manifest = Manifest::parse(
            br#"{"format":1,"tool":"t 1","store":"acme","new-field":{"a":[1]},
                "files":[{"name":"jq_6.snap","size":7,"sha256":"x","sha3-384":"ab"}],
                "releases":[{"revision":6,"channels":["stable","3/edge/fix"]}]}"#,
        )
        .expect("a manifest");
        assert_eq!(manifest.store, Some("acme".parse().expect("an id")));
        assert_eq!(manifest.releases[0].channels[0].to_string(), "latest/stable");
        let written = serde_json::to_vec(&manifest).expect("json");
        assert_eq!(Manifest::parse(&written).expect("a manifest"), manifest);
        assert_eq!(Manifest::parse(br#"{"format":1}"#).expect("a manifest"), Manifest::new(""));
    }

    #[test]
    fn refuses_what_is_malformed() {
        let newer = Manifest::parse(br#"{"format":2,"files":"other"}"#);
        assert!(matches!(newer, Err(BundleError::Manifest(ManifestError::Newer(2)))), "{newer:?}");
        for bad in [
            r#"{}"#,
            r#"{"format":"1"}"#,
            r#"{"format":1.0}"#,
            r#"{"format":1,"store":"a b"}"#,
            r#"{"format":1,"files":[{"name":"a","size":-1}]}"#,
            r#"{"format":1,"files":[{"name":"a","size":1e3}]}"#,
            r#"{"format":1,"releases":[{"revision":0,"channels":[]}]}"#,
            r#"{"format":1,"releases":[{"revision":2147483648,"channels":[]}]}"#,
            r#"{"format":1,"releases":[{"revision":1,"channels":["nowhere/at/all"]}]}"#,
            r#"{"format":1,"format":1}"#,
        ] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_listed_must_be_there() {
        let manifest = Manifest::parse(br#"{"format":1,"files":[{"name":"a","size":7,"sha3-384":"ab"}]}"#)
            .expect("a manifest");
        let check = |size, digest| manifest.check(|name| (name == "a").then_some((size, digest)));
        assert_eq!(check(7, "ab"), Ok(()));
        assert_eq!(check(8, "ab"), Err(ManifestError::Differs("a".into())));
        assert_eq!(check(7, "cd"), Err(ManifestError::Differs("a".into())));
        assert_eq!(manifest.check(|_| None), Err(ManifestError::Missing("a".into())));
    }
}
