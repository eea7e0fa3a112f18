//! Revocation lists of client authorities (RFC 5280 §5): what makes one usable, and who signed it.

use rustls::pki_types::CertificateDer;
use schema::tls::has_signed;
use time::OffsetDateTime;
use webpki::{CertRevocationList, Error, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::parse_x509_crl;

use super::leaf::shown;

/// A usable revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    der: Vec<u8>,
    /// Whose it is, as encoded.
    name: Vec<u8>,
    /// Whose it is, for display.
    pub(super) issuer: String,
    /// When it was made.
    pub(super) made: OffsetDateTime,
    /// When it should have been replaced.
    pub(super) next: OffsetDateTime,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// Why it cannot be used, and what would help.
    pub(super) fn read(der: Vec<u8>) -> Result<Self, &'static str> {
        let parsed = OwnedCertRevocationList::from_der(&der).map_err(|error| unusable(&der, &error))?;
        let name = CertRevocationList::from(parsed).issuer().to_vec();
        let (_, list) = parse_x509_crl(&der).map_err(|_| DAMAGED)?;
        let issuer = shown(&list.issuer().to_string());
        let made = list.last_update().to_datetime();
        let next = list.next_update().ok_or(ENDLESS)?.to_datetime();
        Ok(Self { name, issuer, made, next, der })
    }

    /// Whether this authority made it. An authority with a new key may have the name of the former one.
    pub(super) fn is_of(&self, authority: &CertificateDer<'_>) -> bool {
        anchor_from_trusted_cert(authority).is_ok_and(|anchor| anchor.subject[..] == self.name)
            && has_signed(authority, &self.der)
    }

    /// For the verifier.
    pub(super) fn parsed(&self) -> Option<CertRevocationList<'static>> {
        OwnedCertRevocationList::from_der(&self.der).ok().map(CertRevocationList::from)
    }
}

const DAMAGED: &str = "it is damaged or cut off: copy it here again";
const ENDLESS: &str = "it does not say when the next one comes: have it made with that date (nextUpdate)";

fn unusable(der: &[u8], error: &Error) -> &'static str {
    match error {
        Error::UnsupportedCrlVersion => {
            "it is of version 1: have it made of version 2, with a number (crl_extensions of openssl ca)"
        }
        Error::UnsupportedDeltaCrl => {
            "it only says what changed since another list: have a complete one made"
        }
        Error::UnsupportedIndirectCrl => {
            "it speaks for other authorities too (an indirect list): have one made by each authority"
        }
        Error::UnsupportedRevocationReasonsPartitioning => {
            "it covers only some reasons to revoke: have one made that covers all"
        }
        Error::UnsupportedCrlIssuingDistributionPoint => {
            "it covers only some certificates, and it is not known which: have one made that covers all"
        }
        Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not known here: have it made without"
        }
        _ => match parse_x509_crl(der) {
            Ok((_, list)) if list.next_update().is_none() => ENDLESS,
            Ok((_, list)) if list.extensions().is_empty() => {
                "it has no number: have it made with one (crl_extensions of openssl ca)"
            }
            _ => DAMAGED,
        },
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateRevocationListDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_makes_a_list_useless_is_said_in_words() {
        for (text, why) in [
            (WITHOUT_NUMBER, "it has no number"),
            (SOME_REASONS, "it covers only some reasons"),
            (INDIRECT, "it speaks for other authorities too"),
        ] {
            let der = CertificateRevocationListDer::from_pem_slice(text.as_bytes()).expect("PEM");
            let said = List::read(der.to_vec()).expect_err(why);
            assert!(said.starts_with(why), "{said}");
            assert_eq!(List::read(der[..der.len() - 9].to_vec()), Err(DAMAGED));
        }
    }

    /// Made with the `cryptography` package of Python.
    const WITHOUT_NUMBER: &str = "\
-----BEGIN X509 CRL-----
MIHDMGsCAQEwCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIQ2xpZW50Q0EXDTI2MTEy
OTIxMTIwOVoXDTI2MTIzMDIxMTIwOVowJzAlAhRs6i975nAzyFpZ+htYEWTQs37f
hRcNMjYxMTI5MjExMjA5WjAKBggqhkjOPQQDAgNIADBFAiEA4PlfKcRgrKyC7VG1
VONfLqYWy98LdwvjzM/s2MoG6TMCIGqnCRbAG2A5KgKcUcRZEc9bKLAkzpQt/TBu
IdIJQwLd
-----END X509 CRL-----
";
    const SOME_REASONS: &str = "\
-----BEGIN X509 CRL-----
MIHnMIGNAgEBMAoGCCqGSM49BAMCMBMxETAPBgNVBAMMCENsaWVudENBFw0yNjEx
MjkyMTEyMDlaFw0yNjEyMzAyMTEyMDlaMCcwJQIUbOove+ZwM8haWfobWBFk0LN+
34UXDTI2MTEyOTIxMTIwOVqgIDAeMAoGA1UdFAQDAgEBMBAGA1UdHAEB/wQGMASD
AgZAMAoGCCqGSM49BAMCA0kAMEYCIQC9nIoYLNlGUGXGj3Qaakthy6m05Sms5pz8
5tIYNknyoQIhALaFv1P34lYFtZoZwXDPi+3YjrEWSXDHiExqlWlXUAEo
-----END X509 CRL-----
";
    const INDIRECT: &str = "\
-----BEGIN X509 CRL-----
MIHlMIGMAgEBMAoGCCqGSM49BAMCMBMxETAPBgNVBAMMCENsaWVudENBFw0yNjEx
MjkyMTEyMDlaFw0yNjEyMzAyMTEyMDlaMCcwJQIUbOove+ZwM8haWfobWBFk0LN+
34UXDTI2MTEyOTIxMTIwOVqgHzAdMAoGA1UdFAQDAgEBMA8GA1UdHAEB/wQFMAOE
Af8wCgYIKoZIzj0EAwIDSAAwRQIgKtSM+odKM0/G2qwt4ghXNrC6jiZTPhHVlfDY
DlPYYlcCIQCBL/S0fNNb78ASzxejtnHanB9LNWV3Ui1UgHy0xGy2NA==
-----END X509 CRL-----
";
}
