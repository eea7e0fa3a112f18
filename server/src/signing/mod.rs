//! The signing desk: keys that never leave the signer, and serials for devices of the models that have a policy.
//!
//! `signer.rs` is the other process; `helper.rs` is how this one reaches it. Keys and policies are facts of the catalog,
//! so every server of a database has them; which device key got which serial is a table (`storage/serials.rs`).

mod check;
mod digests;
mod glass;
mod guesses;
mod hardware;
mod helper;
mod issue;
mod keys;
mod models;
mod proven;
mod refusals;
mod sets;
pub(crate) mod signer;
#[cfg_attr(not(feature = "pkcs11"), path = "no_token.rs")]
mod token;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::config::Settings;
use schema::signing::{KeyPlace, SealingKey};
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

pub(crate) use self::check::Check;
pub(crate) use self::digests::{DigestError, model_key};
pub(crate) use self::glass::{Glass, GlassError, Opened};
use self::guesses::Guesses;
use self::helper::{Config, Helper};
pub(crate) use self::issue::IssueError;
use self::issue::stream;
pub(crate) use self::keys::{
    KeyError, KeyState, NewKey, keys, plan_limit, plan_retire, sealed_otherwise, today,
};
pub(crate) use self::models::{
    ModelError, NewPolicy, plan_close, plan_policy, plan_remodel, policies, signs_any,
};
use self::proven::Proven;
use self::refusals::Refusals;
pub(crate) use self::refusals::Refused;
pub(crate) use self::sets::{SetError, set_key};

/// The configuration key of the secret that private keys are sealed with.
pub(crate) const SECRET: &str = "proxy.signing.secret";

/// Size of a new key in bits, which the store demands.
const BITS: usize = 4096;

/// The configuration keys of the PKCS#11 module and its PIN.
const MODULE: &str = "proxy.signing.pkcs11.module";
const PIN_FILE: &str = "proxy.signing.pkcs11.pin-file";

/// Most approvals that a key or a policy may ask for.
const MOST_APPROVALS: u32 = 2;

/// How many registrations may wait or be worked on at a time; more are told to come again.
const AT_ONCE: usize = 128;

/// Keys, and what signs with them.
pub(crate) struct Signing {
    /// Signs with sealed keys.
    sealed: Arc<Helper>,
    /// Signs with those on a PKCS#11 token: in another process, so that a vendor's library ends nothing but itself.
    tokens: Arc<Helper>,
    /// Limits registrations that wait.
    room: Semaphore,
    /// Limits signature checks to half of the processors: downloads keep their share.
    permits: Semaphore,
    /// Held while a serial is reserved, so that the devices of this server do not race for the next of a list.
    reserving: Mutex<()>,
    guesses: Arc<Guesses>,
    proven: Arc<Proven>,
    refusals: Refusals,
    random: SystemRandom,
}

impl Signing {
    /// A desk whose signer is started when it is needed.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            sealed: Arc::default(),
            tokens: Arc::default(),
            room: Semaphore::new(AT_ONCE),
            permits: Semaphore::new(cores.div_ceil(2)),
            reserving: Mutex::default(),
            guesses: Arc::default(),
            proven: Arc::default(),
            refusals: Refusals::default(),
            random: SystemRandom::new(),
        }
    }

    /// Applies the settings.
    pub(crate) fn configure(&self, settings: &Settings) {
        let secret = secret_of(settings);
        let module = Some([MODULE, PIN_FILE].map(|key| PathBuf::from(settings.value(key))));
        let config = |module| Config::new(secret.as_deref()?, module);
        self.sealed.configure(config(None));
        self.tokens.configure(config(module));
    }

    /// The requests for a serial that failed since a moment, at this server.
    pub(crate) fn refused_since(&self, micros: i64) -> Vec<Refused> {
        self.refusals.since(micros)
    }

    /// Forgets refusals older than a moment, and returns how many there were.
    pub(crate) fn forget_refused(&self, before_micros: i64) -> u64 {
        self.refusals.forget(before_micros)
    }

    /// The signer of a key.
    fn signer(&self, place: Option<&KeyPlace>) -> &Arc<Helper> {
        if place.is_some() { &self.tokens } else { &self.sealed }
    }
}

fn secret_of(settings: &Settings) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(STANDARD.decode(settings.value(SECRET)).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

/// The id of the secret that these settings seal keys with.
pub(crate) fn secret_id(settings: &Settings) -> Option<String> {
    Some(SealingKey::new(&*secret_of(settings)?)?.id().to_owned())
}

/// The names of the checks that a request for a serial can fail.
pub(crate) fn checks() -> impl Iterator<Item = &'static str> {
    check::Check::ALL.iter().map(|check| check.name())
}
