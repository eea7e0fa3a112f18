//! The demonstration behind `packaging/quickstart`: a store on the embedded database, a brand with throw-away keys,
//! two small snaps, and a simulated device that logs in, lists, installs and refreshes. The server is left running.
//!
//! Everything is in one folder:
//!
//! ```text
//! DIR/keys/     private keys, made once
//! DIR/files/    what an operator would carry in
//! DIR/store/    the data directory of proxyd
//! ```

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use tests::bundle::{Bundle, store_metadata, write_pair};
use tests::device::{Device, Snapd};
use tests::keys::Keyring;
use tests::server::{Server, Setup, program, proxy};
use tests::world::World;

/// The port that is tried first; another one is taken when it is busy.
const PORT: u16 = 18_080;

/// Shows a store and a device at work.
#[derive(Parser)]
struct Args {
    /// The folder for everything
    #[arg(long, default_value = "target/quickstart")]
    dir: PathBuf,
}

/// Prints commands before it runs them.
struct Operator {
    data_dir: PathBuf,
}

impl Operator {
    fn run(&self, args: &[&str]) -> anyhow::Result<()> {
        println!("\n$ proxy --data-dir {} {}", self.data_dir.display(), args.join(" "));
        let ran = proxy(&self.data_dir, args);
        print!("{}{}", ran.stdout, ran.stderr);
        // A store without a registration is not all well, and says so.
        if ran.code == Some(0) || args == ["status"] { Ok(()) } else { bail!("that failed") }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let dir = args.dir.canonicalize()?;
    let (data_dir, files) = (dir.join("store"), dir.join("files"));
    stop_previous(&dir);
    for folder in [&data_dir, &files] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    fs::create_dir_all(&files)?;

    println!("== A brand with throw-away keys, in {}", dir.join("keys").display());
    let world = World::with_keys("demo-root", Keyring::in_folder(&dir.join("keys")));
    let brand = world.brand("demo-brand");
    let model = brand.model_in("demo-gateway", "DemoStore");
    let identity = brand.device(&model, "DEMO-0001");
    let hello = world.snap("demo-hello").publisher("demo-brand").summary("Greets from the air gap");
    let meter = world.snap("demo-meter").publisher("demo-brand").summary("Measures nothing, twice");
    let path = |name: &str| files.join(name).to_string_lossy().into_owned();
    fs::write(path("root.assert"), world.anchors())?;
    fs::write(path("account-keys.assert"), brand.account_keys())?;
    fs::write(
        path("store-metadata.json"),
        store_metadata("DemoStore", "demo-brand", &[&hello, &meter]).to_string(),
    )?;
    let (first, second) = (hello.versioned(1, "1.0"), hello.versioned(2, "2.0"));
    let pair = write_pair(&files, &first).to_string_lossy().into_owned();
    let later = write_pair(&files, &second).to_string_lossy().into_owned();
    let revisions = (meter.versioned(7, "0.7"), meter.versioned(8, "0.8"));
    let bundle = Bundle::new(&meter, &[(&revisions.0, &["latest/stable"]), (&revisions.1, &["latest/edge"])])
        .from_store("DemoStore");
    fs::write(path("demo-meter-20240102T030405.tar.gz"), bundle.pack())?;
    println!("brand demo-brand, model demo-gateway, serial DEMO-0001, snaps demo-hello and demo-meter");

    println!("\n== The operator sets the store up");
    let operator = Operator { data_dir: data_dir.clone() };
    let free = TcpListener::bind(("127.0.0.1", PORT)).is_ok();
    let port = format!("proxy.port.http={}", if free { PORT } else { 0 });
    operator.run(&["config", "proxy.domain=127.0.0.1", "proxy.ipaddress=127.0.0.1", &port])?;
    println!("\n$ proxyd --data-dir {} &", data_dir.display());
    let store = Setup::empty().detached().start_at(&data_dir).map_err(anyhow::Error::msg)?;
    operator.run(&["enable-airgap-mode"])?;
    operator.run(&["trust", "add", &path("root.assert")])?;
    operator.run(&["push-snap", &pair, "--channel", "latest/stable", "--store", "DemoStore"])?;
    operator.run(&["push-snap", &path("demo-meter-20240102T030405.tar.gz")])?;
    operator.run(&["push-brand-store-metadata", &path("store-metadata.json")])?;
    operator.run(&["push-account-keys", &path("account-keys.assert")])?;
    operator.run(&["list-pushed-snaps"])?;
    operator.run(&["status"])?;

    println!("\n== A device of the brand, speaking as snapd 2.77 does");
    let mut device = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    device.ensure_session()?;
    println!("logged in as {}", identity.name());
    for found in device.find("demo")? {
        println!("found      {} (revision {}) by {}", found.name, found.revision, found.publisher);
    }
    let info = device.info("demo-meter")?;
    println!("info       {}: {}", info.name, channels(&info.channels));
    let outcome = device.install_for_good("demo-hello", "latest/stable")?;
    println!("installed  demo-hello revision {}, file and signatures checked", outcome.snap.revision);

    println!("\n== The operator releases a new revision, the device follows");
    operator.run(&["push-snap", &later, "--channel", "latest/stable", "--store", "DemoStore"])?;
    for outcome in device.refresh_all()? {
        println!("refreshed  {} to revision {}", outcome.snap.name, outcome.snap.revision);
    }
    let mut stranger = Device::anonymous(&store, Snapd::V2_77);
    let seen = stranger.info("demo-hello");
    println!(
        "a device without a session is told: {}",
        if seen.is_err() { "no such snap" } else { "too much!" }
    );

    println!("\n{}", next_steps(&store, &dir));
    fs::write(dir.join("proxyd.pid"), store.leave_running().to_string())?;
    Ok(())
}

fn channels(channels: &[(String, u32)]) -> String {
    let listed: Vec<String> =
        channels.iter().map(|(channel, revision)| format!("{channel} -> {revision}")).collect();
    listed.join(", ")
}

fn next_steps(store: &Server, dir: &Path) -> String {
    let proxy = program("proxy");
    let (proxy, data, url) = (proxy.display(), store.data_dir.display(), &store.url);
    format!(
        "== The store runs at {url} (process {pid}); everything is in {dir}

Go on with
  {proxy} --data-dir {data} status
  {proxy} --data-dir {data} list-pushed-snaps --json
  {proxy} --data-dir {data} config
  {proxy} --data-dir {data} block-device demo-brand/demo-gateway/DEMO-0001
  curl -s {url}/v2/snaps/find
  tail -f {data}/proxyd.log
Stop it with
  kill {pid}
and remove everything with
  rm -r {dir}",
        pid = store.pid(),
        dir = dir.display(),
    )
}

/// Ends the server that an earlier run left, if its number still belongs to it.
fn stop_previous(dir: &Path) {
    let Ok(text) = fs::read_to_string(dir.join("proxyd.pid")) else { return };
    let Ok(pid) = text.trim().parse::<i32>() else { return };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let own = dir.join("store").display().to_string();
    if !String::from_utf8_lossy(&command).contains(&own) {
        return;
    }
    println!("Stopping the store of an earlier run (process {pid})");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    // The admin socket goes away with the process; a new server waits for nothing else.
    let begun = std::time::Instant::now();
    while Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok() && begun.elapsed().as_secs() < 10 {
        std::thread::yield_now();
    }
}
