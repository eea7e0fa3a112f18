//! Rejected inputs, and the messages for them.

use super::lab::{CA, DOMAIN, Lab, P256, SERVER};
use super::*;

/// One bad input.
struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    passphrase: Option<&'static str>,
    domain: &'static str,
    later: Duration,
}

#[derive(Default)]
struct Table {
    rows: Vec<(Case, &'static str)>,
}

impl Table {
    fn add(&mut self, what: &'static str, bytes: impl Into<Vec<u8>>, said: &'static str) -> &mut Case {
        let case =
            Case { what, bytes: bytes.into(), passphrase: None, domain: DOMAIN, later: Duration::ZERO };
        self.rows.push((case, said));
        &mut self.rows.last_mut().expect("just added").0
    }
}

/// The message for the operator: the rejection, or what must be forced.
fn said(case: &Case) -> String {
    let source = Source { name: "tls.pem", bytes: &case.bytes };
    match Pair::import(&[source], case.passphrase, case.domain, now() + case.later) {
        Err(error) => error.to_string(),
        Ok(imported) => imported
            .problems
            .iter()
            .map(|problem| format!("--force: {problem}"))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn every_bad_input_has_its_message() {
    let lab = site();
    let table = table(&lab);
    println!("{} bad inputs", table.rows.len());
    // Signature lengths vary between runs, and with them the line numbers below the first; dates depend on the run.
    let lines = regex::Regex::new(r"line ([0-9][0-9]+|[2-9])").expect("an expression");
    let times =
        regex::Regex::new(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2} UTC)?").expect("an expression");
    let mut wrong = Vec::new();
    for (case, wanted) in &table.rows {
        let said = said(case);
        println!("{:44} {said}", case.what);
        let said = times.replace_all(&lines.replace_all(&said, "line N"), "TIME").into_owned();
        if said != *wanted {
            wrong.push(format!("{}\n  said   {said}\n  wanted {wanted}", case.what));
        }
    }
    assert!(table.rows.len() >= 50 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn table(lab: &Lab) -> Table {
    let mut table = Table::default();
    let server = lab.server("server", SERVER, "between");
    let (cert, key, between, root) =
        (server.cert(), server.key(), lab.text("between.pem"), lab.text("root.pem"));
    let other = lab.server("other", SERVER, "between");
    let both = format!("{cert}{key}");

    // Not PEM, or incomplete.
    table.add("nothing", "", "tls.pem is empty");
    table.add("white space", " \r\n\t\n", "tls.pem is empty");
    table.add(
        "prose",
        "the certificate is attached",
        "tls.pem holds no PEM block: expected text from -----BEGIN to -----END",
    );
    lab.openssl("x509 -in server.pem -outform der -out server.der");
    let der = "tls.pem is not PEM text but DER: convert it with `openssl x509 -inform der -in tls.pem`";
    table.add("DER", lab.bytes("server.der"), der);
    lab.openssl("pkcs12 -export -in server.pem -inkey server.key -passout pass:x -out server.p12");
    let pkcs12 = "tls.pem is not PEM text but DER: convert it with `openssl pkcs12 -nodes -in tls.pem`";
    table.add("PKCS#12", lab.bytes("server.p12"), pkcs12);
    lab.openssl("crl2pkcs7 -nocrl -certfile server.pem -outform der -out server.p7b");
    let pkcs7 = "tls.pem is not PEM text but DER: convert it with `openssl pkcs7 -inform der -print_certs -in tls.pem`";
    table.add("PKCS#7, DER", lab.bytes("server.p7b"), pkcs7);
    lab.openssl("pkey -in server.key -outform der -out key.der");
    let der = "tls.pem is not PEM text but DER: convert it with `openssl pkey -inform der -in tls.pem`";
    table.add("key, DER", lab.bytes("key.der"), der);
    let utf16 =
        "tls.pem holds no PEM block: it is UTF-16 text: convert it with `iconv -f UTF-16 -t UTF-8 FILE`";
    table.add("UTF-16", both.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), utf16);
    table.add(
        "UTF-16, marked",
        format!("\u{feff}{both}").encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>(),
        utf16,
    );
    table.add("a web page", "<!DOCTYPE html><p>Log in", "tls.pem holds no PEM block: it is a web page: what was downloaded is a login or an error, not the file");
    let stray = "tls.pem line 1: the line looks like one of a PEM block but belongs to none: repair the -----BEGIN and -----END lines, or remove the rest of the block";
    table.add("four dashes", both.replacen("-----BEGIN", "----BEGIN", 1), stray);
    table.add("commented out", format!("# {both}"), stray);
    table.add("first line lost", both.replacen("-----BEGIN CERTIFICATE-----\n", "", 1), stray);
    let cut =
        "tls.pem line 1: the block has no -----END line: is the text cut off, or are its line breaks lost?";
    table.add("certificate cut off", &cert.as_bytes()[..300], cut);
    table.add("key cut off", key.replace("-----END PRIVATE KEY-----", ""), cut);
    table.add("two blocks run together", cert.replace("-----END CERTIFICATE-----\n", "") + &key, cut);
    table.add("line breaks lost", both.replace('\n', " "), cut);
    let base64 = "tls.pem line 1: the block is not base64: is the text damaged?";
    table.add("a sign that is not base64", both.replacen("MII", "M!I", 1), base64);
    table.add("a base64 character lost", both.replacen("MII", "II", 1), base64);
    table.add(
        "a key block closed as a certificate",
        both.replacen("END CERTIFICATE", "END PRIVATE KEY", 1),
        "tls.pem line 1: the block CERTIFICATE ends with the -----END line of another",
    );
    table.add(
        "101 blocks",
        cert.repeat(101),
        "more than 100 PEM blocks: give one certificate, its chain and its key",
    );
    let broken = "tls.pem line 1: the certificate cannot be read: is the text damaged?";
    let without_second_line = |text: &str| {
        text.lines()
            .enumerate()
            .filter(|(at, _)| *at != 2)
            .map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };
    table.add("a line of the certificate lost", without_second_line(&cert) + &key, broken);
    table.add("certificate of other bytes", to_pem("CERTIFICATE", b"hello") + &key, broken);
    let longer = [lab.bytes("server.der"), vec![0]].concat();
    table.add("bytes after the certificate", to_pem("CERTIFICATE", &longer) + &key, broken);
    let broken = "tls.pem line 1: the key cannot be read: is the text damaged?";
    table.add("a line of the key lost", without_second_line(&key) + &cert, broken);
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        table.add("key of other bytes", to_pem(label, b"hello") + &cert, broken);
    }
    let zero = |label: &str| to_pem(label, &[]);
    table.add("empty key", zero("PRIVATE KEY") + &cert, broken);

    // Something is missing, or there is too much.
    table.add("key alone", key.clone(), "no certificate");
    table.add(
        "request for a certificate",
        lab.text("a.csr") + &key,
        "no certificate (there is CERTIFICATE REQUEST at tls.pem line 1)",
    );
    let pkcs7 = lab.openssl("crl2pkcs7 -nocrl -certfile server.pem");
    table.add(
        "PKCS#7",
        pkcs7 + &key,
        "tls.pem line 1: PKCS7 is not taken as it is: convert it with `openssl pkcs7 -print_certs -in FILE`",
    );
    let trusted = lab.openssl("x509 -in server.pem -trustout");
    table.add(
        "certificate with OpenSSL's trust",
        trusted + &key,
        "tls.pem line 1: TRUSTED CERTIFICATE is not taken as it is: convert it with `openssl x509 -in FILE`",
    );
    let no_key = "no private key: add the file of the key that the certificate was made for";
    table.add("certificate alone", cert.clone(), no_key);
    table.add("chain without key", format!("{cert}{between}{root}"), no_key);
    let public = lab.openssl("pkey -in server.key -pubout");
    table.add("public key", public + &cert, "no private key: add the file of the key that the certificate was made for (there is PUBLIC KEY at tls.pem line 1)");
    table.add(
        "two keys",
        format!("{key}{}{cert}", other.key()),
        "two private keys, tls.pem line 1 and tls.pem line N: leave only the one of the certificate",
    );
    std::fs::copy(lab.path("server.key"), lab.path("renewed.key")).expect("a copy");
    let renewed = lab.signed("renewed", "/CN=snaps.internal", SERVER, "between", "").cert();
    table.add(
        "old and new certificate of a key",
        format!("{key}{cert}\n{renewed}"),
        "two certificates for the key, tls.pem line N and tls.pem line N: leave only the one to be used",
    );

    // Unusable keys.
    let misfit =
        "the key (tls.pem line 1) does not belong to the certificate of snaps.internal (tls.pem line N)";
    table.add("key of another certificate", other.key() + &cert, misfit);
    table.add(
        "key of another, issuer first",
        other.key() + &root + &cert,
        "the key (tls.pem line 1) does not belong to the certificate of snaps.internal (tls.pem line N)",
    );
    lab.key("rsa", "RSA -pkeyopt rsa_keygen_bits:2048");
    table.add(
        "key of another kind",
        cert.clone() + &lab.text("rsa.key"),
        "the key (tls.pem line N) does not belong to the certificate of snaps.internal (tls.pem line 1)",
    );
    let encrypt = |how: &str| lab.openssl(&format!("pkcs8 -topk8 -in server.key -passout pass:secret {how}"));
    table.add(
        "encrypted key, no passphrase",
        encrypt("") + &cert,
        "tls.pem line 1: the key is encrypted: give its passphrase with --passphrase-file",
    );
    for passphrase in ["wrong", ""] {
        table
            .add(
                "encrypted key, other passphrase",
                encrypt("") + &cert,
                "tls.pem line 1: the passphrase does not open the key",
            )
            .passphrase = Some(passphrase);
    }
    let rewrite = "rewrite it with `openssl pkey -in KEY -out NEW -aes256`";
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    table
        .add(
            "key encrypted with PBES1",
            encrypt("-v1 PBE-MD5-DES -provider legacy -provider default") + &cert,
            leak(format!("tls.pem line 1: the key is encrypted with PBES1: {rewrite}")),
        )
        .passphrase = Some("secret");
    table
        .add(
            "key encrypted as in PKCS#12",
            encrypt("-v1 PBE-SHA1-3DES") + &cert,
            leak(format!("tls.pem line 1: the key is encrypted with an unknown cipher: {rewrite}")),
        )
        .passphrase = Some("secret");
    let old = leak(format!("tls.pem line 1: the key is encrypted in an old way: {rewrite}"));
    table.add(
        "PKCS#1 key encrypted",
        lab.openssl("rsa -traditional -in rsa.key -aes256 -passout pass:secret") + &cert,
        old,
    );
    table.add(
        "SEC1 key encrypted",
        lab.openssl("ec -in server.key -aes256 -passout pass:secret") + &cert,
        old,
    );
    let mut kind = |what, text: String, kind: &str| {
        let message = format!(
            "tls.pem line 1: the key is {kind}: use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519"
        );
        table.add(what, text + &cert, leak(message));
    };
    lab.key("short", "RSA -pkeyopt rsa_keygen_bits:1024");
    kind("RSA of 1024 bits", lab.text("short.key"), "RSA of less than 2048 bits");
    kind(
        "RSA of 1024 bits, PKCS#1",
        lab.openssl("rsa -traditional -in short.key"),
        "RSA of less than 2048 bits",
    );
    lab.key("k1", "EC -pkeyopt ec_paramgen_curve:secp256k1");
    kind("secp256k1", lab.text("k1.key"), "on the curve secp256k1");
    kind("secp256k1, SEC1", lab.openssl("ec -in k1.key"), "on the curve secp256k1");
    lab.key("primes", "RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3");
    kind("three primes", lab.text("primes.key"), "RSA of three primes or more");
    kind(
        "three primes, PKCS#1",
        lab.openssl("rsa -traditional -in primes.key"),
        "RSA of three primes or more",
    );
    lab.key("explicit", "EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit");
    kind("curve spelt out", lab.text("explicit.key"), "on a curve without a name");
    lab.key("ed448", "ED448");
    kind("Ed448", lab.text("ed448.key"), "Ed448");
    lab.key("x25519", "X25519");
    kind("X25519", lab.text("x25519.key"), "for key agreement alone");
    lab.key("pss", "RSA-PSS -pkeyopt rsa_keygen_bits:2048");
    kind("RSA-PSS", lab.text("pss.key"), "RSA for PSS signatures alone");
    lab.openssl("dsaparam -out dsa.param 1024");
    lab.openssl("gendsa -out dsa.key dsa.param");
    kind("DSA", lab.openssl("pkcs8 -topk8 -nocrypt -in dsa.key"), "DSA");
    kind("DSA, old form", to_pem("DSA PRIVATE KEY", b"x"), "DSA");
    table.add(
        "OpenSSH",
        to_pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0") + &cert,
        "tls.pem line 1: the key is in the form of OpenSSH: rewrite it with `ssh-keygen -p -m PEM -f KEY`",
    );

    // Unusable certificates.
    let sign = |name: &str, extensions: &str, issuer: &str, more: &str| {
        lab.key(name, P256);
        lab.run(&[
            "req",
            "-new",
            "-key",
            &format!("{name}.key"),
            "-out",
            "a.csr",
            "-subj",
            "/CN=snaps.internal",
        ]);
        std::fs::write(lab.path("ext.cnf"), extensions).expect("a file");
        let extfile = if extensions.is_empty() { "" } else { "-extfile ext.cnf" };
        lab.openssl(&format!("x509 -req -in a.csr -out {name}.pem -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 3650 {extfile} {more}"));
        lab.text(&format!("{name}.pem")) + &lab.text(&format!("{name}.key"))
    };
    table.add("X.509 version 1", sign("v1", "", "between", ""), "tls.pem line 1: the certificate is of X.509 version 1 and can name no host: make it again with an extension file that sets subjectAltName");
    table.add("signed with SHA-1", sign("sha1", SERVER, "between", "-sha1"), "tls.pem line 1: the certificate of snaps.internal is signed with SHA-1, which devices refuse: have it signed with SHA-256");
    lab.self_signed("rsa", "/CN=RSA Root", CA);
    table.add("signed with MD5", sign("md5", SERVER, "rsa", "-md5"), "tls.pem line 1: the certificate of snaps.internal is signed with MD5, which devices refuse: have it signed with SHA-256");
    table.add("for clients alone", sign("client", "subjectAltName=DNS:snaps.internal\nextendedKeyUsage=clientAuth", "between", ""), "tls.pem line 1: the certificate of snaps.internal is not allowed for servers: it needs the extended key usage serverAuth");
    table.add("for code alone", sign("code", "subjectAltName=DNS:snaps.internal\nextendedKeyUsage=codeSigning", "between", ""), "tls.pem line 1: the certificate of snaps.internal is not allowed for servers: it needs the extended key usage serverAuth");
    table.add("usage without signatures", sign("usage", "subjectAltName=DNS:snaps.internal\nkeyUsage=cRLSign", "between", ""), "tls.pem line 1: the certificate of snaps.internal is not allowed for servers: it needs the key usage digitalSignature");
    table.add("root", root.clone() + &lab.text("root.key"), "tls.pem line 1: Site Root is the certificate of an authority, not of a server: have it sign one for the server");
    table.add("intermediate", between.clone() + &lab.text("between.key"), "tls.pem line 1: Site Intermediate is the certificate of an authority, not of a server: have it sign one for the server");
    lab.key("plainroot", P256);
    let plain = lab.self_signed("plainroot", "/CN=Plain Root", "basicConstraints=CA:TRUE");
    table.add("root without key usage", plain.cert() + &plain.key(), "tls.pem line 1: Plain Root is the certificate of an authority, not of a server: have it sign one for the server");

    // Broken chains.
    table.add(
        "certificate of another site",
        format!("{both}{between}{}", plain.cert()),
        "tls.pem line N: the certificate of Site Root, whom Site Intermediate names as its issuer, is missing: add it, or leave out Plain Root (tls.pem line N)",
    );
    table.add(
        "certificate of another server",
        both.clone() + &between + &other.cert(),
        "tls.pem line N: snaps.internal does not belong to the chain of snaps.internal: leave it out",
    );
    table.add(
        "root without the intermediate",
        both.clone() + &root,
        "tls.pem line 1: the certificate of Site Intermediate, whom snaps.internal names as its issuer, is missing: add it",
    );
    lab.root("fake", "/O=Site/CN=Site Intermediate");
    table.add("issuer of the same name", both.clone() + &lab.text("fake.pem"), "tls.pem line 1: snaps.internal names Site Intermediate as its issuer but is not signed by the one at tls.pem line N: add the issuer that did");
    lab.key("leaf", P256);
    lab.signed("leaf", "/CN=Leaf", SERVER, "between", "");
    table.add(
        "signed by a server",
        sign("below", SERVER, "leaf", "") + &lab.text("leaf.pem"),
        "tls.pem line N: Leaf has signed the certificate below it but is not an authority: it does not say CA:TRUE in its basic constraints",
    );
    lab.key("weak", "RSA -pkeyopt rsa_keygen_bits:1024");
    lab.signed("weak", "/CN=Weak", CA, "root", "");
    table.add("intermediate of 1024 bits", sign("below", SERVER, "weak", "") + &lab.text("weak.pem"), "tls.pem line N: the certificate of Weak has an RSA key of 1024 bits: 2048 are the least that devices accept");
    lab.key("old", P256);
    lab.signed("old", "/CN=Old", CA, "root", "-sha1");
    table.add("intermediate signed with SHA-1", sign("below", SERVER, "old", "") + &lab.text("old.pem"), "tls.pem line N: the certificate of Old is signed with SHA-1, which devices refuse: have it signed with SHA-256");
    let chain =
        |reason: &str| leak(format!("tls.pem line 1: the chain of snaps.internal does not hold: {reason}"));
    lab.key("narrow", P256);
    lab.signed(
        "narrow",
        "/CN=Narrow",
        &format!("{CA}\nnameConstraints=critical,permitted;DNS:elsewhere.example"),
        "root",
        "",
    );
    table.add(
        "outside the issuer's names",
        sign("below", SERVER, "narrow", "") + &lab.text("narrow.pem") + &root,
        chain("an authority in it may not issue for these names"),
    );
    lab.key("flat", P256);
    lab.signed(
        "flat",
        "/CN=Flat",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign",
        "root",
        "",
    );
    lab.key("deep", P256);
    lab.signed("deep", "/CN=Deep", CA, "flat", "");
    table.add(
        "deeper than the issuer allows",
        sign("below", SERVER, "deep", "") + &lab.text("deep.pem") + &lab.text("flat.pem") + &root,
        chain("an authority in it allows fewer authorities below it"),
    );
    table.add(
        "deeper than the topmost allows, without the root",
        sign("below", SERVER, "deep", "") + &lab.text("deep.pem") + &lab.text("flat.pem"),
        chain("Flat allows 0 authorities below it, and there are more"),
    );
    lab.key("clients", P256);
    lab.signed("clients", "/CN=Clients", &format!("{CA}\nextendedKeyUsage=clientAuth"), "root", "");
    let clients = sign("below", SERVER, "clients", "") + &lab.text("clients.pem");
    table.add(
        "an authority for clients, without the root",
        clients.clone(),
        chain("Clients may not issue certificates for servers, its extended key usage lacks serverAuth"),
    );
    table.add(
        "an authority for clients",
        clients + &root,
        chain("an authority in it may not issue certificates for servers"),
    );
    table.add(
        "unknown critical extension",
        sign("critical", &format!("{SERVER}\n1.2.3.4=critical,DER:0500"), "between", ""),
        chain("devices do not know a critical extension in it, have it made without"),
    );

    // What an operator may force.
    table.add("other host", format!("{both}{between}"), "--force: the certificate is for snaps.internal, not for store.example: set proxy.domain, or have one made for store.example").domain = "store.example";
    let wildcard = sign("wild", "subjectAltName=DNS:*.internal", "between", "") + &between;
    table.add("wildcard, two labels", wildcard, "--force: the certificate is for *.internal, not for a.snaps.internal: set proxy.domain, or have one made for a.snaps.internal").domain = "a.snaps.internal";
    let top = sign("top", "subjectAltName=DNS:*.internal", "between", "") + &between;
    table.add("wildcard below the top level", top, "--force: the certificate is for *.internal, and clients accept no wildcard right below the top level: have one made that names each host").domain = "snaps.internal";
    let ip = sign("ip", "subjectAltName=DNS:10.0.0.7,IP:10.0.0.8", "between", "") + &between;
    table.add("address as a DNS name", ip, "--force: the certificate has 10.0.0.7 as a DNS name, and devices look for an address: have one made with subjectAltName=IP:10.0.0.7").domain = "10.0.0.7";
    let cn = sign("cn", "extendedKeyUsage=serverAuth", "between", "") + &between;
    table.add("common name alone", cn, "--force: the certificate has no subject alternative name and devices do not look at its common name snaps.internal: have one made with subjectAltName=snaps.internal");
    lab.key("selfcn", P256);
    let selfcn = lab.self_signed("selfcn", "/CN=snaps.internal", "basicConstraints=CA:TRUE");
    table.add("self-signed, common name alone", selfcn.cert() + &selfcn.key(), "--force: the certificate has no subject alternative name and devices do not look at its common name snaps.internal: have one made with subjectAltName=snaps.internal");
    lab.key("nobody", P256);
    let nobody = lab.self_signed("nobody", "/O=Site", "basicConstraints=CA:FALSE");
    table.add("no host at all", nobody.cert() + &nobody.key(), "--force: the certificate is for no host, not for snaps.internal: set proxy.domain, or have one made for snaps.internal");
    lab.key("brief", P256);
    let brief = lab.signed("brief", "/CN=snaps.internal", SERVER, "between", "-days 1");
    table
        .add(
            "expired",
            brief.cert() + &brief.key() + &between,
            "--force: the certificate of snaps.internal has expired on TIME: have it renewed",
        )
        .later = Duration::days(2);
    table.add("not valid yet", format!("{both}{between}"), "--force: the certificate of snaps.internal is not valid before TIME: is this host's clock right?; --force: the certificate of Site Intermediate is not valid before TIME: is this host's clock right?").later = Duration::days(-1);
    lab.key("tired", P256);
    lab.signed("tired", "/CN=Tired", CA, "root", "-days 1");
    table
        .add(
            "intermediate expired",
            sign("below", SERVER, "tired", "") + &lab.text("tired.pem"),
            "--force: the certificate of Tired has expired on TIME: have it renewed",
        )
        .later = Duration::days(2);
    table
}
