//! The initial corpus: signed assertions, recorded requests, archives of each form, and credentials of this store.
//!
//! ```text
//! cargo nextest run -p tests fuzz::seeds --run-ignored only     writes them to target/fuzz/found
//! tests/fuzz/run TARGET minimise                                takes what is new into the corpus
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::config::KEYS;
use serde_json::{Value, json};
use tests::bundle::{Bundle, Member, archive, gzip, store_metadata};
use tests::world::World;

use super::targets::issued;
use crate::replay::recording::recordings;

/// Writes the inputs of one target, numbered.
fn write(target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../fuzz/found").join(target);
    fs::create_dir_all(&folder).expect("a folder for the seeds");
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), input).expect("a seed is written");
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz targets; run it to make the corpus anew"]
fn of_every_target() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/assertions");
    let mut documents = Vec::new();
    files(&fixtures, &mut documents);
    documents.retain(|path| path.extension().is_some_and(|name| name == "assert" || name == "assertions"));
    let documents: Vec<Vec<u8>> = documents.iter().map(|path| fs::read(path).expect("a fixture")).collect();
    let short = documents.iter().filter(|text| text.len() < 16 << 10);
    write("assertion", short.clone().cloned());
    write("assertion-stream", short.clone().cloned().chain(pairs(&documents)));
    write("key-packet", documents.iter().flat_map(|text| packets(text, "AcbB")));
    let (signature, other) = issued::signatures();
    write(
        "signature-packet",
        documents.iter().flat_map(|text| packets(text, "AcL")).chain([signature, other]),
    );

    let world = World::new();
    let snap = world.snap("hello").payload(10);
    let bundle = Bundle::new(&snap, &[(&snap.revision(7), &["latest/stable", "3/edge/fix"])]);
    let mut members = bundle.members();
    members.push(bundle.manifest(&members));
    let stores = store_metadata("acme-store", "acme", &[&snap]).to_string().into_bytes();
    write("metadata", jsons(&members, stores.clone()));
    for member in &mut members {
        member.bytes.truncate(300);
    }
    members.push(Member { name: "store.json".into(), bytes: stores[..100].to_vec() });
    let plain = archive(&members);
    let archives = [plain, archive(&members[..1]), archive([]), gnu(), pax()];
    let packed =
        archives.iter().map(|bytes| gzip(bytes)).chain([archives.each_ref().map(|a| gzip(a)).concat()]);
    write("bundle", packed.chain(archives.clone()));
    write("archive-headers", archives);
    write("snap-yaml", YAMLS.iter().map(|text| text.as_bytes().to_vec()));

    let (mut refreshes, mut sessions, mut headers) = (Vec::new(), Vec::new(), Vec::new());
    for exchange in
        ["2.57.6", "2.77"].iter().flat_map(|version| recordings(version)).flat_map(|r| r.exchanges)
    {
        if exchange.path().ends_with("/refresh") {
            refreshes.push(exchange.request.body.clone());
        }
        if exchange.path().ends_with("/sessions") {
            sessions.push(exchange.request.body.clone());
        }
        let said = |name| exchange.header(name).unwrap_or_default();
        headers
            .push(format!("{}\n5200000\n{}", said("Range"), said("Snap-Device-Authorization")).into_bytes());
    }
    headers
        .extend(RANGES.iter().map(|range| format!("{range}\n1000\nBearer abc\nMacaroon abc").into_bytes()));
    sessions.push(issued::session_request());
    write("refresh-request", refreshes.into_iter().filter(|body| !body.is_empty()));
    write("session-request", sessions);
    write("headers", headers);

    write("token", issued::texts());
    write("upstream-login", upstream_logins());
    let settings =
        KEYS.iter().flat_map(|key| VALUES.iter().map(move |value| format!("{}={value}", key.name)));
    let files = CONFIGURATIONS.iter().map(|text| text.as_bytes().to_vec());
    write("configuration", settings.map(String::into_bytes).chain(files));
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the fixtures") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, into),
            false => into.push(path),
        }
    }
    into.sort();
}

/// Two documents each, one after the other.
fn pairs(documents: &[Vec<u8>]) -> impl Iterator<Item = Vec<u8>> {
    documents.chunks(2).map(|pair| pair.join(&b"\n"[..]))
}

/// The packets in base64 that begin so, as text and as bytes.
fn packets(text: &[u8], start: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    for (at, _) in text.match_indices(start) {
        let flat: String = text[at..].lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let flat = flat.split(':').next().unwrap_or_default();
        if let Ok(raw) = STANDARD.decode(flat) {
            found.push(raw);
        }
    }
    found
}

fn jsons(members: &[Member], stores: Vec<u8>) -> Vec<Vec<u8>> {
    let documents = members.iter().filter(|member| member.name.ends_with(".json")).map(|m| m.bytes.clone());
    let digest = "0".repeat(96);
    let parts = json!({"format": 1, "name": "a.tar.gz", "size": 5, "parts": [
        {"name": "a.tar.gz.part-001", "size": 3, "sha3-384": digest},
        {"name": "a.tar.gz.part-002", "size": 2, "sha3-384": digest}]});
    let read: Value = serde_json::from_slice(&stores).expect("metadata");
    let bare = json!({"snaps": read["snaps"]["acme-store"]});
    let single = json!({"store": read["stores"][0], "snaps": bare["snaps"], "users": []});
    documents
        .chain([stores])
        .chain([parts, bare, single].map(|value| value.to_string().into_bytes()))
        .collect()
}

/// A name too long for a header, GNU's way.
fn gnu() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    builder
        .append_data(&mut header, format!("{}/a.snap", "long".repeat(30)), &b"abc"[..])
        .expect("an archive");
    builder.into_inner().expect("an archive")
}

/// A name, a time and a size in an extension.
fn pax() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let records: [(&str, &[u8]); 3] = [("path", b"b/manifest.json"), ("mtime", b"1.5"), ("size", b"3")];
    builder.append_pax_extensions(records).expect("an archive");
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    builder.append_data(&mut header, "manifest.json", &b"abc"[..]).expect("an archive");
    builder.into_inner().expect("an archive")
}

/// One login of each form.
fn upstream_logins() -> Vec<Vec<u8>> {
    let macaroon = issued::macaroon();
    let second = STANDARD
        .encode(b"\x02\x01\x01a\x02\x01b\x00\x02\x01c\x00\x00\x06\x20aaaaaaaabbbbbbbbccccccccdddddddd");
    let coded = |value: Value| STANDARD.encode(value.to_string());
    let ini = format!("[login.ubuntu.com]\nmacaroon = {macaroon}\nunbound_discharge = {second}\n");
    let texts = [
        STANDARD.encode(&ini),
        ini,
        coded(json!({"r": macaroon, "d": second})),
        coded(json!({"t": "u1-macaroon", "v": {"r": macaroon, "d": second}})),
        coded(json!({"t": "macaroon", "v": macaroon})),
        coded(json!({"t": "bearer", "v": "opaque"})),
        json!({"macaroon": macaroon, "discharges": [second]}).to_string(),
        json!({"macaroon": second}).to_string(),
        json!({"root": macaroon, "discharge": null, "store": "x", "type": "y"}).to_string(),
        format!("Exported login credentials:\n\n{macaroon}\n\nuse it\n"),
        macaroon,
        second,
    ];
    texts.map(String::into_bytes).to_vec()
}

const YAMLS: &[&str] = &[
    "name: jq\nversion: 1.10\nbase: core24\nepoch: 1*\narchitectures: [amd64]\napps: {jq: {command: bin/jq}}\n",
    "name: gadget\nversion: '1'\ntype: gadget\nplugs:\n  content: {interface: content, default-provider: themes:x}\n",
    "component: jq+extra\ntype: standard\nversion: 1.10\n",
    "name: a\nversion: &v 2\nsummary: *v\nconfinement: classic\nepoch: {read: [1, 2], write: [2]}\nprovenance: x\n",
    "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\nname: jq\nversion: |\n  two\n  lines\ntitle: >-\n  folded\n  text\n",
];

const RANGES: &[&str] = &[
    "bytes=0-",
    "bytes=0-0",
    "Bytes= 10-19 ",
    "bytes=-1",
    "bytes=1000-",
    "bytes=20-10",
    "bytes=0-1,5-6",
    "",
];

const VALUES: &[&str] = &[
    "10.0.0.7",
    "[::]",
    "8080",
    "true",
    "https://a.example:8443/x",
    "postgresql://u:p%40ss@h:5432/d?sslmode=require",
    "7d",
    r#"["a", "10.0.0.0/8"]"#,
    "/etc/cas",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "required",
    "http-01",
    r#"[{"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","until":"2026-01-01T00:00:00Z"}]"#,
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
];

const CONFIGURATIONS: &[&str] = &[
    "proxy.domain: snaps.internal\nproxy.port.http: 8080\nproxy.airgap: true\n",
    "proxy:\n  domain: snaps.internal\n  port: {http: 8080, https: '8443'}\n  admin-emails: [a@b.example]\n",
    "proxy.tls.cert: |\n  -----BEGIN CERTIFICATE-----\n  AAAA\n  -----END CERTIFICATE-----\nproxy.domain: ~\n",
    "proxy.device-auth.session-lifetime: 7d\nproxy.trusted-proxies: '[\"10.0.0.0/8\"]'\nproxy.ipaddress: \"[::]\"\n",
];
