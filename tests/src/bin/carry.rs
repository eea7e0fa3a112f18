//! What carrying a large snap across costs, next to the tools that operators would use without this product.
//!
//! Usage: `carry MIB ROUNDS`. Fetches a snap of MIB MiB from one store, pushes it into a new one and has that one verify its
//! files, ROUNDS times; in turn with `curl` for the fetch, with `tar xzf` and `openssl dgst -sha3-384` for the push, and with
//! the latter alone for the check, and for the fetch, which no transfer makes faster than its digest. Prints ratios of medians.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tests::server::{Server, program};
use tests::snap::{Image, noise};
use tests::world::World;

/// What a run took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Seconds on the wall.
    wall: f64,
    /// Seconds of CPU time.
    cpu: f64,
    /// The largest memory of any process that took part, MiB.
    peak: f64,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let usage = || anyhow::anyhow!("usage: carry MIB ROUNDS");
    let (mib, rounds) = (arguments.next().ok_or_else(usage)??, arguments.next().ok_or_else(usage)??);
    let world = World::new();
    let brand = world.brand("acme");
    let snap = world.snap("big").publisher("acme");
    let yaml = "name: big\nversion: '1'\nsummary: A snap\ndescription: A large snap\n";
    let revision = {
        let files = [("meta/snap.yaml", yaml.as_bytes()), ("payload", &noise("carry", mib << 20))];
        snap.with_image(1, "1", Image::pack(&files))
    };
    let from = Server::start();
    from.trust(&world);
    from.push_pair(&revision, &["latest/stable"], "AcmeStore");
    from.push_store("AcmeStore", "acme", &[&snap]);
    from.push_brand(&brand);
    let (_, token) = from.login("AcmeStore", "package_access");

    let desk = tempfile::tempdir()?;
    let at = |name: &str| desk.path().join(name);
    fs::write(at("root.assert"), world.anchors())?;
    fs::write(at("acme.login"), &token)?;
    let text = |name: &str| at(name).display().to_string();
    let data = text("data");
    let _ = tests::server::proxy(&at("data"), &["config", &format!("proxy.upstream={}", from.url)]).ok();
    let link = format!("{}/api/v1/snaps/download/{}_1.snap", from.url, snap.id);

    let (mut fetch, mut curl, mut push, mut tar) = (vec![], vec![], vec![], vec![]);
    let (mut verify, mut hash) = (vec![], vec![]);
    for round in 0..rounds {
        let plain = text("plain.snap");
        let authorization = format!("Authorization: Macaroon {token}");
        curl.push(measure(
            desk.path(),
            Command::new("curl").args([
                "-sSf",
                "-H",
                &authorization,
                "-H",
                "X-Ubuntu-Store: AcmeStore",
                "-o",
                &plain,
                &link,
            ]),
        )?);
        ensure!(fs::metadata(&plain)?.len() == revision.image.bytes.len() as u64, "curl got another file");
        fs::remove_file(&plain)?;

        let (login, root, media) = (text("acme.login"), text("root.assert"), text(&format!("media-{round}")));
        fetch.push(measure(
            desk.path(),
            Command::new(program("proxy"))
                .args(["--data-dir", &data, "fetch-snaps", "big", "--auth", &login])
                .args(["--store", "AcmeStore", "--trust", &root, "--export-dir", &media]),
        )?);
        let bundle = fs::read_dir(&media)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "gz"))
            .context("no bundle was written")?;

        fs::create_dir_all(at("unpacked"))?;
        let unpack = "tar xzf \"$1\" -C \"$2\" && openssl dgst -sha3-384 \"$2\"/*.snap";
        tar.push(measure(
            desk.path(),
            Command::new("sh").args(["-c", unpack, "sh"]).arg(&bundle).arg(at("unpacked")),
        )?);
        fs::remove_dir_all(at("unpacked"))?;

        let to = Server::start();
        to.trust(&world);
        push.push(with_server(desk.path(), &to, &["push-snap".as_ref(), bundle.as_os_str()])?);
        let blobs = to.data_dir.join("blobs");
        hash.push(measure(
            desk.path(),
            Command::new("sh").args(["-c", "openssl dgst -sha3-384 \"$1\"/*/*", "sh"]).arg(&blobs),
        )?);
        verify.push(with_server(desk.path(), &to, &["verify".as_ref()])?);
        fs::remove_dir_all(&media)?;
    }
    compare("fetch", &fetch, "curl", &curl);
    compare("fetch", &fetch, "openssl dgst -sha3-384", &hash);
    compare("push", &push, "tar xzf and openssl dgst -sha3-384", &tar);
    compare("verify", &verify, "openssl dgst -sha3-384", &hash);
    let bytes = revision.image.bytes.len() as f64;
    println!(
        "verify reads {:.0} MB in a second of CPU time here",
        bytes / 1e6 / median(&verify, |cost| cost.cpu)
    );
    Ok(())
}

/// Runs a command to its end under GNU time.
fn measure(desk: &Path, command: &Command) -> anyhow::Result<Cost> {
    let report = desk.join("time");
    let status = Command::new("time")
        .args(["-f", "%e %U %S %M", "-o"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .status()
        .context("cannot run `time`: apt-get install time")?;
    let report = fs::read_to_string(report)?;
    ensure!(status.success(), "{:?} failed: {report}", command.get_program());
    let figures = report.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [wall, user, system, kib] = figures[..] else { anyhow::bail!("`time` printed {report}") };
    Ok(Cost { wall, cpu: user + system, peak: kib / 1024.0 })
}

/// As [`measure`], of `proxy` with the server's part.
fn with_server(desk: &Path, server: &Server, arguments: &[&OsStr]) -> anyhow::Result<Cost> {
    let before = server_cpu(server.pid())?;
    let mut command = Command::new(program("proxy"));
    let mut cost = measure(desk, command.arg("--data-dir").arg(&server.data_dir).args(arguments))?;
    cost.cpu += server_cpu(server.pid())? - before;
    cost.peak = cost.peak.max(server_peak(server.pid())?);
    Ok(cost)
}

/// CPU seconds of a process until now.
fn server_cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0.0)).sum();
    Ok(ticks / 100.0)
}

/// The largest memory of a process until now, MiB.
fn server_peak(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn median(costs: &[Cost], figure: fn(&Cost) -> f64) -> f64 {
    let mut figures: Vec<f64> = costs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn compare(name: &str, ours: &[Cost], peer: &str, theirs: &[Cost]) {
    let ratio = |figure: fn(&Cost) -> f64| median(ours, figure) / median(theirs, figure);
    println!(
        "{name:<6} {:.2} of the time, {:.2} of the CPU time and {:.2} of the peak memory of {peer} ({:.0} MiB to {:.0} MiB)",
        ratio(|cost| cost.wall),
        ratio(|cost| cost.cpu),
        ratio(|cost| cost.peak),
        median(ours, |cost| cost.peak),
        median(theirs, |cost| cost.peak),
    );
}
