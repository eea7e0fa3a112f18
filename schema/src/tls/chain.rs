//! Orders certificates into a chain: the server's first, each signed by the next.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::certificate::Certificate;
use super::error::{ImportError, Place, Problem, Warning};

/// Finds the certificate that a key is for.
pub(super) fn find_leaf<'c, 'a>(
    certificates: &'c [Certificate<'a>],
    public: &[u8],
    key: &Place,
) -> Result<&'c Certificate<'a>, ImportError> {
    let mut of_key = certificates
        .iter()
        .filter(|certificate| *certificate.x509.public_key().subject_public_key.data == *public);
    match (of_key.next(), of_key.next()) {
        (Some(leaf), None) => Ok(leaf),
        (Some(one), Some(other)) => Err(ImportError::TwoCertificates(one.place.clone(), other.place.clone())),
        _ => {
            let meant = certificates.iter().find(|one| !one.x509.is_ca()).or(certificates.first());
            Err(match meant {
                Some(meant) => ImportError::KeyMismatch {
                    key: key.clone(),
                    place: meant.place.clone(),
                    subject: meant.subject(),
                },
                None => ImportError::NoCertificate(Vec::new()),
            })
        }
    }
}

/// The chain from `leaf` upwards; every certificate must be part of it.
pub(super) fn build<'c, 'a>(
    leaf: &'c Certificate<'a>,
    certificates: &'c [Certificate<'a>],
    warnings: &mut Vec<Warning>,
) -> Result<Vec<&'c Certificate<'a>>, ImportError> {
    let mut chain = vec![leaf];
    let mut top = leaf;
    while !top.is_self_signed() {
        let free = |upper: &&Certificate<'a>| chain.iter().all(|used| used.der != upper.der);
        let mut above = certificates.iter().filter(free).filter(|upper| upper.has_signed(top));
        // If a root also has a version signed by an older root, send the version that more devices accept.
        let Some(first) = above.next() else { break };
        let next = std::iter::once(first).chain(above).find(|c| !c.is_self_signed()).unwrap_or(first);
        next.check_issuer()?;
        chain.push(next);
        top = next;
    }
    let mut unrelated = None;
    for rest in certificates.iter().filter(|c| chain.iter().all(|used| used.der != c.der)) {
        let (place, subject) = (rest.place.clone(), rest.subject());
        if chain.iter().any(|lower| rest.has_signed(lower)) {
            warnings.push(Warning::LeftOut { place, subject });
        } else if !top.is_self_signed() && rest.is_named_issuer_of(top) {
            // A weak key invalidates every signature it made.
            rest.check_strength()?;
            return Err(ImportError::NotSigned {
                place: top.place.clone(),
                subject: top.subject(),
                issuer: top.issuer(),
                above: place,
            });
        } else {
            unrelated = unrelated.or(Some(rest));
        }
    }
    let Some(rest) = unrelated else { return Ok(chain) };
    let (place, subject) = (rest.place.clone(), rest.subject());
    // An authority's certificate without the intermediate that links it means that the intermediate is missing.
    Err(if rest.x509.is_ca() && !top.is_self_signed() {
        ImportError::MissingIssuer {
            place: top.place.clone(),
            subject: top.subject(),
            issuer: top.issuer(),
            unrelated: (chain.len() > 1).then(|| Box::new((place, subject))),
        }
    } else {
        ImportError::Unrelated { place, subject, leaf: leaf.subject() }
    })
}

/// Runs a device's verifier over the chain, trusting its last certificate.
pub(super) fn verify(chain: &[&Certificate<'_>]) -> Result<(), ImportError> {
    let leaf = chain[0];
    let fails = |error: webpki::Error| ImportError::Chain {
        place: leaf.place.clone(),
        subject: leaf.subject(),
        reason: words(&error),
    };
    let ders: Vec<CertificateDer<'_>> =
        chain.iter().map(|certificate| CertificateDer::from(certificate.der)).collect();
    let end = EndEntityCert::try_from(&ders[0]).map_err(fails)?;
    let [_, between @ .., last] = ders.as_slice() else { return Ok(()) };
    let anchors = [anchor_from_trusted_cert(last).map_err(fails)?];
    // Validity is judged separately, because an operator may force an expired certificate.
    let since = chain.iter().map(|certificate| certificate.x509.validity().not_before.timestamp()).max();
    let since = Duration::from_secs(since.and_then(|since| u64::try_from(since).ok()).unwrap_or_default());
    let verified = end.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &anchors,
        between,
        UnixTime::since_unix_epoch(since),
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verified {
        Ok(_) | Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => Ok(()),
        Err(error) => Err(fails(error)),
    }
}

/// The verifier's message; errors that carry bytes are shown by name only.
fn words(error: &webpki::Error) -> String {
    let text = error.to_string();
    text.split(['(', '{', ' ']).next().unwrap_or_default().trim_end_matches("Context").to_owned()
}

/// Problems with the validity and the names of a chain.
pub(super) fn problems(
    chain: &[&Certificate<'_>],
    covers: bool,
    domain: &str,
    now: OffsetDateTime,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let leaf = chain[0];
    if !covers {
        let names = leaf.names();
        let domain = domain.to_owned();
        let is_address = domain.parse::<std::net::IpAddr>().is_ok();
        problems.push(match (names.is_empty(), leaf.common_name()) {
            _ if is_address && names.contains(&domain) => Problem::AddressAsName { domain },
            (true, Some(common_name)) => Problem::CommonNameOnly { common_name, domain },
            (true, None) => Problem::WrongName { names: vec!["no host".into()], domain },
            _ => Problem::WrongName { names, domain },
        });
    }
    for certificate in chain {
        let subject = certificate.subject();
        let validity = certificate.x509.validity();
        let (not_before, not_after) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
        if now > not_after {
            problems.push(Problem::Expired { subject, not_after });
        } else if now < not_before {
            problems.push(Problem::NotYetValid { subject, not_before });
        }
    }
    problems
}
