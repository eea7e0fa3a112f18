mod bad;
mod lab;
mod own;
mod real;

use std::collections::BTreeSet;

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use lab::{CA, DOMAIN, Lab, P256, SERVER};

#[expect(clippy::disallowed_methods, reason = "certificates are valid now")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn import(text: &str, passphrase: Option<&str>, domain: &str) -> Result<Imported, ImportError> {
    let source = Source { name: "tls.pem", bytes: text.as_bytes() };
    Pair::import(&[source], passphrase, domain, now())
}

/// Every order of some texts.
fn orders(texts: &[String]) -> Vec<String> {
    if texts.is_empty() {
        return vec![String::new()];
    }
    let mut all = Vec::new();
    for (at, first) in texts.iter().enumerate() {
        let rest = [&texts[..at], &texts[at + 1..]].concat();
        all.extend(orders(&rest).into_iter().map(|rest| format!("{first}{rest}")));
    }
    all
}

/// Root, intermediate, and a server's certificate for each kind of key.
fn site() -> Lab {
    let lab = Lab::new();
    lab.root("root", "/CN=Site Root");
    lab.key("between", P256);
    lab.signed("between", "/O=Site/CN=Site Intermediate", CA, "root", "");
    lab
}

#[test]
fn every_kind_of_key_in_every_order_of_its_blocks() {
    let lab = site();
    let mut done = 0;
    for (name, words, old_form) in [
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048", "rsa -traditional"),
        ("p256", P256, "ec"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384", "ec"),
        ("ed25519", "ED25519", "pkey"),
    ] {
        lab.key(name, words);
        let server = lab.signed(name, "/CN=snaps.internal", SERVER, "between", "");
        let old = lab.openssl(&format!("{old_form} -in {name}.key"));
        let encrypted = lab.openssl(&format!("pkcs8 -topk8 -in {name}.key -passout pass:secret"));
        assert!(encrypted.contains("ENCRYPTED PRIVATE KEY"));
        for key in [server.key(), old, encrypted] {
            let texts = [server.cert(), lab.text("between.pem"), lab.text("root.pem"), key.clone()];
            for text in orders(&texts) {
                let imported = import(&text, Some("secret"), DOMAIN).expect(name);
                assert!(imported.problems.is_empty() && imported.warnings.is_empty(), "{imported:?}");
                let pair = imported.pair;
                assert_eq!(pair.cert_pem(), texts[..3].concat(), "{name}: the server's first");
                assert_eq!(pair.names(), [DOMAIN]);
                assert_eq!((pair.subject(), pair.issuer()), (DOMAIN, "Site Root"));
                let again = Pair::from_settings(&pair.cert_pem(), &pair.key_pem()).expect("a pair");
                assert_eq!(again.expect("a pair").key_pem(), pair.key_pem());
                done += 1;
            }
            for text in orders(&[server.cert(), lab.text("between.pem"), key]) {
                let imported = import(&text, Some("secret"), DOMAIN).expect(name);
                assert_eq!(imported.pair.chain().len(), 2);
                assert_eq!((imported.pair.issuer(), imported.warnings.len()), ("Site Root", 0));
                done += 1;
            }
        }
        // The key that comes out is the one that went in.
        let pair = import(&(server.cert() + &server.key()), None, DOMAIN).expect(name).pair;
        std::fs::write(lab.path("out.key"), pair.key_pem().as_bytes()).expect("a file");
        let public = |file: &str| lab.openssl(&format!("pkey -in {file} -pubout"));
        assert_eq!(public("out.key"), public(&format!("{name}.key")));
    }
    println!("{done} orders");
    assert_eq!(done, 4 * 3 * (24 + 6));
}

#[test]
fn encrypted_keys_open_whatever_openssl_encrypts_them_with() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    for how in
        ["", "-v2 des3", "-v2 aes128", "-v2 aes256 -v2prf hmacWithSHA1", "-v2prf hmacWithSHA512", "-scrypt"]
    {
        let key = lab.openssl(&format!("pkcs8 -topk8 -in server.key -passout pass:secret {how}"));
        let pair = import(&(key + &server.cert()), Some("secret"), DOMAIN).expect(how).pair;
        assert_eq!(*pair.key_pem(), server.key(), "{how}");
    }
}

#[test]
fn text_around_blocks_and_other_line_ends_are_tolerated() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    let described = lab.openssl("x509 -in server.pem -text");
    let parameters = lab.openssl("ecparam -name prime256v1") + &lab.openssl("ec -in server.key");
    assert!(parameters.contains("BEGIN EC PARAMETERS"));
    let plain = format!("{}{}{}", server.cert(), lab.text("between.pem"), server.key());
    for text in [
        format!("Dear operator,\n\n{described}\n# between\n{}\nkey:\n{parameters}", lab.text("between.pem")),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("\u{feff}{plain}"),
        plain.lines().map(|line| format!("    {line}  \n")).collect(),
        plain.trim_end().to_owned(),
        plain.replace("BEGIN CERT", "BEGIN X509 CERT").replace("END CERT", "END X509 CERT"),
    ] {
        let imported = import(&text, None, DOMAIN).expect("a pair");
        assert_eq!((imported.pair.chain().len(), imported.warnings), (2, Vec::new()));
    }
    let mut raw = plain.into_bytes();
    raw.splice(0..0, *b"caf\xe9 \xff\n");
    let source = Source { name: "tls.pem", bytes: &raw };
    assert!(Pair::import(&[source], None, DOMAIN, now()).is_ok());
}

#[test]
fn names_are_judged_as_devices_do() {
    let lab = site();
    let names = "subjectAltName=DNS:*.snaps.internal,DNS:store.example,IP:10.0.0.7,IP:fd00::7,email:a@b.c";
    let server = lab.server("server", names, "root");
    let text = server.cert() + &server.key();
    let pair = import(&text, None, "store.example").expect("a pair").pair;
    assert_eq!(pair.names(), ["*.snaps.internal", "store.example", "10.0.0.7", "fd00::7"]);
    for (host, covered) in [
        ("store.example", true),
        ("STORE.example", true),
        ("a.snaps.internal", true),
        ("10.0.0.7", true),
        ("fd00::7", true),
        ("[fd00::7]", true),
        ("snaps.internal", false),
        ("a.b.snaps.internal", false),
        ("*.snaps.internal", false),
        ("10.0.0.8", false),
        ("", false),
        ("a b", false),
    ] {
        assert_eq!(pair.covers(host), covered, "{host}");
        let problems = import(&text, None, host).expect("a pair").problems;
        assert_eq!(problems.is_empty(), covered, "{host}");
    }
}

#[test]
fn warnings_name_what_is_odd_and_the_pair_is_taken() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    let between = lab.text("between.pem");
    let warnings = |text: &str| -> Vec<String> {
        let imported = import(text, None, DOMAIN).expect("a pair");
        assert_eq!(imported.problems, []);
        imported.warnings.iter().map(ToString::to_string).collect()
    };
    let (cert, key) = (server.cert(), server.key());
    assert_eq!(
        warnings(&format!("{cert}{key}")),
        [
            "the certificate of Site Intermediate, which issued this one, is missing: add it to the files if it is an intermediate; if it is a root, devices must trust it"
        ]
    );
    let lines = cert.lines().count();
    assert_eq!(
        warnings(&format!("{cert}{cert}{key}{key}{between}")),
        [format!("tls.pem line {}: the certificate is there twice", lines + 1)]
    );
    let request = lab.text("a.csr");
    assert_eq!(
        warnings(&format!("{request}{cert}{key}{between}")),
        ["tls.pem line 1: CERTIFICATE REQUEST is ignored"]
    );
    lab.root("older", "/CN=Older Root");
    std::fs::copy(lab.path("root.key"), lab.path("cross.key")).expect("a copy");
    let cross = lab.signed("cross", "/CN=Site Root", CA, "older", "").cert();
    let root = lab.text("root.pem");
    for text in orders(&[cert.clone(), between.clone(), root.clone(), cross.clone(), key.clone()]) {
        let imported = import(&text, None, DOMAIN).expect("a pair");
        assert_eq!(imported.pair.cert_pem(), format!("{cert}{between}{cross}"));
        assert!(matches!(imported.warnings.as_slice(), [Warning::LeftOut { .. }]), "{imported:?}");
    }
    // One that has expired is not chosen over a valid one, and neither is what only leads to it.
    std::fs::copy(lab.path("between.key"), lab.path("tired.key")).expect("a copy");
    let tired = lab.signed("tired", "/O=Site/CN=Site Intermediate", CA, "root", "-days 1").cert();
    lab.signed("cross", "/CN=Site Root", CA, "older", "-days 1");
    let (cross, older) = (lab.text("cross.pem"), lab.text("older.pem"));
    let later = now() + Duration::days(2);
    for text in orders(&[format!("{cert}{key}"), between.clone(), tired, root.clone(), cross, older]) {
        let source = Source { name: "tls.pem", bytes: text.as_bytes() };
        let imported = Pair::import(&[source], None, DOMAIN, later).expect("a pair");
        assert_eq!(imported.problems, []);
        assert_eq!(imported.pair.cert_pem(), format!("{cert}{between}{root}"));
    }
    // What `openssl req -x509` makes by default: a root that is also the server.
    lab.key("self", P256);
    let alone = lab.self_signed(
        "self",
        "/CN=snaps.internal",
        "subjectAltName=DNS:snaps.internal\nbasicConstraints=CA:TRUE",
    );
    assert!(warnings(&format!("{}{}", alone.cert(), alone.key()))[0].contains("may sign others"));
}

#[test]
fn a_setting_is_a_whole_pair_or_none() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    let other = lab.server("other", SERVER, "between");
    let mut settings = crate::config::Settings::default();
    let mut set = |cert: &str, key: &str| {
        settings
            .set_all([("proxy.tls.cert", cert), ("proxy.tls.key", key)])
            .map(|()| settings.tls_pair().expect("fitting").is_some())
            .map_err(|error| error.to_string())
    };
    // A half that comes first waits for the other.
    assert_eq!([set(&server.cert(), ""), set("", &server.key())], [Ok(false), Ok(false)]);
    assert!(set(&server.cert(), &other.key()).expect_err("no pair").contains("does not belong to"));
    assert_eq!(set(&server.cert(), &server.key()), Ok(true));
    let half = "proxy.tls.cert would be left without proxy.tls.key: set both together with `proxy import-certificate`, or clear both";
    assert_eq!(set(&server.cert(), ""), Err(half.to_owned()));
    assert!(
        set("", &server.key()).expect_err("half a pair").starts_with("proxy.tls.key would be left without")
    );
    assert!(set(&other.cert(), &server.key()).is_err());
    assert_eq!(set("", ""), Ok(false));
    // A damaged file can be repaired one key at a time, and does not stand in the way of other changes.
    settings.set("proxy.tls.key", &server.key()).expect("a key");
    settings.set_all([("proxy.domain", "a.example")]).expect("another change");
    settings.set_all([("proxy.tls.key", "")]).expect("repaired");
    assert!(settings.set_all([("proxy.tls.client-auth", "required")]).is_err());
    settings
        .set_all([("proxy.tls.client-auth", "required"), ("proxy.tls.client-ca", "/etc/ca")])
        .expect("both");
    assert!(settings.set_all([("proxy.tls.client-ca", "")]).is_err());
    assert!(settings.set_all([("proxy.ca-certs", &*server.key())]).is_err());
    assert!(settings.set_all([("proxy.ca-certs", &*server.cert())]).is_err(), "no authority");
    settings.set_all([("proxy.ca-certs", &*lab.text("root.pem"))]).expect("certificates");
    assert_eq!(settings.ca_certs().expect("readable").map(|certificates| certificates.len()), Some(1));
}

#[test]
fn the_nearer_the_end_the_louder() {
    let stamp = Stamp { now: now(), serial: [7; 16] };
    let pair = self_signed(DOMAIN, 100, stamp).expect("a pair");
    for (later, days, level) in [
        (0, 99, Level::Fine),
        (65, 34, Level::Fine),
        (70, 29, Level::Soon),
        (93, 6, Level::Urgent),
        (99, 0, Level::Urgent),
        (100, -1, Level::Expired),
    ] {
        let at = stamp.now + Duration::days(later) + Duration::hours(1);
        let left = expiry(&pair, at);
        assert_eq!((left.days, left.level), (days, level), "{later}");
    }
    assert!([Level::Fine, Level::Soon, Level::Urgent, Level::Expired].is_sorted());
}

#[test]
fn a_key_shows_in_no_debug_output_or_message() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    let key = server.key();
    let lines: BTreeSet<&str> =
        key.lines().filter(|line| line.len() > 20 && !line.starts_with('-')).collect();
    let imported = import(&(server.cert() + &key), None, "elsewhere.example").expect("a pair");
    let cut = key.replace("-----END", "");
    let refused = import(&(server.cert() + &cut), None, DOMAIN).expect_err("cut off");
    for text in [format!("{imported:?}"), format!("{refused:?} {refused}")] {
        assert!(lines.iter().all(|line| !text.contains(line)), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let source = Source { name: "x", bytes: &bytes };
        prop_assert!(Pair::import(&[source], Some("x"), DOMAIN, OffsetDateTime::UNIX_EPOCH).is_err());
        prop_assert!(trusted_certificates(&[source]).is_err());
    }

    #[test]
    fn arbitrary_blocks_never_panic(
        blocks in proptest::collection::vec((0_usize..8, proptest::collection::vec(any::<u8>(), 0..300)), 0..4)
    ) {
        const LABELS: [&str; 8] = [
            "CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
            "EC PARAMETERS", "X509 CERTIFICATE", "CERTIFICATE REQUEST",
        ];
        let text: String = blocks.iter().map(|(label, der)| to_pem(LABELS[*label], der)).collect();
        prop_assert!(import(&text, Some("x"), DOMAIN).is_err());
    }
}

#[test]
fn a_damaged_byte_anywhere_never_panics() {
    let lab = site();
    let server = lab.server("server", SERVER, "between");
    let text = format!("{}{}{}", server.cert(), lab.text("between.pem"), server.key()).into_bytes();
    for at in 0..text.len() {
        for change in [0x01, 0x20, 0x80] {
            let mut damaged = text.clone();
            damaged[at] ^= change;
            let source = Source { name: "x", bytes: &damaged };
            let _ = Pair::import(&[source], None, DOMAIN, now());
        }
    }
}
