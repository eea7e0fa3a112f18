//! The trust anchors for fetched assertions: the root of the public snap world, and roots from files.

use std::path::PathBuf;

use anyhow::Context as _;
use schema::assertion::Anchors;

use crate::documents::read_document;

/// The roots that a command trusts.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// Also trust the account of FILE and its self-signed root keys, for this run; may be repeated
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

impl TrustArgs {
    /// The anchors of the public snap world, and those in the files.
    ///
    /// # Errors
    /// A file cannot be read, or contains no root.
    pub(crate) fn anchors(&self) -> anyhow::Result<Anchors> {
        self.trust.iter().try_fold(Anchors::production(), |anchors, path| {
            let text = read_document(path)?;
            anchors.with_stream(&text).with_context(|| format!("cannot trust {}", path.display()))
        })
    }
}
