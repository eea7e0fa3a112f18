//! Clients whose certificates lead to something that is not, or no longer, an authority.

use super::*;

/// A client that presents `leaf` with these certificates above it.
fn with(site: &Site, leaf: &Issued, above: &[&Authority]) -> Arc<ClientConfig> {
    site.client_showing(leaf, above.iter().map(|authority| authority.der()).collect())
}

async fn gets_in(site: &Site, client: &Arc<ClientConfig>) -> bool {
    site.get(client, "/client").await.is_ok_and(|reply| reply.status == 200)
}

#[tokio::test]
async fn what_is_no_authority_lets_nobody_in() {
    let mut site = Site::secure();
    let authority = Authority::new("Device CA");
    let leaf = authority.leaf_that_signs("device-0");
    std::fs::write(site.folder.path().join("leaf.pem"), leaf.pem()).expect("written");
    let file = site.folder.path().join("leaf.pem").to_str().expect("text").to_owned();
    let settings = [("proxy.tls.client-auth", "required"), ("proxy.tls.client-ca", &*file)];
    let refused = site.set(&settings).expect_err("no authority").to_string();
    assert!(refused.contains("device-0 is not an authority: it does not say CA:TRUE"), "{refused}");

    // Next to a real authority it is skipped.
    std::fs::write(&file, leaf.pem() + &authority.pem()).expect("written");
    site.set(&settings).expect("one of them is");
    assert!(gets_in(&site, &site.client_with(&authority.client("device-1"))).await);
    assert!(!gets_in(&site, &with(&site, &leaf.client("device-2"), &[])).await);
    assert!(!gets_in(&site, &with(&site, &leaf.client("device-2"), &[&leaf])).await);
}

#[tokio::test]
async fn an_authority_is_one_within_its_time_and_its_length() {
    let mut site = Site::secure();
    let (flat, deep, over) = (Authority::flat("Flat"), Authority::new("Deep"), Authority::expired("Over"));
    let later = Authority::later("Later");
    for (name, authority) in [("flat", &flat), ("deep", &deep), ("over", &over), ("later", &later)] {
        std::fs::write(site.folder.path().join(format!("{name}.pem")), authority.pem()).expect("written");
    }
    let folder = site.folder.path().to_str().expect("text").to_owned();
    site.set(&[("proxy.tls.client-auth", "required"), ("proxy.tls.client-ca", &folder)]).expect("sound");
    let problems = site.tls.problems(&site.settings).join(" ");
    assert!(problems.contains("Over has expired on") && problems.contains("Later is not valid before"));
    for (authority, in_itself, through) in
        [(&flat, true, false), (&deep, true, true), (&over, false, false), (&later, false, false)]
    {
        assert_eq!(gets_in(&site, &site.client_with(&authority.client("device"))).await, in_itself);
        let below = authority.below("Below");
        assert_eq!(gets_in(&site, &with(&site, &below.client("device"), &[&below])).await, through);
    }
}
