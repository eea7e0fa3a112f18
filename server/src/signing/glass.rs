//! Break glass: a user for one device, for some hours, in a file that the device reads from a medium.

use schema::assertion::{
    AssertionSource as _, AssertionType, Builder, Checker, HeaderValue, KeyTime, Ref, is_user_name,
};
use schema::signing::{Purpose, SshKey};
use schema::store::{DeviceId, SERIES};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::helper::SignerError;
use super::keys::{self, KeyState};
use super::{Signing, stream};
use crate::approvals;
use crate::catalog::Catalog;
use crate::clock;
use crate::storage::Database;
use crate::storage::error::CommitError;
use crate::storage::policies::KeyRecord;

/// Longest time that a user may last, in hours: a week.
const LONGEST: u32 = 168;
/// Most ssh keys of one user.
const MOST_KEYS: usize = 8;
/// A device whose clock is behind lets the user in as well.
const BEFORE: Duration = Duration::hours(1);

/// Why there is no user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GlassError {
    /// The name does not do.
    #[error(
        "{0:?} cannot be the name of a user: lower case letters, digits and `-._`, at most 32, and not root"
    )]
    User(String),
    /// The time does not do.
    #[error("--hours takes 1 to {LONGEST}")]
    Hours,
    /// There are no ssh keys, or too many.
    #[error("a user has one to {MOST_KEYS} ssh keys")]
    Keys,
    /// There is no key to sign with.
    #[error(
        "there is no key {0} that signs users: `proxy keys create NAME --for system-user --account {1}` makes one"
    )]
    UnknownKey(String, String),
    /// Several keys would do.
    #[error("several keys sign users of {0}: name one with --key")]
    WhichKey(String),
    /// The key cannot sign now.
    #[error("key {0} is not ready: `proxy keys list` shows why")]
    NotReady(String),
    /// The key's account may not make users.
    #[error(
        "the model of {0} is not known here, or does not let {1} make users: push it with `proxy push-assertions`"
    )]
    Authority(DeviceId, String),
    /// What was signed would be refused.
    #[error("devices would not accept what this store signed: {0}")]
    Refused(String),
    /// The signer.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The database.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A user for a device.
#[derive(Debug)]
pub(crate) struct Glass {
    /// The only device that lets it in.
    pub(crate) device: DeviceId,
    /// The user's name.
    pub(crate) user: String,
    /// Who may log in.
    pub(crate) ssh_keys: Vec<SshKey>,
    /// For how long.
    pub(crate) hours: u32,
    /// Whether the device keeps the user after that: snapd 2.57 knows no other form.
    pub(crate) stays: bool,
    /// The key that signs.
    pub(crate) key: KeyRecord,
}

/// What was signed.
pub(crate) struct Opened {
    /// What the device reads, with all that it needs to check it.
    pub(crate) file: Vec<u8>,
    /// The SHA-256 of the signed document, in hex.
    pub(crate) sha256: String,
    /// The user's address, which tells it from every other.
    pub(crate) email: String,
    /// From when on it counts.
    pub(crate) since: String,
    /// When it ends.
    pub(crate) until: String,
}

impl Glass {
    /// Whether this may be asked for, and with which key.
    pub(crate) fn new(
        catalog: &Catalog,
        device: DeviceId,
        user: String,
        ssh_keys: Vec<SshKey>,
        (hours, stays): (u32, bool),
        key: Option<String>,
    ) -> Result<Self, GlassError> {
        // Every device has a root already.
        if !is_user_name(&user) || user.len() > 32 || user == "root" {
            return Err(GlassError::User(user.chars().take(80).collect()));
        }
        if !(1..=LONGEST).contains(&hours) {
            return Err(GlassError::Hours);
        }
        if !(1..=MOST_KEYS).contains(&ssh_keys.len()) {
            return Err(GlassError::Keys);
        }
        let key = choose(catalog, &device.brand, key)?;
        if !matches!(KeyState::of(&key, catalog, clock::now()), KeyState::Ready { .. }) {
            return Err(GlassError::NotReady(key.label.name));
        }
        let account = &key.label.account;
        if *account != device.brand && !lets_in(catalog, &device, account) {
            return Err(GlassError::Authority(device, account.clone()));
        }
        Ok(Self { device, user, ssh_keys, hours, stays, key })
    }

    /// What those who approve it are shown.
    pub(crate) fn detail(&self) -> Value {
        let keys: Vec<&str> = self.ssh_keys.iter().map(SshKey::fingerprint).collect();
        json!({
            "device": self.device, "user": self.user, "ssh-keys": keys, "hours": self.hours, "stays": self.stays,
            "key": self.key.label.name,
        })
    }

    /// The digest of what is approved: the same when the command is repeated later.
    pub(crate) fn digest(&self) -> String {
        approvals::digest(&self.detail())
    }
}

/// The key by this name, or the only one that signs users of the brand.
fn choose(catalog: &Catalog, brand: &str, name: Option<String>) -> Result<KeyRecord, GlassError> {
    let signs_users = |key: &KeyRecord| key.label.purpose == Purpose::SystemUser && key.retired.is_none();
    let unknown = |name: &str| GlassError::UnknownKey(name.chars().take(80).collect(), brand.to_owned());
    match name {
        Some(name) => keys::find(catalog, &name).filter(signs_users).ok_or_else(|| unknown(&name)),
        None => {
            let of_brand = |key: &KeyRecord| signs_users(key) && key.label.account == brand;
            let mut found = keys::keys(catalog).into_iter().filter(of_brand);
            match (found.next(), found.next()) {
                (Some(key), None) => Ok(key),
                (Some(_), Some(_)) => Err(GlassError::WhichKey(brand.to_owned())),
                (None, _) => Err(unknown(&format!("of {brand}"))),
            }
        }
    }
}

/// Whether the model of a device lets an account make users.
fn lets_in(catalog: &Catalog, device: &DeviceId, account: &str) -> bool {
    let DeviceId { brand, model, .. } = device;
    let wanted =
        Ref { kind: AssertionType::Model, key: vec![SERIES.to_owned(), brand.clone(), model.clone()] };
    let held = catalog.assertions.find(&wanted);
    held.is_some_and(|held| match held.headers().get("system-user-authority") {
        Some(HeaderValue::Text(any)) => any == "*",
        Some(HeaderValue::List(listed)) => listed.iter().any(|one| one.as_text() == Some(account)),
        _ => false,
    })
}

impl Signing {
    /// Has the user signed.
    pub(crate) async fn break_glass(
        &self,
        database: &Database,
        catalog: &Catalog,
        glass: &Glass,
    ) -> Result<Opened, GlassError> {
        let now = clock::now();
        let (since, until) = (written(now - BEFORE), written(now + Duration::hours(glass.hours.into())));
        let Glass { device, user, ssh_keys, stays, key, .. } = glass;
        // A device takes one document for each address only.
        let email = format!("{user}.{}@break-glass.invalid", now.unix_timestamp());
        let lines: Vec<&str> = ssh_keys.iter().map(SshKey::line).collect();
        let mut document = Builder::new(AssertionType::SystemUser)
            .format(if *stays { 1 } else { 2 })
            .header("authority-id", key.label.account.as_str())
            .header("brand-id", device.brand.as_str())
            .header("email", email.as_str())
            .header("series", vec![SERIES])
            .header("models", vec![device.model.as_str()])
            .header("serials", vec![device.serial.as_str()])
            .header("name", format!("Break glass of {device}"))
            .header("username", user.as_str())
            .header("ssh-keys", lines)
            .header("since", since.as_str())
            .header("until", until.as_str());
        if !stays {
            document = document.header("user-presence", "until-expiration");
        }
        let signed = self.sign(database, key, document).await?;
        let time = KeyTime::Strict { now };
        let checker = Checker { anchors: &catalog.anchors, source: &catalog.assertions, time };
        checker.check(&signed).map_err(|error| GlassError::Refused(error.problem.to_string()))?;
        let sha256 =
            super::check::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.bytes()).as_ref());
        Ok(Opened { file: stream(catalog, &signed), sha256, email, since, until })
    }
}

fn written(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}
