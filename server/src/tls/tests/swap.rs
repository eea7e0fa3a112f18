//! Certificates change under load.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;

/// How often the pair changes.
const SWAPS: usize = 200;

/// Reads `/large` slowly and returns its length.
async fn transfer(site: &Site, client: &Arc<ClientConfig>) -> std::io::Result<usize> {
    let mut stream = site.connect(client).await?;
    stream.write_all(b"GET /large HTTP/1.0\r\n\r\n").await?;
    head(&mut stream).await?;
    let (mut buffer, mut came) = (vec![0; 64 << 10], 0);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(came),
            count => came += count,
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_fail_no_request_and_cut_no_transfer() {
    let mut site = Site::secure();
    let pairs: Vec<Issued> = (0..SWAPS).map(|_| site.authority.server("localhost", 400)).collect();
    let client = site.client();
    let over = Arc::new(AtomicBool::new(false));
    // The tasks see the ports; the settings change here.
    let view = Arc::new(Site {
        tls: Arc::clone(&site.tls),
        settings: site.settings.clone(),
        authority: Authority::new("unused"),
        reached: Arc::clone(&site.reached),
        folder: TempDir::new().expect("a folder"),
        stop: CancellationToken::new(),
    });
    let mut tasks = Vec::new();
    for kind in 0..4 {
        let (view, client, over) = (Arc::clone(&view), Arc::clone(&client), Arc::clone(&over));
        tasks.push(tokio::spawn(async move {
            let mut done = 0;
            let mut kept = None;
            while !over.load(Ordering::SeqCst) {
                match kind {
                    0 => assert_eq!(transfer(&view, &client).await.expect("a whole transfer"), LARGE),
                    1 => assert_eq!(view.get(&client, "/hello").await.expect("an answer").status, 200),
                    _ => {
                        // One connection for as long as the server keeps it.
                        let mut stream = match kept.take() {
                            Some(stream) => stream,
                            None => view.connect(&client).await.expect("connect"),
                        };
                        let request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
                        let reply = ask(&mut stream, request).await.expect("an answer");
                        assert_eq!(reply.status, 200);
                        kept = (reply.header("connection") != Some("close")).then_some(stream);
                    }
                }
                done += 1;
            }
            done
        }));
    }
    let mut slowest = Duration::ZERO;
    for pair in &pairs {
        let begun = Instant::now();
        site.serve(pair);
        // A client without a session to resume sees the certificate.
        let stream = site.connect(&site.client()).await.expect("connect");
        let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
        assert_eq!(shown, pair.chain[0]);
        slowest = slowest.max(begun.elapsed());
    }
    over.store(true, Ordering::SeqCst);
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("no failure"));
    }
    assert!(done.iter().all(|count| *count > 0), "{done:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    println!("{SWAPS} swaps, transfers/requests/kept {done:?}, slowest {slowest:?}");
}

#[tokio::test]
async fn the_same_pair_again_ends_no_connection() {
    let mut site = Site::secure();
    let mut stream = site.connect(&site.client()).await.expect("connect");
    let request = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    site.set(&[("proxy.airgap", "true")]).expect("sound");
    let reply = ask(&mut stream, request).await.expect("an answer");
    assert_eq!(reply.header("connection"), None);
    site.turn_on();
    let reply = ask(&mut stream, request).await.expect("an answer");
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(closed(&mut stream).await);
}
