//! `ca`: a certificate authority for a site without one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use schema::config::PairFiles;
use schema::tls::{
    Authority, Imported, Issued, Pair, Source, Usage, not_after, to_pem, trusted_certificates,
};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::import_certificate::{install, stamp};
use crate::context::Context;
use crate::kit::store_certs;
use crate::output::{changed, texts};
use crate::pem_files::{PemFiles, read, read_own_key};

/// The authority's folder in the data directory.
const FOLDER: &str = "ca";
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
/// The next authority, which devices are to trust before it signs.
const NEXT: [&str; 2] = ["next.pem", "next.key"];
/// The former authority, which devices trust until it ends.
const FORMER: &str = "former.pem";
/// All that devices trust: what client certificates are checked against.
const ROOTS: &str = "roots.pem";

/// Run the store's own certificate authority
///
/// Its certificate and key are in the folder ca of the data directory. Anybody with the key can impersonate any
/// server to devices that trust the authority.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy ca init")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create the authority, valid for ten years
    #[command(before_help = "Example:
  proxy ca init")]
    Init {
        /// Its name [default: proxy.domain and CA]
        #[arg(long)]
        name: Option<String>,
    },
    /// Issue a certificate for the store and use it, or write it to a folder
    #[command(before_help = "Examples:
  proxy ca issue-server
  proxy ca issue-server --name snaps.internal --ip 10.0.0.7
  proxy ca issue-server --name mirror.internal --out /root/mirror")]
    IssueServer {
        /// A DNS name; may be repeated [default: proxy.domain]
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// An IP address; may be repeated
        #[arg(long = "ip", value_name = "ADDRESS")]
        ips: Vec<IpAddr>,
        /// Validity in days
        #[arg(long, default_value_t = 397)]
        days: u32,
        /// Write NAME.pem and NAME.key here and leave the store's own certificate as it is
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Issue a certificate for a client
    #[command(before_help = "Examples:
  proxy ca issue-client gateway-17 --out /root/clients
  proxy ca issue-client gateway-17 --csr gateway-17.csr")]
    IssueClient {
        /// The client's name, as shown in the log
        name: String,
        /// Sign the key of this request instead of creating one
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// Validity in days
        #[arg(long, default_value_t = 397)]
        days: u32,
        /// Folder for NAME.pem and NAME.key
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Renew the server's certificate if a third of its life is left
    ///
    /// The server does this by itself where it may read the authority's key; the package does it each day as root.
    #[command(before_help = "Example:
  proxy ca renew")]
    Renew,
    /// Replace the authority by a new one, in two steps
    ///
    /// The first step makes the next authority; `ca show` and `device-kit` hold both from then on. Once all devices trust the
    /// next one, --finish lets it sign, and issues the server's certificate again. The former one is shown until it ends.
    #[command(before_help = "Examples:
  proxy ca roll
  proxy ca roll --finish")]
    Roll {
        /// Let the next authority sign
        #[arg(long)]
        finish: bool,
    },
    /// Print the certificate of the authority
    #[command(before_help = "Examples:
  proxy ca show > airlock-ca.pem
  proxy ca show --snapd")]
    Show {
        /// Print the command that makes a device trust it
        #[arg(long)]
        snapd: bool,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    context.must_be_local()?;
    let folder = context.data_dir.join(FOLDER);
    let domain = || context.settings().map(|settings| settings.site.domain.clone());
    match args.action {
        Action::Init { name } => {
            let name = name.map_or_else(|| domain().map(|domain| format!("{domain} CA")), Ok)?;
            init(&name, &folder, context)
        }
        Action::IssueServer { mut names, ips, days, out } => {
            if names.is_empty() && ips.is_empty() {
                names.push(domain()?);
            }
            names.extend(ips.iter().map(IpAddr::to_string));
            let authority = load(&folder, context)?;
            let issued = authority.issue(Usage::Server(&names), days, stamp()?)?;
            match out {
                Some(out) => {
                    let files = write_out(&out, &names[0], &issued.cert_pem, Some(&issued.key_pem))?;
                    report_files(&files, context)
                }
                None => put_in_force(&issued, context).await,
            }
        }
        Action::IssueClient { name, csr, days, out } => {
            let authority = load(&folder, context)?;
            let usage = Usage::Client(&name);
            let files = match csr {
                Some(csr) => {
                    let request = PemFiles::read(&[csr])?;
                    let cert = authority.sign_request(request.sources()[0], usage, days, stamp()?)?;
                    write_out(&out, &name, &cert, None)?
                }
                None => {
                    let issued = authority.issue(usage, days, stamp()?)?;
                    write_out(&out, &name, &issued.cert_pem, Some(&issued.key_pem))?
                }
            };
            report_files(&files, context)
        }
        Action::Renew => renew(&folder, context).await,
        Action::Roll { finish: false } => roll(&folder, &domain()?, context),
        Action::Roll { finish: true } => finish(&folder, context).await,
        Action::Show { snapd } => show(&folder, snapd, context),
    }
}

/// The pair that the settings hold.
fn held(context: &Context) -> anyhow::Result<Option<Pair>> {
    Ok(context.settings()?.tls_pair()?)
}

/// Puts an issued certificate in force.
async fn put_in_force(issued: &Issued, context: &Context) -> anyhow::Result<()> {
    let domain = context.settings()?.site.domain.clone();
    install(import(issued, &domain)?, false, context).await
}

fn import(issued: &Issued, domain: &str) -> anyhow::Result<Imported> {
    let sources = [
        Source { name: "the certificate", bytes: issued.cert_pem.as_bytes() },
        Source { name: "the key", bytes: issued.key_pem.as_bytes() },
    ];
    Ok(Pair::import(&sources, None, domain, OffsetDateTime::now_utc())?)
}

async fn renew(folder: &Path, context: &Context) -> anyhow::Result<()> {
    let authority = load(folder, context)?;
    let renewed = held(context)?.map(|held| authority.renew(&held, stamp()?).map_err(anyhow::Error::from));
    match renewed.transpose()?.flatten() {
        Some(issued) => put_in_force(&issued, context).await,
        None => {
            let line =
                "Nothing to renew: the certificate in use is another authority's, or not in its last third";
            Ok(context.out.report(&json!({ "renewed": false }), |_| vec![line.to_owned()])?)
        }
    }
}

fn roll(folder: &Path, domain: &str, context: &Context) -> anyhow::Result<()> {
    require(folder, context)?;
    let [certificate, key] = NEXT.map(|name| folder.join(name));
    anyhow::ensure!(
        !certificate.exists(),
        "the next authority is there already: once all devices trust it, run `{} ca roll --finish`",
        context.program
    );
    // The two can be told apart.
    let now = stamp()?;
    let authority = Authority::create(&format!("{domain} CA {}", now.now.date()), now)?;
    // A key that a broken attempt left signs nothing.
    let _ = fs::remove_file(&key);
    write_new(&key, 0o600, authority.key_pem().as_bytes())
        .and_then(|()| write_new(&certificate, 0o644, authority.cert_pem().as_bytes()))
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    write_roots(folder)?;
    let until = authority.not_after().format(&Rfc3339)?;
    let report = json!({ "certificate": certificate.display().to_string(), "not-after": until });
    Ok(context.out.report(&report, |_| {
        let program = context.program;
        vec![
            format!("Made the next authority, valid to {}; the present one signs on", &until[..10]),
            format!(
                "Next: `{program} device-kit > device-kit.sh`, run it on every device, then `{program} ca roll --finish`"
            ),
        ]
    })?)
}

/// The next authority takes over. Its certificate for the server is made and checked before anything changes, and an
/// attempt that broke off anywhere is gone on with.
async fn finish(folder: &Path, context: &Context) -> anyhow::Result<()> {
    let [next, next_key] = NEXT.map(|name| folder.join(name));
    let [certificate, key, former] = [CERTIFICATE, KEY, FORMER].map(|name| folder.join(name));
    let held = held(context)?;
    let top = held.as_ref().and_then(|held| held.chain().last()).map(|top| to_pem("CERTIFICATE", top));
    let is_of = |path: &Path| top.is_some() && fs::read_to_string(path).ok() == top;
    let is_moved = !next.exists() && is_of(&former);
    anyhow::ensure!(
        is_moved || next.exists(),
        "there is no next authority: run `{} ca roll` first",
        context.program
    );
    let signer = match is_moved {
        true => load(folder, context)?,
        false => read_authority(&next, if next_key.exists() { &next_key } else { &key })?,
    };
    let replaced = held.as_ref().filter(|_| is_moved || is_of(&certificate));
    let successor = replaced.map(|held| successor(&signer, held, context)).transpose()?;
    if !is_moved {
        let moved = || -> io::Result<()> {
            replace(&former, &fs::read(&certificate)?)?;
            if next_key.exists() {
                fs::rename(&next_key, &key)?;
            }
            fs::rename(&next, &certificate)?;
            File::open(folder)?.sync_all()
        };
        moved().with_context(|| format!("cannot put the next authority in place in {}", folder.display()))?;
        changed();
    }
    write_roots(folder)?;
    let Some(successor) = successor else {
        let line = "The new authority signs from now on. The certificate in use is not of the store's authority, and stays";
        return Ok(context
            .out
            .report(&json!({ "certificate": certificate.display().to_string() }), |_| {
                vec![line.to_owned()]
            })?);
    };
    install(successor, false, context).await
}

/// A certificate of the next authority in the place of the one in use, if the store would take it.
fn successor(signer: &Authority, held: &Pair, context: &Context) -> anyhow::Result<Imported> {
    let settings = context.settings()?;
    if let Some(PairFiles { cert, key }) = &settings.tls.files {
        anyhow::bail!(
            "the certificate in use comes from {} and {}, and the next authority cannot replace it: first run `{} config \
             proxy.tls.cert-file= proxy.tls.key-file=`",
            cert.display(),
            key.display(),
            context.program
        );
    }
    let life = held.not_after() - held.not_before();
    let days = u32::try_from(life.whole_days() - 1).unwrap_or(1).max(1);
    let imported =
        import(&signer.issue(Usage::Server(held.names()), days, stamp()?)?, &settings.site.domain)?;
    match imported.problems.first() {
        None => Ok(imported),
        Some(problem) => anyhow::bail!(
            "cannot make the certificate in use again: {problem}; first run `{} ca issue-server`",
            context.program
        ),
    }
}

/// The certificates of all authorities that have not ended: the one that signs, the next one, the former one.
fn roots(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut roots = Vec::new();
    for name in [CERTIFICATE, NEXT[0], FORMER] {
        let path = folder.join(name);
        if name != CERTIFICATE && !path.exists() {
            continue;
        }
        let (bytes, _) = read(&path)?;
        let name = path.display().to_string();
        let trusted = trusted_certificates(&[Source { name: &name, bytes: &bytes }])?;
        let ended = |der| not_after(der).is_some_and(|end| end < OffsetDateTime::now_utc());
        if roots.is_empty() || !trusted.certificates.iter().all(ended) {
            roots.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(roots)
}

/// Writes all of them into one file.
fn write_roots(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(ROOTS);
    replace(&path, roots(folder)?.concat().as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file for everybody to read, in one step.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    write_new(&fresh, 0o644, bytes)?;
    fs::rename(&fresh, path)
}

fn init(name: &str, folder: &Path, context: &Context) -> anyhow::Result<()> {
    anyhow::ensure!(
        !folder.exists(),
        "there is an authority already: `{} ca show` prints it; devices trust it until {} is moved away",
        context.program,
        folder.display()
    );
    let authority = Authority::create(name, stamp()?)?;
    let made = || -> io::Result<()> {
        context.make_data_dir()?;
        // The folder gets its name once it is complete.
        let fresh = folder.with_extension(format!("new.{}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o755))?;
        let filled = write_new(&fresh.join(KEY), 0o600, authority.key_pem().as_bytes())
            .and_then(|()| write_new(&fresh.join(CERTIFICATE), 0o644, authority.cert_pem().as_bytes()))
            .and_then(|()| write_new(&fresh.join(ROOTS), 0o644, authority.cert_pem().as_bytes()))
            .and_then(|()| fs::rename(&fresh, folder));
        if filled.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        filled?;
        File::open(&context.data_dir)?.sync_all()
    };
    made().with_context(|| format!("cannot make {}", folder.display()))?;
    changed();
    let until = authority.not_after().format(&Rfc3339)?;
    let report = json!({ "name": name, "certificate": folder.join(CERTIFICATE).display().to_string(), "not-after": until });
    Ok(context.out.report(&report, |_| {
        vec![
            format!("Made the authority {name}, valid to {}", until.get(..10).unwrap_or(&until)),
            format!(
                "Next: `{0} ca issue-server`, then `{0} ca show --snapd` on every device",
                context.program
            ),
        ]
    })?)
}

fn load(folder: &Path, context: &Context) -> anyhow::Result<Authority> {
    require(folder, context)?;
    anyhow::ensure!(
        !folder.join(NEXT[0]).exists() || folder.join(NEXT[1]).exists(),
        "the next authority is halfway in place: run `{} ca roll --finish` again",
        context.program
    );
    read_authority(&folder.join(CERTIFICATE), &folder.join(KEY))
}

fn read_authority(certificate: &Path, key: &Path) -> anyhow::Result<Authority> {
    let (pem, _) = read(certificate)?;
    let secret = read_own_key(key)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Authority::from_pem(&text(&pem), &zeroize::Zeroizing::new(text(&secret)))
        .with_context(|| format!("cannot use the authority in {}", certificate.display()))
}

fn require(folder: &Path, context: &Context) -> anyhow::Result<()> {
    anyhow::ensure!(folder.exists(), "there is no authority yet: run `{} ca init`", context.program);
    Ok(())
}

fn show(folder: &Path, snapd: bool, context: &Context) -> anyhow::Result<()> {
    require(folder, context)?;
    let roots = roots(folder)?;
    let command = |(number, root): (usize, &String)| {
        format!("sudo snap set system {}=\"{}\"", store_certs(number), root.trim_end())
    };
    let commands: Vec<String> = roots.iter().enumerate().map(command).collect();
    let (commands, certificate) = (commands.join("\n"), roots.concat());
    if context.out.is_json() {
        let report = json!({ "certificate": certificate, "snapd-command": commands });
        return Ok(context.out.report(&report, |_| Vec::new())?);
    }
    let text = if snapd { commands + "\n" } else { certificate };
    Ok(context.out.raw(&text)?)
}

/// Writes NAME.pem and NAME.key to a folder without replacing anything.
fn write_out(folder: &Path, name: &str, cert: &str, key: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    anyhow::ensure!(
        Path::new(name).file_name().is_some_and(|file| file == name) && !name.starts_with(['.', '-']),
        "cannot name a file after {name:?}: give a name without slashes"
    );
    let (pem, secret) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    for path in [&pem, &secret] {
        anyhow::ensure!(!path.exists(), "{} is there already: move it away first", path.display());
    }
    let mut files = Vec::new();
    let contents = key.map(|key| (secret, 0o600, key)).into_iter().chain([(pem, 0o644, cert)]);
    for (path, mode, text) in contents {
        write_new(&path, mode, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        files.push(path);
    }
    Ok(files)
}

fn report_files(files: &[PathBuf], context: &Context) -> anyhow::Result<()> {
    let lines = || files.iter().map(|path| format!("Wrote {}", path.display())).collect();
    Ok(context.out.report(&json!({ "files": texts(files) }), |_| lines())?)
}

/// Creates a file that must not exist yet.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let moded = file.set_permissions(Permissions::from_mode(mode));
    let written = moded.and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
    match written {
        Ok(()) => changed(),
        // Do not leave a partial key behind.
        Err(_) => drop(fs::remove_file(path)),
    }
    written
}
