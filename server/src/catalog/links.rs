//! The paths that links in answers are made of; `http/routes.rs` serves them.

use schema::digest::Sha3_384;

/// Where a snap revision is downloaded.
pub(super) fn snap_path(snap_id: &str, revision: u32) -> String {
    format!("/api/v1/snaps/download/{snap_id}_{revision}.snap")
}

/// Where a picture is fetched: by its content, since snapd asks for it without saying who it is.
pub(super) fn icon_path(digest: &Sha3_384, format: &str) -> String {
    format!("/icons/{}.{format}", digest.to_hex())
}

/// Where a component revision is downloaded.
pub(super) fn component_path(snap_id: &str, component: &str, revision: u32) -> String {
    format!("/api/v1/snaps/resources/download/{snap_id}_{component}_{revision}.comp")
}
