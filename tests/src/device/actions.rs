//! `POST /v2/snaps/refresh`: snapd's requests, and how it handles the answers.

use serde::Serialize;
use serde_json::{Value, json};

use super::answers::{self, Outcome};
use super::{Device, Dialect, Trouble};
use crate::http::{Request, Response};

/// An installed snap, as it stands in `context`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// Its id.
    pub snap_id: String,
    /// The id, with more behind it for a parallel instance.
    pub instance_key: String,
    /// The installed revision.
    pub revision: u32,
    /// The channel it follows.
    pub tracking_channel: String,
    /// Its epoch.
    pub epoch: Value,
    /// When it was refreshed.
    pub refreshed_date: String,
    /// The cohort it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohort_key: Option<String>,
    /// Whether it remembers that gating snaps do not hold it back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_validation: bool,
    /// The sequence points that it is under.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_sets: Vec<[String; 4]>,
    /// Its name, which snapd does not send here.
    #[serde(skip)]
    pub name: String,
}

impl Installed {
    /// A snap that was installed from a channel.
    #[must_use]
    pub fn new(name: &str, snap_id: &str, revision: u32, channel: &str) -> Self {
        Self {
            snap_id: snap_id.to_owned(),
            instance_key: snap_id.to_owned(),
            revision,
            tracking_channel: channel.to_owned(),
            epoch: json!({"read": [0], "write": [0]}),
            refreshed_date: "2026-11-20T17:45:57.254582068Z".to_owned(),
            cohort_key: None,
            ignore_validation: false,
            validation_sets: Vec::new(),
            name: name.to_owned(),
        }
    }
}

/// What to pick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// From this channel.
    pub channel: Option<String>,
    /// This revision.
    pub revision: Option<u32>,
    /// As this cohort sees it.
    pub cohort_key: Option<String>,
    /// Even when it is gated.
    pub ignore_validation: Option<bool>,
    /// Under these validation sets.
    pub validation_sets: Vec<[String; 4]>,
    /// From this epoch on, for an install that amends.
    pub epoch: Option<Value>,
}

impl Wanted {
    /// What a channel has.
    #[must_use]
    pub fn channel(channel: &str) -> Self {
        Self { channel: Some(channel.to_owned()), ..Self::default() }
    }

    /// A certain revision.
    #[must_use]
    pub fn revision(revision: u32) -> Self {
        Self { revision: Some(revision), ..Self::default() }
    }
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Install a snap by name.
    Install(String, Wanted),
    /// Download a snap by name.
    Download(String, Wanted),
    /// Refresh an installed snap by its instance key.
    Refresh(String, Wanted),
}

/// An action as it goes over the wire.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Sent {
    pub(super) action: &'static str,
    pub(super) instance_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cohort_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_validation: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_sets: Vec<[String; 4]>,
}

#[derive(Serialize)]
struct Asked<'a> {
    context: &'a [Installed],
    actions: Vec<Sent>,
    fields: Vec<&'static str>,
}

impl Device {
    /// The body of a refresh with these actions.
    #[must_use]
    pub fn refresh_body(&self, actions: &[Action]) -> Vec<u8> {
        let asked =
            Asked { context: &self.installed, actions: self.spell(actions), fields: self.snapd.fields() };
        serde_json::to_vec(&asked).expect("JSON of plain values")
    }

    /// The request of a refresh.
    #[must_use]
    pub fn refresh_post(&self, body: &[u8]) -> Request {
        let mut headers = self.headers(Dialect::V2, "application/json");
        headers.insert("Content-Type", "application/json".to_owned());
        headers.insert("Snap-Accept-Delta-Format", self.delta_formats.clone());
        self.request("POST", "/v2/snaps/refresh", &headers, Some(body))
    }

    fn spell(&self, actions: &[Action]) -> Vec<Sent> {
        let (mut installs, mut downloads) = (0, 0);
        let next = |counter: &mut usize, kind: &str| {
            *counter += 1;
            format!("{kind}-{counter}")
        };
        let mut spelled = Vec::new();
        for action in actions {
            let (kind, instance_key, name, snap_id, wanted) = match action {
                Action::Install(name, wanted) => {
                    ("install", next(&mut installs, "install"), Some(name.clone()), None, wanted)
                }
                Action::Download(name, wanted) => {
                    ("download", next(&mut downloads, "download"), Some(name.clone()), None, wanted)
                }
                Action::Refresh(key, wanted) => {
                    let id = key.split(':').next().unwrap_or(key).to_owned();
                    ("refresh", key.clone(), None, Some(id), wanted)
                }
            };
            spelled.push(Sent {
                action: kind,
                instance_key,
                name,
                snap_id,
                channel: wanted.channel.clone(),
                revision: wanted.revision,
                cohort_key: wanted.cohort_key.clone(),
                ignore_validation: wanted.ignore_validation,
                epoch: (kind != "refresh").then(|| wanted.epoch.clone().unwrap_or(Value::Null)),
                validation_sets: wanted.validation_sets.clone(),
            });
        }
        spelled
    }

    /// Sends actions and takes the answer as snapd does: one outcome per result.
    ///
    /// # Errors
    /// The call fails as a whole; a snap's own error stands in its outcome.
    pub fn act(&mut self, actions: &[Action]) -> Result<Vec<Result<Outcome, Trouble>>, Trouble> {
        let body = self.refresh_body(actions);
        let response = self.call(|device| device.refresh_post(&body))?;
        self.take(&response, &self.spell(actions))
    }

    fn take(&self, response: &Response, sent: &[Sent]) -> Result<Vec<Result<Outcome, Trouble>>, Trouble> {
        if response.status != 200 {
            return Err(Trouble::Status(response.clone()));
        }
        let sent: Vec<(&str, &str, Option<&str>)> =
            sent.iter().map(|one| (one.action, one.instance_key.as_str(), one.name.as_deref())).collect();
        let context: Vec<&str> = self.installed.iter().map(|one| one.instance_key.as_str()).collect();
        answers::take(&response.body, &sent, &context)
    }

    /// Acts on one snap.
    ///
    /// # Errors
    /// The call fails, or the snap has an error.
    pub fn act_on_one(&mut self, action: Action) -> Result<Outcome, Trouble> {
        let mut outcomes = self.act(&[action])?;
        match outcomes.len() {
            1 => outcomes.remove(0),
            0 => Err(Trouble::Rejected("unexpectedly empty response from the server".to_owned())),
            _ => Err(Trouble::Rejected("results for snaps that nobody asked for".to_owned())),
        }
    }

    /// What an install from a channel would get; nothing is downloaded.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn install(&mut self, name: &str, channel: &str) -> Result<Outcome, Trouble> {
        let outcome = self.act_on_one(Action::Install(name.to_owned(), Wanted::channel(channel)))?;
        let got = outcome.snap.name.clone();
        if got != name {
            return Err(Trouble::Mismatch(format!("asked for {name} and got {got}")));
        }
        Ok(outcome)
    }

    /// Installs for good: plan, download, documents, and the checks between them.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn install_for_good(&mut self, name: &str, channel: &str) -> Result<Outcome, Trouble> {
        let outcome = self.install(name, channel)?;
        self.fetch_and_check(&outcome)?;
        self.adopt(name, &outcome, channel);
        Ok(outcome)
    }

    /// Downloads what an outcome promises, and checks file and documents against each other.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn fetch_and_check(&mut self, outcome: &Outcome) -> Result<Vec<u8>, Trouble> {
        let blob = self.download(&outcome.snap.download)?;
        self.check_blob(&outcome.snap, &blob)?;
        Ok(blob)
    }

    fn adopt(&mut self, name: &str, outcome: &Outcome, channel: &str) {
        let track = outcome.redirect_channel.as_deref().unwrap_or(channel);
        self.installed.retain(|held| held.instance_key != outcome.snap.snap_id);
        self.installed.push(Installed::new(name, &outcome.snap.snap_id, outcome.snap.revision, track));
    }

    /// Refreshes everything, as the timer does: each snap with a newer revision is installed for good.
    ///
    /// # Errors
    /// As snapd tells it; the errors of single snaps are left out, as snapd leaves them out.
    pub fn refresh_all(&mut self) -> Result<Vec<Outcome>, Trouble> {
        let wanted = |held: &Installed| match self.snapd.repeats_channel() {
            true => Wanted::channel(&held.tracking_channel),
            false => Wanted::default(),
        };
        let actions: Vec<Action> = self
            .installed
            .iter()
            .map(|held| Action::Refresh(held.instance_key.clone(), wanted(held)))
            .collect();
        let mut updated = Vec::new();
        for outcome in self.act(&actions)?.into_iter().flatten() {
            let held = self.installed.iter().find(|held| held.instance_key == outcome.instance_key).cloned();
            let held = held
                .ok_or_else(|| Trouble::Rejected("a result for a snap that is not installed".to_owned()))?;
            if held.revision == outcome.snap.revision {
                continue;
            }
            self.fetch_and_check(&outcome)?;
            self.adopt(&held.name, &outcome, &held.tracking_channel);
            updated.push(outcome);
        }
        Ok(updated)
    }
}
