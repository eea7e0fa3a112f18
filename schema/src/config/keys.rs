//! The table of all keys.

use super::REDACTED;

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text without control characters.
    Text,
    /// A host name or IP address, without scheme and port.
    Host,
    /// An address to bind to; IPv6 in brackets or bare.
    Address,
    /// A port number; 0 lets the system choose.
    Port,
    /// An IP address and a port to listen on.
    Listen,
    /// A whole number.
    Number,
    /// `True` or `False`.
    Switch,
    /// An `http` or `https` URL.
    Url,
    /// An `http` or `https` URL of a host, with or without a port.
    Origin,
    /// A PostgreSQL URL, with or without a password.
    Database,
    /// Whole seconds, minutes, hours or days: `30s`, `15m`, `12h`, `7d`.
    Duration,
    /// A JSON list of texts.
    List,
    /// A JSON list of addresses of device services.
    DeviceServices,
    /// PEM text.
    Pem,
    /// `off`, `optional` or `required`.
    ClientAuth,
    /// A JSON list of IP addresses and networks.
    Networks,
    /// The absolute path of a file or folder.
    Path,
    /// 32 random bytes in standard base64.
    Key32,
    /// An `https` URL.
    HttpsUrl,
    /// `http-01` or `tls-alpn-01`.
    AcmeChallenge,
    /// An IP address with a port, IPv6 in brackets.
    Socket,
    /// `local` or `s3`.
    Backend,
    /// `off`, `parcels` or `all`.
    Quarantine,
    /// A JSON list of formats of deltas.
    DeltaFormats,
    /// `text` or `json`.
    LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    LogLevel,
    /// Bytes in base64url, with or without padding.
    MacKey,
    /// A JSON list of earlier secrets: `[{"secret": "…", "until": "2026-12-24T00:00:00Z"}]`.
    OldSecrets,
}

/// When a changed value comes into force on a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once.
    Now,
    /// At its next start.
    AtRestart,
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The value while nothing is set; empty for none.
    pub default: &'static str,
    /// Never shown unless asked for by name.
    pub secret: bool,
    /// Set on the server's host only: whoever chooses it could sign in everybody's name, bring another database, or run a program.
    pub of_host: bool,
    /// When a change of it comes into force.
    pub applies: Applies,
    /// What it is for, in one line.
    pub help: &'static str,
    /// A value, or the whole command that sets it; empty for the example of its kind.
    pub(super) example: &'static str,
    /// The first version that has it.
    pub since: &'static str,
}

impl Key {
    const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    const fn of_host(self) -> Self {
        Self { of_host: true, ..self }
    }

    /// Does anything change with its value?
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.help != NO_EFFECT
    }

    /// Whether what everybody may see of a value can leave out a part of it.
    #[must_use]
    pub fn may_hide(&self) -> bool {
        self.secret || matches!(self.kind, Kind::Database | Kind::Url | Kind::HttpsUrl)
    }

    /// The value as everybody may see it.
    #[must_use]
    pub fn redact(&self, value: &str) -> String {
        match () {
            () if value.is_empty() || !self.may_hide() => value.to_owned(),
            () if self.secret => REDACTED.to_owned(),
            () => redact_url(value),
        }
    }
}

/// Replaces the password of a URL. Readers disagree about where it ends, so the last `@` of all counts, and a query that
/// may name a password is left out whole.
fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return REDACTED.to_owned() };
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let credentials = match credentials.map(|all| (all, all.split([':', '/', '?', '#']).next())) {
        Some((all, Some(name))) if name.len() < all.len() => format!("{name}:{REDACTED}@"),
        Some((all, _)) => format!("{all}@"),
        None => String::new(),
    };
    match place.split_once('?') {
        Some((place, query)) if query.contains('%') || query.to_ascii_lowercase().contains("pass") => {
            format!("{scheme}://{credentials}{place}?{REDACTED}")
        }
        _ => format!("{scheme}://{credentials}{place}"),
    }
}

/// Finds a key by name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &KEYS[at])
}

/// The version of every key that names no later one.
const FIRST: &str = "0.1.0";

const fn open(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        secret: false,
        of_host: false,
        applies: Applies::Now,
        help,
        example: "",
        since: FIRST,
    }
}

const fn secret(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { secret: true, ..open(name, kind, "", help) }
}

/// The key of something that a server takes up when it starts.
const fn at_restart(key: Key) -> Key {
    Key { applies: Applies::AtRestart, ..key }
}

const NO_EFFECT: &str = "Kept for exports of the original product; has no effect here.";

/// A key of the original product: kept, so that its exports can be imported, and without any effect.
const fn unused(name: &'static str, kind: Kind, secret: bool) -> Key {
    Key { secret, ..open(name, kind, "", NO_EFFECT) }
}

/// Every key, sorted by name.
pub const KEYS: &[Key] = &[
    unused("internal.airgap.gateway-hash", Kind::Text, true),
    unused("internal.airgap.store.admin.id", Kind::Text, false),
    unused("internal.airgap.store.admin.macaroon-sha3-384", Kind::Text, true),
    unused("internal.airgap.store.provenance-allowlist", Kind::Text, false),
    unused("internal.publishergw.snapmodels.read-timeout", Kind::Text, false),
    unused("internal.snapassert.signing.revisions.account-id", Kind::Text, false),
    unused("internal.snapassert.signing.revisions.key", Kind::Pem, true),
    unused("internal.snapassert.signing.revisions.key-id", Kind::Text, false),
    unused("internal.snapstorage.hmac-shared-key", Kind::Text, true),
    unused("internal.snapstorage.local-origin-secret", Kind::Text, true),
    open("internal.store.id", Kind::Text, "", "Id of the registered store assertion.")
        .example("proxy register --import store.assert"),
    open("internal.store.url", Kind::Url, "", "URL in the registered store assertion.")
        .example("proxy register --import store.assert"),
    unused("internal.storeadmingw.admin-auth-token", Kind::Text, true),
    open(
        "proxy.acme.ca",
        Kind::Pem,
        "",
        "Certificates to trust the ACME directory with; unset: as other outgoing TLS.",
    )
    .example("proxy acme enable --directory https://ca.internal/acme/directory --ca root.pem"),
    open(
        "proxy.acme.challenge",
        Kind::AcmeChallenge,
        "http-01",
        "How the store shows that it has its name: http-01 or tls-alpn-01.",
    ),
    open("proxy.acme.contact", Kind::List, "[]", "Mail addresses that the ACME authority may write to.")
        .example("[\"operators@example.internal\"]"),
    open(
        "proxy.acme.directory",
        Kind::HttpsUrl,
        "",
        "ACME directory that certificates come from; unset: ACME is off.",
    ),
    secret("proxy.acme.eab-key", Kind::MacKey, "Key of the ACME external account binding.")
        .example("proxy config --set-from-stdin proxy.acme.eab-key < eab.key"),
    open("proxy.acme.eab-kid", Kind::Text, "", "Key id of the ACME external account binding.")
        .example("kid-1"),
    open(
        "proxy.acme.names",
        Kind::List,
        "[]",
        "Further names and addresses that ACME certificates cover, beside proxy.domain.",
    )
    .example("[\"old-store.example.internal\", \"10.0.0.7\"]"),
    unused("proxy.admin-emails", Kind::List, false),
    open(
        "proxy.admin.address",
        Kind::Listen,
        "",
        "Address and port of the admin API over HTTPS, such as 10.0.0.7:8444; unset: it is closed.",
    ),
    open(
        "proxy.admin.import-folder",
        Kind::Path,
        "",
        "Folder of the server's host whose files may be imported from the pages; unset: none.",
    )
    .example("/media/inbox"),
    open(
        "proxy.admin.pages",
        Kind::Switch,
        "False",
        "Pages for a browser, at proxy.admin.address; `proxy open` prints a link that logs in.",
    )
    .example("True"),
    at_restart(open(
        "proxy.admin.read-group",
        Kind::Text,
        "",
        "Group of proxy.admin.read-socket, by its name in /etc/group or its number; unset: the server's own.",
    ))
    .example("airlock-read"),
    at_restart(open(
        "proxy.admin.read-socket",
        Kind::Path,
        "",
        "A second socket of the admin API, for reading only, outside the data directory; unset: there is none.",
    ))
    .example("/run/airlock-read/admin.sock"),
    open("proxy.airgap", Kind::Switch, "False", "Air-gapped mode; set by enable-airgap-mode.")
        .example("proxy enable-airgap-mode"),
    secret(
        "proxy.auth.old-secrets",
        Kind::OldSecrets,
        "Earlier secrets whose logins are still accepted; kept by rotate-secret.",
    )
    .of_host()
    .example("proxy rotate-secret proxy.auth.secret --keep-old 7d"),
    secret("proxy.auth.secret", Kind::Key32, "Signs local logins; made by enable-airgap-mode.")
        .of_host()
        .example("proxy enable-airgap-mode"),
    open(
        "proxy.ca-certs",
        Kind::Pem,
        "",
        "The only certificates to trust in outgoing TLS; unset: the system's.",
    )
    .example("proxy use-ca-certs roots.pem"),
    unused("proxy.cache.size", Kind::Number, false),
    open("proxy.dashboard.location", Kind::Url, "https://dashboard.snapcraft.io", "Upstream publisher API.")
        .example("https://dashboard.example.internal"),
    at_restart(open(
        "proxy.db.connection",
        Kind::Database,
        "",
        "PostgreSQL URL; unset: the embedded database.",
    ))
    .of_host(),
    open(
        "proxy.deltas.budget",
        Kind::Number,
        "0",
        "MB that deltas between revisions of snaps may take; 0 turns them off.",
    )
    .example("2000"),
    open(
        "proxy.deltas.formats",
        Kind::DeltaFormats,
        "[\"xdelta3\",\"snap-1-1-xdelta3\"]",
        "Formats of deltas that are made; snap-1-1-xdelta3 needs squashfs-tools 4.7.4 or newer.",
    ),
    open(
        "proxy.deltas.keep-ratio",
        Kind::Number,
        "50",
        "Largest delta that is kept, in percent of the whole file.",
    )
    .example("30"),
    open(
        "proxy.device-auth.allowed-device-service-urls",
        Kind::DeviceServices,
        "[]",
        "Device services that registration is relayed to, each with all below its path; empty: devices ask theirs directly.",
    ),
    secret(
        "proxy.device-auth.old-secrets",
        Kind::OldSecrets,
        "Earlier secrets whose device sessions are still accepted; kept by rotate-secret.",
    )
    .of_host()
    .example("proxy rotate-secret proxy.device-auth.secret --keep-old 7d"),
    secret(
        "proxy.device-auth.secret",
        Kind::Key32,
        "Signs and checks device sessions; made by enable-airgap-mode.",
    )
    .of_host()
    .example("proxy enable-airgap-mode"),
    open("proxy.device-auth.session-lifetime", Kind::Duration, "7d", "How long a device session lasts."),
    open(
        "proxy.device-auth.strict-key-expiry",
        Kind::Switch,
        "False",
        "Also refuse documents whose signing key has expired since.",
    ),
    open(
        "proxy.domain",
        Kind::Host,
        "localhost",
        "Name of the store: its certificate is for it, and all links carry it unless proxy.public-url is set.",
    ),
    unused("proxy.hsm.token-label", Kind::Text, false),
    unused("proxy.hsm.token-pin", Kind::Text, true),
    open("proxy.https.proxy", Kind::Url, "", "Outgoing proxy of the fetch commands.")
        .example("http://proxy.example.internal:3128"),
    open(
        "proxy.imports.approvals",
        Kind::Number,
        "1",
        "How many other people have to approve an import that waits: 1 or 2.",
    )
    .example("2"),
    open(
        "proxy.imports.quarantine",
        Kind::Quarantine,
        "off",
        "Which imports wait, unseen by devices, until other people have approved them: off, parcels, or all of bundles, \
         archives, parcels, assertions and store metadata.",
    ),
    at_restart(open("proxy.ipaddress", Kind::Address, "[::]", "Address to listen on.")),
    secret("proxy.key.private", Kind::Pem, "Identity key of the store; made by generate-keys.")
        .of_host()
        .example("proxy generate-keys"),
    open("proxy.key.public", Kind::Pem, "", "Public half of the identity key.")
        .example("proxy generate-keys"),
    open(
        "proxy.log.access",
        Kind::Switch,
        "False",
        "Log each request of a device, and each refused TLS handshake, at level info.",
    ),
    at_restart(open(
        "proxy.log.format",
        Kind::LogFormat,
        "",
        "How proxyd logs: text or json; unset: text on a terminal, JSON elsewhere.",
    )),
    open(
        "proxy.log.level",
        Kind::LogLevel,
        "info",
        "What proxyd logs: error, warn, info, debug (with a line for each request) or trace.",
    ),
    unused("proxy.memcached.connection", Kind::List, false),
    open(
        "proxy.metrics.address",
        Kind::Socket,
        "",
        "Where metrics are shown to Prometheus, such as 127.0.0.1:9600; unset: nowhere. Without a password: keep it local.",
    ),
    unused("proxy.oci-registry.domain", Kind::Text, false),
    unused("proxy.oci-registry.password", Kind::Text, true),
    unused("proxy.oci-registry.username", Kind::Text, false),
    at_restart(
        open(
            "proxy.otel.endpoint",
            Kind::Url,
            "",
            "OpenTelemetry collector that traces are sent to (OTLP over HTTP); unset: none.",
        )
        .example("http://collector.internal:4318"),
    ),
    at_restart(open("proxy.port.http", Kind::Port, "80", "Port of plain HTTP.")),
    open("proxy.port.https", Kind::Port, "443", "Port of HTTPS.").example("8443"),
    unused("proxy.port.memcached", Kind::Port, false),
    unused("proxy.port.packagereview", Kind::Port, false),
    unused("proxy.port.publishergw", Kind::Port, false),
    unused("proxy.port.snapassert", Kind::Port, false),
    unused("proxy.port.snapauth", Kind::Port, false),
    unused("proxy.port.snapdevicegw", Kind::Port, false),
    unused("proxy.port.snapident", Kind::Port, false),
    unused("proxy.port.snapmodels", Kind::Port, false),
    unused("proxy.port.snaprevs", Kind::Port, false),
    unused("proxy.port.snapstorage", Kind::Port, false),
    unused("proxy.port.storeadmingw", Kind::Port, false),
    open(
        "proxy.public-url",
        Kind::Origin,
        "",
        "Where devices reach the store when that is a front with another scheme, name or port, such as \
         https://snaps.example:8443; unset: proxy.domain with the store's own port.",
    ),
    secret(
        "proxy.receipt.secret",
        Kind::Key32,
        "Signs receipts, and is what senders of parcels know this site by; made by the first `receipt`.",
    )
    .of_host()
    .example("proxy receipt > site.receipt"),
    open(
        "proxy.retention.apply",
        Kind::Switch,
        "False",
        "Remove by itself, each hour, what proxy.retention.keep leaves over; otherwise it is only told.",
    ),
    open(
        "proxy.retention.keep",
        Kind::Number,
        "0",
        "Revisions to keep for each snap, architecture and epoch, beside those that are needed; 0 keeps all.",
    )
    .example("5"),
    open(
        "proxy.signing.pkcs11.module",
        Kind::Path,
        "",
        "PKCS#11 library of an HSM or token whose keys sign here; it runs in a process of its own.",
    )
    .of_host()
    .example("/usr/lib/softhsm/libsofthsm2.so"),
    open(
        "proxy.signing.pkcs11.pin-file",
        Kind::Path,
        "",
        "File with the user PIN of the token, which is read when the library is loaded, and is in no backup.",
    )
    .of_host()
    .example("/run/credentials/airlock.service/airlock_pkcs11.pin"),
    secret(
        "proxy.signing.secret",
        Kind::Key32,
        "Seals the private keys that sign on site; made by the first `keys create`.",
    )
    .of_host()
    .example("proxy keys create factory-2026 --for serial --account acme"),
    open("proxy.sso.location", Kind::Url, "https://login.ubuntu.com", "Upstream account service.")
        .example("https://login.example.internal"),
    unused("proxy.sso.public.key", Kind::Text, false),
    at_restart(open(
        "proxy.storage.backend",
        Kind::Backend,
        "local",
        "Where blobs are kept: \"local\", in a folder; \"s3\", in a bucket that all servers of one database share.",
    )),
    at_restart(
        open(
            "proxy.storage.path",
            Kind::Path,
            "",
            "Folder of the blobs, shared by all servers of one database; the data directory when empty.",
        )
        .example("/srv/airlock"),
    ),
    at_restart(
        open("proxy.storage.s3.access-key-id", Kind::Text, "", "Access key of the bucket.")
            .example("AIRLOCK"),
    ),
    at_restart(
        open("proxy.storage.s3.region", Kind::Text, "us-east-1", "Region of the bucket.")
            .example("eu-west-1"),
    ),
    at_restart(
        open(
            "proxy.storage.s3.scanned-container-name",
            Kind::Text,
            "scanned-production",
            "Bucket of the blobs.",
        )
        .example("airlock"),
    ),
    at_restart(
        secret("proxy.storage.s3.secret-access-key", Kind::Text, "Secret of the access key.")
            .example("proxy config --set-from-stdin proxy.storage.s3.secret-access-key < s3.key"),
    ),
    at_restart(
        open("proxy.storage.s3.server-url", Kind::Url, "", "Address of the object store; unset: Amazon S3.")
            .example("https://minio.internal:9000"),
    ),
    unused("proxy.storage.s3.unscanned-container-name", Kind::Text, false),
    at_restart(open(
        "proxy.storage.s3.use-path-style",
        Kind::Switch,
        "True",
        "Name the bucket in the path of its addresses rather than in the host.",
    )),
    open("proxy.tls.cert", Kind::Pem, "", "Certificate chain of the store.")
        .example("proxy import-certificate fullchain.pem my.key"),
    open(
        "proxy.tls.cert-file",
        Kind::Path,
        "",
        "PEM file that another program renews, such as certbot: the certificate chain is taken from it.",
    )
    .example("proxy config proxy.tls.cert-file=/etc/airlock/tls/fullchain.pem proxy.tls.key-file=/etc/airlock/tls/key.pem"),
    open(
        "proxy.tls.client-auth",
        Kind::ClientAuth,
        "off",
        "Whether clients show a certificate: off, optional, required. snapd has none to show: required locks devices out.",
    ),
    open(
        "proxy.tls.client-ca",
        Kind::Path,
        "",
        "PEM file, or folder of them, of the authorities of client certificates.",
    )
    .example("/etc/airlock/client-ca.pem"),
    secret(
        "proxy.tls.further",
        Kind::Pem,
        "Certificates with their keys for further names of the store, for clients that ask for one of them.",
    )
    .example("proxy import-certificate --further old-name.pem old-name.key"),
    secret("proxy.tls.key", Kind::Pem, "Private key of the certificate.")
        .example("proxy import-certificate fullchain.pem my.key"),
    open("proxy.tls.key-file", Kind::Path, "", "PEM file of the private key of proxy.tls.cert-file.")
        .example("proxy config proxy.tls.cert-file=/etc/airlock/tls/fullchain.pem proxy.tls.key-file=/etc/airlock/tls/key.pem"),
    open("proxy.trust-forwarded-proto", Kind::Switch, "False", "Believe X-Forwarded-Proto."),
    open(
        "proxy.trusted-proxies",
        Kind::Networks,
        "[]",
        "Addresses and networks whose X-Forwarded headers are believed.",
    ),
    open("proxy.upstream", Kind::Url, "https://api.snapcraft.io", "Upstream store API.")
        .example("https://api.example.internal"),
    unused("proxy.use-postgres-over-memcached", Kind::Switch, false),
    open(
        "proxy.verify.interval",
        Kind::Duration,
        "7d",
        "How often every file is read and checked in the background.",
    ),
    open(
        "proxy.verify.rate",
        Kind::Number,
        "20",
        "MB in a second that the check in the background reads at most; 0 turns it off.",
    )
    .example("5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_in_a_url_is_shown() {
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Url | Kind::HttpsUrl)) {
            assert_eq!(
                key.redact("https://u:hunter2@h:3128/x"),
                "https://u:<redacted>@h:3128/x",
                "{}",
                key.name
            );
            assert_eq!(key.recorded("https://u:hunter2@h"), "https://u:<redacted>@h", "{}", key.name);
        }

        for (url, shown) in [
            ("postgresql://u@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require"),
            ("postgresql://u:secret@h/d", "postgresql://u:<redacted>@h/d"),
            ("postgresql://u:se@cret@h/d", "postgresql://u:<redacted>@h/d"),
            ("postgresql://u@h/d?password=secret", "postgresql://u@h/d?<redacted>"),
            // Without a path, the query follows the host.
            ("postgresql://u@h?password=secret", "postgresql://u@h?<redacted>"),
            ("postgresql://u@h/d?pass%77ord=secret", "postgresql://u@h/d?<redacted>"),
            ("postgresql://h?password=secret@x", "postgresql://h:<redacted>@x"),
            ("postgresql://u:1?secret@h/d", "postgresql://u:<redacted>@h/d"),
        ] {
            assert_eq!(
                key("proxy.db.connection").map(|key| key.redact(url)).as_deref(),
                Some(shown),
                "{url}"
            );
        }
    }
}
