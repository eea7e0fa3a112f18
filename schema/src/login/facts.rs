//! The claims of a login: the caveats that a store writes into its macaroons.
//!
//! ```text
//! dashboard.snapcraft.io|acl|["package_access"]
//! dashboard.snapcraft.io|expires|2026-12-31T00:00:00.000
//! login.ubuntu.com|account|base64 of {"username": "ann", ...}
//! ```
//!
//! Only the store that issued a macaroon can verify it, so this is for display and decides nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Macaroon;

/// The claims of a login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// The account's name.
    pub account: Option<String>,
    /// What it permits.
    pub permissions: Vec<String>,
    /// Which stores it is limited to.
    pub stores: Vec<String>,
    /// When it expires, as written.
    pub expires: Option<String>,
}

impl Facts {
    /// When it expired, as written, if that was before `now`.
    #[must_use]
    pub fn expired(&self, now: OffsetDateTime) -> Option<&str> {
        let expires = self.expires.as_deref()?;
        // The public store writes no time zone and means UTC.
        let end = OffsetDateTime::parse(expires, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{expires}Z"), &Rfc3339));
        end.is_ok_and(|end| end <= now).then_some(expires)
    }

    pub(super) fn of<'a>(root: &str, discharges: impl Iterator<Item = &'a str>) -> Self {
        let mut facts = Self::default();
        if let Ok(root) = Macaroon::parse(root) {
            root.caveats().for_each(|caveat| facts.note(caveat, true));
        }
        for discharge in discharges.filter_map(|text| Macaroon::parse(text).ok()) {
            discharge.caveats().for_each(|caveat| facts.note(caveat, false));
        }
        facts
    }

    fn note(&mut self, caveat: &str, of_root: bool) {
        #[derive(Deserialize)]
        struct Account {
            username: Option<String>,
        }
        let mut parts = caveat.splitn(3, '|');
        let (Some(_), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else { return };
        match key {
            "acl" => self.permissions.extend(list(value)),
            "store" | "store_ids" => self.stores.extend(list(value)),
            // A discharge is renewed when it expires; the root is not.
            "expires" if of_root => {
                let earlier = self.expires.as_deref().is_none_or(|known| value < known);
                self.expires = if earlier { Some(value.to_owned()) } else { self.expires.take() };
            }
            "account" => {
                let json = STANDARD.decode(value).ok();
                let account: Option<Account> = json.and_then(|json| serde_json::from_slice(&json).ok());
                self.account = account.and_then(|account| account.username).or(self.account.take());
            }
            _ => {}
        }
    }
}

/// A JSON list of texts, or a single text.
fn list(value: &str) -> Vec<String> {
    serde_json::from_str(value).unwrap_or_else(|_| vec![value.to_owned()])
}
