//! A sound store has no finding, and each thing that breaks it has exactly its own.

use std::collections::BTreeSet;

use schema::api::admin::Urgency::{self, Advice, Now, Soon};
use schema::config::{PairFiles, Settings};
use schema::signing::Purpose;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::plans::upkeep::Spare;
use crate::site::SecretTrouble;
use crate::tls::check::Objection;

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn sound() -> Facts {
    let disk = |free| Disk { folder: "/store".into(), bytes: free, inodes: (900, 1000) };
    Facts {
        now: now(),
        network: Network {
            base_url: "https://snaps.internal".into(),
            listening: vec!["https://[::]:443".into()],
            registered: Some(("acme".into(), "https://snaps.internal/".into())),
            ..Network::default()
        },
        host: Host {
            serves: true,
            disks: vec![disk((900 << 30, 1000 << 30))],
            modes: vec![Mode { path: "/store/airlock.yaml".into(), mode: 0o100_600, forbidden: 0o077 }],
            last_event: Some(now()),
            last_backup: Some(now() - Duration::days(2)),
            last_rehearsal: Some(now() - Duration::days(20)),
            log_read: true,
            ..Host::default()
        },
        holdings: Holdings {
            stores: vec![StoreFacts { id: "Acme".into(), has_keys: true, ..StoreFacts::default() }],
            newest: Some(now() - Duration::days(1)),
            ..Holdings::default()
        },
        desk: Desk::default(),
    }
}

fn objection(code: &'static str) -> impl Fn(&mut Facts) {
    move |facts| facts.network.objections.push(Objection { code, text: "It is so.".into() })
}

fn key_that_ends(days: i64) -> impl Fn(&mut Facts) {
    move |facts| {
        let until = now() + Duration::days(days) + Duration::HOUR;
        facts.holdings.keys.push(KeyFacts {
            name: "k".into(),
            account: "acme".into(),
            until,
            successor: None,
        });
    }
}

#[test]
fn a_sound_store_has_no_finding() {
    assert_eq!(examine(&sound()), Findings::default());
    let mut large = sound();
    disk(40 << 30, 1000 << 30, (900, 1000))(&mut large);
    assert_eq!(examine(&large), Findings::default(), "4 % of a large disk are enough");
}

type Break = (Urgency, &'static str, &'static str, Box<dyn Fn(&mut Facts)>);

fn broken(
    urgency: Urgency,
    code: &'static str,
    mend: &'static str,
    by: impl Fn(&mut Facts) + 'static,
) -> Break {
    (urgency, code, mend, Box::new(by))
}

fn disk(free: u64, all: u64, inodes: (u64, u64)) -> impl Fn(&mut Facts) {
    move |facts| {
        facts.host.disks[0].bytes = (free, all);
        facts.host.disks[0].inodes = inodes;
    }
}

fn registered(url: &'static str) -> impl Fn(&mut Facts) {
    move |facts| facts.network.registered = Some(("acme".into(), url.into()))
}

/// How each thing breaks, what it is called and what its command begins with.
fn breaks() -> Vec<Break> {
    let mut all = vec![
        broken(Now, "airgap-mode-off", "proxy enable-airgap-mode", |facts| facts.host.serves = false),
        broken(Now, "database-unavailable", "proxy check-connections", |facts| {
            facts.host.database = Some("gone".into())
        }),
        broken(Now, "schema-not-recognised", "apt-get install", |facts| facts.host.foreign_schema = true),
        broken(Now, "storage-not-writable", "ls -ld /store", |facts| {
            (facts.host.storage, facts.host.storage_folder) = (Some("no".into()), Some("/store".into()));
        }),
        broken(Now, "storage-not-writable", "proxy config proxy.storage.backend", |facts| {
            facts.host.storage = Some("no".into())
        }),
        broken(Now, "file-absent", "proxy config proxy.storage.backend", |facts| {
            facts.holdings.absent = vec![("app".into(), 1), ("app".into(), 2)];
            facts.holdings.revisions = 2;
        }),
        broken(Now, "session-secret-missing", "proxy enable-airgap-mode", |facts| {
            facts.host.secret = Some(SecretTrouble::Missing);
        }),
        broken(Now, "session-secret-foreign", "proxy config proxy.device-auth.secret=", |facts| {
            facts.host.secret = Some(SecretTrouble::Foreign);
        }),
        broken(Now, "disk-full", "proxy prune", disk(10, 1000 << 30, (900, 1000))),
        broken(Soon, "disk-full", "proxy prune", disk(4 << 30, 1000 << 30, (900, 1000))),
        broken(Now, "inodes-full", "proxy prune", disk(900 << 30, 1000 << 30, (9, 1000))),
        broken(Soon, "secrets-readable", "chmod 600 /store/airlock.yaml", |facts| {
            facts.host.modes[0].mode = 0o100_644
        }),
        broken(Soon, "folder-writable", "chmod 755 /store", |facts| {
            facts.host.modes.push(Mode { path: "/store".into(), mode: 0o40_757, forbidden: 0o002 });
        }),
        broken(Soon, "clock-went-back", "timedatectl", |facts| {
            facts.host.last_event = Some(now() + Duration::HOUR);
        }),
        broken(Soon, "clock-behind", "timedatectl", |facts| {
            facts.holdings.newest = Some(now() + Duration::HOUR);
        }),
        broken(Now, "store-not-sound", "proxy verify", |facts| {
            facts.host.unsound = Some((2, "today".into()))
        }),
        broken(Advice, "xdelta3-missing", "apt install xdelta3", |facts| facts.host.lacks_xdelta3 = true),
        broken(
            Advice,
            "squashfs-tools-missing",
            "proxy config 'proxy.deltas.formats=[\"xdelta3\"]'",
            |facts| {
                facts.host.lacks_squashfs_tools = true;
            },
        ),
        broken(Advice, "revisions-left-over", "proxy prune --keep 5", |facts| {
            facts.host.spare = Some(Spare { revisions: 3, bytes: 9, keep: 5 });
        }),
        broken(Advice, "backup-never", "proxy backup", |facts| facts.host.last_backup = None),
        broken(Advice, "backup-old", "proxy backup", |facts| {
            facts.host.last_backup = Some(now() - Duration::days(31));
        }),
        broken(Advice, "backup-old", "proxy backup", |facts| {
            facts.host.last_backup = Some(now() + Duration::days(60));
        }),
        broken(Advice, "backup-not-rehearsed", "proxy restore --rehearse", |facts| {
            facts.host.last_rehearsal = Some(now() + Duration::days(60));
        }),
        broken(Advice, "backup-not-rehearsed", "proxy restore --rehearse", |facts| {
            facts.host.last_rehearsal = Some(now() - Duration::days(183));
        }),
        broken(Soon, "certificate-files-not-taken", "ls -lL /tls/cert.pem /tls/key.pem", |facts| {
            let files = PairFiles { cert: "/tls/cert.pem".into(), key: "/tls/key.pem".into() };
            facts.network.files = Some((files, Some("no pair".into())));
        }),
        broken(Soon, "certificate-ends", "proxy import-certificate", |facts| {
            facts.network.ending = Some("It ends.".into());
        }),
        broken(Advice, "not-registered", "proxy register --import", |facts| facts.network.registered = None),
        broken(Now, "registered-without-url", "proxy register --import", registered("")),
        broken(
            Now,
            "registered-elsewhere",
            "proxy config proxy.domain=snaps.other",
            registered("https://snaps.other"),
        ),
        broken(
            Now,
            "registered-elsewhere",
            "proxy config proxy.port.https=8443",
            registered("https://snaps.internal:8443"),
        ),
        broken(
            Now,
            "registered-elsewhere",
            "proxy config proxy.tls.cert= ",
            registered("http://snaps.internal"),
        ),
        broken(Now, "registered-elsewhere", "proxy config proxy.public-url=https://snaps.other", |facts| {
            facts.network.fronted = true;
            registered("https://snaps.other")(facts);
        }),
        broken(Now, "tls-setting", "proxy import-certificate", |facts| {
            facts.network.settings.push("No effect: run `proxy import-certificate`.".into());
        }),
        broken(Now, "client-cas-stale", "proxy config proxy.tls.client-ca", |facts| {
            facts.network.stale_clients = Some("gone".into());
        }),
        broken(Now, "acme-failing", "proxy acme renew", |facts| facts.network.acme = Some("down".into())),
        broken(Now, "key-locked", "proxy config --import-yaml", |facts| {
            facts.desk.locked.push(Locked {
                key: "factory-1".into(),
                purpose: Purpose::Serial,
                why: "another secret".into(),
                mend: "proxy config --import-yaml FILE".into(),
            });
        }),
        broken(Now, "model-restored", "proxy models add acme/hub --key", |facts| {
            let again = "proxy models add acme/hub --key factory-1 --serial listed";
            facts.desk.restored.push(("acme/hub".into(), again.into()));
        }),
        broken(Now, "key-not-ready", "proxy keys create", |facts| {
            facts.desk.not_ready.push(("factory-1".into(), "ended", "acme/hub".into()));
        }),
        broken(Soon, "key-at-its-limit", "proxy keys limit factory-1 --none", |facts| {
            facts.desk.at_limit.push(("factory-1".into(), 5));
        }),
        broken(Advice, "registrations-refused", "proxy list-misses", |facts| {
            facts.desk.refused.push(("acme/hub".into(), "policy".into(), 3, "no policy".into()));
        }),
        broken(Advice, "read-socket-closed", "proxy config proxy.admin.read-socket", |facts| {
            facts.network.closed_to_readers = Some("there is no such group".into());
        }),
        broken(Soon, "listens-on-loopback", "proxy config proxy.ipaddress=[::]", |facts| {
            facts.network.listening = vec!["https://127.0.0.1:443".into(), "http://[::1]:80".into()];
        }),
        broken(Advice, "url-is-local", "proxy config proxy.domain=", |facts| {
            facts.network.base_url = "https://localhost".into();
            registered("https://localhost")(facts);
        }),
        broken(Now, "grants-not-pushed", "proxy push-snap", |facts| {
            facts.holdings.stores[0].missing.push("app".into())
        }),
        broken(Now, "brand-without-keys", "proxy push-account-keys", |facts| {
            facts.holdings.stores[0].has_keys = false
        }),
        broken(Soon, "store-grants-nothing", "proxy push-brand-store-metadata", |facts| {
            facts.holdings.stores[0].is_empty = true
        }),
        broken(Soon, "account-key-ends", "proxy push-account-keys", key_that_ends(80)),
        broken(Now, "account-key-ends", "proxy push-account-keys", key_that_ends(5)),
        broken(Advice, "account-key-ends", "proxy push-account-keys", |facts| {
            key_that_ends(5)(facts);
            facts.holdings.keys[0].successor = Some("k2".into());
        }),
        broken(Now, "file-damaged", "proxy push-snap", |facts| {
            facts.holdings.damaged.push(("app".into(), "revision 1".into()));
        }),
        broken(Now, "revision-stands-in", "proxy push-snap", |facts| {
            facts.holdings.stand_ins.push("It does.".into())
        }),
        broken(Now, "file-absent", "proxy push-snap", |facts| facts.holdings.absent.push(("app".into(), 1))),
        broken(Soon, "snap-seen-by-nobody", "proxy push-brand-store-metadata", |facts| {
            facts.holdings.unseen.push(("app".into(), vec!["Other".into()]));
        }),
        broken(
            Soon,
            "base-not-granted",
            "proxy push-brand-store-metadata FILE_THAT_GRANTS_core26",
            |facts| {
                let (base, store) = ("core26".into(), "Acme".into());
                facts.holdings.bases_not_granted.push((base, store, vec!["app".into()]));
            },
        ),
        broken(Soon, "store-not-imported", "proxy push-brand-store-metadata", |facts| {
            facts.holdings.stores_not_imported.push(("acme".into(), "Other".into(), 3));
        }),
        broken(Advice, "base-not-held", "proxy push-snap", |facts| {
            facts.holdings.bases.push(("core24".into(), vec!["app".into()]));
        }),
    ];
    for (code, mend) in [
        ("name-not-resolved", "proxy config proxy.domain="),
        ("port-closed", "proxy config proxy.domain"),
        ("no-tls", "proxy config proxy.port.https"),
        ("client-certificate-demanded", "proxy config proxy.tls.client-auth=optional"),
        ("another-server", "proxy config proxy.domain proxy.public-url"),
        ("turned-away", "journalctl"),
        ("certificate-untrusted", "install -m 644 CA.crt"),
        ("certificate-name", "proxy import-certificate"),
        ("certificate-expired", "proxy import-certificate"),
        ("certificate-not-valid-yet", "timedatectl"),
        ("certificate-refused", "proxy import-certificate"),
    ] {
        all.push(broken(Now, code, mend, objection(code)));
    }
    all
}

/// Whether a command that somebody types without a thought takes something away, or sets what stands for a value.
fn does_harm(mend: &str) -> bool {
    let sets = |word: &str| {
        let (key, value) = word.split_once('=')?;
        let stands = !value.is_empty() && value.chars().all(|c| c.is_ascii_uppercase() || "_…".contains(c));
        Some(stands && Settings::default().set(key, value).is_ok())
    };
    mend.split(' ').any(|word| word == "--apply" || sets(word).unwrap_or_default())
}

#[test]
fn each_thing_that_breaks_a_store_has_its_own_finding() {
    for (urgency, code, mend, by) in breaks() {
        let mut facts = sound();
        by(&mut facts);
        let findings = examine(&facts).findings;
        let [one] = &findings[..] else { panic!("{code}: {findings:?}") };
        assert_eq!((&*one.code, one.urgency), (code, urgency));
        assert!(one.mend.starts_with(mend), "{code}: {one:?}");
        assert!(!does_harm(&one.mend), "{code}: {:?} is typed as it is", one.mend);
        for text in [&one.what, &one.why] {
            assert!(text.ends_with(['.', '?']) && !text.is_empty(), "{code}: {text:?} is a sentence");
        }
    }
    let codes: BTreeSet<&str> = breaks().iter().map(|(_, code, ..)| *code).collect();
    assert!(codes.len() >= 40, "{codes:?}");
}

#[test]
fn the_certificate_is_renewed_by_whom_it_came_from() {
    let mend = |set: &dyn Fn(&mut Network)| {
        let mut facts = sound();
        facts.network.ending = Some("It ends.".into());
        set(&mut facts.network);
        examine(&facts).findings[0].mend.clone()
    };
    assert_eq!(mend(&|network| network.own_ca = true), "proxy ca issue-server");
    assert_eq!(mend(&|network| network.renews = true), "proxy acme renew");
}
