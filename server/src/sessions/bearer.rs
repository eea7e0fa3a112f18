//! Finds the service login in a request; [`credential`] knows the spellings.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use schema::api::credential;

/// A possible service login: the token in `Macaroon TOKEN`, `Macaroon root="TOKEN"` or `Bearer TOKEN`. A request with
/// several has none.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    credential::login(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

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
        // What remains of a stale user login opens nothing.
        assert_ne!(read(&["Macaroon root=\"abc\", discharge=\"def\""]).as_deref(), Some("abc"));
    }
}
