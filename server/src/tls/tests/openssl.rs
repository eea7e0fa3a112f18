//! TLS as seen by the `openssl` program.

use std::process::Stdio;

use tokio::process::Command;

use super::*;

async fn s_client(site: &Site, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &site.https().to_string(), "-servername", "localhost"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program openssl is installed");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn versions_protocol_and_renegotiation() {
    let site = Site::secure();
    for version in ["-tls1", "-tls1_1"] {
        let (done, text) = s_client(&site, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]).await;
        assert!(!done && text.contains("Cipher is (NONE)"), "{version}: {text}");
    }
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (done, text) = s_client(&site, &[version, "-alpn", "h2,http/1.1"]).await;
        assert!(done && text.contains(&format!("New, {name}")), "{text}");
        assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
        assert!(!text.contains("Cipher is (NONE)"), "{text}");
    }
    let (done, text) = s_client(&site, &["-alpn", "http/1.0"]).await;
    assert!(done && text.contains("ALPN protocol: http/1.0"), "{text}");
    let (done, text) = s_client(&site, &["-alpn", "h2"]).await;
    assert!(!done, "{text}");
    // Without forward secrecy or authenticated encryption there is no connection.
    let (done, text) = s_client(&site, &["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384"]).await;
    assert!(!done, "{text}");
}

#[tokio::test]
async fn a_challenge_over_tls_meets_only_who_asks_for_it() {
    let site = Site::secure();
    let asks = &["-alpn", "acme-tls/1"][..];
    let (done, _) = s_client(&site, asks).await;
    assert!(!done, "there is no challenge");
    let answering = site.tls.challenges().over_tls("localhost", &[7; 32]).expect("a certificate");
    let (done, text) = s_client(&site, asks).await;
    assert!(done && text.contains("ALPN protocol: acme-tls/1"), "{text}");
    assert!(!text.contains("issuer=CN = Site CA"), "{text}");
    for others in [&["-alpn", "http/1.1"][..], &[]] {
        let (done, text) = s_client(&site, others).await;
        assert!(done && text.contains("issuer=CN = Site CA"), "{text}");
    }
    drop(answering);
    let (done, _) = s_client(&site, asks).await;
    assert!(!done, "it is over");
}

#[tokio::test]
async fn the_first_certificate_can_be_had_over_tls() {
    let port = super::ports::free_port().await;
    let shared = [("proxy.port.http", &*port), ("proxy.port.https", &*port)];
    for ports in [&shared[..], &[]] {
        let mut site = Site::with(Limits::default(), ports);
        let on = [("proxy.acme.directory", "https://ca.test/dir"), ("proxy.acme.challenge", "tls-alpn-01")];
        site.set(&on).expect("sound");
        assert!(site.tls.state().base_url.starts_with("http://"), "devices come in the clear");
        let (done, _) = s_client(&site, &[]).await;
        assert!(!done, "there is nothing to show");
        let answering = site.tls.challenges().over_tls("localhost", &[7; 32]).expect("a certificate");
        let (done, text) = s_client(&site, &["-alpn", "acme-tls/1"]).await;
        assert!(done && text.contains("ALPN protocol: acme-tls/1"), "{text}");
        let (done, _) = s_client(&site, &["-alpn", "http/1.1"]).await;
        assert!(!done, "it is not for devices");
        let hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(site.plainly(site.http(), hello).await.body, "hello");
        drop(answering);
    }
}
