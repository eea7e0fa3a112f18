//! The files that cross the air gap: snap bundles and brand store metadata, over `Read` and `Write`; and what snaps
//! say about themselves.
//!
//! A snap bundle is a tar archive, plain or compressed with gzip:
//!
//! ```text
//! jq-20260919T154844.tar.gz
//! ├─ manifest.json     what is inside and where it comes from (see [`Manifest`])
//! ├─ metadata.json     the store's answer for the snap, with its channel map (see [`Metadata`])
//! ├─ jq_6.snap         the snap, and its components as NAME+COMPONENT_REVISION.comp
//! └─ jq_6.assert       every assertion that the snap needs, in any order
//! ```
//!
//! A store archive is a bundle of many snaps with the metadata of their store, imported as one:
//!
//! ```text
//! store-export-AcmeDevices-20260919T154844.tar.gz
//! ├─ manifest.json
//! ├─ store.json                the brand store metadata (see [`BrandStores`])
//! ├─ keys.assert               the brand's account and keys
//! └─ snaps/jq/…                the members of each snap's bundle, except the manifest
//! ```
//!
//! [`BundleReader`] reads it once, front to back, within [`Limits`] on the *decoded* bytes. It accepts only archives
//! that all readers interpret the same way. Names in an archive are compared, never turned into paths.
//!
//! `schema/docs/bundles.md` describes the formats for other tools.

mod assemble;
mod decode;
mod error;
mod interfaces;
mod json;
#[cfg(test)]
mod limits;
mod manifest;
mod metadata;
mod names;
mod parts;
mod pax;
mod reader;
mod snap_yaml;
mod stores;
mod tar;
#[cfg(test)]
mod tests;
mod writer;

pub use assemble::Assembler;
pub use error::BundleError;
pub use interfaces::asked_of_device;
pub use manifest::{Manifest, ManifestError, ManifestFile, ManifestRelease};
pub use metadata::{ChannelMapEntry, Metadata, SnapText};
pub use names::MemberKind;
pub use parts::{Part, PartList};
pub use reader::{BundleReader, Member};
pub use snap_yaml::{ComponentYaml, MAX_YAML, SnapYaml, YamlError, default_providers};
pub use stores::{BrandStore, BrandStores, ListedSnap, SnapList};
pub use writer::{BundleWriter, TarWriter};

/// How much a bundle may ask of its reader, in decoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one entry.
    pub entry: u64,
    /// Bytes of one document: manifest, metadata or assertions.
    pub document: u64,
    /// Bytes of all documents together, because they are held in memory.
    pub documents: u64,
    /// Bytes of the whole archive, with headers and padding.
    pub total: u64,
    /// Entries, folders included.
    pub entries: u32,
    /// Bytes of one extension header.
    pub extension: u64,
    /// Decoded bytes per compressed byte, after the first [`Limits::RATIO_FREE`]. Snaps are already compressed, so a
    /// legitimate bundle stays near 1.
    pub ratio: u64,
}

impl Limits {
    /// This many decoded bytes are harmless at any ratio.
    pub const RATIO_FREE: u64 = 16 << 20;

    /// Limits for store archives, which hold the bundles of hundreds of snaps.
    #[must_use]
    pub fn archive() -> Self {
        Self { documents: 128 << 20, total: 1 << 40, entries: 32 << 10, ..Self::default() }
    }

    /// Limits for backups, which hold the whole store.
    #[must_use]
    pub fn backup() -> Self {
        Self { document: 256 << 20, total: 64 << 40, entries: 4 << 20, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entry: 8 << 30,
            document: 8 << 20,
            documents: 32 << 20,
            total: 64 << 30,
            entries: 4096,
            extension: 64 << 10,
            ratio: 100,
        }
    }
}
