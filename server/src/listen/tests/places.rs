//! Which connections get a slot, what happens without descriptors, and how the server stops.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::Notify;

use super::*;

/// `/wait` answers after `go`.
fn waiting_app(go: &Arc<Notify>) -> Router {
    let go = Arc::clone(go);
    app().route(
        "/wait",
        get(|| async move {
            go.notified().await;
            "waited"
        }),
    )
}

async fn busy(server: &Server) -> Client {
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_whoever_waits_longest() {
    let limits = Limits { per_address: 2, ..Limits::default() };
    let server = start(app(), limits).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.get("/hello").await;
    let mut newcomer = server.connect().await;
    assert_eq!(newcomer.get("/hello").await.status, 200);
    silent.closed().await;
    assert_eq!(idle.get("/hello").await.status, 200);
}

#[tokio::test]
async fn a_newcomer_is_refused_when_all_are_busy() {
    let go = Arc::new(Notify::new());
    for limits in [Limits { per_address: 2, ..Limits::default() }, Limits { total: 2, ..Limits::default() }] {
        let server = start(waiting_app(&go), limits).await;
        let mut clients = [busy(&server).await, busy(&server).await];
        // Once newcomers are closed instead of served, both requests are known to be in flight.
        while server.connect().await.try_hello().await {}
        go.notify_one();
        go.notify_one();
        for client in &mut clients {
            if let Some(reply) = client.reply().await {
                assert_eq!(reply.body, b"waited");
            }
        }
        let mut after = server.connect().await;
        assert_eq!(after.get("/hello").await.status, 200);
    }
}

impl Client {
    async fn try_hello(mut self) -> bool {
        let sent = self.tcp.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
        sent.is_ok() && self.reply().await.is_some()
    }
}

#[tokio::test]
async fn five_thousand_silent_connections_keep_nobody_out() {
    let limits = Limits { per_address: 300, ..Limits::default() };
    let server = start(app(), limits).await;
    let mut silent = Vec::new();
    for round in 0..5000 {
        silent.push(server.connect().await);
        if round % 100 == 99 {
            let mut client = server.connect().await;
            assert_eq!(client.get("/hello").await.status, 200);
        }
    }
}

#[tokio::test]
async fn stopping_lets_requests_finish() {
    let go = Arc::new(Notify::new());
    let server = start(waiting_app(&go), Limits::default()).await;
    let mut idle = server.connect().await;
    idle.get("/hello").await;
    let mut client = busy(&server).await;
    // When the server closes this one, the earlier requests have been accepted.
    let mut silent = server.connect().await;
    server.shutdown.cancel();
    idle.closed().await;
    silent.closed().await;
    assert!(TcpStream::connect(server.address).await.is_err());
    go.notify_one();
    let reply = client.reply().await.expect("a reply");
    assert_eq!(reply.body, b"waited");
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    client.closed().await;
    let stopped = tokio::time::timeout(LONG, server.task).await;
    stopped.expect("in time").expect("no panic");
}

#[tokio::test]
async fn stopping_cuts_what_does_not_finish() {
    let limits = Limits { drain: SHORT, ..Limits::default() };
    let server = start(waiting_app(&Arc::new(Notify::new())), limits).await;
    let mut client = busy(&server).await;
    server.shutdown.cancel();
    client.closed().await;
    let stopped = tokio::time::timeout(LONG, server.task).await;
    stopped.expect("in time").expect("no panic");
}

/// Runs itself in a separate process, because all tests of a process share its descriptors.
#[test]
fn running_out_of_descriptors_stops_nothing() {
    const CHILD: &str = "TEST_WITHOUT_DESCRIPTORS";
    const NAME: &str = "listen::tests::places::running_out_of_descriptors_stops_nothing";
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    #[expect(clippy::disallowed_methods, reason = "the test runs itself again")]
    if std::env::var_os(CHILD).is_some() {
        return runtime().expect("a runtime").block_on(without_descriptors());
    }
    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a process");
    let output = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{output}");
}

async fn without_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let server = start(app(), Limits::default()).await;
    let mut idle = server.connect().await;
    idle.get("/hello").await;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(256);
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    let cpu = cpu_ticks();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.pop();
    // The client takes the last descriptor, so the server cannot accept and closes what waits.
    let mut client = server.connect().await;
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.closed().await;
    taken.push(File::open("/dev/null").expect("the descriptor of the closed connection"));
    assert!(client.stays_open(Duration::from_secs(1)).await);
    drop(taken);
    let began = Instant::now();
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    let ticks = cpu_ticks() - cpu;
    assert!(ticks < 20, "{ticks} ticks of 10 ms in a second of waiting");
}

/// The CPU time this process has taken, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().expect("a number")).sum()
}
