//! Why an import is refused or failed.

use std::io;

use schema::api::admin::ViewChange;
use schema::assertion::{AnchorError, CheckError, DecodeError, Problem};
use schema::bundle::{BundleError, ManifestError};
use schema::difference::DifferenceError;
use schema::image::ImageError;

use crate::storage::blobs::BlobError;
use crate::storage::error::{CommitError, StorageError};

/// Why an import is refused or failed. Nothing has changed, unless the result of a commit is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ImportError {
    /// The bundle or metadata file cannot be read.
    #[error("cannot read the file")]
    Bundle(#[from] BundleError),
    /// An icon that no device would accept.
    #[error("{file} has {size} bytes, and an icon has 1 to {limit}")]
    Icon {
        /// Its name in the bundle.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The largest accepted size.
        limit: u64,
    },
    /// There is less room than the file needs.
    #[error(
        "the file has {size} bytes and {folder} has room for {free}: make room with `proxy prune --keep 2 --apply` and \
         `proxy gc`, or keep the files elsewhere with `proxy config proxy.storage.path=FOLDER`"
    )]
    NoRoom {
        /// The file's size.
        size: u64,
        /// The folder.
        folder: String,
        /// Free bytes there.
        free: u64,
    },
    /// The bundle contains nothing usable.
    #[error("there is no snap, no assertion and no metadata of a known snap in the bundle")]
    Empty,
    /// A store archive was pushed as a bundle.
    #[error("this is the archive of a whole store: push it with `proxy push-store`")]
    IsArchive,
    /// A bundle was pushed as a store archive.
    #[error("there is no store.json in the archive; push a snap bundle with `proxy push-snap`")]
    NotArchive,
    /// An assertion file cannot be decoded.
    #[error("cannot read the assertions in {name}")]
    Decode {
        /// The member of the bundle, or `the file`.
        name: String,
        /// The cause.
        #[source]
        source: DecodeError,
    },
    /// An assertion file is empty.
    #[error("cannot read the assertions in {0}: it is empty: copy or fetch it again")]
    NoAssertions(String),
    /// An assertion does not verify, or a prerequisite is missing.
    #[error("cannot accept {what}{}", hint(.source))]
    Unverified {
        /// What was imported.
        what: &'static str,
        /// The assertion and the cause.
        #[source]
        source: Box<CheckError>,
    },
    /// No signed revision has this file.
    #[error(
        "cannot accept {file}: no snap-revision or snap-resource-revision in the bundle or the store names its \
         content (SHA3-384 {digest}); fetch it together with its assertions with `proxy fetch-snaps NAME`"
    )]
    Unsigned {
        /// The file.
        file: String,
        /// Its digest.
        digest: String,
    },
    /// The file contradicts its signed revision.
    #[error("cannot accept {file}: its {what} is {found}, but its signed {signed_by} says {signed}")]
    Mismatch {
        /// The file.
        file: String,
        /// The field that differs.
        what: &'static str,
        /// The file's value.
        found: String,
        /// The signed value.
        signed: String,
        /// The type of the assertion.
        signed_by: &'static str,
    },
    /// The snap's declaration is revoked.
    #[error("cannot accept {file}: the snap-declaration of {snap_id} is revoked")]
    Revoked {
        /// The file.
        file: String,
        /// The snap.
        snap_id: String,
    },
    /// This revision number belongs to another file.
    #[error("cannot accept {file}: revision {revision} of {name} is another file")]
    Conflict {
        /// The file.
        file: String,
        /// The snap or component.
        name: String,
        /// The number.
        revision: u32,
    },
    /// An impossible id or number.
    #[error("cannot accept {file}: {what}")]
    Invalid {
        /// The file.
        file: String,
        /// The problem.
        what: String,
    },
    /// The file is not a readable squashfs image.
    #[error("cannot read {inner} of {file}")]
    Inspect {
        /// The file.
        file: String,
        /// The metadata file in it.
        inner: &'static str,
        /// The cause.
        #[source]
        source: ImageError,
    },
    /// The metadata names another snap than the signed declaration.
    #[error("metadata.json calls {snap_id} {metadata}, but its signed snap-declaration says {declared}")]
    OtherSnap {
        /// The snap.
        snap_id: String,
        /// Its name in the metadata.
        metadata: String,
        /// Its name as signed.
        declared: String,
    },
    /// Releases without a snap name need a bundle with one snap.
    #[error("the manifest releases revisions, but the bundle holds {0} snaps instead of one")]
    AmbiguousReleases(usize),
    /// The manifest takes a file that is here for another revision.
    #[error(
        "the manifest releases revision {wanted}, which is not in the bundle, and not {file}, which is revision {revision}: \
         fetch the snap again with `proxy fetch-snaps NAME`"
    )]
    OtherRevision {
        /// The revision that is released.
        wanted: u32,
        /// The file in the bundle.
        file: String,
        /// The file's revision.
        revision: u32,
    },
    /// A file pushed as account keys contains none.
    #[error("there is no account-key in the file; push other assertions with `proxy push-assertions`")]
    NoAccountKey,
    /// The assertion to replace is not in the file.
    #[error(
        "{0} is to be replaced and is not in the file: give the name as `push-assertions` prints it, such as \
         snap-declaration/16/SNAP_ID"
    )]
    NotBrought(String),
    /// Nothing would be replaced.
    #[error(
        "nothing is to be replaced: the file brings revision {revision} of {name}, and the revision held is {held}; push \
         it without --replace"
    )]
    NotHigher {
        /// The assertion.
        name: String,
        /// The revision in the file.
        revision: u32,
        /// The stored revision.
        held: String,
    },
    /// Something else depends on the higher revision.
    #[error("cannot replace {name}: {by} verifies with its revision {revision} alone")]
    Needed {
        /// The assertion.
        name: String,
        /// The stored revision.
        revision: u32,
        /// What depends on it.
        by: String,
    },
    /// A registration must contain exactly one store.
    #[error("a registration holds exactly one store assertion, and this file holds {0}")]
    NotRegistration(usize),
    /// A trust anchor must be one account with its root key.
    #[error("a trust anchor is one account with its one self-signed account-key, and nothing else")]
    NotAnchor,
    /// The anchor does not verify.
    #[error("cannot trust this")]
    Anchor(#[from] AnchorError),
    /// No added anchor has this fingerprint.
    #[error("{0} is not an added trust anchor; `proxy trust list` shows those")]
    UnknownAnchor(String),
    /// A store cannot change its brand.
    #[error("cannot accept the metadata of store {store}: it belongs to brand {held}, not to {given}")]
    OtherBrand {
        /// The store.
        store: String,
        /// Its brand.
        held: String,
        /// The brand in the file.
        given: String,
    },
    /// A device would see a snap that neither a signature nor the snap's own store allows it to see.
    #[error(
        "more would be seen than the signed declarations and the snaps' own stores allow: {}. If that is meant, push it \
         again with {}",
        .0.iter().map(told).collect::<Vec<_>>().join("; "),
        words(.0)
    )]
    Widens(Vec<ViewChange>),
    /// The list belongs to a store that the file does not describe.
    #[error(
        "the file describes {}, and also lists the snaps of {other}: a file changes its own store alone, so push the \
         metadata of {other} as a file of its own", described.join(", ")
    )]
    OtherStore {
        /// The stores in the file.
        described: Vec<String>,
        /// The store of the list.
        other: String,
    },
    /// A raw list that could belong to several stores.
    #[error(
        "the list of snaps does not say whose it is, and names the stores {}: put the store's own answer into the same \
         file, as {{\"store\": {{…}}, \"snaps\": […]}}", stores.join(", ")
    )]
    WhoseList {
        /// The possible stores.
        stores: Vec<String>,
    },
    /// The global store has no brand.
    #[error("cannot accept metadata of the global store")]
    GlobalStore,
    /// A difference outside of a parcel.
    #[error(
        "{0} is a difference to another file, which only a parcel may hold: push it with `proxy push-parcel`"
    )]
    NotParcel(String),
    /// A difference does not give its file.
    #[error(
        "cannot rebuild {file} from the file that it builds on: its sender has to make the parcel again with --whole-files"
    )]
    Difference {
        /// The difference.
        file: String,
        /// The cause.
        #[source]
        source: DifferenceError,
    },
    /// The parcel in which it came is not taken.
    #[error("{cause}")]
    Parcel {
        /// As in [`ImportError::code`].
        code: &'static str,
        /// The cause.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The files would be stored where the next start does not look for them.
    #[error(
        "the settings name {0} for files from the next start on, and a file that is pushed now would be missing there: restart \
         the server first (`systemctl restart airlock`)"
    )]
    Moving(String),
    /// The files could not be stored.
    #[error("cannot keep the files of the bundle")]
    Blob(#[from] BlobError),
    /// The database failed.
    #[error("cannot use the database")]
    Storage(#[from] StorageError),
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// An internal task failed.
    #[error("cannot finish the import")]
    Internal(#[source] io::Error),
}

impl ImportError {
    /// A stable code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Bundle(BundleError::TooLarge { .. }) => "too-large",
            Self::Bundle(BundleError::Manifest(ManifestError::Newer(_))) => "newer-format",
            Self::Bundle(_)
            | Self::Icon { .. }
            | Self::Empty
            | Self::AmbiguousReleases(_)
            | Self::OtherRevision { .. } => "invalid-bundle",
            Self::Decode { .. } | Self::NoAssertions(_) => "invalid-assertion",
            Self::Unverified { source, .. } if is_missing(source) => "missing-assertion",
            Self::Unverified { .. } => "unverified-assertion",
            Self::Unsigned { .. } => "unsigned-file",
            Self::NoRoom { .. } => "disk-full",
            Self::Moving(_) => "storage-moves",
            Self::Mismatch { .. } | Self::OtherSnap { .. } => "mismatch",
            Self::Revoked { .. } => "revoked",
            Self::Conflict { .. } => "conflict",
            Self::Invalid { .. } | Self::Inspect { .. } => "invalid-snap",
            Self::NotBrought(_) | Self::NotHigher { .. } => "not-replaced",
            Self::Needed { .. } => "still-needed",
            Self::NoAccountKey | Self::NotRegistration(_) | Self::IsArchive | Self::NotArchive => {
                "wrong-kind"
            }
            Self::NotAnchor | Self::Anchor(_) | Self::UnknownAnchor(_) => "invalid-anchor",
            Self::Widens(_) => "wider-view",
            Self::Parcel { code, .. } => code,
            Self::NotParcel(_) | Self::Difference { .. } => "invalid-parcel",
            Self::OtherBrand { .. }
            | Self::GlobalStore
            | Self::OtherStore { .. }
            | Self::WhoseList { .. } => "wrong-store",
            Self::Blob(BlobError::TooLarge { .. }) => "too-large",
            Self::Blob(BlobError::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                "disk-full"
            }
            Self::Storage(StorageError::Full) | Self::Commit(CommitError::Storage(StorageError::Full)) => {
                "disk-full"
            }
            Self::Commit(CommitError::Unknown(_)) => "unknown-outcome",
            Self::Blob(_) | Self::Storage(_) | Self::Commit(_) | Self::Internal(_) => "unavailable",
        }
    }

    /// Whether this store is at fault rather than the input. Retrying may help then.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Blob(error) => !matches!(error, BlobError::TooLarge { .. }),
            Self::NoRoom { .. } | Self::Storage(_) | Self::Commit(_) | Self::Internal(_) => true,
            _ => false,
        }
    }
}

/// A change in one line.
fn told(change: &ViewChange) -> String {
    ViewChange { refused: false, ..change.clone() }.to_string()
}

/// The options that allow these changes.
fn words(changes: &[ViewChange]) -> String {
    let mut names: Vec<&str> = changes.iter().map(|change| &*change.name).collect();
    names.sort_unstable();
    names.dedup();
    format!("--widen {}", names.join(","))
}

/// Whether pushing something else first would help.
fn is_missing(error: &CheckError) -> bool {
    matches!(error.problem, Problem::UnknownKey { .. } | Problem::Missing { .. })
}

fn hint(error: &CheckError) -> &'static str {
    match is_missing(error) {
        true => {
            ": something that one of its assertions needs is missing; fetch it again with `proxy fetch-snaps`, or \
             bring what is named below with `proxy push-account-keys` or `proxy push-assertions`"
        }
        false => "",
    }
}
