//! What devices are given, in the form that they take it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::api::admin::DeviceKit;

/// What is done on the device; everything that differs stands above it.
const BODY: &str = include_str!("kit/body.sh");

/// The shell script for a running device. No byte of the kit is read as shell.
pub(crate) fn script(kit: &DeviceKit) -> String {
    let url = kit.registered_url.as_ref().filter(|_| kit.assertions.is_some()).unwrap_or(&kit.url);
    let id = kit.store_id.as_deref().unwrap_or_default();
    [
        "#!/bin/sh\n\
         # Makes snapd on this device use an on-site store. Run it as root; --check only tries the way there,\n\
         # --undo moves the device back to the public store.\n\
         set -eu\n",
        &format!("store_id={}\nurl={}\n", quoted(id), quoted(url)),
        "units=${SNAPD_UNIT_DIR:-/etc/systemd/system/snapd.service.d}\n\
         work=$(mktemp -d)\ntrap 'rm -rf \"$work\"' EXIT\n",
        &here("store.assert", kit.assertions.as_deref()),
        &authorities(kit.ca.as_deref()).map(|(name, text)| here(&name, Some(text))).collect::<String>(),
        BODY,
    ]
    .concat()
}

/// The same for a machine that cloud-init sets up.
pub(crate) fn cloud_init(kit: &DeviceKit) -> String {
    format!(
        "#cloud-config\n\
         write_files:\n\
         - path: /run/airlock-device-kit.sh\n  permissions: '0700'\n  encoding: b64\n  content: {}\n\
         runcmd:\n\
         - [sh, /run/airlock-device-kit.sh]\n",
        STANDARD.encode(script(kit))
    )
}

/// Defaults for the gadget snap of an image. The assertion is seeded with `snap prepare-image --assert`.
pub(crate) fn model_defaults(kit: &DeviceKit) -> String {
    // A JSON text is a YAML text, whatever is in it.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml = "# For gadget.yaml. The image needs the store assertion too: write it with\n\
                    # `device-kit --format usb --out DIR`, and give store.assert to `snap prepare-image --assert` (snapd 2.70 and\n\
                    # later). Without an assertion, snapd of the image uses the store named by SNAPPY_FORCE_API_URL.\n\
                    defaults:\n  system:\n"
        .to_owned();
    match &kit.store_id {
        Some(id) => yaml.push_str(&format!("    proxy:\n      store: {}\n", text(id))),
        None => yaml.push_str(&format!("    # SNAPPY_FORCE_API_URL={}\n", text(&kit.url))),
    }
    if let Some(ca) = &kit.ca {
        yaml.push_str("    store-certs:\n");
        for (number, (_, root)) in authorities(Some(ca)).enumerate() {
            let name = store_certs(number);
            let name = name.trim_start_matches("store-certs.");
            yaml.push_str(&format!("      {name}: {}\n", text(root)));
        }
    }
    yaml
}

/// The setting of snapd for an authority, by its number.
pub(crate) fn store_certs(number: usize) -> String {
    match number {
        0 => "store-certs.airlock".into(),
        _ => format!("store-certs.airlock-{}", number + 1),
    }
}

/// Each authority with the file that it goes to: snapd has a setting for each.
fn authorities(ca: Option<&str>) -> impl Iterator<Item = (String, &str)> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let mut rest = ca.unwrap_or_default();
    let pieces = std::iter::from_fn(move || {
        let after = rest.find(BEGIN).map_or(0, |at| at + BEGIN.len());
        let end = rest[after..].find(BEGIN).map_or(rest.len(), |at| after + at);
        let (piece, others) = rest.split_at(end);
        rest = others;
        Some(piece).filter(|piece| !piece.is_empty())
    });
    pieces.enumerate().map(|(number, text)| match number {
        0 => ("ca.pem".to_owned(), text),
        _ => (format!("ca-{}.pem", number + 1), text),
    })
}

/// One word of the shell, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes a file on the device. The end mark is a line that the content does not have.
fn here(name: &str, content: Option<&str>) -> String {
    let Some(content) = content else { return String::new() };
    let mut mark = "END_OF_FILE".to_owned();
    while content.lines().any(|line| line == mark) {
        mark.push('_');
    }
    let end = if content.ends_with('\n') { "" } else { "\n" };
    format!("cat > \"$work/{name}\" <<'{mark}'\n{content}{end}{mark}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    /// A `snap` that notes how it was called and keeps what it was given.
    const STUB: &str = "#!/bin/sh\n\
        for word in \"$(basename \"$0\")\" \"$@\"; do printf '<%s>' \"$word\" >> calls; done; echo >> calls\n\
        if [ \"${1:-}\" = ack ]; then cat \"$2\" > acked; fi\n\
        if [ \"${1:-}\" = get ]; then exit 1; fi\n\
        if [ \"${1:-}\" = find ] && [ -e unreachable ]; then exit 1; fi\n";

    /// Runs a script beside stubs; how it ended, the calls, and what was acked.
    fn run(script: &str, args: &[&str], unreachable: bool) -> (Option<i32>, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["snap", "systemctl"] {
            fs::write(path(name), STUB).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(path("kit.sh"), script).unwrap();
        if unreachable {
            fs::write(path("unreachable"), "").unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "the test extends its path")]
        let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let ended = Command::new("sh")
            .arg("kit.sh")
            .args(args)
            .current_dir(folder.path())
            .env("PATH", search)
            .env("SNAPD_UNIT_DIR", path("units"))
            .output()
            .unwrap();
        assert!(!path("pwned").exists(), "something in the kit was read as shell");
        let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
        (ended.status.code(), read("calls") + &read("units/airlock.conf"), read("acked"))
    }

    fn kit() -> DeviceKit {
        DeviceKit {
            url: "https://snaps.internal".into(),
            store_id: Some("acme-onprem".into()),
            assertions: Some("type: store\n\nAAA=".into()),
            registered_url: Some("https://snaps.internal/".into()),
            ca: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
        }
    }

    #[test]
    fn a_device_is_moved_and_moved_back() {
        let (code, calls, acked) = run(&script(&kit()), &[], false);
        assert_eq!((code, &*acked), (Some(0), "type: store\n\nAAA=\n"));
        for call in [
            "<snap><set><system><store-certs.airlock=-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE----->",
            "<snap><set><system><proxy.store=acme-onprem>",
            "<snap><find><snapd>",
        ] {
            assert!(calls.contains(call), "{call}: {calls}");
        }
        assert!(calls.find("<ack>") < calls.find("proxy.store"), "{calls}");
        let (code, calls, _) = run(&script(&kit()), &["--undo"], false);
        assert_eq!(code, Some(0));
        assert!(calls.contains("<snap><set><system><proxy.store=>"), "{calls}");
        assert!(calls.contains("<snap><unset><system><store-certs.airlock>"), "{calls}");
        assert_eq!(run(&script(&kit()), &[], true).0, Some(1), "a device that gets nowhere is no success");
        assert_eq!(run(&script(&kit()), &["--other"], false).0, Some(2));
    }

    #[test]
    fn without_an_assertion_the_service_is_told_the_url() {
        let kit = DeviceKit { url: "http://snaps.internal".into(), ..DeviceKit::default() };
        let (code, calls, acked) = run(&script(&kit), &[], false);
        assert_eq!((code, &*acked), (Some(0), ""));
        assert!(calls.contains("Environment=\"SNAPPY_FORCE_API_URL=http://snaps.internal\""), "{calls}");
        assert!(calls.contains("<systemctl><restart><snapd.service>"), "{calls}");
        assert!(!calls.contains("proxy.store"), "{calls}");
    }

    #[test]
    fn nothing_in_a_kit_is_read_as_shell_or_yaml() {
        let hostile = "a'; touch pwned; '$(touch pwned)`touch pwned`\nEND_OF_FILE\ntouch pwned\n\"x: y";
        let kit = DeviceKit {
            url: hostile.into(),
            store_id: Some(hostile.into()),
            assertions: Some(hostile.into()),
            registered_url: Some(hostile.into()),
            ca: Some(hostile.into()),
        };
        let (code, calls, acked) = run(&script(&kit), &[], false);
        assert_eq!((code, acked), (Some(0), format!("{hostile}\n")));
        assert!(calls.contains(&format!("<proxy.store={hostile}>")), "{calls}");
        let told: serde_json::Value = serde_json::from_str(
            model_defaults(&kit).lines().find_map(|line| line.trim().strip_prefix("store: ")).unwrap(),
        )
        .unwrap();
        assert_eq!(told, hostile);
        let carried = cloud_init(&kit);
        let content = carried.lines().find_map(|line| line.trim().strip_prefix("content: ")).unwrap();
        assert_eq!(STANDARD.decode(content).unwrap(), script(&kit).into_bytes());
    }
}
