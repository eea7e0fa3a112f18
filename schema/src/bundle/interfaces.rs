//! What a snap asks of the devices that it runs on, for people who decide about it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::snap_yaml::{Lenient, read};

/// What a `snap.yaml` asks of a device, a line each: its plugs and slots with their attributes, its services, its confinement
/// and its base. Anything unreadable is left out: this only feeds advice for people.
#[must_use]
pub fn asked_of_device(text: &str) -> BTreeSet<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Raw {
        plugs: Option<Lenient<BTreeMap<String, Value>>>,
        slots: Option<Lenient<BTreeMap<String, Value>>>,
        apps: Option<Lenient<BTreeMap<String, Lenient<Part>>>>,
        hooks: Option<Lenient<BTreeMap<String, Lenient<Part>>>>,
        confinement: Option<Lenient<String>>,
        base: Option<Lenient<String>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Part {
        plugs: Option<Lenient<Vec<String>>>,
        slots: Option<Lenient<Vec<String>>>,
        daemon: Option<Lenient<String>>,
    }
    fn taken<T: Default>(value: Option<Lenient<T>>) -> T {
        value.and_then(Lenient::into).unwrap_or_default()
    }
    let raw: Raw = read(text).unwrap_or_default();
    let mut found = BTreeSet::new();
    let (mut plugs, mut slots) = (taken(raw.plugs), taken(raw.slots));
    for (name, part) in taken(raw.apps).into_iter().chain(taken(raw.hooks)) {
        let part = part.into().unwrap_or_default();
        for (all, named) in [(&mut plugs, part.plugs), (&mut slots, part.slots)] {
            for name in taken(named) {
                let _ = all.entry(name).or_insert(Value::Null);
            }
        }
        if part.daemon.is_some() {
            let _ = found.insert(format!("service {name}"));
        }
    }
    for (word, all) in [("plug", plugs), ("slot", slots)] {
        found.extend(all.into_iter().map(|(name, value)| format!("{word} {}", described(&name, value))));
    }
    let confinement = raw.confinement.and_then(Lenient::into).unwrap_or_else(|| "strict".into());
    let _ = found.insert(format!("confinement {confinement}"));
    found.extend(raw.base.and_then(Lenient::into).map(|base| format!("base {base}")));
    found
}

/// `NAME`, `NAME: INTERFACE`, and the attributes.
fn described(name: &str, value: Value) -> String {
    let (interface, attributes) = match value {
        Value::String(interface) => (Some(interface), Map::new()),
        Value::Object(mut all) => {
            let interface = all.remove("interface");
            (interface.and_then(|interface| interface.as_str().map(str::to_owned)), all)
        }
        _ => (None, Map::new()),
    };
    let interface = interface.filter(|interface| interface != name);
    let interface = interface.map(|interface| format!(": {interface}")).unwrap_or_default();
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" {}", Value::Object(attributes)),
    };
    format!("{name}{interface}{attributes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_device_is_told_with_its_attributes() {
        let yaml = "name: a\nbase: core24\nconfinement: devmode\nplugs:\n  network:\n  etc: {interface: system-files, read: [/etc]}\n  \
                    cam: camera\nslots: {bus: {interface: dbus, name: x.y}}\napps:\n  a: {plugs: [home, network]}\n  \
                    d: {daemon: simple, slots: [mir]}\nhooks:\n  configure: {plugs: [snapd-control]}\n";
        let lines: Vec<String> = asked_of_device(yaml).into_iter().collect();
        let expected = [
            "base core24",
            "confinement devmode",
            "plug cam: camera",
            r#"plug etc: system-files {"read":["/etc"]}"#,
            "plug home",
            "plug network",
            "plug snapd-control",
            "service d",
            r#"slot bus: dbus {"name":"x.y"}"#,
            "slot mir",
        ];
        assert_eq!(lines, expected);
        let strict = || BTreeSet::from(["confinement strict".to_owned()]);
        for odd in ["", "name: a\n", "plugs: 5\napps: [a]\n"] {
            assert_eq!(asked_of_device(odd), strict(), "{odd}");
        }
    }
}
