//! The test vectors as tests use them: the manifest, its files and keys, and the world in which they were judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use time::OffsetDateTime;

use super::*;

/// Accepted by the reference client, refused here: nested far beyond our limit of 32.
pub(super) const TOO_DEEP: [&str; 1] = ["wellformed/deep-nesting.assert"];

#[derive(Deserialize)]
pub(super) struct Manifest {
    pub(super) evaluation_time: String,
    pub(super) trusted: Vec<String>,
    pub(super) predefined: Vec<String>,
    pub(super) database: Vec<String>,
    pub(super) max_formats: BTreeMap<String, u32>,
    pub(super) keys: Vec<Key>,
    pub(super) session_triples: Vec<Triple>,
    pub(super) snap_files: Vec<SnapFile>,
    pub(super) assertions: Vec<Entry>,
    pub(super) supersedes: Vec<Supersedes>,
    pub(super) public_production: World,
    pub(super) snapd_testkeys: World,
}

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) file: String,
    pub(super) bits: usize,
    pub(super) key_id: String,
    pub(super) encoded_public_key: String,
}

#[derive(Deserialize)]
pub(super) struct SnapFile {
    pub(super) file: String,
    pub(super) sha3_384: String,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) db_check: String,
    pub(super) rejected_at: Option<String>,
    pub(super) stream_count: Option<usize>,
    pub(super) r#type: Option<String>,
    pub(super) primary_key: Option<Vec<String>>,
    pub(super) authority_id: Option<String>,
    pub(super) revision: u32,
    pub(super) format: u32,
    pub(super) body_length: usize,
    pub(super) sign_key_id: Option<String>,
    pub(super) sign_key_file: Option<String>,
    pub(super) public_key_id: Option<String>,
    pub(super) device_key_id: Option<String>,
    pub(super) content_sha3_384: Option<String>,
}

impl Entry {
    pub(super) fn is_stream(&self) -> bool {
        self.file.ends_with(".stream.assert")
    }

    pub(super) fn decodes(&self) -> bool {
        self.rejected_at.as_deref() != Some("decode") && !TOO_DEEP.contains(&self.file.as_str())
    }
}

#[derive(Deserialize)]
pub(super) struct Triple {
    pub(super) request: String,
    pub(super) serial: String,
    pub(super) failing_check: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Supersedes {
    pub(super) newer: String,
    pub(super) older: String,
    pub(super) why: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct World {
    pub(super) trusted: Vec<String>,
    pub(super) files: Vec<WorldFile>,
}

#[derive(Deserialize)]
pub(super) struct WorldFile {
    pub(super) file: String,
    pub(super) r#type: String,
    pub(super) primary_key: Vec<String>,
    pub(super) revision: u32,
    pub(super) sign_key_id: String,
    pub(super) public_key_id: Option<String>,
}

pub(super) fn read(file: &str) -> Vec<u8> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/assertions"));
    fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub(super) fn manifest() -> Manifest {
    serde_json::from_slice(&read("manifest.json")).expect("the manifest has the documented form")
}

pub(super) fn decode(file: &str) -> Assertion {
    Assertion::decode(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}: {:?}", error.reason))
}

/// All assertion files, streams included.
pub(super) fn files() -> Vec<String> {
    manifest().assertions.into_iter().map(|entry| entry.file).collect()
}

pub(super) fn signing_key(file: &str) -> SigningKey {
    let pem = String::from_utf8(read(file)).expect("a PEM file is text");
    SigningKey::from_pkcs8_pem(&pem).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The anchors and the database that the verdicts were obtained with.
pub(super) fn world() -> (Anchors, Known) {
    let manifest = manifest();
    (anchors(&manifest), Known::of(decode_all(&manifest.database)))
}

pub(super) fn decode_all(files: &[String]) -> Vec<Assertion> {
    files.iter().map(|file| decode(file)).collect()
}

/// What a test holds as already verified.
#[derive(Default)]
pub(super) struct Known(pub(super) BTreeMap<Ref, Arc<Assertion>>);

impl Known {
    pub(super) fn of(assertions: Vec<Assertion>) -> Self {
        Self(assertions.into_iter().map(|assertion| (assertion.reference(), Arc::new(assertion))).collect())
    }

    pub(super) fn add(&mut self, verified: &[Verified]) {
        for assertion in verified {
            self.0.insert(assertion.reference(), Arc::clone(assertion.assertion()));
        }
    }
}

impl AssertionSource for Known {
    fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
        self.0.get(reference).cloned()
    }

    fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
        let theirs = |assertion: &&Arc<Assertion>| {
            assertion.kind() == AssertionType::AccountKey && assertion.text("account-id") == Some(account_id)
        };
        self.0.values().filter(theirs).cloned().collect()
    }
}

pub(super) fn anchors(manifest: &Manifest) -> Anchors {
    Anchors::none()
        .with(decode_all(&manifest.trusted))
        .and_then(|anchors| anchors.with_predefined(decode_all(&manifest.predefined)))
        .expect("the trusted files are roots")
}

pub(super) fn evaluation_time(manifest: &Manifest) -> OffsetDateTime {
    scalars::date(&manifest.evaluation_time).expect("the evaluation time is a date")
}

/// Signers, by the name of their key file.
pub(super) const STORE: (&str, &str) = ("vector-authority", "keys/store.pem");
pub(super) const BRAND: (&str, &str) = ("acme-corp", "keys/brand-serial.pem");

pub(super) const WHEN: &str = "2024-06-01T00:00:00Z";

pub(super) fn sign(builder: Builder, (authority, key): (&str, &str)) -> Assertion {
    builder.header("authority-id", authority).sign(&signing_key(key))
}

pub(super) fn account(id: &str) -> Builder {
    Builder::new(AssertionType::Account)
        .header("account-id", id)
        .header("display-name", "Somebody")
        .header("validation", "unproven")
        .header("timestamp", WHEN)
}

pub(super) fn account_key(id: &str, name: &str, key: &PublicKey) -> Builder {
    Builder::new(AssertionType::AccountKey)
        .header("account-id", id)
        .header("name", name)
        .header("public-key-sha3-384", key.id())
        .header("since", "2020-01-01T00:00:00Z")
        .body(key.encode())
}

pub(super) fn serial(number: &str) -> Builder {
    let key = signing_key("keys/device-x-2048.pem");
    Builder::new(AssertionType::Serial)
        .header("brand-id", "acme-corp")
        .header("model", "edge-gw")
        .header("serial", number)
        .header("device-key", key.public().encode())
        .header("device-key-sha3-384", key.public().id())
        .header("timestamp", WHEN)
}

pub(super) fn stage(result: Result<Verified, CheckError>) -> Option<Stage> {
    result.err().map(|error| error.stage())
}

/// A key without a private half.
pub(super) fn dummy_key(number: u32) -> PublicKey {
    let mut modulus = vec![0xFF; 256];
    modulus[..4].copy_from_slice(&(number | 1 << 31).to_be_bytes());
    PublicKey::from_numbers(&modulus, &[1, 0, 1])
}

/// An assertion with a well-formed but wrong signature.
pub(super) fn forge(builder: Builder, authority: &str, sign_key_id: &str) -> Assertion {
    let mut text = builder.header("authority-id", authority).content(sign_key_id);
    text.extend(b"\n\nAAAA\n");
    Assertion::decode(&text).expect("only the signature is wrong")
}

/// A revision of the snap whose declaration lets the brand sign revisions 2 to 50 of `acme-builds`.
pub(super) fn delegated(revision: u32) -> Builder {
    Builder::new(AssertionType::SnapRevision)
        .header("snap-sha3-384", crate::digest::Sha3_384::of(b"").to_base64url())
        .header("provenance", "acme-builds")
        .header("snap-id", "DelegatedSnapId00000000000000006")
        .header("snap-size", "1")
        .header("snap-revision", revision.to_string())
        .header("developer-id", "acme-corp")
        .header("timestamp", WHEN)
}
