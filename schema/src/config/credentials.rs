//! Secrets that a service manager passes as files (systemd's `LoadCredential=`), one file per key.
//!
//! ```text
//! $CREDENTIALS_DIRECTORY/proxy.device-auth.secret            LoadCredential=proxy.device-auth.secret:FILE
//! $CREDENTIALS_DIRECTORY/airlock_proxy.device-auth.secret    LoadCredential=airlock:FOLDER
//! ```
//!
//! A credential overrides the configuration file and is never written into it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::{ConfigError, FileError, Key, Kind, Settings, key};

/// The prefix that systemd adds to the files of a folder, from the folder's id in the packaged unit.
const PREFIX: &str = "airlock_";

/// More than any secret needs, in bytes.
const MAX_CREDENTIAL: u64 = 64 << 10;

impl Settings {
    /// Loads the credentials in a folder. Files that are not named after a key are ignored.
    ///
    /// # Errors
    /// A file cannot be read, has a value that its key does not accept, or is named after a key that does not exist
    /// or is not a secret.
    pub fn load_credentials(&mut self, folder: &Path) -> Result<(), FileError> {
        let io = |source| FileError::Io { verb: "read", path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().map(|name| name.strip_prefix(PREFIX).unwrap_or(name)) else {
                continue;
            };
            if !name.starts_with("proxy.") && !name.starts_with("internal.") {
                continue;
            }
            let key = key(name).ok_or_else(|| ConfigError::UnknownKey(name.chars().take(80).collect()))?;
            if !may_be_credential(key) {
                return Err(ConfigError::NoCredential(key.name).into());
            }
            let text = read(&entry.path()).map_err(|source| FileError::Io {
                verb: "read",
                path: entry.path(),
                source,
            })?;
            // Only PEM text keeps its final line feed.
            let text = if key.kind == Kind::Pem { &*text } else { text.trim_end_matches(['\r', '\n']) };
            let checked =
                key.kind.check(text).map_err(|source| ConfigError::Value { key: key.name, source })?;
            self.credentials.insert(key.name, checked);
        }
        self.read_sections();
        Ok(())
    }

    /// Keys set by credentials.
    pub fn credentials(&self) -> impl Iterator<Item = &'static str> {
        self.credentials.keys().copied()
    }
}

/// Whether the key is a secret; the database URL counts because it may contain a password.
fn may_be_credential(key: &Key) -> bool {
    key.secret || key.kind == Kind::Database
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_CREDENTIAL + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= MAX_CREDENTIAL => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more than 64 KiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms=";
    const KEY: &str = "proxy.device-auth.secret";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_credential_is_in_force_and_is_never_written() {
        let mut settings = Settings::default();
        settings.set(KEY, OTHER).unwrap();
        let given = folder(&[
            ("airlock_proxy.device-auth.secret", &format!("{SECRET}\n")),
            ("proxy.db.connection", "postgresql://a:b@db/airlock\n"),
            ("of-another-service", "whatever"),
        ]);
        settings.load_credentials(given.path()).unwrap();
        assert_eq!(
            (settings.value(KEY), settings.value("proxy.db.connection")),
            (SECRET, "postgresql://a:b@db/airlock")
        );
        assert_eq!(settings.credentials().collect::<Vec<_>>(), ["proxy.db.connection", KEY]);
        for text in [settings.to_yaml(), format!("{settings:?}")] {
            assert!(!text.contains(SECRET) && !text.contains("a:b@db"), "{text}");
        }
        assert!(settings.to_yaml().contains(OTHER), "what the file says stays");
    }

    #[test]
    fn what_comes_as_a_credential_is_not_set_otherwise() {
        let mut settings = Settings::default();
        settings.load_credentials(folder(&[(KEY, SECRET)]).path()).unwrap();
        assert_eq!(settings.set(KEY, OTHER), Err(ConfigError::IsCredential(KEY)));
        settings.set(KEY, SECRET).expect("the same again changes nothing");
        assert_eq!(settings.entries().count(), 0);
        let now = time::OffsetDateTime::UNIX_EPOCH;
        let rotated = settings.rotate_secret(super::super::RotatedSecret::Sessions, &[1; 32], now, now);
        assert_eq!(rotated, Err(ConfigError::IsCredential(KEY)));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for (name, text) in [
            ("proxy.domain", "a.example"),
            ("airlock_proxy.device-auth.secrte", SECRET),
            ("proxy.device-auth.secret", "short"),
            ("proxy.device-auth.secret", ""),
            ("proxy.device-auth.secret", &"A".repeat(70_000)),
        ] {
            let mut settings = Settings::default();
            let refused = settings.load_credentials(folder(&[(name, text)]).path());
            assert!(refused.is_err(), "{name}");
            assert_eq!(settings, Settings::default(), "{name}");
        }
    }

    #[test]
    fn what_moved_out_of_the_file_can_be_cleared_there() {
        let mut settings = Settings::default();
        settings.set(KEY, SECRET).unwrap();
        settings.load_credentials(folder(&[(KEY, SECRET)]).path()).unwrap();
        settings.set(KEY, "").unwrap();
        assert_eq!((settings.value(KEY), settings.entries().count()), (SECRET, 0));
    }
}
