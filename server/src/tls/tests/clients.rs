//! Client certificates.

use super::*;

/// A site that asks for certificates of an authority, read from a folder.
fn site(auth: &str) -> (Site, Authority) {
    let mut site = Site::secure();
    let authority = Authority::new("Device CA");
    write(&site, "devices.pem", &authority.pem());
    let folder = site.folder.path().to_str().expect("text").to_owned();
    site.set(&[("proxy.tls.client-auth", auth), ("proxy.tls.client-ca", &folder)]).expect("sound");
    (site, authority)
}

fn write(site: &Site, name: &str, text: &str) {
    std::fs::write(site.folder.path().join(name), text).expect("written");
}

/// The name that the application sees, or nothing if there is no answer.
async fn seen(site: &Site, client: &Arc<ClientConfig>) -> Option<String> {
    let reply = site.get(client, "/client").await.ok()?;
    assert_eq!(reply.status, 200);
    Some(reply.body)
}

#[tokio::test]
async fn required_means_a_good_one_or_none_at_all() {
    let (site, authority) = site("required");
    let good = site.client_with(&authority.client("device-1"));
    assert_eq!(seen(&site, &good).await.as_deref(), Some("CN=device-1"));
    assert_eq!(seen(&site, &site.client()).await, None);
    let stranger = site.client_with(&Authority::new("Device CA").client("device-1"));
    assert_eq!(seen(&site, &stranger).await, None);
    // A server certificate does not authenticate a client.
    let server = site.client_with(&authority.server("device-1", 10));
    assert_eq!(seen(&site, &server).await, None);
}

#[tokio::test]
async fn optional_lets_those_without_in_and_those_with_a_bad_one_not() {
    let (site, authority) = site("optional");
    let good = site.client_with(&authority.client("device-1"));
    assert_eq!(seen(&site, &good).await.as_deref(), Some("CN=device-1"));
    assert_eq!(seen(&site, &site.client()).await.as_deref(), Some("nobody"));
    let stranger = site.client_with(&Authority::new("Device CA").client("device-1"));
    assert_eq!(seen(&site, &stranger).await, None);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_as_soon_as_the_list_is_there() {
    let (site, authority) = site("required");
    let other = Authority::new("Other CA");
    write(&site, "other.crt", &other.pem());
    let (lost, kept) = (authority.client("lost"), authority.client("kept"));
    let unlisted = other.client("other");
    let [lost_client, kept_client, other_client] = [&lost, &kept, &unlisted].map(|own| site.client_with(own));
    assert!(seen(&site, &lost_client).await.is_some());

    write(&site, "devices.crl", &authority.revoke(&[&lost]));
    site.tls.keep_up(&site.settings);
    assert_eq!(seen(&site, &lost_client).await, None);
    assert!(seen(&site, &kept_client).await.is_some());
    // An authority without a revocation list works as before.
    assert!(seen(&site, &other_client).await.is_some());
}

#[tokio::test]
async fn a_broken_file_is_named_and_the_rest_is_used() {
    let (site, authority) = site("required");
    let (lost, kept) = (authority.client("lost"), authority.client("kept"));
    let [lost_client, kept_client] = [&lost, &kept].map(|own| site.client_with(own));
    let list = authority.revoke(&[&lost]);
    write(&site, "devices.crl", &list);
    write(&site, "broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write(&site, "notes.txt", "not looked at");
    site.tls.keep_up(&site.settings);
    let problems = site.tls.problems(&site.settings);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("notes.txt") && problems[1].contains("broken.pem"), "{problems:?}");
    assert!(seen(&site, &kept_client).await.is_some());

    // Half written: the previous content still applies.
    write(&site, "devices.crl", &list[..list.len() / 2]);
    write(&site, "broken.pem", &Authority::new("Third CA").pem());
    site.tls.keep_up(&site.settings);
    let problems = site.tls.problems(&site.settings);
    assert!(problems.len() == 2 && problems[1].contains("devices.crl"), "{problems:?}");
    assert_eq!(seen(&site, &lost_client).await, None);
    assert!(seen(&site, &kept_client).await.is_some());

    // All files gone: no new client is let in, and none is locked out by accident.
    for name in ["devices.pem", "devices.crl", "broken.pem"] {
        std::fs::remove_file(site.folder.path().join(name)).expect("removed");
    }
    site.tls.keep_up(&site.settings);
    assert!(site.tls.stale().is_some());
    assert!(seen(&site, &kept_client).await.is_some());
}

#[tokio::test]
async fn a_revocation_list_that_cannot_be_used_lets_nobody_in() {
    let mut site = Site::secure();
    let authority = Authority::new("Device CA");
    let (lost, kept) = (authority.client("lost"), authority.client("kept"));
    let list = authority.revoke(&[&lost]);
    let cut = &list[..list.len() / 2];
    write(&site, "devices.pem", &authority.pem());
    let folder = site.folder.path().to_str().expect("text").to_owned();
    let file = format!("{folder}/devices.pem");
    let to = |path| [("proxy.tls.client-auth", "optional"), ("proxy.tls.client-ca", path)];
    for (name, text) in [("a.crl", cut), ("a.crl", ""), ("a.pem", cut)] {
        write(&site, name, text);
        let refused = site.set(&to(&folder)).expect_err("a broken list");
        assert!(refused.contains(name) && refused.contains("would get in"), "{refused}");
        std::fs::remove_file(site.folder.path().join(name)).expect("removed");
    }
    write(&site, "devices.pem", &(authority.pem() + cut));
    assert!(site.set(&to(&file)).expect_err("a broken list").contains("would get in"));
    write(&site, "devices.pem", &authority.pem());

    // While the server runs, what was read before stays.
    site.set(&to(&folder)).expect("sound");
    let clients = |site: &Site| [&lost, &kept].map(|own| site.client_with(own));
    write(&site, "devices.crl", &list);
    site.tls.keep_up(&site.settings);
    write(&site, "devices.crl", cut);
    write(&site, "more.crl", cut);
    site.tls.keep_up(&site.settings);
    let problems = site.tls.problems(&site.settings).join(" ");
    assert!(problems.contains("more.crl") && problems.contains("what was read before stays"), "{problems}");
    let [lost_client, kept_client] = clients(&site);
    assert!(seen(&site, &lost_client).await.is_none() && seen(&site, &kept_client).await.is_some());

    // A start has nothing from before.
    let pair = site.authority.server("localhost", 400);
    let pairs = [("proxy.tls.cert", &*pair.cert_pem), ("proxy.tls.key", &*pair.key_pem)];
    let mut again = Site::with(Limits::default(), &[&pairs[..], &to(&folder)].concat());
    std::mem::swap(&mut again.authority, &mut site.authority);
    let problems = again.tls.problems(&again.settings).join(" ");
    assert!(problems.contains("devices.crl") && problems.contains("no client is let in"), "{problems}");
    let [lost_client, kept_client] = clients(&again);
    assert!(seen(&again, &lost_client).await.is_none() && seen(&again, &kept_client).await.is_none());
    assert_eq!(seen(&again, &again.client()).await.as_deref(), Some("nobody"));
    again.set(&[("proxy.public-url", "https://snaps.internal")]).expect("sound");
    assert!(seen(&again, &kept_client).await.is_none(), "another setting opens nothing");
    write(&site, "devices.crl", &list);
    std::fs::remove_file(site.folder.path().join("more.crl")).expect("removed");
    again.tls.keep_up(&again.settings);
    assert!(seen(&again, &lost_client).await.is_none() && seen(&again, &kept_client).await.is_some());
}

#[tokio::test]
async fn a_list_counts_for_the_authority_whose_key_signed_it() {
    let (site, old) = site("required");
    let new = Authority::new("Device CA");
    let [of_old, of_new] = [&old, &new].map(|authority| [authority.client("lost"), authority.client("kept")]);
    write(&site, "new.pem", &new.pem());
    write(&site, "a.crl", &old.revoke(&[&of_old[0]]));
    // The newest of several counts.
    write(&site, "b.crl", &new.revoke_from(-9, &[]));
    write(&site, "c.crl", &new.revoke(&[&of_new[0]]));
    write(&site, "d.crl", &Authority::new("Device CA").revoke(&[]));
    site.tls.keep_up(&site.settings);
    for [lost, kept] in [of_old, of_new] {
        assert_eq!(seen(&site, &site.client_with(&lost)).await, None);
        assert!(seen(&site, &site.client_with(&kept)).await.is_some());
    }
    let problems = site.tls.problems(&site.settings);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("d.crl: no authority in proxy.tls.client-ca signed"), "{problems:?}");
    write(&site, "c.crl", &new.revoke_from(-8, &[]));
    site.tls.keep_up(&site.settings);
    let problems = site.tls.problems(&site.settings);
    let ended = "c.crl: the revocation list of CN=Device CA should have been replaced by";
    assert!(problems.len() == 2 && problems[1].contains(ended), "{problems:?}");
}

#[tokio::test]
async fn sessions_resume_without_client_certificates_only() {
    use rustls::HandshakeKind::{Full, FullWithHelloRetryRequest, Resumed};
    let kind = async |site: &Site, client: &Arc<ClientConfig>| {
        let mut stream = site.connect(client).await.expect("connect");
        ask(&mut stream, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("an answer");
        stream.get_ref().1.handshake_kind().expect("a handshake")
    };
    let is_full = |kind| matches!(kind, Full | FullWithHelloRetryRequest);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut site = Site::secure();
        let roots = provider::roots_of(&[site.authority.der()]);
        let builder = ClientConfig::builder_with_protocol_versions(&[version]);
        let client = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        assert!(is_full(kind(&site, &client).await));
        assert_eq!(kind(&site, &client).await, Resumed);
        // Across a renewal as well.
        site.turn_on();
        assert_eq!(kind(&site, &client).await, Resumed);

        let authority = Authority::new("Device CA");
        write(&site, "devices.pem", &authority.pem());
        let folder = site.folder.path().to_str().expect("text").to_owned();
        site.set(&[("proxy.tls.client-auth", "optional"), ("proxy.tls.client-ca", &folder)]).expect("sound");
        assert!(is_full(kind(&site, &client).await), "an earlier ticket is of no use");
        let named = site.client_with(&authority.client("device-1"));
        for _ in 0..2 {
            assert!(is_full(kind(&site, &client).await));
            assert!(is_full(kind(&site, &named).await));
        }
    }
}

#[tokio::test]
async fn a_connection_of_before_is_not_served_on_without_a_certificate() {
    let (mut site, _) = site("optional");
    let mut stream = site.connect(&site.client()).await.expect("connect");
    let request = "GET /client HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ask(&mut stream, request).await.expect("an answer").status, 200);
    site.set(&[("proxy.tls.client-auth", "required")]).expect("sound");
    assert_eq!(ask(&mut stream, request).await.expect("an answer").status, 421);
    assert!(closed(&mut stream).await);
}
