//! The trust anchors for fetched assertions: the root of the public snap world, and roots from files; what does not reach one.

use std::path::PathBuf;

use anyhow::Context as _;
use schema::assertion::{Anchors, BatchError, Problem};

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

/// Why documents are not verified, with what helps here: nothing can be pushed to a file or to another store.
pub(crate) fn unproven(error: BatchError) -> anyhow::Error {
    let why = match &error.cause.problem {
        Problem::UnknownKey { key_id, authority } => format!(
            "its signing key {key_id} of account {authority:?} is not trusted here: if it is the root of a store of its own, \
             give --trust FILE with that root"
        ),
        Problem::Missing { missing } => format!("it refers to {missing}, which does not come with it"),
        _ => return error.into(),
    };
    anyhow::anyhow!(why).context(error.cause.to_string())
}
