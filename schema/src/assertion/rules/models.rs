//! The rules of models: core and classic, plain and with all snaps listed.

use super::*;

#[test]
fn models_of_all_kinds() {
    check(
        "models/edge-gw.model.assert",
        &[
            (&[Set("authority-id", " other")], Some("authority-id")),
            (&[Drop("architecture")], Some("architecture")),
            (&[Drop("base")], Some("base")),
            (&[Set("base", " Base")], Some("base")),
            (&[Set("base", " base99")], Some("snaps")),
            (&[Set("base", " base99"), Set("grade", " dangerous")], GOOD),
            (
                &[Set("snaps", "\n  -\n    name: app\n    id: AcmeAppSnapId0000000000000000004")],
                Some("snaps"),
            ),
            (&[Set("base", " acme-app")], Some("snaps[3].type")),
            (&[Set("kernel", " k1")], Some("kernel")),
            (&[Set("required-snaps", "\n  - k1")], Some("required-snaps")),
            (&[Set("system-user-authority", " *")], GOOD),
            (&[Set("system-user-authority", " all")], Some("system-user-authority")),
            (&[Set("serial-authority", "\n  - *")], Some("serial-authority[0]")),
            (&[Set("preseed-authority", " *")], Some("preseed-authority")),
            (&[Set("storage-safety", " maybe")], Some("storage-safety")),
            (&[Set("grade", " secured"), Set("storage-safety", " encrypted")], GOOD),
            (&[Set("classic", " true")], Some("distribution")),
            (&[Set("classic", " true"), Set("distribution", " Debian")], Some("distribution")),
            (&[Set("classic", " true"), Set("distribution", " debian")], GOOD),
            (&[Set("classic", " yes")], Some("classic")),
            (
                &[Set(
                    "validation-sets",
                    "\n  -\n    name: s\n    mode: enforce\n  -\n    name: s\n    account-id: acme-corp\n    mode: enforce",
                )],
                Some("validation-sets[1].name"),
            ),
            (&[Set("validation-sets", "\n  -\n    name: s")], Some("validation-sets[0].mode")),
            (
                &[Set("validation-sets", "\n  -\n    name: s\n    mode: enforce\n    sequence: 0")],
                Some("validation-sets[0].sequence"),
            ),
        ],
    );
    let entry = |rest: &str| {
        let gadget = "\n  -\n    name: gadget\n    type: gadget\n  -\n    name: kernel\n    type: kernel";
        let text = format!("{gadget}\n  -\n    name: one\n{rest}");
        &*Box::leak(text.trim_end_matches('\n').to_owned().into_boxed_str())
    };
    for (rest, expected) in [
        ("", None),
        ("    id: short", Some("snaps[2].id")),
        ("    type: kernel", Some("snaps[2].type")),
        ("    type: other", Some("snaps[2].type")),
        ("    presence: invalid", Some("snaps[2].presence")),
        ("    default-channel: edge", Some("snaps[2].default-channel")),
        ("    default-channel: 1/edge/fix", None),
        ("    default-channel: 1/edge/fix/x", Some("snaps[2].default-channel")),
        ("    default-channel: 1/risky", Some("snaps[2].default-channel")),
        ("    default-channel: 1", None),
        ("    classic: true", Some("snaps[2].classic")),
        ("    type: snapd\n    presence: required", Some("snaps[2].presence")),
        ("    modes:\n      - Run", Some("snaps[2].modes[0]")),
        ("    modes:\n      - ab", Some("snaps[2].modes[0]")),
        ("    modes:\n      - -run", Some("snaps[2].modes[0]")),
        ("    modes:\n      - run\n      - factory-reset", None),
        ("    components:\n      one: required", None),
        ("    components:\n      one: always", Some("snaps[2].components.one")),
        (
            "    components:\n      one:\n        modes:\n          - run",
            Some("snaps[2].components.one.presence"),
        ),
        (
            "    components:\n      one:\n        presence: optional\n        modes:\n          - install",
            Some("snaps[2].components.one.modes"),
        ),
        (
            "    components:\n      one:\n        presence: optional\n        other: x",
            Some("snaps[2].components.one.other"),
        ),
        ("    components:\n      one:\n        presence: optional\n        modes:\n          - run", None),
        (
            "    modes:\n      - install\n    components:\n      one:\n        presence: optional\n        modes:\n          - install",
            None,
        ),
        (
            "    modes:\n      - install\n    components:\n      one:\n        presence: optional\n        modes:\n          - run",
            Some("snaps[2].components.one.modes"),
        ),
        ("  -\n    name: one", Some("snaps[3].name")),
    ] {
        check(
            "models/edge-gw.model.assert",
            &[(&[Set("grade", " dangerous"), Set("snaps", entry(rest))], expected)],
        );
    }
    check(
        "models/edge-lite.model.assert",
        &[
            (&[Drop("architecture")], Some("architecture")),
            (&[Drop("kernel")], Some("kernel")),
            (&[Drop("gadget")], Some("gadget")),
            (&[Set("gadget", " pc=22/stable")], Some("gadget")),
            (&[Set("gadget", " pc=edge")], Some("gadget")),
            (&[Set("kernel", " pc=")], Some("kernel")),
            (&[Set("grade", " signed")], Some("grade")),
            (&[Set("classic", " true")], Some("kernel")),
            (&[Set("classic", " true"), Drop("kernel")], Some("base")),
            (&[Set("classic", " true"), Drop("kernel"), Drop("base"), Drop("architecture")], GOOD),
            (&[Drop("store")], GOOD),
        ],
    );
    check(
        "models/edge-desk.model.assert",
        &[
            (&[Set("storage-safety", " prefer-encrypted")], GOOD),
            (&[Drop("architecture")], Some("architecture")),
            (&[Set("snaps", "\n  -\n    name: app")], GOOD),
            (&[Set("snaps", "\n  -\n    name: kernel\n    type: kernel")], Some("snaps")),
            (&[Set("snaps", classic("app", "run"))], GOOD),
            (&[Set("snaps", classic("app", "install"))], Some("snaps[0].classic")),
            (&[Set("snaps", classic("base", "run"))], Some("snaps[0].classic")),
        ],
    );
}

/// A snap in classic confinement.
fn classic(kind: &str, mode: &str) -> &'static str {
    let text =
        format!("\n  -\n    name: app\n    type: {kind}\n    classic: true\n    modes:\n      - {mode}");
    Box::leak(text.into_boxed_str())
}

#[test]
fn an_empty_store_is_none() {
    for (text, expected) in [(" acme-edge-store", Some("acme-edge-store")), (" ", None)] {
        let model = edited("models/edge-gw.model.assert", &[Set("store", text)]).expect("a model");
        assert!(matches!(model.details(), Details::Model(model) if model.store.as_deref() == expected));
    }
}
