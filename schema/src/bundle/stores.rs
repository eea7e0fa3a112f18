//! Brand store metadata: the stores, and the snaps that each of them lists.
//!
//! Four forms are accepted: the combined file, and the store's raw answers for a store, for its list of snaps, or for
//! both at once.
//!
//! ```json
//! {"format": 1, "stores": [{"id": "AcmeDevices", …}], "snaps": {"AcmeDevices": [{"id": "…", …}]}}
//! {"store": {"id": "AcmeDevices", "brand-id": "acme", "name": "Acme Devices", …}, "users": […]}
//! {"snaps": [{"id": "…", "name": "acme-app", "store": "AcmeBase", "other-stores": ["AcmeDevices"], …}]}
//! ```
//!
//! The raw answers contain names and mail addresses of people, which serve no purpose on site. Only the fields below
//! are kept, so no personal data enters the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BundleError, ManifestError, json};
use crate::store::{SnapId, SnapName, StoreId};

/// The contents of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandStores {
    /// The stores, each once.
    pub stores: Vec<BrandStore>,
    /// The lists of snaps.
    pub snaps: SnapList,
}

/// The listed snaps, and the store they are listed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapList {
    /// The complete lists of these stores.
    Of(BTreeMap<StoreId, Vec<ListedSnap>>),
    /// A raw answer: it names the stores of each snap, but not the store that it is the list of.
    Bare(Vec<ListedSnap>),
}

/// A brand store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BrandStore {
    /// Its id.
    pub id: StoreId,
    /// The account id of the brand.
    pub brand_id: String,
    /// What the brand calls it.
    #[serde(default)]
    pub name: String,
    /// The base store of a device view.
    #[serde(default)]
    pub parent: Option<StoreId>,
    /// Other settings from the answer, unchanged.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl BrandStore {
    /// The settings that are kept; none of them concerns a person.
    pub const SETTINGS: [&str; 6] = [
        "private",
        "manual-review-policy",
        "store-whitelist",
        "allowed-inclusion-source-stores",
        "allowed-inclusion-target-stores",
        "snap-name-prefixes",
    ];
}

/// One snap of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedSnap {
    /// Its permanent id.
    pub id: SnapId,
    /// Its name.
    pub name: SnapName,
    /// The store it was published in.
    #[serde(default)]
    pub store: Option<StoreId>,
    /// Stores it was opened to.
    #[serde(default)]
    pub other_stores: Vec<StoreId>,
    /// Stores that include it.
    #[serde(default)]
    pub included_stores: Vec<StoreId>,
    /// Whether every device of the store needs it.
    #[serde(default)]
    pub essential: bool,
    /// Whether only accounts with access may see it.
    #[serde(default)]
    pub private: bool,
}

impl BrandStores {
    /// The combined form that is written, and the newest that is read.
    pub const FORMAT: u32 = 1;

    /// Reads a metadata file in any of its forms.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        const NAME: &str = "the brand store metadata";
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            format: u32,
            stores: Option<Vec<BrandStore>>,
            store: Option<BrandStore>,
            snaps: Option<Snaps>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Snaps {
            Of(BTreeMap<StoreId, Value>),
            Bare(Value),
        }
        let list = |value| -> Result<Vec<ListedSnap>, BundleError> {
            json::from_value(value).map_err(|source| BundleError::Json { name: NAME, source })
        };
        let file: File = json::parse(NAME, bytes)?;
        if file.format > Self::FORMAT {
            return Err(ManifestError::Newer(file.format).into());
        }
        let (mut stores, single) = match (file.stores, file.store) {
            (Some(stores), None) => (stores, None),
            (None, Some(store)) => (vec![store.clone()], Some(store.id)),
            (None, None) if file.snaps.is_some() => (Vec::new(), None),
            _ => {
                return Err(BundleError::Form(
                    "this is not brand store metadata: it has no \"stores\", \"store\" or \"snaps\"",
                ));
            }
        };
        for store in &mut stores {
            store.settings.retain(|key, _| BrandStore::SETTINGS.contains(&key.as_str()));
        }
        let snaps = match (file.snaps, single) {
            (None, _) => SnapList::Of(BTreeMap::new()),
            (Some(Snaps::Of(lists)), _) => {
                SnapList::Of(lists.into_iter().map(|(id, value)| Ok((id, list(value)?))).collect::<Result<
                    _,
                    BundleError,
                >>(
                )?)
            }
            (Some(Snaps::Bare(value)), Some(id)) => SnapList::Of(BTreeMap::from([(id, list(value)?)])),
            (Some(Snaps::Bare(value)), None) => SnapList::Bare(list(value)?),
        };
        let read = Self { stores, snaps };
        read.check()?;
        Ok(read)
    }

    /// Rejects repeated entries, because they could contradict each other.
    fn check(&self) -> Result<(), BundleError> {
        let twice = |mut ids: Vec<&str>| {
            ids.sort_unstable();
            ids.windows(2).any(|pair| pair[0] == pair[1])
        };
        if twice(self.stores.iter().map(|store| store.id.as_str()).collect()) {
            return Err(BundleError::Form("the brand store metadata describes one store twice"));
        }
        let lists: Vec<&Vec<ListedSnap>> = match &self.snaps {
            SnapList::Of(lists) => lists.values().collect(),
            SnapList::Bare(list) => vec![list],
        };
        if lists.into_iter().any(|list| twice(list.iter().map(|snap| snap.id.as_str()).collect())) {
            return Err(BundleError::Form("the brand store metadata lists one snap twice in a store"));
        }
        Ok(())
    }

    /// The combined form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let snaps = match &self.snaps {
            SnapList::Of(lists) => serde_json::json!(lists),
            SnapList::Bare(list) => serde_json::json!(list),
        };
        serde_json::json!({ "format": Self::FORMAT, "stores": self.stores, "snaps": snaps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = r#"{"id":"AcmeDevices","brand-id":"acme","name":"Acme Devices","private":true,"parent":"AcmeBase",
        "roles":[{"role":"admin"}],"email":"boss@acme.example","allowed-inclusion-source-stores":["AcmeBase"]}"#;
    const SNAP: &str = r#"{"id":"fLowMeTer1234567890abcdefGHIJKLM","essential":false,"name":"flowmeter","private":true,
        "users":[{"displayname":"Ann","email":"ann@acme.example","roles":["owner"]}],"store":"AcmeBase",
        "other-stores":["AcmeDevices"],"included-stores":[],"latest-release":{"revision":13}}"#;

    #[test]
    fn every_form_is_read_and_people_are_left_out() {
        let combined = format!(r#"{{"format":1,"stores":[{STORE}],"snaps":{{"AcmeDevices":[{SNAP}]}}}}"#);
        let both = format!(r#"{{"store":{STORE},"snaps":[{SNAP}],"users":[{{"email":"x@y"}}]}}"#);
        let combined = BrandStores::parse(combined.as_bytes()).expect("the combined form");
        assert_eq!(BrandStores::parse(both.as_bytes()).expect("both answers"), combined);
        let text = combined.to_json().to_string();
        assert!(!text.contains('@') && !text.contains("Ann") && !text.contains("roles"), "{text}");
        assert!(text.contains("allowed-inclusion-source-stores"), "{text}");
        assert_eq!(BrandStores::parse(text.as_bytes()).expect("what was written"), combined);

        let store = format!(r#"{{"store":{STORE},"users":[],"invites":[{{"email":"x@y"}}]}}"#);
        let store = BrandStores::parse(store.as_bytes()).expect("a store's answer");
        assert_eq!(store, BrandStores { snaps: SnapList::Of(BTreeMap::new()), ..combined });
        let snaps = BrandStores::parse(format!(r#"{{"snaps":[{SNAP}]}}"#).as_bytes()).expect("a list");
        assert!(matches!(snaps.snaps, SnapList::Bare(list) if list.len() == 1));
    }

    #[test]
    fn malformed_metadata_is_refused() {
        for bad in [
            "{}".to_owned(),
            "[]".into(),
            format!(r#"{{"stores":[{STORE}],"store":{STORE}}}"#),
            format!(r#"{{"stores":[{STORE},{STORE}]}}"#),
            format!(r#"{{"snaps":[{SNAP},{SNAP}]}}"#),
            format!(r#"{{"format":2,"stores":[{STORE}]}}"#),
            r#"{"store":{"id":"a b","brand-id":"acme"}}"#.into(),
            r#"{"store":{"id":"a"}}"#.into(),
            r#"{"snaps":[{"id":"short","name":"ab"}]}"#.into(),
            r#"{"snaps":"x"}"#.into(),
            r#"{"snaps":{"a b":[]}}"#.into(),
        ] {
            assert!(BrandStores::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let error =
            BrandStores::parse(br#"{"stores":[{"id":"a","brand-id":"acme"},{"id":"b"}]}"#).unwrap_err();
        let text = crate::causes::one_line(&error);
        assert!(text.contains("in stores[1]: brand-id is missing"), "{text}");
    }
}
