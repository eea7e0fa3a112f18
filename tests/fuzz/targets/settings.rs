//! The configuration: a file of it, and single values.

use schema::config::{KEYS, Kind, RotatedSecret, Settings, duration_seconds, key};
use url::Url;

use super::settle;

/// A line `KEY=VALUE` sets one value; everything else is read as a file.
pub(super) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((name, value)) = text.split_once('=').filter(|(name, _)| key(name).is_some()) {
        set(name, value);
    }
    if let Some(settings) = settle(Settings::from_yaml(text)) {
        accepted(&settings);
    }
}

fn set(name: &str, value: &str) {
    let mut settings = Settings::default();
    if settle(settings.set_all([(name, value)])).is_none() {
        assert_eq!(settings, Settings::default(), "a refused change leaves something behind");
        return;
    }
    accepted(&settings);
    if value.is_empty() {
        return;
    }
    let normal = settings.get(name).unwrap_or_default().to_owned();
    let mut again = Settings::default();
    settle(again.set_all([(name, normal.as_str())])).expect("the normal spelling is accepted");
    assert_eq!(again, settings, "the normal spelling has another one");
}

/// What holds for all settings that were accepted.
fn accepted(settings: &Settings) {
    let yaml = settings.to_yaml();
    let again = settle(Settings::from_yaml(&yaml)).expect("what is written can be read");
    assert_eq!(&again, settings, "what is written is read otherwise: {yaml}");
    assert_eq!(again.to_yaml(), yaml);

    let _ = RotatedSecret::ALL.map(|which| settings.old_secrets(which));
    let _ = (settle(settings.tls_pair()), settle(settings.ca_certs()));
    let expected = settings.site.public_url.as_deref().unwrap_or("https://");
    assert!(settings.site.base_url(true, 8443).starts_with(expected));
    for (name, value) in settings.entries() {
        let key = key(name).expect("a key of the table");
        assert_eq!(key.kind.check(value).as_deref(), Ok(value), "{name} is not in its normal spelling");
        match key.kind {
            Kind::Duration => assert!(duration_seconds(value).is_some_and(|seconds| seconds > 0)),
            Kind::Key32 => {
                assert!(RotatedSecret::named(key.name).is_some_and(|which| settings.secret(which).is_some()));
            }
            Kind::DeviceServices => {
                for service in &settings.device_auth.services {
                    let endpoint = service.endpoint("serial");
                    assert!(service.covers(service) && endpoint.path().ends_with("/serial"), "{endpoint}");
                    assert!(endpoint.username().is_empty() && endpoint.query().is_none(), "{endpoint}");
                }
            }
            Kind::Database => password_is_hidden(value, &key.redact(value)),
            _ => {}
        }
        assert!(!key.secret || !key.redact(value).contains(value), "{name} is shown");
    }
    assert_eq!(settings.redacted().count(), KEYS.len());
}

/// The password of a database, as the `url` crate finds it, is in nothing that is shown.
fn password_is_hidden(url: &str, shown: &str) {
    let Ok(read) = Url::parse(url) else { return };
    let in_query =
        read.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    let passwords = read.password().map(str::to_owned).into_iter().chain(in_query);
    // A short one may stand somewhere else by chance.
    for password in passwords.filter(|password| password.len() >= 8) {
        let elsewhere = url.matches(&password).count() > 1;
        assert!(elsewhere || !shown.contains(&password), "a password is shown: {shown}");
    }
}
