//! The configuration: which keys there are, what they may hold, and the file that holds them.
//!
//! One flat key space, as operators know it (operator contract §2.5):
//!
//! ```text
//! proxy.domain: snaps.internal
//! proxy.port.http: 80
//! proxy.device-auth.secret: <redacted>
//! ```
//!
//! [`KEYS`] is the whole truth about names, kinds, defaults and secrecy; [`Settings`] is a checked set
//! of values. What is not in the table is refused.

mod credentials;
mod device_service;
mod file;
mod keys;
mod network;
mod old_secrets;
mod place;
mod value;

pub use device_service::{DeviceService, DeviceServiceError};
pub use file::{FILE_NAME, FileError};
pub use keys::{KEYS, Key, Kind, key};
pub use network::{Network, NetworkError};
pub use old_secrets::{MOST_OLD_SECRETS, OldSecret, RotatedSecret};
pub use place::{DATA_DIR_VARIABLE, default_data_dir};
pub use value::seconds as duration_seconds;
pub use value::{ValueError, seconds};

use std::collections::BTreeMap;
use std::fmt;

use rustls_pki_types::CertificateDer;

use crate::tls::{ImportError, Pair, PairError, Source, trusted_certificates};

/// Stands for a secret wherever one is not asked for by name.
pub const REDACTED: &str = "<redacted>";

/// The values that an operator has set; everything else has its default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// What a service manager handed over; in force before `values`.
    credentials: BTreeMap<&'static str, String>,
}

/// A change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such key.
    #[error("unknown configuration key {0:?}: run `proxy config` for the list")]
    UnknownKey(String),
    /// The key cannot hold this.
    #[error("cannot set {key}: {source}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// The value is not the operator's to set.
    #[error(
        "cannot set {0}: it comes as a credential of the service; change that file and restart the server"
    )]
    IsCredential(&'static str),
    /// The key holds no secret.
    #[error("cannot take {0} as a credential, it is no secret: set it with `proxy config`")]
    NoCredential(&'static str),
    /// Certificate and key do not fit, or one is missing.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The certificates to trust cannot be read.
    #[error("cannot set proxy.ca-certs: {0}")]
    CaCerts(ImportError),
    /// The ACME directory's certificates cannot be read.
    #[error("cannot set proxy.acme.ca: {0}")]
    AcmeCa(ImportError),
    /// Half an external account binding.
    #[error("proxy.acme.eab-kid and proxy.acme.eab-key belong together: set both, or clear both")]
    HalfBinding,
    /// There is nothing to rotate.
    #[error("{0} is not set, so there is no secret to rotate: run `proxy enable-airgap-mode`")]
    NoSecret(&'static str),
    /// As many secrets of before are accepted as may be.
    #[error(
        "cannot rotate {key}: {MOST_OLD_SECRETS} secrets of before are still accepted, the next one until {next}; wait for \
         that, or void all of them at once with `proxy rotate-secret {key} --keep-old 0s`"
    )]
    TooManySecrets {
        /// Which.
        key: &'static str,
        /// When there is room, RFC 3339.
        next: String,
    },
    /// The admin API is never open in the clear.
    #[error(
        "proxy.admin.address is set and there is no certificate, and the admin API is never open without TLS: run \
         `proxy import-certificate` first, or close it with `proxy config proxy.admin.address=`"
    )]
    AdminWithoutTls,
    /// Clients are asked for certificates that nobody can check.
    #[error("proxy.tls.client-auth is {0} and proxy.tls.client-ca is not set: set both together")]
    NoClientCa(String),
}

impl Settings {
    /// The value in force: as set, else the default, else empty. `None` for a key that does not exist.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = key(name)?;
        let set = self.credentials.get(key.name).or_else(|| self.values.get(key.name));
        Some(set.map_or(key.default, String::as_str))
    }

    /// The value in force of a key of the table; empty when neither set nor given a default.
    #[must_use]
    pub fn value(&self, name: &'static str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Is this switch on?
    #[must_use]
    pub fn is_on(&self, name: &'static str) -> bool {
        self.value(name) == "True"
    }

    /// Sets one value, in its normal spelling; an empty value clears the key.
    ///
    /// # Errors
    /// No such key, a value that it cannot hold, or another one than the credential that is in force.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let key = key(name).ok_or_else(|| ConfigError::UnknownKey(name.chars().take(80).collect()))?;
        if value.is_empty() {
            self.values.remove(key.name);
            return Ok(());
        }
        let value = key.kind.check(value).map_err(|source| ConfigError::Value { key: key.name, source })?;
        if let Some(credential) = self.credentials.get(key.name) {
            return if *credential == value { Ok(()) } else { Err(ConfigError::IsCredential(key.name)) };
        }
        self.values.insert(key.name, value);
        Ok(())
    }

    /// Sets several values, or none when one of them is wrong or they do not fit together.
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

    /// Do the values that differ from `before` fit together? What was wrong before does not stand in the way.
    fn check_changed(&self, before: &Self) -> Result<(), ConfigError> {
        let differs =
            |names: &[&'static str]| names.iter().any(|name| self.value(name) != before.value(name));
        if differs(&["proxy.tls.cert", "proxy.tls.key"]) {
            self.tls_pair()?;
        }
        if differs(&["proxy.ca-certs"]) {
            self.ca_certs().map_err(ConfigError::CaCerts)?;
        }
        if differs(&["proxy.acme.ca"]) {
            self.acme_ca().map_err(ConfigError::AcmeCa)?;
        }
        if differs(&["proxy.acme.eab-kid", "proxy.acme.eab-key"])
            && self.value("proxy.acme.eab-kid").is_empty() != self.value("proxy.acme.eab-key").is_empty()
        {
            return Err(ConfigError::HalfBinding);
        }
        if differs(&["proxy.admin.address", "proxy.tls.cert"])
            && self.admin_address().is_some()
            && self.value("proxy.tls.cert").is_empty()
        {
            return Err(ConfigError::AdminWithoutTls);
        }
        let client_auth = self.value("proxy.tls.client-auth");
        if differs(&["proxy.tls.client-auth", "proxy.tls.client-ca"])
            && client_auth != "off"
            && self.value("proxy.tls.client-ca").is_empty()
        {
            return Err(ConfigError::NoClientCa(client_auth.to_owned()));
        }
        Ok(())
    }

    /// The store's certificate and key; `None` where it has none.
    ///
    /// # Errors
    /// One is set without the other, or they are no pair.
    pub fn tls_pair(&self) -> Result<Option<Pair>, PairError> {
        Pair::from_settings(self.value("proxy.tls.cert"), self.value("proxy.tls.key"))
    }

    /// The only certificates to trust in outgoing TLS; `None` where the system's are.
    ///
    /// # Errors
    /// The text holds none, or one that cannot be read.
    pub fn ca_certs(&self) -> Result<Option<Vec<CertificateDer<'static>>>, ImportError> {
        self.certificates("proxy.ca-certs")
    }

    /// The certificates to trust an ACME directory with; `None` where it is trusted as other hosts are.
    ///
    /// # Errors
    /// The text holds none, or one that cannot be read.
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

    /// What was set, by key, secrets included, credentials not.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Every key with the value in force, sorted, secrets redacted: what `proxy config` prints.
    pub fn redacted(&self) -> impl Iterator<Item = (&'static str, String)> {
        KEYS.iter().map(|key| (key.name, key.redact(self.value(key.name))))
    }

    /// Deterministic YAML of all that was set, secrets included: what `--export-yaml` prints.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // A JSON string is a YAML string, whatever it holds.
        self.entries().map(|(key, value)| format!("{key}: {}\n", serde_json::Value::from(value))).collect()
    }

    /// The keys and values of such YAML as they stand there, whether or not they can be set: a dump hides secrets.
    ///
    /// # Errors
    /// It is not YAML of keys and values.
    pub fn yaml_pairs(text: &str) -> Result<BTreeMap<String, String>, FileError> {
        file::pairs(text)
    }

    /// Reads YAML with flat (`proxy.domain: x`) or nested (`proxy: {domain: x}`) keys.
    pub fn from_yaml(text: &str) -> Result<Self, FileError> {
        file::from_yaml(text)
    }
}

/// Secrets stay out of every debug output.
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
