//! Certificates found in the field: what Go or OpenSSL rejects is rejected with its cause, what both accept is
//! accepted.

use super::lab::{CA, DOMAIN, Lab, P256, SERVER};
use super::*;

/// Made by an old Mbed TLS: NULL beside the algorithm of an ECDSA signature.
const OLD_MBED_TLS: &str = include_str!("../../../../tests/fixtures/tls/ecdsa-null-parameters.pem");

fn refusal(text: &str) -> String {
    match import(text, None, DOMAIN) {
        Err(error) => error.to_string(),
        Ok(imported) => format!("taken: {:?} {:?}", imported.problems, imported.warnings),
    }
}

/// A server's certificate with a key of these words.
fn of_key(lab: &Lab, name: &str, words: &str) -> String {
    lab.key(name, words);
    let made = lab.signed(name, "/CN=snaps.internal", SERVER, "between", "");
    made.cert() + &lab.text("between.pem") + &made.key()
}

#[test]
fn what_every_device_takes_is_taken() {
    let lab = site();
    for (name, words) in [
        ("p521", "EC -pkeyopt ec_paramgen_curve:P-521"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384"),
        ("rsa3", "RSA -pkeyopt rsa_keygen_bits:3072"),
    ] {
        let text = of_key(&lab, name, words);
        assert!(import(&text, None, DOMAIN).is_ok(), "{name}: {}", refusal(&text));
        let sec1 = text.replace(&lab.text(&format!("{name}.key")), "")
            + &lab.openssl(&format!("pkey -in {name}.key -traditional"));
        assert!(import(&sec1, None, DOMAIN).is_ok(), "{name}: {}", refusal(&sec1));
    }
    // An authority on P-521 and one that signs with PSS.
    for (name, words, how) in [
        ("big", "EC -pkeyopt ec_paramgen_curve:P-521", "-sha512"),
        (
            "pss",
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
        ),
    ] {
        lab.key(name, words);
        let authority = lab.self_signed(name, "/CN=Authority", CA).cert();
        lab.key("below", P256);
        let server = lab.signed("below", "/CN=snaps.internal", SERVER, name, how);
        let text = server.cert() + &authority + &server.key();
        assert_eq!(import(&text, None, DOMAIN).map(|imported| imported.pair.chain().len()), Ok(2), "{name}");
    }
}

#[test]
fn what_some_device_cannot_use_is_refused_by_its_cause() {
    let lab = site();
    let spelled = "EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit";
    lab.key("spelled", spelled);
    let ca = lab.self_signed("spelled", "/CN=Spelled", CA).cert();
    lab.key("below", P256);
    let below = lab.signed("below", "/CN=snaps.internal", SERVER, "spelled", "");

    let said = refusal(&(below.cert() + &ca + &below.key()));
    assert!(said.contains("Spelled: the parameters of its curve are spelled out"), "{said}");
    let spelled_leaf = lab.self_signed("spelled", "/CN=snaps.internal", SERVER);
    // OpenSSL gives the key a name if it can.
    let named_key = lab.openssl("ec -in spelled.key -param_enc named_curve");
    let said = refusal(&(spelled_leaf.cert() + &named_key));
    assert!(said.contains("snaps.internal: the parameters of its curve are spelled out"), "{said}");

    let said = refusal(OLD_MBED_TLS);
    assert!(said.contains("its ECDSA signature carries a parameter (NULL") && said.len() < 300, "{said}");

    lab.key("serial", P256);
    let negative = lab.signed("serial", "/CN=snaps.internal", SERVER, "between", "-set_serial -5");
    let said = refusal(&(negative.cert() + &negative.key()));
    assert!(said.contains("its serial number is negative"), "{said}");

    let extension = |name: &str, more: &str| {
        lab.key(name, P256);
        let made = lab.signed(
            name,
            "/CN=snaps.internal",
            &format!("extendedKeyUsage=serverAuth\n{more}"),
            "between",
            "",
        );
        refusal(&(made.cert() + &made.key()))
    };
    let short_address = extension("address", "subjectAltName=DER:30058703010203");
    assert!(short_address.contains("an address in its alternative names has 3 bytes"), "{short_address}");
    let uri = extension("uri", "subjectAltName=DNS:snaps.internal,URI:http://[fe80%zz/");
    assert!(uri.contains("a URI in its alternative names cannot be read"), "{uri}");

    for (name, words, cause) in [
        ("k1", "EC -pkeyopt ec_paramgen_curve:secp256k1", "on the curve secp256k1"),
        ("brain", "EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", "on the curve brainpoolP256r1"),
        ("p224", "EC -pkeyopt ec_paramgen_curve:P-224", "on the curve P-224"),
        ("ed448", "ED448", "Ed448"),
        ("rsapss", "RSA-PSS -pkeyopt rsa_keygen_bits:2048", "PSS signatures alone"),
    ] {
        // The certificate is judged too where the key was made by other means.
        let said = refusal(&of_key(&lab, name, words));
        assert!(said.contains(cause), "{name}: {said}");
        let authority = lab.self_signed(name, "/CN=Odd", CA).cert();
        let source = Source { name: "ca.pem", bytes: authority.as_bytes() };
        let said = client_authorities(&[source]).expect_err(name).to_string();
        assert!(said.contains(cause), "{name} as an authority: {said}");
    }
}

#[test]
fn what_is_no_authority_is_left_out_by_name() {
    let lab = site();
    let (root, between) = (lab.text("root.pem"), lab.text("between.pem"));
    let server = lab.server("server", SERVER, "between").cert();
    lab.key("v1", P256);
    lab.signed("v1", "/CN=Version One", "", "root", "");
    let mut bad = vec![("snaps.internal is not an authority: it does not say CA:TRUE", server.clone())];
    bad.push(("Version One is not an authority: it is of X.509 version 1", lab.text("v1.pem")));
    for (name, subject, extensions, why) in [
        (
            "nosign",
            "/CN=No Sign",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature",
            "lacks keyCertSign",
        ),
        ("nobasic", "/CN=No Basic", "keyUsage=keyCertSign", "does not say CA:TRUE"),
        (
            "critical",
            "/CN=Critical",
            "basicConstraints=CA:TRUE\n1.2.3.4=critical,DER:0500",
            "critical extension 1.2.3.4",
        ),
    ] {
        lab.key(name, P256);
        bad.push((why, lab.self_signed(name, subject, extensions).cert()));
    }
    lab.key("weak", "RSA -pkeyopt rsa_keygen_bits:1024");
    bad.push(("RSA key of 1024 bits", lab.self_signed("weak", "/CN=Weak", CA).cert()));
    for (why, text) in &bad {
        let alone = Source { name: "ca.pem", bytes: text.as_bytes() };
        let said = client_authorities(&[alone]).expect_err(why).to_string();
        assert!(said.contains(why), "{why}: {said}");
        let among = format!("{root}{text}{between}");
        let read =
            client_authorities(&[Source { name: "ca.pem", bytes: among.as_bytes() }]).expect("two are");
        assert_eq!((read.certificates.len(), read.left_out.len()), (2, 1), "{why}");
        assert!(read.left_out[0].contains(why), "{why}: {:?}", read.left_out);
    }
    // A server that signed itself is no authority either: its key would speak for every name.
    lab.key("alone", P256);
    let server = lab.self_signed("alone", "/CN=snaps.internal", SERVER).cert();
    let said = trusted_certificates(&[Source { name: "ca.pem", bytes: server.as_bytes() }]);
    let said = said.expect_err("it would vouch for others").to_string();
    assert!(
        said.contains("snaps.internal signed itself") && said.contains("`proxy ca issue-server`"),
        "{said}"
    );
    // A setting that an older version stored does not keep the store from starting, and is named.
    let mut settings = crate::config::Settings::default();
    settings.set("proxy.ca-certs", &server).expect("PEM");
    let said = settings.refused().collect::<Vec<_>>().join("\n");
    assert!(
        said.starts_with("proxy.ca-certs cannot") && said.contains("`proxy use-ca-certs FILE`"),
        "{said}"
    );
    // A whole system's authorities, with something else among them.
    let many = root.repeat(300) + &between + &lab.openssl("pkey -in server.key -pubout");
    let read =
        trusted_certificates(&[Source { name: "ca.pem", bytes: many.as_bytes() }]).expect("authorities");
    assert_eq!((read.certificates.len(), read.left_out.len()), (2, 300));
    assert!(read.left_out[299].contains("PUBLIC KEY at ca.pem line"), "{:?}", read.left_out[299]);
    let expired = read.at(now() + Duration::days(4000)).expect_err("all of them").to_string();
    assert!(expired.contains("the certificate of Site Root has expired on"), "{expired}");
    for (what, text) in
        [("key", lab.text("server.key")), ("convert", lab.openssl("x509 -in root.pem -trustout"))]
    {
        let text = root.clone() + &text;
        let said =
            trusted_certificates(&[Source { name: "ca.pem", bytes: text.as_bytes() }]).expect_err(what);
        assert!(said.to_string().contains(what), "{said}");
    }
}
