//! A store with the snaps that the recordings speak of, under their names, ids and revisions.

use std::collections::HashMap;

use schema::assertion::Assertion;
use schema::digest::Sha3_384;
use serde_json::Value;
use tests::device::{Device, Snapd};
use tests::server::Server;
use tests::world::{Identity, Revision, Snap, World, map, stream};

use super::recording::Recording;

/// Keys of the recorded stand-in: of its store, and of the brand.
const RECORDED_STORE_KEY: &str = "XCIC_Wvj9_hiAt0b10sDon74oGr3a6xGODkMZqrj63ZzNYUD5N87-ojjPoeN7f1Y";
const RECORDED_BRAND_KEY: &str = "e85QM8J9DqyqQlVRZBVeBhcoHqxo3jQl0M86rwWn85nLG17DmBAjzZWQUi-9ur7O";

/// The recorded world, rebuilt with keys of our own.
pub(crate) struct Rig {
    world: World,
    /// Every revision with its channels.
    pub(crate) revisions: Vec<(Revision, Vec<&'static str>)>,
    /// The recorded device.
    pub(crate) identity: Identity,
    /// What stands for what in requests: digests and key ids, all of 64 characters.
    pub(crate) names: HashMap<String, String>,
}

impl Rig {
    /// Builds the world; digests of files are learned from the recorded answers.
    pub(crate) fn new(recordings: &[Recording]) -> Self {
        let world = World::rooted("testrootorg");
        let brand = world.brand("rig-brand");
        let snap = |name: &str, id: &str| world.snap(name).id(id).publisher("rig-dev");
        let system =
            |name: &str, id: &str, kind: &str| snap(name, id).publisher("rig-brand").kind(kind).payload(10);
        let app = |name: &str, id: &str, payload| snap(name, id).base("rig-base").payload(payload);

        let snapd = system("snapd", "QWraiHzPs2yGnHNBByWDXVgedsj1tElX", "snapd");
        let base = system("rig-base", "zqkInUaA98wsXujnXf0o6RcwMzX3y3OM", "base");
        let hello = app("rig-hello", "5S5m0XFatFXfYpssN0NpnqTPjaRckfcx", 300_000).summary("Says hello");
        // Five million bytes and some: a recorded download goes on from there.
        let big = app("rig-big", "IgXRPSphtfOonMiOGDavX4a4OBoSbCdW", 5_200_000).summary("A larger snap");
        let classic = app("rig-classic-app", "GbD8zSTHu3oFOK2eekfEj4ax0kAmE0AC", 300).confinement("classic");
        let revisions = vec![
            (snapd.revision(100), vec!["latest/stable"]),
            (base.revision(7), vec!["latest/stable"]),
            (hello.versioned(1, "1.0"), vec!["latest/stable"]),
            (hello.versioned(2, "2.0"), vec!["latest/candidate"]),
            (hello.versioned(3, "3.0-edge"), vec!["latest/edge", "2.x/stable"]),
            (big.revision(10), vec!["latest/stable"]),
            (big.revision(11), vec!["latest/beta"]),
            (classic.revision(5), vec!["latest/stable"]),
        ];

        let mut names = HashMap::from([
            (RECORDED_STORE_KEY.to_owned(), world.key("store").public().id().to_owned()),
            (RECORDED_BRAND_KEY.to_owned(), brand.model_key().public().id().to_owned()),
        ]);
        for exchange in recordings.iter().flat_map(|recording| &recording.exchanges) {
            learn_digests(&exchange.answer, &revisions, &mut names);
        }
        let model = brand.model("rig-classic");
        Self { identity: brand.device(&model, "rig-device-1"), world, revisions, names }
    }

    /// A running store with all of it; `stable` is the revision of `rig-hello` in its stable channel, `points` how many
    /// points the validation set has.
    pub(crate) fn serve(&self, stable: u32, points: usize) -> Server {
        let store = Server::start();
        store.trust(&self.world);
        for (revision, channels) in &self.revisions {
            let mut channels = channels.clone();
            if revision.snap.name == "rig-hello" {
                channels.retain(|&channel| channel != "latest/stable");
                if revision.number == stable {
                    channels.push("latest/stable");
                }
            }
            // A revision that no channel leads to is pushed with a branch of its own.
            let channels = if channels.is_empty() { vec!["latest/edge/unreleased"] } else { channels };
            store.push_pair(revision, &channels, "ubuntu");
        }
        store.push_brand(&self.world.brand("rig-brand"));
        let _ = store.try_push_assertions(&stream(&self.documents()[..=points])).ok();
        store
    }

    /// The model, then the points of the validation set.
    fn documents(&self) -> Vec<Assertion> {
        let brand = self.world.brand("rig-brand");
        let id = |name: &str| self.snap(name).id.clone();
        let listed = |name: &str, rest: &[(&str, &str)]| {
            let mut entry = map(&[("name", name), ("id", &id(name))]);
            entry.extend(map(rest));
            entry
        };
        let first = vec![listed("rig-hello", &[("presence", "required"), ("revision", "1")])];
        let second = vec![
            listed("rig-hello", &[("presence", "required"), ("revision", "2")]),
            listed("rig-big", &[("presence", "optional"), ("revision", "10")]),
            listed("rig-classic-app", &[("presence", "invalid")]),
        ];
        vec![
            self.identity.model.clone(),
            brand.validation_set("rig-set", 1, first),
            brand.validation_set("rig-set", 2, second),
        ]
    }

    fn snap(&self, name: &str) -> &Snap {
        let found = self.revisions.iter().find(|(revision, _)| revision.snap.name == name);
        &found.expect("a snap of the rig").0.snap
    }

    /// The revision that a file name of the download path speaks of.
    pub(crate) fn by_file(&self, file: &str) -> Option<&Revision> {
        let mut revisions = self.revisions.iter().map(|(revision, _)| revision);
        revisions.find(|revision| format!("{}_{}.snap", revision.snap.id, revision.number) == file)
    }

    /// The recorded device, logged in.
    pub(crate) fn device(&self, store: &Server, snapd: Snapd) -> Device {
        let mut device = Device::new(store, snapd, &self.identity);
        device.ensure_session().expect("the recorded device gets a session");
        device
    }
}

/// Finds `download` objects beside a snap id and a revision, and remembers our digest for theirs.
fn learn_digests(answer: &Value, revisions: &[(Revision, Vec<&str>)], names: &mut HashMap<String, String>) {
    match answer {
        Value::Array(list) => list.iter().for_each(|entry| learn_digests(entry, revisions, names)),
        Value::Object(members) => {
            let url = members.get("url").and_then(Value::as_str);
            let hex =
                members.get("sha3-384").and_then(Value::as_str).and_then(|hex| Sha3_384::from_hex(hex).ok());
            if let (Some(url), Some(theirs)) = (url, hex) {
                let file = url.rsplit('/').next().unwrap_or_default();
                let ours = revisions
                    .iter()
                    .find(|(revision, _)| format!("{}_{}.snap", revision.snap.id, revision.number) == file);
                if let Some((revision, _)) = ours {
                    names.insert(theirs.to_base64url(), revision.image.digest.to_base64url());
                }
            }
            members.values().for_each(|entry| learn_digests(entry, revisions, names));
        }
        _ => {}
    }
}
