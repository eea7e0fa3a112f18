//! The store's offer for one order: its texts, the revisions, and the part of the channel map that leads to them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use schema::bundle::ManifestRelease;
use schema::store::{Architecture, Channel, SnapId, SnapName, StoreId};
use serde_json::{Map, Value, json};
use url::Url;

use super::Order;
use crate::upstream::{ChannelOrRevision, NoOffer, Offer, Upstream, UpstreamError};

/// The store's offer for one order.
#[derive(Debug)]
pub(crate) struct Haul {
    pub(crate) name: SnapName,
    pub(crate) snap_id: SnapId,
    /// The store it belongs to on site.
    pub(crate) home: StoreId,
    /// The store's answer without its channel map.
    pub(crate) about: Map<String, Value>,
    /// The entries that lead to these revisions.
    pub(crate) channel_map: Vec<Value>,
    /// On-site releases; empty if the channel map has them.
    pub(crate) releases: Vec<ManifestRelease>,
    pub(crate) revisions: BTreeMap<u32, Offer>,
    pub(crate) icon: Option<Url>,
    /// Closed channels, with the channels they fall back to.
    pub(crate) fell_back: Vec<String>,
    /// What of the order is not there, in sentences.
    pub(crate) lacking: Vec<String>,
}

/// Why an order cannot be fulfilled.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// The store has no such snap or release; a sentence.
    NotThere(String),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<UpstreamError> for ResolveError {
    fn from(error: UpstreamError) -> Self {
        Self::Other(error.into())
    }
}

impl Haul {
    /// Queries the store. With `what_is_there`, some of an order is better than nothing.
    ///
    /// # Errors
    /// [`ResolveError::NotThere`] if one of the picks is missing for one of the architectures; a pick by revision
    /// must exist for at least one. With `what_is_there`, only if nothing is available at all.
    pub(crate) async fn resolve(
        upstream: &Upstream,
        order: &Order,
        architectures: &[Architecture],
        what_is_there: bool,
    ) -> Result<Self, ResolveError> {
        let name = &order.name;
        let mut infos: Vec<(Architecture, Map<String, Value>)> = Vec::new();
        for architecture in architectures {
            if let Some(info) = upstream.info(name, architecture).await? {
                infos.push((architecture.clone(), info));
            }
        }
        let wanted: Vec<(SnapName, ChannelOrRevision)> =
            order.picks.iter().map(|pick| (name.clone(), pick.wanted.clone())).collect();
        let mut found: Vec<(usize, Architecture, Offer)> = Vec::new();
        let mut refused: Vec<(usize, Architecture, NoOffer)> = Vec::new();
        for architecture in architectures {
            for (at, offer) in upstream.offers(architecture, &wanted).await?.into_iter().enumerate() {
                match offer {
                    Ok(offer) => found.push((at, architecture.clone(), offer)),
                    Err(none) => refused.push((at, architecture.clone(), none)),
                }
            }
        }
        let mut lacking = Vec::new();
        for (at, architecture, none) in &refused {
            let by_number = matches!(order.picks[*at].wanted, ChannelOrRevision::Revision(_));
            if by_number && found.iter().any(|(other, ..)| other == at) {
                continue;
            }
            let why = sentence(upstream, name, &order.picks[*at].wanted, architecture, none);
            if !what_is_there || found.is_empty() {
                return Err(ResolveError::NotThere(why));
            }
            lacking.push(why);
        }
        let haul = Self::gather(order, infos, found).map_err(ResolveError::Other)?;
        Ok(Self { lacking, ..haul })
    }

    fn gather(
        order: &Order,
        infos: Vec<(Architecture, Map<String, Value>)>,
        found: Vec<(usize, Architecture, Offer)>,
    ) -> anyhow::Result<Self> {
        let name = order.name.clone();
        let (_, _, first) = found.first().with_context(|| format!("the store offers nothing of {name}"))?;
        let snap_id = first.snap_id.clone();
        // A snap without releases has no `info` answer: its revision provides the same fields.
        let mut about = infos.first().map(|(_, info)| info.clone()).unwrap_or_else(|| {
            let mut snap = first.raw.clone();
            ["snap-yaml", "resources", "download"].iter().for_each(|key| drop(snap.remove(*key)));
            Map::from_iter([
                ("name".to_owned(), json!(name)),
                ("snap-id".to_owned(), json!(snap_id)),
                ("default-track".to_owned(), Value::Null),
                ("snap".to_owned(), Value::Object(snap)),
            ])
        });
        about.remove("channel-map");
        let mut haul = Self {
            icon: icon_of(&about),
            name,
            snap_id,
            home: StoreId::global(),
            about,
            channel_map: Vec::new(),
            releases: Vec::new(),
            revisions: BTreeMap::new(),
            fell_back: Vec::new(),
            lacking: Vec::new(),
        };
        for (_, _, offer) in &found {
            haul.take(offer)?;
        }
        let numbers: Vec<u64> = haul.revisions.keys().map(|number| u64::from(*number)).collect();
        for (architecture, info) in infos {
            let entries = info.get("channel-map").and_then(Value::as_array).cloned().unwrap_or_default();
            // A store may answer for more architectures than requested.
            let ours = |entry: &Value| {
                entry["channel"]["architecture"] == architecture.as_str()
                    && entry["revision"].as_u64().is_some_and(|revision| numbers.contains(&revision))
            };
            haul.channel_map.extend(entries.into_iter().filter(ours));
        }
        for (at, architecture, offer) in &found {
            haul.release(&order.picks[*at].wanted, architecture, offer);
        }
        if order.picks.iter().any(|pick| !pick.release_to.is_empty()) {
            haul.releases = releases(order, &found, &haul.channel_map);
        }
        Ok(haul)
    }

    fn take(&mut self, offer: &Offer) -> anyhow::Result<()> {
        anyhow::ensure!(offer.snap_id == self.snap_id, "the store gives {} two snap ids", self.name);
        let number = offer.revision;
        match self.revisions.get(&number) {
            Some(known) => anyhow::ensure!(
                known.download.sha3_384 == offer.download.sha3_384,
                "the store offers two files as revision {number} of {}",
                self.name
            ),
            None => drop(self.revisions.insert(number, offer.clone())),
        }
        Ok(())
    }

    /// Adds the entry of a pick unless the store's map has it, which omits branches.
    fn release(&mut self, wanted: &ChannelOrRevision, architecture: &Architecture, offer: &Offer) {
        let (Some(channel), ChannelOrRevision::Channel(asked)) = (&offer.channel, wanted) else { return };
        if asked.risk != channel.risk || asked.branch != channel.branch {
            self.fell_back.push(format!(
                "{} has nothing of its own in {} for {architecture}: took {channel}",
                self.name,
                asked.on(&channel.track)
            ));
        }
        let is_it = |entry: &Value| {
            entry["channel"]["architecture"] == architecture.as_str()
                && channel_of(entry).as_ref() == Some(channel)
        };
        if self.channel_map.iter().any(is_it) {
            return;
        }
        let mut entry = json!({
            "channel": {"architecture": architecture, "name": channel.to_string(), "track": channel.track,
                "risk": channel.risk, "released-at": null},
            "revision": offer.revision,
        });
        for key in
            ["version", "type", "base", "confinement", "architectures", "epoch", "created-at", "download"]
        {
            if let Some(value) = offer.raw.get(key) {
                entry[key] = value.clone();
            }
        }
        self.channel_map.push(entry);
    }
}

/// The on-site releases of every revision: those of the order beside those of the store, which a manifest's releases replace.
fn releases(
    order: &Order,
    found: &[(usize, Architecture, Offer)],
    channel_map: &[Value],
) -> Vec<ManifestRelease> {
    let own = found.iter().flat_map(|(at, _, offer)| {
        order.picks[*at].release_to.iter().map(|channel| (offer.revision, channel.clone()))
    });
    let upstream = channel_map.iter().filter_map(|entry| {
        let revision = entry["revision"].as_u64().and_then(|number| u32::try_from(number).ok())?;
        Some((revision, channel_of(entry)?))
    });
    let mut channels: BTreeMap<u32, Vec<Channel>> = BTreeMap::new();
    for (revision, channel) in own.chain(upstream) {
        let of_revision = channels.entry(revision).or_default();
        if !of_revision.contains(&channel) {
            of_revision.push(channel);
        }
    }
    channels.into_iter().map(|(revision, channels)| ManifestRelease { revision, channels }).collect()
}

/// The channel of an entry of the store's channel map.
fn channel_of(entry: &Value) -> Option<Channel> {
    entry["channel"]["name"].as_str()?.parse().ok()
}

fn icon_of(about: &Map<String, Value>) -> Option<Url> {
    let media = about.get("snap")?.get("media")?.as_array()?;
    let icon = media.iter().find(|one| one["type"] == "icon")?;
    Url::parse(icon["url"].as_str()?).ok()
}

fn sentence(
    upstream: &Upstream,
    name: &SnapName,
    wanted: &ChannelOrRevision,
    architecture: &Architecture,
    none: &NoOffer,
) -> String {
    let place = match wanted {
        ChannelOrRevision::Channel(channel) => {
            format!("channel {}", channel.on(&schema::store::Track::latest()))
        }
        ChannelOrRevision::Revision(number) => format!("revision {number}"),
    };
    match none.code.as_str() {
        "name-not-found" | "id-not-found" | "resource-not-found" => {
            let host = upstream.host();
            match (upstream.has_login(), upstream.store()) {
                (true, Some(store)) => format!(
                    "snap {name} is not visible to this login: {host} has no such snap, or store {store} does not \
                     show it to the login; see `proxy whoami --auth FILE`"
                ),
                (true, None) => format!(
                    "snap {name} is not visible to this login: {host} has no such snap, or it belongs to a brand \
                     store: give --store"
                ),
                _ => format!(
                    "snap {name} is not visible without a login: {host} has no such public snap; for those of a \
                     brand store give --auth and --store"
                ),
            }
        }
        "revision-not-found" if none.elsewhere.is_empty() => {
            format!("snap {name} has nothing at {place} for {architecture}")
        }
        "revision-not-found" => format!(
            "snap {name} has nothing at {place} for {architecture}, only {}",
            none.elsewhere.join(", ")
        ),
        code => {
            format!("the store does not give {name} at {place} for {architecture}: {} ({code})", none.message)
        }
    }
}
