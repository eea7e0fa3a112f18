//! `metadata.json`: the store's answer for a snap, in the format of the device API's `info`.
//!
//! ```json
//! {"name": "jq", "snap-id": "…", "default-track": null,
//!  "snap": {"title": "jq", "publisher": {"id": "…", "username": "…"}, "license": "MIT", …},
//!  "channel-map": [{"channel": {"architecture": "amd64", "name": "stable", "track": "latest",
//!    "risk": "stable", "released-at": "2026-08-29T09:00:00+00:00"}, "revision": 6, …}]}
//! ```
//!
//! Only what the revision's own files do not say is used. It ends up in answers to devices, which reject a whole
//! answer over one wrong type, so types are checked here and unknown fields are dropped.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BundleError, json};
use crate::store::{Architecture, Channel, ChannelRequest, Risk, SnapId, SnapName, Track};

/// A store's metadata of one snap.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metadata {
    /// Its name.
    pub name: SnapName,
    /// Its permanent id.
    pub snap_id: SnapId,
    /// The track to use if a channel names none.
    #[serde(default)]
    pub default_track: Option<Track>,
    /// Texts for people.
    #[serde(default)]
    pub snap: SnapText,
    /// The revision of each channel.
    #[serde(default)]
    pub channel_map: Vec<ChannelMapEntry>,
}

/// Texts about a snap for people, spelled as in the answer; every field is optional. The publisher comes from the
/// signed account instead, and media links are dropped because devices on site cannot reach them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[expect(missing_docs, reason = "the names of the answer say it all")]
pub struct SnapText {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_ids: Option<Vec<String>>,
    /// Repeated inside; must not differ.
    #[serde(skip_serializing)]
    name: Option<SnapName>,
    #[serde(skip_serializing)]
    snap_id: Option<SnapId>,
}

/// A category of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    pub name: String,
    #[serde(default)]
    pub featured: bool,
}

/// The revision that one channel has for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMapEntry {
    /// The channel.
    pub channel: Channel,
    /// The architecture.
    pub architecture: Architecture,
    /// When it was released, if known.
    pub released_at: Option<OffsetDateTime>,
    /// The revision.
    pub revision: u32,
}

impl Metadata {
    /// Reads `metadata.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let metadata: Self = json::parse("metadata.json", bytes)?;
        let inner = &metadata.snap;
        if inner.name.as_ref().is_some_and(|name| *name != metadata.name)
            || inner.snap_id.as_ref().is_some_and(|id| *id != metadata.snap_id)
        {
            return Err(BundleError::Form("metadata.json names two different snaps"));
        }
        let mut channels: Vec<_> =
            metadata.channel_map.iter().map(|entry| (&entry.channel, &entry.architecture)).collect();
        channels.sort();
        if channels.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(BundleError::Form("metadata.json releases two revisions to one channel"));
        }
        Ok(metadata)
    }
}

impl<'de> Deserialize<'de> for ChannelMapEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Entry {
            channel: Where,
            #[serde(deserialize_with = "json::revision")]
            revision: u32,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Where {
            architecture: Architecture,
            name: Option<String>,
            track: Option<Track>,
            risk: Risk,
            #[serde(default, deserialize_with = "moment")]
            released_at: Option<OffsetDateTime>,
        }
        let Entry { channel: place, revision } = Entry::deserialize(deserializer)?;
        let mut channel =
            Channel { track: place.track.unwrap_or_else(Track::latest), risk: place.risk, branch: None };
        // `name` repeats track and risk, and is the only place for a branch.
        if let Some(name) = place.name {
            let named = name.parse::<ChannelRequest>().map_err(D::Error::custom)?.on(&Track::latest());
            if (&named.track, named.risk) != (&channel.track, channel.risk) {
                return Err(D::Error::custom(format_args!("channel {channel} has the name of {named}")));
            }
            channel = named;
        }
        Ok(Self { channel, architecture: place.architecture, released_at: place.released_at, revision })
    }
}

/// A time with its zone, or none.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    text.map(|text| OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "fLowMeTer1234567890abcdefGHIJKLM";

    fn parse(snap: &str, entries: &str) -> Result<Metadata, BundleError> {
        Metadata::parse(
            format!(
                r#"{{"name":"flowmeter","snap-id":"{ID}","default-track":"3","snap":{{{snap}}},
                    "channel-map":[{entries}]}}"#
            )
            .as_bytes(),
        )
    }

    fn entry(channel: &str, rest: &str) -> String {
        format!(r#"{{"channel":{{"architecture":"arm64",{channel}}},{rest}}}"#)
    }

    #[test]
    fn reads_the_store_s_answer() {
        let metadata = parse(
            r#""title":"Flowmeter","website":null,"prices":{},"private":false,"categories":[{"name":"tools"}],
               "publisher":{"id":"p","username":"acme","display-name":"A","validation":"verified","email":"x@y"}"#,
            &[
                entry(
                    r#""name":"3/stable","track":"3","risk":"stable","released-at":"2026-08-29T09:00:00+00:00""#,
                    r#""revision":58,"version":"3.2","download":{"size":1},"created-at":"2026-08-29T09:00:00.5+02:00""#,
                ),
                entry(r#""name":"edge/fix","track":"latest","risk":"edge","released-at":null"#, r#""revision":61"#),
            ]
            .join(","),
        )
        .expect("metadata");
        assert_eq!(metadata.channel_map[0].channel.to_string(), "3/stable");
        assert_eq!(metadata.channel_map[1].channel.to_string(), "latest/edge/fix");
        assert_eq!(metadata.channel_map[1].revision, 61);
        let text = serde_json::to_string(&metadata.snap).expect("json");
        assert!(!text.contains("x@y") && !text.contains("prices") && !text.contains("website"), "{text}");
    }

    #[test]
    fn refuses_wrong_types_and_contradictions() {
        let good = entry(r#""track":"3","risk":"edge""#, r#""revision":1"#);
        assert!(parse("", &good).is_ok());
        assert!(parse(&format!(r#""name":"flowmeter","snap-id":"{ID}""#), &good).is_ok());
        for (snap, entries) in [
            (r#""title":5"#, good.clone()),
            (r#""common-ids":{}"#, good.clone()),
            (r#""links":{"contact":"x"}"#, good.clone()),
            (r#""name":"other""#, good.clone()),
            (r#""snap-id":"OtherSnap1234567890abcdefGHIJKLM""#, good.clone()),
            ("", format!("{good},{good}")),
            ("", entry(r#""track":"3","risk":"wild""#, r#""revision":1"#)),
            ("", entry(r#""track":"../3","risk":"edge""#, r#""revision":1"#)),
            ("", entry(r#""track":"3","risk":"edge","name":"2/edge""#, r#""revision":1"#)),
            ("", entry(r#""track":"3","risk":"edge","name":"3/beta""#, r#""revision":1"#)),
            (
                "",
                entry(r#""track":"3","risk":"edge","released-at":"2026-08-29T09:00:00""#, r#""revision":1"#),
            ),
            ("", entry(r#""track":"3","risk":"edge","released-at":"""#, r#""revision":1"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":0"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":-1"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":1.0"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":2147483648"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":18446744073709551616"#)),
            ("", entry(r#""track":"3","risk":"edge""#, r#""revision":"1""#)),
        ] {
            assert!(parse(snap, &entries).is_err(), "{snap} {entries}");
        }
    }
}
