//! The address of an assertion: its type and primary key.

use std::fmt::{self, Write as _};

use super::kind::AssertionType;

/// Type and full primary key, with defaults of optional key headers filled in.
///
/// Displayed, and sent by clients, in reduced form: trailing default values are omitted, as in
/// `snap-revision/<digest>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// The type.
    pub kind: AssertionType,
    /// One value per primary key header, in their order.
    pub key: Vec<String>,
}

/// Why a list of values is not a primary key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// Too few or too many values.
    #[error("a primary key of {kind} has {expected} values, not {given}")]
    Count {
        /// The type.
        kind: AssertionType,
        /// How many values make a full key.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// A value that no decoded assertion can have.
    #[error("the value of {header} in a primary key of {kind} must not be empty or contain a slash")]
    Value {
        /// The type.
        kind: AssertionType,
        /// The header the value stands for.
        header: &'static str,
    },
}

impl Ref {
    /// Makes a reference from a full or reduced primary key.
    ///
    /// # Errors
    /// [`RefError`] when the number of values does not fit the type, or one is empty or contains a slash.
    pub fn new(kind: AssertionType, mut key: Vec<String>) -> Result<Self, RefError> {
        let (names, defaults) = (kind.primary_key(), kind.key_defaults());
        let given = key.len();
        if given > names.len() || given + defaults.len() < names.len() {
            return Err(RefError::Count { kind, expected: names.len(), given });
        }
        let missing = names.len() - given;
        key.extend(defaults[defaults.len() - missing..].iter().map(|&value| value.to_owned()));
        match names.iter().zip(&key).find(|(_, value)| value.is_empty() || value.contains('/')) {
            Some((header, _)) => Err(RefError::Value { kind, header }),
            None => Ok(Self { kind, key }),
        }
    }

    /// The primary key without trailing values that are the default.
    #[must_use]
    pub fn reduced(&self) -> &[String] {
        let mut key = &self.key[..];
        for default in self.kind.key_defaults().iter().rev() {
            match key.split_last() {
                Some((last, rest)) if last == default => key = rest,
                _ => break,
            }
        }
        key
    }

    /// The full primary key, joined by slashes, which no value contains.
    #[must_use]
    pub fn key_text(&self) -> String {
        self.key.join("/")
    }

    /// For addresses whose values are constants or come from a decoded assertion.
    pub(super) fn of<const N: usize>(kind: AssertionType, key: [&str; N]) -> Self {
        Self { kind, key: key.map(str::to_owned).to_vec() }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)?;
        for value in self.reduced() {
            f.write_str("/")?;
            for c in value.chars() {
                // Keys are free text: a line feed must not forge a line of the log.
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_full_or_reduced_and_nothing_else() {
        use AssertionType::{Account, Model, SnapRevision};
        let made = |kind, key: &[&str]| Ref::new(kind, key.iter().map(|&value| value.to_owned()).collect());
        let count = |kind, expected, given| Err(RefError::Count { kind, expected, given });
        let full = made(SnapRevision, &["digest", "global-upload"]);
        assert_eq!(made(SnapRevision, &["digest"]), full);
        assert_eq!(full.as_ref().map(Ref::key_text).as_deref(), Ok("digest/global-upload"));
        assert_eq!(full.map(|full| full.to_string()).as_deref(), Ok("snap-revision/digest"));
        let other = made(SnapRevision, &["digest", "acme-builds"]).map(|other| other.to_string());
        assert_eq!(other.as_deref(), Ok("snap-revision/digest/acme-builds"));
        assert_eq!(made(SnapRevision, &[]), count(SnapRevision, 2, 0));
        assert_eq!(made(SnapRevision, &["a", "b", "c"]), count(SnapRevision, 2, 3));
        assert_eq!(made(Account, &[]), count(Account, 1, 0));
        assert_eq!(made(Model, &["16", "acme"]), count(Model, 3, 2));
        assert!(made(Model, &["16", "acme", "edge"]).is_ok());
        for bad in ["", "a/b"] {
            assert_eq!(
                made(Model, &["16", bad, "edge"]),
                Err(RefError::Value { kind: Model, header: "brand-id" }),
                "{bad:?}"
            );
        }
    }
}
