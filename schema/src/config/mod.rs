//! The configuration: the keys, their values, and the file that holds them.
//!
//! All keys share one flat namespace:
//!
//! ```text
//! proxy.domain: snaps.internal
//! proxy.port.http: 80
//! proxy.device-auth.secret: <redacted>
//! ```
//!
//! [`KEYS`] is the only list of names, kinds, defaults, secrecy and when a value applies; [`Settings`] is a validated set
//! of values, and gives them in types, section by section ([`Sections`]). Unknown keys are refused.

mod credentials;
mod describe;
mod device_service;
mod file;
mod history;
mod keys;
mod network;
mod old_secrets;
mod place;
mod sections;
mod unseen;
mod value;

pub use describe::{keys_below, settings_page};
pub use device_service::{DeviceService, DeviceServiceError};
pub use file::{ConfigLock, FILE_NAME, FileError};
pub use history::SettingChange;
pub use keys::{Applies, KEYS, Key, Kind, key};
pub use network::{Network, NetworkError};
pub use old_secrets::{MOST_OLD_SECRETS, OldSecret, RotatedSecret};
pub use place::{DATA_DIR_VARIABLE, default_data_dir};
pub use sections::{
    Acme, AcmeChallenge, Backend, Bucket, ClientAuth, Database, DeviceAuth, Front, Identity, Listen,
    LogFormat, Logs, PairFiles, Quarantine, Retention, Sections, Site, Storage, Tls, Upstream, Verify,
};
pub use unseen::{Noted, UnseenChange};
pub use value::seconds as duration_seconds;
pub use value::{ValueError, seconds};

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::tls::{ImportError, Pair, PairError, Source, further, trusted_certificates};

/// Numbers of which not every one means something, with what is to be said of the others.
const RANGES: [(&str, std::ops::RangeInclusive<u32>, &str); 2] = [
    ("proxy.deltas.keep-ratio", 0..=100, "a whole number from 0 to 100"),
    ("proxy.imports.approvals", 1..=2, "1 or 2"),
];

/// Replaces a secret in output, unless it is requested by name.
pub const REDACTED: &str = "<redacted>";

/// The values that an operator has set; all others have their default. It dereferences to [`Sections`], the values in force
/// in types.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Values from service credentials; they override `values`.
    credentials: BTreeMap<&'static str, String>,
    /// The values in force, read anew with each change of the two above.
    sections: Arc<Sections>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(BTreeMap::new(), BTreeMap::new())
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        (&self.values, &self.credentials) == (&other.values, &other.credentials)
    }
}

impl Eq for Settings {}

impl Deref for Settings {
    type Target = Sections;

    fn deref(&self) -> &Sections {
        &self.sections
    }
}

/// The value of a key of the table: a credential, else as set, else the default.
fn in_force<'a>(
    values: &'a BTreeMap<&'static str, String>,
    credentials: &'a BTreeMap<&'static str, String>,
    key: &Key,
) -> &'a str {
    credentials.get(key.name).or_else(|| values.get(key.name)).map_or(key.default, String::as_str)
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such key.
    #[error("unknown configuration key {0:?}: {hint}", hint = nearest_key(.0))]
    UnknownKey(String),
    /// The value does not fit the key.
    #[error("cannot set {key}: {source}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// Somebody else has changed it.
    #[error(
        "{0} was changed since you looked at it, so nothing was done: `proxy config {0}` shows its value"
    )]
    Meanwhile(String),
    /// A service credential sets this key.
    #[error(
        "cannot set {0}: it comes as a credential of the service; change that file and restart the server"
    )]
    IsCredential(&'static str),
    /// The key is not a secret.
    #[error("cannot take {0} as a credential, it is no secret: set it with `proxy config`")]
    NoCredential(&'static str),
    /// Certificate and key do not match, or one is missing.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The certificates to trust cannot be read.
    #[error("cannot set proxy.ca-certs: {0}")]
    CaCerts(ImportError),
    /// The ACME directory's certificates cannot be read.
    #[error("cannot set proxy.acme.ca: {0}")]
    AcmeCa(ImportError),
    /// The external account binding is incomplete.
    #[error("proxy.acme.eab-kid and proxy.acme.eab-key belong together: set both, or clear both")]
    HalfBinding,
    /// Only one file of a pair is named.
    #[error("proxy.tls.cert-file and proxy.tls.key-file belong together: set both, or clear both")]
    HalfPairFiles,
    /// The certificate would come from two places.
    #[error(
        "the certificate comes either from the files that proxy.tls.cert-file and proxy.tls.key-file name or from ACME \
         (proxy.acme.directory): clear the former with `proxy config proxy.tls.cert-file= proxy.tls.key-file=`, or turn ACME off with \
         `proxy acme disable`"
    )]
    TwoSources,
    /// There is no secret to rotate.
    #[error("{0} is not set, so there is no secret to rotate: run `proxy enable-airgap-mode`")]
    NoSecret(&'static str),
    /// The maximum number of old secrets is still accepted.
    #[error(
        "cannot rotate {key}: {MOST_OLD_SECRETS} earlier secrets are still accepted, the next one until {next}; wait for \
         that, or void all of them at once with `proxy rotate-secret {key} --keep-old 0s`"
    )]
    TooManySecrets {
        /// The key.
        key: &'static str,
        /// When the next one expires, RFC 3339.
        next: String,
    },
    /// The admin API needs HTTPS.
    #[error(
        "proxy.admin.address is set and there is no certificate, and the admin API is never open without TLS: run \
         `proxy import-certificate` first, or close it with `proxy config proxy.admin.address=`"
    )]
    AdminWithoutTls,
    /// Client certificates are requested, but there is no CA to verify them.
    #[error("proxy.tls.client-auth is {0} and proxy.tls.client-ca is not set: set both together")]
    NoClientCa(String),
}

/// The key that was probably meant, or where all are listed.
fn nearest_key(name: &str) -> String {
    // What is written without the beginning that nearly all keys have is found by it.
    let whole = format!("proxy.{}", name.to_lowercase());
    let named = KEYS.iter().map(|key| key.name).find(|key| *key == whole);
    match named.or_else(|| crate::nearest::nearest(name, KEYS.iter().map(|key| key.name))) {
        Some(key) => format!("did you mean {key}? `proxy config --describe` lists all"),
        None => "`proxy config --describe` lists all".to_owned(),
    }
}

impl Settings {
    /// The effective value: as set, else the default, else empty. `None` for an unknown key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        Some(in_force(&self.values, &self.credentials, key(name)?))
    }

    /// The effective value of a known key; empty if neither set nor given a default.
    #[must_use]
    pub fn value(&self, name: &'static str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn of(values: BTreeMap<&'static str, String>, credentials: BTreeMap<&'static str, String>) -> Self {
        let value = |name| key(name).map_or("", |key| in_force(&values, &credentials, key));
        let sections = Arc::new(sections::Values(value).sections());
        Self { values, credentials, sections }
    }

    /// To be called after each change of the values.
    fn read_sections(&mut self) {
        *self = Self::of(std::mem::take(&mut self.values), std::mem::take(&mut self.credentials));
    }

    /// Sets one value, in its normalised spelling; an empty value clears the key.
    ///
    /// # Errors
    /// The key is unknown, the value does not fit it, or a credential sets another value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let key = key(name).ok_or_else(|| ConfigError::UnknownKey(name.chars().take(80).collect()))?;
        if value.is_empty() {
            self.values.remove(key.name);
            self.read_sections();
            return Ok(());
        }
        let value = key.kind.check(value).map_err(|source| ConfigError::Value { key: key.name, source })?;
        if let Some(credential) = self.credentials.get(key.name) {
            return if *credential == value { Ok(()) } else { Err(ConfigError::IsCredential(key.name)) };
        }
        self.values.insert(key.name, value);
        self.read_sections();
        Ok(())
    }

    /// Sets several values, or none if one of them is wrong or they do not fit together.
    pub fn set_all<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), ConfigError> {
        let mut changed = self.clone();
        for (name, value) in pairs {
            changed.set(name, value)?;
        }
        changed.check_changed(self)?;
        *self = changed;
        Ok(())
    }

    /// Checks that values which differ from `before` fit together. A previous mistake elsewhere does not block the
    /// change.
    fn check_changed(&self, before: &Self) -> Result<(), ConfigError> {
        let differs =
            |names: &[&'static str]| names.iter().any(|name| self.value(name) != before.value(name));
        if differs(&["proxy.tls.cert", "proxy.tls.key"]) {
            self.check_halves(before, ["proxy.tls.cert", "proxy.tls.key"])
                .map_err(|(set, missing)| PairError::Half { set, missing })?;
            self.tls_pair()?;
        }
        if differs(&["proxy.tls.further"]) {
            self.further_pairs()?;
        }
        if differs(&["proxy.tls.cert-file", "proxy.tls.key-file"])
            && self.value("proxy.tls.cert-file").is_empty() != self.value("proxy.tls.key-file").is_empty()
        {
            return Err(ConfigError::HalfPairFiles);
        }
        let sources = ["proxy.tls.cert-file", "proxy.acme.directory"];
        if differs(&sources) && sources.iter().all(|name| !self.value(name).is_empty()) {
            return Err(ConfigError::TwoSources);
        }
        // A file of an earlier version may hold more.
        for (key, range, expected) in &RANGES {
            let fits = || self.value(key).parse().is_ok_and(|number| range.contains(&number));
            if differs(&[*key]) && !fits() {
                return Err(ConfigError::Value { key, source: ValueError::new(expected) });
            }
        }
        if differs(&["proxy.ca-certs"]) {
            self.ca_certs().map_err(ConfigError::CaCerts)?;
        }
        if differs(&["proxy.acme.ca"]) {
            self.acme_ca().map_err(ConfigError::AcmeCa)?;
        }
        if differs(&["proxy.acme.eab-kid", "proxy.acme.eab-key"]) {
            self.check_halves(before, ["proxy.acme.eab-kid", "proxy.acme.eab-key"])
                .map_err(|_| ConfigError::HalfBinding)?;
        }
        if differs(&["proxy.admin.address", "proxy.tls.cert"])
            && self.listen.admin.is_some()
            && !self.tls.has_cert
        {
            return Err(ConfigError::AdminWithoutTls);
        }
        if differs(&["proxy.tls.client-auth", "proxy.tls.client-ca"])
            && self.tls.client_auth != ClientAuth::Off
            && self.tls.client_ca.is_none()
        {
            return Err(ConfigError::NoClientCa(self.value("proxy.tls.client-auth").to_owned()));
        }
        Ok(())
    }

    /// Refuses to take one half of what is whole. A first half may wait for the other: an import from another host brings no
    /// secrets. Answers what is set and what is missing.
    fn check_halves(
        &self,
        before: &Self,
        names: [&'static str; 2],
    ) -> Result<(), (&'static str, &'static str)> {
        match self.half_of(names) {
            Some(half) if names.iter().all(|name| !before.value(name).is_empty()) => Err(half),
            _ => Ok(()),
        }
    }

    /// Which of the two is set and which is missing, if one is.
    #[must_use]
    pub fn half_of(&self, [one, other]: [&'static str; 2]) -> Option<(&'static str, &'static str)> {
        match (self.value(one).is_empty(), self.value(other).is_empty()) {
            (false, true) => Some((one, other)),
            (true, false) => Some((other, one)),
            _ => None,
        }
    }

    /// What is off because half of what it needs is missing, with the way out.
    pub fn waiting(&self) -> impl Iterator<Item = String> {
        let halves = [
            ("HTTPS stays", ["proxy.tls.cert", "proxy.tls.key"]),
            ("ACME stays", ["proxy.acme.eab-kid", "proxy.acme.eab-key"]),
        ];
        halves.into_iter().filter_map(|(what, names)| {
            let (set, missing) = self.half_of(names)?;
            Some(format!(
                "{what} off, because {set} waits for {missing}: set it with `proxy config --set-from-stdin {missing} < FILE`, or \
                 clear the other with `proxy config {set}=`"
            ))
        })
    }

    /// The store's certificate and key; `None` if not set, or while one waits for the other.
    ///
    /// # Errors
    /// They do not match.
    pub fn tls_pair(&self) -> Result<Option<Pair>, PairError> {
        Pair::from_settings(self.value("proxy.tls.cert"), self.value("proxy.tls.key"))
    }

    /// Certificates and keys for further names of the store.
    ///
    /// # Errors
    /// The text is not a sequence of pairs.
    pub fn further_pairs(&self) -> Result<Vec<Pair>, PairError> {
        further::parse(self.value("proxy.tls.further"))
    }

    /// The only certificates to trust for outgoing TLS; `None` for the system's.
    ///
    /// # Errors
    /// The text holds no certificate, or an unreadable one.
    pub fn ca_certs(&self) -> Result<Option<Vec<CertificateDer<'static>>>, ImportError> {
        self.certificates("proxy.ca-certs")
    }

    /// The certificates to trust an ACME directory with; `None` to trust it like other hosts.
    ///
    /// # Errors
    /// The text holds no certificate, or an unreadable one.
    pub fn acme_ca(&self) -> Result<Option<Vec<CertificateDer<'static>>>, ImportError> {
        self.certificates("proxy.acme.ca")
    }

    /// What an older version took and this one refuses, each with its key and the way out.
    pub fn refused(&self) -> impl Iterator<Item = String> {
        let ways = [
            ("proxy.ca-certs", "`proxy use-ca-certs FILE` replaces it, `proxy remove-ca-certs` clears it"),
            ("proxy.acme.ca", "`proxy acme enable --directory URL --ca FILE` replaces it"),
        ];
        ways.into_iter().filter_map(|(name, way)| {
            let why = self.certificates(name).err()?;
            Some(format!("{name} cannot be used, and what needs it does without: {why}; {way}"))
        })
    }

    fn certificates(&self, name: &'static str) -> Result<Option<Vec<CertificateDer<'static>>>, ImportError> {
        match self.value(name) {
            "" => Ok(None),
            pem => {
                let trusted = trusted_certificates(&[Source { name, bytes: pem.as_bytes() }])?;
                Ok(Some(trusted.certificates))
            }
        }
    }

    /// The set values by key, including secrets, excluding credentials.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Every key with its effective value, sorted, secrets redacted: the output of `proxy config`.
    pub fn redacted(&self) -> impl Iterator<Item = (&'static str, String)> {
        KEYS.iter().map(|key| (key.name, key.redact(self.value(key.name))))
    }

    /// Deterministic YAML of all set values, including secrets: the output of `--export-yaml`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // Every JSON string is also a YAML string.
        self.entries().map(|(key, value)| format!("{key}: {}\n", serde_json::Value::from(value))).collect()
    }

    /// The keys and values of such YAML as written, whether or not they can be set: a dump hides secrets.
    ///
    /// # Errors
    /// The text is not YAML of keys and values.
    pub fn yaml_pairs(text: &str) -> Result<BTreeMap<String, String>, FileError> {
        file::pairs(text)
    }

    /// As [`Settings::yaml_pairs`], of a file as it was read.
    ///
    /// # Errors
    /// It is no text, or not YAML of keys and values.
    pub fn yaml_pairs_of(bytes: &[u8]) -> Result<BTreeMap<String, String>, FileError> {
        file::pairs(file::text_of(bytes)?)
    }

    /// Reads YAML with flat (`proxy.domain: x`) or nested (`proxy: {domain: x}`) keys.
    pub fn from_yaml(text: &str) -> Result<Self, FileError> {
        file::from_yaml(text)
    }
}

/// Secrets stay out of debug output.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.values.keys().filter_map(|name| key(name));
        f.debug_map().entries(shown.map(|key| (key.name, key.redact(self.value(key.name))))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_their_defaults_valid() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!(key.kind.check(key.default).as_deref(), Ok(key.default), "{}", key.name);
        }
    }

    #[test]
    fn several_values_are_set_together_or_not_at_all() {
        let mut settings = Settings::default();
        let wrong = [("proxy.domain", "a.example"), ("proxy.port.http", "99999")];
        assert!(settings.set_all(wrong).is_err());
        assert_eq!(settings, Settings::default());
        settings.set_all([("proxy.domain", "a.example"), ("proxy.port.http", "8080")]).unwrap();
        assert_eq!(settings.value("proxy.port.http"), "8080");
        settings.set("proxy.port.http", "").unwrap();
        assert_eq!(settings.value("proxy.port.http"), "80");
    }

    #[test]
    fn a_number_that_would_not_count_is_refused() {
        let mut settings = Settings::default();
        settings.set("proxy.imports.approvals", "5").unwrap();
        settings.set_all([("proxy.domain", "a.example")]).expect("what was saved before blocks nothing");
        assert_eq!(settings.imports.approvals, 2);
        for (key, number) in [
            ("proxy.imports.approvals", "0"),
            ("proxy.imports.approvals", "3"),
            ("proxy.deltas.keep-ratio", "101"),
        ] {
            let refused = settings.set_all([(key, number)]).unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
        settings.set_all([("proxy.imports.approvals", "1"), ("proxy.deltas.keep-ratio", "100")]).unwrap();
    }

    #[test]
    fn secrets_show_nowhere_but_by_name() {
        let mut settings = Settings::default();
        settings.set("proxy.device-auth.secret", "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms=").unwrap();
        settings.set("proxy.db.connection", "postgresql://snapproxy:marker@10.1.2.3:5432/snaps").unwrap();
        let dump: String = settings.redacted().map(|(key, value)| format!("{key}: {value}\n")).collect();
        assert!(dump.contains("proxy.device-auth.secret: <redacted>\n"), "{dump}");
        assert!(dump.contains("postgresql://snapproxy:<redacted>@10.1.2.3:5432/snaps"), "{dump}");
        for text in [dump, format!("{settings:?}")] {
            assert!(!text.contains("marker") && !text.contains("bWFya2Vy"), "{text}");
        }
        assert!(settings.value("proxy.device-auth.secret").starts_with("bWFya2Vy"));
    }

    #[test]
    fn yaml_there_and_back() {
        let mut settings = Settings::default();
        settings.set("proxy.domain", "snaps.internal").unwrap();
        settings.set("proxy.airgap", "true").unwrap();
        settings
            .set("proxy.tls.cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let yaml = settings.to_yaml();
        assert_eq!(Settings::from_yaml(&yaml).unwrap(), settings);
        let nested = "proxy:\n  domain: snaps.internal\n  port: {http: 8080}\n  airgap: true\n";
        let read = Settings::from_yaml(nested).unwrap();
        assert_eq!((read.value("proxy.port.http"), read.value("proxy.airgap")), ("8080", "True"));
        assert!(Settings::from_yaml("proxy.nonsense: 1\n").is_err());
        let twice = "proxy.domain: a.example\nproxy: {domain: b.example}\n";
        assert!(matches!(Settings::from_yaml(twice), Err(FileError::Syntax(_))));
    }
}
