//! The connected side without a network: where logins come from, usage errors, invalid files.

use std::process::Stdio;

use crate::support::Site;

/// `{"t":"bearer","v":"marker"}` in base64.
const BEARER: &str = "eyJ0IjoiYmVhcmVyIiwidiI6Im1hcmtlciJ9";

/// A site whose upstream nobody can reach.
fn offline() -> Site {
    let site = Site::new();
    for key in ["proxy.upstream", "proxy.dashboard.location"] {
        site.run(["config", &format!("{key}=http://127.0.0.1:9")]).ok();
    }
    site
}

#[test]
fn logins_come_from_files_standard_input_and_the_environment() {
    let site = offline();
    let file = site.file("a.login", BEARER);
    let from_file = site.run(["whoami", "--auth", file.to_str().unwrap()]).ok();
    assert!(from_file.starts_with("Form: F (bearer token)\n"), "{from_file}");
    assert_eq!(site.run_with(BEARER, ["whoami", "--auth", "-"]).ok(), from_file);
    let mut command = site.command();
    command.arg("whoami").env("SNAPCRAFT_STORE_CREDENTIALS", BEARER).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), from_file);
    let said = from_file + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("marker") && !said.contains(BEARER), "{said}");

    site.run_with("", ["whoami", "--auth", "-"]).fails("invalid auth from standard input: empty");
    let mut command = site.command();
    let output = command.arg("whoami").env("SNAPCRAFT_STORE_CREDENTIALS", "mark").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = "invalid auth environment variable SNAPCRAFT_STORE_CREDENTIALS: not a recognizable format";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn wrong_uses_are_told_before_anything_is_asked() {
    let site = offline();
    for line in [
        "fetch-snaps",
        "fetch-snaps --model x.model",
        "fetch-snaps a-snap b-snap --revision 3",
        "fetch-snaps a-snap --revision 0",
        "fetch-snaps ../a-snap",
        "fetch-snaps a-snap --channel a/b",
        "fetch-snaps a-snap --validation-set acme",
        "fetch-account-keys acme",
        "fetch-brand-store-metadata AcmeStore",
    ] {
        let done = site.line(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
    }
    site.line("fetch-account-keys acme short").fails("malformed key id \"short\"");
    // An id that begins with a hyphen is an id all the same.
    site.line(&format!("fetch-account-keys acme -{} short", "a".repeat(63)))
        .fails("malformed key id \"short\"");
    site.line("fetch-snaps a-snap --since nothing.tar.gz").fails("cannot read nothing.tar.gz");
    site.file("x.model", "type: nothing\n");
    site.line("fetch-snaps a-snap --model x.model").fails("cannot use the model");
}

#[test]
fn files_that_are_none_are_refused_by_inspect() {
    let site = offline();
    for (name, content, wanted) in [
        ("a.tar.gz", &[b'x'; 2000][..], "not a snap bundle"),
        ("b.tar.gz", b"\x1f\x8b\x08", "cannot read b.tar.gz"),
        ("c.json", b"{}", "not brand store metadata"),
        ("d.assert", b"type: account\n", "cannot read d.assert"),
    ] {
        site.file(name, content);
        site.run(["inspect", name]).fails(wanted);
    }
    site.run(["inspect", "e.tar.gz"]).fails("cannot read e.tar.gz");
}
