//! Stores that are broken in one way each, and a sound one. The doctor finds what is wrong, ends with the code that belongs
//! to it, and its command, with its placeholders filled in, makes the store sound again. The test prints a table.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use schema::assertion::SigningKey;
use tempfile::TempDir;
use tests::bundle::write_pair;
use tests::postgres::{Cluster, connect};
use tests::server::{Server, Setup, program};
use tests::world::{Brand, Revision, World, stream};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{examine, import_aged};

/// So many findings are tried at least.
const LEAST: usize = 30;
/// The longest until something is found or mended.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A store under examination, and what was seen so far.
struct Bench {
    store: Server,
    folder: TempDir,
    rows: Vec<(String, String)>,
}

impl Bench {
    fn new(store: Server) -> Self {
        Self { store, folder: TempDir::new().expect("there is room"), rows: Vec::new() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("there is room");
        path.display().to_string()
    }

    fn config(&self, settings: &[&str]) {
        let _ = self.store.proxy(&[&["config"], settings].concat()).ok();
    }

    /// The findings, and the exit code.
    fn codes(&self) -> (Option<i32>, BTreeSet<String>) {
        let (ended, found) = examine(&self.store);
        let code = |one: &serde_json::Value| one["code"].as_str().expect("a code").to_owned();
        (ended, found.iter().map(code).collect())
    }

    /// The store is broken; what the command's placeholders stand for is filled in, and the command run. Where the command
    /// only shows what to change, `by_hand` changes it.
    fn mends(&mut self, code: &str, fill: &[(&str, &str)], by_hand: impl FnOnce(&Server)) {
        self.has(code);
        let (ended, found) = examine(&self.store);
        let one = found.iter().find(|one| one["code"] == code).expect("it was found a moment ago");
        let advice = found.iter().all(|one| one["urgency"] == "advice");
        assert_eq!(ended, Some(i32::from(!advice)), "{code}: {found:#?}");
        let mut command = one["mend"].as_str().expect("a command").to_owned();
        let printed = command.clone();
        for (placeholder, word) in fill {
            assert!(command.contains(placeholder), "{code}: {placeholder} in {command}");
            command = command.replace(placeholder, word);
        }
        let tool =
            format!("'{}' --data-dir '{}' ", program("proxy").display(), self.store.data_dir.display());
        // Other hosts' tools change this host: what they do is done by hand.
        if let Some(words) = command.strip_prefix("proxy ") {
            command = format!("{tool}{words}");
        } else if !command.starts_with("ls ") && !command.starts_with("chmod ") {
            command = "true".to_owned();
        }
        let ran = Command::new("sh").args(["-c", &command]).output().expect("sh");
        assert!(ran.status.success() || printed.contains("check-connections"), "{code}: {command}: {ran:?}");
        by_hand(&self.store);
        self.waits(&format!("{code} is mended"), |ended, left| ended == Some(0) && !left.contains(code));
        self.rows
            .push((code.to_owned(), format!("| {code} | {} | `{printed}` | sound |", ended.unwrap_or(-1))));
    }

    /// Waits until this is found: some of it is looked at once a while.
    fn has(&self, code: &str) {
        self.waits(&format!("{code} is found"), |_, found| found.contains(code));
    }

    fn waits(&self, what: &str, is_so: impl Fn(Option<i32>, &BTreeSet<String>) -> bool) {
        let begun = Instant::now();
        loop {
            let (ended, found) = self.codes();
            if is_so(ended, &found) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "waited until {what}: {:#?}", examine(&self.store).1);
        }
    }

    fn mends_itself(&mut self, code: &str) {
        self.mends(code, &[], |_| {});
    }
}

/// A web server that turns everybody away.
fn unfriendly() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

/// What the store stands on, and how devices come over plain HTTP.
fn host_and_way() -> Bench {
    let (world, mut bench) =
        (World::new(), Bench::new(Setup::default().config("proxy.domain", "localhost").start()));
    bench.store.trust(&world);
    let port = bench.store.address.port();
    // Nothing was done yet that is only advised.
    let registration = world.registration("acme-onprem", "acme", &format!("http://localhost:{port}"));
    let file = bench.file("store.assert", &registration);
    bench.mends("not-registered", &[("offline-snap-store.tar.gz", &file)], |_| {});
    let passphrase = bench.file("passphrase", b"correct horse battery staple");
    let backup = bench.folder.path().join("airlock.backup");
    let sealed = format!("{} --passphrase-file {passphrase}", backup.display());
    let medium = "/media/usb/airlock.backup";
    bench.mends("backup-never", &[(medium, &sealed)], |_| {});
    bench.mends("backup-not-rehearsed", &[(medium, &sealed)], |_| {});
    let (ended, left) = bench.codes();
    assert_eq!((ended, Vec::from_iter(left)), (Some(0), vec!["url-is-local".to_owned()]), "a sound store");
    let line = "| - (a sound store) | 0 | | sound |".to_owned();
    bench.rows.push(("sound".into(), line));

    let _ = bench.store.proxy(&["disable-airgap-mode"]).ok();
    bench.mends_itself("airgap-mode-off");
    for (name, mode, code) in [("airlock.yaml", 0o644, "secrets-readable"), ("", 0o777, "folder-writable")] {
        let path = bench.store.data_dir.join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
        bench.mends_itself(code);
    }
    for (name, code) in [("blobs", "storage-not-writable"), ("airlock.db", "database-unavailable")] {
        let (place, aside) = (bench.store.data_dir.join(name), bench.store.data_dir.join("aside"));
        fs::rename(&place, &aside).expect("it is moved");
        bench.mends(code, &[], |_| fs::rename(&aside, &place).expect("it is moved back"));
    }
    bench.config(&["proxy.domain=name.invalid"]);
    bench.mends("name-not-resolved", &[("…", "localhost")], |_| {});
    let served = format!("http://localhost:{port}");
    bench.config(&["proxy.public-url=http://localhost:1"]);
    bench.mends("port-closed", &[("URL_THAT_DEVICES_REACH", &served)], |_| {});
    bench.config(&[&format!("proxy.public-url=http://localhost:{}", unfriendly())]);
    bench.mends("turned-away", &[], |store| {
        let _ = store.proxy(&["config", "proxy.public-url="]).ok();
    });
    bench.config(&["proxy.domain=127.0.0.1"]);
    bench.mends_itself("registered-elsewhere");
    bench
}

/// What is given to `push-snap`.
fn pair(bench: &Bench, revision: &Revision) -> String {
    let path: PathBuf = write_pair(bench.folder.path(), revision);
    format!("{} --channel latest/stable --store AcmeStore", path.display())
}

/// Account and keys, of which the one for models ends or does not.
fn keys(world: &World, brand: &Brand, revision: u32, until: Option<OffsetDateTime>) -> Vec<u8> {
    let key = |name: &str, key: &SigningKey| world.account_key_of(&brand.id, name, key);
    let mut models = key("models", &brand.model_key()).header("revision", revision.to_string());
    if let Some(until) = until {
        models = models.header("until", until.format(&Rfc3339).expect("a time"));
    }
    stream(&[
        world.store_key(),
        world.account(&brand.id),
        world.sign(&models),
        world.sign(&key("serials", &brand.serial_key())),
    ])
}

/// What the store holds.
fn holdings() -> Bench {
    let (world, mut bench) = (World::new(), Bench::new(Server::start()));
    bench.store.trust(&world);
    let brand = world.brand("acme");
    let (app, base) =
        (world.snap("acme-app").publisher("acme").base("acme-base"), world.snap("acme-base").kind("base"));
    let (revision, second) = (app.revision(1), app.revision(2));
    bench.store.push_brand(&brand);
    bench.store.push_store("AcmeStore", "acme", &[&app]);
    let file = pair(&bench, &revision);
    bench.mends("grants-not-pushed", &[("BUNDLE", &file)], |_| {});
    let needed = pair(&bench, &base.revision(1)).replace("AcmeStore", "ubuntu");
    let both = tests::bundle::store_metadata("AcmeStore", "acme", &[&app, &base]).to_string();
    let both = bench.file("both.json", both.as_bytes());
    bench.has("base-not-held");
    let _ = bench.store.proxy(&[&["push-snap"], &*needed.split(' ').collect::<Vec<_>>()].concat()).ok();
    bench.mends("base-not-granted", &[("FILE_THAT_GRANTS_acme-base", &both)], |_| {});
    let tool = world.snap("tool").base("tool-base");
    bench.store.push_pair(&tool.revision(1), &["latest/stable"], "ubuntu");
    let needed = world.snap("tool-base").kind("base").revision(1);
    let needed = pair(&bench, &needed).replace("AcmeStore", "ubuntu");
    bench.mends("base-not-held", &[("BUNDLE_WITH_tool-base", &needed)], |_| {});

    let path = crate::verify::blob(&bench.store.data_dir, &revision.image.digest);
    fs::remove_file(&path).expect("own file");
    bench.mends("file-absent", &[("BUNDLE_WITH_acme-app", &file)], |_| {});
    fs::write(&path, b"damage").expect("own file");
    assert_eq!(bench.store.proxy(&["verify"]).code, Some(1));
    bench.mends("file-damaged", &[("BUNDLE", &file)], |_| {});
    // An older revision is offered in place of a damaged one.
    let newer = pair(&bench, &second).replace("latest/stable", "latest/edge");
    bench.store.push_pair(&second, &["latest/edge"], "AcmeStore");
    fs::write(crate::verify::blob(&bench.store.data_dir, &second.image.digest), b"damage").expect("own file");
    assert_eq!(bench.store.proxy(&["verify"]).code, Some(1));
    bench.mends("revision-stands-in", &[("BUNDLE", &newer)], |_| {});

    let lost = world.snap("acme-lost").publisher("acme");
    bench.store.push_pair(&lost.revision(1), &["latest/stable"], "OtherStore");
    let metadata = |snaps: &[&tests::world::Snap]| {
        tests::bundle::store_metadata("OtherStore", "acme", snaps).to_string()
    };
    let granted = bench.file("store.json", metadata(&[&lost]).as_bytes());
    bench.mends("snap-seen-by-nobody", &[("FILE", &granted)], |_| {});
    bench.store.push_store("EmptyStore", "acme", &[]);
    let filled = tests::bundle::store_metadata("EmptyStore", "acme", &[&lost]).to_string();
    let filled = bench.file("filled.json", filled.as_bytes());
    bench.mends("store-grants-nothing", &[("FILE", &filled)], |_| {});

    let bolt = world.brand("bolt");
    bench.store.push_store("BoltStore", "bolt", &[&base]);
    let known = bench.file("bolt.assert", &bolt.account_keys());
    bench.mends("brand-without-keys", &[("FILE", &known)], |_| {});
    let ending = keys(&world, &brand, 1, Some(OffsetDateTime::now_utc() + Duration::days(30)));
    let _ = bench
        .store
        .with_file("keys.assert", &ending, |path| bench.store.proxy(&["push-account-keys", path]).ok());
    let longer = bench.file("longer.assert", &keys(&world, &brand, 2, None));
    bench.mends("account-key-ends", &[("FILE", &longer)], |_| {});
    bench
}

/// How HTTPS looks to a device.
fn https() -> Bench {
    let mut bench = Bench::new(Setup::default().config("proxy.port.https", "0").start());
    let _ = bench.store.proxy(&["ca", "init"]).ok();
    let _ = bench.store.proxy(&["ca", "issue-server"]).ok();
    let authority = fs::read(bench.store.data_dir.join("ca/ca.pem")).expect("an authority");
    let clients = bench.file("clients.pem", &authority);
    bench.config(&["proxy.tls.client-auth=required", &format!("proxy.tls.client-ca={clients}")]);
    bench.mends_itself("client-certificate-demanded");
    fs::write(&clients, b"no certificate").expect("own file");
    bench.mends("tls-setting", &[], |_| fs::write(&clients, &authority).expect("own file"));
    fs::remove_file(&clients).expect("own file");
    bench.mends("client-cas-stale", &[], |_| fs::write(&clients, &authority).expect("own file"));
    bench.config(&["proxy.tls.client-auth=off", "proxy.tls.client-ca="]);
    // It would mend this itself.
    let _ = bench.store.proxy(&["jobs", "pause", "ca"]).ok();
    import_aged(&bench.store, 300, 60);
    bench.mends_itself("certificate-ends");
    let _ = bench.store.proxy(&["import-certificate", "--selfsigned"]).ok();
    bench.mends_itself("certificate-untrusted");
    let out = bench.folder.path().display().to_string();
    let _ = bench.store.proxy(&["ca", "issue-server", "--name", "elsewhere.internal", "--out", &out]).ok();
    let [pem, key] = ["pem", "key"].map(|end| format!("{out}/elsewhere.internal.{end}"));
    let _ = bench.store.proxy(&["import-certificate", "--force", &pem, &key]).ok();
    bench.mends_itself("certificate-name");
    // Files of another program, of which one is not what it is called.
    let _ = bench.store.proxy(&["ca", "issue-server"]).ok();
    let [cert, key] = ["cert", "key"].map(|part| {
        let text = bench.store.proxy(&["config", &format!("proxy.tls.{part}")]).ok();
        bench.file(&format!("{part}.pem"), text.as_bytes())
    });
    let pair = fs::read(&key).expect("own file");
    bench.config(&[&format!("proxy.tls.cert-file={cert}"), &format!("proxy.tls.key-file={key}")]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("own file");
    bench.mends_itself("secrets-readable");
    fs::write(&key, "no key").expect("own file");
    bench.mends("certificate-files-not-taken", &[], |_| fs::write(&key, &pair).expect("own file"));
    bench
}

/// What other servers of the same database do, what a clock does, and a program that is not installed.
fn others() -> Vec<Bench> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = runtime.block_on(Cluster::shared().database()).expect("a database");
    let mut bench = Bench::new(Setup::default().config("proxy.db.connection", &url).start());
    let run = |statement: &str| {
        runtime.block_on(async {
            let client = connect(&url).await.expect("the database answers");
            client.batch_execute(statement).await.expect("a statement");
        });
    };
    run("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (9999, 'later', 'x', 0)");
    bench.mends("schema-not-recognised", &[], |_| run("DELETE FROM schema_migrations WHERE version = 9999"));

    let folder = TempDir::new().expect("there is room");
    let (clock, xdelta3) = (folder.path().join("clock"), folder.path().join("xdelta3"));
    let step = |seconds: i64| {
        fs::write(clock.with_extension("new"), seconds.to_string()).expect("there is room");
        fs::rename(clock.with_extension("new"), &clock).expect("there is room");
    };
    step(0);
    let setup = Setup::default().clock(&clock).xdelta3(&xdelta3).config("proxy.port.https", "0");
    let (world, mut moved) = (World::new(), Bench::new(setup.start()));
    moved.store.trust(&world);
    moved.store.push_pair(&world.snap("hello").revision(1), &["latest/stable"], "ubuntu");
    step(-86_400);
    moved.mends("clock-went-back", &[], |_| step(0));
    step(-20 * 365 * 86_400);
    moved.mends("clock-behind", &[], |_| step(0));
    let _ = moved.store.proxy(&["jobs", "pause", "ca"]).ok();
    let _ = moved.store.proxy(&["ca", "init"]).ok();
    let _ = moved.store.proxy(&["ca", "issue-server", "--days", "30"]).ok();
    step(-2 * 86_400);
    moved.mends("certificate-not-valid-yet", &[], |_| step(0));
    step(40 * 86_400);
    moved.mends_itself("certificate-expired");
    moved.config(&["proxy.deltas.budget=1000"]);
    moved.mends("xdelta3-missing", &[], |_| {
        fs::write(&xdelta3, "#!/bin/sh\n").expect("there is room");
        fs::set_permissions(&xdelta3, fs::Permissions::from_mode(0o755)).expect("own file");
    });
    vec![bench, moved]
}

#[test]
fn what_is_broken_is_found_and_mended_by_the_printed_command() {
    let benches: Vec<Bench> = std::thread::scope(|scope| {
        let first = [host_and_way, holdings, https].map(|bench| scope.spawn(bench));
        let last = scope.spawn(others);
        let mut all: Vec<Bench> =
            first.into_iter().map(|bench| bench.join().expect("all is mended")).collect();
        all.extend(last.join().expect("all is mended"));
        all
    });
    let rows: Vec<&(String, String)> = benches.iter().flat_map(|bench| &bench.rows).collect();
    println!("| Finding | Exit code | Printed command | After it |\n|---|---|---|---|");
    rows.iter().for_each(|(_, row)| println!("{row}"));
    let tried: BTreeSet<&str> = rows.iter().map(|(code, _)| code.as_str()).collect();
    assert!(tried.len() > LEAST, "{} findings: {tried:?}", tried.len() - 1);
}
