//! The default location of the data directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The environment variable that names the data directory.
pub const DATA_DIR_VARIABLE: &str = "AIRLOCK_DATA_DIR";

/// The data directory of root and of the packaged service.
const SYSTEM_DATA_DIR: &str = "/var/lib/airlock";

/// The default data directory: the system's for root, a folder below the XDG data folder for everybody else.
///
/// A relative `xdg_data_home` or `home` counts as unset, as the XDG base directory specification requires; without
/// either, the system's directory is used.
#[must_use]
pub fn default_data_dir(is_root: bool, xdg_data_home: Option<&OsStr>, home: Option<&OsStr>) -> PathBuf {
    let absolute =
        |folder: Option<&OsStr>| folder.map(Path::new).filter(|f| f.is_absolute()).map(Path::to_owned);
    let data = || absolute(xdg_data_home).or_else(|| Some(absolute(home)?.join(".local/share")));
    match (is_root, data()) {
        (false, Some(data)) => data.join("airlock"),
        _ => SYSTEM_DATA_DIR.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_nameless_use_the_systems_folder_others_their_own() {
        for (root, xdg, home, wanted) in [
            (true, Some("/x"), Some("/root"), "/var/lib/airlock"),
            (false, Some("/x"), Some("/home/a"), "/x/airlock"),
            (false, Some("relative"), Some("/home/a"), "/home/a/.local/share/airlock"),
            (false, Some(""), Some("/home/a"), "/home/a/.local/share/airlock"),
            (false, None, Some("home"), "/var/lib/airlock"),
            (false, None, None, "/var/lib/airlock"),
        ] {
            let place = default_data_dir(root, xdg.map(OsStr::new), home.map(OsStr::new));
            assert_eq!(place, Path::new(wanted), "{root} {xdg:?} {home:?}");
        }
    }
}
