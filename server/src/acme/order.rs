//! One order: prove the name, submit the request, check the certificate.

use std::net::IpAddr;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use schema::config::{AcmeChallenge, Settings};
use schema::tls::{Pair, Source};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::error::AcmeError;
use crate::clock;
use crate::tls::challenge::Challenges;

/// How the authority is polled.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(240));

/// Has a certificate made for all names of the settings, and checks it as `import-certificate` does.
pub(crate) async fn fulfil(
    account: &Account,
    settings: &Settings,
    challenges: &Challenges,
) -> Result<Pair, AcmeError> {
    let directory = settings.acme.directory.as_deref().unwrap_or_default();
    let at = |step| move |source| AcmeError::Authority { step, directory: directory.to_owned(), source };
    let mut identifiers: Vec<Identifier> = Vec::new();
    for name in names(settings) {
        let identifier = match name.parse::<IpAddr>() {
            Ok(address) => Identifier::Ip(address),
            Err(_) => Identifier::Dns(name.to_owned()),
        };
        if !identifiers.contains(&identifier) {
            identifiers.push(identifier);
        }
    }
    let order = account.new_order(&NewOrder::new(&identifiers)).await;
    let mut order = order.map_err(at("order a certificate"))?;

    let over_tls = settings.acme.challenge == AcmeChallenge::TlsAlpn01;
    let (kind, name, remedy) = match over_tls {
        false => (ChallengeType::Http01, "http-01", "port 80 of that name must lead to the HTTP port here"),
        true => {
            (ChallengeType::TlsAlpn01, "tls-alpn-01", "port 443 of that name must lead to the TLS port here")
        }
    };
    let (mut answering, mut failed) = (Vec::new(), None);
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(at("read the order"))?;
        let domain = authorization.identifier().to_string();
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let offered = authorization.challenges.iter().map(|challenge| spelled(&challenge.r#type)).collect();
        let not_offered = AcmeError::NotOffered { wanted: name, domain: domain.clone(), offered };
        let mut challenge = authorization.challenge(kind.clone()).ok_or(not_offered)?;
        let proof = challenge.key_authorization();
        answering.push(match over_tls {
            false => challenges.over_http(challenge.token.clone(), proof.as_str().to_owned()),
            true => {
                let digest = Sha256::digest(proof.as_str()).into();
                challenges.over_tls(&domain, &digest).map_err(AcmeError::Challenge)?
            }
        });
        // A fast authority has already tried, and reports it, before it answers this.
        failed = challenge.set_ready().await.err();
        if failed.is_some() {
            break;
        }
    }
    let ready = match failed {
        Some(failure) => Err(failure),
        None => order.poll_ready(&POLLING).await,
    };
    drop(answering);
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        if let Some((domain, why)) = objection(&mut order).await {
            return Err(AcmeError::NotVerified { challenge: name, domain, why, remedy });
        }
        ready.map_err(at("prove the name"))?;
    }
    let key = Zeroizing::new(order.finalize().await.map_err(at("hand in the request"))?);
    let chain = order.poll_certificate(&POLLING).await.map_err(at("get the certificate"))?;
    check(&chain, &key, settings)
}

/// The names and addresses that certificates are for, the store's own first.
pub(super) fn names(settings: &Settings) -> impl Iterator<Item = &str> {
    let all = std::iter::once(&settings.site.domain).chain(&settings.acme.names);
    all.map(|name| name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name))
}

/// Whether the certificate works for this store now.
fn check(chain: &str, key: &str, settings: &Settings) -> Result<Pair, AcmeError> {
    let sources = [
        Source { name: "the authority's answer", bytes: chain.as_bytes() },
        Source { name: "the new key", bytes: key.as_bytes() },
    ];
    let imported = Pair::import(&sources, None, &settings.site.domain, clock::now())?;
    let mut problems: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
    let missing = settings.acme.names.iter().filter(|name| !imported.pair.covers(name));
    problems.extend(missing.map(|name| format!("it does not cover {name} of proxy.acme.names")));
    match problems.is_empty() {
        true => Ok(imported.pair),
        false => Err(AcmeError::Unwanted(problems.join("; "))),
    }
}

/// The name whose challenge failed, and the authority's error.
async fn objection(order: &mut Order) -> Option<(String, String)> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let why = problem.detail.clone().unwrap_or_else(|| problem.to_string());
            return Some((state.identifier().to_string(), why));
        }
    }
    None
}

fn spelled(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".into(),
        ChallengeType::Dns01 => "dns-01".into(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".into(),
        ChallengeType::Unknown(name) => name.clone(),
        _ => "another way".into(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use time::ext::NumericalDuration as _;

    use super::*;

    #[test]
    fn what_comes_is_not_taken_on_trust() {
        let mut settings = Settings::default();
        settings.set("proxy.domain", "store.test").expect("a name");
        let key = KeyPair::generate().expect("a key");
        let judge_for = |settings: &Settings, names: &[&str], days: (i64, i64), key_pem: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("names");
            (params.not_before, params.not_after) =
                (clock::now() + days.0.days(), clock::now() + days.1.days());
            let chain = params.self_signed(&key).expect("a certificate").pem();
            check(&chain, key_pem, settings).map(|_| ()).map_err(|error| error.to_string())
        };
        let judge = |names: &[&str], days, key: &str| judge_for(&settings, names, days, key);
        let own = key.serialize_pem();
        assert_eq!(judge(&["store.test"], (-1, 1), &own), Ok(()));
        let other = KeyPair::generate().expect("a key").serialize_pem();
        for (names, days, key, why) in [
            ("other.test", (-1, 1), &own, "is for other.test, not for store.test"),
            ("store.test", (-2, -1), &own, "has expired"),
            ("store.test", (1, 2), &own, "is not valid before"),
            ("store.test", (-1, 1), &other, "does not belong to the certificate"),
        ] {
            let refused = judge(&[names], days, key).expect_err(why);
            assert!(refused.contains("cannot be used") && refused.contains(why), "{refused}");
        }
        assert!(check("", &own, &settings).is_err());
        let mut several = settings.clone();
        several.set("proxy.acme.names", "[\"old.test\", \"10.0.0.7\"]").expect("names");
        let all = judge_for(&several, &["store.test", "old.test", "10.0.0.7"], (-1, 1), &own);
        assert_eq!(all, Ok(()));
        let refused =
            judge_for(&several, &["store.test", "10.0.0.7"], (-1, 1), &own).expect_err("one is missing");
        assert!(refused.contains("does not cover old.test"), "{refused}");
    }
}
