//! The style sheet, the scripts and the icon: in the program, each under a name that changes with its content, so that a browser may
//! keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use schema::digest::hex;
use sha2::{Digest, Sha256};

/// A file and the name that its content gives it.
pub(super) struct Asset {
    /// Where a page finds it.
    pub(super) path: String,
    kind: &'static str,
    content: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, content: &'static [u8]) -> Self {
        let print = hex(&Sha256::digest(content)[..8]);
        Self { path: format!("/pages/assets/{stem}-{print}.{extension}"), kind, content }
    }
}

/// The style sheet.
pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("style", "css", "text/css; charset=utf-8", include_bytes!("assets/style.css"))
});
/// What keeps a page up to date.
pub(super) static LIVE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", SCRIPT, include_bytes!("assets/live.js")));
/// htmx, which replaces parts of a page.
pub(super) static HTMX: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("htmx", "js", SCRIPT, include_bytes!("assets/htmx-2.0.11.min.js")));
/// The icon.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("assets/icon.svg")));

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Answers with one of them.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let is_it = |asset: &&Asset| asset.path.strip_prefix("/pages/assets/") == Some(&name);
    match [&*STYLE, &*LIVE, &*HTMX, &*ICON].into_iter().find(is_it) {
        Some(asset) => {
            let headers =
                [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
