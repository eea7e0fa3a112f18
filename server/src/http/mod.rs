//! What devices reach over HTTP.

pub(crate) mod blob_body;
pub(crate) mod range;
