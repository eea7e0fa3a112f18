//! Secrets that a service manager passes as files: a backup holds them too.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use tests::server::{Ran, SECRET, Setup, program, proxy};

#[test]
fn secrets_that_are_credentials_are_in_the_backup() {
    let folder = TempDir::new().expect("there is room");
    let text = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(text("credentials")).expect("a folder");
    fs::write(text("credentials/proxy.device-auth.secret"), SECRET).expect("a secret");
    fs::write(text("passphrase"), "correct horse battery staple").expect("a file");
    let setup = Setup::default().config("proxy.device-auth.secret", "");
    let store = setup.variable("CREDENTIALS_DIRECTORY", &text("credentials")).start();
    let args = ["backup", &text("store.backup"), "--passphrase-file", &text("passphrase")];
    // Without them it would be a store whose devices lose their sessions.
    let refused = store.proxy(&args).refused();
    assert!(refused.contains("CREDENTIALS_DIRECTORY=/etc/airlock/credentials"), "{refused}");
    let ran: Ran = Command::new(program("proxy"))
        .arg("--data-dir")
        .arg(&store.data_dir)
        .args(args)
        .env("CREDENTIALS_DIRECTORY", text("credentials"))
        .output()
        .expect("it can be started")
        .into();
    let _ = ran.ok();
    let host = folder.path().join("host");
    let restore = ["restore", &text("store.backup"), "--passphrase-file", &text("passphrase")];
    let _ = proxy(&host, &restore).ok();
    assert_eq!(proxy(&host, &["config", "proxy.device-auth.secret"]).ok().trim(), SECRET);
}
