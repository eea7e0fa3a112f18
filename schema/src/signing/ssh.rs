//! Public keys of `ssh`, one on a line.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Longest key that is read, with its comment, in bytes.
const LONGEST: usize = 8192;
/// The kinds of keys that devices can use.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A public key as `ssh-keygen` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    line: String,
    fingerprint: String,
}

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one public key on one line, as in a file that ssh-keygen names .pub")]
pub struct SshKeyError;

impl SshKey {
    /// Reads a key: its kind, base64, and perhaps a comment.
    ///
    /// # Errors
    /// [`SshKeyError`] for anything else, such as a private key.
    pub fn new(text: &str) -> Result<Self, SshKeyError> {
        let line = text.trim();
        if line.len() > LONGEST || line.contains(char::is_control) {
            return Err(SshKeyError);
        }
        let mut words = line.split(' ');
        let kind = words.next().filter(|kind| KINDS.contains(kind)).ok_or(SshKeyError)?;
        let bytes = words.next().and_then(|text| STANDARD.decode(text).ok()).ok_or(SshKeyError)?;
        // The bytes begin with the kind again, after its length.
        let length = u32::try_from(kind.len()).map_err(|_| SshKeyError)?.to_be_bytes();
        let rest = bytes.strip_prefix(&length).and_then(|rest| rest.strip_prefix(kind.as_bytes()));
        if rest.is_none_or(<[u8]>::is_empty) {
            return Err(SshKeyError);
        }
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &bytes)));
        Ok(Self { line: line.to_owned(), fingerprint })
    }

    /// The line, for `authorized_keys`.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The fingerprint, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFyGlVHFmwtkE5xpk1p3vBdOmDJGtQ5xjxSr+ELBLJSe alice@desk";

    #[test]
    fn a_public_key_has_its_fingerprint() {
        let key = SshKey::new(&format!("{KEY}\n")).expect("a key");
        assert_eq!(key.line(), KEY);
        // Of `ssh-keygen -l`.
        assert_eq!(key.fingerprint(), "SHA256:GdVeh+phY4AVjN2QLEK7P6UVtYOADPzXBSwNVOEOGMc");
        let without_comment = KEY.rsplit_once(' ').expect("a comment").0;
        assert_eq!(SshKey::new(without_comment).expect("a key").fingerprint(), key.fingerprint());
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 %%%",
            "ssh-ed25519 AAAA",
            "ssh-dss AAAAB3NzaC1kc3M=",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            &KEY.replace("ssh-ed25519 ", "command=\"x\" ssh-ed25519 "),
            &format!("{KEY}\n{KEY}"),
            &format!("{KEY} {}", "x".repeat(9000)),
        ] {
            assert_eq!(SshKey::new(bad), Err(SshKeyError), "{bad}");
        }
    }
}
