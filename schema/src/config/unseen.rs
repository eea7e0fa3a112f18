//! Changes of the configuration file that no server has seen: who made them while it was stopped, for its audit log.
//!
//! Each is a line of JSON in a file beside the configuration. The next start records them and removes the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SettingChange;

/// The file's name in the data directory.
const UNSEEN: &str = "airlock.changes";

/// One change of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenChange {
    /// Who made it, as in the audit log.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
    /// The values that changed, without secrets.
    pub changes: Vec<SettingChange>,
}

/// A note that was written; it is taken back if the change is not made.
#[derive(Debug)]
pub struct Noted {
    file: File,
    before: u64,
}

impl Noted {
    /// The change was not made.
    ///
    /// # Errors
    /// The note cannot be taken back.
    pub fn take_back(self) -> io::Result<()> {
        self.file.set_len(self.before)
    }
}

impl UnseenChange {
    /// Writes the change down before it is made.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, data_dir: &Path) -> io::Result<Noted> {
        let folder = fs::metadata(data_dir)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path(data_dir))?;
        let own = file.metadata()?;
        if own.uid() != folder.uid() {
            // Root writes for the server, which has to remove the file.
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
        file.write_all((serde_json::to_string(self)? + "\n").as_bytes())?;
        file.sync_all()?;
        Ok(Noted { file, before: own.len() })
    }

    /// The changes noted since the last start, oldest first. What a power cut left half-written is passed over.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn all(data_dir: &Path) -> io::Result<Vec<Self>> {
        match fs::read_to_string(path(data_dir)) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Forgets all noted changes, which are recorded by now.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_all(data_dir: &Path) -> io::Result<()> {
        fs::remove_file(path(data_dir))
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(UNSEEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noted_until_a_server_saw_it_and_a_torn_line_hides_no_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let change = |key: &str| UnseenChange {
            who: "uid 0".into(),
            at: "2026-11-24T12:00:00Z".into(),
            changes: vec![SettingChange { key: key.into(), old: "".into(), new: "x".into() }],
        };
        let (one, other) = (change("proxy.domain"), change("proxy.airgap"));
        one.note(folder.path()).unwrap();
        other.note(folder.path()).unwrap().take_back().unwrap();
        assert_eq!(UnseenChange::all(folder.path()).unwrap(), std::slice::from_ref(&one));
        fs::write(path(folder.path()), format!("{}\n{{\"who\"", serde_json::to_string(&one).unwrap()))
            .unwrap();
        assert_eq!(UnseenChange::all(folder.path()).unwrap(), [one]);
        UnseenChange::forget_all(folder.path()).unwrap();
        assert_eq!(UnseenChange::all(folder.path()).unwrap(), []);
    }
}
