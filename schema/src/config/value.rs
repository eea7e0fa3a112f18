//! The format of each kind of value, and its normalised spelling.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use url::Url;

use super::{DeviceService, Kind, Network};
use crate::store::DeltaFormat;

/// Why a value does not fit a key. Never quotes the value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ValueError(&'static str);

impl ValueError {
    /// The error of a value that had to be what `expected` says.
    pub(super) const fn new(expected: &'static str) -> Self {
        Self(expected)
    }
}

impl Kind {
    /// What a value has to be, in words.
    #[must_use]
    pub fn expects(self) -> &'static str {
        match self {
            Self::Text => "a text on one line, without control characters",
            Self::Host => "a host name or IP address, without scheme and port",
            Self::Address => "an IP address, such as 0.0.0.0 or [::]",
            Self::Port => "a port number from 0 to 65535",
            Self::Listen => "an IP address and a port, such as 10.0.0.7:8444 or [::]:8444",
            Self::Number => "a whole number",
            Self::Switch => "true or false",
            Self::Url => "an http or https URL",
            Self::Origin => "an http or https URL without a path, such as https://snaps.example:8443",
            Self::HttpsUrl => "an https URL",
            Self::Database => "a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            Self::Duration => "a duration such as 30s, 15m, 12h or 7d",
            Self::List => "a JSON list of texts, such as '[\"a\", \"b\"]'",
            Self::DeviceServices => {
                "a JSON list of http or https URLs without user name, query or dots for folders, such as \
                 '[\"https://serials.example/v1\"]'"
            }
            Self::Pem => "PEM text, from -----BEGIN to -----END",
            Self::ClientAuth => "off, optional or required",
            Self::Networks => "a JSON list of addresses and networks, such as '[\"10.0.0.7\", \"fd00::/8\"]'",
            Self::AcmeChallenge => "http-01 or tls-alpn-01",
            Self::Socket => "an IP address with a port, such as 127.0.0.1:9600 or [::1]:9600",
            Self::Backend => "local or s3",
            Self::Quarantine => "off, parcels or all",
            Self::DeltaFormats => "a JSON list of formats, such as '[\"xdelta3\", \"snap-1-1-xdelta3\"]'",
            Self::LogFormat => "text or json",
            Self::LogLevel => "error, warn, info, debug or trace",
            Self::MacKey => "a key in base64url, as the authority gives it",
            Self::OldSecrets => "a JSON list of {\"secret\": 32 bytes in base64, \"until\": RFC 3339 time}",
            Self::Path => "an absolute path",
            Self::Key32 => "32 bytes in base64",
        }
    }

    /// Checks a non-empty value and returns its normalised spelling.
    pub fn check(self, value: &str) -> Result<String, ValueError> {
        let wrong = |expected| Err(ValueError(expected));
        if value.len() > 1 << 20 {
            return wrong("less than 1 MiB");
        }
        // YAML cannot hold every control character, so a saved value might not read back.
        let kept_in_pem = |c: char| self == Kind::Pem && matches!(c, '\n' | '\r' | '\t');
        if value.chars().any(|c| c.is_control() && !kept_in_pem(c)) {
            return wrong(match self {
                Kind::Pem => "PEM text without control characters",
                _ => "a text on one line, without control characters",
            });
        }
        let list = |fits: fn(&str) -> bool| {
            let list = serde_json::from_str::<Vec<String>>(value).ok()?;
            let fit = list.iter().all(|text| fits(text));
            fit.then(|| serde_json::Value::from(list).to_string())
        };
        let url = || Url::parse(value).ok().filter(Url::has_host);
        let lower = value.to_ascii_lowercase();
        let kept_if = |fits: bool| fits.then(|| value.to_owned());
        let spelled = match self {
            Kind::Text => kept_if(true),
            Kind::Host => is_host(value).then_some(lower),
            Kind::Address => kept_if(bare(value).parse::<IpAddr>().is_ok()),
            Kind::Port => kept_if(value.parse::<u16>().is_ok()),
            Kind::Listen | Kind::Socket => kept_if(value.parse::<SocketAddr>().is_ok()),
            Kind::Number => kept_if(value.parse::<u32>().is_ok()),
            Kind::Switch => match lower.as_str() {
                "true" => Some("True".into()),
                "false" => Some("False".into()),
                _ => None,
            },
            Kind::Url => kept_if(url().is_some_and(|url| matches!(url.scheme(), "http" | "https"))),
            Kind::Origin => url().filter(is_origin).map(|url| url.origin().ascii_serialization()),
            Kind::HttpsUrl => kept_if(url().is_some_and(|url| url.scheme() == "https")),
            // A database on a socket has no host.
            Kind::Database => {
                kept_if(Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "postgresql" | "postgres")))
            }
            Kind::Duration => kept_if(seconds(value).is_some()),
            Kind::List => list(|_| true),
            Kind::DeviceServices => list(|text| text.parse::<DeviceService>().is_ok()),
            Kind::Networks => list(|text| text.parse::<Network>().is_ok()),
            // The public key is often kept as OpenSSH writes it, on one line.
            Kind::Pem => kept_if(
                (value.contains("-----BEGIN ") && value.contains("-----END ")) || value.starts_with("ssh-"),
            ),
            Kind::ClientAuth => matches!(&*lower, "off" | "optional" | "required").then_some(lower),
            Kind::AcmeChallenge => kept_if(matches!(value, "http-01" | "tls-alpn-01")),
            Kind::Backend => kept_if(matches!(value, "local" | "s3")),
            Kind::Quarantine => kept_if(matches!(value, "off" | "parcels" | "all")),
            Kind::DeltaFormats => list(|text| text.parse::<DeltaFormat>().is_ok()),
            Kind::LogFormat => kept_if(matches!(value, "text" | "json")),
            Kind::LogLevel => kept_if(matches!(value, "error" | "warn" | "info" | "debug" | "trace")),
            Kind::MacKey => mac_key(value).map(|key| URL_SAFE_NO_PAD.encode(&*key)),
            Kind::OldSecrets => super::old_secrets::parse(value).map(|old| super::old_secrets::written(&old)),
            Kind::Path => kept_if(Path::new(value).is_absolute()),
            Kind::Key32 => {
                let bytes = STANDARD.decode(value.trim()).ok().filter(|bytes| bytes.len() == 32);
                bytes.map(|_| value.trim().to_owned())
            }
        };
        spelled.ok_or(ValueError(self.expects()))
    }
}

/// An address without its brackets.
pub(crate) fn bare(address: &str) -> &str {
    address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address)
}

/// The bytes of a key in base64url.
pub(super) fn mac_key(text: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = zeroize::Zeroizing::new(ANY_PADDING.decode(text.trim()).ok()?);
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// Whether the URL has scheme, host and port, and nothing else.
fn is_origin(url: &Url) -> bool {
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && bare && nobody
}

fn is_host(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    bare(text).parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

/// Parses a duration such as `30s` or `90d` into seconds; a bare number counts seconds. At most ten years.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|seconds| (1..=3650 * 86400).contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_kind() {
        for (kind, good, bad) in [
            (
                Kind::Host,
                &["localhost", "a.b-c.example", "10.0.0.1", "::1"][..],
                &["http://x", "a b", "-a", "a/b"][..],
            ),
            (Kind::Address, &["[::]", "0.0.0.0", "::1"], &["localhost", "1.2.3"]),
            (Kind::Port, &["0", "80", "65535"], &["65536", "-1", "x"]),
            (Kind::Listen, &["127.0.0.1:0", "[::]:8444"], &["8444", "::1", "host:8444", "10.0.0.7", ":8444"]),
            (Kind::Switch, &["true", "False"], &["yes", "1"]),
            (Kind::Duration, &["30s", "7d", "12h"], &["0s", "7w", "d", "99999999d"]),
            (Kind::List, &["[]", "[\"a\"]"], &["a", "[1]"]),
            (
                Kind::DeviceServices,
                &["[]", "[\"https://serials.example/v1\"]"],
                &["https://serials.example", "[\"serials.example\"]", "[\"https://a@b/\"]"],
            ),
            (Kind::Database, &["postgresql://u@h/d"], &["mysql://u@h/d", "x"]),
            (Kind::ClientAuth, &["off", "Optional", "required"], &["on", "none"]),
            (
                Kind::Networks,
                &["[]", "[\"10.0.0.7\", \"fd00::/8\"]"],
                &["10.0.0.7", "[\"a\"]", "[\"10.0.0.0/33\"]"],
            ),
            (
                Kind::HttpsUrl,
                &["https://ca.internal/acme/directory"],
                &["http://ca.internal/", "ca.internal"],
            ),
            (
                Kind::Origin,
                &["https://snaps.example", "https://snaps.example:8443", "http://[::1]:8080"],
                &[
                    "snaps.example",
                    "ftp://snaps.example",
                    "https://snaps.example/x",
                    "https://a@snaps.example",
                    "https://snaps.example/?a",
                ],
            ),
            (Kind::AcmeChallenge, &["http-01", "tls-alpn-01"], &["dns-01"]),
            (Kind::Socket, &["127.0.0.1:9600", "[::1]:0"], &["127.0.0.1", "localhost:9600", ":9600"]),
            (Kind::Backend, &["local", "s3"], &["s4", "S3"]),
            (Kind::Quarantine, &["off", "parcels", "all"], &["on", "True"]),
            (
                Kind::DeltaFormats,
                &["[\"xdelta3\"]", "[\"xdelta3\",\"snap-1-1-xdelta3\"]"],
                &["xdelta3", "[\"bsdiff\"]"],
            ),
            (Kind::LogFormat, &["text", "json"], &["xml"]),
            (Kind::LogLevel, &["debug"], &["loud", "info,hyper=trace"]),
            (Kind::MacKey, &["zWND_-Zg", "-_8", "_w=="], &["a+b/", "=", "a b"]),
            (Kind::Path, &["/etc/cas"], &["cas", "./cas"]),
            (Kind::Text, &["x"], &["a\nb"]),
            (
                Kind::Pem,
                &["-----BEGIN X-----\r\n\tAA==\r\n-----END X-----\n"],
                &["-----BEGIN X-----\n\0-----END X-----\n", "-----BEGIN X-----\n\u{7f}-----END X-----\n"],
            ),
        ] {
            for text in good {
                assert!(kind.check(text).is_ok(), "{kind:?} {text}");
            }
            for text in bad {
                assert!(kind.check(text).is_err(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn links_carry_the_port_only_where_it_is_unusual() {
        let mut settings = super::super::Settings::default();
        settings.set("proxy.domain", "Store.Example").unwrap();
        assert_eq!(settings.site.base_url(false, 80), "http://store.example");
        assert_eq!(settings.site.base_url(true, 8443), "https://store.example:8443");
        settings.set("proxy.domain", "::1").unwrap();
        assert_eq!(settings.site.base_url(false, 8080), "http://[::1]:8080");
        settings.set("proxy.public-url", "https://Snaps.Example:443/").unwrap();
        assert_eq!(settings.site.base_url(false, 8080), "https://snaps.example");
        assert!(settings.site.is_https);
    }
}
