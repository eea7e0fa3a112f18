//! Runs every command in `packaging/docs` in page order, and compares its output with the page.
//!
//! [`tests::pages`] describes how pages are written. `tests/package/run` runs what needs a whole system ([`SYSTEM`]),
//! from the same pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::api::admin::SigningKeys;
use schema::api::admin::calls::{Call as _, ListKeys};
use schema::assertion::Assertion;
use tempfile::TempDir;
use tests::bundle::write_pair;
use tests::device::{Device, Installed, Snapd};
use tests::factory::account_key;
use tests::pages::{Step, as_shown, steps};
use tests::postgres::Cluster;
use tests::serials::{DeviceService, answer};
use tests::server::{Server, Setup, program, proxy};
use tests::world::{Brand, Revision, Snap, World, stream};

/// Commands that need a host with the package; the rest of their block is skipped, too.
const SYSTEM: [&str; 4] = ["apt-get ", "systemctl ", "journalctl ", "/etc/airlock/"];

/// The pages, and the minimum number of commands of each that are run here.
const PAGES: [(&str, usize); 18] = [
    ("backup", 7),
    ("brand-store", 11),
    ("devices", 5),
    ("first-bundle", 8),
    ("history", 10),
    ("https", 12),
    ("install", 6),
    ("media", 9),
    ("pages", 7),
    ("register", 4),
    ("rollouts", 14),
    ("settings", 1),
    ("signing", 32),
    ("terms", 0),
    ("trains", 4),
    ("troubleshooting", 7),
    ("two-servers", 4),
    ("upgrade", 3),
];

fn database() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Cluster::shared().database()).expect("a database")
}

/// The two machines, and the medium between them.
struct Site {
    folder: TempDir,
    upstream: Server,
    store: Server,
    brand: Brand,
    /// The page's PostgreSQL database, if it uses one.
    database: Option<String>,
    /// Where the page registers keys, if it does.
    _dashboard: Option<DeviceService>,
}

/// The publisher's side of the upstream store: it vouches for every key, and the store has the account-key.
fn dashboard(world: &World, upstream: &Server) -> DeviceService {
    let (world, upstream) = (world.clone(), upstream.data_dir.clone());
    DeviceService::start(move |received| {
        let body: serde_json::Value = serde_json::from_slice(&received.body).expect("JSON");
        let request = body["account_key_request"].as_str().expect("the request of a key");
        let key = account_key(&world, &Assertion::decode(request.as_bytes()).expect("a document"));
        let folder = TempDir::new().expect("there is room");
        let file = folder.path().join("key.assert");
        fs::write(&file, stream(&[key])).expect("a file");
        let _ = proxy(&upstream, &["push-account-keys", file.to_str().expect("a path of text")]).ok();
        answer("200 OK", "application/json", b"{}")
    })
}

impl Site {
    fn new(page: &str) -> Self {
        let folder = TempDir::new().expect("there is room");
        for name in ["laptop", "store", "usb/brand", "pair", "bin", "data", "srv", "tokens"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let world = World::new();
        let brand = world.brand("acme");
        let (app, tool) = (world.snap("acme-app"), world.snap("acme-tool"));
        let gateway = world.snap("acme-gateway").publisher("acme");
        let revisions: [(&Revision, &str); 2] =
            [(&app.revision(7), "ubuntu"), (&gateway.revision(5), "AcmeStore")];
        let upstream = Server::start();
        upstream.trust(&world);
        upstream.push_brand(&brand);
        upstream.push_store("AcmeStore", "acme", &[&gateway]);
        for (revision, store) in revisions {
            upstream.push_pair(revision, &["latest/stable"], store);
        }
        let _ = write_pair(&folder.path().join("pair"), &tool.revision(3));
        let data = folder.path().join("data");
        let values = [
            "proxy.ipaddress=127.0.0.1",
            "proxy.port.http=0",
            "proxy.port.https=0",
            "proxy.domain=localhost",
        ];
        let _ = proxy(&data, &[&["config"], &values[..]].concat()).ok();
        // Where the page about keys has its token.
        let token = format!("directories.tokendir = {}\n", folder.path().join("tokens").display());
        fs::write(folder.path().join("softhsm2.conf"), token).expect("a file");
        let store = Setup::empty()
            .variable("SOFTHSM2_CONF", &folder.path().join("softhsm2.conf").display().to_string())
            .start_at(&data)
            .unwrap_or_else(|failure| panic!("{failure}"));
        let registers = (page == "signing").then(|| dashboard(&world, &upstream));
        let dashboard_url = registers.as_ref().map(|service| service.url.trim_end_matches("/v1").to_owned());
        let database = (page == "two-servers").then(database);
        let site = Self { folder, upstream, store, brand, database, _dashboard: registers };
        if page == "rollouts" {
            site.store.trust(&world);
            site.see_devices(&world, &tool);
        }
        fs::write(site.path("root.assert"), world.anchors()).expect("a file");
        site.store.trust(&world);
        let registration = world.registration("acme-onprem", "acme", &site.store.url);
        fs::write(site.path("usb/store.assert"), registration).expect("a file");
        if page != "install" {
            // The state that the previous page leads to.
            let _ = site.store.proxy(&["enable-airgap-mode"]).ok();
        }
        let laptop = site.path("laptop");
        let url = &site.upstream.url;
        let dashboard_url = dashboard_url.as_ref().unwrap_or(url);
        let values = [
            format!("proxy.upstream={url}"),
            format!("proxy.dashboard.location={dashboard_url}"),
            format!("proxy.sso.location={url}"),
        ];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let _ = proxy(&laptop.join("data"), &[&["config"], &values[..]].concat()).ok();
        for (name, acl) in [
            ("viewer.login", "package_access"),
            ("admin.login", "store_admin"),
            ("acme.login", "store_admin"),
        ] {
            fs::write(laptop.join(name), site.upstream.login("AcmeStore", acl).1).expect("a file");
        }
        let other = site.path("other");
        for args in [
            &["config", "proxy.domain=localhost"][..],
            &["ca", "init"],
            &["ca", "issue-server", "--name", "localhost", "--out", site.text("store").as_str()],
        ] {
            let _ = proxy(&other, args).ok();
        }
        fs::rename(site.path("store/localhost.pem"), site.path("store/fullchain.pem"))
            .expect("a certificate");
        fs::rename(site.path("store/localhost.key"), site.path("store/store.key")).expect("its key");
        std::os::unix::fs::symlink(program("proxy"), site.path("bin/proxy")).expect("a link");
        site
    }

    /// Two devices run a snap whose next revision waits in candidate.
    fn see_devices(&self, world: &World, tool: &Snap) {
        let _ = self.store.proxy(&["enable-airgap-mode"]).ok();
        self.store.push_pair(&tool.revision(3), &["latest/stable"], "ubuntu");
        self.store.push_pair(&tool.revision(4), &["latest/candidate"], "ubuntu");
        for serial in ["SN-1", "SN-2"] {
            let identity = self.brand.device(&self.brand.model("gateway"), serial);
            let mut device = Device::new(&self.store, Snapd::V2_77, &identity).trusting(world);
            device.installed = vec![Installed::new("acme-tool", &tool.id, 3, "latest/stable")];
            assert!(device.refresh_all().is_ok(), "{serial}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    /// The id of the page's key, once there is one.
    fn factory_key(&self) -> String {
        let answer = self.store.try_admin(ListKeys::METHOD.as_str(), ListKeys::PATH, b"");
        let keys: SigningKeys =
            answer.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
        keys.keys.into_iter().next().map(|key| key.key_id).unwrap_or_default()
    }

    /// Names on the pages, and their values here.
    fn names(&self) -> Vec<(&'static str, String)> {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/airlock.yaml");
        let listening = self.store.status().listening;
        let at = |scheme: &str| {
            let found = listening.iter().find_map(|url| url.strip_prefix(scheme)?.rsplit(':').next());
            format!("{scheme}localhost:{}", found.unwrap_or("0"))
        };
        let mut names = vec![
            ("http://snaps.internal", at("http://")),
            ("https://snaps.internal", at("https://")),
            ("snaps.internal", "localhost".to_owned()),
            ("/media/usb", self.text("usb")),
            ("/media/pair", self.text("pair")),
            ("/var/lib/airlock", self.text("data")),
            ("/srv/airlock", self.text("srv")),
            ("/usr/share/doc/airlock/airlock.yaml.example", examples.to_owned()),
        ];
        let database = self.database.clone();
        names.extend(database.map(|url| ("postgresql://airlock:PASSWORD@db.internal/airlock", url)));
        names
    }

    /// Runs a step and compares its output with the page.
    fn run(&self, page: &str, step: &Step) {
        let mut command = step.command.clone();
        for (name, here) in self.names() {
            command = command.replace(name, &here);
        }
        // The tests' world has its own root, which the store was told to trust.
        for verb in ["fetch-snaps", "fetch-account-keys", "inspect"] {
            command = command.replace(
                &format!("proxy {verb} "),
                &format!("proxy {verb} --trust {} ", self.text("root.assert")),
            );
        }
        let data = if step.machine == "store" { self.path("data") } else { self.path("laptop/data") };
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(self.path(step.machine))
            .env("PATH", format!("{}:{path}", self.text("bin")))
            .env("AIRLOCK_DATA_DIR", data)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("MODEL_KEY", self.brand.model_key().public().id())
            .env("SERIAL_KEY", self.brand.serial_key().public().id())
            .env("FACTORY_KEY", self.factory_key())
            .output()
            .expect("bash can be started");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        for (name, here) in self.names() {
            if !here.ends_with(":0") && here != "localhost" {
                text = text.replace(&here, name);
            }
        }
        text = text.replace("localhost", "snaps.internal");
        let place = format!("packaging/docs/{page}.md:{}: {}", step.line, step.command);
        assert!(output.status.success(), "{place}\nended with {}:\n{text}", output.status);
        let lines: Vec<&str> = text.lines().collect();
        assert!(as_shown(&lines, &step.shown), "{place}\nsays\n{text}\nand not\n{}", step.shown.join("\n"));
    }
}

fn page(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/docs");
    let text = fs::read_to_string(folder.join(format!("{name}.md"))).expect("a page");
    let all = steps(&text);
    let whole: Vec<usize> = all
        .iter()
        .filter(|step| SYSTEM.iter().any(|word| step.command.contains(word)))
        .map(|step| step.block)
        .collect();
    let here: Vec<&Step> = all.iter().filter(|step| !whole.contains(&step.block)).collect();
    let least = PAGES.iter().find(|(page, _)| *page == name).map_or(1, |(_, least)| *least);
    assert!(here.len() >= least, "{name}: {} commands of {}", here.len(), all.len());
    let site = Site::new(name);
    for step in here {
        site.run(name, step);
    }
}

#[test]
fn install() {
    page("install");
}

#[test]
fn devices() {
    page("devices");
}

#[test]
fn register() {
    page("register");
}

#[test]
fn first_bundle() {
    page("first-bundle");
}

#[test]
fn brand_store() {
    page("brand-store");
}

#[test]
fn history() {
    page("history");
}

#[test]
fn pages() {
    page("pages");
}

#[test]
fn rollouts() {
    page("rollouts");
}

#[test]
fn trains() {
    page("trains");
}

#[test]
fn media() {
    page("media");
}

#[test]
fn https() {
    page("https");
}

#[test]
fn upgrade() {
    page("upgrade");
}

#[test]
fn settings() {
    page("settings");
}

#[test]
fn signing() {
    page("signing");
}

#[test]
fn troubleshooting() {
    page("troubleshooting");
}

#[test]
fn backup() {
    page("backup");
}

#[test]
fn two_servers() {
    page("two-servers");
}

#[test]
fn every_page_is_run_and_every_link_leads_somewhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/docs");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).expect("the pages").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let there = if file.is_empty() { entry.path() } else { folder.join(file) };
            assert!(there.exists(), "{name}: {link}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&there).expect("a page");
                let mut headings = page.lines().filter_map(|line| line.strip_prefix('#'));
                let anchor =
                    |line: &str| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
                assert!(headings.any(|line| anchor(line) == heading), "{name}: {link}");
            }
        }
        found.push(name.trim_end_matches(".md").to_owned());
    }
    found.sort();
    assert_eq!(found, PAGES.map(|(name, _)| name));
}

/// Every source file of the workspace, with its path from the root.
fn sources(root: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(below)).expect("a folder of sources").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}/{name}");
        if entry.path().is_dir() {
            if name != "target" && name != "fixtures" {
                sources(root, &path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("source is text");
            found.push((path, text));
        }
    }
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> Vec<String> {
    let heading =
        |line: &str| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: char| c.is_alphanumeric() || c == '-';
    let anchor = |text: String| text.replace(' ', "-").chars().filter(|c| kept(*c)).collect();
    page.lines().filter_map(heading).map(anchor).collect()
}

/// What is wrong with the citations of a comment line: only RFCs are cited by section, and pages have to be in the repository.
fn wrong_citation(root: &Path, comment: &str) -> Option<String> {
    if let Some((before, _)) = comment.split_once('§')
        && !before.contains("RFC ")
    {
        return Some("cites a section of a document that is not in the repository".to_owned());
    }
    let cited = comment.split('`').skip(1).step_by(2).filter(|text| text.contains('/'));
    for cited in cited.filter(|text| text.ends_with(".md") || text.contains(".md#")) {
        let (path, anchor) =
            cited.split_once('#').map_or((cited, None), |(path, anchor)| (path, Some(anchor)));
        let Ok(page) = fs::read_to_string(root.join(path)) else {
            return Some(format!("there is no page {path}"));
        };
        if let Some(anchor) = anchor.filter(|anchor| !anchors(&page).iter().any(|known| known == anchor)) {
            return Some(format!("{path} has no heading #{anchor}"));
        }
    }
    None
}

#[test]
fn comments_cite_only_what_is_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for wrong in
        ["(store API §7.4)", "see `schema/docs/none.md`", "see `schema/docs/store-api.md#no-such-heading`"]
    {
        assert!(wrong_citation(&root, wrong).is_some(), "{wrong}");
    }
    for right in ["(RFC 9110 §14.1.2)", "see `schema/docs/store-api.md#errors`", "see `tests/HAZARDS.md`"] {
        assert_eq!(wrong_citation(&root, right), None, "{right}");
    }
    let mut files = Vec::new();
    for folder in ["schema", "server", "cli", "tests"] {
        sources(&root, folder, &mut files);
    }
    assert!(files.len() > 300, "{} files", files.len());
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            if let Some(comment) = line.trim_start().strip_prefix("//") {
                let wrong = wrong_citation(&root, comment);
                assert_eq!(wrong, None, "{path}:{}: {}", number + 1, line.trim());
            }
        }
    }
}
