//! How devices come here: what happened on their way, and where their assertion sends them.

use std::net::SocketAddr;

use schema::api::admin::Urgency::{Advice, Now, Soon};
use schema::config::PairFiles;
use url::{Host, Url};

use super::Found;
use crate::tls::check::Objection;

/// How devices come here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// The beginning of every link.
    pub(crate) base_url: String,
    /// Is it the operator's word (`proxy.public-url`)?
    pub(crate) fronted: bool,
    /// Where the server listens.
    pub(crate) listening: Vec<String>,
    /// The registered store's id, and the URL in its assertion.
    pub(crate) registered: Option<(String, String)>,
    /// Why a device would not get through.
    pub(crate) objections: Vec<Objection>,
    /// The certificate's end, while it is far enough.
    pub(crate) ending: Option<String>,
    /// Settings of TLS that do not do what they say, in full sentences.
    pub(crate) settings: Vec<String>,
    /// Why earlier client CAs are still in use.
    pub(crate) stale_clients: Option<String>,
    /// The files that the certificate is taken from, and why the last ones were not taken.
    pub(crate) files: Option<(PairFiles, Option<String>)>,
    /// Why no certificate comes from the ACME authority.
    pub(crate) acme: Option<String>,
    /// Does an ACME authority renew the certificate?
    pub(crate) renews: bool,
    /// Does the store have an authority of its own?
    pub(crate) own_ca: bool,
    /// Why those who may only look cannot: the socket for reading is not open.
    pub(crate) closed_to_readers: Option<String>,
}

pub(super) fn examine(network: &Network, found: &mut Found) {
    let listed = network.files.as_ref().map(|(PairFiles { cert, key }, _)| {
        // Whatever program renews them is not known here.
        format!("ls -lL {} {}", cert.display(), key.display())
    });
    let new_certificate = match (&listed, network.renews, network.own_ca) {
        (Some(listed), ..) => listed,
        (None, true, _) => "proxy acme renew",
        (None, false, true) => "proxy ca issue-server",
        (None, false, false) => "proxy import-certificate FULLCHAIN.pem KEY.pem",
    };
    for Objection { code, text } in &network.objections {
        let (why, mend) = match *code {
            "name-not-resolved" => (
                "A device that cannot resolve the name finds no store.",
                match network.fronted {
                    true => "proxy config proxy.public-url=URL_THAT_DEVICES_REACH",
                    false => "proxy config proxy.domain=…",
                },
            ),
            "port-closed" => (
                "Devices cannot connect.",
                match network.fronted {
                    true => "proxy config proxy.public-url=URL_THAT_DEVICES_REACH",
                    false => "proxy config proxy.domain proxy.port.http proxy.port.https",
                },
            ),
            "no-tls" => (
                "Links begin with https, and whatever answers there speaks something else.",
                "proxy config proxy.port.https",
            ),
            "client-certificate-demanded" => {
                ("snapd has no client certificate to show.", "proxy config proxy.tls.client-auth=optional")
            }
            "another-server" => {
                ("Devices talk to somebody else.", "proxy config proxy.domain proxy.public-url")
            }
            "turned-away" => ("Devices connect and get no good answer.", "journalctl --unit airlock"),
            "certificate-untrusted" => (
                "A device that does not trust the issuer ends the handshake.",
                match network.own_ca {
                    true => new_certificate,
                    false => {
                        "install -m 644 CA.crt /usr/local/share/ca-certificates/ && update-ca-certificates"
                    }
                },
            ),
            "certificate-not-valid-yet" => (
                "A device whose clock is right ends the handshake.",
                "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'",
            ),
            _ => ("A device ends the handshake when it sees this certificate.", new_certificate),
        };
        found.add(Now, code, text, why, mend);
    }
    if let Some(text) = &network.ending {
        let why = "From that day on, every device ends the handshake.";
        found.add(Soon, "certificate-ends", text, why, new_certificate);
    }
    registered(network, found);
    for text in &network.settings {
        let why = "The setting does not do what it says.";
        // Each sentence names its command, if there is one.
        let mend = text.split('`').nth(1).unwrap_or("proxy config proxy.tls.client-ca");
        found.add(Now, "tls-setting", text, why, mend);
    }
    if let Some(failure) = &network.stale_clients {
        let what = format!("The earlier client CAs stay in use: {failure}.");
        let why = "Clients of a new authority are refused, and those of a removed one are let in.";
        found.add(Now, "client-cas-stale", what, why, "proxy config proxy.tls.client-ca");
    }
    if let Some((_, Some(failure))) = &network.files {
        let what = format!("The earlier certificate stays in use: {failure}.");
        let why = "The certificate in use ends without a successor.";
        found.add(Soon, "certificate-files-not-taken", what, why, new_certificate);
    }
    if let Some(failure) = &network.acme {
        let what = format!("No new certificate comes from the ACME authority: {failure}.");
        let why = "The certificate in use ends without a successor.";
        found.add(Now, "acme-failing", what, why, "proxy acme renew");
    }
    if let Some(why) = &network.closed_to_readers {
        let what = format!("The socket for reading, proxy.admin.read-socket, is not open: {why}.");
        let why = "Those who may look and change nothing cannot use any command.";
        let mend = "proxy config proxy.admin.read-socket proxy.admin.read-group && systemctl restart airlock";
        found.add(Advice, "read-socket-closed", what, why, mend);
    }
    let host = Url::parse(&network.base_url).ok().and_then(|url| url.host().map(|host| host.to_owned()));
    let local = host.as_ref().is_some_and(is_local);
    if local {
        let what = format!("The store's URL, {}, is one of this host alone.", network.base_url);
        let why = "A device that follows it asks itself.";
        let mend = "proxy config proxy.domain=…";
        found.add(Advice, "url-is-local", what, why, mend);
    } else if !network.fronted
        && !network.listening.is_empty()
        && network.listening.iter().all(|url| at_loopback(url))
    {
        let what = format!("The server listens on {} only.", network.listening.join(", "));
        let why = "Only programs of this host can connect.";
        found.add(Soon, "listens-on-loopback", what, why, "proxy config proxy.ipaddress=[::]");
    }
}

/// Do devices that use the store's assertion come to where it is served?
fn registered(network: &Network, found: &mut Found) {
    let Some((id, url)) = &network.registered else {
        let why = "Devices can be pointed here with proxy.store only when there is a store assertion for it.";
        let mend = "proxy register --import offline-snap-store.tar.gz";
        found.add(Advice, "not-registered", "No registration was imported.", why, mend);
        return;
    };
    let why = "Devices with `proxy.store` go where the assertion sends them, and nowhere else.";
    let reregister = "proxy register --import NEW_REGISTRATION";
    let (Ok(wanted), Ok(served)) = (Url::parse(url), Url::parse(&network.base_url)) else {
        let what = format!("The store assertion of {id} names no URL.");
        found.add(Now, "registered-without-url", what, why, reregister);
        return;
    };
    if wanted.origin() == served.origin() {
        return;
    }
    let what = format!(
        "The store assertion of {id} sends devices to {}, and this store is served at {}.",
        wanted.origin().ascii_serialization(),
        served.origin().ascii_serialization()
    );
    let host = wanted.host_str().unwrap_or_default();
    let mut settings = Vec::new();
    if network.fronted {
        settings.push(format!("proxy.public-url={}", wanted.origin().ascii_serialization()));
    } else {
        if wanted.host() != served.host() {
            settings.push(format!("proxy.domain={host}"));
        }
        if wanted.port_or_known_default() != served.port_or_known_default() {
            let port = wanted.port_or_known_default().unwrap_or_default();
            settings.push(format!("proxy.port.{}={port}", wanted.scheme()));
        }
    }
    let mend = match (network.fronted, wanted.scheme() == served.scheme(), wanted.scheme()) {
        (false, false, "https") => "proxy import-certificate FULLCHAIN.pem KEY.pem".to_owned(),
        (false, false, _) => "proxy config proxy.tls.cert= proxy.tls.key=".to_owned(),
        _ => format!("proxy config {}", settings.join(" ")),
    };
    found.add(Now, "registered-elsewhere", what, why, mend);
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn at_loopback(url: &str) -> bool {
    let address = url.rsplit('/').next().and_then(|text| text.parse::<SocketAddr>().ok());
    address.is_some_and(|address| address.ip().is_loopback())
}
