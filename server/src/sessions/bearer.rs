//! Where a request carries a token, and in which spellings (store API §4.2, operator contract §9.4).

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The token in `Macaroon root="TOKEN"`, with or without quotes.
pub(crate) fn root_of(value: &str) -> Option<&str> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let root = rest.trim().strip_prefix("root=")?;
    let token = match root.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => root,
    };
    let plain = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b',');
    (scheme.eq_ignore_ascii_case("macaroon") && plain).then_some(token)
}

/// What may be a service login: the token in `Macaroon TOKEN`, `Macaroon root="TOKEN"` or `Bearer TOKEN`. A request
/// with several is nobody's.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let bare = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("macaroon");
    root_of(value).or_else(|| Some(token.trim()).filter(|_| bare))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_login_has_three_spellings() {
        let read = |values: &[&'static str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer_of(&map).map(str::to_owned)
        };
        for good in
            ["Macaroon abc", "macaroon root=abc", "Macaroon root=\"abc\"", "Bearer abc", "bearer  abc "]
        {
            assert_eq!(read(&[good]).as_deref(), Some("abc"), "{good}");
        }
        for other in [&["Basic abc"][..], &["abc"], &[], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(read(other), None, "{other:?}");
        }
        // What a stale user login leaves over opens nothing.
        assert_ne!(read(&["Macaroon root=\"abc\", discharge=\"def\""]).as_deref(), Some("abc"));
    }
}
