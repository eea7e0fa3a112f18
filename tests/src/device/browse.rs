//! Info, find, catalogue, cohorts and the connectivity check.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answers::RawSnap;
use super::{Device, Dialect, Trouble, query_escape};
use crate::http::{Request, Response};

/// What `snap info` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Name.
    pub name: String,
    /// Permanent id.
    pub snap_id: String,
    /// `TRACK/RISK` and the revision there, in the order listed.
    pub channels: Vec<(String, u32)>,
}

/// One line of `snap find`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name.
    pub name: String,
    /// Permanent id.
    pub snap_id: String,
    /// Revision.
    pub revision: u32,
    /// The publisher's user name.
    pub publisher: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawInfo {
    channel_map: Option<Vec<RawEntry>>,
    snap: Option<RawSnap>,
    name: Option<String>,
    snap_id: Option<String>,
}

#[derive(Deserialize)]
struct RawEntry {
    channel: Option<RawChannel>,
    #[serde(flatten)]
    snap: RawSnap,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawChannel {
    architecture: Option<String>,
    name: Option<String>,
    risk: Option<String>,
    track: Option<String>,
    released_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawFind {
    results: Option<Vec<RawFound>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct RawFound {
    name: Option<String>,
    snap_id: Option<String>,
    snap: Option<RawSnap>,
    revision: Option<RawSnap>,
}

impl Device {
    /// The request of an info.
    #[must_use]
    pub fn info_get(&self, name: &str, fields: &str) -> Request {
        let target = format!(
            "/v2/snaps/info/{name}?architecture={}&fields={}",
            query_escape(&self.architecture),
            query_escape(fields)
        );
        self.request("GET", &target, &self.headers(Dialect::V2, ""), None)
    }

    /// `snap info NAME`.
    ///
    /// # Errors
    /// [`Trouble::NotFound`] when there is no such snap; otherwise as snapd tells it.
    pub fn info(&mut self, name: &str) -> Result<Info, Trouble> {
        let fields = self.snapd.info_fields().join(",");
        let response = self.call(|device| device.info_get(name, &fields))?;
        read_info(&response)
    }

    /// The request of a find; the query comes as names and values, sorted by name.
    #[must_use]
    pub fn find_get(&self, query: &[(&str, &str)]) -> Request {
        let fields = self.snapd.find_fields().join(",");
        let mut all: Vec<(&str, &str)> = vec![
            ("architecture", &self.architecture),
            ("confinement", "strict,classic"),
            ("fields", &fields),
        ];
        all.extend(query);
        all.sort_unstable();
        let pairs: Vec<String> =
            all.iter().map(|(name, value)| format!("{name}={}", query_escape(value))).collect();
        let target = format!("/v2/snaps/find?{}", pairs.join("&"));
        self.request("GET", &target, &self.headers(Dialect::V2, "application/json"), None)
    }

    /// `snap find TEXT`.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn find(&mut self, text: &str) -> Result<Vec<Found>, Trouble> {
        let response = self.call(|device| device.find_get(&[("q", text)]))?;
        read_found(&response)
    }

    /// `GET /v2/snaps/categories`.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn categories(&mut self) -> Result<Vec<String>, Trouble> {
        let response = self.call(|device| {
            device.request(
                "GET",
                "/v2/snaps/categories",
                &device.headers(Dialect::V2, "application/json"),
                None,
            )
        })?;
        let body = typed(&response, "application/json")?;
        Ok(names(&body["categories"], "name"))
    }

    /// A request of the daily catalogue.
    #[must_use]
    pub fn catalogue_get(&self, target: &str) -> Request {
        let mut headers = self.headers(Dialect::V1, "application/hal+json");
        if self.store.is_none() {
            headers.remove(Dialect::V1.authorization());
        }
        self.request("GET", target, &headers, None)
    }

    /// The daily catalogue: sections, then names.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn catalogue(&mut self) -> Result<(Vec<String>, Vec<String>), Trouble> {
        let response = self.call(|device| device.catalogue_get("/api/v1/snaps/sections"))?;
        let sections =
            names(&typed(&response, "application/hal+json")?["_embedded"]["clickindex:sections"], "name");
        let response =
            self.call(|device| device.catalogue_get("/api/v1/snaps/names?confinement=strict%2Cclassic"))?;
        Ok((sections, read_names(&response)?))
    }

    /// The request of `snap create-cohort`: JSON without a content type, and an empty `Accept`.
    #[must_use]
    pub fn cohorts_post(&self, names: &[&str]) -> Request {
        let body = serde_json::to_vec(&json!({"snaps": names})).expect("JSON of names");
        self.request("POST", "/v2/cohorts", &self.headers(Dialect::V2, ""), Some(&body))
    }

    /// `snap create-cohort NAME`.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn cohort(&mut self, name: &str) -> Result<String, Trouble> {
        let response = self.call(|device| device.cohorts_post(&[name]))?;
        match response.status {
            200 => {}
            404 => return Err(Trouble::NotFound),
            _ => return Err(Trouble::Status(response)),
        }
        let key = response.json()["cohort-keys"][name].as_str().map(str::to_owned);
        key.ok_or_else(|| Trouble::Rejected("no key for the cohort".to_owned()))
    }

    /// `snap debug connectivity`: info of a well known snap, then `HEAD` on its download.
    ///
    /// # Errors
    /// The store counts as unreachable.
    pub fn connectivity(&mut self) -> Result<(), Trouble> {
        let name = self.snapd.connectivity_snap();
        let response = self.call(|device| device.info_get(name, "download"))?;
        let link = read_info_links(&response)?;
        let target = self.target_of(&link)?.to_owned();
        let response = self.call(|device| device.download_request("HEAD", &target, None))?;
        if response.status == 200 { Ok(()) } else { Err(Trouble::Status(response)) }
    }
}

/// Takes the answer to an info.
///
/// # Errors
/// As snapd tells it.
pub fn read_info(response: &Response) -> Result<Info, Trouble> {
    match response.status {
        200 => {}
        404 => return Err(Trouble::NotFound),
        _ => return Err(Trouble::Status(response.clone())),
    }
    let reject = |why: String| Trouble::Rejected(why);
    let raw: RawInfo = serde_json::from_slice(&response.body).map_err(|error| reject(error.to_string()))?;
    let entries = raw.channel_map.unwrap_or_default();
    if entries.is_empty() {
        return Err(Trouble::NotFound);
    }
    let mut channels: Vec<(String, u32)> = Vec::new();
    for entry in &entries {
        entry.snap.check().map_err(reject)?;
        let channel =
            entry.channel.as_ref().ok_or_else(|| reject("an entry without a channel".to_owned()))?;
        if let Some(time) = &channel.released_at {
            OffsetDateTime::parse(time, &Rfc3339)
                .map_err(|error| reject(format!("released-at {time:?}: {error}")))?;
        }
        let [track, risk, name] =
            [&channel.track, &channel.risk, &channel.name].map(|text| text.clone().unwrap_or_default());
        if track.is_empty() || risk.is_empty() || name.is_empty() || channel.architecture.is_none() {
            return Err(reject("a channel without track, risk, name or architecture".to_owned()));
        }
        let short = if track == "latest" { risk.clone() } else { format!("{track}/{risk}") };
        if name != short {
            return Err(reject(format!("the channel {track}/{risk} is called {name}")));
        }
        let channel = format!("{track}/{risk}");
        if channels.iter().any(|(held, _)| *held == channel) {
            return Err(reject(format!("{channel} is listed twice, and snapd shows the last")));
        }
        let revision = entry.snap.revision.ok_or_else(|| reject("an entry without a revision".to_owned()))?;
        channels.push((channel, revision));
    }
    let snap = raw.snap.ok_or_else(|| reject("no snap object".to_owned()))?;
    snap.check().map_err(reject)?;
    if raw.name.is_none() || raw.snap_id.is_none() {
        return Err(reject("no name and id at the top level".to_owned()));
    }
    let need = |text: Option<String>| text.ok_or_else(|| reject("no name or id inside snap".to_owned()));
    Ok(Info { name: need(snap.name)?, snap_id: need(snap.snap_id)?, channels })
}

fn read_info_links(response: &Response) -> Result<String, Trouble> {
    match response.status {
        200 => {}
        404 => return Err(Trouble::NotFound),
        _ => return Err(Trouble::Status(response.clone())),
    }
    let url = response.json()["channel-map"][0]["download"]["url"].as_str().map(str::to_owned);
    url.ok_or_else(|| Trouble::Rejected("no download link in the first entry".to_owned()))
}

/// Takes the answer to a find.
///
/// # Errors
/// As snapd tells it.
pub fn read_found(response: &Response) -> Result<Vec<Found>, Trouble> {
    let body = typed(response, "application/json")?;
    let raw: RawFind = serde_json::from_value(body).map_err(|error| Trouble::Rejected(error.to_string()))?;
    let mut found = Vec::new();
    for result in raw.results.unwrap_or_default() {
        let snap = result.snap.unwrap_or_default();
        let revision = result.revision.unwrap_or_default();
        snap.check().and_then(|()| revision.check()).map_err(Trouble::Rejected)?;
        let publisher = revision.publisher.or(snap.publisher).and_then(|publisher| publisher.username);
        let [name, snap_id] = [result.name, result.snap_id].map(Option::unwrap_or_default);
        if name.is_empty() || snap_id.is_empty() {
            return Err(Trouble::Rejected("a result without name or id at its top level".to_owned()));
        }
        found.push(Found {
            name,
            snap_id,
            revision: revision.revision.unwrap_or_default(),
            publisher: publisher.unwrap_or_default(),
        });
    }
    Ok(found)
}

/// Takes the list of names: snapd reads it as a stream of tokens that must begin in one certain way.
///
/// # Errors
/// As snapd tells it.
pub fn read_names(response: &Response) -> Result<Vec<String>, Trouble> {
    if response.status != 200 {
        return Err(Trouble::Status(response.clone()));
    }
    let tokens: String = response.text().chars().filter(|letter| !letter.is_whitespace()).take(64).collect();
    if !tokens.starts_with("{\"_embedded\":{\"clickindex:package\":[") {
        return Err(Trouble::Rejected(format!("a bad catalogue preamble: {tokens}")));
    }
    Ok(names(&response.json()["_embedded"]["clickindex:package"], "package_name"))
}

/// The body of a 200 with exactly this content type.
fn typed(response: &Response, content_type: &str) -> Result<Value, Trouble> {
    if response.status != 200 {
        return Err(Trouble::Status(response.clone()));
    }
    if response.header("Content-Type") != Some(content_type) {
        let got = response.header("Content-Type");
        return Err(Trouble::Rejected(format!("content type {got:?} instead of {content_type}")));
    }
    serde_json::from_slice(&response.body).map_err(|error| Trouble::Rejected(error.to_string()))
}

fn names(list: &Value, member: &str) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(|entry| entry[member].as_str().map(str::to_owned)).collect()
}
