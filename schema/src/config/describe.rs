//! What each key is for, in the words that operators read: on a terminal, as JSON, and as a page.

use std::fmt::Write as _;

use super::{Applies, KEYS, Key, Kind};

/// The page starts with this.
const HEAD: &str = "# Settings

All keys of the configuration. This page is generated (`proxy config --describe --page > packaging/docs/settings.md`); on a host, the same
is printed by:

```console
store# proxy config --describe proxy.domain
proxy.domain
…
```

A key of which only the beginning is given stands for all below it: `proxy config --describe proxy.tls`. An empty value clears a key, which
then has its default: `proxy config proxy.domain=`. Secrets are not shown by `proxy config`, only by name.

Who changed a key, when and from what, is in the audit log, secrets as fingerprints: `proxy config --history proxy.domain`. A secret that a
person may have chosen, such as a password, has no fingerprint, which would confirm a guess.

The words of the field are explained in [terms](terms.md).
";

impl Key {
    /// A command that sets the key; `None` if it has no effect.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        let value = if self.example.is_empty() { self.kind.example() } else { self.example };
        match value {
            _ if !self.has_effect() => None,
            command if command.starts_with("proxy ") => Some(command.to_owned()),
            value if value.contains(['"', '[', ' ']) => Some(format!("proxy config {}='{value}'", self.name)),
            value => Some(format!("proxy config {}={value}", self.name)),
        }
    }

    /// When a changed value counts.
    #[must_use]
    pub fn applies_when(&self) -> &'static str {
        match self.applies {
            _ if !self.has_effect() => "never: it has no effect",
            Applies::Now => "at once",
            Applies::AtRestart => "when the server is started again",
        }
    }

    /// What is told of the key, as pairs of a word and a text.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let mut facts = vec![("value", self.kind.expects().to_owned()), ("default", or_none(self.default))];
        facts.extend(self.command().map(|command| ("example", command)));
        facts.push(("applies", self.applies_when().to_owned()));
        facts.push(("since", self.since.to_owned()));
        if self.of_host {
            facts.push(("set", "on the server's host only, not over `--server`".to_owned()));
        }
        if self.secret {
            facts.push(("secret", format!("printed only by `proxy config {}`", self.name)));
        }
        facts
    }
}

impl Kind {
    /// A value that most keys of this kind could have.
    fn example(self) -> &'static str {
        match self {
            Self::Host => "snaps.internal",
            Self::Address => "0.0.0.0",
            Self::Port => "8080",
            Self::Listen => "10.0.0.7:8444",
            Self::Number => "20",
            Self::Switch => "true",
            Self::Url | Self::Origin | Self::HttpsUrl => "https://snaps.example:8443",
            Self::Database => "postgresql://airlock@db.internal/airlock",
            Self::Duration => "12h",
            Self::DeviceServices => "[\"https://serials.internal/v1\"]",
            Self::ClientAuth => "optional",
            Self::Networks => "[\"10.0.0.7\", \"fd00::/8\"]",
            Self::AcmeChallenge => "tls-alpn-01",
            Self::Socket => "127.0.0.1:9600",
            Self::Backend => "s3",
            Self::Quarantine => "parcels",
            Self::DeltaFormats => "[\"xdelta3\"]",
            Self::LogFormat => "json",
            Self::LogLevel => "debug",
            // These differ from key to key, so each has its own.
            Self::Text
            | Self::List
            | Self::Pem
            | Self::Path
            | Self::Key32
            | Self::MacKey
            | Self::OldSecrets => "",
        }
    }
}

/// The keys of this name, or below it; all for `None`.
pub fn keys_below(name: Option<&str>) -> impl Iterator<Item = &'static Key> {
    let below = move |key: &&Key| {
        let rest = name.map(|name| key.name.strip_prefix(name.trim_end_matches(['.', '*'])));
        rest.is_none_or(|rest| rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    KEYS.iter().filter(below)
}

/// The page of all keys, in Markdown: those with an effect, then those that are only kept.
#[must_use]
pub fn settings_page() -> String {
    let mut page = HEAD.to_owned();
    for key in KEYS.iter().filter(|key| key.has_effect()) {
        let _ = write!(page, "\n## {}\n\n{}\n\n", key.name, key.help);
        for (word, text) in key.facts() {
            let text = match word {
                "default" if text != "none" => format!("`{text}`"),
                "example" => format!("`{text}`"),
                _ => text,
            };
            let _ = writeln!(page, "* {word}: {text}");
        }
    }
    page.push_str(
        "\n## Keys without effect\n\nKept so that an export of the original product can be imported whole, and nothing else: they \
         may hold any value of their kind, and nothing changes with it.\n\n",
    );
    for key in KEYS.iter().filter(|key| !key.has_effect()) {
        let _ = writeln!(page, "* `{}`", key.name);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_with_an_effect_has_an_example_that_its_kind_takes() {
        for key in KEYS {
            assert_eq!(key.command().is_some(), key.has_effect(), "{}", key.name);
            let Some(command) = key.command().filter(|_| !key.example.starts_with("proxy ")) else {
                continue;
            };
            let value =
                command.split_once('=').map(|(_, value)| value.trim_matches('\'')).unwrap_or_default();
            assert!(key.kind.check(value).is_ok(), "{command}");
            assert_ne!(value, key.default, "{command} would change nothing");
        }
    }

    #[test]
    fn keys_are_found_by_their_beginning() {
        let names = |name| keys_below(name).map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(names(None).len(), KEYS.len());
        assert_eq!(names(Some("proxy.domain")), ["proxy.domain"]);
        assert_eq!(names(Some("proxy.auth")), ["proxy.auth.old-secrets", "proxy.auth.secret"]);
        assert_eq!(names(Some("proxy.auth.*")), names(Some("proxy.auth")));
        assert!(names(Some("proxy.dom")).is_empty());
    }
}
