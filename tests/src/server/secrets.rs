//! Secrets must not leak: the output of every command and server in the suite is searched for its data directory's
//! secrets (hazards J1, J2).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use schema::config::{FILE_NAME, KEYS, Settings};

/// Texts that reveal the secrets of a data directory: whole values, and the lines of PEM texts.
#[must_use]
pub fn marks(data_dir: &Path) -> Vec<(&'static str, String)> {
    let Ok(settings) = Settings::load(data_dir) else { return Vec::new() };
    let secret = |name: &str| KEYS.iter().any(|key| key.name == name && key.secret);
    let mut marks = Vec::new();
    for (name, value) in settings.entries().filter(|(name, _)| secret(name)) {
        let lines = value.lines().map(str::trim);
        // Shorter lines are frames or could occur anywhere. Old secrets are texts in a list.
        let listed = value.split('"').filter(|text| text.len() == 44 && text.ends_with('='));
        marks.extend(listed.map(|text| (name, text.into())));
        marks.extend(
            lines.filter(|line| line.len() >= 20 && !line.contains("-----")).map(|line| (name, line.into())),
        );
    }
    let pin = fs::read_to_string(settings.value("proxy.signing.pkcs11.pin-file"));
    marks.extend(pin.map(|pin| ("the PIN of the token", pin.trim().to_owned())));
    marks
}

/// The secret that a text reveals, if any; device sessions always count.
#[must_use]
pub fn shown_in(text: &[u8], marks: &[(&'static str, String)]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let whole = |(at, prefix): (usize, &str)| {
        let rest = text[at + prefix.len()..].bytes();
        rest.take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count() > 70
    };
    if text.match_indices("v4.public.").any(whole) {
        return Some("a device session");
    }
    marks.iter().find(|(_, mark)| text.contains(mark.as_str())).map(|(name, _)| *name)
}

/// A command that is asked for secrets may show them; no other may.
pub(super) fn may_show(args: &[&str]) -> bool {
    match args {
        ["config", "--export-yaml", ..] => true,
        ["config", keys @ ..] => keys.iter().any(|key| KEYS.iter().any(|known| known.name == *key)),
        ["create-login" | "ca", ..] => true,
        _ => false,
    }
}

/// Checks that a server reveals no secret: in its log, its arguments, its environment, and every file of its data
/// directory except the configuration.
///
/// # Panics
/// If one is revealed.
pub(super) fn search(data_dir: &Path, pid: u32) {
    let marks = marks(data_dir);
    if marks.is_empty() {
        return;
    }
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        assert_eq!(shown_in(&text, &marks), None, "in the {file} of proxyd");
    }
    // A new configuration that a killed server could not put in place is as private as the current one.
    let is_configuration = |file: &fs::DirEntry| {
        let is_private = file.metadata().is_ok_and(|about| about.permissions().mode() & 0o777 == 0o600);
        let name = file.file_name();
        name == FILE_NAME || is_private && name.to_string_lossy().starts_with("airlock.new.")
    };
    let files = fs::read_dir(data_dir).into_iter().flatten().flatten();
    for file in files.filter(|file| file.path().is_file() && !is_configuration(file)) {
        let text = fs::read(file.path()).unwrap_or_default();
        assert_eq!(shown_in(&text, &marks), None, "in {}", file.path().display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_found() {
        let marks = [("proxy.auth.secret", "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms=".to_owned())];
        let shown = |text: &str| shown_in(text.as_bytes(), &marks);
        assert_eq!(shown("key bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms= end"), Some("proxy.auth.secret"));
        assert_eq!(shown(&format!("token v4.public.{}", "a".repeat(100))), Some("a device session"));
        assert_eq!(shown("v4.public.garbage.x and <redacted>"), None);
        assert!(
            may_show(&["config", "proxy.auth.secret"]) && !may_show(&["config"]) && !may_show(&["status"])
        );
        assert!(!may_show(&["config", "proxy.auth.secret=VALUE"]));
    }
}
