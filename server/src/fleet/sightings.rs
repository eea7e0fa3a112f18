//! Records which devices were seen and which requests failed, in batches that never delay a device.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderValue;
use schema::api::device::Installed;
use schema::session::Session;
use schema::store::{Architecture, DeviceId, Epoch, StoreId};
use tracing::debug;

use super::downloads::Book;
use crate::catalog::Principal;
use crate::clock;
use crate::storage::Database;
use crate::storage::devices::{Missed, Running, Sighting};
use crate::storage::error::StorageError;
use crate::storage::rollouts::Contact;

use crate::tls::ClientName;

/// Maximum number of devices waiting to be recorded; further ones are dropped until they are seen again.
const MOST: usize = 8192;
/// Maximum number of validation sets recorded per snap.
const MOST_SETS: usize = 16;
/// Maximum number of snaps recorded per device.
const MOST_SNAPS: usize = 1024;
/// Maximum number of misses kept per device; the oldest are dropped first.
const MOST_MISSES: usize = 32;
/// Maximum number of contacts with rollouts kept per device until they are written down.
const MOST_CONTACTS: usize = 32;
/// Maximum number of characters kept of a cohort's key: the channel map of a snap.
const LONGEST_COHORT: usize = 4096;
/// Maximum number of characters kept of a device's text.
const LONGEST: usize = 200;

/// The other end of a device's connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// Its address: the device's, or that of a proxy in front.
    pub(crate) address: Option<IpAddr>,
    /// Its `User-Agent`.
    pub(crate) agent: Option<HeaderValue>,
    /// The subject of its client certificate.
    pub(crate) certificate: Option<ClientName>,
    /// The architecture that it names.
    pub(crate) architecture: Option<Architecture>,
}

/// Sightings that wait for the database.
pub(crate) struct Sightings {
    /// When this server began to look, in microseconds since 1970.
    pub(crate) since_micros: i64,
    /// What these devices were offered and sent.
    pub(crate) downloads: Book,
    waiting: Mutex<HashMap<DeviceId, Seen>>,
    /// Held while they are written down: nobody writes what a device downloaded before that device is there.
    writing: tokio::sync::Mutex<()>,
}

impl Default for Sightings {
    fn default() -> Self {
        Self {
            since_micros: clock::micros(),
            downloads: Book::default(),
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }
}

/// A device that was seen.
#[derive(Default)]
struct Seen {
    at_micros: i64,
    store: Option<StoreId>,
    client: Client,
    verified: bool,
    snaps: Option<Vec<Running>>,
    /// Newest first.
    missed: Vec<Missed>,
    /// What it said of rollouts, newest last.
    contacts: Vec<Contact>,
    /// The validation sets of which it asked for newer sequences, as `ACCOUNT/NAME=SEQUENCE`.
    follows: Option<Vec<String>>,
}

impl Seen {
    /// The device was seen now. Most often it says what it said before, and nothing is copied.
    fn again(
        &mut self,
        session: &Session,
        client: &Client,
        context: &[Installed<'_>],
        missed: Vec<Missed>,
        contacts: Vec<Contact>,
    ) {
        self.at_micros = clock::micros();
        for contact in contacts {
            let last = self.contacts.iter().rfind(|held| held.rollout == contact.rollout);
            let adds = last.is_none_or(|last| !contact.repeats(last));
            if self.contacts.len() < MOST_CONTACTS && adds {
                self.contacts.push(contact);
            }
        }
        self.store.clone_from(&session.store);
        self.verified = session.verified;
        let architecture = self.client.architecture.take();
        self.client.clone_from(client);
        // A request for a session does not name it.
        self.client.architecture = self.client.architecture.take().or(architecture);
        let known = &context[..context.len().min(MOST_SNAPS)];
        let same = |held: &[Running]| held.len() == known.len() && held.iter().zip(known).all(is_running);
        // Requests for sessions and bulk assertion updates have no context and would hide what the device reported before.
        if !known.is_empty() && !self.snaps.as_deref().is_some_and(same) {
            self.snaps = Some(known.iter().map(running).collect());
        }
        if !missed.is_empty() {
            let older = std::mem::take(&mut self.missed);
            remember(&mut self.missed, missed);
            remember(&mut self.missed, older);
        }
    }

    /// Takes over what an older sighting contains and this one does not.
    fn complete(&mut self, older: Seen) {
        self.client.architecture = self.client.architecture.take().or(older.client.architecture);
        self.snaps = self.snaps.take().or(older.snaps);
        self.follows = self.follows.take().or(older.follows);
        remember(&mut self.missed, older.missed);
        let newer = std::mem::replace(&mut self.contacts, older.contacts);
        self.contacts.extend(newer);
    }
}

/// Appends older misses to newer ones; a repeated request is kept once.
fn remember(missed: &mut Vec<Missed>, older: Vec<Missed>) {
    for miss in older {
        let same =
            |held: &Missed| (&held.name, &held.wanted, &held.code) == (&miss.name, &miss.wanted, &miss.code);
        if !missed.iter().any(same) {
            missed.push(miss);
        }
    }
    missed.truncate(MOST_MISSES);
}

impl Sightings {
    /// Records a device that gets a session or refreshes: its address, its snaps, and its failed requests.
    pub(crate) fn note(
        &self,
        principal: &Principal,
        client: &Client,
        context: &[Installed<'_>],
        missed: Vec<Missed>,
        contacts: Vec<Contact>,
    ) {
        let Principal::Device(session) = principal else { return };
        let device = &session.device;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = waiting.get_mut(device) {
            return seen.again(session, client, context, missed, contacts);
        }
        if waiting.len() < MOST {
            let mut seen = Seen::default();
            seen.again(session, client, context, missed, contacts);
            waiting.insert(device.clone(), seen);
        }
    }

    /// Records the validation sets, `ACCOUNT/NAME=SEQUENCE`, of which a device asks for newer sequences in one request. It is
    /// noted to be seen as well.
    pub(crate) fn follows(&self, principal: &Principal, sets: Vec<String>) {
        let Principal::Device(session) = principal else { return };
        if sets.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = waiting.get_mut(&session.device) {
            seen.follows = Some(sets.iter().take(MOST_SETS).map(|set| cut(set)).collect());
        }
    }

    /// Writes down what waits.
    ///
    /// # Errors
    /// It could not be written, and waits on.
    pub(crate) async fn write(&self, database: &Database) -> Result<(), StorageError> {
        let _turn = self.writing.lock().await;
        self.write_seen(database).await?;
        // After the sightings: nothing is written of a device that was never seen.
        self.downloads.write(database).await
    }

    async fn write_seen(&self, database: &Database) -> Result<(), StorageError> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let written = write(&mut waiting, database).await;
        if let Err(error) = &written {
            debug!(error = error as &dyn std::error::Error, "Sightings wait for the database");
            let mut newer = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (device, seen) in waiting {
                match newer.get_mut(&device) {
                    Some(newer) => newer.complete(seen),
                    None => drop(newer.insert(device, seen)),
                }
            }
        }
        written
    }
}

async fn write(waiting: &mut HashMap<DeviceId, Seen>, database: &Database) -> Result<(), StorageError> {
    for (device, seen) in waiting.iter_mut().filter(|(_, seen)| !seen.missed.is_empty()) {
        let held = database.device(device).await?;
        remember(&mut seen.missed, held.and_then(|held| held.last.missed).unwrap_or_default());
    }
    let sighting = |(device, seen): (&DeviceId, &Seen)| {
        let Client { address, agent, certificate, architecture } = &seen.client;
        Sighting {
            device: device.clone(),
            seen_at_micros: seen.at_micros,
            address: address.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            client: certificate.as_ref().map(|name| name.0.to_string()).unwrap_or_default(),
            snaps: seen.snaps.clone(),
            missed: Some(seen.missed.clone()).filter(|missed| !missed.is_empty()),
            store: seen.store.clone(),
            agent: agent.as_ref().and_then(|agent| agent.to_str().ok()).map(cut).unwrap_or_default(),
            architecture: architecture.clone(),
            verified: seen.verified,
            follows: seen.follows.clone(),
        }
    };
    let _ = database.record_sightings(waiting.iter().map(sighting).collect()).await?;
    let mut contacts = Vec::new();
    for (device, seen) in waiting.iter() {
        contacts.extend(seen.contacts.iter().map(|contact| (device.clone(), contact.clone())));
    }
    database.record_contacts(contacts).await
}

/// What is kept of an installed snap.
fn running(own: &Installed<'_>) -> Running {
    Running {
        snap_id: cut(&own.snap_id),
        revision: own.revision,
        channel: cut(&own.tracking_channel),
        epoch: worth_keeping(own).cloned(),
        sets: sets(own).collect(),
        cohort: cohort(own).map(str::to_owned),
    }
}

/// Whether an installed snap is as it was kept.
fn is_running((held, own): (&Running, &Installed<'_>)) -> bool {
    held.revision == own.revision
        && held.epoch.as_ref() == worth_keeping(own)
        && held.sets.iter().cloned().eq(sets(own))
        && held.cohort.as_deref() == cohort(own)
        && is_kept(&held.snap_id, &own.snap_id)
        && is_kept(&held.channel, &own.tracking_channel)
}

/// The validation sets that an installed snap is under, as they are kept.
fn sets<'a>(own: &'a Installed<'_>) -> impl Iterator<Item = String> + 'a {
    let set = |key: &'a Vec<String>| match &key[..] {
        [_, account, name, sequence] => Some(cut(&format!("{account}/{name}={sequence}"))),
        _ => None,
    };
    own.validation_sets.iter().take(MOST_SETS).filter_map(set)
}

/// The key of an installed snap's cohort, unless it is longer than any key of this store need be.
fn cohort<'a>(own: &'a Installed<'_>) -> Option<&'a str> {
    let is_key = |key: &&str| {
        (1..=LONGEST_COHORT).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    own.cohort_key.as_deref().filter(is_key)
}

fn worth_keeping<'a>(own: &'a Installed<'_>) -> Option<&'a Epoch> {
    own.epoch.as_ref().filter(|epoch| **epoch != Epoch::default())
}

/// The kept part of a device's text; the database accepts no NUL.
pub(crate) fn cut(text: &str) -> String {
    kept(text).collect()
}

/// Whether this is what was kept of a text. Most often that is the whole text.
fn is_kept(held: &str, text: &str) -> bool {
    held == text || held.chars().eq(kept(text))
}

fn kept(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control()).take(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::storage::Settings;
    use crate::storage::devices::DevicesWhere;

    fn principal(device: &str) -> Principal {
        let device: DeviceId = device.parse().unwrap();
        let session = Session { device, store: None, verified: true, issued: 0, expires: 1 };
        Principal::Device(Arc::new(session))
    }

    fn miss(name: &str, at_micros: i64) -> Missed {
        let (wanted, code) = ("stable".into(), "name-not-found".into());
        Missed { name: name.into(), wanted, code, at_micros }
    }

    async fn database(folder: &tempfile::TempDir) -> Database {
        let database = Database::open(&Settings::Sqlite(folder.path().join("airlock.db"))).await.unwrap();
        database.migrate(0).await.unwrap();
        database
    }

    #[tokio::test]
    async fn the_other_end_of_the_connection_is_written_down() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = database(&folder).await;
        let client = Client {
            address: Some("::ffff:10.0.0.7".parse().unwrap()),
            agent: Some(HeaderValue::from_static("snapd/2.77")),
            certificate: Some(ClientName("CN=gateway-1".into())),
            architecture: Some("arm64".parse().unwrap()),
        };
        let sightings = Sightings::default();
        sightings.note(&principal("acme/gateway/1"), &client, &[], Vec::new(), Vec::new());
        sightings.write(&database).await.unwrap();
        let seen = database.devices(DevicesWhere::default(), 10).await.unwrap().remove(0).last;
        let texts = (&*seen.client, &*seen.address, &*seen.agent);
        assert_eq!(texts, ("CN=gateway-1", "10.0.0.7", "snapd/2.77"));
    }

    #[tokio::test]
    async fn a_session_hides_nothing_that_a_refresh_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = database(&folder).await;
        let (who, sightings) = (principal("acme/gateway/1"), Sightings::default());
        let client = Client { architecture: Some("arm64".parse().unwrap()), ..Client::default() };
        let note = |client: &Client| sightings.note(&who, client, &[], Vec::new(), Vec::new());
        note(&client);
        note(&Client::default());
        sightings.write(&database).await.unwrap();
        note(&Client::default());
        sightings.write(&database).await.unwrap();
        let seen = database.devices(DevicesWhere::default(), 10).await.unwrap().remove(0).last;
        assert_eq!(seen.architecture, client.architecture);
    }

    #[tokio::test]
    async fn misses_are_kept_once_each_and_not_without_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = database(&folder).await;
        let (who, client) = (principal("acme/gateway/1"), Client::default());
        let text = json!([{ "snap-id": "a", "tracking-channel": "x".repeat(5000) }]).to_string();
        let own: Vec<Installed<'_>> = serde_json::from_str(&text).unwrap();
        let sightings = Sightings::default();
        let held = async || {
            database.devices(DevicesWhere::default(), 1).await.unwrap()[0]
                .last
                .missed
                .clone()
                .unwrap_or_default()
        };

        sightings.note(&who, &client, &own, vec![miss("one", 1)], Vec::new());
        // A bulk assertion update at the same moment hides nothing.
        sightings.note(&who, &client, &[], Vec::new(), Vec::new());
        sightings.write(&database).await.unwrap();
        assert_eq!(held().await, [miss("one", 1)]);
        let snaps =
            database.devices(DevicesWhere::default(), 1).await.unwrap()[0].last.snaps.clone().unwrap();
        assert_eq!(snaps[0].channel.len(), LONGEST);

        sightings.note(&who, &client, &own, vec![miss("two", 2), miss("one", 3)], Vec::new());
        sightings.write(&database).await.unwrap();
        sightings.note(&who, &client, &own, Vec::new(), Vec::new());
        sightings.write(&database).await.unwrap();
        assert_eq!(held().await, [miss("two", 2), miss("one", 3)]);

        let many = (0..5000).map(|number| miss(&format!("snap-{number}"), 4)).collect();
        sightings.note(&who, &client, &[], many, Vec::new());
        sightings.write(&database).await.unwrap();
        assert_eq!(held().await.len(), MOST_MISSES);
    }

    #[tokio::test]
    async fn what_waits_has_a_bound() {
        let sightings = Sightings::default();
        for number in 0..MOST + 10 {
            sightings.note(
                &principal(&format!("acme/gateway/{number}")),
                &Client::default(),
                &[],
                Vec::new(),
                Vec::new(),
            );
        }
        assert_eq!(sightings.waiting.lock().unwrap().len(), MOST);
    }
}
