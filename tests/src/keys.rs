//! RSA keys for throw-away worlds. Generating one takes a noticeable fraction of a second, so each is generated once,
//! by name, and kept in a folder: in the build folder for tests, beside the demonstration's data for the quick start.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use schema::assertion::SigningKey;

/// Size of every key. snapd makes 4096 bit device keys; the protocol is the same and these are a tenth of the work.
const BITS: usize = 2048;

/// Keys by name.
#[derive(Clone)]
pub struct Keyring {
    folder: PathBuf,
    held: Arc<Mutex<HashMap<String, Arc<SigningKey>>>>,
}

impl Keyring {
    /// The keyring of a folder; what is missing in it is made and kept there.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), held: Arc::default() }
    }

    /// The keyring that all tests share, in the build folder.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<Keyring> = OnceLock::new();
        SHARED.get_or_init(|| Self::in_folder(&crate::server::build_folder().join("throw-away-keys"))).clone()
    }

    /// The key of this name: letters, digits and `-`.
    #[must_use]
    pub fn key(&self, name: &str) -> Arc<SigningKey> {
        let mut held = self.held.lock().expect("nobody panics while holding the keyring");
        held.entry(name.to_owned()).or_insert_with(|| Arc::new(self.load_or_make(name))).clone()
    }

    fn load_or_make(&self, name: &str) -> SigningKey {
        let path = self.folder.join(format!("{name}.pem"));
        if let Ok(pem) = fs::read_to_string(&path) {
            return SigningKey::from_pkcs8_pem(&pem).expect("a kept key can be read");
        }
        let key = SigningKey::generate(BITS).expect("the system has randomness");
        let pem = key.to_pkcs8_pem().expect("a fresh key can be written");
        fs::create_dir_all(&self.folder).expect("the folder of keys can be made");
        // Tests run in many processes: the first to put its key there wins, the others take it.
        let own = self.folder.join(format!("{name}.{}", std::process::id()));
        fs::write(&own, pem.as_bytes()).expect("the folder of keys can be written");
        let kept = fs::hard_link(&own, &path).is_ok();
        let _ = fs::remove_file(&own);
        if kept {
            return key;
        }
        let pem = fs::read_to_string(&path).expect("another process kept its key");
        SigningKey::from_pkcs8_pem(&pem).expect("a kept key can be read")
    }
}
