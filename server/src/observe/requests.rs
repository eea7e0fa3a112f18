//! Requests of the device API: counts by kind, and the time until their answers began.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::count::{Counter, Histogram, OTHER, counters};
use super::text::Text;

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", OTHER];
/// Every status code of the device API; the last entry stands for all others.
const CODES: [u16; 16] = [200, 206, 304, 308, 400, 401, 403, 404, 405, 408, 413, 416, 421, 500, 503, 0];
const OUTCOMES: [&str; 3] = ["answered", "refused", "failed"];
/// Histogram bounds in microseconds.
const BOUNDS: [u64; 13] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// Counters for every route, method and status code.
pub(crate) struct Requests {
    routes: Vec<&'static str>,
    places: HashMap<&'static str, usize>,
    counts: Box<[Counter]>,
    times: Vec<[Histogram; OUTCOMES.len()]>,
}

impl Requests {
    /// Counters for these path patterns, and one more for all other paths.
    pub(super) fn new(patterns: Vec<&'static str>) -> Self {
        let routes: Vec<_> = patterns.into_iter().chain([OTHER]).collect();
        let times = || std::array::from_fn(|_| Histogram::new(&BOUNDS));
        Self {
            places: routes.iter().enumerate().map(|(at, route)| (*route, at)).collect(),
            counts: counters(routes.len() * METHODS.len() * CODES.len()),
            times: routes.iter().map(|_| times()).collect(),
            routes,
        }
    }

    /// Counts an answer whose head was ready after `took`.
    pub(crate) fn record(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let other = self.routes.len() - 1;
        let route = route.and_then(|route| self.places.get(route)).copied().unwrap_or(other);
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let code = CODES.iter().position(|known| *known == status.as_u16()).unwrap_or(CODES.len() - 1);
        self.counts[(route * METHODS.len() + method) * CODES.len() + code].add(1);
        let outcome = match status.as_u16() {
            500.. => 2,
            400.. => 1,
            _ => 0,
        };
        self.times[route][outcome].record(took);
    }

    /// How many requests of a route were answered with 200.
    pub(super) fn answered(&self, route: &str) -> u64 {
        let Some(route) = self.places.get(route) else { return 0 };
        let counts = self.counts.chunks(CODES.len()).skip(route * METHODS.len()).take(METHODS.len());
        // The first of the codes is 200.
        counts.map(|codes| codes[0].get()).sum()
    }

    /// Writes the counters; those at zero are omitted.
    pub(super) fn write(&self, text: &mut Text) {
        text.counter("airlock_http_requests_total", "Requests of the device API, by their answer.");
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| count.get() > 0) {
            let (rest, code) = (at / CODES.len(), CODES[at % CODES.len()]);
            let (route, method) = (self.routes[rest / METHODS.len()], METHODS[rest % METHODS.len()]);
            let code = if code == 0 { OTHER.to_owned() } else { code.to_string() };
            text.sample(&[("route", route), ("method", method), ("code", &code)], count.get());
        }
        text.histogram(
            "airlock_http_request_duration_seconds",
            "Time from the head of a request to the head of its answer.",
        );
        for (route, times) in self.routes.iter().zip(&self.times) {
            for (outcome, times) in OUTCOMES.iter().zip(times) {
                text.steps(&[("route", route), ("outcome", outcome)], times);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_make_up_makes_no_label() {
        let requests = Requests::new(vec!["/a/{b}"]);
        let quick = Duration::from_micros(300);
        for method in ["GET", "BREW", "X\u{7f}"].iter().filter_map(|name| name.parse().ok()) {
            requests.record(Some("/a/{b}"), &method, StatusCode::OK, quick);
            requests.record(Some("/made/up"), &method, StatusCode::IM_A_TEAPOT, quick);
            requests.record(None, &method, StatusCode::NOT_FOUND, quick);
        }
        let mut text = Text::default();
        requests.write(&mut text);
        let text = text.into_string();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("airlock_http_requests_total")).collect();
        assert_eq!(
            lines,
            [
                r#"airlock_http_requests_total{route="/a/{b}",method="GET",code="200"} 1"#,
                r#"airlock_http_requests_total{route="/a/{b}",method="other",code="200"} 1"#,
                r#"airlock_http_requests_total{route="other",method="GET",code="404"} 1"#,
                r#"airlock_http_requests_total{route="other",method="GET",code="other"} 1"#,
                r#"airlock_http_requests_total{route="other",method="other",code="404"} 1"#,
                r#"airlock_http_requests_total{route="other",method="other",code="other"} 1"#,
            ]
        );
        let all = r#"airlock_http_request_duration_seconds_count{route="other",outcome="refused"} 4"#;
        assert!(text.contains(all), "{text}");
    }
}
