//! Stores that are broken in one way each: the doctor finds it, ends with 1, and its command makes the store sound again.

mod broken;

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::server::{Server, Setup};
use tests::world::World;

/// What the doctor says, and how it ends.
fn examine(store: &Server) -> (Option<i32>, Vec<Value>) {
    let ran = store.proxy(&["doctor", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, found["findings"].as_array().cloned().unwrap_or_default())
}

/// The command of the only finding that is not advice.
fn finding(store: &Server, code: &str, urgency: &str) -> String {
    let (ended, found) = examine(store);
    let urgent: Vec<&Value> = found.iter().filter(|one| one["urgency"] != "advice").collect();
    let [one] = &urgent[..] else { panic!("{code}: {found:#?}") };
    assert_eq!((one["code"].as_str(), one["urgency"].as_str()), (Some(code), Some(urgency)), "{one}");
    assert_eq!(ended, Some(1), "{code}");
    let status = store.proxy(&["status"]);
    assert_eq!(status.code, Some(i32::from(urgency == "now")), "{code}: {}", status.stdout);
    assert_eq!(store.proxy(&["status", "--strict"]).code, Some(1), "{code}");
    one["mend"].as_str().expect("a command").to_owned()
}

#[track_caller]
fn is_sound(store: &Server) {
    let (ended, found) = examine(store);
    assert_eq!(ended, Some(0), "{found:#?}");
    let _ = store.proxy(&["status", "--strict"]).ok();
}

/// Runs the printed command.
fn run(store: &Server, command: &str) {
    let mut words = command.split(' ');
    match words.next() {
        Some("proxy") => drop(store.proxy(&words.collect::<Vec<_>>()).ok()),
        _ => assert!(Command::new("sh").args(["-c", command]).status().expect("sh").success()),
    }
}

#[test]
fn a_registration_that_sends_devices_elsewhere_stays_a_problem() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let port = store.address.port();
    let register = |url: &str| {
        let stream = world.registration("acme-onprem", "acme", url);
        store.with_file("store.assert", &stream, |path| {
            store.proxy(&["register", "--import", path, "--force"]).ok()
        })
    };
    let told = register(&format!("http://localhost:{port}"));
    assert!(told.contains("Next: `proxy device-kit > device-kit.sh`"), "{told}");
    run(&store, &finding(&store, "registered-elsewhere", "now"));
    is_sound(&store);
}

#[test]
fn https_is_tried_as_a_device_comes() {
    let store = Setup::default().config("proxy.port.https", "0").start();
    let _ = store.proxy(&["ca", "init"]).ok();
    let _ = store.proxy(&["ca", "issue-server"]).ok();
    is_sound(&store);
    // Clients that have no certificate.
    let ca = store.data_dir.join("ca/ca.pem");
    let demand = format!("proxy.tls.client-ca={}", ca.display());
    let _ = store.proxy(&["config", "proxy.tls.client-auth=required", &demand]).ok();
    run(&store, &finding(&store, "client-certificate-demanded", "now"));
    is_sound(&store);
    // A short life is no fault while most of it is left; its last third is, and its last week all the more.
    let _ = store.proxy(&["ca", "issue-server", "--days", "60"]).ok();
    is_sound(&store);
    // It would renew them itself.
    let _ = store.proxy(&["jobs", "pause", "ca"]).ok();
    for (lived, left, urgency) in [(100, 5, "now"), (300, 60, "soon")] {
        import_aged(&store, lived, left);
        run(&store, &finding(&store, "certificate-ends", urgency));
        is_sound(&store);
    }
    // One that nobody trusts.
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    run(&store, &finding(&store, "certificate-untrusted", "now"));
    is_sound(&store);
}

/// Gives the store a certificate of its own authority that has lived for some days already.
fn import_aged(store: &Server, lived: i64, left: i64) {
    const CONFIG: &str = "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index\nserial=serial\ndefault_md=sha256\n\
        policy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n\
        basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n";
    let folder = tempfile::tempdir().expect("a folder");
    let days = |days: i64| {
        let at = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        format!("{:04}{:02}{:02}000000Z", at.year(), u8::from(at.month()), at.day())
    };
    fs::write(folder.path().join("ca.conf"), CONFIG).expect("a file");
    let authority = store.data_dir.join("ca");
    let script = format!(
        "touch index && echo 1000 > serial && \
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key -out request && \
         openssl ca -batch -notext -config ca.conf -cert {0}/ca.pem -keyfile {0}/ca.key -startdate {1} -enddate {2} \
             -in request -out certificate",
        authority.display(),
        days(-lived),
        days(left + 1)
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(&folder).output().expect("sh");
    assert!(made.status.success(), "{made:?}");
    let [certificate, key] =
        ["certificate", "key"].map(|name| folder.path().join(name).display().to_string());
    let authority = authority.join("ca.pem").display().to_string();
    let _ = store.proxy(&["import-certificate", &certificate, &key, &authority]).ok();
}

#[test]
fn what_is_held_is_looked_at() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let brand = world.brand("acme");
    let app = world.snap("acme-app").publisher("acme");
    let revision = app.revision(1);
    store.push_store("AcmeStore", "acme", &[&app]);
    let codes = || {
        let (_, found) = examine(&store);
        let urgent = found.into_iter().filter(|one| one["urgency"] != "advice");
        urgent.map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["grants-not-pushed", "brand-without-keys"]);
    store.push_brand(&brand);
    let _ = finding(&store, "grants-not-pushed", "now");
    store.push_pair(&revision, &["latest/stable"], "AcmeStore");
    is_sound(&store);
    // A file that went away.
    let hex = revision.image.digest.to_hex();
    let path = store.data_dir.join("blobs").join(&hex[..2]).join(&hex);
    assert!(path.exists(), "{}", path.display());
    fs::remove_file(&path).expect("own file");
    assert_eq!(codes(), ["file-absent"]);
    store.push_pair(&revision, &["latest/stable"], "AcmeStore");
    is_sound(&store);
    // A snap of a store that nobody knows, and a store that grants nothing.
    let lost = world.snap("acme-lost").publisher("acme").revision(1);
    store.push_pair(&lost, &["latest/stable"], "OtherStore");
    let _ = finding(&store, "snap-seen-by-nobody", "soon");
    store.push_store("OtherStore", "acme", &[&world.snap("acme-lost").publisher("acme")]);
    is_sound(&store);
}

#[test]
fn a_clock_that_went_back_is_told_at_the_start_and_in_status() {
    let store = Server::start();
    let _ = store.proxy(&["config", "proxy.verify.rate=7"]).ok();
    let store = store.stop().start_with_clock(-2 * 86_400);
    let status = store.proxy(&["status", "--strict"]);
    assert_eq!(status.code, Some(1), "{}", status.stdout);
    let log = store.log();
    for text in [&status.stdout, &log] {
        for wanted in [
            "The clock went backwards",
            "Sessions, logins and certificates",
            "backup --keep",
            "timedatectl set-time",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
    // An event of the earlier time hides nothing.
    let _ = store.proxy(&["config", "proxy.verify.rate=8"]).ok();
    assert!(store.proxy(&["status"]).stdout.contains("The clock went backwards"));
    let store = store.stop().start_with_clock(0);
    let status = store.proxy(&["status"]).stdout;
    assert!(!status.contains("went backwards"), "{status}");
    // The log goes on from start to start.
    assert_eq!(store.log().matches("The clock went backwards").count(), 1);
}

#[test]
fn another_registration_says_what_devices_have_to_do() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let port = store.address.port();
    let register = |command: &str, id: &str, url: &str| {
        let stream = world.registration(id, "acme", url);
        store.with_file("store.assert", &stream, |path| store.proxy(&[command, "--import", path]).ok())
    };
    let first = format!("http://localhost:{port}");
    let told = register("register", "acme-onprem", &first);
    assert!(!told.contains("registration changed"), "{told}");
    assert!(!register("reregister", "acme-onprem", &first).contains("registration changed"));
    let told = register("reregister", "acme-second", &format!("http://127.0.0.1:{port}"));
    assert!(told.contains(&format!("changed from acme-onprem at {first} to acme-second at")), "{told}");
    assert!(told.contains("run the device kit on each of the 0 that were seen"), "{told}");
}
