//! Service logins. With one, a build machine or the fetch commands of another site see what a brand store grants, or
//! a machine does an operator's work remotely. A login is a macaroon, so every tool that accepts a store login
//! accepts it.
//!
//! ```text
//! location    airlock
//! identifier  airlock|login|ID
//! cid         airlock|store|AcmeStore
//! cid         airlock|acl|["package_access","store_admin"]
//! cid         airlock|expires|2027-01-31T00:00:00Z
//! signature   HMAC-SHA-256, each caveat keyed with the signature before it
//! ```
//!
//! A login is either for one store, or has no `store` caveat and is for the whole site; [`Acl::is_of_site`] says
//! which of the two a permission belongs to.
//!
//! The binary form is version 1, in URL-safe base64 without padding, as snapd writes it. The caveats follow the
//! layout of the public store's. Any holder can add caveats, which only restrict a login. Each login has exactly one
//! spelling; anything else is refused.
//!
//! A login does not name its key, so logins of earlier releases stay valid. If several keys are accepted, they are
//! tried in turn: there are only a few, and no token opens with two of them.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::macaroon;
use crate::store::StoreId;

const LOCATION: &[u8] = b"airlock";
const PREFIX: &str = "airlock|";
/// Longest token that is examined; real ones have about 400 characters.
const LONGEST: usize = 4096;
/// Bytes of an id, before base64.
const ID: usize = 12;

/// A permission of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acl {
    /// See and download what the store grants to its devices.
    PackageAccess,
    /// Read the store's metadata.
    StoreAdmin,
    /// List, set and delete overrides.
    Overrides,
    /// Everything that an operator may do, but for approving what others ask.
    Admin,
    /// Read everything in the admin API.
    #[serde(rename = "admin:read")]
    AdminRead,
    /// Push snaps, archives, store metadata and assertions.
    #[serde(rename = "admin:imports")]
    AdminImports,
    /// See what waits for approvals, and approve or refuse it.
    Approve,
}

impl Acl {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PackageAccess,
        Self::StoreAdmin,
        Self::Overrides,
        Self::Admin,
        Self::AdminRead,
        Self::AdminImports,
        Self::Approve,
    ];

    /// Whether the permission concerns the whole site rather than one store. An override affects the devices of every
    /// store.
    #[must_use]
    pub fn is_of_site(self) -> bool {
        !matches!(self, Self::PackageAccess | Self::StoreAdmin)
    }

    /// The spelling in logins and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PackageAccess => "package_access",
            Self::StoreAdmin => "store_admin",
            Self::Overrides => "overrides",
            Self::Admin => "admin",
            Self::AdminRead => "admin:read",
            Self::AdminImports => "admin:imports",
            Self::Approve => "approve",
        }
    }
}

impl std::str::FromStr for Acl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|acl| acl.as_str() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// The key that signs and verifies logins, derived from `proxy.auth.secret`.
#[derive(Clone)]
pub struct LoginKey {
    id: String,
    first: hmac::Key,
}

impl LoginKey {
    /// Derives the key, which is used for logins only.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let print = hmac::sign(&secret, b"airlock service login key id v1");
        let root = hmac::sign(&secret, b"airlock service login v1");
        Self { id: URL_SAFE_NO_PAD.encode(&print.as_ref()[..12]), first: first_key(root.as_ref()) }
    }

    /// Identifies the secret without revealing it: 16 characters.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn sign(&self, login: &Parts) -> hmac::Tag {
        let first = hmac::sign(&self.first, &login.identifier);
        login.caveats.iter().fold(first, |signature, caveat| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, signature.as_ref()), caveat)
        })
    }
}

/// Every macaroon library derives the first HMAC key from a root key this way.
fn first_key(root: &[u8]) -> hmac::Key {
    let generator = hmac::Key::new(hmac::HMAC_SHA256, b"macaroons-key-generator");
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&generator, root).as_ref())
}

impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginKey({})", self.id)
    }
}

/// The contents of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLogin {
    /// Its id, 16 characters of `A-Z a-z 0-9 - _`; not secret.
    pub id: String,
    /// The store it is for; `None` for the whole site.
    pub store: Option<StoreId>,
    /// What it may do there.
    pub acls: BTreeSet<Acl>,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
}

/// Why a token is not a valid login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The token was not issued by this store, or was altered.
    #[error("the login was not issued by this store")]
    Foreign,
    /// The login has expired.
    #[error("the login has expired")]
    Expired,
    /// The expiry cannot be encoded.
    #[error("the login's expiry is out of range")]
    Expiry,
}

impl ServiceLogin {
    /// The id that these random bytes make.
    #[must_use]
    pub fn id_of(random: [u8; ID]) -> String {
        URL_SAFE_NO_PAD.encode(random)
    }

    /// Whether the text can be the id of a login.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        text.len() == ID / 3 * 4 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    }

    /// Whether the login has any of these site-wide permissions; `admin` includes all of them but [`Acl::Approve`].
    #[must_use]
    pub fn may(&self, any_of: &[Acl]) -> bool {
        let admin = self.acls.contains(&Acl::Admin);
        let given = |acl: &Acl| self.acls.contains(acl) || (admin && *acl != Acl::Approve);
        self.store.is_none() && any_of.iter().any(given)
    }

    /// The bearer token: whoever holds it has the login.
    ///
    /// # Errors
    /// The expiry is after the year 9999.
    pub fn mint(&self, key: &LoginKey) -> Result<String, LoginError> {
        let expires =
            i64::try_from(self.expires).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let expires = expires.and_then(|at| at.format(&Rfc3339).ok()).ok_or(LoginError::Expiry)?;
        let acls: Vec<&str> = self.acls.iter().map(|acl| acl.as_str()).collect();
        let store = self.store.as_ref().map(|store| format!("{PREFIX}store|{store}"));
        let rest =
            [format!("{PREFIX}acl|{}", serde_json::Value::from(acls)), format!("{PREFIX}expires|{expires}")];
        let parts = Parts {
            identifier: format!("{PREFIX}login|{}", self.id).into_bytes(),
            caveats: store.into_iter().chain(rest).map(String::into_bytes).collect(),
        };
        Ok(parts.encode(key.sign(&parts).as_ref()))
    }

    /// Opens a token that was signed with `key` and is valid at `now` (seconds since 1970). It does not say whether
    /// the login was revoked.
    ///
    /// # Errors
    /// The token has another form or spelling, was altered, or has expired.
    pub fn open(token: &str, key: &LoginKey, now: u64) -> Result<Self, LoginError> {
        let (parts, signature) = Parts::decode(token).ok_or(LoginError::Foreign)?;
        if verify_slices_are_equal(key.sign(&parts).as_ref(), &signature).is_err() {
            return Err(LoginError::Foreign);
        }
        let login = parts.read().ok_or(LoginError::Foreign)?;
        if login.expires <= now { Err(LoginError::Expired) } else { Ok(login) }
    }
}

/// A macaroon without its signature.
struct Parts {
    identifier: Vec<u8>,
    caveats: Vec<Vec<u8>>,
}

impl Parts {
    fn encode(&self, signature: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(512);
        let mut packet = |name: &str, value: &[u8]| macaroon::push(&mut bytes, name, value);
        packet("location", LOCATION);
        packet("identifier", &self.identifier);
        self.caveats.iter().for_each(|caveat| packet("cid", caveat));
        packet("signature", signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the parts and the signature; `None` for anything that [`Parts::encode`] would write differently.
    fn decode(token: &str) -> Option<(Self, Vec<u8>)> {
        let bytes = Some(token).filter(|token| token.len() <= LONGEST)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let mut rest = &bytes[..];
        let mut next = |name: &str| -> Option<Vec<u8>> {
            let mut after = rest;
            let (_, value) = macaroon::next(&mut after).filter(|(key, _)| *key == name.as_bytes())?;
            rest = after;
            Some(value.to_vec())
        };
        next("location")?;
        let mut parts = Self { identifier: next("identifier")?, caveats: Vec::new() };
        while let Some(caveat) = next("cid") {
            parts.caveats.push(caveat);
        }
        let signature = next("signature")?;
        (parts.encode(&signature) == token).then_some((parts, signature))
    }

    /// The combined effect of all caveats. `None` if one is not understood or names another store.
    fn read(&self) -> Option<ServiceLogin> {
        let id = std::str::from_utf8(&self.identifier).ok()?.strip_prefix(PREFIX)?.strip_prefix("login|")?;
        let (mut store, mut acls, mut expires) = (None::<StoreId>, None::<BTreeSet<Acl>>, None::<u64>);
        for caveat in &self.caveats {
            let (name, value) = std::str::from_utf8(caveat).ok()?.strip_prefix(PREFIX)?.split_once('|')?;
            match name {
                "store" => {
                    let named: StoreId = value.parse().ok()?;
                    if store.as_ref().is_some_and(|store| *store != named) {
                        return None;
                    }
                    store = Some(named);
                }
                "acl" => {
                    let given: BTreeSet<Acl> = serde_json::from_str(value).ok()?;
                    acls = Some(match acls {
                        Some(acls) => &acls & &given,
                        None => given,
                    });
                }
                "expires" => {
                    let at = OffsetDateTime::parse(value, &Rfc3339).ok()?.unix_timestamp();
                    let at = u64::try_from(at).unwrap_or_default();
                    expires = Some(expires.map_or(at, |before| before.min(at)));
                }
                _ => return None,
            }
        }
        Some(ServiceLogin { id: id.to_owned(), store, acls: acls?, expires: expires? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn login() -> ServiceLogin {
        ServiceLogin {
            id: ServiceLogin::id_of([7; ID]),
            store: Some("AcmeStore".parse().unwrap()),
            acls: Acl::ALL.into_iter().filter(|acl| *acl != Acl::Approve).collect(),
            expires: NOW + 60,
        }
    }

    #[test]
    fn a_login_for_the_site_names_no_store_and_can_be_cut_to_one() {
        let of_site = ServiceLogin { store: None, acls: [Acl::AdminRead].into(), ..login() };
        let token = of_site.mint(&key()).unwrap();
        assert_eq!(ServiceLogin::open(&token, &key(), NOW), Ok(of_site));
        let cut = ServiceLogin::open(&attenuated(&token, "airlock|store|AcmeStore"), &key(), NOW).unwrap();
        assert!(cut.store.is_some(), "which is another login than the one that was given out");
    }

    #[test]
    fn a_permission_has_one_spelling() {
        for acl in Acl::ALL {
            assert_eq!(acl.as_str().parse(), Ok(acl));
            assert_eq!(serde_json::json!(acl), acl.as_str());
        }
        assert!("root".parse::<Acl>().is_err());
    }

    fn key() -> LoginKey {
        LoginKey::new(&[1; 32])
    }

    /// Adds a caveat as any holder can: with the token alone.
    fn attenuated(token: &str, caveat: &str) -> String {
        let (mut parts, signature) = Parts::decode(token).unwrap();
        parts.caveats.push(caveat.as_bytes().to_vec());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &signature), caveat.as_bytes());
        parts.encode(signature.as_ref())
    }

    #[test]
    fn a_login_opens_until_it_expires() {
        let token = login().mint(&key()).unwrap();
        assert!(token.len() < 500 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        assert_eq!(ServiceLogin::open(&token, &key(), NOW + 59), Ok(login()));
        assert_eq!(ServiceLogin::open(&token, &key(), NOW + 60), Err(LoginError::Expired));
        assert!(ServiceLogin::is_id(&login().id) && !ServiceLogin::is_id("../x"));
        assert!(!ServiceLogin::is_id("short") && !ServiceLogin::is_id("sixteen/letters."));
        assert!(
            Acl::ALL.iter().all(|acl| acl.as_str().parse() == Ok(*acl)) && "root".parse::<Acl>().is_err()
        );
        let endless = ServiceLogin { expires: u64::MAX, ..login() };
        assert_eq!(endless.mint(&key()), Err(LoginError::Expiry));
    }

    #[test]
    fn only_logins_of_the_site_open_what_is_of_the_site() {
        let of_store: Vec<Acl> = Acl::ALL.into_iter().filter(|acl| !acl.is_of_site()).collect();
        assert_eq!(of_store, [Acl::PackageAccess, Acl::StoreAdmin]);
        let holding = |acl| ServiceLogin { store: None, acls: [acl].into(), ..login() };
        let reads = [Acl::AdminRead, Acl::AdminImports];
        assert!(holding(Acl::AdminRead).may(&reads) && holding(Acl::Admin).may(&reads));
        assert!(!holding(Acl::Overrides).may(&reads) && !holding(Acl::AdminRead).may(&[]));
        let store = login().store.or(Some("AcmeStore".parse().unwrap()));
        assert!(!ServiceLogin { store, ..holding(Acl::Admin) }.may(&reads));
    }

    #[test]
    fn no_altered_or_foreign_login_opens() {
        let token = login().mint(&key()).unwrap();
        let open = |token: &str| ServiceLogin::open(token, &key(), NOW);
        let other = ServiceLogin::open(&token, &LoginKey::new(&[2; 32]), NOW);
        assert_eq!(other, Err(LoginError::Foreign));
        let raw = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut altered = raw.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&URL_SAFE_NO_PAD.encode(altered)), Err(LoginError::Foreign), "bit {bit}");
        }
        for cut in 0..token.len() {
            assert!(open(&token[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [&format!("{token}="), &format!("{token}A"), "", "MDAx", &"A".repeat(LONGEST + 1)] {
            assert_eq!(open(bad), Err(LoginError::Foreign), "{bad}");
        }
    }

    /// Issued tokens must stay valid: neither the key nor the layout may change.
    #[test]
    fn a_login_of_the_first_release_opens() {
        let token = concat!(
            "MDAxNWxvY2F0aW9uIGFpcmxvY2sKMDAyZWlkZW50aWZpZXIgYWlybG9ja3xsb2dpbnxCd2NIQndjSEJ3Y0hCd2NICjAwMjBj",
            "aWQgYWlybG9ja3xzdG9yZXxBY21lU3RvcmUKMDA2NmNpZCBhaXJsb2NrfGFjbHxbInBhY2thZ2VfYWNjZXNzIiwic3RvcmVf",
            "YWRtaW4iLCJvdmVycmlkZXMiLCJhZG1pbiIsImFkbWluOnJlYWQiLCJhZG1pbjppbXBvcnRzIl0KMDAyZGNpZCBhaXJsb2Nr",
            "fGV4cGlyZXN8MjAyNy0wMS0xNVQwODowMTowMFoKMDAyZnNpZ25hdHVyZSDpEWf4bpgDKUxQMI9wyDiwU7n4nBxn89RiFTgA",
            "BpFBtQo",
        );
        assert_eq!(ServiceLogin::open(token, &key(), NOW), Ok(login()));
        assert_eq!(login().mint(&key()).unwrap(), token);
        assert_ne!(key().id(), LoginKey::new(&[2; 32]).id());
        assert_eq!(format!("{:?}", key()), format!("LoginKey({})", key().id()));
    }

    #[test]
    fn added_caveats_only_take_away() {
        let token = login().mint(&key()).unwrap();
        let open = |caveat: &str| ServiceLogin::open(&attenuated(&token, caveat), &key(), NOW);
        let fewer = open(r#"airlock|acl|["store_admin"]"#).unwrap();
        assert_eq!(fewer.acls, [Acl::StoreAdmin].into());
        let none = attenuated(&attenuated(&token, r#"airlock|acl|[]"#), r#"airlock|acl|["package_access"]"#);
        assert!(ServiceLogin::open(&none, &key(), NOW).unwrap().acls.is_empty());
        assert_eq!(open("airlock|expires|2099-01-01T00:00:00Z"), Ok(login()));
        assert_eq!(open("airlock|expires|2020-01-01T00:00:00Z"), Err(LoginError::Expired));
        assert_eq!(open("airlock|store|AcmeStore"), Ok(login()));
        for unknown in [
            "airlock|store|BoltStore",
            "airlock|snaps|[\"a\"]",
            "airlock|acl|[\"root\"]",
            "airlock|expires|never",
            "other|store|AcmeStore",
            "airlock",
            "",
        ] {
            assert_eq!(open(unknown), Err(LoginError::Foreign), "{unknown}");
        }
    }

    /// The example of the libmacaroons README.
    #[test]
    fn the_chain_is_the_one_of_every_library() {
        let first = first_key(b"this is our super secret key; only we should know it");
        let key = LoginKey { id: String::new(), first };
        let mut parts = Parts { identifier: b"we used our secret key".to_vec(), caveats: Vec::new() };
        let signed = |parts: &Parts| -> String { crate::digest::hex(key.sign(parts).as_ref()) };
        assert_eq!(signed(&parts), "e3d9e02908526c4c0039ae15114115d97fdd68bf2ba379b342aaf0f617d0552f");
        parts.caveats.push(b"account = 3735928559".to_vec());
        assert_eq!(signed(&parts), "1efe4763f290dbce0c1d08477367e11f4eee456a64933cf662d79772dbb82128");
        let raw = URL_SAFE_NO_PAD.decode(parts.encode(&[0; 32])).unwrap();
        assert!(
            raw.starts_with(b"0015location airlock\n0026identifier we used our secret key\n001dcid account")
        );
    }
}
