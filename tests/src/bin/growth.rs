//! How the cost of a change grows with the store: run by `tests/benches/growth`, which says what is measured.
//!
//! Usage: `growth sqlite|postgresql SIZE...`, sizes in rising order. Prints a row for each size, then ratios to the first.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use schema::api::admin::SOCKET_NAME;
use tests::bundle::write_pair;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::http::{Connection, Request};
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::World;

/// How many changes of a kind are measured at a size.
const CHANGES: usize = 60;
/// How many more changes the memory is to stay flat over, at the last size.
const MORE: usize = 10_000;
/// How many requests.
const REQUESTS: usize = 2000;

/// What was measured at one size, in milliseconds of processor time of the server unless said otherwise.
#[derive(Clone, Copy)]
struct Row {
    size: usize,
    push: f64,
    release: f64,
    setting: f64,
    follow: f64,
    refresh: f64,
    info: f64,
    find: f64,
    /// MiB.
    memory: f64,
    /// MiB after all these changes.
    after: f64,
    /// Of each pair, while the folder that made the store this large was pushed.
    folder: f64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let engine = arguments.next().unwrap_or_default();
    let sizes: Vec<usize> = arguments.map(|size| size.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        bail!("usage: growth sqlite|postgresql SIZE...");
    }
    let blobs = tempfile::tempdir()?;
    let setup = match engine.as_str() {
        "sqlite" => Setup::default(),
        "postgresql" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let database = runtime.block_on(Cluster::shared().database())?;
            let path = blobs.path().to_str().unwrap_or_default();
            Setup::default().config("proxy.db.connection", &database).config("proxy.storage.path", path)
        }
        other => bail!("no engine is called {other}"),
    };
    // The background check would be counted as the work of a change.
    let setup = setup.config("proxy.verify.rate", "0");
    let other = (engine == "postgresql").then(|| setup.clone().start());
    let server = setup.start();
    let world = World::new();
    server.trust(&world);
    server.push_brand(&world.brand("acme"));

    let (mut rows, mut held) = (Vec::new(), 0);
    for size in sizes {
        let row = measure(&server, other.as_ref(), &world, held, size)?;
        println!(
            "{} snaps: push {:.2}, release {:.2}, setting {:.2}, follow {:.2}, refresh {:.3}, info {:.3}, find {:.3} ms; \
             {:.0} MiB, {:.0} MiB after the changes; {:.1} ms a pair of the folder",
            row.size,
            row.push,
            row.release,
            row.setting,
            row.follow,
            row.refresh,
            row.info,
            row.find,
            row.memory,
            row.after,
            row.folder,
        );
        rows.push(row);
        held = size + CHANGES;
    }
    let first = rows[0];
    for row in &rows[1..] {
        let ratio = |of: fn(&Row) -> f64| of(row) / of(&first).max(0.001);
        println!(
            "{} next to {}: push {:.2}, release {:.2}, setting {:.2}, follow {:.2}, refresh {:.2}, info {:.2}, find {:.2}",
            row.size,
            first.size,
            ratio(|row| row.push),
            ratio(|row| row.release),
            ratio(|row| row.setting),
            ratio(|row| row.follow),
            ratio(|row| row.refresh),
            ratio(|row| row.info),
            ratio(|row| row.find),
        );
    }
    for (of, before, after) in keep_changing(&server, other.as_ref(), held) {
        println!(
            "{MORE} more changes: {of} {before:.0} MiB before, {after:.0} MiB after ({:.2} times)",
            after / before
        );
    }
    let begun = Instant::now();
    let stopped = server.stop();
    let ended = begun.elapsed();
    let begun = Instant::now();
    let server = stopped.start();
    let _ = server.send(&Request::new("GET", "/v2/snaps/info/snap-0", server.host()));
    println!("stopped in {ended:?}, answers {:?} after its start", begun.elapsed());
    Ok(())
}

fn measure(server: &Server, other: Option<&Server>, world: &World, held: usize, size: usize) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let missing = size.saturating_sub(held);
    for number in held..size {
        let _ = write_pair(folder.path(), &snap(world, number).revision(1));
    }
    let begun = server.cpu();
    if missing > 0 {
        push_folder(server, folder.path());
    }
    let filling = spent(server, begun, missing.max(1));
    let memory = server.memory();

    let pairs: Vec<_> = (size..size + CHANGES).map(|number| snap(world, number).revision(1)).collect();
    // What the other server still takes over of the filling is not of these changes.
    let behind = other.map(|other| {
        settle(server, other);
        other.cpu()
    });
    let push = each(server, CHANGES, |at| server.push_pair(&pairs[at], &["latest/stable"], "ubuntu"));
    let release = each(server, CHANGES, |at| {
        let name = format!("snap-{}", size + at);
        let _ = server.proxy(&["release", &name, "1", "latest/candidate"]).ok();
    });
    let follow = match (other, behind) {
        (Some(other), Some(behind)) => {
            settle(server, other);
            spent(other, behind, 2 * CHANGES)
        }
        _ => 0.0,
    };
    let setting = each(server, CHANGES, |at| {
        let level = if at % 2 == 0 { "proxy.log.level=warn" } else { "proxy.log.level=info" };
        let _ = server.proxy(&["config", level]).ok();
    });

    let id = snap(world, 0).id;
    let acme = world.brand("acme");
    let identity = acme.device(&acme.model("gateway"), "SN-1");
    let mut device = Device::new(server, Snapd::V2_77, &identity).trusting(world);
    device.installed = vec![Installed::new("snap-0", &id, 1, "latest/stable")];
    let body = device.refresh_body(&[Action::Refresh(id.clone(), Wanted::default())]);
    let refresh = device.refresh_post(&body);
    let info = device.info_get("snap-0", &device.snapd.info_fields().join(","));
    let find = Request::new("GET", "/v2/snaps/find?q=snap-7", server.host());
    let answer = |request: &Request| each(server, REQUESTS, |_| assert_eq!(server.send(request).status, 200));
    let (refresh, info) = (answer(&refresh), answer(&info));
    let find = answer(&find);
    Ok(Row {
        size,
        push,
        release,
        setting,
        follow,
        refresh,
        info,
        find,
        memory: mib(memory),
        after: mib(server.memory()),
        folder: filling,
    })
}

/// Sets and deletes overrides of one snap after the other, which leaves the store as it was. Answers the memory of each server
/// before and after.
fn keep_changing(server: &Server, other: Option<&Server>, held: usize) -> Vec<(&'static str, f64, f64)> {
    let servers: Vec<_> = [("server", Some(server)), ("follower", other)]
        .into_iter()
        .filter_map(|(of, server)| Some((of, server?, mib(server?.memory()))))
        .collect();
    let socket = server.data_dir.join(SOCKET_NAME);
    let mut operator = Connection::open_unix(&socket).expect("the admin socket");
    let mut ask = |request: Request| match operator.exchange(&request) {
        Ok(answer) if answer.status == 200 => {}
        other => panic!("{other:?}"),
    };
    for number in (0..MORE / 2).map(|at| at % held) {
        let wish = format!(r#"{{"snap":"snap-{number}","channel":"latest/edge","revision":1}}"#);
        let set = Request::new("POST", "/v1/overrides", "airlock").header("Content-Type", "application/json");
        ask(set.body(wish.as_bytes()));
        let overridden = format!("/v1/overrides?snap=snap-{number}&channel=latest/edge");
        ask(Request::new("DELETE", &overridden, "airlock"));
    }
    if let Some(other) = other {
        settle(server, other);
    }
    servers.into_iter().map(|(of, server, before)| (of, before, mib(server.memory()))).collect()
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn snap(world: &World, number: usize) -> tests::world::Snap {
    world.snap(&format!("snap-{number}")).publisher("acme").payload(200)
}

fn push_folder(server: &Server, folder: &Path) {
    let path = folder.to_str().unwrap_or_default();
    let _ = server.proxy(&["push-snap", path, "--channel", "latest/stable", "--store", "ubuntu"]).ok();
    let _ = fs::remove_dir_all(folder);
}

/// Waits until the other server serves what this one does.
fn settle(server: &Server, other: &Server) {
    let begun = Instant::now();
    let generation = |log: String| {
        let at = log.rfind("Serving generation ").map(|at| at + "Serving generation ".len());
        at.and_then(|at| log[at..].split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok())
    };
    while generation(server.log()) != generation(other.log()) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the other server does not follow");
    }
}

/// Milliseconds of the server's processor time for each call.
fn each(server: &Server, times: usize, mut call: impl FnMut(usize)) -> f64 {
    let begun = server.cpu();
    (0..times).for_each(&mut call);
    spent(server, begun, times)
}

fn spent(server: &Server, begun: Duration, times: usize) -> f64 {
    (server.cpu() - begun).as_secs_f64() * 1000.0 / times as f64
}
