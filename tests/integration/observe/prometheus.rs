//! A real Prometheus scrapes the real server, answers queries about it, and raises its alerts.

use tests::prometheus::{Prometheus, Scrape};

use super::{eventful, get};

#[test]
fn prometheus_scrapes_the_store() {
    let scene = eventful();
    let prometheus = Prometheus::start(&scene.store);
    let up = prometheus.until("up", |found| found.iter().any(|(_, value)| *value > 0.5));
    println!("up: {up:?}");
    let targets = prometheus.api("targets?state=active");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(
        (target["health"].as_str(), target["lastError"].as_str()),
        (Some("up"), Some("")),
        "{targets}"
    );

    let snaps = prometheus.until("airlock_catalog_snaps", |found| !found.is_empty());
    println!("airlock_catalog_snaps: {snaps:?}");
    assert!((snaps[0].1 - 1.0).abs() < 1e-9);
    let begun = r#"airlock_sessions_total{outcome="begun"}"#;
    let sessions = prometheus.until(begun, |found| !found.is_empty());
    println!("{begun}: {sessions:?}");
    assert!((sessions[0].1 - 1.0).abs() < 1e-9);

    // What happens from now on is seen too.
    let missed = r#"sum(airlock_http_requests_total{route="other",code="308"})"#;
    let before = Scrape::of(&scene.store);
    let series = r#"airlock_http_requests_total{route="other",method="GET",code="308"}"#;
    let known = before.get(series).unwrap_or(0.0);
    for _ in 0..5 {
        assert_eq!(get(&scene.store, "/nowhere").status, 308);
    }
    let wanted = known + 5.0;
    let seen = prometheus.until(missed, |found| found.first().is_some_and(|(_, value)| *value >= wanted));
    println!("{missed}: {seen:?}");
    assert!((seen[0].1 - wanted).abs() < 1e-9);
    let quantile = "histogram_quantile(0.5, sum by (le) (airlock_http_request_duration_seconds_bucket))";
    let half = prometheus.until(quantile, |found| found.iter().any(|(_, value)| value.is_finite()));
    println!("{quantile}: {half:?}");

    // The account key that ends in twenty days raises two of its three alerts.
    let raised = |name: &str| format!(r#"ALERTS{{alertname="{name}",alertstate="firing"}}"#);
    for name in ["AirlockSigningKeyEnds90Days", "AirlockSigningKeyEnds30Days"] {
        let alert = prometheus.until(&raised(name), |found| !found.is_empty());
        println!("{alert:?}");
    }
    assert!(prometheus.query(&raised("AirlockSigningKeyEnds7Days")).is_empty());
    assert!(prometheus.query("ALERTS{severity=\"critical\"}").is_empty());
}
