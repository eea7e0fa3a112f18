//! `meta/snap.yaml` of a snap and `meta/component.yaml` of a component: how a revision describes itself.
//!
//! ```yaml
//! name: jq                       component: jq+extra
//! version: 1.10                  type: standard
//! base: core24                   version: 1.10
//! ```
//!
//! A number in place of a text keeps its spelling: `version: 1.10` is not 1.1. Like snapd, this takes the last of two
//! equal keys and ignores unknown fields.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::assertion::DEFAULT_PROVENANCE;
use crate::store::{Architecture, Confinement, Epoch, SnapName, SnapType};

/// Longest file that is read, in bytes.
pub const MAX_YAML: u64 = 1 << 20;

/// The contents of a `snap.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapYaml {
    /// Its name.
    pub name: SnapName,
    /// The publisher's version text.
    pub version: String,
    /// Its type.
    pub kind: SnapType,
    /// Its base.
    pub base: Option<String>,
    /// The data formats it reads and writes.
    pub epoch: Epoch,
    /// Its confinement.
    pub confinement: Confinement,
    /// Its architectures; `all` if absent.
    pub architectures: Vec<Architecture>,
    /// Its provenance; the default if absent.
    pub provenance: String,
    /// A title for people.
    pub title: Option<String>,
    /// A one-line summary for people.
    pub summary: Option<String>,
    /// A description for people.
    pub description: Option<String>,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Names of its programs and services.
    pub apps: Vec<String>,
    /// Links for people, by kind: `website`, `contact` and others.
    pub links: BTreeMap<String, Vec<String>>,
    /// Ids by which desktop software knows its apps.
    pub common_ids: Vec<String>,
}

/// The contents of a `component.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentYaml {
    /// The snap that it belongs to.
    pub snap: SnapName,
    /// Its own name.
    pub name: SnapName,
    /// `standard`, `kernel-modules` or `test`.
    pub kind: String,
    /// The publisher's version text; may be empty.
    pub version: String,
    /// Its provenance; the default if absent.
    pub provenance: String,
}

/// Why such a file is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The text is not YAML, too large or has another structure.
    #[error("cannot read it as YAML")]
    Syntax(#[source] Box<serde_saphyr::Error>),
    /// A field has an invalid value.
    #[error("invalid {field}: {reason}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl SnapYaml {
    /// Reads a `snap.yaml`.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        #[derive(Deserialize)]
        struct Raw {
            name: String,
            version: Option<String>,
            #[serde(rename = "type")]
            kind: Option<String>,
            base: Option<String>,
            epoch: Option<Epoch>,
            confinement: Option<String>,
            architectures: Option<Vec<String>>,
            provenance: Option<String>,
            title: Option<String>,
            summary: Option<String>,
            description: Option<String>,
            license: Option<String>,
            apps: Option<BTreeMap<String, Lenient<App>>>,
            links: Option<Lenient<BTreeMap<String, Lenient<Texts>>>>,
        }
        #[derive(Deserialize)]
        struct App {
            #[serde(rename = "common-id")]
            common_id: Option<Lenient<String>>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Texts {
            One(String),
            Many(Vec<String>),
        }
        let raw: Raw = read(text)?;
        let architectures = match raw.architectures {
            Some(list) if !list.is_empty() => {
                list.iter().map(|one| field("architectures", one.parse())).collect::<Result<_, _>>()?
            }
            _ => vec![field("architectures", Architecture::ALL.parse())?],
        };
        let apps = raw.apps.unwrap_or_default();
        let links = raw.links.and_then(Lenient::into).unwrap_or_default().into_iter().map(|(kind, texts)| {
            (
                kind,
                texts.into().map(|texts| match texts {
                    Texts::One(one) => vec![one],
                    Texts::Many(many) => many,
                }),
            )
        });
        Ok(Self {
            name: field("name", raw.name.parse())?,
            version: raw.version.unwrap_or_default(),
            kind: field("type", raw.kind.as_deref().unwrap_or("app").parse())?,
            base: raw.base.filter(|base| base != "none"),
            epoch: raw.epoch.unwrap_or_default(),
            confinement: field("confinement", raw.confinement.as_deref().unwrap_or("strict").parse())?,
            architectures,
            provenance: raw.provenance.unwrap_or_else(|| DEFAULT_PROVENANCE.into()),
            title: raw.title,
            summary: raw.summary,
            description: raw.description,
            license: raw.license,
            common_ids: apps.values().filter_map(|app| app.of()?.common_id.as_ref()?.of().cloned()).collect(),
            apps: apps.into_keys().collect(),
            links: links.filter_map(|(kind, texts)| Some((kind, texts?))).collect(),
        })
    }
}

impl ComponentYaml {
    /// Reads a `component.yaml`.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        #[derive(Deserialize)]
        struct Raw {
            component: String,
            #[serde(rename = "type")]
            kind: String,
            version: Option<String>,
            provenance: Option<String>,
        }
        let raw: Raw = read(text)?;
        let Some((snap, name)) = raw.component.split_once('+') else {
            return Err(YamlError::Field { field: "component", reason: "write SNAP+COMPONENT".into() });
        };
        if !["standard", "kernel-modules", "test"].contains(&raw.kind.as_str()) {
            let reason = "standard, kernel-modules or test".into();
            return Err(YamlError::Field { field: "type", reason });
        }
        Ok(Self {
            snap: field("component", snap.parse())?,
            name: field("component", name.parse())?,
            kind: raw.kind,
            version: raw.version.unwrap_or_default(),
            provenance: raw.provenance.unwrap_or_else(|| DEFAULT_PROVENANCE.into()),
        })
    }
}

/// The snaps that a `snap.yaml` names as default content providers, in its order. Anything unreadable yields none:
/// this only feeds advice for people.
#[must_use]
pub fn default_providers(text: &str) -> Vec<SnapName> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        plugs: BTreeMap<String, Plug>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Plug {
        Content {
            #[serde(rename = "default-provider")]
            default_provider: String,
        },
        Other(IgnoredAny),
    }
    let Ok(raw) = read::<Raw>(text) else { return Vec::new() };
    let provider = |plug| match plug {
        // An old form includes the slot: `gtk-common-themes:gtk-3-themes`.
        Plug::Content { default_provider } => default_provider.split(':').next()?.parse().ok(),
        Plug::Other(_) => None,
    };
    raw.plugs.into_values().filter_map(provider).collect()
}

/// A field that may have an unexpected shape: advice for people must not reject a snap.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient<T> {
    Read(T),
    Other(IgnoredAny),
}

impl<T> Lenient<T> {
    fn of(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Other(_) => None,
        }
    }

    pub(super) fn into(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

fn field<T, E: std::fmt::Display>(field: &'static str, value: Result<T, E>) -> Result<T, YamlError> {
    value.map_err(|error| YamlError::Field { field, reason: error.to_string() })
}

pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_documents: 1,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| YamlError::Syntax(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snap(rest: &str) -> Result<SnapYaml, YamlError> {
        SnapYaml::parse(&format!("name: jq\n{rest}"))
    }

    #[test]
    fn texts_stay_as_written() {
        for version in ["1.10", "1.0", "010", "1e3", "0x10", "on", "2026-09-01", "1_000"] {
            let read = snap(&format!("version: {version}\n")).expect("a snap.yaml");
            assert_eq!(read.version, version);
        }
        assert_eq!(snap("version: null\n").expect("a snap.yaml").version, "");
        assert_eq!(
            snap("version: '1.10'\nbase: core24\n").expect("a snap.yaml").base.as_deref(),
            Some("core24")
        );
    }

    #[test]
    fn what_is_left_out_has_snapd_s_default() {
        let read = snap("apps: {jq: {command: bin/jq}}\n").expect("a snap.yaml");
        assert_eq!((read.kind, read.confinement), (SnapType::App, Confinement::Strict));
        assert_eq!(read.architectures[0].as_str(), "all");
        assert_eq!((read.epoch, read.provenance.as_str()), (Epoch::default(), "global-upload"));
        let read = snap("type: core\nepoch: 1*\nbase: none\narchitectures: [amd64, arm64]\nname: core\n");
        let read = read.expect("a snap.yaml");
        assert_eq!((read.kind, read.base, read.name.as_str()), (SnapType::Os, None, "core"));
        assert_eq!(read.epoch, Epoch::parse("1*").expect("an epoch"));
        let read = snap("architectures: []\n").expect("a snap.yaml");
        assert_eq!(read.architectures.iter().map(|one| one.as_str()).collect::<Vec<_>>(), ["all"]);
        assert!(snap("epoch: 0\n").is_ok() && snap("epoch: {read: [0, 1], write: [1]}\n").is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            "type: other\n",
            "epoch: -1\n",
            "architectures: amd64\n",
            "architectures: [../x]\n",
            "confinement: no\n",
        ] {
            assert!(snap(bad).is_err(), "{bad}");
        }
        assert!(SnapYaml::parse("name: ../jq\n").is_err());
        assert!(SnapYaml::parse("").is_err());
        assert!(SnapYaml::parse("- a\n").is_err());
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
        for level in 'b'..='k' {
            let before = char::from(level as u8 - 1);
            bomb.push_str(&format!("{level}: &{level} [{}*{before}]\n", format!("*{before}, ").repeat(8)));
        }
        assert!(snap(&bomb).is_err());
        assert!(snap(&format!("x: {}\n", "[".repeat(10_000))).is_err());
    }

    #[test]
    fn providers_of_content_are_named_by_plugs() {
        let yaml = "name: jq\nplugs:\n  network:\n  home: null\n  old: {interface: content, default-provider: 'themes:gtk'}\n  \
                    new:\n    interface: content\n    target: $SNAP/data\n    default-provider: gnome-46\n  odd: [1]\n  short: network\n";
        let names: Vec<_> = default_providers(yaml).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["gnome-46", "themes"]);
        for none in ["name: jq\n", "plugs: 5\n", "plugs: {a: {default-provider: ../x}}\n", "{", ""] {
            assert!(default_providers(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn components() {
        let read = ComponentYaml::parse("component: jq+extra\ntype: standard\nversion: 1.10\n")
            .expect("a component");
        assert_eq!((read.snap.as_str(), read.name.as_str(), read.version.as_str()), ("jq", "extra", "1.10"));
        for bad in [
            "component: jq\ntype: standard\n",
            "component: jq+extra\ntype: x\n",
            "component: jq+../e\ntype: test\n",
        ] {
            assert!(ComponentYaml::parse(bad).is_err(), "{bad}");
        }
    }
}
