//! Certificates and keys made with the `openssl` program, in ways that its users know.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The host that certificates are for, unless a test says otherwise.
pub(super) const DOMAIN: &str = "snaps.internal";

/// What certificates say, unless a test says otherwise.
pub(super) const SERVER: &str =
    "subjectAltName=DNS:snaps.internal\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE";
pub(super) const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";

/// A folder in which `openssl` works.
pub(super) struct Lab(TempDir);

/// A certificate and its key, as files of the lab.
#[derive(Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) lab: &'a Lab,
    pub(super) name: &'a str,
}

impl Made<'_> {
    pub(super) fn cert(&self) -> String {
        self.lab.text(&format!("{}.pem", self.name))
    }

    pub(super) fn key(&self) -> String {
        self.lab.text(&format!("{}.key", self.name))
    }
}

impl Lab {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(super) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect(file)
    }

    pub(super) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect(file)
    }

    /// Runs a line of words; gives what was printed.
    pub(super) fn openssl(&self, line: &str) -> String {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(super) fn run(&self, words: &[&str]) -> String {
        let done = Command::new("openssl")
            .args(words)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        assert!(done.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A key, as the words of `openssl genpkey` describe it.
    pub(super) fn key(&self, name: &str, words: &str) {
        self.openssl(&format!("genpkey -out {name}.key -algorithm {words}"));
    }

    /// An authority that signs itself.
    pub(super) fn root<'a>(&'a self, name: &'a str, subject: &str) -> Made<'a> {
        self.key(name, P256);
        self.self_signed(name, subject, CA)
    }

    /// A certificate of a key that is there already, signed by itself.
    pub(super) fn self_signed<'a>(&'a self, name: &'a str, subject: &str, extensions: &str) -> Made<'a> {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let config =
            format!("[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n{extensions}\n");
        fs::write(self.path("req.cnf"), config).expect("a file");
        let days = ["-days", "3650", "-config", "req.cnf"];
        let words = ["req", "-x509", "-new", "-key", &key, "-out", &cert, "-subj", subject];
        self.run(&[&words[..], &days[..]].concat());
        Made { lab: self, name }
    }

    /// A certificate of a key that is there already, signed by `issuer`; no extensions make X.509 version 1.
    pub(super) fn signed<'a>(
        &'a self,
        name: &'a str,
        subject: &str,
        extensions: &str,
        issuer: &str,
        more: &str,
    ) -> Made<'a> {
        self.run(&["req", "-new", "-key", &format!("{name}.key"), "-out", "a.csr", "-subj", subject]);
        fs::write(self.path("ext.cnf"), extensions).expect("a file");
        let extfile = if extensions.is_empty() { "" } else { "-extfile ext.cnf" };
        let days = if more.contains("-days") { "" } else { "-days 3650" };
        self.openssl(&format!(
            "x509 -req -in a.csr -out {name}.pem -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial {days} {extfile} {more}"
        ));
        Made { lab: self, name }
    }

    /// A server's certificate with a P-256 key.
    pub(super) fn server<'a>(&'a self, name: &'a str, extensions: &str, issuer: &str) -> Made<'a> {
        self.key(name, P256);
        self.signed(name, "/CN=snaps.internal", extensions, issuer, "")
    }
}

pub(super) const P256: &str = "EC -pkeyopt ec_paramgen_curve:P-256";
