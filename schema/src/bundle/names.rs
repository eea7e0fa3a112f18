//! The names of a bundle's entries, and their meaning.

use super::BundleError;
use super::error::quote;
use crate::looks::is_litter;
use crate::store::SnapName;

/// The kind of a bundle member, judged by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// `manifest.json`
    Manifest,
    /// `metadata.json`, the store's answer for a snap.
    Metadata,
    /// `store.json`, brand store metadata; it makes the bundle a store archive.
    Stores,
    /// `*.assert`, a stream of assertions.
    Assertions,
    /// `*.snap`, a snap file.
    Snap,
    /// `*.comp`, a component of a snap.
    Component,
    /// `NAME.icon.png`, `.jpg` or `.svg`, the snap's icon. It is not signed.
    Icon,
    /// `NAME.snap.difference` or `NAME.comp.difference`, a file as a difference to an earlier one; only in a parcel.
    Difference,
    /// Anything else; ignored.
    Other,
}

impl MemberKind {
    fn of(name: &str) -> Self {
        match name {
            _ if is_litter(name) => return Self::Other,
            "manifest.json" => return Self::Manifest,
            "metadata.json" => return Self::Metadata,
            "store.json" => return Self::Stores,
            _ => {}
        }
        let plain = |stem: &str| {
            !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+.".contains(&b))
        };
        match name.rsplit_once('.') {
            Some((stem, "assert")) if plain(stem) => Self::Assertions,
            Some((stem, "snap")) if plain(stem) => Self::Snap,
            Some((stem, "comp")) if plain(stem) => Self::Component,
            Some((stem, "difference"))
                if plain(stem) && (stem.ends_with(".snap") || stem.ends_with(".comp")) =>
            {
                Self::Difference
            }
            Some((stem, "png" | "jpg" | "svg"))
                if stem.strip_suffix(".icon").is_some_and(|name| name.parse::<SnapName>().is_ok()) =>
            {
                Self::Icon
            }
            _ => Self::Other,
        }
    }

    /// Whether it is read into memory as a whole.
    pub(super) fn is_document(self) -> bool {
        matches!(self, Self::Manifest | Self::Metadata | Self::Stores | Self::Assertions)
    }
}

/// An entry's name: parts that are compared and shown, never joined to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The parts, joined by slashes; empty for the archive's root folder.
    pub(super) path: String,
    pub(super) kind: MemberKind,
}

/// Longest name of an entry, with its folders.
const LONGEST: usize = 512;

impl Name {
    pub(super) fn new(raw: &[u8], folder: bool) -> Result<Self, BundleError> {
        let bad = |rule| BundleError::Name { name: quote(raw), rule };
        let text = std::str::from_utf8(raw).map_err(|_| bad("names are UTF-8"))?;
        if text.len() > LONGEST {
            return Err(bad("names have at most 512 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(bad("names have no control characters and no backslashes"));
        }
        if text.starts_with('/') {
            return Err(bad("names are relative"));
        }
        let text = if folder { text.strip_suffix('/').unwrap_or(text) } else { text };
        let parts: Vec<&str> = text.split('/').filter(|part| *part != ".").collect();
        if parts.contains(&"..") {
            return Err(bad("names do not climb"));
        }
        if parts.contains(&"") || (parts.is_empty() && !folder) || (!folder && text.ends_with("/.")) {
            return Err(bad("each part of a name has at least one character"));
        }
        let kind = parts.last().map_or(MemberKind::Other, |last| MemberKind::of(last));
        Ok(Self { path: parts.join("/"), kind })
    }

    /// The name without folders.
    pub(super) fn last(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_relative() {
        let path = |raw: &[u8]| Name::new(raw, false).map(|name| name.path).ok();
        assert_eq!(path(b"jq_6.snap").as_deref(), Some("jq_6.snap"));
        assert_eq!(path(b"./a/./jq_6.snap").as_deref(), Some("a/jq_6.snap"));
        assert_eq!(path("ä b".as_bytes()).as_deref(), Some("ä b"));
        assert!(path(&[b'a'; 512]).is_some());
        for bad in [
            &b""[..],
            b".",
            b"/",
            b"/etc/passwd",
            b"..",
            b"../a",
            b"a/../b",
            b"a/..",
            b"a//b",
            b"a/",
            b"a/.",
            b"a\nb",
            b"a\0b",
            b"a\x7f",
            b"a\\..\\b",
            b"\xff\xfe",
            "a\u{85}b".as_bytes(),
            &[b'a'; 513],
        ] {
            assert!(Name::new(bad, false).is_err(), "{}", quote(bad));
        }
        for folder in ["./", ".", "a/", "a"] {
            assert!(Name::new(folder.as_bytes(), true).is_ok(), "{folder}");
        }
        assert!(Name::new(b"a//", true).is_err());
    }

    #[test]
    fn only_expected_names_mean_something() {
        for (name, kind) in [
            ("manifest.json", MemberKind::Manifest),
            ("metadata.json", MemberKind::Metadata),
            ("store.json", MemberKind::Stores),
            ("jq_6.snap", MemberKind::Snap),
            ("jq_6.assert", MemberKind::Assertions),
            ("jq+extra_1.comp", MemberKind::Component),
            ("jq.icon.png", MemberKind::Icon),
            ("jq_7.snap.difference", MemberKind::Difference),
            ("jq+extra_7.comp.difference", MemberKind::Difference),
            ("jq_7.difference", MemberKind::Other),
            ("jq.png", MemberKind::Other),
            ("../jq.icon.png", MemberKind::Other),
            (".snap", MemberKind::Other),
            (".comp", MemberKind::Other),
            (".assert", MemberKind::Other),
            ("Manifest.json", MemberKind::Other),
            ("jq 6.snap", MemberKind::Other),
            ("jq 6.comp", MemberKind::Other),
            ("jq 6.assert", MemberKind::Other),
            ("jq_6.SNAP", MemberKind::Other),
            ("jq_6.snap.asc", MemberKind::Other),
            ("._jq_6.snap", MemberKind::Other),
            ("._jq_6.assert", MemberKind::Other),
        ] {
            assert_eq!(MemberKind::of(name), kind, "{name}");
        }
    }
}
