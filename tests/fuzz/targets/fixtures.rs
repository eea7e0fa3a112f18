//! The signed documents of the repository: what is really signed, and by whom. Nothing else may ever verify.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use schema::assertion::{Anchors, Assertion, AssertionSource, Details, Ref, SigningKey};

/// Everything that the fixtures hold.
pub(super) struct Signed {
    pub(super) anchors: Anchors,
    newest: BTreeMap<Ref, Arc<Assertion>>,
    contents: HashSet<Vec<u8>>,
}

/// The fixtures, read once.
pub(super) static SIGNED: LazyLock<Signed> = LazyLock::new(Signed::read);

/// What [`SIGNATURE`] is a signature of.
pub(super) const CONTENT: &[u8] = b"what the key signed";

/// A key of 2048 bits.
pub(super) static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pem = fs::read_to_string(folder().join("keys/device-a-2048.pem")).expect("a key of the fixtures");
    SigningKey::from_pkcs8_pem(&pem).expect("an RSA key")
});

/// Its signature of [`CONTENT`].
pub(super) static SIGNATURE: LazyLock<String> = LazyLock::new(|| KEY.sign(CONTENT, 1_700_000_000));

/// The folder of the signed documents, from either package that compiles this file.
fn folder() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|folder| folder.join("fixtures/assertions"));
    folders.find(|folder| folder.is_dir()).expect("the fixtures are in the repository")
}

impl Signed {
    fn read() -> Self {
        let root = ["root.account.assert", "root.account-key.assert"]
            .map(|name| fs::read_to_string(folder().join("trust").join(name)).expect("a root of trust"));
        let anchors = Anchors::none().with_stream(root.join("\n").as_bytes()).expect("a sound root");
        let mut signed = Self { anchors, newest: BTreeMap::new(), contents: HashSet::new() };
        signed.add_folder(&folder());
        signed
    }

    fn add_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder of the fixtures") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.add_folder(&path);
                continue;
            }
            let bytes = fs::read(&path).expect("a fixture");
            for assertion in Assertion::decode_stream(&bytes).unwrap_or_default() {
                self.contents.insert(assertion.content().to_vec());
                // What is wrong on purpose is no source for checks.
                if !path.parent().is_some_and(|folder| folder.to_string_lossy().contains("bad")) {
                    self.newest.insert(assertion.reference(), Arc::new(assertion));
                }
            }
        }
    }

    /// The newest of every address.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Assertion>> {
        self.newest.values()
    }

    /// Did somebody with a key make this?
    pub(super) fn holds(&self, content: &[u8]) -> bool {
        self.contents.contains(content)
    }
}

impl AssertionSource for Signed {
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        self.newest.get(reference).cloned()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let of_account = |found: &&Arc<Assertion>| matches!(found.details(), Details::AccountKey(key) if key.account_id == account_id);
        self.newest.values().filter(of_account).cloned().collect()
    }
}
