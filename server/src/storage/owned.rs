//! Which blobs are owned: one answer for both the check of the store and the clean-up.

use std::collections::BTreeMap;

use schema::digest::Sha3_384;

use super::records::Snapshot;

/// The part of a snap that needs a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A revision of the snap.
    Revision(u32),
    /// A revision of one of its components.
    Component(String, u32),
    /// Its icon.
    Icon,
}

/// The owner of a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The snap's id.
    pub(crate) snap_id: String,
    /// The part of the snap.
    pub(crate) part: Part,
}

impl Snapshot {
    /// Every blob that a row needs, with its owners. Any other blob may be removed.
    pub(crate) fn owned_blobs(&self) -> BTreeMap<Sha3_384, Vec<Owner>> {
        let mut owned: BTreeMap<Sha3_384, Vec<Owner>> = BTreeMap::new();
        let mut own = |digest, snap_id: &str, part| {
            owned.entry(digest).or_default().push(Owner { snap_id: snap_id.to_owned(), part });
        };
        for row in &self.revisions {
            own(row.blob, &row.snap_id, Part::Revision(row.revision));
        }
        for row in &self.components {
            own(row.blob, &row.snap_id, Part::Component(row.name.clone(), row.revision));
        }
        for row in &self.snaps {
            let icon = row.text.get("icon").and_then(|icon| icon.get("sha3-384")?.as_str());
            if let Some(Ok(digest)) = icon.map(Sha3_384::from_hex) {
                own(digest, &row.snap_id, Part::Icon);
            }
        }
        owned
    }
}
