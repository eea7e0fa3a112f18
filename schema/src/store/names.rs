//! Names and ids: of snaps and of stores.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

/// The text is not a valid name or id of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: {rule}")]
pub struct NameError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl NameError {
    /// Quotes only the beginning of the text: hostile input may be long.
    pub(crate) fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

/// Declares a text newtype whose values satisfy `check`. Short texts are kept in place, and a copy of a long one shares it.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        #[schemars(with = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// The text itself.
            #[must_use]
            #[inline]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError::new($what, text, $rule))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        // Not by way of `String`, which allocates.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            #[inline]
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            #[inline]
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            #[inline]
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl std::borrow::Borrow<str> for $name {
            #[inline]
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_type!(
    /// The name of a snap: 2 to 40 of `a-z 0-9 -`, with a letter, no dash at an end or doubled.
    SnapName,
    "snap name",
    "2 to 40 lower case letters, digits and single inner dashes, with at least one letter",
    |text| {
        (2..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.bytes().any(|b| b.is_ascii_lowercase())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--")
    }
);

text_type!(
    /// The permanent id of a snap: 32 letters and digits.
    SnapId,
    "snap id",
    "exactly 32 letters and digits",
    |text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric())
);

text_type!(
    /// The id of a store; at most 64 characters here.
    StoreId,
    "store id",
    "1 to 64 letters, digits, dashes and underscores",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
);

text_type!(
    /// An architecture's Debian name, such as `amd64` or `arm64`; [`Architecture::ALL`] fits every device.
    Architecture,
    "architecture",
    "a Debian architecture such as amd64 or arm64",
    |text| {
        (1..=16).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
);

text_type!(
    /// A track: a supported release series of a snap, `latest` by default. It is never a risk's name.
    Track,
    "track",
    "1 to 28 letters, digits, dots, dashes and underscores, not the name of a risk",
    |text| part_fits(text, 28) && super::Risk::named(text).is_none()
);

text_type!(
    /// A branch: a short-lived variant of a risk.
    Branch,
    "branch",
    "1 to 64 letters, digits, dots, dashes, plus signs and underscores, not the name of a risk",
    |text| part_fits(text, 64) && super::Risk::named(text).is_none()
);

/// Letters, digits and a few marks, beginning with a letter or digit.
fn part_fits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

impl Track {
    /// The default track.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }
}

impl Architecture {
    /// The architecture of snaps that run everywhere.
    pub const ALL: &str = "all";

    /// That architecture.
    #[must_use]
    pub fn all() -> Self {
        Self(Self::ALL.into())
    }

    /// Whether it fits every device.
    #[must_use]
    pub fn is_all(&self) -> bool {
        &*self.0 == Self::ALL
    }
}

impl StoreId {
    /// The global store.
    #[must_use]
    pub fn global() -> Self {
        Self(super::GLOBAL_STORE.into())
    }

    /// Whether this is the global store.
    #[must_use]
    pub fn is_global(&self) -> bool {
        &*self.0 == super::GLOBAL_STORE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snap_names() {
        for good in ["ab", "core24", "a-1", "0ad", &"a".repeat(40)] {
            assert!(good.parse::<SnapName>().is_ok(), "{good}");
        }
        for bad in ["", "a", "12", "-ab", "ab-", "a--b", "Ab", "a_b", "a/b", "ä1", "ab\n", &"a".repeat(41)] {
            assert!(bad.parse::<SnapName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids() {
        assert!("buPKUD3TKqCOgLEjjHx5kSiCpIs5cMuQ".parse::<SnapId>().is_ok());
        assert!("buPKUD3TKqCOgLEjjHx5kSiCpIs5cMu".parse::<SnapId>().is_err());
        assert!("buPKUD3TKqCOgLEjjHx5kSiCpIs5cMu_".parse::<SnapId>().is_err());
        assert!("rig-store_1".parse::<StoreId>().is_ok());
        assert!("".parse::<StoreId>().is_err());
        assert!("a b".parse::<StoreId>().is_err());
    }
}
