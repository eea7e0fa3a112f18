//! The pages for a browser.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A link that opens the pages once, with the rights of whoever asked for it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PageLink {
    /// The link.
    pub url: String,
    /// When it ends unused, RFC 3339.
    pub until: String,
}

/// Whoever has the link may use it, so it stays out of debug output.
impl std::fmt::Debug for PageLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageLink(until {})", self.until)
    }
}
