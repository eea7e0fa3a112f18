//! Keys on a PKCS#11 token: SoftHSM as the store uses it, and a module that fails.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tests::attack::size;
use tests::factory::{Newborn, signer_of, token_signer_of};
use tests::server::{Server, Setup, proxy};
use tests::token::{LABEL, PIN, Token};

use crate::signing::{Site, assert_refused, serial_of, state};

impl Site {
    /// A second key, on the token, that signs the serials of `acme/hub`; the first one signs those of `acme/gateway`.
    fn with_token(setup: Setup) -> Self {
        let site = Self::on(setup.start());
        site.add(&["--serial", "assigned"]);
        site.store.make_key_for(&site.world, "token-1", "serial", "acme", &["--pkcs11", LABEL]);
        let add = ["models", "add", "acme/hub", "--key", "token-1", "--serial", "assigned"];
        let _ = site.store.proxy(&add).ok();
        site
    }

    fn hub(&self, name: &str) -> Newborn {
        Newborn::new(&self.brand.model_in("hub", "AcmeStore"), self.world.key(&format!("device-{name}")))
    }
}

#[test]
fn a_token_signs_whether_it_hashes_or_pads() {
    for mechanisms in ["ALL", "-CKM_RSA_PKCS"] {
        let token = Token::new(mechanisms);
        let site = Site::with_token(token.used_by(Setup::default()));
        let (store, device) = (&site.store, site.hub("a"));
        // Signed by the token, or the store had refused it.
        let serial = serial_of(&device, &device.register(store));
        let key = state(store, "token-1");
        assert_eq!((&key["state"], &key["signed"]), (&"ready".into(), &1.into()), "{mechanisms}");
        assert_eq!(key["place"], serde_json::json!({ "token": LABEL, "object": "token-1" }));
        let other = ["keys", "create", "token-2", "--for", "serial", "--account", "acme", "--pkcs11"];
        let refused = store.proxy(&[&other[..], &[LABEL, "--pkcs11-label", "token-1"]].concat()).refused();
        assert!(refused.contains("--pkcs11-label"), "{refused}");
        let refused = store.proxy(&[&other[..], &["another"]].concat()).refused();
        assert!(refused.contains("there is no token another; those there are: factory"), "{refused}");
        let store = site.store.kill().start();
        assert_eq!(serial_of(&device, &device.register(&store)), serial, "{mechanisms}");
    }
}

/// Whether a file holds these bytes in any of the forms that keys are written in.
fn holds(file: &[u8], bytes: &[u8]) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let within = |file: &[u8], wanted: &[u8]| file.windows(wanted.len()).any(|window| window == wanted);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Lines end anywhere.
    let flat: Vec<u8> = file.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let coded = (0..3).any(|skip| {
        let text = STANDARD_NO_PAD.encode(&bytes[skip..skip + 30]);
        within(&flat, text.as_bytes())
    });
    within(file, bytes) || within(&flat.to_ascii_lowercase(), hex.as_bytes()) || coded
}

fn every_file(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => every_file(&path, look),
            false => look(&path, &fs::read(&path).unwrap_or_default()),
        }
    }
}

/// A number of a private key, in the words of `openssl pkey -text`.
fn number(pem: &Path, name: &str) -> Vec<u8> {
    let said = Command::new("openssl").args(["pkey", "-noout", "-text", "-in"]).arg(pem).output();
    let text = String::from_utf8(said.expect("openssl").stdout).expect("text");
    let (_, rest) = text.split_once(&format!("{name}:\n")).expect("it has this number");
    let lines = rest.lines().take_while(|line| line.starts_with("    "));
    let hex: Vec<&str> =
        lines.flat_map(|line| line.trim().split(':')).filter(|part| !part.is_empty()).collect();
    hex.iter().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

#[test]
fn attack_neither_a_key_on_a_token_nor_its_pin_is_at_rest() {
    let token = Token::new("ALL");
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/assertions/keys/device-c-4096.pem");
    let import =
        ["--import", pem.to_str().expect("text"), "--token", LABEL, "--label", "known", "--id", "01"];
    let imported = Command::new("softhsm2-util")
        .args(import)
        .args(["--pin", PIN])
        .env("SOFTHSM2_CONF", token.path("softhsm2.conf"))
        .output()
        .expect("softhsm2-util");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let site = Site::on(token.used_by(Setup::default()).start());
    let (store, pins) = (&site.store, ["--pkcs11", LABEL, "--pkcs11-label", "known"]);
    store.make_key_for(&site.world, "known-1", "serial", "acme", &pins);
    let _ = store.proxy(&["models", "add", "acme/hub", "--key", "known-1", "--serial", "assigned"]).ok();
    let device = site.hub("a");
    let _ = serial_of(&device, &device.register(store));

    let signer = token_signer_of(store).expect("the signer runs");
    for (pid, file) in [
        (signer.to_string(), "environ"),
        (signer.to_string(), "cmdline"),
        (store.pid().to_string(), "environ"),
    ] {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).expect("a process");
        assert!(!String::from_utf8_lossy(&bytes).contains(PIN), "{pid}/{file}");
    }
    // What its library can read opens no sealed key: it has neither the secret nor a descriptor of the store's files.
    let links = fs::read_dir(format!("/proc/{signer}/fd")).expect("a process").flatten();
    let open: Vec<_> = links.filter_map(|link| fs::read_link(link.path()).ok()).collect();
    let log = store.data_dir.join("proxyd.log");
    assert!(!open.iter().any(|file| file.starts_with(&store.data_dir) && *file != log), "{open:?}");

    let vault = TempDir::new().expect("there is room");
    let (file, host) = (vault.path().join("store.backup"), vault.path().join("host"));
    let [text, word] = [&file, &vault.path().join("word")].map(|path| path.display().to_string());
    fs::write(&word, "a passphrase for tests\n").expect("a file");
    let _ = store.proxy(&["backup", &text, "--passphrase-file", &word]).ok();
    let _ = proxy(&host, &["restore", &text, "--passphrase-file", &word]).ok();
    let numbers = ["privateExponent", "prime1", "prime2", "exponent1"].map(|name| number(&pem, name));
    let numbers = numbers.map(|number| number[number.len() / 2..number.len() / 2 + 64].to_vec());
    assert!(numbers.iter().all(|number| holds(&fs::read(&pem).expect("a file"), number)), "the search works");
    let (mut files, mut found) = (0, Vec::new());
    for folder in [&store.data_dir, &host] {
        every_file(folder, &mut |path, bytes| {
            files += 1;
            let has_pin = bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes());
            if has_pin || numbers.iter().any(|number| holds(bytes, number)) {
                found.push(path.to_owned());
            }
        });
    }
    assert!(files > 5, "{files}");
    assert_eq!(found, Vec::<std::path::PathBuf>::new());
}

#[test]
fn attack_a_module_that_lies_crashes_or_hangs_ends_itself_only() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_with_faults_by(Setup::default()));
    let (store, device, other) = (&site.store, site.hub("a"), site.device("b"));
    for fault in ["wrong", "crash", "hang"] {
        token.fail(fault);
        let (before, begun) = (token_signer_of(store), Instant::now());
        assert_refused(&device.register(store), 503, "unavailable");
        assert!(begun.elapsed() < Duration::from_secs(25), "{fault}: a device waits for 30 seconds");
        // Keys of this store sign meanwhile.
        let _ = serial_of(&other, &other.register(store));
        token.fail("");
        let given = serial_of(&device, &device.register(store));
        if fault != "wrong" {
            assert_ne!(token_signer_of(store), before, "{fault}");
        }
        // A device whose serial is signed gets it without the token.
        token.fail("crash");
        assert_eq!(serial_of(&device, &device.register(store)), given);
        let _ = store.proxy(&["serials", "reissue", &format!("acme/hub/{given}")]).ok();
    }
}

#[test]
fn attack_a_wrong_pin_is_tried_once() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_with_faults_by(Setup::default()));
    let device = site.hub("a");
    token.write_pin("another-pin");
    let (store, before) = (site.store.kill().start(), token.logins());
    for _ in 0..3 {
        assert_refused(&device.register(&store), 503, "unavailable");
        assert_eq!(state(&store, "token-1")["state"], "locked");
    }
    assert_eq!(token.logins() - before, 1, "a token locks itself after a few");
    let said = store.proxy(&["keys", "request", "token-1"]).refused();
    assert!(said.contains("PinIncorrect") && said.contains("write the right one into"), "{said}");
    token.write_pin(PIN);
    let _ = serial_of(&device, &device.register(&store));
}

#[test]
fn a_token_that_comes_back_is_found() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_by(Setup::default()));
    let (device, away) = (site.hub("a"), token.path("away"));
    let tokens = token.path("tokens");
    fs::rename(&tokens, &away).expect("a folder");
    fs::create_dir(&tokens).expect("a folder");
    let store = site.store.kill().start();
    assert_refused(&device.register(&store), 503, "unavailable");
    let said = store.proxy(&["doctor"]).stdout;
    assert!(said.contains("there is no token factory") && said.contains("proxy keys list"), "{said}");
    let log = fs::read_to_string(store.data_dir.join("proxyd.log")).expect("a log");
    let waits = log.lines().find(|line| line.contains("A device has to wait for its serial"));
    assert!(waits.is_some_and(|line| line.contains("there is no token factory")), "{waits:?}");
    fs::remove_dir(&tokens).expect("an empty folder");
    fs::rename(&away, &tokens).expect("a folder");
    let _ = serial_of(&device, &device.register(&store));
}

#[test]
fn attack_of_several_keys_and_tokens_with_one_label_none_is_taken_by_chance() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_by(Setup::default()));
    let device = site.hub("a");
    let util = |args: &[&str]| {
        let conf = token.path("softhsm2.conf");
        let said = Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", conf).output();
        let said = said.expect("softhsm2-util");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    };
    // The key is the one that was recorded.
    let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/assertions/keys/device-c-4096.pem");
    let pem = pem.to_str().expect("text");
    let import = ["--import", pem, "--token", LABEL, "--label", "token-1", "--id", "02", "--pin", PIN];
    util(&import);
    let store = site.store.kill().start();
    assert_eq!(state(&store, "token-1")["state"], "ready");
    let _ = serial_of(&device, &device.register(&store));
    // The token is none of both.
    util(&["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "12345678"]);
    let store = store.kill().start();
    let said = store.proxy(&["keys", "request", "token-1"]).refused();
    assert!(said.contains("several tokens have the label factory"), "{said}");
}

#[test]
fn attack_a_signer_ends_with_its_server() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_by(Setup::default()));
    let signer = token_signer_of(&site.store).expect("the signer runs");
    // It is in the middle of something, and does not see that nobody asks any more.
    kill(Pid::from_raw(signer), Signal::SIGSTOP).expect("it runs");
    let _ = site.store.kill();
    let ended =
        || fs::read_to_string(format!("/proc/{signer}/stat")).map_or(true, |stat| stat.contains(") Z "));
    crate::signing::until("the signer is gone", ended);
}

/// Registers devices while their signer is killed again and again; each asks until it has its serial, as snapd does.
fn registered_while_killed(site: &Site, devices: &[Newborn], signer: impl Fn(&Server) -> Option<i32> + Sync) {
    let store = &site.store;
    let (given, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut serials, refused): (Vec<String>, Vec<usize>) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            // One after every few serials, so that some are given.
            let (mut killed, mut next) = (0, 3);
            while !done.load(Ordering::Relaxed) {
                match signer(store) {
                    Some(running) if given.load(Ordering::Relaxed) >= next => {
                        // It may have ended by itself.
                        let _ = kill(Pid::from_raw(running), Signal::SIGKILL);
                        (killed, next) = (killed + 1, given.load(Ordering::Relaxed) + 4);
                    }
                    _ => std::thread::yield_now(),
                }
            }
            killed
        });
        let lines: Vec<_> = devices
            .chunks(devices.len().div_ceil(4))
            .map(|line| {
                let given = &given;
                scope.spawn(move || {
                    let register = |device: &Newborn| {
                        let mut refused = 0;
                        loop {
                            let answer = device.register(store);
                            if answer.status == 200 {
                                given.fetch_add(1, Ordering::Relaxed);
                                return (serial_of(device, &answer), refused);
                            }
                            assert_refused(&answer, 503, "unavailable");
                            refused += 1;
                        }
                    };
                    line.iter().map(register).collect::<Vec<_>>()
                })
            })
            .collect();
        let serials = lines.into_iter().flat_map(|line| line.join().expect("serials")).unzip();
        done.store(true, Ordering::Relaxed);
        let killed: usize = killer.join().expect("a count");
        println!("{} devices, the signer killed {killed} times", devices.len());
        assert!(killed > 1, "{killed}");
        serials
    });
    assert!(refused.iter().sum::<usize>() > 0, "no kill met a device");
    println!("{} answers were 503", refused.iter().sum::<usize>());
    for (device, serial) in devices.iter().zip(&serials) {
        assert_eq!(serial_of(device, &device.register(store)), *serial, "the same for ever");
    }
    let model = devices[0].model.text("model").expect("a name");
    let listed = store.proxy(&["serials", "list", "--model", &format!("acme/{model}"), "--json"]).json();
    assert_eq!(listed["serials"].as_array().map(Vec::len), Some(devices.len()), "one each");
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), devices.len());
}

#[test]
fn attack_signers_killed_during_registrations_give_each_device_one_serial() {
    let token = Token::new("ALL");
    let site = Site::with_token(token.used_by(Setup::default()));
    let names: Vec<String> = (0..size(24, 100)).map(|number| format!("k{number}")).collect();
    let sealed: Vec<Newborn> = names.iter().map(|name| site.device(name)).collect();
    registered_while_killed(&site, &sealed, signer_of);
    let on_token: Vec<Newborn> = names.iter().take(size(12, 100)).map(|name| site.hub(name)).collect();
    registered_while_killed(&site, &on_token, token_signer_of);
}
