//! Our own authority, judged by `openssl verify`.

use super::lab::{DOMAIN, Lab, P256};
use super::*;

fn stamp() -> Stamp {
    Stamp { now: now(), serial: [0xff; 16] }
}

fn put(lab: &Lab, file: &str, text: &str) {
    std::fs::write(lab.path(file), text).expect("a file");
}

#[test]
fn openssl_accepts_what_is_issued() {
    let lab = Lab::new();
    let made = Authority::create("Site CA", stamp()).expect("an authority");
    let authority = Authority::from_pem(made.cert_pem(), &made.key_pem()).expect("the same authority");
    assert_eq!(authority.cert_pem(), made.cert_pem());
    put(&lab, "ca.pem", authority.cert_pem());
    let text = lab.openssl("x509 -in ca.pem -noout -text");
    for wanted in
        ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier", "CN = Site CA"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }

    let names = [DOMAIN.to_owned(), "*.mirror.internal".to_owned(), "10.0.0.7".to_owned(), "::1".to_owned()];
    let issued = authority.issue(Usage::Server(&names), 397, stamp()).expect("a certificate");
    put(&lab, "server.pem", &issued.cert_pem);
    for purpose in ["sslserver -verify_hostname snaps.internal", "sslserver -verify_ip 10.0.0.7"] {
        let said = lab.openssl(&format!("verify -x509_strict -CAfile ca.pem -purpose {purpose} server.pem"));
        assert_eq!(said, "server.pem: OK\n");
    }
    let text = lab.openssl("x509 -in server.pem -noout -text");
    for wanted in
        ["CA:FALSE", "TLS Web Server Authentication", "Digital Signature", "Authority Key Identifier"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let imported = import(&format!("{}{}", issued.cert_pem, *issued.key_pem), None, DOMAIN).expect("a pair");
    assert!(imported.problems.is_empty() && imported.warnings.is_empty(), "{imported:?}");
    assert_eq!(imported.pair.names(), names);

    let issued = authority.issue(Usage::Client("gateway-17"), 30, stamp()).expect("a certificate");
    put(&lab, "client.pem", &issued.cert_pem);
    put(&lab, "client.key", &issued.key_pem);
    lab.openssl("verify -x509_strict -CAfile ca.pem -purpose sslclient client.pem");
    assert_eq!(lab.openssl("pkey -in client.key -pubout"), lab.openssl("x509 -in client.pem -noout -pubkey"));
    assert!(lab.openssl("x509 -in client.pem -noout -subject").contains("CN = gateway-17"));
    let refused = import(&format!("{}{}", issued.cert_pem, *issued.key_pem), None, DOMAIN);
    assert!(matches!(refused, Err(ImportError::NotForServers { .. })), "{refused:?}");
}

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    let lab = Lab::new();
    let authority = Authority::create("Site CA", stamp()).expect("an authority");
    put(&lab, "ca.pem", authority.cert_pem());
    for (name, words) in [
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048"),
        ("p256", P256),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384"),
        ("p521", "EC -pkeyopt ec_paramgen_curve:P-521"),
        ("p256 sha512", P256),
        ("rsa pss", "RSA -pkeyopt rsa_keygen_bits:2048"),
        ("ed25519", "ED25519"),
    ] {
        let (file, digest) = name.split_once(' ').unwrap_or((name, ""));
        lab.key(file, words);
        let key = format!("{file}.key");
        let digest = match digest {
            "" => "",
            "pss" => "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest",
            other => &format!("-{other}"),
        };
        lab.openssl(&format!(
            "req -new -key {key} -out a.csr -subj /CN=root -addext basicConstraints=CA:TRUE {digest}"
        ));
        let request = lab.text("a.csr");
        let source = Source { name: "a.csr", bytes: request.as_bytes() };
        let cert = authority.sign_request(source, Usage::Client("gateway"), 30, stamp()).expect(name);
        put(&lab, "client.pem", &cert);
        lab.openssl("verify -CAfile ca.pem -purpose sslclient client.pem");
        assert_eq!(
            lab.openssl(&format!("pkey -in {key} -pubout")),
            lab.openssl("x509 -in client.pem -noout -pubkey")
        );
        let text = lab.openssl("x509 -in client.pem -noout -subject -ext basicConstraints");
        assert!(text.contains("CN = gateway") && text.contains("CA:FALSE"), "{text}");
        let server = [DOMAIN.to_owned()];
        let cert = authority.sign_request(source, Usage::Server(&server), 30, stamp()).expect(name);
        assert!(import(&(cert + &lab.text(&key)), None, DOMAIN).expect(name).problems.is_empty());
    }
    let request = lab.text("a.csr");
    let forged = {
        use rustls_pki_types::pem::PemObject as _;
        let der =
            rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).expect("DER");
        let mut der = der.to_vec();
        *der.last_mut().expect("bytes") ^= 1;
        to_pem("CERTIFICATE REQUEST", &der)
    };
    lab.key("short", "RSA -pkeyopt rsa_keygen_bits:1024");
    let short = lab.openssl("req -new -key short.key -subj /CN=x");
    for (text, said) in [
        (forged, "cannot sign the request: it is not signed by its own key"),
        (short, "cannot sign the request: its RSA key has less than 2048 bits"),
        (lab.text("ca.pem"), "cannot sign the request: expected one CERTIFICATE REQUEST block"),
        (format!("{request}{request}"), "cannot sign the request: expected one CERTIFICATE REQUEST block"),
        (to_pem("CERTIFICATE REQUEST", b"x"), "cannot sign the request: it cannot be read"),
        (String::new(), "a.csr is empty"),
    ] {
        let source = Source { name: "a.csr", bytes: text.as_bytes() };
        let refused = authority.sign_request(source, Usage::Client("x"), 30, stamp());
        assert_eq!(refused.expect_err(said).to_string(), said);
    }
}

#[test]
fn what_should_not_be_issued_is_not() {
    let authority = Authority::create("Site CA", stamp()).expect("an authority");
    let server = |name: &str, days| authority.issue(Usage::Server(&[name.to_owned()]), days, stamp()).err();
    for name in ["", "a b", "http://a", "a/b", "a\nb", "*.*.a"] {
        assert!(matches!(server(name, 30), Some(AuthorityError::Name(_))), "{name}");
    }
    for days in [0, 4000] {
        assert!(matches!(server(DOMAIN, days), Some(AuthorityError::Days { .. })), "{days}");
    }
    assert!(matches!(authority.issue(Usage::Server(&[]), 30, stamp()).err(), Some(AuthorityError::NoName)));
    assert!(matches!(
        authority.issue(Usage::Client("a\u{1b}"), 30, stamp()).err(),
        Some(AuthorityError::Name(_))
    ));
    let late = Stamp { now: now() + Duration::days(3653), serial: [1; 16] };
    let refused = authority.issue(Usage::Client("a"), 1, late).err();
    assert!(matches!(refused, Some(AuthorityError::Expired(_))));

    let other = Authority::create("Other CA", stamp()).expect("an authority");
    let misfit = Authority::from_pem(authority.cert_pem(), &other.key_pem());
    assert!(matches!(misfit.err(), Some(AuthorityError::Unfit(_))));
    let pair = self_signed(DOMAIN, 30, stamp()).expect("a pair");
    assert!(pair.covers(DOMAIN) && pair.chain().len() == 1);
    assert!(Authority::from_pem(&pair.cert_pem(), &pair.key_pem()).is_err(), "a server is not an authority");
    assert!(self_signed("fd00::1", 30, stamp()).expect("a pair").covers("fd00::1"));
}
