//! What a service manager hands over: open ports, and secrets as files.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tests::http::{Request, exchange};
use tests::server::{SECRET, Setup};

const KEY: &str = "proxy.device-auth.secret";
const OTHER: &str = "bWFya2VyLW1hcmtlci1tYXJrZXItbWFya2VyLW1hcms=";

fn port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn ports_that_are_open_already_are_served() {
    let ((http, plain), (https, secure)) = (port(), port());
    // The configured ports are unavailable: they are in use.
    let ((_busy, taken), (_busy_too, taken_too)) = (port(), port());
    let store = Setup::default()
        .config("proxy.port.http", &taken.port().to_string())
        .config("proxy.port.https", &taken_too.port().to_string())
        .handing("https", https)
        .handing("http", http)
        .start();
    assert_eq!(store.status().listening, [format!("http://{plain}")]);
    let find = Request::new("GET", "/v2/snaps/find", &plain.to_string());
    assert_eq!(exchange(plain, &find).expect("an answer").status, 200);
    // Without a certificate nobody is left waiting at the door of HTTPS.
    assert!(exchange(secure, &find).is_err());

    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    let listening = [format!("http://{plain}"), format!("https://{secure}")];
    assert_eq!(store.status().listening, listening);
    assert_eq!(store.status().store_url, format!("https://127.0.0.1:{}", secure.port()));
    let answer = exchange(plain, &find).expect("an answer");
    let there = format!("https://127.0.0.1:{}/v2/snaps/find", secure.port());
    assert_eq!((answer.status, answer.header("Location")), (308, Some(&*there)));

    // TLS goes off and on again; the port of the service manager stays.
    let _ = store.proxy(&["config", "proxy.tls.cert=", "proxy.tls.key="]).ok();
    assert_eq!(store.status().listening, listening[..1]);
    assert_eq!(exchange(plain, &find).expect("an answer").status, 200);
    assert!(exchange(secure, &find).is_err());
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    assert_eq!(store.status().listening, listening);
    let _ = store.stop();
}

#[test]
fn ports_of_unknown_use_end_the_start() {
    for names in [&["admin"][..], &["http", "http"]] {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = names.iter().fold(Setup::empty(), |setup, name| setup.handing(name, port().0));
        let failure = setup.start_at(folder.path()).err().expect("no start");
        assert!(failure.contains("FileDescriptorName=") || failure.contains("ListenStream="), "{failure}");
        assert!(!folder.path().join("airlock.db").exists(), "nothing was written");
    }
}

fn credentials(folder: &Path, secret: &str) {
    fs::write(folder.join("airlock_proxy.device-auth.secret"), format!("{secret}\n")).expect("written");
}

#[test]
fn a_secret_comes_as_a_credential_and_stays_out_of_the_file() {
    let given = tempfile::tempdir().expect("a folder");
    credentials(given.path(), SECRET);
    let store = Setup::default()
        .config(KEY, "")
        .config("proxy.auth.secret", "")
        .config("proxy.airgap", "False")
        .variable("CREDENTIALS_DIRECTORY", given.path().to_str().expect("a path of text"))
        .start();
    assert_eq!(store.status().credentials, [KEY]);
    let key = store.status().session_key.expect("a key of sessions");
    // The mode makes no second secret, and changes write none.
    let _ = store.proxy(&["enable-airgap-mode"]).ok();
    let _ = store.proxy(&["config", "proxy.domain=localhost"]).ok();
    let file = fs::read_to_string(store.data_dir.join("airlock.yaml")).expect("the file");
    assert!(file.contains("proxy.airgap") && !file.contains(KEY) && !file.contains(&SECRET[..42]), "{file}");
    let exported = store.proxy(&["config", "--export-yaml"]).ok();
    assert!(!exported.contains(KEY), "{exported}");
    for refused in [
        store.proxy(&["config", &format!("{KEY}={OTHER}")]).refused(),
        store.proxy(&["rotate-secret", KEY, "--keep-old", "1d"]).refused(),
    ] {
        assert!(refused.contains("credential"), "{refused}");
    }
    assert_eq!(store.status().session_key.as_ref(), Some(&key));

    // Another one is as foreign as another one in the file.
    let mut stopped = store.stop();
    credentials(given.path(), OTHER);
    let failure = stopped.try_start().err().expect("no start");
    assert!(failure.contains("restore the secret"), "{failure}");
    credentials(given.path(), SECRET);
    assert_eq!(stopped.start().status().session_key, Some(key));
}
