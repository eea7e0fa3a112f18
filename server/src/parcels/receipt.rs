//! What a receipt names.

use schema::assertion::AssertionType;
use schema::digest::Sha3_384;
use schema::parcel::release_id;

use crate::catalog::Catalog;

/// The names of everything that a sender may leave out: sound files, assertions, and entries of imported channel maps.
pub(crate) fn names(catalog: &Catalog) -> Vec<Sha3_384> {
    let files = catalog.blobs().filter(|blob| !blob.checks.is_damaged()).map(|blob| blob.digest);
    // Serials are of devices, and given out on site: no sender has them.
    let kinds = AssertionType::ALL.into_iter().filter(|kind| *kind != AssertionType::Serial);
    let documents = kinds.flat_map(|kind| catalog.assertions.all_of_kind(kind));
    let mut names: Vec<Sha3_384> =
        files.chain(documents.map(|held| Sha3_384::of(held.bytes()))).chain(releases(catalog)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn releases(catalog: &Catalog) -> impl Iterator<Item = Sha3_384> {
    let all = catalog.snaps().flat_map(|snap| snap.imported.iter());
    all.map(|one| {
        release_id(&one.snap_id, &one.channel.to_string(), &one.architecture.to_string(), one.revision)
    })
}

/// The digest of the channel map as devices get it, in hexadecimal.
pub(crate) fn channel_map(catalog: &Catalog) -> String {
    let mut lines: Vec<String> = Vec::new();
    for snap in catalog.snaps() {
        lines.extend(
            snap.releases
                .iter()
                .map(|one| format!("{} {} {} {}\n", snap.id, one.channel, one.architecture, one.revision)),
        );
    }
    lines.sort_unstable();
    Sha3_384::of(lines.concat().as_bytes()).to_hex()
}
