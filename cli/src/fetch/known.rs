//! What the other side has: from earlier bundles, or from the receipt of a site.

use std::collections::HashSet;

use schema::bundle::{ManifestRelease, Metadata};
use schema::digest::Sha3_384;
use schema::parcel::release_id;
use schema::store::{Architecture, SnapId, SnapName};

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
        let releases = bundles.iter().flat_map(releases_of);
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

/// The releases of a bundle: those of its manifest, which replace those of its channel map.
fn releases_of(bundle: &Contents) -> Vec<Sha3_384> {
    let own = bundle.manifest.as_ref().map(|manifest| &manifest.releases[..]).unwrap_or_default();
    match (own, &bundle.metadata[..]) {
        ([_, ..], [about]) => on_site(&about.snap_id, own, |_| vec![Architecture::all()]),
        (_, all) => all.iter().flat_map(releases).collect(),
    }
}

/// The releases of a manifest, which are for all architectures of a revision.
pub(crate) fn on_site(
    snap_id: &SnapId,
    releases: &[ManifestRelease],
    architectures: impl Fn(u32) -> Vec<Architecture>,
) -> Vec<Sha3_384> {
    let names = releases.iter().flat_map(|release| {
        let channels = release.channels.iter().map(ToString::to_string);
        let places = channels.flat_map(|channel| {
            architectures(release.revision).into_iter().map(move |one| (channel.clone(), one))
        });
        places
            .map(|(channel, one)| release_id(snap_id.as_str(), &channel, one.as_str(), release.revision))
            .collect::<Vec<_>>()
    });
    names.collect()
}

/// The entries of a channel map.
pub(crate) fn releases(metadata: &Metadata) -> impl Iterator<Item = Sha3_384> {
    metadata.channel_map.iter().map(|one| {
        let (channel, architecture) = (one.channel.to_string(), one.architecture.to_string());
        release_id(metadata.snap_id.as_str(), &channel, &architecture, one.revision)
    })
}
