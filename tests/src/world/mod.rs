//! A throw-away world of signed documents: a root that a store can be told to trust, accounts, brands with models
//! and serials, and snaps. Everything has a sound default, so that a test spells out only its own subject.
//!
//! ```text
//! root key ──signs──► store key ──signs──► accounts, account keys, declarations, revisions, store assertions
//!                                              brand's key ──signs──► models, serials, validation sets
//! ```

mod brand;
mod snaps;

use std::sync::Arc;

use schema::assertion::{Assertion, AssertionType, Builder, HeaderValue, Map, SigningKey};

pub use self::brand::{Brand, Identity};
pub use self::snaps::{Component, Revision, Snap};
use crate::keys::Keyring;

/// When every key became valid.
pub const SINCE: &str = "2020-01-01T00:00:00Z";
/// When every document was made.
pub const TIMESTAMP: &str = "2024-01-02T03:04:05Z";

/// A root of trust and what it vouches for. Cheap to clone.
#[derive(Clone)]
pub struct World {
    keys: Keyring,
    /// The account that the root key speaks for.
    pub root_id: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// The usual world of tests.
    #[must_use]
    pub fn new() -> Self {
        Self::rooted("test-root")
    }

    /// A world with a root of its own; two roots know nothing of each other.
    #[must_use]
    pub fn rooted(root_id: &str) -> Self {
        Self::with_keys(root_id, Keyring::shared())
    }

    /// A world with keys of its own.
    #[must_use]
    pub fn with_keys(root_id: &str, keys: Keyring) -> Self {
        Self { keys, root_id: root_id.to_owned() }
    }

    /// A key of this world by name.
    #[must_use]
    pub fn key(&self, name: &str) -> Arc<SigningKey> {
        self.keys.key(&format!("{}-{name}", self.root_id))
    }

    /// The root account, signed by the root key.
    #[must_use]
    pub fn root_account(&self) -> Assertion {
        self.account_of(&self.root_id).sign(&self.key("root"))
    }

    /// The self-signed root key.
    #[must_use]
    pub fn root_key(&self) -> Assertion {
        self.account_key_of(&self.root_id, "root", &self.key("root")).sign(&self.key("root"))
    }

    /// The key that signs what a store vouches for, signed by the root.
    #[must_use]
    pub fn store_key(&self) -> Assertion {
        self.account_key_of(&self.root_id, "store", &self.key("store")).sign(&self.key("root"))
    }

    /// What `proxy trust add` takes.
    #[must_use]
    pub fn anchors(&self) -> Vec<u8> {
        stream(&[self.root_account(), self.root_key()])
    }

    /// Signs as the store that everybody trusts.
    #[must_use]
    pub fn sign(&self, document: &Builder) -> Assertion {
        document.sign(&self.key("store"))
    }

    /// Starts an account assertion.
    #[must_use]
    pub fn account_of(&self, id: &str) -> Builder {
        Builder::new(AssertionType::Account)
            .header("authority-id", &self.root_id)
            .header("account-id", id)
            .header("display-name", capitalised(id))
            .header("username", id)
            .header("validation", "verified")
            .header("timestamp", TIMESTAMP)
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: &str) -> Assertion {
        self.sign(&self.account_of(id))
    }

    /// Starts an account-key assertion.
    #[must_use]
    pub fn account_key_of(&self, account: &str, name: &str, key: &SigningKey) -> Builder {
        Builder::new(AssertionType::AccountKey)
            .header("authority-id", &self.root_id)
            .header("public-key-sha3-384", key.public().id())
            .header("account-id", account)
            .header("name", name)
            .header("since", SINCE)
            .body(key.public().encode())
    }

    /// A brand: an account with a key for models and one for serials.
    #[must_use]
    pub fn brand(&self, id: &str) -> Brand {
        Brand { world: self.clone(), id: id.to_owned() }
    }

    /// A strictly confined app of the publisher `dev`, for every architecture.
    #[must_use]
    pub fn snap(&self, name: &str) -> Snap {
        Snap::new(self, name)
    }

    /// A store assertion that points devices at `url`, with the documents it depends on.
    #[must_use]
    pub fn registration(&self, store: &str, operator: &str, url: &str) -> Vec<u8> {
        let store = Builder::new(AssertionType::Store)
            .header("authority-id", &self.root_id)
            .header("store", store)
            .header("operator-id", operator)
            .header("url", url)
            .header("timestamp", TIMESTAMP);
        stream(&[self.store_key(), self.account(operator), self.sign(&store)])
    }
}

/// Assertions one after another, as files hold them.
#[must_use]
pub fn stream(assertions: &[Assertion]) -> Vec<u8> {
    let texts: Vec<&[u8]> = assertions.iter().map(Assertion::bytes).collect();
    texts.join(&b'\n')
}

/// A map header.
#[must_use]
pub fn map(entries: &[(&str, &str)]) -> Map {
    entries.iter().map(|&(name, value)| (name.to_owned(), HeaderValue::from(value))).collect()
}

fn capitalised(id: &str) -> String {
    let mut letters = id.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use schema::assertion::{Anchors, Checker, KeyTime, check_batch};

    use super::*;

    #[test]
    fn a_world_convinces_whoever_trusts_its_root() {
        let world = World::new();
        let brand = world.brand("acme");
        let model = brand.model_in("gateway", "AcmeStore");
        let device = brand.device(&model, "SN-1");
        let snap = world.snap("hello").publisher("acme").component("extra", 2).revision(7);
        let set = brand.validation_set("line", 1, vec![map(&[("name", "hello"), ("id", &snap.snap.id)])]);

        let mut all = Assertion::decode_stream(&brand.account_keys()).unwrap();
        all.extend(snap.assertions());
        all.extend([model, device.serial, set]);
        let anchors = Anchors::none().with_stream(&world.anchors()).unwrap();
        let checker = Checker { anchors: &anchors, source: &anchors, time: KeyTime::DocumentTime };
        let outcome = check_batch(all, &checker).unwrap();
        assert_eq!(outcome.verified.len(), 11);

        let production = Anchors::production();
        let stranger = Checker { anchors: &production, source: &production, ..checker };
        assert!(check_batch(snap.assertions(), &stranger).is_err());
    }
}
