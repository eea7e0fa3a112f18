//! `store`: a store as its operator runs it, and where it is.

use time::OffsetDateTime;
use url::Url;

use crate::assertion::fields::{Fields, Result};
use crate::assertion::scalars;

/// A store.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are headers")]
pub struct Store {
    pub store: String,
    pub operator_id: String,
    /// The URL at which devices find it, as written.
    pub url: Option<String>,
    pub friendly_stores: Vec<String>,
    pub location: Option<String>,
    pub timestamp: OffsetDateTime,
}

pub(super) fn store(fields: &Fields<'_>) -> Result<Store> {
    Ok(Store {
        store: fields.required("store")?.to_owned(),
        operator_id: fields.required("operator-id")?.to_owned(),
        url: fields
            .optional_matching(
                "url",
                is_store_url,
                "must be http or https with a host and no query or fragment",
            )?
            .map(str::to_owned),
        friendly_stores: fields.texts("friendly-stores", scalars::is_store_id, "must be a store id")?,
        location: fields.optional("location")?.map(str::to_owned),
        timestamp: fields.date("timestamp")?,
    })
}

fn is_store_url(text: &str) -> bool {
    // The URL parser follows browsers, which find a host in `https:///path`.
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    !rest.starts_with(['/', '\\'])
        && Url::parse(text).is_ok_and(|url| {
            ["http", "https"].contains(&url.scheme())
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}
