//! The URL of a device service, which issues serials, and the URLs that an allowed one covers.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The base URL of a device service, in a spelling that every URL parser reads the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceService(Url);

/// The text is not the URL of a device service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an http or https URL of a host and a plain path, such as https://serials.example/v1")]
pub struct DeviceServiceError;

impl DeviceService {
    /// Whether `other` is this service or a path below it, with the same scheme, host and port.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let below = other.0.path().strip_prefix(self.0.path());
        self.0.origin() == other.0.origin() && below.is_some()
    }

    /// The URL of an endpoint of the service.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{name}", self.0.path()));
        url
    }
}

impl FromStr for DeviceService {
    type Err = DeviceServiceError;

    fn from_str(text: &str) -> Result<Self, DeviceServiceError> {
        // Rejects anything that URL parsers disagree about before one of them normalises it.
        let plain = |b: u8| b.is_ascii_graphic() && !b"%\\?#@".contains(&b);
        let (_, rest) = text.split_once("://").ok_or(DeviceServiceError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if !text.bytes().all(plain) || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(DeviceServiceError);
        }
        let mut url = Url::parse(text).map_err(|_| DeviceServiceError)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(DeviceServiceError);
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }
}

/// Without a slash at the end.
impl fmt::Display for DeviceService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_covers_itself_and_what_is_below() {
        for (allowed, covered, others) in [
            (
                "https://serials.example",
                &[
                    "https://serials.example/",
                    "https://SERIALS.example:443/v1/",
                    "https://serials.example/a/b",
                ][..],
                &[
                    "http://serials.example/",
                    "https://serials.example:444/",
                    "https://serials.example.evil/",
                    "https://evil.example/serials.example",
                    "https://serials.example./",
                ][..],
            ),
            (
                "http://10.0.0.7:8080/v1",
                &["http://10.0.0.7:8080/v1", "http://10.0.0.7:8080/v1/", "http://10.0.0.7:8080/v1/line"],
                &[
                    "http://10.0.0.7:8080/",
                    "http://10.0.0.7:8080/v10",
                    "http://10.0.0.7:8080/V1",
                    "http://10.0.0.7/v1",
                ],
            ),
        ] {
            let allowed: DeviceService = allowed.parse().unwrap();
            for text in covered {
                assert!(allowed.covers(&text.parse().unwrap()), "{text}");
            }
            for text in others {
                assert!(!allowed.covers(&text.parse().unwrap()), "{text}");
            }
        }
    }

    #[test]
    fn addresses_that_readers_disagree_about_are_none() {
        for text in [
            "",
            "serials.example",
            "ftp://serials.example/",
            "https://",
            "https:///serials.example",
            "https:serials.example",
            "https://user@serials.example/",
            "https://serials.example@evil.example/",
            "https://serials.example/v1/../admin",
            "https://serials.example/v1/..",
            "https://serials.example/./v1",
            "https://serials.example/v1/%2e%2e/admin",
            "https://serials.example/v1/..%2fadmin",
            "https://serials.example/v1\\..\\admin",
            "https://serials.example\\@evil.example",
            "https://serials.example//v1",
            "https://serials.example/v1//",
            "https://serials.example/v1?to=evil",
            "https://serials.example/v1#evil",
            "https://serials.example/v 1",
            "https://seri\tals.example/",
            "https://sérials.example/",
            "https://serials.example:0x50/",
        ] {
            assert_eq!(text.parse::<DeviceService>(), Err(DeviceServiceError), "{text}");
        }
    }

    #[test]
    fn endpoints_are_below_the_path() {
        for (base, endpoint) in [
            ("https://serials.example", "https://serials.example/request-id"),
            ("https://serials.example/v1", "https://serials.example/v1/request-id"),
            ("http://[::1]:8080/v1/", "http://[::1]:8080/v1/request-id"),
        ] {
            assert_eq!(base.parse::<DeviceService>().unwrap().endpoint("request-id").as_str(), endpoint);
        }
    }
}
