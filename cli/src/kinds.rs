//! What a file is, by its first bytes, and which command takes it: a file for another command is refused before it is read
//! or sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use schema::looks;
use schema::parcel::Receipt;

use crate::stdin::shown;

/// How much of a file is looked at, and how much of what it unpacks to, in bytes.
pub(crate) const START: u64 = 256 << 10;
/// What editors of some systems put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A file that some command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Snaps with their assertions and a manifest.
    Bundle,
    /// Snaps without a manifest: perhaps a whole store.
    LooseBundle,
    /// A whole store.
    StoreArchive,
    /// An archive with the assertion of a registered store.
    Registration,
    /// Archives in an archive.
    Archives,
    /// The metadata of a brand store.
    Metadata,
    /// Assertions that begin with an account key.
    AccountKeys,
    /// A store assertion, alone or before others.
    Store,
    /// Other assertions.
    Assertions,
    /// A snap or a component.
    Snap,
    /// Certificates, perhaps with a key.
    Certificates,
    /// A private key.
    PrivateKey,
    /// Something that age sealed.
    Sealed,
    /// What `snap download` writes beside a snap.
    Beside,
    /// A login.
    Login,
    /// What a site holds.
    Receipt,
    /// The manifest of a parcel.
    Parcel,
    /// The line of a sender.
    Sender,
}

impl Kind {
    /// What it is, and how to type the command that takes it; `FILE` stands for its name.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Bundle | Self::LooseBundle => ("a bundle of snaps", "`proxy push-snap FILE` takes it"),
            Self::StoreArchive => ("the archive of a whole store", "`proxy push-store FILE` takes it"),
            Self::Registration => ("the registration of a store", "`proxy register --import FILE` takes it"),
            Self::Archives => (
                "an archive of archives",
                "unpack it with `tar xf FILE`, and push what is in it with `proxy push-snap`",
            ),
            Self::Metadata => {
                ("the metadata of a brand store", "`proxy push-brand-store-metadata FILE` takes it")
            }
            Self::AccountKeys => ("a text of account keys", "`proxy push-account-keys FILE` takes it"),
            Self::Beside => (
                "what belongs beside a snap",
                "leave it there, and `proxy push-snap NAME_REVISION.snap --channel CHANNEL` takes both",
            ),
            Self::Store => ("a store assertion", "`proxy register --import FILE` takes it"),
            Self::Assertions => ("a text of assertions", "`proxy push-assertions FILE` takes it"),
            Self::Snap => (
                "a snap",
                "call it NAME_REVISION.snap, put its .assert beside it, and `proxy push-snap NAME_REVISION.snap \
                 --channel CHANNEL` takes it",
            ),
            Self::Certificates => (
                "a certificate",
                "`proxy import-certificate FILE KEY` takes it, or `proxy use-ca-certs FILE` an authority",
            ),
            Self::PrivateKey => ("a private key", "`proxy import-certificate CERTIFICATE FILE` takes it"),
            Self::Sealed => (
                "sealed with age, as backups and carried files are",
                "`proxy restore FILE` takes a backup, and `age --decrypt -i IDENTITY FILE` opens the rest",
            ),
            Self::Receipt => (
                "the receipt of a site",
                "`proxy fetch-store STORE --for FILE` takes it on the connected side",
            ),
            Self::Parcel => ("the manifest of a parcel", "`proxy push-parcel FILE` takes it"),
            Self::Sender => ("the line of a sender of parcels", "`proxy trust add-sender FILE` takes it"),
            Self::Login => ("a login", "`--auth FILE` of the `proxy fetch-…` commands takes it"),
        }
    }
}

impl Kind {
    /// Whether its reader takes the text from its first byte.
    fn is_text(self) -> bool {
        matches!(
            self,
            Self::AccountKeys | Self::Store | Self::Assertions | Self::Beside | Self::Metadata | Self::Login
        )
    }
}

/// The kind of a file, if its first bytes leave no doubt.
pub(crate) fn of_file(path: &Path) -> anyhow::Result<Option<Kind>> {
    let shown = || format!("cannot read {}", path.display());
    let mut start = Vec::new();
    File::open(path).with_context(shown)?.take(START).read_to_end(&mut start).with_context(shown)?;
    Ok(of(&start))
}

/// Whether a file is a bundle of snaps or the archive of a store.
pub(crate) fn holds_snaps(path: &Path) -> anyhow::Result<bool> {
    Ok(matches!(of_file(path)?, Some(Kind::Bundle | Kind::LooseBundle | Kind::StoreArchive)))
}

/// Refuses a file that is surely of another kind than those wanted. One that cannot be opened is left to its reader.
pub(crate) fn expect(path: &Path, wanted: &[Kind]) -> anyhow::Result<()> {
    let mut start = Vec::new();
    // To open a pipe is to wait for who writes to it.
    if !path.metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(());
    }
    match File::open(path) {
        Ok(file) => {
            let read = file.take(START).read_to_end(&mut start);
            read.with_context(|| format!("cannot read {}", path.display()))?;
        }
        Err(_) => return Ok(()),
    }
    expect_start(path, &start, wanted)
}

fn holds_something(text: &[u8]) -> bool {
    !text.trim_ascii().is_empty()
}

/// Like [`expect`], for bytes that were read already.
pub(crate) fn expect_start(path: &Path, start: &[u8], wanted: &[Kind]) -> anyhow::Result<()> {
    // Standard input has a name, and is typed in another way.
    let (shown, typed) = (&*shown(path), &*path.to_string_lossy());
    let marked = || {
        anyhow::bail!(
            "{shown} begins with a byte order mark: remove it with `sed -i '1s/^\\xef\\xbb\\xbf//' {typed}`"
        )
    };
    match of(start) {
        Some(kind) if start.starts_with(MARK) && kind.is_text() => marked(),
        None if start.strip_prefix(MARK).is_some_and(holds_something) && wanted == [Kind::Metadata] => {
            marked()
        }
        // It is a text of assertions, too.
        Some(Kind::Beside) if wanted.contains(&Kind::Assertions) => Ok(()),
        Some(kind) if !wanted.contains(&kind) => {
            let (what, way) = kind.told();
            anyhow::bail!("{shown} is {what}: {}", way.replace("FILE", typed))
        }
        // What no command takes has its own remedy; an archive is looked into by its reader.
        None if is_foreign(start) => match looks::like(start) {
            Some(what) => anyhow::bail!("{shown} is {what}"),
            None => Ok(()),
        },
        None => match not_the_text(start, wanted) {
            Some(text) => anyhow::bail!("{shown} is {}", text.replace("FILE", typed)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What is wrong with a file of no known kind, where PEM text says what it is or one form of text is wanted.
fn not_the_text(start: &[u8], wanted: &[Kind]) -> Option<String> {
    const TEXTS: [Kind; 3] = [Kind::AccountKeys, Kind::Store, Kind::Assertions];
    let text = start.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let label = label_of(text);
    let special = match label.as_deref() {
        Some(label) if label.ends_with("CERTIFICATE REQUEST") => {
            Some("a certificate request: `proxy ca issue-client NAME --csr FILE` signs it")
        }
        Some("PKCS7") => {
            Some("certificates as PKCS#7: convert them with `openssl pkcs7 -print_certs -in FILE`")
        }
        Some(label) if label.ends_with("PUBLIC KEY") => Some("a public key, which no command takes alone"),
        _ => None,
    };
    // The commands for certificates know more of them.
    if let Some(special) = special.filter(|_| !wanted.contains(&Kind::Certificates)) {
        return Some(special.to_owned());
    }
    let it_is = looks::like(start).map(|what| format!(": it is {what}")).unwrap_or_default();
    if !wanted.is_empty() && wanted.iter().all(|kind| TEXTS.contains(kind)) {
        return Some(format!("no text of assertions, whose first line begins with `type:`{it_is}"));
    }
    (wanted == [Kind::Metadata] && !text.starts_with(b"{"))
        .then(|| format!("no brand store metadata, which is an object of JSON{it_is}"))
}

/// Whether the bytes begin like something that this program never takes.
fn is_foreign(start: &[u8]) -> bool {
    let words = [
        "a web page",
        "UTF-16",
        "a ZIP",
        "compressed with xz",
        "compressed with zstd",
        "compressed with bzip2",
    ];
    let more = ["a 7z", "a RAR", "what macOS", "a pointer of Git", "a database", "a program"];
    looks::like(start).is_some_and(|what| words.iter().chain(&more).any(|word| what.starts_with(word)))
}

/// The kind of what begins with these bytes, if they leave no doubt.
pub(crate) fn of(start: &[u8]) -> Option<Kind> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    if start.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        // The start of a gzip stream ends early, and what was unpacked until then counts.
        let _ = MultiGzDecoder::new(start).take(START).read_to_end(&mut unpacked);
        return of_tar(&unpacked);
    }
    if start.get(257..262) == Some(b"ustar") {
        return of_tar(start);
    }
    match text {
        _ if Receipt::begins(start) => Some(Kind::Receipt),
        _ if start.starts_with(b"airlock-parcel\n") => Some(Kind::Parcel),
        _ if start.starts_with(b"airlock-sender ") => Some(Kind::Sender),
        _ if start.starts_with(b"hsqs") => Some(Kind::Snap),
        _ if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE") => {
            Some(Kind::Sealed)
        }
        _ if text.starts_with(b"type:") => Some(of_assertions(text)),
        _ if text.starts_with(b"[login.ubuntu.com]") => Some(Kind::Login),
        [b'{', ..] if has_member(text, "stores") => Some(Kind::Metadata),
        [b'{', ..] if has_member(text, "macaroons") || has_member(text, "r") => Some(Kind::Login),
        _ => of_pem(text),
    }
}

fn of_assertions(text: &[u8]) -> Kind {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let types: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"type: ")).collect();
    match line.strip_prefix(b"type:").unwrap_or_default().trim_ascii() {
        _ if types.contains(&&b"store"[..]) => Kind::Store,
        _ if types.contains(&&b"snap-revision"[..]) => Kind::Beside,
        b"account-key" => Kind::AccountKeys,
        b"account" if types.contains(&&b"account-key"[..]) => Kind::AccountKeys,
        _ => Kind::Assertions,
    }
}

/// Whether an object of JSON has this member near its beginning and on its first level, as far as can be told.
fn has_member(text: &[u8], name: &str) -> bool {
    let text = String::from_utf8_lossy(&text[..text.len().min(64 << 10)]);
    let name = format!("\"{name}\"");
    text.match_indices(&name).any(|(at, _)| {
        let before = &text[..at];
        let depth = before.matches(['{', '[']).count() as i64 - before.matches(['}', ']']).count() as i64;
        depth == 1 && text[at + name.len()..].trim_start().starts_with(':')
    })
}

/// The label of the first block of PEM text that begins with it.
fn label_of(text: &[u8]) -> Option<String> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let line = str::from_utf8(line).ok()?.trim();
    Some(line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?.to_owned())
}

fn of_pem(text: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(&text[..text.len().min(64 << 10)]);
    let mut labels =
        text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let mut first = None;
    for label in labels.by_ref() {
        if label.contains("CERTIFICATE") && !label.contains("REQUEST") {
            return Some(Kind::Certificates);
        }
        first = first.or(Some(label));
    }
    first.filter(|label| label.ends_with("PRIVATE KEY")).map(|_| Kind::PrivateKey)
}

/// The kind of an archive, by the names at its beginning.
fn of_tar(bytes: &[u8]) -> Option<Kind> {
    let mut archive = tar::Archive::new(bytes);
    let (mut names, mut manifest) = (Vec::new(), Vec::new());
    for entry in archive.entries().ok()? {
        // The last entry of the beginning is cut off.
        let Ok(mut entry) = entry else { break };
        let name = entry.path().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let is_manifest = name.ends_with("manifest.json");
        names.push(name.rsplit('/').next().unwrap_or_default().to_owned());
        if is_manifest {
            let _ = entry.by_ref().take(START).read_to_end(&mut manifest);
        }
    }
    let ends = |end: &str| names.iter().any(|name| name.ends_with(end));
    let is = |wanted: &str| names.iter().any(|name| name == wanted);
    let listed = manifest.windows(12).any(|window| window == b"\"store.json\"");
    match () {
        () if is("store.json") || listed => Some(Kind::StoreArchive),
        () if is("manifest.json") => Some(Kind::Bundle),
        () if ["registration_bundle.b64", "proxy.assert", "store.assert", "install.sh"]
            .iter()
            .any(|name| is(name)) =>
        {
            Some(Kind::Registration)
        }
        () if is("metadata.json") || ends(".snap") => Some(Kind::LooseBundle),
        () if ends(".tar.gz") || ends(".tgz") || ends(".tar") => Some(Kind::Archives),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_are_told_by_their_beginning() {
        for (start, kind) in [
            (&b"type: account-key\nauthority-id: x\n"[..], Some(Kind::AccountKeys)),
            (b"type: account\nrevision: 1\n\nsig\n\ntype: account-key\n", Some(Kind::AccountKeys)),
            (b"type: validation-set\n", Some(Kind::Assertions)),
            (b"type: account-key\n\nsig\n\ntype: snap-revision\n", Some(Kind::Beside)),
            (b"type: store\n", Some(Kind::Store)),
            (b"{\"format\": 1, \"stores\": []}", Some(Kind::Metadata)),
            (b"{\"error\": {\"stores\": 1}}", None),
            (b"{\"r\": \"x\", \"d\": \"y\"}", Some(Kind::Login)),
            (b"[login.ubuntu.com]\nmacaroon = x\n", Some(Kind::Login)),
            (b"hsqs\0\0", Some(Kind::Snap)),
            (b"airlock-receipt\n{}", Some(Kind::Receipt)),
            (b"AIRLOCK-RECEIPT 1/1 A", Some(Kind::Receipt)),
            (b"airlock-parcel\n{}", Some(Kind::Parcel)),
            (b"airlock-sender x y", Some(Kind::Sender)),
            (b"subject=x\n-----BEGIN CERTIFICATE-----\n", Some(Kind::Certificates)),
            (b"-----BEGIN EC PRIVATE KEY-----\n", Some(Kind::PrivateKey)),
            (
                b"-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n",
                Some(Kind::Certificates),
            ),
            (b"age-encryption.org/v1\n", Some(Kind::Sealed)),
            (b"hello", None),
            (b"", None),
        ] {
            assert_eq!(of(start), kind, "{}", String::from_utf8_lossy(start));
        }
        for (names, kind) in [
            (&["manifest.json", "hello_1.snap"][..], Some(Kind::Bundle)),
            (&["snaps/hello_1.snap"], Some(Kind::LooseBundle)),
            (&["manifest.json", "store.json"], Some(Kind::StoreArchive)),
            (&["offline-snap-store/install.sh"], Some(Kind::Registration)),
            (&["a.tar.gz", "b.tar.gz"], Some(Kind::Archives)),
            (&["readme"], None),
        ] {
            let tar = archive(names);
            assert_eq!(of(&tar), kind, "{names:?}");
            assert_eq!(of(&gzip(&tar)), kind, "{names:?}, compressed");
            // The beginning of a large file.
            assert_eq!(of(&gzip(&tar)[..gzip(&tar).len() - 8]), kind, "{names:?}, cut off");
        }
    }

    #[test]
    fn a_refusal_names_the_command_that_takes_the_file() {
        let refused = |start: &[u8], wanted: &[Kind]| {
            expect_start("x.file".as_ref(), start, wanted).unwrap_err().to_string()
        };
        let keys = &[Kind::AccountKeys];
        let told = refused(b"{\"stores\": []}", keys);
        assert_eq!(
            told,
            "x.file is the metadata of a brand store: `proxy push-brand-store-metadata x.file` takes it"
        );
        let piped = expect_start("-".as_ref(), b"{\"stores\": []}", keys).unwrap_err().to_string();
        assert!(
            piped.starts_with("standard input is") && piped.contains("push-brand-store-metadata -`"),
            "{piped}"
        );
        assert!(refused(b"<!DOCTYPE html><title>Log in</title>", keys).contains("a web page"));
        assert!(refused(b"\xff\xfet\0y\0p\0e\0", keys).contains("iconv"));
        assert!(expect_start("x".as_ref(), b"type: account-key\n", keys).is_ok());
        for (start, told) in [
            (&b"something else"[..], "no text of assertions"),
            (b"[]", "it is JSON text"),
            (b"-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n", "a public key"),
            (b"-----BEGIN CERTIFICATE REQUEST-----\nAA\n", "--csr x.file"),
            (b"-----BEGIN PKCS7-----\nAA\n", "-print_certs -in x.file"),
            (b"\xef\xbb\xbftype: account-key\n", "byte order mark"),
        ] {
            assert!(refused(start, keys).contains(told), "{}", refused(start, keys));
        }
        assert!(refused(b"[]", &[Kind::Metadata]).contains("an object of JSON"));
        assert!(expect_start("x".as_ref(), b" \n", keys).is_ok(), "its reader says that it is empty");
        assert!(expect_start("x".as_ref(), b"something else", &[Kind::Bundle]).is_ok());
    }
}
