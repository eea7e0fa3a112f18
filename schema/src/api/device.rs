//! What devices send: the request bodies of the snapd store API.
//!
//! The reader is lenient where snapd grows (it ignores unknown fields and actions) and strict about types (numbers
//! are integers, names are strings). See `schema/docs/store-api.md#device-requests`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::object;
use super::text::Text;
use crate::store::Epoch;

/// `POST /v2/snaps/refresh`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefreshRequest<'a> {
    /// Installed snaps.
    #[serde(borrow, default, deserialize_with = "object::list")]
    pub context: Vec<Installed<'a>>,
    /// The requested actions.
    #[serde(borrow, default, deserialize_with = "object::list")]
    pub actions: Vec<Action<'a>>,
    /// The snap attributes that the device wants; advice only.
    #[serde(default)]
    pub fields: Fields,
    /// Highest assertion format that the device reads, by type; 0 where absent.
    #[serde(default, deserialize_with = "null_is_default")]
    pub assertion_max_formats: HashMap<String, u32>,
}

/// The attributes that a device lists. A request lists some thirty, and only `snap-yaml` is large enough to omit, so
/// this keeps a single flag.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fields {
    named: bool,
    snap_yaml: bool,
}

impl Fields {
    /// Whether the device wants each snap's snap.yaml. A device that lists no attributes gets all of them.
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

        /// Whether a name is `snap-yaml`.
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
pub struct Installed<'a> {
    /// The snap id.
    #[serde(borrow)]
    pub snap_id: Text<'a>,
    /// An opaque key for this installed instance.
    #[serde(borrow, default)]
    pub instance_key: Text<'a>,
    /// The installed revision.
    #[serde(default)]
    pub revision: i64,
    /// The channel it tracks.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub tracking_channel: Text<'a>,
    /// The epoch of its data.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// The cohort it belongs to.
    #[serde(borrow, default)]
    pub cohort_key: Option<Text<'a>>,
    /// Whether it was installed or refreshed so that gating snaps do not hold it back.
    #[serde(default, deserialize_with = "null_is_default")]
    pub ignore_validation: bool,
    /// Who holds its updates.
    #[serde(default)]
    pub held: Option<Holders>,
    /// The sequence points of validation sets that it is under: series, account, name and number.
    #[serde(default, deserialize_with = "null_is_default")]
    pub validation_sets: Vec<Vec<String>>,
}

/// Who holds the updates of an installed snap: gating snaps, or `system` for a person.
#[derive(Debug, Default, Deserialize)]
pub struct Holders {
    /// Their names.
    #[serde(default, deserialize_with = "null_is_default")]
    pub by: Vec<String>,
}

/// A requested action. All kinds share one shape, so that a future kind gets an answer instead of an error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Action<'a> {
    /// `install`, `refresh`, `download` or `fetch-assertions`.
    #[serde(borrow)]
    pub action: Text<'a>,
    /// Identifies the result of this action.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub instance_key: Text<'a>,
    /// The snap's id.
    #[serde(borrow, default)]
    pub snap_id: Option<Text<'a>>,
    /// The snap's name.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    /// The channel to resolve.
    #[serde(borrow, default)]
    pub channel: Option<Text<'a>>,
    /// The exact revision to get.
    #[serde(default)]
    pub revision: Option<i64>,
    /// The cohort to get it for.
    #[serde(borrow, default)]
    pub cohort_key: Option<Text<'a>>,
    /// Epoch to stay compatible with.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// Offer the revision even if gating snaps hold it back; where it is absent, what the installed snap remembers counts.
    #[serde(default)]
    pub ignore_validation: Option<bool>,
    /// Sequence points of validation sets that the device enforces: series, account, name and number.
    #[serde(default, deserialize_with = "null_is_default")]
    pub validation_sets: Vec<Vec<String>>,
    /// Identifies the result of a `fetch-assertions` action.
    #[serde(default, deserialize_with = "null_is_default")]
    pub key: String,
    /// Wanted assertions of `fetch-assertions`.
    #[serde(default, deserialize_with = "object::list")]
    pub assertions: Vec<WantedAssertion>,
}

/// One entry of `fetch-assertions`, see `schema/docs/store-api.md#bulk-assertion-updates`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WantedAssertion {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The full primary key; trailing default values may be omitted.
    #[serde(default)]
    pub primary_key: Option<Vec<String>>,
    /// The primary key without its sequence number.
    #[serde(default)]
    pub sequence_key: Option<Vec<String>>,
    /// The exact sequence point.
    #[serde(default)]
    pub sequence: Option<i64>,
    /// The latest sequence point, starting at this one.
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
    /// Signed by the device over the store's nonce.
    pub device_session_request: String,
    /// The device's serial assertion.
    pub serial_assertion: String,
    /// The device's model assertion.
    pub model_assertion: String,
}

/// `POST /v2/cohorts`.
#[derive(Debug, Deserialize)]
pub struct CohortsRequest {
    /// Snap names.
    #[serde(deserialize_with = "object::texts")]
    pub snaps: Vec<String>,
}

/// The body of every v2 error, see `schema/docs/store-api.md#errors`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorList {
    /// At least one.
    pub error_list: Vec<ErrorEntry>,
}

/// One error.
#[derive(Debug, Serialize)]
pub struct ErrorEntry {
    /// A stable code.
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
    fn lists_are_bounded() {
        let wanted = r#"{"type":"account"}"#;
        let list = |entry: &str, count| format!("[{}]", vec![entry; count].join(","));
        let reads = |text: String| object::read::<RefreshRequest>(text.as_bytes()).is_ok();
        for (count, taken) in [(object::MOST_ENTRIES, true), (object::MOST_ENTRIES + 1, false)] {
            let context = list(r#"{"snap-id":"a"}"#, count);
            assert_eq!(reads(format!(r#"{{"context":{context}}}"#)), taken);
            assert_eq!(reads(format!(r#"{{"actions":{}}}"#, list(r#"{"action":"a"}"#, count))), taken);
            let assertions = list(wanted, count);
            assert_eq!(
                reads(format!(r#"{{"actions":[{{"action":"a","assertions":{assertions}}}]}}"#)),
                taken
            );
            let names = format!(r#"{{"snaps":{}}}"#, list(r#""a""#, count));
            assert_eq!(object::read::<CohortsRequest>(names.as_bytes()).is_ok(), taken);
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

/// One entry of `POST /v2/metadata/overrides`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideWish {
    /// The snap's name.
    pub snap_name: String,
    /// The revision that devices get. `null` deletes the override; omitting it is an error.
    #[serde(deserialize_with = "Option::deserialize")]
    pub revision: Option<u32>,
    /// The channel, `[TRACK/]RISK[/BRANCH]`.
    pub channel: String,
    /// The series, `16`.
    #[serde(default)]
    pub series: Option<String>,
}

/// Overrides in the format of the original product's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OverrideList {
    /// One entry per channel and architecture.
    pub overrides: Vec<OverrideEntry>,
}

/// A channel of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverrideEntry {
    /// The snap's id.
    pub snap_id: String,
    /// The snap's name.
    pub snap_name: String,
    /// The revision that devices get; `None` if the channel is no longer overridden.
    pub revision: Option<u32>,
    /// The revision in the imported channel map; `None` if the channel is not in it.
    pub upstream_revision: Option<u32>,
    /// The channel, as devices write it.
    pub channel: String,
    /// The architecture.
    pub architecture: String,
    /// The series, `16`.
    pub series: &'static str,
}
