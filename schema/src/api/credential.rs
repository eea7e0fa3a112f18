//! The credential in a header value: a device session or a service login.
//!
//! ```text
//! Macaroon root="TOKEN"      a device session, or a login as snapd's tools send it
//! Macaroon TOKEN             a login
//! Bearer TOKEN               a login
//! ```

/// The token in `Macaroon root="TOKEN"`, with or without quotes; `None` for anything else.
#[must_use]
pub fn session(value: &str) -> Option<&str> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let root = rest.trim().strip_prefix("root=")?;
    let token = match root.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => root,
    };
    let is_plain = |b: u8| b.is_ascii_graphic() & (b != b'"') & (b != b',');
    // Without a branch for each byte: several are looked at in one step.
    let plain = !token.is_empty() && token.bytes().fold(true, |plain, b| plain & is_plain(b));
    (scheme.eq_ignore_ascii_case("macaroon") && plain).then_some(token)
}

/// The token of a possible service login, in any of the three forms.
#[must_use]
pub fn login(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let bare = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("macaroon");
    session(value).or_else(|| Some(token.trim()).filter(|_| bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_form_with_or_without_quotes() {
        for good in ["Macaroon root=\"abc\"", "Macaroon root=abc", " macaroon  root=abc "] {
            assert_eq!(session(good), Some("abc"), "{good}");
        }
        for other in [
            "",
            "Macaroon abc",
            "Bearer root=abc",
            "Macaroon root=",
            "Macaroon root=\"\"",
            "Macaroon root=\"abc",
            "Macaroon root=abc\"",
            "Macaroon root=a\"c",
            "Macaroon root=a,c",
            "Macaroon root=a c",
            "Macaroon root=\u{e4}",
            "Macaroon root=\"abc\", discharge=\"def\"",
        ] {
            assert_eq!(session(other), None, "{other}");
        }
    }

    #[test]
    fn a_login_has_three_forms() {
        for good in ["Macaroon root=\"abc\"", "Macaroon abc", "bearer  abc ", "Bearer abc"] {
            assert_eq!(login(good), Some("abc"), "{good}");
        }
        for other in ["Basic abc", "abc", "", "Bearer"] {
            assert_eq!(login(other), None, "{other}");
        }
    }
}
