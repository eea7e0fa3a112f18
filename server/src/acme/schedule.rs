//! The schedule: never often, and not for all stores of a site at once.

use std::time::Duration;

use schema::tls::Pair;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// The pause between automatic attempts, however short-lived the certificates are.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// When to replace a certificate: after two thirds of its lifetime, plus up to a twentieth. The exact delay depends
/// on the certificate, so a restart does not change it.
pub(super) fn renewal(pair: &Pair) -> OffsetDateTime {
    let life = pair.not_after() - pair.not_before();
    let digest = Sha256::digest(&pair.chain()[0]);
    pair.not_before() + life * 2 / 3 + life / 20 * f64::from(digest[0]) / 256.0
}

/// How long to wait after another failure when there were `before` in a row: one minute, doubling each time, plus up
/// to a quarter.
pub(super) fn back_off(before: u32) -> Duration {
    let wait = PAUSE.saturating_mul(1 << before.min(16)).min(LONGEST);
    let mut random = [0];
    // Without randomness all stores of a site come at once, which only the authority may notice.
    let _ = aws_lc_rs::rand::fill(&mut random);
    wait + wait / 4 * u32::from(random[0]) / 256
}

#[cfg(test)]
mod tests {
    use schema::tls::{Stamp, self_signed};

    use super::*;

    #[test]
    fn renewed_at_two_thirds_or_a_little_later() {
        let stamp = |serial| Stamp { now: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1 << 30), serial };
        let mut moments = Vec::new();
        for serial in 1..40 {
            let pair = self_signed("a.example", 90, stamp([serial; 16])).expect("a pair");
            let lived = (renewal(&pair) - pair.not_before()) / (pair.not_after() - pair.not_before());
            assert!((0.666..0.717).contains(&lived), "{lived}");
            assert_eq!(renewal(&pair), renewal(&pair));
            moments.push(renewal(&pair));
        }
        moments.sort();
        moments.dedup();
        assert!(moments.len() > 10, "they are spread");
    }

    #[test]
    fn waits_grow_to_a_cap_and_are_never_short() {
        let mut least = PAUSE;
        for before in 0..60 {
            let wait = back_off(before);
            assert!(wait >= least && wait <= least + least / 4, "{before}: {wait:?}");
            least = (least * 2).min(LONGEST);
        }
        assert!(back_off(u32::MAX) <= LONGEST + LONGEST / 4);
    }
}
