//! The store that the benchmarks measure: one brand, one snap of 256 MiB, one device, and raw requests that it answers.
//!
//! Usage: `bench_store FOLDER SESSIONS`. Writes `refresh.http`, `info.http`, `session.http` (SESSIONS requests, each for
//! a session of its own), `blob`, and the certificate of the store with its key, `cert.pem` and `key.pem`, into FOLDER, prints
//! the addresses of HTTP and HTTPS and the process id on one line, and serves until its standard input ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use schema::assertion::{AssertionType, Builder, SigningKey};
use tests::device::session::session_request;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::Setup;
use tests::snap::{Image, noise};
use tests::world::{Identity, World};

const BLOB: usize = 256 << 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || anyhow::anyhow!("usage: bench_store FOLDER SESSIONS");
    let folder = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let sessions: usize = arguments.next().ok_or_else(usage)?.parse()?;

    let world = World::new();
    let brand = world.brand("acme");
    let snap = world.snap("big").publisher("acme");
    let yaml = "name: big\nversion: '1'\nsummary: A snap\ndescription: A large snap\n";
    let image = Image::pack(&[("meta/snap.yaml", yaml.as_bytes()), ("payload", &noise("bench", BLOB))]);
    fs::write(folder.join("blob"), &image.bytes)?;
    let revision = snap.with_image(1, "1", image);

    let server = Setup::default().config("proxy.port.https", "0").start();
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
    server.push_store("AcmeStore", "acme", &[&snap]);
    server.push_brand(&brand);

    let identity = device_of_full_size(&world)?;
    let mut device = Device::new(&server, Snapd::V2_77, &identity).trusting(&world);
    let id = snap.declaration().text("snap-id").unwrap_or_default().to_owned();
    device.installed = vec![Installed::new("big", &id, 1, "latest/stable")];
    let mut requests = fs::File::create(folder.join("session.http"))?;
    for _ in 0..sessions {
        let triple = device.triple(&session_request(&identity, &device.nonce()?), &identity);
        requests.write_all(&device.session_post(&triple).bytes())?;
    }
    device.ensure_session()?;
    let body = device.refresh_body(&[Action::Refresh(id.clone(), Wanted::default())]);
    fs::write(folder.join("refresh.http"), device.refresh_post(&body).bytes())?;
    let fields = device.snapd.info_fields().join(",");
    fs::write(folder.join("info.http"), device.info_get("big", &fields).bytes())?;
    let path = format!("/api/v1/snaps/download/{id}_1.snap");
    fs::write(folder.join("download.http"), device.download_request("GET", &path, None).bytes())?;
    let secure = server.https().ok_or_else(|| anyhow::anyhow!("the server has no port for HTTPS"))?;
    println!("{} {secure} {}", server.address, server.pid());
    let _ = std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A device as snapd makes them: with a key of 4096 bits.
fn device_of_full_size(world: &World) -> anyhow::Result<Identity> {
    let brand = world.brand("acme");
    let key = SigningKey::generate(4096)?;
    let serial = Builder::new(AssertionType::Serial)
        .header("authority-id", "acme")
        .header("brand-id", "acme")
        .header("model", "gateway")
        .header("serial", "SN-1")
        .header("device-key", key.public().encode())
        .header("device-key-sha3-384", key.public().id())
        .header("timestamp", "2025-01-01T00:00:00Z")
        .sign(&brand.serial_key());
    Ok(Identity { model: brand.model_in("gateway", "AcmeStore"), serial, key: Arc::new(key) })
}
