//! Conditional and partial requests for one immutable body (RFC 9110 §13 and §14).
//!
//! ```text
//! Range: bytes=8388608-        ->  206, Content-Range: bytes 8388608-18493439/18493440
//! Range: bytes=99999999-       ->  416, Content-Range: bytes */18493440
//! Range: bytes=0-1,5-6         ->  200 and the whole body, as for anything malformed
//! ```

use std::ops::Range;

use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, Method};
use schema::api::range::Asked;

/// The requested part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The whole body.
    Whole,
    /// These bytes: never empty, never beyond the end.
    Part(Range<u64>),
    /// Only bytes beyond the end: 416.
    Beyond,
    /// Nothing, because the client already has it: 304.
    Unchanged,
}

/// Evaluates the conditions and the range of a GET or HEAD request for a body of `size` bytes with the strong entity
/// tag `etag`, including its quotes.
pub(crate) fn wanted(method: &Method, headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
    if none_match(headers, etag) {
        return Wanted::Unchanged;
    }
    // A range is defined for GET only. If-Range with anything but this exact tag (a date, a weak tag) means that the
    // client's part may belong to another body.
    let same_body = headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
    if *method != Method::GET || !same_body {
        return Wanted::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    match (ranges.next(), ranges.next()) {
        (Some(range), None) => range.to_str().map_or(Wanted::Whole, |range| part(range, size)),
        _ => Wanted::Whole,
    }
}

/// Whether `If-None-Match` contains the tag, by weak comparison as required.
fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

fn part(range: &str, size: u64) -> Wanted {
    match Asked::of(range, size) {
        Asked::Whole => Wanted::Whole,
        Asked::Part(part) => Wanted::Part(part),
        Asked::Beyond => Wanted::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    fn get(pairs: &[(&'static str, &str)]) -> Wanted {
        wanted(&Method::GET, &headers(pairs), 1000, "\"abc\"")
    }

    #[test]
    fn ranges() {
        let max = u64::MAX;
        for (range, expected) in [
            ("bytes=0-", Wanted::Part(0..1000)),
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("Bytes= 10-19 ", Wanted::Part(10..20)),
            ("bytes=999-", Wanted::Part(999..1000)),
            ("bytes=990-5000", Wanted::Part(990..1000)),
            (&format!("bytes=990-{max}"), Wanted::Part(990..1000)),
            ("bytes=990-99999999999999999999999", Wanted::Part(990..1000)),
            ("bytes=-1", Wanted::Part(999..1000)),
            ("bytes=-1000", Wanted::Part(0..1000)),
            ("bytes=-5000", Wanted::Part(0..1000)),
            ("bytes=-99999999999999999999999", Wanted::Part(0..1000)),
            ("bytes=1000-", Wanted::Beyond),
            ("bytes=1000-1001", Wanted::Beyond),
            (&format!("bytes={max}-"), Wanted::Beyond),
            (&format!("bytes={max}-{max}"), Wanted::Beyond),
            ("bytes=99999999999999999999999-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            // Inverted, multiple or malformed ranges are ignored.
            ("bytes=20-10", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=0-,0-,0-", Wanted::Whole),
            ("bytes=,0-1", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=--2", Wanted::Whole),
            ("bytes=1-2-3", Wanted::Whole),
            ("bytes=0x1-2", Wanted::Whole),
            ("bytes=1 - 2", Wanted::Whole),
            ("bytes 0-1", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(get(&[("range", range)]), expected, "{range:?}");
        }
        assert_eq!(get(&[]), Wanted::Whole);
        assert_eq!(get(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]), Wanted::Whole);
    }

    #[test]
    fn an_empty_body_has_no_ranges() {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            let headers = headers(&[("range", range)]);
            let wanted = wanted(&Method::GET, &headers, 0, "\"abc\"");
            assert_eq!(wanted, Wanted::Beyond, "{range}");
        }
    }

    #[test]
    fn a_range_is_for_get() {
        let headers = headers(&[("range", "bytes=0-1")]);
        let wanted = wanted(&Method::HEAD, &headers, 1000, "\"abc\"");
        assert_eq!(wanted, Wanted::Whole);
    }

    #[test]
    fn if_range_takes_the_very_tag() {
        for (tag, expected) in [
            ("\"abc\"", Wanted::Part(5..1000)),
            ("\"abd\"", Wanted::Whole),
            ("W/\"abc\"", Wanted::Whole),
            ("abc", Wanted::Whole),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Wanted::Whole),
        ] {
            let wanted = get(&[("range", "bytes=5-"), ("if-range", tag)]);
            assert_eq!(wanted, expected, "{tag}");
        }
    }

    #[test]
    fn if_none_match_names_the_tag() {
        for (tags, unchanged) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("\"x\"", false),
            ("abc", false),
            ("\"abcd\"", false),
        ] {
            let wanted = get(&[("range", "bytes=5-"), ("if-none-match", tags)]);
            assert_eq!(wanted == Wanted::Unchanged, unchanged, "{tags}");
        }
    }
}
