//! The style sheet, the scripts and the icon: in the program, each under a name that changes with its content, so that a browser may
//! keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use serde_json::Value;

    /// The licences, each beside what others wrote.
    fn licences() -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/assets");
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| Some(name.strip_suffix(".LICENSE")?.to_owned())).collect()
    }

    #[test]
    fn what_others_wrote_is_on_the_list_of_materials() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let made = Command::new(root.join("packaging/sbom")).current_dir(root).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let list: Value = serde_json::from_slice(&made.stdout).unwrap();
        let components = list["components"].as_array().unwrap();
        assert_eq!(licences(), ["htmx"]);
        let htmx =
            components.iter().find(|component| component["name"] == "htmx").expect("htmx is on the list");
        assert_eq!(htmx["licenses"][0]["expression"], "0BSD");
        assert!(super::HTMX.path.contains("htmx"));
        let content = schema::digest::hex(&<sha2::Sha256 as sha2::Digest>::digest(super::HTMX.content));
        assert_eq!(
            htmx["hashes"][0]["content"],
            Value::from(content),
            "the list names the file that is in the program"
        );
        let needed = list["dependencies"][0]["dependsOn"].to_string();
        assert!(needed.contains("htmx"), "{needed}");
    }
}
