//! Registration files: an assertion stream, an offline archive, or a registration bundle.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use schema::assertion::{Assertion, Details, Store};
use schema::config::Settings;
use schema::looks;
use serde::Deserialize;
use url::Url;

use crate::documents::read_limited;
use crate::kinds::{self, Kind};
use crate::output::note;

/// Larger than any registration, in bytes.
const MAX_REGISTRATION: u64 = 4 << 20;

/// The most bytes an archive may unpack to: it also contains a few snaps.
const MAX_UNPACKED: u64 = 16 << 30;

/// The most members an archive may have.
const MAX_MEMBERS: usize = 10_000;

/// Archive members with a registration, best first.
const MEMBERS: [&str; 3] = ["registration_bundle.b64", "proxy.assert", "store.assert"];

/// A registration made elsewhere.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The store assertion with its prerequisites.
    pub(crate) stream: Vec<u8>,
    /// The store assertion's contents.
    store: Store,
    /// The registered identity key, if included.
    pub(crate) identity: Option<Identity>,
}

/// An identity key pair in PEM.
#[derive(PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) private: String,
    pub(crate) public: String,
}

/// The private half stays out of debug output.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Bundle {
    private_key: String,
    public_key: String,
    store_id: String,
    store_assertion: String,
}

/// What may hold a registration; whether it does is told by its contents.
const KINDS: [Kind; 6] =
    [Kind::Registration, Kind::Store, Kind::Bundle, Kind::LooseBundle, Kind::AccountKeys, Kind::Assertions];

impl Registration {
    /// Reads any of the three forms.
    ///
    /// # Errors
    /// The file cannot be read, has none of the forms, or is too large when unpacked.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        kinds::expect(path, &KINDS)?;
        let what = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(what)?;
        let mut start = Vec::new();
        file.by_ref().take(512).read_to_end(&mut start).with_context(what)?;
        let is_gzip = start.starts_with(&[0x1f, 0x8b]);
        let is_tar = start.get(257..262) == Some(b"ustar");
        let whole = Cursor::new(start).chain(file);
        let document = match (is_gzip, is_tar) {
            (true, _) => member(MultiGzDecoder::new(whole)),
            (_, true) => member(whole),
            _ => read_limited(whole, MAX_REGISTRATION).map_err(Into::into),
        };
        Self::from_document(document.with_context(what)?).with_context(what)
    }

    fn from_document(document: Vec<u8>) -> anyhow::Result<Self> {
        if document.trim_ascii_start().starts_with(b"type:") {
            return Ok(Self { store: store_of(&document)?, stream: document, identity: None });
        }
        let unknown = match looks::like(&document) {
            Some(what) => format!("it is not a registration: it is {what}"),
            None => "it is no store assertion, no offline-snap-store.tar.gz and no registration_bundle.b64"
                .to_owned(),
        };
        let compact: Vec<u8> = document.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let json = STANDARD.decode(compact).ok().with_context(|| unknown.clone())?;
        // The parser's message could quote the private key.
        let bundle: Bundle = serde_json::from_slice(&json).ok().context(unknown)?;
        let stream = bundle.store_assertion.into_bytes();
        let store = store_of(&stream)?;
        let id = bundle.store_id;
        ensure!(store.store == id, "its store assertion is of {:?}, not of its store {id:?}", store.store);
        let identity = Identity { private: bundle.private_key, public: bundle.public_key };
        Ok(Self { stream, store, identity: Some(identity) })
    }

    /// A mismatch between the assertion's URL and the configuration, as a sentence.
    pub(crate) fn misfit(&self, settings: &Settings, program: &str) -> Option<String> {
        let own = settings.base_url();
        let Some(url) = &self.store.url else {
            return Some("the store assertion names no URL: devices cannot use it for proxy.store".into());
        };
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
        if origin(url).is_some_and(|registered| Some(registered) == origin(&own)) {
            return None;
        }
        Some(format!(
            "the store assertion sends devices to {url}, this store is {own}: \
             compare `{program} config proxy.public-url proxy.domain proxy.port.http proxy.port.https proxy.tls.cert`"
        ))
    }
}

/// The contents of a stream's only store assertion.
fn store_of(stream: &[u8]) -> anyhow::Result<Store> {
    let assertions = Assertion::decode_stream(stream)?;
    let mut stores = assertions.iter().filter_map(|assertion| match assertion.details() {
        Details::Store(store) => Some(store),
        _ => None,
    });
    match (stores.next(), stores.next()) {
        (Some(store), None) => Ok(store.clone()),
        (None, _) => bail!("it holds assertions, but no store assertion"),
        _ => bail!("it holds more than one store assertion"),
    }
}

fn passed_over(name: &str, better: &str) {
    note(format!("{name} is ignored: {better} brings the registration"));
}

/// The best member with a registration.
fn member(archive: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(archive.take(MAX_UNPACKED));
    let mut best: Option<(usize, Vec<u8>)> = None;
    // Raw mode: the names we look for are short, and no long name is held in memory.
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        ensure!(count < MAX_MEMBERS, "it has more than {MAX_MEMBERS} members");
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let Some(rank) = MEMBERS.iter().position(|name| path.file_name().is_some_and(|file| file == *name))
        else {
            continue;
        };
        match &best {
            Some((held, document)) if rank == *held => {
                let same = read_limited(entry, MAX_REGISTRATION)? == *document;
                ensure!(
                    same,
                    "it holds two different files called {}: leave only the one to be used",
                    MEMBERS[rank]
                );
            }
            Some((held, _)) if rank > *held => passed_over(MEMBERS[rank], MEMBERS[*held]),
            _ => {
                best.iter().for_each(|(held, _)| passed_over(MEMBERS[*held], MEMBERS[rank]));
                best = Some((rank, read_limited(entry, MAX_REGISTRATION)?));
            }
        }
    }
    let (_, document) = best.with_context(|| format!("it holds none of {}", MEMBERS.join(", ")))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::fs;
    use std::io::Write as _;

    const STREAM: &str = include_str!("../../tests/fixtures/assertions/store/acme-edge-store.store.assert");
    const OTHER: &str = include_str!("../../tests/fixtures/assertions/chain/brand.account.assert");

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bundle(store_id: &str) -> Vec<u8> {
        let json = serde_json::json!({"domain": "snaps.internal", "private_key": "marker", "public_key": "pub",
            "store_id": store_id, "store_assertion": STREAM});
        STANDARD.encode(json.to_string()).into_bytes()
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Registration> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        Registration::read(file.path())
    }

    #[test]
    fn all_forms_bring_the_same_stream() {
        let tar = archive(&[
            ("offline-snap-store/core22_1.snap", &[0; 5000]),
            ("offline-snap-store/core22_1.assert", b"type: account\n"),
            ("offline-snap-store/proxy.assert", STREAM.as_bytes()),
        ]);
        let wrapped: String = String::from_utf8(bundle("acme-edge-store")).unwrap().replace('a', "a\n");
        let with_bundle =
            archive(&[("o/proxy.assert", b"x"), ("o/registration_bundle.b64", &bundle("acme-edge-store"))]);
        for (form, has_key) in [
            (STREAM.as_bytes().to_vec(), false),
            (gzip(&tar), false),
            (tar, false),
            (bundle("acme-edge-store"), true),
            (wrapped.into_bytes(), true),
            (gzip(&with_bundle), true),
        ] {
            let registration = read(&form).unwrap();
            assert_eq!(registration.stream, STREAM.as_bytes());
            assert_eq!(registration.identity.is_some(), has_key);
            assert!(!format!("{registration:?}").contains("marker"));
        }
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        let huge = vec![b' '; 5 << 20];
        for (bytes, wanted) in [
            (&b""[..], "it is empty"),
            (OTHER.as_bytes(), "no store assertion"),
            (format!("{STREAM}\n{STREAM}").as_bytes(), "more than one store assertion"),
            (b"type: store\n", "cannot read"),
            (&bundle("Other"), "not of its store"),
            (&gzip(&archive(&[("a/b.assert", b"x")])), "holds none of"),
            (&gzip(&archive(&[("proxy.assert", &huge)])), "more than 4 MiB"),
            (
                &archive(&[("a/store.assert", STREAM.as_bytes()), ("b/store.assert", b"x")]),
                "two different files called store.assert",
            ),
            (&huge, "more than 4 MiB"),
            (&gzip(b"not a tar"), "cannot read"),
            (b"\xff\xfe", "UTF-16 text"),
        ] {
            let error = format!("{:#}", read(bytes).unwrap_err());
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }

    #[test]
    fn a_url_that_does_not_fit_is_pointed_out() {
        let mut registration = read(STREAM.as_bytes()).unwrap();
        let mut settings = Settings::default();
        settings.set("proxy.domain", "snaps.acme.internal").unwrap();
        settings.set("proxy.port.https", "8443").unwrap();
        let text = registration.misfit(&settings, "proxy").unwrap();
        let wanted = "https://snaps.acme.internal:8443/store/, this store is http://snaps.acme.internal:";
        assert!(text.contains(wanted), "{text}");
        settings.set("proxy.tls.cert", "-----BEGIN X-----\n-----END X-----\n").unwrap();
        assert_eq!(registration.misfit(&settings, "proxy"), None);
        settings.set("proxy.port.https", "443").unwrap();
        assert!(registration.misfit(&settings, "proxy").is_some());
        registration.store.url = None;
        assert!(registration.misfit(&settings, "proxy").unwrap().contains("names no URL"));
    }
}
