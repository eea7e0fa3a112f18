//! A certificate's contents, for reports and logs.

use schema::tls::Pair;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A certificate's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The subject.
    pub(crate) subject: String,
    /// The issuer.
    pub(crate) issuer: String,
    /// DNS names and addresses that it covers.
    pub(crate) names: Vec<String>,
    /// Start of validity.
    pub(crate) not_before: OffsetDateTime,
    /// Start of the life that ends then: another one's if a certificate above expires first.
    pub(crate) begun: OffsetDateTime,
    /// End of validity.
    pub(crate) not_after: OffsetDateTime,
}

impl Leaf {
    /// The contents of the store's certificate; its expiry is the earliest in the chain.
    pub(super) fn of(pair: &Pair) -> Self {
        Self {
            subject: pair.subject().to_owned(),
            issuer: pair.issuer().to_owned(),
            names: pair.names().to_vec(),
            not_before: pair.not_before(),
            begun: pair.begun(),
            not_after: pair.not_after(),
        }
    }

    /// Parses a certificate; `None` if it is damaged.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names =
            alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(shown(name)),
                GeneralName::IPAddress(bytes) => Some(address(bytes)?.to_string()),
                _ => None,
            });
        Some(Self {
            subject: shown(&certificate.subject().to_string()),
            issuer: shown(&certificate.issuer().to_string()),
            names: names.collect(),
            not_before: validity.not_before.to_datetime(),
            begun: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        })
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(Into::into);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(Into::into)).ok()
}

/// A name from a certificate, made safe for logs and reports: one line, bounded length.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .take(256)
        .collect()
}
