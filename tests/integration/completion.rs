//! Completion in a shell offers what the running store holds.

use std::process::Command;

use tests::device::{Device, Installed, Snapd};
use tests::server::{Server, build_folder};
use tests::world::World;

/// What bash offers for a line that is typed so far.
fn offered(store: &Server, line: &str) -> Vec<String> {
    let script = store.proxy(&["completions", "bash"]).ok();
    let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "source \"$SCRIPT\"; COMP_WORDS=({}) COMP_CWORD={} COMPREPLY=(); _proxy_values proxy '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1,
        line.rsplit(' ').next().unwrap_or_default(),
        line.rsplit(' ').nth(1).unwrap_or_default(),
    );
    let path = format!("{}:{}", build_folder().display(), std::env::var("PATH").unwrap_or_default());
    let ran = store.with_file("completions", script.as_bytes(), |file| {
        let mut bash = Command::new("bash");
        bash.args(["-c", &ask])
            .env("PATH", path)
            .env("AIRLOCK_DATA_DIR", &store.data_dir)
            .env("SCRIPT", file);
        bash.output().expect("bash can be started")
    });
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_shell_offers_keys_snaps_channels_and_devices_of_the_running_store() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let (app, brand) = (world.snap("acme-app"), world.brand("acme"));
    store.push_brand(&brand);
    store.push_pair(&app.revision(1), &["latest/stable", "latest/edge"], "ubuntu");
    let identity = brand.device(&brand.model("gateway"), "SN-1");
    let mut device = Device::new(&store, Snapd::V2_77, &identity).trusting(&world);
    device.installed = vec![Installed::new("acme-app", &app.id, 1, "latest/stable")];
    assert!(device.refresh_all().is_ok());
    for (line, offers) in [
        ("proxy config proxy.retention.", &["proxy.retention.apply", "proxy.retention.keep"][..]),
        ("proxy override ac", &["acme-app"]),
        ("proxy close-channel acme-app latest/", &["latest/edge", "latest/stable"]),
        ("proxy show-device acme/", &["acme/gateway/SN-1"]),
        ("proxy explain acme/gateway/SN-1 a", &["acme-app"]),
    ] {
        assert_eq!(offered(&store, line), offers, "{line}");
    }
    // What is no value is left to the script, with or without a store.
    let commands = offered(&store, "proxy list-p");
    assert!(commands.contains(&"list-pushed-snaps".to_owned()), "{commands:?}");
    let hint = store.proxy(&["add-admin", "olga@example.com"]);
    assert!(hint.stderr.contains("create-login --acl admin"), "{hint:?}");
}
