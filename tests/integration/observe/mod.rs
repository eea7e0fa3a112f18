//! What operators watch: metrics, readiness, log lines, traces.

mod collector;
mod keys;
mod logs;
mod metrics;
mod prometheus;
mod ready;
mod traces;

use schema::digest::Sha3_384;
use tests::http::Request;
use tests::postgres::Cluster;
use tests::server::{Server, Setup};
use tests::world::{SINCE, stream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::sessions::Scene;

/// A server that shows its metrics.
fn watched() -> Setup {
    Setup::default().config("proxy.metrics.address", "127.0.0.1:0").config("proxy.port.https", "0")
}

/// A database of the cluster, by its connection string.
fn database(cluster: &Cluster) -> String {
    runtime().block_on(cluster.database()).expect("a database")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn get(server: &Server, target: &str) -> tests::http::Response {
    server.send(&Request::new("GET", target, "127.0.0.1").header("Connection", "close"))
}

/// A store in which something of everything has happened: a session given and one refused, a refresh, a download, imports
/// that were taken and one that was not, an account key that ends in twenty days, and a certificate.
fn eventful() -> Scene {
    let scene = Scene::on(watched().config("proxy.db.connection", &database(Cluster::shared())));
    let Scene { world, brand, store, .. } = &scene;
    let mut device = scene.device();
    let _ = device.install_for_good("hello", "latest/stable").expect("an install");
    let _ = device.refresh_all().expect("a refresh");
    let unknown = world.brand("acme").device(&brand.model_in("other", "AcmeStore"), "SN-2");
    let nonce = device.nonce().expect("a nonce");
    let mut triple = device.triple(&tests::device::session::session_request(&unknown, &nonce), &unknown);
    triple.truncate(triple.len() / 2);
    assert_eq!(store.send(&device.session_post(&triple)).status, 400);
    let ends = (OffsetDateTime::now_utc() + time::Duration::days(20)).replace_nanosecond(0).expect("a time");
    let ends = ends.format(&Rfc3339).expect("a time");
    let key = world.key("ending");
    let key = world.account_key_of("acme", "ending", &key).header("since", SINCE).header("until", ends);
    let _ = store.try_push_assertions(&stream(&[world.sign(&key)])).ok();
    assert_eq!(store.try_push_bundle(b"no bundle").code, Some(1));
    assert_eq!(get(store, &format!("/icons/{}.png", Sha3_384::of(b"none").to_hex())).status, 404);
    // What is seen of devices is written down in rounds; asking for the list writes it at once.
    let _ = store.proxy(&["list-devices"]).ok();
    let _ = store.proxy(&["import-certificate", "--selfsigned"]).ok();
    scene
}
