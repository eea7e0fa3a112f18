//! A PKCS#11 token of the test's own: SoftHSM, with faults on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::server::Setup;

/// The user PIN, which nothing may show.
pub const PIN: &str = "pin-83917264-of-the-token";
/// The label of the token.
pub const LABEL: &str = "factory";

/// Where Debian has the module.
const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];

/// An initialized token; it goes with the test.
pub struct Token {
    folder: TempDir,
}

impl Token {
    /// Makes one. `mechanisms` is what it can do, in SoftHSM's words; `ALL` for everything.
    ///
    /// # Panics
    /// When SoftHSM is missing.
    #[must_use]
    pub fn new(mechanisms: &str) -> Self {
        let token = Self { folder: TempDir::new().expect("there is room") };
        fs::create_dir(token.path("tokens")).expect("a folder");
        let tokens = token.path("tokens").display().to_string();
        let config =
            format!("directories.tokendir = {tokens}\nlog.level = ERROR\nslots.mechanisms = {mechanisms}\n");
        fs::write(token.path("softhsm2.conf"), config).expect("a file");
        token.write_pin(PIN);
        let init = ["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "12345678"];
        let made = Command::new("softhsm2-util")
            .args(init)
            .env("SOFTHSM2_CONF", token.path("softhsm2.conf"))
            .output()
            .expect("SoftHSM is missing: run `tests/run`, which installs it, or `apt-get install softhsm2`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        token
    }

    /// SoftHSM's own module.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    pub fn module() -> &'static str {
        let found = MODULES.into_iter().find(|path| Path::new(path).exists());
        found.expect("the module of SoftHSM is missing: `apt-get install softhsm2`")
    }

    /// A file of the token's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    /// Writes the file with the PIN.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.path("pin"), format!("{pin}\n")).expect("a file");
    }

    /// A server that uses the token.
    #[must_use]
    pub fn used_by(&self, setup: Setup) -> Setup {
        setup
            .variable("SOFTHSM2_CONF", &self.text("softhsm2.conf"))
            .config("proxy.signing.pkcs11.module", Self::module())
            .config("proxy.signing.pkcs11.pin-file", &self.text("pin"))
    }

    /// A server that uses the token through a module that fails as [`fail`](Self::fail) says.
    ///
    /// # Panics
    /// When there is no C compiler.
    #[must_use]
    pub fn used_with_faults_by(&self, setup: Setup) -> Setup {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/faulty-token.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", &self.text("faulty.so"), source, "-ldl"])
            .arg(format!("-DSOFTHSM=\"{}\"", Self::module()))
            .output()
            .expect("a C compiler is missing: `apt-get install build-essential`");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        self.used_by(setup)
            .variable("FAULTY_TOKEN", &self.folder.path().display().to_string())
            .config("proxy.signing.pkcs11.module", &self.text("faulty.so"))
    }

    /// What the next signatures are: `wrong`, `crash` or `hang`; empty for sound ones.
    pub fn fail(&self, how: &str) {
        fs::write(self.path("fault"), how).expect("a file");
    }

    /// How often somebody logged in to a token with faults.
    #[must_use]
    pub fn logins(&self) -> usize {
        fs::read(self.path("logins")).map_or(0, |bytes| bytes.len())
    }
}
