//! Snaps: their files, components and documents.

use schema::assertion::{Assertion, AssertionType, Builder, HeaderValue, Map};
use schema::digest::Sha3_384;

use super::{TIMESTAMP, World, stream};
use crate::snap::{Image, noise};

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
    pub(super) fn new(world: &World, name: &str) -> Self {
        Self {
            world: world.clone(),
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
        let components =
            self.components.iter().map(|(name, revision)| self.pack_component(name, *revision)).collect();
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
        let yaml = format!(
            "component: {}+{name}\ntype: standard\nversion: \"{revision}\"\nsummary: {name}\n",
            self.name
        );
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

/// 32 letters and digits made from a name.
fn snap_id(name: &str) -> String {
    let text = Sha3_384::of(format!("snap {name}").as_bytes()).to_base64url();
    text.chars().filter(char::is_ascii_alphanumeric).chain("0".repeat(32).chars()).take(32).collect()
}
