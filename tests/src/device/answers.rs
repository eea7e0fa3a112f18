//! Reads `POST /v2/snaps/refresh` answers as strictly as snapd.
//!
//! Go's decoder takes null for every field and refuses every wrong type; one wrong type anywhere fails the whole
//! answer. Serde with `Option` fields does the same.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Trouble;

/// What came of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `install`, `refresh` or `download`.
    pub result: String,
    /// The key of the action it answers.
    pub instance_key: String,
    /// The snap to take.
    pub snap: StoreSnap,
    /// The channel the revision came from.
    pub effective_channel: String,
    /// The channel to follow instead of the one asked for.
    pub redirect_channel: Option<String>,
}

/// A snap as snapd understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSnap {
    /// Name.
    pub name: String,
    /// Permanent id.
    pub snap_id: String,
    /// Revision.
    pub revision: u32,
    /// `app`, `base`, `gadget`, `kernel`, `os`, `snapd`.
    pub kind: String,
    /// The publisher's version.
    pub version: String,
    /// The base it needs.
    pub base: String,
    /// How it is confined.
    pub confinement: String,
    /// Where it runs.
    pub architectures: Vec<String>,
    /// Its `meta/snap.yaml`.
    pub snap_yaml: String,
    /// Where its file is.
    pub download: Download,
    /// Its components.
    pub resources: Vec<Resource>,
}

/// Where a file is and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Download {
    /// Absolute URL.
    pub url: Option<String>,
    /// Bytes.
    pub size: Option<i64>,
    /// Digest in hexadecimal.
    #[serde(rename = "sha3-384")]
    pub sha3_384: Option<String>,
    /// Deltas.
    pub deltas: Option<Vec<Delta>>,
}

/// A way from one revision to another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Delta {
    /// Its format.
    pub format: Option<String>,
    /// From this revision.
    pub source: Option<u32>,
    /// To this one.
    pub target: Option<u32>,
    /// Where it is.
    pub url: Option<String>,
    /// Bytes.
    pub size: Option<i64>,
}

/// A component as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resource {
    /// Its name.
    pub name: Option<String>,
    /// `component/standard` and others.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its revision.
    pub revision: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// Its file.
    pub download: Option<Download>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawAnswer {
    results: Option<Vec<RawResult>>,
    error_list: Option<Vec<RawError>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawResult {
    result: Option<String>,
    instance_key: Option<String>,
    snap_id: Option<String>,
    name: Option<String>,
    snap: Option<RawSnap>,
    effective_channel: Option<String>,
    redirect_channel: Option<String>,
    error: Option<RawError>,
    key: Option<String>,
    assertion_stream_urls: Option<Vec<String>>,
    error_list: Option<Vec<RawError>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawError {
    code: Option<String>,
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    primary_key: Option<Vec<String>>,
    sequence_key: Option<Vec<String>>,
    extra: Option<RawExtra>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawExtra {
    releases: Option<Vec<RawRelease>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawRelease {
    architecture: Option<String>,
    channel: Option<String>,
}

/// A snap object of any endpoint, every field with the type that snapd wants.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct RawSnap {
    pub(super) name: Option<String>,
    pub(super) snap_id: Option<String>,
    pub(super) revision: Option<u32>,
    #[serde(rename = "type", deserialize_with = "present")]
    pub(super) kind: Option<Value>,
    pub(super) version: Option<String>,
    epoch: Option<Value>,
    pub(super) download: Option<Download>,
    pub(super) confinement: Option<String>,
    base: Option<String>,
    architectures: Option<Vec<String>>,
    snap_yaml: Option<String>,
    pub(super) publisher: Option<RawPublisher>,
    title: Option<String>,
    pub(super) summary: Option<String>,
    description: Option<String>,
    media: Option<Vec<RawMedia>>,
    links: Option<BTreeMap<String, Vec<String>>>,
    contact: Option<String>,
    website: Option<String>,
    license: Option<String>,
    store_url: Option<String>,
    common_ids: Option<Vec<String>>,
    categories: Option<Vec<RawCategory>>,
    private: Option<bool>,
    prices: Option<BTreeMap<String, String>>,
    created_at: Option<String>,
    resources: Option<Vec<Resource>>,
    integrity: Option<Vec<RawIntegrity>>,
}

/// Keeps an explicit null apart from an absent field.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct RawPublisher {
    id: Option<String>,
    pub(super) username: Option<String>,
    display_name: Option<String>,
    validation: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawMedia {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    width: Option<i64>,
    height: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawCategory {
    name: Option<String>,
    featured: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawIntegrity {
    version: Option<String>,
}

impl RawSnap {
    /// The checks that snapd makes on a snap of any endpoint.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(kind) = &self.kind {
            match kind.as_str() {
                Some("app" | "application" | "gadget" | "kernel" | "os" | "base" | "snapd") => {}
                _ => return Err(format!("invalid snap type {kind}")),
            }
        }
        if let Some(epoch) = &self.epoch {
            check_epoch(epoch)?;
        }
        if let Some(confinement) = self.confinement.as_deref()
            && !matches!(confinement, "strict" | "classic" | "devmode")
        {
            return Err(format!("invalid confinement {confinement:?}"));
        }
        for entry in self.integrity.iter().flatten() {
            entry
                .version
                .as_deref()
                .unwrap_or_default()
                .parse::<u32>()
                .map_err(|_| "invalid integrity version")?;
        }
        for (currency, amount) in self.prices.iter().flatten() {
            amount.parse::<f64>().map_err(|_| format!("invalid price {amount:?} {currency}"))?;
        }
        // Types of the rest were checked while reading; values are for display alone.
        let _ =
            (&self.title, &self.description, &self.contact, &self.website, &self.license, &self.store_url);
        let _ = (&self.common_ids, &self.private, &self.created_at, &self.links);
        for media in self.media.iter().flatten() {
            let _ = (&media.kind, &media.url, &media.width, &media.height);
        }
        for category in self.categories.iter().flatten() {
            let _ = (&category.name, &category.featured);
        }
        if let Some(publisher) = &self.publisher {
            let _ = (&publisher.id, &publisher.display_name, &publisher.validation);
        }
        Ok(())
    }

    fn whole(self) -> Result<StoreSnap, String> {
        self.check()?;
        let kind = self.kind.as_ref().and_then(Value::as_str).ok_or("a snap without a type")?.to_owned();
        let need = |text: Option<String>, what: &str| {
            text.filter(|text| !text.is_empty()).ok_or_else(|| format!("a snap without {what}"))
        };
        let download = self.download.ok_or("a snap without a download")?;
        Ok(StoreSnap {
            name: need(self.name, "a name")?,
            snap_id: need(self.snap_id, "an id")?,
            revision: self.revision.filter(|&number| number > 0).ok_or("a snap without a revision")?,
            kind,
            version: self.version.unwrap_or_default(),
            base: self.base.unwrap_or_default(),
            confinement: need(self.confinement, "a confinement")?,
            architectures: self.architectures.unwrap_or_default(),
            snap_yaml: self.snap_yaml.unwrap_or_default(),
            download,
            resources: self.resources.unwrap_or_default(),
        })
    }
}

/// `"0"`, `"2*"`, or two lists of rising numbers that meet.
fn check_epoch(epoch: &Value) -> Result<(), String> {
    let fault = || format!("invalid epoch {epoch}");
    if let Some(text) = epoch.as_str() {
        let digits = text.strip_suffix('*').unwrap_or(text);
        let number: u32 = digits.parse().map_err(|_| fault())?;
        let canonical = number.to_string() == digits && !(number == 0 && text.ends_with('*'));
        return if canonical { Ok(()) } else { Err(fault()) };
    }
    let list = |name: &str| -> Option<Vec<u64>> {
        let list: Option<Vec<u64>> = epoch.get(name)?.as_array()?.iter().map(Value::as_u64).collect();
        list.filter(|list| list.windows(2).all(|pair| pair[0] < pair[1]) && (1..=10).contains(&list.len()))
    };
    let (read, write) = (list("read").ok_or_else(fault)?, list("write").ok_or_else(fault)?);
    if read.iter().any(|number| write.contains(number)) { Ok(()) } else { Err(fault()) }
}

fn parse(body: &[u8]) -> Result<RawAnswer, Trouble> {
    serde_json::from_slice(body)
        .map_err(|error| Trouble::Rejected(format!("cannot decode the answer: {error}")))
}

/// Takes an answer to actions, given as kind, instance key and name, from a device with this context.
///
/// # Errors
/// snapd refuses the answer as a whole, or crashes.
pub fn take(
    body: &[u8],
    sent: &[(&str, &str, Option<&str>)],
    context: &[&str],
) -> Result<Vec<Result<Outcome, Trouble>>, Trouble> {
    let answer = parse(body)?;
    if let Some(error) = answer.error_list.iter().flatten().next() {
        return Err(Trouble::Snap {
            code: error.code.clone().unwrap_or_default(),
            name: error.message.clone().unwrap_or_default(),
            releases: Vec::new(),
        });
    }
    answer.results.into_iter().flatten().map(|result| take_one(result, sent, context)).collect()
}

fn take_one(
    result: RawResult,
    sent: &[(&str, &str, Option<&str>)],
    context: &[&str],
) -> Result<Result<Outcome, Trouble>, Trouble> {
    // Its type was checked while reading; snapd does not use its value.
    let _ = result.snap_id;
    let kind = result.result.unwrap_or_default();
    let key = result.instance_key.unwrap_or_default();
    let asked = |kind: &str| sent.iter().any(|(action, held, _)| *action == kind && *held == key);
    match kind.as_str() {
        "error" => {
            let error = result.error.unwrap_or_default();
            let named = result.name.unwrap_or_default();
            let releases = error.extra.and_then(|extra| extra.releases).unwrap_or_default();
            // An error is tied to its snap by the key alone for a refresh, by key and name otherwise.
            let tied =
                asked("refresh") || (!named.is_empty() && sent.iter().any(|(_, held, _)| *held == key));
            return Ok(Err(Trouble::Snap {
                code: error.code.unwrap_or_default(),
                name: if tied && named.is_empty() {
                    key
                } else if tied {
                    named
                } else {
                    String::new()
                },
                releases: releases
                    .into_iter()
                    .map(|release| {
                        let [arch, channel] =
                            [release.architecture, release.channel].map(Option::unwrap_or_default);
                        format!("{arch} {channel}")
                    })
                    .collect(),
            }));
        }
        "refresh" if !asked("refresh") && context.contains(&key.as_str()) => {
            return Err(Trouble::Crash(format!(
                "a refresh result for {key}, for which no refresh was asked"
            )));
        }
        "install" | "refresh" if !asked(&kind) => {
            return Err(Trouble::Rejected(format!("unexpected {kind} result with the key {key:?}")));
        }
        "install" | "refresh" | "download" => {}
        other => return Err(Trouble::Rejected(format!("unexpected result {other:?}"))),
    }
    let snap = result.snap.unwrap_or_default().whole().map_err(Trouble::Rejected)?;
    Ok(Ok(Outcome {
        result: kind,
        instance_key: key,
        snap,
        effective_channel: result.effective_channel.unwrap_or_default(),
        redirect_channel: result.redirect_channel.filter(|channel| !channel.is_empty()),
    }))
}

/// What came of one group of assertions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The key of the action.
    pub key: String,
    /// Where newer ones are.
    pub urls: Vec<String>,
    /// `CODE TYPE KEY` of each error.
    pub errors: Vec<String>,
}

/// Takes an answer to `fetch-assertions` actions with these keys.
///
/// # Errors
/// snapd gives the whole update up.
pub fn take_groups(body: &[u8], keys: &[&str]) -> Result<Vec<Group>, Trouble> {
    let answer = parse(body)?;
    let mut groups = Vec::new();
    for result in answer.results.into_iter().flatten() {
        let key = result.key.unwrap_or_default();
        if result.result.as_deref() != Some("fetch-assertions") || !keys.contains(&key.as_str()) {
            return Err(Trouble::Rejected(format!(
                "unexpected {:?} result with the key {key:?}",
                result.result
            )));
        }
        let urls = result.assertion_stream_urls.unwrap_or_default();
        if let Some(relative) = urls.iter().find(|url| !url.starts_with("http")) {
            return Err(Trouble::Rejected(format!("a stream at {relative:?}, which is not absolute")));
        }
        let mut errors = Vec::new();
        for error in result.error_list.into_iter().flatten() {
            let keyed = error.primary_key.or(error.sequence_key).filter(|key| !key.is_empty());
            let (Some(kind), Some(keyed)) = (error.kind, keyed) else {
                return Err(Trouble::Rejected("an error without type and key".to_owned()));
            };
            errors.push(format!("{} {kind} {}", error.code.unwrap_or_default(), keyed.join("/")));
        }
        groups.push(Group { key, urls, errors });
    }
    Ok(groups)
}
