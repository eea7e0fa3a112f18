//! A stocked store that every fault begins with: prepared once, copied for each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schema::api::admin::SOCKET_NAME;
use schema::config::Settings;
use schema::digest::Sha3_384;
use serde_json::Value;
use tempfile::TempDir;
use tests::bundle::{Bundle, store_metadata};
use tests::device::{Device, Snapd};
use tests::http::{Connection, Request, Response};
use tests::memory;
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::World;

use super::answers::{Answers, Witness};

/// Files that differ from run to run: the embedded database, its lock, the log and the socket.
const OF_EVERY_RUN: [&str; 5] = ["airlock.db", "airlock.lock", "proxyd.log", "admin.sock", "verify.json"];

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// One request of an operator.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

impl Order {
    pub(super) fn new(method: &'static str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method, target: target.to_owned(), body: body.into() }
    }

    /// A bundle to push.
    pub(super) fn push(bundle: &Bundle) -> Self {
        Self::new("POST", "/v1/snaps?file=bundle.tar.gz", bundle.pack())
    }

    /// A request of one of the shapes of the admin API.
    pub(super) fn json(method: &'static str, target: &str, shape: &impl serde::Serialize) -> Self {
        Self::new(method, target, serde_json::to_vec(shape).expect("JSON of plain values"))
    }

    /// Gives it to a server that may die of it.
    pub(super) fn give(&self, store: &Server) -> std::io::Result<Response> {
        let mut request =
            Request::new(self.method, &self.target, "airlock").header("Content-Type", "application/json");
        request = request.body(&self.body);
        Connection::open_unix(&store.data_dir.join(SOCKET_NAME))?.exchange(&request)
    }

    /// Gives it to a server that has to take it.
    pub(super) fn obeyed(&self, store: &Server) {
        let answer = self.give(store).expect("an answer");
        assert_eq!(answer.status, 200, "{} {}: {answer:?}", self.method, self.target);
    }
}

/// The world, and a data directory that holds some of it.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) witness: Witness,
    pub(super) engine: Engine,
    base: TempDir,
}

/// A data directory of its own, with a copy of the scene.
pub(crate) struct Place {
    root: PathBuf,
    _folder: Option<TempDir>,
}

impl Place {
    /// One with nothing in it.
    pub(crate) fn new() -> Self {
        let folder = memory::folder("airfault-");
        Self { root: folder.path().to_owned(), _folder: Some(folder) }
    }

    /// One inside a folder that outlives it.
    pub(super) fn inside(root: &Path) -> Self {
        Self { root: root.to_owned(), _folder: None }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.beside("data")
    }

    /// A path beside the data directory.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Starts the server on it.
    pub(super) fn start(&self) -> Server {
        Setup::empty().start_at(&self.data()).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Starts it with failpoints, which [`Place::arm`] tells what to do.
    pub(super) fn start_doomed(&self) -> Server {
        let order = format!("@{}", self.beside("failpoint").display());
        Setup::empty().failpoint(&order).start_at(&self.data()).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// From now on the failpoints do this.
    pub(super) fn arm(&self, what: &str) {
        let fresh = self.beside("failpoint.new");
        fs::write(&fresh, what).expect("a folder of our own");
        fs::rename(fresh, self.beside("failpoint")).expect("a folder of our own");
    }

    /// Where the fault came, when it came.
    pub(super) fn fired(&self) -> Option<String> {
        let log = fs::read_to_string(self.data().join("proxyd.log")).unwrap_or_default();
        log.lines().find_map(|line| line.strip_prefix("failpoint ")).map(str::to_owned)
    }
}

/// A bundle of the snap that no device asks for, so that its file may be damaged.
pub(super) fn rusty(world: &World) -> Bundle {
    let snap = world.snap("rusty");
    Bundle::new(&snap, &[(&snap.revision(1), &["latest/stable"])])
}

/// Copies a folder with everything in it, but no log and no socket.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let (kind, target) = (entry.file_type().expect("a kind"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() && entry.file_name() != "proxyd.log" {
            let _ = fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Every file of a data directory by its path, but the database's own, the log, the socket and how far the check in the
/// background is.
pub(super) fn files(data: &Path) -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![data.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder can be read").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(data).expect("inside").display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !OF_EVERY_RUN.iter().any(|own| name.starts_with(own)) {
                found.insert(name);
            }
        }
    }
    found
}

/// Has the server compare its database, its files and its documents: nothing is wrong.
pub(super) fn verified(store: &Server, when: &str) {
    assert_eq!(problems(store, when), BTreeSet::new(), "{when}");
}

/// What is wrong when the server compares its database, its files and its documents.
pub(super) fn problems(store: &Server, when: &str) -> BTreeSet<String> {
    let request =
        Request::new("POST", "/v1/verify", "airlock").header("Content-Type", "application/json").body(b"{}");
    let answer = Connection::open_unix(&store.data_dir.join(SOCKET_NAME))
        .and_then(|mut connection| connection.exchange(&request));
    let news = answer.unwrap_or_else(|error| panic!("{when}: {error}\n{}", store.log())).text();
    let last: Value = serde_json::from_str(news.lines().last().unwrap_or_default()).expect("JSON lines");
    let problems = last["report"]["problems"].as_array().unwrap_or_else(|| panic!("{when}: {news}"));
    problems.iter().map(|problem| problem["subject"].to_string()).collect()
}

/// Runs what only a PostgreSQL client can do.
pub(super) fn on_postgres<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

impl Scene {
    pub(super) fn new(engine: Engine) -> Self {
        let world = World::new();
        let brand = world.brand("acme");
        let folder = memory::folder("airfault-");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder can be made");
        let mut setup = Setup::default();
        if engine == Engine::Postgres {
            let url = on_postgres(Cluster::shared().database()).expect("a database");
            setup = setup.config("proxy.db.connection", &url);
        }
        let store = setup.start_beside(&data);
        store.trust(&world);
        let (held, gate) = (world.snap("held"), world.snap("gate").publisher("acme"));
        let rusty = rusty(&world);
        let hello = world.snap("hello");
        let revisions = [1, 2, 3].map(|number| hello.revision(number));
        let [first, second, third] = &revisions;
        let orders = [
            Order::push(&Bundle::new(&held, &[(&held.revision(1), &["latest/stable"])])),
            Order::push(&rusty),
            Order::push(&Bundle::new(
                &hello,
                &[(first, &[]), (second, &["latest/edge"]), (third, &["latest/stable"])],
            )),
            Order::push(
                &Bundle::new(&gate, &[(&gate.revision(1), &["latest/stable"])]).from_store("AcmeStore"),
            ),
            Order::json("POST", "/v1/stores?file=store.json", &store_metadata("AcmeStore", "acme", &[&gate])),
            Order::new("POST", "/v1/assertions?file=keys&as=account-keys", brand.account_keys()),
        ];
        orders.iter().for_each(|order| order.obeyed(&store));
        let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "SN-1");
        let mut device = Device::new(&store, Snapd::V2_77, &identity);
        device.ensure_session().expect("a session");
        let session = device.session.expect("a session");
        let _ = store.stop();
        // What an import that was cut off long ago left behind, for the clean-up.
        let name = Sha3_384::of(b"unowned").to_hex();
        let unowned = data.join("blobs").join(&name[..2]);
        fs::create_dir_all(&unowned).expect("a folder can be made");
        fs::write(unowned.join(&name), b"unowned").expect("a file can be written");
        let aside = data.join("blobs/damaged");
        fs::create_dir_all(&aside).expect("a folder can be made");
        fs::write(aside.join(name), b"unawned").expect("a file can be written");
        Self { world, witness: Witness { identity, session }, engine, base: folder }
    }

    /// A copy of everything.
    pub(super) fn place(&self) -> Place {
        self.place_like(&self.base.path().join("data"))
    }

    /// A copy of a data directory that was made from this scene.
    pub(super) fn place_like(&self, data: &Path) -> Place {
        let place = Place::new();
        self.stock_like(data, &place);
        place
    }

    /// Copies everything to a place.
    pub(super) fn stock(&self, place: &Place) {
        self.stock_like(&self.base.path().join("data"), place);
    }

    /// Copies a data directory that was made from this scene to a place.
    pub(super) fn stock_like(&self, data: &Path, place: &Place) {
        copy(data, &place.data());
        if self.engine == Engine::Postgres {
            let mut settings = Settings::load(&place.data()).expect("settings");
            let url = settings.value("proxy.db.connection").to_owned();
            let copy = on_postgres(Cluster::shared().database_like(&url)).expect("a copy of the database");
            settings.set("proxy.db.connection", &copy).expect("a connection");
            settings.save(&place.data()).expect("settings can be saved");
        }
    }

    /// A place with the settings of the scene and nothing else.
    pub(super) fn empty_place(&self) -> Place {
        let place = Place::new();
        fs::create_dir(place.data()).expect("a folder of our own");
        let mut settings = Settings::load(&self.base.path().join("data")).expect("settings");
        if self.engine == Engine::Postgres {
            let url = on_postgres(Cluster::shared().database()).expect("a database");
            settings.set("proxy.db.connection", &url).expect("a connection");
        }
        settings.save(&place.data()).expect("settings can be saved");
        place
    }

    /// What devices see, while nothing changes.
    pub(super) fn answers(&self, store: &Server) -> Answers {
        self.witness.ask(store).expect("every file that is offered")
    }

    /// What devices see, while one change may become visible.
    pub(super) fn answers_meanwhile(&self, store: &Server) -> Answers {
        self.witness.ask(store).unwrap_or_else(|| self.answers(store))
    }
}
