//! What the other side has: from earlier bundles, or from the receipt of a site.

use std::collections::HashSet;

use schema::bundle::Metadata;
use schema::digest::Sha3_384;
use schema::parcel::release_id;
use schema::store::SnapName;

use super::contents::Contents;
use crate::sender::Destination;

/// What need not be fetched.
pub(crate) enum Known {
    /// What earlier bundles hold; nothing, if there are none.
    Bundles {
        /// Files, documents and releases, by their names in receipts.
        held: HashSet<Sha3_384>,
        /// The snaps in them.
        names: HashSet<SnapName>,
    },
    /// What a site holds.
    Site(Box<Destination>),
}

impl Known {
    /// What these bundles hold.
    pub(crate) fn of_bundles(bundles: &[Contents]) -> Self {
        let files = bundles.iter().flat_map(|one| &one.files).map(|file| file.digest);
        let documents = bundles.iter().flat_map(|one| &one.assertions).map(|one| Sha3_384::of(one.bytes()));
        let releases = bundles.iter().flat_map(|one| &one.metadata).flat_map(releases);
        let names = bundles.iter().flat_map(Contents::names).cloned().collect();
        Self::Bundles { held: files.chain(documents).chain(releases).collect(), names }
    }

    /// Whether it is there.
    pub(crate) fn has(&self, name: &Sha3_384) -> bool {
        match self {
            Self::Bundles { held, .. } => held.contains(name),
            Self::Site(site) => site.has(name),
        }
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Bundles { held, .. } if held.is_empty())
    }

    /// The snaps that are there for sure.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SnapName> {
        let names = match self {
            Self::Bundles { names, .. } => Some(names),
            Self::Site(_) => None,
        };
        names.into_iter().flatten()
    }
}

/// The entries of a channel map.
pub(crate) fn releases(metadata: &Metadata) -> impl Iterator<Item = Sha3_384> {
    metadata.channel_map.iter().map(|one| {
        let (channel, architecture) = (one.channel.to_string(), one.architecture.to_string());
        release_id(metadata.snap_id.as_str(), &channel, &architecture, one.revision)
    })
}
