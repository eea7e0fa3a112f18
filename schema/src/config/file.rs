//! The configuration file: flat YAML, one key per line, the same text as an export.
//!
//! A write goes to a temporary file in the same folder, which is synced and renamed, so the file is complete at any
//! moment. Owner and mode are kept; a new file is readable only by the data directory's owner.
//!
//! Whoever reads the file to change it holds [`ConfigLock`] from before the read until after the write. A server, which
//! keeps what it has read, holds it from before its read until operators can reach it, and again while it ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, KEYS, Kind, Settings, key};
use crate::looks;

/// The file's name in the data directory.
pub const FILE_NAME: &str = "airlock.yaml";

/// The prefix of temporary files; the writer's process id follows.
const FRESH: &str = "airlock.new.";

/// Why the configuration cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// An I/O error.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// The action.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file was replaced, but a power cut might bring back the old one.
    #[error("cannot tell whether {} would outlive a power cut: run it again", path.display())]
    Unflushed {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text is not YAML of keys and values.
    #[error("cannot read the configuration as YAML keys and values: {0}")]
    Syntax(String),
    /// The file holds secrets and is readable by group or others.
    #[error("{0} can be read by others (mode {mode:04o}): run `chmod 600 {0}`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is in the file cannot be used.
    #[error("cannot use {}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<FileError>,
    },
    /// The text has a wrong key or value.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A YAML value: leaf or nested map.
#[derive(Deserialize)]
#[serde(untagged)]
enum Node {
    Switch(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
    Nest(BTreeMap<String, Node>),
    Nothing(()),
}

pub(super) fn from_yaml(text: &str) -> Result<Settings, FileError> {
    let mut settings = Settings::default();
    for (name, value) in pairs(text)? {
        settings.set(&name, &value)?;
    }
    Ok(settings)
}

/// The text of a file that is to hold keys and values.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, FileError> {
    let foreign = looks::like(bytes).filter(|_| bytes.contains(&0) || str::from_utf8(bytes).is_err());
    if let Some(what) = foreign {
        return Err(FileError::Syntax(format!("it is {what}")));
    }
    let text = str::from_utf8(bytes).map_err(|_| FileError::Syntax("it is no text in UTF-8".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The unchecked keys and values of a YAML text.
pub(super) fn pairs(text: &str) -> Result<BTreeMap<String, String>, FileError> {
    let mut pairs = BTreeMap::new();
    if text.trim().is_empty() {
        return Ok(pairs);
    }
    let text: String = text.lines().flat_map(|line| [quoted(line), "\n".into()]).collect();
    // `off` and `yes` stay words: the key decides what they mean.
    let options = serde_saphyr::options! { strict_booleans: true };
    let nest: BTreeMap<String, Node> = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| FileError::Syntax(in_words(&error)))?;
    add(&mut pairs, "", nest)?;
    Ok(pairs)
}

/// Quotes an IPv6 address in brackets, which YAML would read as a list.
fn quoted(line: &str) -> Cow<'_, str> {
    let bare = || {
        let (name, value) = line.split_once(": ")?;
        let address = value.trim().strip_prefix('[')?.split_once(']')?.0;
        let wanted = name.trim();
        let takes_address = |kind| matches!(kind, Kind::Address | Kind::Host | Kind::Listen | Kind::Socket);
        let named =
            |held: &str| held.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let known = KEYS.iter().any(|key| takes_address(key.kind) && named(key.name));
        (known && address.parse::<std::net::Ipv6Addr>().is_ok()).then(|| {
            let (value, comment) = value.split_once(" #").unwrap_or((value, ""));
            let comment = if comment.is_empty() { String::new() } else { format!(" #{comment}") };
            format!("{name}: \"{}\"{comment}", value.trim())
        })
    };
    bare().map_or(Cow::Borrowed(line), Cow::Owned)
}

/// What is wrong where. The parser's own message quotes the text, which holds secrets.
fn in_words(error: &serde_saphyr::Error) -> String {
    let place =
        error.location().map(|at| format!("line {}", at.line())).unwrap_or_else(|| "the text".to_owned());
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("{place}: the key {} is there twice", quoted_key(key))
        }
        _ => format!("{place} is not such as `proxy.domain: snaps.internal`"),
    }
}

fn quoted_key(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_default).collect()
}

fn add(
    pairs: &mut BTreeMap<String, String>,
    prefix: &str,
    nest: BTreeMap<String, Node>,
) -> Result<(), FileError> {
    for (name, node) in nest {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let value = match node {
            Node::Nest(inner) => {
                add(pairs, &name, inner)?;
                continue;
            }
            Node::Text(text) => spelled(&name, text),
            Node::Number(number) => number.to_string(),
            Node::Switch(on) => if on { "True" } else { "False" }.to_owned(),
            Node::List(list) => serde_json::Value::from(list).to_string(),
            Node::Nothing(()) => String::new(),
        };
        // A flat and a nested spelling may both set the same key.
        if pairs.insert(name.clone(), value).is_some() {
            return Err(FileError::Syntax(format!("the key {} is there twice", quoted_key(&name))));
        }
    }
    Ok(())
}

/// Converts a text to its key's spelling: YAML's other words for true and false, and PEM on one line as in a dump.
fn spelled(name: &str, text: String) -> String {
    match key(name).map(|key| key.kind) {
        Some(Kind::Switch) => match text.to_ascii_lowercase().as_str() {
            "on" | "yes" | "y" => "True".into(),
            "off" | "no" | "n" => "False".into(),
            _ => text,
        },
        Some(Kind::Pem) if !text.contains('\n') => text.replace("\\n", "\n"),
        _ => text,
    }
}

/// The right to change the configuration file of a data directory; it ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct ConfigLock(#[expect(dead_code, reason = "open for as long as it is locked")] File);

impl ConfigLock {
    /// Takes the lock; `None` while another process has it.
    ///
    /// # Errors
    /// The folder cannot be opened or locked.
    pub fn try_take(data_dir: &Path) -> io::Result<Option<Self>> {
        let folder = File::open(data_dir)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(Self(folder))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Settings {
    /// Reads the configuration of a data directory; without a file nothing is set.
    ///
    /// # Errors
    /// The file cannot be read, is not a valid configuration, or is readable by others.
    pub fn load(data_dir: &Path) -> Result<Self, FileError> {
        let path = data_dir.join(FILE_NAME);
        let io = |source| FileError::Io { verb: "read", path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io(error)),
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                return Err(FileError::Exposed { path, mode: meta.mode() & 0o7777 });
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(io)?;
        text_of(&bytes)
            .and_then(from_yaml)
            .map_err(|source| FileError::Content { path, source: Box::new(source) })
    }

    /// Writes the configuration of a data directory atomically and durably.
    pub fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        self.save_in_steps(data_dir, |_| Ok(()))
    }

    /// Like [`Settings::save`], but asks before each named step whether to take it.
    pub fn save_in_steps(
        &self,
        data_dir: &Path,
        may: impl Fn(&'static str) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let path = data_dir.join(FILE_NAME);
        let replaced = self.replace(&path, &may);
        replaced.map_err(|source| FileError::Io { verb: "write", path: path.clone(), source })?;
        let flushed = may("config.flush").and_then(|()| File::open(data_dir)?.sync_all());
        flushed.map_err(|source| FileError::Unflushed { path, source })
    }

    /// Removes temporary files of writers that no longer run.
    pub fn clear_leftovers(data_dir: &Path) -> Result<(), FileError> {
        let clear = || {
            for entry in fs::read_dir(data_dir)? {
                let entry = entry?;
                // A running writer holds a lock on its file.
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(FRESH))
                    && File::open(entry.path())?.try_lock().is_ok()
                {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        let path = data_dir.join(FRESH);
        clear().map_err(|source| FileError::Io { verb: "remove what was left of", path, source })
    }

    fn replace(&self, path: &Path, may: &dyn Fn(&'static str) -> io::Result<()>) -> io::Result<()> {
        let before = match fs::metadata(path) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let fresh = folder.join(format!("{FRESH}{}", std::process::id()));
        let written = self
            .write_fresh(&fresh, before.as_ref(), &fs::metadata(folder)?, may)
            .and_then(|()| may("config.rename"))
            .and_then(|()| fs::rename(&fresh, path));
        if let Err(error) = written {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        Ok(())
    }

    fn write_fresh(
        &self,
        fresh: &Path,
        before: Option<&Metadata>,
        folder: &Metadata,
        may: &dyn Fn(&'static str) -> io::Result<()>,
    ) -> io::Result<()> {
        may("config.create")?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh)?;
        file.try_lock().map_err(io::Error::from)?;
        let own = file.metadata()?;
        match before {
            Some(before) if (own.uid(), own.gid()) != (before.uid(), before.gid()) => {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
            // If root creates the first file, it must belong to the folder's owner, because the server reads it.
            None if own.uid() != folder.uid() => fchown(&file, Some(folder.uid()), Some(folder.gid()))?,
            _ => {}
        }
        let mode = before.map_or(0o600, |before| before.mode() & 0o7700);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        may("config.write")?;
        file.write_all(self.to_yaml().as_bytes())?;
        may("config.sync")?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_place() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(FILE_NAME);
        let utf16: Vec<u8> = "proxy.domain: a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content, wanted) in [
            (&b"proxy.domain: a\nproxy.auth.secret: [hunter2"[..], "line 2"),
            (b"proxy.domain: a\nproxy.domain: b\n", "line 2: the key proxy.domain is there twice"),
            (b"proxy.domian: hunter2\n", "did you mean proxy.domain?"),
            (&utf16, "`iconv -f UTF-16 -t UTF-8 FILE`"),
            (b"proxy.domain: a\xff\n", "no text in UTF-8"),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let text = crate::causes::one_line(&Settings::load(folder.path()).unwrap_err());
            assert!(text.starts_with(&format!("cannot use {}: ", path.display())), "{text}");
            assert!(text.contains(wanted) && !text.contains("hunter2"), "{text}");
        }
        fs::write(&path, "\u{feff}proxy.domain: a.example\n").unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap().value("proxy.domain"), "a.example");
    }

    #[test]
    fn what_a_dead_writer_left_is_removed_and_a_living_one_keeps_its_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let [dead, living, other] = ["airlock.new.1", "airlock.new.2", "airlock.db"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, "proxy.auth.secret: x").unwrap();
            path
        });
        let held = File::open(&living).unwrap();
        held.try_lock().unwrap();
        Settings::clear_leftovers(folder.path()).unwrap();
        assert_eq!([dead, living, other].map(|path| path.exists()), [false, true, true]);
    }
}
