//! `acme`.

use serde_json::{Value, json};

use crate::support::{Site, Stub};

fn status(error: Value) -> Value {
    json!({
        "directory": "https://ca.internal/dir", "challenge": "http-01", "domain": "store.test", "contact": [],
        "eab-kid": null, "not-after": "2026-10-01T00:00:00Z", "next-renewal": "2026-09-01T00:00:00Z",
        "last-error": error, "failures": 1
    })
}

#[test]
fn enable_sends_everything_at_once() {
    let site = Site::new();
    let stub = Stub::start(&site, &[("PUT /v1/acme", 200, status(Value::Null))]);
    let key = site.file("eab.key", "c2VjcmV0\n");
    let line = format!(
        "acme enable --directory https://ca.internal/dir --contact a@b --contact c@d --name old.internal --challenge tls-alpn-01 \
         --eab-kid kid --eab-key-file {}",
        key.display()
    );
    let printed = site.line(&line).ok();
    assert!(printed.contains("Next renewal: 2026-09-01T00:00:00Z"), "{printed}");
    let sent: Value = serde_json::from_slice(&stub.asked()[0].body).expect("JSON");
    let wanted = json!({
        "directory": "https://ca.internal/dir", "ca": null, "contact": ["a@b", "c@d"], "names": ["old.internal"],
        "challenge": "tls-alpn-01", "binding": {"kid": "kid", "key": "c2VjcmV0"}
    });
    assert_eq!(sent, wanted);
}

#[test]
fn a_certificate_that_did_not_come_fails_the_command() {
    let site = Site::new();
    let _stub = Stub::start(&site, &[("PUT /v1/acme", 200, status(json!("cannot connect to ca.internal")))]);
    let done = site.line("acme enable --directory https://ca.internal/dir");
    assert!(done.stdout.contains("Last error (once in a row): cannot connect to ca.internal"), "{done:?}");
    done.fails("ACME is on, but no certificate came yet: cannot connect to ca.internal");
}

#[test]
fn half_a_binding_and_a_ca_that_is_none_are_refused_here() {
    let site = Site::new();
    assert_eq!(site.line("acme enable --directory https://ca.internal/dir --eab-kid kid").code, 2);
    let ca = site.file("ca.pem", "nothing");
    site.line(&format!("acme enable --directory https://ca.internal/dir --ca {}", ca.display()))
        .fails("ca.pem holds no PEM block");
}
