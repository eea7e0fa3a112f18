//! A throw-away world of signed documents: a root that a store can be told to trust, accounts, brands with models
//! and serials, and snaps. Everything has a sound default, so that a test spells out only its own subject.
//!
//! ```text
//! root key ──signs──► store key ──signs──► accounts, account keys, declarations, revisions, store assertions
//!                                              brand's key ──signs──► models, serials, validation sets
//! ```

use std::sync::Arc;

use schema::assertion::{Assertion, AssertionType, Builder, HeaderValue, Map, SigningKey};
use schema::digest::Sha3_384;

use crate::keys::Keyring;
use crate::snap::{Image, noise};

/// When every key became valid.
pub const SINCE: &str = "2020-01-01T00:00:00Z";
/// When every document was made.
pub const TIMESTAMP: &str = "2024-01-02T03:04:05Z";

/// A root of trust and what it vouches for. Cheap to clone.
#[derive(Clone)]
pub struct World {
    keys: Keyring,
    /// The account that the root key speaks for.
    pub root_id: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// The usual world of tests.
    #[must_use]
    pub fn new() -> Self {
        Self::rooted("test-root")
    }

    /// A world with a root of its own; two roots know nothing of each other.
    #[must_use]
    pub fn rooted(root_id: &str) -> Self {
        Self::with_keys(root_id, Keyring::shared())
    }

    /// A world with keys of its own.
    #[must_use]
    pub fn with_keys(root_id: &str, keys: Keyring) -> Self {
        Self { keys, root_id: root_id.to_owned() }
    }

    /// A key of this world by name.
    #[must_use]
    pub fn key(&self, name: &str) -> Arc<SigningKey> {
        self.keys.key(&format!("{}-{name}", self.root_id))
    }

    /// The root account, signed by the root key.
    #[must_use]
    pub fn root_account(&self) -> Assertion {
        self.account_of(&self.root_id).sign(&self.key("root"))
    }

    /// The self-signed root key.
    #[must_use]
    pub fn root_key(&self) -> Assertion {
        self.account_key_of(&self.root_id, "root", &self.key("root")).sign(&self.key("root"))
    }

    /// The key that signs what a store vouches for, signed by the root.
    #[must_use]
    pub fn store_key(&self) -> Assertion {
        self.account_key_of(&self.root_id, "store", &self.key("store")).sign(&self.key("root"))
    }

    /// What `proxy trust add` takes.
    #[must_use]
    pub fn anchors(&self) -> Vec<u8> {
        stream(&[self.root_account(), self.root_key()])
    }

    /// Signs as the store that everybody trusts.
    #[must_use]
    pub fn sign(&self, document: &Builder) -> Assertion {
        document.sign(&self.key("store"))
    }

    /// Starts an account assertion.
    #[must_use]
    pub fn account_of(&self, id: &str) -> Builder {
        Builder::new(AssertionType::Account)
            .header("authority-id", &self.root_id)
            .header("account-id", id)
            .header("display-name", capitalised(id))
            .header("username", id)
            .header("validation", "verified")
            .header("timestamp", TIMESTAMP)
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: &str) -> Assertion {
        self.sign(&self.account_of(id))
    }

    /// Starts an account-key assertion.
    #[must_use]
    pub fn account_key_of(&self, account: &str, name: &str, key: &SigningKey) -> Builder {
        Builder::new(AssertionType::AccountKey)
            .header("authority-id", &self.root_id)
            .header("public-key-sha3-384", key.public().id())
            .header("account-id", account)
            .header("name", name)
            .header("since", SINCE)
            .body(key.public().encode())
    }

    /// A brand: an account with a key for models and one for serials.
    #[must_use]
    pub fn brand(&self, id: &str) -> Brand {
        Brand { world: self.clone(), id: id.to_owned() }
    }

    /// A strictly confined app of the publisher `dev`, for every architecture.
    #[must_use]
    pub fn snap(&self, name: &str) -> Snap {
        Snap {
            world: self.clone(),
            name: name.to_owned(),
            id: snap_id(name),
            publisher: "dev".to_owned(),
            kind: "app".to_owned(),
            base: None,
            confinement: "strict".to_owned(),
            architectures: vec!["all".to_owned()],
            summary: format!("The snap {name}"),
            payload: 3000,
            yaml: String::new(),
            declaration: Map::new(),
            declaration_revision: 0,
            declaration_format: 0,
            components: Vec::new(),
        }
    }

    /// A store assertion that points devices at `url`, with the documents it depends on.
    #[must_use]
    pub fn registration(&self, store: &str, operator: &str, url: &str) -> Vec<u8> {
        let store = Builder::new(AssertionType::Store)
            .header("authority-id", &self.root_id)
            .header("store", store)
            .header("operator-id", operator)
            .header("url", url)
            .header("timestamp", TIMESTAMP);
        stream(&[self.store_key(), self.account(operator), self.sign(&store)])
    }
}

/// A brand of devices.
#[derive(Clone)]
pub struct Brand {
    world: World,
    /// Its account.
    pub id: String,
}

impl Brand {
    /// The key that signs models and validation sets.
    #[must_use]
    pub fn model_key(&self) -> Arc<SigningKey> {
        self.world.key(&format!("{}-model", self.id))
    }

    /// The key that signs serials.
    #[must_use]
    pub fn serial_key(&self) -> Arc<SigningKey> {
        self.world.key(&format!("{}-serial", self.id))
    }

    /// Account and keys: what `proxy push-account-keys` takes.
    #[must_use]
    pub fn account_keys(&self) -> Vec<u8> {
        let key = |name: &str, key: &SigningKey| self.world.sign(&self.world.account_key_of(&self.id, name, key));
        stream(&[
            self.world.store_key(),
            self.world.account(&self.id),
            key("models", &self.model_key()),
            key("serials", &self.serial_key()),
        ])
    }

    /// Starts a model for classic devices on amd64.
    #[must_use]
    pub fn model_of(&self, name: &str) -> Builder {
        Builder::new(AssertionType::Model)
            .header("authority-id", &self.id)
            .header("series", "16")
            .header("brand-id", &self.id)
            .header("model", name)
            .header("architecture", "amd64")
            .header("classic", "true")
            .header("timestamp", TIMESTAMP)
    }

    /// A model of the global store.
    #[must_use]
    pub fn model(&self, name: &str) -> Assertion {
        self.model_of(name).sign(&self.model_key())
    }

    /// A model whose devices use a brand store.
    #[must_use]
    pub fn model_in(&self, name: &str, store: &str) -> Assertion {
        self.model_of(name).header("store", store).sign(&self.model_key())
    }

    /// Starts a serial assertion for the device key of this serial.
    #[must_use]
    pub fn serial_of(&self, model: &str, serial: &str) -> Builder {
        let key = self.device_key(serial);
        Builder::new(AssertionType::Serial)
            .header("authority-id", &self.id)
            .header("brand-id", &self.id)
            .header("model", model)
            .header("serial", serial)
            .header("device-key", key.public().encode())
            .header("device-key-sha3-384", key.public().id())
            .header("timestamp", TIMESTAMP)
    }

    /// The device key behind a serial; serials with the same last character share one, since keys are slow to make.
    #[must_use]
    pub fn device_key(&self, serial: &str) -> Arc<SigningKey> {
        let last = serial.chars().last().filter(char::is_ascii_alphanumeric).unwrap_or('0');
        self.world.key(&format!("device-{last}"))
    }

    /// A device of a model.
    #[must_use]
    pub fn device(&self, model: &Assertion, serial: &str) -> Identity {
        let name = model.text("model").expect("a model has a name");
        Identity {
            serial: self.serial_of(name, serial).sign(&self.serial_key()),
            model: model.clone(),
            key: self.device_key(serial),
        }
    }

    /// A point of a validation set of this brand, signed by its model key.
    #[must_use]
    pub fn validation_set(&self, name: &str, sequence: u32, snaps: Vec<Map>) -> Assertion {
        Builder::new(AssertionType::ValidationSet)
            .header("authority-id", &self.id)
            .header("series", "16")
            .header("account-id", &self.id)
            .header("name", name)
            .header("sequence", sequence.to_string())
            .header("snaps", snaps.into_iter().map(HeaderValue::from).collect::<Vec<_>>())
            .header("timestamp", TIMESTAMP)
            .sign(&self.model_key())
    }
}

/// What makes a device itself.
#[derive(Clone)]
pub struct Identity {
    /// Its model.
    pub model: Assertion,
    /// Its serial.
    pub serial: Assertion,
    /// Its private key.
    pub key: Arc<SigningKey>,
}

impl Identity {
    /// `BRAND/MODEL/SERIAL`.
    #[must_use]
    pub fn name(&self) -> String {
        let part = |name| self.serial.text(name).expect("a serial names brand, model and serial");
        format!("{}/{}/{}", part("brand-id"), part("model"), part("serial"))
    }

    /// The store that the model names.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.model.text("store")
    }
}

/// A snap before it is packed.
#[derive(Clone)]
pub struct Snap {
    world: World,
    /// Its name.
    pub name: String,
    /// Its permanent id, made from the name.
    pub id: String,
    /// Account of its publisher.
    pub publisher: String,
    kind: String,
    base: Option<String>,
    confinement: String,
    architectures: Vec<String>,
    summary: String,
    payload: usize,
    yaml: String,
    declaration: Map,
    declaration_revision: u32,
    declaration_format: u32,
    components: Vec<(String, u32)>,
}

impl Snap {
    /// Another id.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Another publisher.
    #[must_use]
    pub fn publisher(mut self, account: &str) -> Self {
        account.clone_into(&mut self.publisher);
        self
    }

    /// Another type: `base`, `snapd`, `os`, `gadget`, `kernel`.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    /// A base.
    #[must_use]
    pub fn base(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    /// Another confinement.
    #[must_use]
    pub fn confinement(mut self, confinement: &str) -> Self {
        confinement.clone_into(&mut self.confinement);
        self
    }

    /// Other architectures.
    #[must_use]
    pub fn architectures(mut self, names: &[&str]) -> Self {
        self.architectures = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Another summary.
    #[must_use]
    pub fn summary(mut self, summary: &str) -> Self {
        summary.clone_into(&mut self.summary);
        self
    }

    /// Bytes of payload that do not compress.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// More lines of `meta/snap.yaml`.
    #[must_use]
    pub fn yaml(mut self, lines: &str) -> Self {
        self.yaml = lines.to_owned();
        self
    }

    /// One more header of the declaration.
    #[must_use]
    pub fn declared(mut self, name: &str, value: impl Into<HeaderValue>) -> Self {
        self.declaration.insert(name.to_owned(), value.into());
        self
    }

    /// Revision and format of the declaration.
    #[must_use]
    pub fn declaration_at(mut self, revision: u32, format: u32) -> Self {
        self.declaration_revision = revision;
        self.declaration_format = format;
        self
    }

    /// A component of every revision, with its own revision.
    #[must_use]
    pub fn component(mut self, name: &str, revision: u32) -> Self {
        self.components.push((name.to_owned(), revision));
        self
    }

    /// The snap's declaration.
    #[must_use]
    pub fn declaration(&self) -> Assertion {
        let mut document = Builder::new(AssertionType::SnapDeclaration)
            .header("authority-id", &self.world.root_id)
            .header("series", "16")
            .header("snap-id", &self.id)
            .header("snap-name", &self.name)
            .header("publisher-id", &self.publisher)
            .header("timestamp", TIMESTAMP)
            .revision(self.declaration_revision)
            .format(self.declaration_format);
        for (name, value) in &self.declaration {
            document = document.header(name, value.clone());
        }
        self.world.sign(&document)
    }

    /// A revision whose version is its number.
    #[must_use]
    pub fn revision(&self, number: u32) -> Revision {
        self.versioned(number, &number.to_string())
    }

    /// A revision.
    #[must_use]
    pub fn versioned(&self, number: u32, version: &str) -> Revision {
        let yaml = self.snap_yaml(version);
        let payload = noise(&format!("{} {number}", self.name), self.payload);
        let script = format!("#!/bin/sh\necho {} {version}\n", self.name);
        let mut files: Vec<(&str, &[u8])> = vec![("meta/snap.yaml", yaml.as_bytes()), ("payload", &payload)];
        if self.kind == "app" {
            files.push(("bin/run", script.as_bytes()));
        }
        self.with_image(number, version, Image::pack(&files))
    }

    /// A revision whose file is given.
    #[must_use]
    pub fn with_image(&self, number: u32, version: &str, image: Image) -> Revision {
        let components = self.components.iter().map(|(name, revision)| self.pack_component(name, *revision)).collect();
        Revision {
            yaml: self.snap_yaml(version),
            snap: self.clone(),
            number,
            version: version.to_owned(),
            image,
            components,
        }
    }

    fn snap_yaml(&self, version: &str) -> String {
        let mut yaml = format!(
            "name: {}\nversion: \"{version}\"\nsummary: {}\ndescription: A snap made for testing.\nlicense: MIT\n\
             confinement: {}\ngrade: stable\narchitectures: [{}]\n",
            self.name,
            self.summary,
            self.confinement,
            self.architectures.join(", ")
        );
        if self.kind != "app" {
            yaml.push_str(&format!("type: {}\n", self.kind));
        }
        if let Some(base) = &self.base {
            yaml.push_str(&format!("base: {base}\n"));
        }
        if self.kind == "app" {
            yaml.push_str(&format!("apps:\n  {}:\n    command: bin/run\n", self.name));
        }
        if !self.components.is_empty() {
            yaml.push_str("components:\n");
            for (name, _) in &self.components {
                yaml.push_str(&format!("  {name}:\n    type: standard\n    summary: The component {name}\n"));
            }
        }
        yaml + &self.yaml
    }

    fn pack_component(&self, name: &str, revision: u32) -> Component {
        let yaml = format!("component: {}+{name}\ntype: standard\nversion: \"{revision}\"\nsummary: {name}\n", self.name);
        let payload = noise(&format!("{}+{name} {revision}", self.name), 2000);
        Component {
            name: name.to_owned(),
            revision,
            image: Image::pack(&[("meta/component.yaml", yaml.as_bytes()), ("payload", &payload)]),
        }
    }
}

/// A packed component.
#[derive(Clone)]
pub struct Component {
    /// Its name, without the snap's.
    pub name: String,
    /// Its own revision.
    pub revision: u32,
    /// The file.
    pub image: Image,
}

/// A packed revision of a snap.
#[derive(Clone)]
pub struct Revision {
    /// Of which snap.
    pub snap: Snap,
    /// The store's number for it.
    pub number: u32,
    /// The publisher's name for it.
    pub version: String,
    /// The file.
    pub image: Image,
    /// Its `meta/snap.yaml`.
    pub yaml: String,
    /// Its components.
    pub components: Vec<Component>,
}

impl Revision {
    /// `NAME_REVISION`.
    #[must_use]
    pub fn stem(&self) -> String {
        format!("{}_{}", self.snap.name, self.number)
    }

    /// Starts the snap-revision assertion.
    #[must_use]
    pub fn document(&self) -> Builder {
        Builder::new(AssertionType::SnapRevision)
            .header("authority-id", &self.snap.world.root_id)
            .header("snap-sha3-384", self.image.digest.to_base64url())
            .header("snap-id", &self.snap.id)
            .header("snap-size", self.image.bytes.len().to_string())
            .header("snap-revision", self.number.to_string())
            .header("developer-id", &self.snap.publisher)
            .header("timestamp", TIMESTAMP)
    }

    /// The snap-revision assertion.
    #[must_use]
    pub fn assertion(&self) -> Assertion {
        self.snap.world.sign(&self.document())
    }

    /// Everything a device needs to believe this revision, prerequisites first.
    #[must_use]
    pub fn assertions(&self) -> Vec<Assertion> {
        let world = &self.snap.world;
        let mut all = vec![
            world.store_key(),
            world.account(&self.snap.publisher),
            self.snap.declaration(),
            self.assertion(),
        ];
        for component in &self.components {
            let about = |kind| {
                Builder::new(kind)
                    .header("authority-id", &world.root_id)
                    .header("snap-id", &self.snap.id)
                    .header("resource-name", &component.name)
                    .header("resource-revision", component.revision.to_string())
                    .header("developer-id", &self.snap.publisher)
                    .header("timestamp", TIMESTAMP)
            };
            let revision = about(AssertionType::SnapResourceRevision)
                .header("resource-sha3-384", component.image.digest.to_base64url())
                .header("resource-size", component.image.bytes.len().to_string());
            let pair =
                about(AssertionType::SnapResourcePair).header("snap-revision", self.number.to_string());
            all.extend([world.sign(&revision), world.sign(&pair)]);
        }
        all
    }

    /// The content of the `.assert` file beside the snap.
    #[must_use]
    pub fn stream(&self) -> Vec<u8> {
        stream(&self.assertions())
    }
}

/// Assertions one after another, as files hold them.
#[must_use]
pub fn stream(assertions: &[Assertion]) -> Vec<u8> {
    let texts: Vec<&[u8]> = assertions.iter().map(Assertion::bytes).collect();
    texts.join(&b'\n')
}

/// A map header.
#[must_use]
pub fn map(entries: &[(&str, &str)]) -> Map {
    entries.iter().map(|&(name, value)| (name.to_owned(), HeaderValue::from(value))).collect()
}

/// 32 letters and digits made from a name.
fn snap_id(name: &str) -> String {
    let text = Sha3_384::of(format!("snap {name}").as_bytes()).to_base64url();
    text.chars().filter(char::is_ascii_alphanumeric).chain("0".repeat(32).chars()).take(32).collect()
}

fn capitalised(id: &str) -> String {
    let mut letters = id.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
