//! The command lines that operators of the closed product arrive with, as their documents print them, through links of its
//! names: each works here, or its refusal says what to type instead. The test prints a table: typed, seen, verdict.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tests::device::{Device, Snapd};
use tests::server::{Server, Setup, program, proxy};
use tests::world::{Brand, World};

/// What has to come of a line: it works and says this, or it is refused and says what to type.
enum Must {
    Say(&'static str),
    Write(&'static str),
    Refuse(&'static str),
}

/// Both machines of the documents.
struct Site {
    folder: TempDir,
    store: Server,
    _upstream: Server,
    brand: Brand,
    world: World,
}

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().expect("there is room");
        for name in ["bin", "laptop/data", "data", "store"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let world = World::new();
        let brand = world.brand("acme");
        let gateway = world.snap("acme-gateway").publisher("acme");
        let upstream = Server::start();
        upstream.trust(&world);
        upstream.push_brand(&brand);
        upstream.push_store("AcmeStore", "acme", &[&gateway]);
        upstream.push_pair(&world.snap("acme-app").revision(7), &["latest/stable"], "ubuntu");
        upstream.push_pair(&gateway.revision(5), &["latest/stable"], "AcmeStore");
        let data = folder.path().join("data");
        let values = [
            "proxy.ipaddress=127.0.0.1",
            "proxy.port.http=0",
            "proxy.port.https=0",
            "proxy.domain=localhost",
        ];
        let _ = proxy(&data, &[&["config"], &values[..]].concat()).ok();
        let store = Setup::empty().start_at(&data).unwrap_or_else(|failure| panic!("{failure}"));
        store.trust(&world);
        let _ = store.proxy(&["enable-airgap-mode"]).ok();
        let _ = store.proxy(&["generate-keys"]).ok();
        let places = ["proxy.upstream", "proxy.dashboard.location", "proxy.sso.location"];
        let places = places.map(|key| format!("{key}={}", upstream.url));
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let _ = proxy(&folder.path().join("laptop/data"), &[&["config"], &places[..]].concat()).ok();
        let at = |name: &str| folder.path().join(name);
        for (name, acl) in [("viewer.login", "package_access"), ("admin.login", "store_admin")] {
            fs::write(at("laptop").join(name), upstream.login("AcmeStore", acl).1).expect("a login");
        }
        fs::write(at("root.assert"), world.anchors()).expect("the root of this world");
        for name in ["snap-proxy", "snap-store-proxy", "enterprise-store", "proxy"] {
            symlink(program("proxy"), at("bin").join(name)).expect("a link");
        }
        let sudo = at("bin/sudo");
        fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").expect("a stand-in");
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { folder, store, _upstream: upstream, brand, world }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a line as typed. The tests' world has its own root, which the commands that check signatures are told of.
    fn run(&self, machine: &str, line: &str) -> (i32, String) {
        let mut line = line.to_owned();
        for verb in ["fetch-snaps", "fetch-account-keys"] {
            let trusting = format!("{verb} --trust {} ", self.at("root.assert").display());
            line = line.replace(&format!("{verb} "), &trusting);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let data = if machine == "store" { self.at("data") } else { self.at("laptop/data") };
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("{HTTPS}{{ {line}\n}} 2>&1")])
            .current_dir(self.at(machine))
            .env("PATH", format!("{}:{path}", self.at("bin").display()))
            .env("AIRLOCK_DATA_DIR", data)
            .env("MODEL_KEY", self.brand.model_key().public().id())
            .env("SERIAL_KEY", self.brand.serial_key().public().id())
            .output()
            .expect("bash can be started");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `https` prints the URL, whose port is another in each run.
const HTTPS: &str = "https() { proxy status --json | grep -o 'https://localhost:[0-9]*' | head -1; }; ";

/// A certificate as the documents make it: an authority, a request, and a leaf with an extension file.
const CERTIFICATES: &str = "openssl req -new -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=ca -keyout ca.key -out ca.crt && \
    openssl req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout my.key -out x.csr && \
    printf 'subjectAltName=DNS:localhost\\n' > v3.ext && \
    openssl x509 -req -in x.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -sha256 -out my.cert -extfile v3.ext && \
    cat my.cert ca.crt > fullchain.pem";

/// The certificate of the search server's page: of version 1, without names.
const OLD: &str = "openssl genrsa 2048 > old-ca-key.pem && \
    openssl req -new -x509 -nodes -days 365 -subj /CN=oldca -key old-ca-key.pem -out old-ca-cert.pem && \
    openssl req -newkey rsa:2048 -days 365 -nodes -subj /CN=localhost -keyout server-key.pem -out server-req.pem && \
    openssl rsa -in server-key.pem -out server-key.pem && \
    openssl x509 -req -in server-req.pem -days 365 -CA old-ca-cert.pem -CAkey old-ca-key.pem -set_serial 01 -out server-cert.pem";

#[test]
fn what_is_typed_elsewhere_works_here_or_says_what_to_type() {
    use Must::{Refuse, Say, Write};
    let site = Site::new();
    let lines: Vec<(&str, &str, Must)> = vec![
        // Air-gapped mode with device authentication.
        (
            "laptop",
            "sudo snap-store-proxy fetch-snaps acme-gateway --channel=stable --architecture=amd64 --auth viewer.login --store AcmeStore",
            Write("acme-gateway-*.tar.gz"),
        ),
        (
            "laptop",
            "sudo snap-store-proxy fetch-snaps acme-app --channel=stable --architecture=amd64",
            Write("acme-app-*.tar.gz"),
        ),
        ("laptop", "sudo snap-store-proxy fetch-brand-store-metadata AcmeStore admin.login", Write("*.json")),
        ("laptop", "snap-store-proxy fetch-account-keys acme $MODEL_KEY \\\n", Write("*.assert")),
        (
            "laptop",
            "rm -f *.assert; snap-store-proxy fetch-account-keys acme $MODEL_KEY $SERIAL_KEY",
            Write("*.assert"),
        ),
        ("laptop", "sudo snap-store-proxy register --https", Refuse("snap-store-proxy register --import")),
        ("laptop", "cp *.tar.gz *.json *.assert ../store/", Say("")),
        ("store", "sudo snap-store-proxy push-account-keys *.assert", Say("Added account-key")),
        ("store", "sudo snap-store-proxy push-snap acme-gateway-*.tar.gz", Say("[snap acme-gateway]")),
        ("store", "sudo snap-store-proxy push-snaps acme-app-*.tar.gz", Say("[snap acme-app]")),
        ("store", "sudo snap-store-proxy push-brand-store-metadata *.json", Say("Imported store AcmeStore")),
        ("store", "snap-store-proxy status || true", Say("AcmeStore")),
        ("store", "snap-store-proxy list-pushed-snaps", Say("acme-gateway")),
        (
            "store",
            "sudo snap-store-proxy config > proxy-config-backup.txt && cat proxy-config-backup.txt",
            Say("proxy.auth.secret: <redacted>"),
        ),
        (
            "store",
            "sudo snap-store-proxy config --import-yaml < proxy-config-backup.txt",
            Say("stay as they are"),
        ),
        ("store", "sudo snap-store-proxy config proxy.device-auth.secret > 1.txt && test -s 1.txt", Say("")),
        ("store", "sudo snap-store-proxy config proxy.auth.secret > 2.txt && test -s 2.txt", Say("")),
        (
            "store",
            "sudo snap-store-proxy config proxy.key.private > 3.txt && grep -c PRIVATE 3.txt",
            Say("2"),
        ),
        // HTTPS of the proxy.
        ("store", "snap-proxy config proxy.domain", Say("localhost")),
        ("store", CERTIFICATES, Say("")),
        (
            "store",
            "cat my.cert my.key ca.crt | sudo snap-proxy import-certificate",
            Say("Certificate of localhost"),
        ),
        (
            "store",
            "cat fullchain.pem my.key | sudo snap-proxy import-certificate",
            Say("Certificate of localhost"),
        ),
        (
            "store",
            "cat my.key my.cert | sudo enterprise-store import-certificate",
            Say("Certificate of localhost"),
        ),
        ("store", "sudo snap-store-proxy config proxy.tls.key > 4.txt && grep -c PRIVATE 4.txt", Say("2")),
        (
            "store",
            "snap-proxy config proxy.tls.cert | cat > tls-cert.crt && openssl x509 -in tls-cert.crt -noout -subject",
            Say("localhost"),
        ),
        ("store", "snap-proxy status || true", Say("Checked as a device")),
        // The page's own restart command is the packager's; what it is for is seen at once.
        ("store", "snap-proxy config proxy.tls.cert | openssl verify -CAfile ca.crt", Say("OK")),
        (
            "store",
            "snap-proxy ca init && snap-proxy ca show --snapd",
            Say("snap set system store-certs.airlock="),
        ),
        ("store", "snap-proxy device-kit 2>&1", Say("store-certs.airlock")),
        // Local HTTPS services.
        (
            "store",
            "snap-store-proxy config set http.cert_path /etc/cert.pem",
            Refuse("snap-store-proxy import-certificate"),
        ),
        (
            "store",
            "snap-store-proxy config http.key_path=/etc/key.pem",
            Refuse("snap-store-proxy import-certificate"),
        ),
        ("store", "snap-store-proxy config set http.ca_path /etc/ca.pem", Refuse("proxy.tls.client-ca")),
        (
            "store",
            "snap-store-proxy config proxy.tls.client-ca=$PWD/ca.crt proxy.tls.client-auth=optional",
            Say("optional"),
        ),
        ("store", "curl -sS --fail --cacert ca.crt $(https)/v2/snaps/find", Say("results")),
        ("store", "curl -sS $(https | sed s/https/http/)/ -o /dev/null -w '%{http_code}'", Say("400")),
        (
            "store",
            "snap-store-proxy ca issue-client gateway --out . && snap-store-proxy config proxy.tls.client-ca=$AIRLOCK_DATA_DIR/ca/roots.pem proxy.tls.client-auth=required",
            Say("required"),
        ),
        ("store", "curl -sS --cacert ca.crt $(https)/", Refuse("certificate required")),
        (
            "store",
            "curl -sS --cacert ca.crt --cert gateway.pem --key gateway.key $(https)/ -o /dev/null -w '%{http_code}'",
            Say("200"),
        ),
        ("store", "snap-store-proxy config proxy.tls.client-auth=off proxy.tls.client-ca=", Say("off")),
        (
            "store",
            "snap-store-proxy config proxy.admin.address=127.0.0.1:0 proxy.metrics.address=127.0.0.1:0",
            Say("127.0.0.1:0"),
        ),
        // Certificates of a self-hosted stack.
        (
            "store",
            "snap-store-proxy config proxy.trust-forwarded-proto=true 'proxy.trusted-proxies=[\"127.0.0.1\"]' proxy.public-url=https://localhost:8443",
            Say("https://localhost:8443"),
        ),
        (
            "store",
            "snap-store-proxy config proxy.public-url= proxy.trust-forwarded-proto=false",
            Say("proxy.public-url"),
        ),
        ("store", "snap-store-proxy help acme", Say("snap-store-proxy acme")),
        // SSL of a search server.
        ("store", OLD, Say("")),
        (
            "store",
            "cat server-cert.pem server-key.pem | sudo enterprise-store import-certificate",
            Refuse("subjectAltName"),
        ),
        // A whole run's other lines.
        ("store", "snap-store-proxy override acme-app stable=7", Say("acme-app stable")),
        ("store", "snap-store-proxy list-overrides acme-app", Say("upstream 7")),
        ("store", "snap-store-proxy delete-override acme-app stable", Say("tracking upstream (revision 7)")),
        ("store", "snap-store-proxy check-connections", Say("")),
        (
            "store",
            "snap-proxy config --export-yaml | cat > store-config.yaml && cat store-config.yaml | snap-proxy config --import-yaml",
            Say(""),
        ),
        (
            "store",
            "snap-store-proxy config proxy.tls.key='' proxy.tls.cert='' proxy.admin.address=",
            Say("proxy.tls.cert"),
        ),
    ];
    let (mut table, mut missing) = (String::new(), Vec::new());
    for (machine, line, must) in lines {
        let (code, told) = site.run(machine, line);
        let fine = match must {
            Say(text) => code == 0 && told.contains(text),
            Write(pattern) => code == 0 && site.run(machine, &format!("ls {pattern}")).0 == 0,
            Refuse(text) => code != 0 && told.contains(text) && !told.contains("`proxy "),
        };
        let verdict = match (fine, must) {
            (true, Refuse(_)) => "refused, with what to type",
            (true, _) => "works",
            (false, _) => "missing",
        };
        let seen = told.lines().last().unwrap_or_default();
        table.push_str(&format!(
            "| `{}` | {} | {verdict} |\n",
            line.trim(),
            seen.chars().take(90).collect::<String>()
        ));
        if !fine {
            missing.push(format!("{line}\nended with {code}:\n{told}"));
        }
    }
    let mut device = Device::anonymous(&site.store, Snapd::V2_77).trusting(&site.world);
    let info = device.info("acme-app");
    table.push_str(&format!(
        "| `snap info acme-app` | {} | {} |\n",
        info.is_ok(),
        if info.is_ok() { "works" } else { "missing" }
    ));
    assert!(info.is_ok(), "snap info acme-app");
    assert!(device.info("acme-gateway").is_err(), "nobody else sees a brand's snap");
    println!("| Typed | Seen | Verdict |\n|---|---|---|\n{table}");
    assert!(missing.is_empty(), "{}\n{table}", missing.join("\n\n"));
}
