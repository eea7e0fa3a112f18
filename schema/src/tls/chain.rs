//! Orders certificates into a chain: the server's first, each signed by the next.

use std::collections::BTreeSet;
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

/// The chain from `leaf` upwards that devices accept at this time, if there is one, else the one that ends last. Every
/// certificate must lead up from the leaf.
pub(super) fn build<'c, 'a>(
    leaf: &'c Certificate<'a>,
    certificates: &'c [Certificate<'a>],
    now: Option<OffsetDateTime>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<&'c Certificate<'a>>, ImportError> {
    let above = above(certificates);
    let lasting = lasting(certificates, &above, now);
    let place = |one: &Certificate<'_>| certificates.iter().position(|other| other.der == one.der);
    let mut chain = vec![leaf];
    let mut top = leaf;
    while !top.is_self_signed() {
        let free = |upper: &&usize| chain.iter().all(|used| used.der != certificates[**upper].der);
        let signers = place(top).map(|at| above[at].as_slice()).unwrap_or_default();
        // If a root also has a version signed by an older root, send the version that more devices accept.
        let best = signers.iter().filter(free).max_by_key(|upper| {
            let one = &certificates[**upper];
            (lasting[**upper], !one.is_self_signed(), one.x509.validity().not_after.timestamp())
        });
        let Some(next) = best.map(|best| &certificates[*best]) else { break };
        next.check_issuer()?;
        chain.push(next);
        top = next;
    }
    let ways = ways(place(leaf), &above);
    let mut unrelated = None;
    for (at, rest) in
        certificates.iter().enumerate().filter(|(_, c)| chain.iter().all(|used| used.der != c.der))
    {
        let (place, subject) = (rest.place.clone(), rest.subject());
        if ways.contains(&at) {
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

/// Which certificates signed each one, besides itself.
fn above(certificates: &[Certificate<'_>]) -> Vec<Vec<usize>> {
    let signers = |lower: &Certificate<'_>| {
        let signed = |(at, upper): (usize, &Certificate<'_>)| {
            (upper.der != lower.der && upper.has_signed(lower)).then_some(at)
        };
        certificates.iter().enumerate().filter_map(signed).collect()
    };
    certificates.iter().map(signers).collect()
}

/// Whether each certificate is within its time, and so is a way up from it.
fn lasting(certificates: &[Certificate<'_>], above: &[Vec<usize>], now: Option<OffsetDateTime>) -> Vec<bool> {
    let is_in_time = |one: &Certificate<'_>| {
        let validity = one.x509.validity();
        let span = validity.not_before.to_datetime()..=validity.not_after.to_datetime();
        now.is_none_or(|now| span.contains(&now))
    };
    let in_time: Vec<bool> = certificates.iter().map(is_in_time).collect();
    let is_top = |at: usize| above[at].is_empty() || certificates[at].is_self_signed();
    let mut lasting: Vec<bool> = (0..certificates.len()).map(|at| in_time[at] && is_top(at)).collect();
    for _ in certificates {
        for at in 0..certificates.len() {
            lasting[at] |= in_time[at] && above[at].iter().any(|upper| lasting[*upper]);
        }
    }
    lasting
}

/// All that leads up from a certificate.
fn ways(from: Option<usize>, above: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut ways = BTreeSet::new();
    let mut next: Vec<usize> = from.into_iter().collect();
    while let Some(at) = next.pop() {
        if ways.insert(at) {
            next.extend(&above[at]);
        }
    }
    ways
}

/// What devices check in every authority, and a verifier skips in the one that it trusts.
pub(super) fn check_limits(chain: &[&Certificate<'_>]) -> Result<(), ImportError> {
    // The server's certificate and the authority itself do not count.
    let exceeded = chain.iter().skip(1).zip(0_u32..).find_map(|(authority, below)| {
        let subject = authority.subject();
        let most = authority.path_length().filter(|most| *most < below);
        match most {
            Some(most) => Some(format!("{subject} allows {most} authorities below it, and there are more")),
            None if !authority.may_serve() => Some(format!(
                "{subject} may not issue certificates for servers, its extended key usage lacks serverAuth"
            )),
            None => None,
        }
    });
    let (place, subject) = (chain[0].place.clone(), chain[0].subject());
    exceeded.map_or(Ok(()), |reason| Err(ImportError::Chain { place, subject, reason }))
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

/// The verifier's message in words; of a rare one its name.
fn words(error: &webpki::Error) -> String {
    let known = match error {
        webpki::Error::NameConstraintViolation => "an authority in it may not issue for these names",
        webpki::Error::PathLenConstraintViolated => "an authority in it allows fewer authorities below it",
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "an authority in it may not issue certificates for servers"
        }
        webpki::Error::UnsupportedCriticalExtension => {
            "devices do not know a critical extension in it, have it made without"
        }
        other => {
            let text = other.to_string();
            let name = text.split(['(', '{', ' ']).next().unwrap_or_default();
            return name.trim_end_matches("Context").to_owned();
        }
    };
    known.to_owned()
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
