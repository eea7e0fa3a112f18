//! The store that the benchmarks measure: one brand, one snap of 256 MiB and many small ones, and raw requests that it
//! answers. Its background check of all files is off.
//!
//! Usage: `bench_store FOLDER SESSIONS SNAPS`. Writes into FOLDER the requests `refresh.http` (of one snap), `fifty.http` (of
//! fifty), `info.http`, `find.http`, `download.http`, `session.http` (SESSIONS requests of one device, each for a session of
//! its own) and `first.http` (SESSIONS requests, each of a device that was never seen), the large snap as `blob`, and the
//! certificate of the store with its key, `cert.pem` and `key.pem`. Prints the addresses of HTTP and HTTPS and the process
//! id on one line, and serves until its standard input ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use schema::assertion::{AssertionType, Builder, SigningKey};
use tests::bundle::write_pair;
use tests::device::session::session_request;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::{Server, Setup};
use tests::snap::{Image, noise};
use tests::world::{Identity, Snap, World};

const BLOB: usize = 256 << 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || anyhow::anyhow!("usage: bench_store FOLDER SESSIONS SNAPS");
    let folder = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let sessions: usize = arguments.next().ok_or_else(usage)?.parse()?;
    let snaps: usize = arguments.next().ok_or_else(usage)?.parse()?;

    let world = World::new();
    let brand = world.brand("acme");
    let snap = world.snap("big").publisher("acme");
    let yaml = "name: big\nversion: '1'\nsummary: A snap\ndescription: A large snap\n";
    let image = Image::pack(&[("meta/snap.yaml", yaml.as_bytes()), ("payload", &noise("bench", BLOB))]);
    fs::write(folder.join("blob"), &image.bytes)?;
    let revision = snap.with_image(1, "1", image);

    let server = Setup::default().config("proxy.port.https", "0").config("proxy.verify.rate", "0").start();
    // Links begin with http, so plain requests are answered beside those over TLS.
    let _ = server.proxy(&["config", &format!("proxy.public-url=http://{}", server.address)]).ok();
    for step in ["init", "issue-server"] {
        let _ = server.proxy(&["ca", step]).ok();
    }
    for (key, name) in [("proxy.tls.cert", "cert.pem"), ("proxy.tls.key", "key.pem")] {
        fs::write(folder.join(name), server.proxy(&["config", key]).ok())?;
    }
    server.trust(&world);
    server.push_pair(&revision, &["latest/stable"], "AcmeStore");
    let small: Vec<Snap> = (0..snaps)
        .map(|number| world.snap(&format!("snap-{number}")).publisher("acme").payload(200))
        .collect();
    push_together(&server, &small)?;
    server.push_store("AcmeStore", "acme", &small.iter().chain([&snap]).collect::<Vec<_>>());
    server.push_brand(&brand);

    // A device as snapd makes them: with a key of 4096 bits.
    let key = Arc::new(SigningKey::generate(4096)?);
    let identity = device_of(&world, &key, "SN-1");
    let mut device = Device::new(&server, Snapd::V2_77, &identity).trusting(&world);
    let id = snap.id.clone();
    device.installed = vec![Installed::new("big", &id, 1, "latest/stable")];
    let mut requests = fs::File::create(folder.join("session.http"))?;
    for _ in 0..sessions {
        let triple = device.triple(&session_request(&identity, &device.nonce()?), &identity);
        requests.write_all(&device.session_post(&triple).bytes())?;
    }
    let mut requests = fs::File::create(folder.join("first.http"))?;
    for number in 0..sessions {
        let stranger = device_of(&world, &key, &format!("FIRST-{number}"));
        let triple = device.triple(&session_request(&stranger, &device.nonce()?), &stranger);
        requests.write_all(&device.session_post(&triple).bytes())?;
    }
    device.ensure_session()?;
    let body = device.refresh_body(&[Action::Refresh(id.clone(), Wanted::default())]);
    fs::write(folder.join("refresh.http"), device.refresh_post(&body).bytes())?;
    let fields = device.snapd.info_fields().join(",");
    fs::write(folder.join("info.http"), device.info_get("big", &fields).bytes())?;
    fs::write(folder.join("find.http"), device.find_get(&[("q", "snap-7")]).bytes())?;
    let fifty: Vec<&Snap> = small.iter().take(50).collect();
    device.installed =
        fifty.iter().map(|snap| Installed::new(&snap.name, &snap.id, 1, "latest/stable")).collect();
    let actions: Vec<Action> =
        fifty.iter().map(|snap| Action::Refresh(snap.id.clone(), Wanted::default())).collect();
    let body = device.refresh_body(&actions);
    fs::write(folder.join("fifty.http"), device.refresh_post(&body).bytes())?;
    let path = format!("/api/v1/snaps/download/{id}_1.snap");
    fs::write(folder.join("download.http"), device.download_request("GET", &path, None).bytes())?;
    let secure = server.https().ok_or_else(|| anyhow::anyhow!("the server has no port for HTTPS"))?;
    println!("{} {secure} {}", server.address, server.pid());
    let _ = std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Pushes the first revision of each snap in one go.
fn push_together(server: &Server, snaps: &[Snap]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for snap in snaps {
        let _ = write_pair(folder.path(), &snap.revision(1));
    }
    let path = folder.path().to_str().unwrap_or_default();
    if !snaps.is_empty() {
        let push = ["push-snap", path, "--channel", "latest/stable", "--store", "AcmeStore"];
        let _ = server.proxy(&push).ok();
    }
    Ok(())
}

/// A device with this key and serial number.
fn device_of(world: &World, key: &Arc<SigningKey>, number: &str) -> Identity {
    let brand = world.brand("acme");
    let serial = Builder::new(AssertionType::Serial)
        .header("authority-id", "acme")
        .header("brand-id", "acme")
        .header("model", "gateway")
        .header("serial", number)
        .header("device-key", key.public().encode())
        .header("device-key-sha3-384", key.public().id())
        .header("timestamp", "2025-01-01T00:00:00Z")
        .sign(&brand.serial_key());
    Identity { model: brand.model_in("gateway", "AcmeStore"), serial, key: Arc::clone(key) }
}
