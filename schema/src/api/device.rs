//! What devices send: the bodies of the snapd store API.
//!
//! Reading is liberal where snapd grows (unknown fields and actions are passed over) and strict where a
//! type decides (numbers are whole, names are text). Source: store API §5, §7 and §14.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::object;
use crate::store::Epoch;

/// `POST /v2/snaps/refresh`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefreshRequest {
    /// Installed snaps.
    #[serde(default, deserialize_with = "object::list")]
    pub context: Vec<Installed>,
    /// What the device wants.
    #[serde(default, deserialize_with = "object::list")]
    pub actions: Vec<Action>,
    /// Attributes wanted of each snap; advice only.
    #[serde(default)]
    pub fields: Fields,
    /// Highest assertion format that the device reads, by type; 0 where absent.
    #[serde(default, deserialize_with = "null_is_default")]
    pub assertion_max_formats: HashMap<String, u32>,
}

/// The attributes that a device names. Only the long one is left out where nobody asked; the names themselves,
/// some thirty in every request, are not kept.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fields {
    named: bool,
    snap_yaml: bool,
}

impl Fields {
    /// Does the device want each snap's snap.yaml? A device that names nothing gets everything.
    #[must_use]
    pub fn want_snap_yaml(self) -> bool {
        self.snap_yaml || !self.named
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> serde::de::Visitor<'de> for Names {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of attribute names")
            }

            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut names: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = names.next_element::<Name>()? {
                    fields.named = true;
                    fields.snap_yaml |= name.0;
                }
                Ok(fields)
            }
        }

        /// Is this one snap.yaml?
        struct Name(bool);

        impl<'de> Deserialize<'de> for Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = Name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an attribute name")
                    }

                    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                        Ok(Name(text == "snap-yaml"))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// An installed snap.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// Which snap.
    pub snap_id: String,
    /// Names this instance; opaque.
    #[serde(default)]
    pub instance_key: String,
    /// What is installed.
    #[serde(default)]
    pub revision: i64,
    /// What it follows.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tracking_channel: String,
    /// The epoch of its data.
    #[serde(default)]
    pub epoch: Option<Epoch>,
}

/// One wish. All kinds share a shape, so that a kind of tomorrow is read and answered, not refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Action {
    /// `install`, `refresh`, `download` or `fetch-assertions`.
    pub action: String,
    /// Names the answer.
    #[serde(default, deserialize_with = "null_is_default")]
    pub instance_key: String,
    /// Which snap, by id.
    #[serde(default)]
    pub snap_id: Option<String>,
    /// Which snap, by name.
    #[serde(default)]
    pub name: Option<String>,
    /// From which channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// Exactly which revision.
    #[serde(default)]
    pub revision: Option<i64>,
    /// Epoch to stay compatible with.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// Offer it whatever gating snaps say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub ignore_validation: bool,
    /// Names the answer of `fetch-assertions`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub key: String,
    /// Wanted assertions of `fetch-assertions`.
    #[serde(default, deserialize_with = "object::list")]
    pub assertions: Vec<WantedAssertion>,
}

/// One entry of `fetch-assertions` (store API §7.4).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WantedAssertion {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The whole primary key, optional defaults left out.
    #[serde(default)]
    pub primary_key: Option<Vec<String>>,
    /// The primary key without its sequence number.
    #[serde(default)]
    pub sequence_key: Option<Vec<String>>,
    /// Exactly this point of the sequence.
    #[serde(default)]
    pub sequence: Option<i64>,
    /// The latest point from this one on.
    #[serde(default)]
    pub if_sequence_equal_or_newer_than: Option<i64>,
    /// The device has this revision.
    #[serde(default)]
    pub if_newer_than: Option<i64>,
}

/// `POST /api/v1/snaps/auth/sessions`: three assertions as text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionRequest {
    /// Signed by the device over our nonce.
    pub device_session_request: String,
    /// Who the device is.
    pub serial_assertion: String,
    /// What the device is.
    pub model_assertion: String,
}

/// `POST /v2/cohorts`.
#[derive(Debug, Deserialize)]
pub struct CohortsRequest {
    /// Names of snaps.
    pub snaps: Vec<String>,
}

/// The body of every error of the v2 family (store API §4.4).
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorList {
    /// At least one.
    pub error_list: Vec<ErrorEntry>,
}

/// One error.
#[derive(Debug, Serialize)]
pub struct ErrorEntry {
    /// A stable word.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_may_send() {
        let request: RefreshRequest = serde_json::from_str(
            r#"{"context":null,"actions":[{"action":"install","instance-key":"install-1","name":"x","epoch":null,
                "resources":[],"held":{"by":["system"]},"cohort-key":""}],"fields":["later"],"unknown":{"a":[1]}}"#,
        )
        .unwrap();
        assert_eq!(request.actions[0].name.as_deref(), Some("x"));
        assert!(!request.fields.want_snap_yaml());
        let asks = |fields: &str| {
            let text = format!("{{\"fields\":{fields}}}");
            serde_json::from_str::<RefreshRequest>(&text).map(|request| request.fields.want_snap_yaml())
        };
        assert!(asks("null").unwrap() && asks("[]").unwrap() && asks(r#"["a","snap-yaml"]"#).unwrap());
        assert!(asks("[1]").is_err() && asks("{}").is_err());
        for bad in [
            r#"{"actions":[{"action":"install","revision":"1"}]}"#,
            r#"{"actions":[{"action":"install","revision":8.0}]}"#,
            r#"{"actions":[{"instance-key":"a"}]}"#,
            r#"{"actions":{}}"#,
            "[]",
            "[[],[]]",
            r#"{"actions":[["install"]]}"#,
            r#"{"context":[["id"]]}"#,
            r#"{"actions":[{"action":"fetch-assertions","assertions":[["account"]]}]}"#,
        ] {
            assert!(object::read::<RefreshRequest>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_request_says_each_thing_once() {
        let read = |text: &str| object::read::<SessionRequest>(text.as_bytes()).is_ok();
        assert!(read(r#"{"device-session-request":"a","serial-assertion":"b","model-assertion":"c"}"#));
        let twice = r#"{"device-session-request":"a","serial-assertion":"b","model-assertion":"c","serial-assertion":"d"}"#;
        let nested = r#"{"device-session-request":["a"],"serial-assertion":"b","model-assertion":"c"}"#;
        for bad in [twice, nested, r#"["a","b","c"]"#] {
            assert!(!read(bad), "{bad}");
        }
    }
}

/// One entry of `POST /v2/metadata/overrides` (operator contract §7.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideWish {
    /// The snap's name.
    pub snap_name: String,
    /// The revision that devices get; `null` deletes the override, and leaving it out is a mistake.
    #[serde(deserialize_with = "Option::deserialize")]
    pub revision: Option<u32>,
    /// The channel, `[TRACK/]RISK[/BRANCH]`.
    pub channel: String,
    /// The series of the snap world, `16`.
    #[serde(default)]
    pub series: Option<String>,
}

/// Overrides, as the tools of the original product read them (operator contract §7.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OverrideList {
    /// One entry for each channel and architecture.
    pub overrides: Vec<OverrideEntry>,
}

/// A channel of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverrideEntry {
    /// The snap's id.
    pub snap_id: String,
    /// The snap's name.
    pub snap_name: String,
    /// What devices get; none where nothing is overridden any more.
    pub revision: Option<u32>,
    /// What the imported channel map says; none when it says nothing.
    pub upstream_revision: Option<u32>,
    /// The channel, as devices write it.
    pub channel: String,
    /// The architecture.
    pub architecture: String,
    /// The series of the snap world, `16`.
    pub series: &'static str,
}
