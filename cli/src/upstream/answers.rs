//! The store's answers about snaps: `info` and the `download` action of `refresh`.

use hyper::http::StatusCode;
use schema::bundle::SnapYaml;
use schema::store::{Architecture, Channel, ChannelRequest, SnapId, SnapName, Track};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{self, AnswerError, UpstreamError};
use super::{Upstream, below};

/// Largest answer about snaps in bytes: a channel map with the `snap.yaml` of many revisions.
const LARGEST: usize = 32 << 20;

const FIELDS: [&str; 26] = [
    "architectures",
    "base",
    "categories",
    "channel-map",
    "common-ids",
    "confinement",
    "contact",
    "created-at",
    "description",
    "download",
    "epoch",
    "license",
    "links",
    "media",
    "name",
    "prices",
    "private",
    "publisher",
    "revision",
    "snap-id",
    "store-url",
    "summary",
    "title",
    "type",
    "version",
    "website",
];

/// A file's URL, size and digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Link {
    pub(crate) url: String,
    pub(crate) size: u64,
    #[serde(rename = "sha3-384")]
    pub(crate) sha3_384: String,
}

/// A component that belongs to a revision.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Resource {
    pub(crate) name: SnapName,
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    pub(crate) revision: u32,
    pub(crate) download: Link,
}

/// A revision offered by the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Offer {
    pub(crate) name: SnapName,
    pub(crate) snap_id: SnapId,
    pub(crate) revision: u32,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) base: Option<String>,
    pub(crate) download: Link,
    #[serde(default)]
    pub(crate) resources: Option<Vec<Resource>>,
    #[serde(default)]
    pub(crate) snap_yaml: Option<String>,
    /// The channel it is released to; `None` if it was requested by number.
    #[serde(skip)]
    pub(crate) channel: Option<Channel>,
    /// The raw answer.
    #[serde(skip)]
    pub(crate) raw: Map<String, Value>,
}

impl Offer {
    /// Its provenance; the default if absent.
    pub(crate) fn provenance(&self) -> String {
        let yaml = self.snap_yaml.as_deref().and_then(|text| SnapYaml::parse(text).ok());
        yaml.map_or_else(|| schema::assertion::DEFAULT_PROVENANCE.to_owned(), |yaml| yaml.provenance)
    }

    /// Its architectures; `all` if it names none.
    pub(crate) fn architectures(&self) -> Vec<Architecture> {
        let yaml = self.snap_yaml.as_deref().and_then(|text| SnapYaml::parse(text).ok());
        yaml.map_or_else(|| vec![Architecture::all()], |yaml| yaml.architectures)
    }

    /// Its components.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Resource> {
        let all = self.resources.as_deref().unwrap_or_default();
        all.iter().filter(|resource| resource.kind.starts_with("component/"))
    }
}

/// A snap to ask for, for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelOrRevision {
    /// The revision of a channel.
    Channel(ChannelRequest),
    /// Exactly this revision.
    Revision(u32),
}

/// Why the store offers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoOffer {
    /// The store's error code.
    pub(crate) code: String,
    /// The store's message.
    pub(crate) message: String,
    /// Where there is a release, as `latest/stable for arm64`.
    pub(crate) elsewhere: Vec<String>,
}

impl Upstream {
    /// The store's metadata and channel map of a snap for an architecture; `None` if it does not know the snap.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or sends an unexpected answer.
    pub(crate) async fn info(
        &self,
        name: &SnapName,
        architecture: &Architecture,
    ) -> Result<Option<Map<String, Value>>, UpstreamError> {
        let what = format!("snap {name}");
        let mut url = below(&self.api, ["v2", "snaps", "info", name.as_str()]);
        url.query_pairs_mut()
            .append_pair("architecture", architecture.as_str())
            .append_pair("fields", &FIELDS.join(","));
        let answer =
            self.exchange(LARGEST, |http| self.for_device(http.get(url.clone()), architecture)).await?;
        match answer.status {
            StatusCode::OK => error::json(&what, &answer.body).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(self.refusal(&what, status, &answer.body)),
        }
    }

    /// Asks for several snaps at once; one answer each, in order.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or sends an unexpected answer.
    pub(crate) async fn offers(
        &self,
        architecture: &Architecture,
        wanted: &[(SnapName, ChannelOrRevision)],
    ) -> Result<Vec<Result<Offer, NoOffer>>, UpstreamError> {
        let what = "the snaps";
        let action = |(at, (name, wanted)): (usize, &(SnapName, ChannelOrRevision))| {
            let mut action = json!({"action": "download", "instance-key": format!("download-{}", at + 1),
                "name": name, "ignore-validation": true, "epoch": null});
            match wanted {
                ChannelOrRevision::Channel(channel) => action["channel"] = spelled(channel).into(),
                ChannelOrRevision::Revision(number) => action["revision"] = (*number).into(),
            }
            action
        };
        let fields: Vec<&str> = FIELDS
            .into_iter()
            .filter(|field| *field != "channel-map")
            .chain(["snap-yaml", "resources"])
            .collect();
        let mut offers = Vec::with_capacity(wanted.len());
        for part in wanted.chunks(50) {
            let actions: Vec<Value> = part.iter().enumerate().map(action).collect();
            let body = json!({"context": [], "actions": actions, "fields": fields});
            let url = below(&self.api, ["v2", "snaps", "refresh"]);
            let mut renewed = false;
            let answer: Refreshed = loop {
                let answer = self
                    .exchange(LARGEST, |http| {
                        self.for_device(http.post(url.clone()), architecture).json(&body)
                    })
                    .await?;
                if answer.status != StatusCode::OK {
                    return Err(self.refusal(what, answer.status, &answer.body));
                }
                let answer: Refreshed = error::json(what, &answer.body)?;
                // An expired login may also be reported inside a successful answer.
                if !renewed && self.has_login() && answer.wants_renewal() {
                    self.renew().await?;
                    renewed = true;
                    continue;
                }
                break answer;
            };
            let mut results: std::collections::HashMap<String, Refreshment> =
                answer.results.into_iter().map(|result| (result.instance_key.clone(), result)).collect();
            for (at, (name, wanted)) in part.iter().enumerate() {
                let what = format!("snap {name}");
                let Some(result) = results.remove(&format!("download-{}", at + 1)) else {
                    return Err(UpstreamError::Refused { what, reason: "the store left it out".into() });
                };
                offers.push(result.offer(name, wanted).map_err(|error| UpstreamError::answer(&what, error))?);
            }
        }
        Ok(offers)
    }

    /// The headers that describe the target devices.
    fn for_device(
        &self,
        request: reqwest::RequestBuilder,
        architecture: &Architecture,
    ) -> reqwest::RequestBuilder {
        let request = request
            .header("Snap-Device-Series", "16")
            .header("Snap-Device-Architecture", architecture.as_str());
        match &self.store {
            Some(store) => request.header("Snap-Device-Store", store.as_str()),
            None => request,
        }
    }
}

/// A channel request in the store's spelling.
fn spelled(channel: &ChannelRequest) -> String {
    let track = channel.track.as_ref().map(|track| format!("{track}/")).unwrap_or_default();
    let branch = channel.branch.as_ref().map(|branch| format!("/{branch}")).unwrap_or_default();
    format!("{track}{}{branch}", channel.risk)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Refreshed {
    #[serde(default)]
    results: Vec<Refreshment>,
    #[serde(default)]
    error_list: Vec<Problem>,
}

impl Refreshed {
    fn wants_renewal(&self) -> bool {
        let general = self.error_list.iter();
        let own = self.results.iter().filter_map(|result| result.error.as_ref());
        general.chain(own).any(|problem| problem.code == "user-authorization-needs-refresh")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Refreshment {
    #[serde(default)]
    instance_key: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    snap_id: Option<SnapId>,
    #[serde(default)]
    snap: Map<String, Value>,
    #[serde(default)]
    effective_channel: Option<String>,
    #[serde(default)]
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
struct Extra {
    #[serde(default)]
    releases: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    architecture: String,
    channel: String,
}

impl Refreshment {
    fn offer(
        mut self,
        name: &SnapName,
        wanted: &ChannelOrRevision,
    ) -> Result<Result<Offer, NoOffer>, AnswerError> {
        if let Some(problem) = self.error {
            let place = |place: Place| format!("{} for {}", place.channel, place.architecture);
            return Ok(Err(NoOffer {
                code: problem.code,
                message: problem.message,
                elsewhere: problem.extra.releases.into_iter().map(place).collect(),
            }));
        }
        // Name and id may be beside the snap object, inside it, or both.
        if let Some(name) = self.name {
            self.snap.entry("name").or_insert(name.into());
        }
        if let Some(id) = self.snap_id {
            self.snap.entry("snap-id").or_insert(id.to_string().into());
        }
        let mut offer: Offer = serde_json::from_value(Value::Object(self.snap.clone()))?;
        let other = match wanted {
            ChannelOrRevision::Revision(number) if *number != offer.revision => {
                Some(offer.revision.to_string())
            }
            _ if offer.name != *name => Some(offer.name.to_string()),
            _ => None,
        };
        if let Some(other) = other {
            return Err(AnswerError::Other(other));
        }
        if let ChannelOrRevision::Channel(channel) = wanted {
            let told = self.effective_channel.and_then(|text| text.parse().ok());
            offer.channel = Some(told.unwrap_or_else(|| channel.on(&Track::latest())));
        }
        offer.raw = self.snap;
        Ok(Ok(offer))
    }
}
