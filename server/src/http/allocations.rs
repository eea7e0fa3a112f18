//! What a request allocates in this process, between its parsed head and the last byte of its answer, and how large its task is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use schema::config::Settings;
use tests::device::{Action, Device, Installed, Snapd, Wanted};
use tests::server::Setup;
use tests::world::World;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::listen::App as _;
use crate::observe::Observed;
use crate::tls::{Handed, Tls};

/// A request as it comes from a connection.
fn ready(request: &tests::http::Request) -> Request<Body> {
    let mut ready = Request::builder().method(&*request.method).uri(&request.target);
    for (name, value) in &request.headers {
        // As hyper makes them: parts of what it has read.
        let value = HeaderValue::from_maybe_shared(Bytes::from(format!(" {value}")).slice(1..));
        ready = ready.header(name, value.expect("a value"));
    }
    let mut ready = ready.body(Body::from(request.body.clone())).expect("a request");
    ready.extensions_mut().insert(ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    ready
}

/// Answers a request several times, and says what the last one allocated.
fn allocations(runtime: &Runtime, front: &Front, request: &tests::http::Request) -> u64 {
    let answer = || {
        let ready = ready(request);
        let front = front.clone();
        allocation_counter::measure(move || {
            runtime.block_on(async {
                let response = front.answer(ready).await;
                assert_eq!(response.status(), StatusCode::OK);
                let mut body = response.into_body();
                while let Some(frame) = body.frame().await {
                    assert!(frame.is_ok());
                }
            });
        })
    };
    // What is made once is there by the last of them.
    for _ in 0..4 {
        answer();
    }
    answer().count_total
}

/// The store of a server that has stopped, in this process.
fn reopened(runtime: &Runtime, data_dir: &Path) -> Front {
    let settings = Settings::load(data_dir).expect("settings");
    let (openings, _) = tokio::sync::mpsc::unbounded_channel();
    let (_entered, stop) = (runtime.enter(), CancellationToken::new());
    let tls = Tls::open(&settings, Handed::default(), openings, stop).expect("ports");
    let observed = Observed::new(routes::patterns(), std::iter::empty());
    front(runtime.block_on(Site::open(data_dir, settings, tls, observed)).expect("a store"))
}

#[test]
fn a_refresh_and_an_info_allocate_little_and_are_small() {
    let world = World::new();
    let brand = world.brand("acme");
    let snap = world.snap("jq").publisher("acme");
    let server = Setup::default().start();
    server.trust(&world);
    server.push_pair(&snap.revision(1), &["latest/stable"], "AcmeStore");
    server.push_store("AcmeStore", "acme", &[&snap]);
    server.push_brand(&brand);
    let identity = brand.device(&brand.model_in("gateway", "AcmeStore"), "1");
    let mut device = Device::new(&server, Snapd::V2_77, &identity).trusting(&world);
    let id = snap.declaration().text("snap-id").unwrap_or_default().to_owned();
    device.installed = vec![Installed::new("jq", &id, 1, "latest/stable")];
    device.ensure_session().expect("a session");
    let refresh = device.refresh_post(&device.refresh_body(&[Action::Refresh(id, Wanted::default())]));
    let info = device.info_get("jq", &device.snapd.info_fields().join(","));
    let stopped = server.stop();

    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let front = reopened(&runtime, &stopped.data_dir);
    // hyper copies it four times for each request, whatever the request is.
    let size = size_of_val(&front.answer(ready(&refresh)));
    let (refresh, info) = (allocations(&runtime, &front, &refresh), allocations(&runtime, &front, &info));
    eprintln!("refresh: {refresh} allocations, info: {info}; a task of {size} bytes");
    assert!(size <= 3500, "the task of a request has {size} bytes");
    assert!(refresh <= 11 && info <= 6, "refresh: {refresh} allocations, info: {info}");
}
