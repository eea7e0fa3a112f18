//! Defects that make a certificate unreadable or useless to some devices although others accept it.
//!
//! Devices are snapd, whose TLS is Go's `crypto/x509`, and tools that use OpenSSL. Whatever either of them rejects
//! under all settings is rejected here, with its real cause.

use url::Url;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::ber::Tag;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

/// The curves that all of them support, with their names.
const CURVES: [(&str, &str); 3] =
    [("1.2.840.10045.3.1.7", "P-256"), ("1.3.132.0.34", "P-384"), ("1.3.132.0.35", "P-521")];

/// A curve's name for display.
pub(super) fn curve(oid: &str) -> String {
    let others = [
        ("1.3.132.0.33", "P-224"),
        ("1.3.132.0.10", "secp256k1"),
        ("1.2.840.10045.3.1.1", "P-192"),
        ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
        ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
        ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
    ];
    let known = CURVES.iter().chain(&others).find(|(known, _)| *known == oid);
    known.map_or_else(|| oid.to_owned(), |(_, name)| (*name).to_owned())
}

/// Why some device cannot read the certificate at all; `None` if all can.
pub(super) fn unreadable(x509: &X509Certificate<'_>) -> Option<String> {
    let said = |text: &str| Some(text.to_owned());
    if x509.raw_serial().first().is_some_and(|byte| byte & 0x80 != 0) {
        return said("its serial number is negative: have it made again with another");
    }
    if x509.tbs_certificate.signature != x509.signature_algorithm {
        return said("it names two different signature algorithms");
    }
    if x509.extensions_map().is_err() {
        return said("an extension is there twice");
    }
    if x509
        .extensions()
        .iter()
        .any(|extension| matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. }))
    {
        return said("an extension of it cannot be read");
    }
    [x509.subject(), x509.issuer()].into_iter().find_map(name).or_else(|| {
        x509.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().find_map(alternative)
            }
            _ => None,
        })
    })
}

/// What is wrong with a distinguished name.
fn name(name: &X509Name<'_>) -> Option<String> {
    let printable = |byte: &u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(byte);
    name.iter_attributes().find_map(|attribute| {
        let value = attribute.attr_value();
        let sound = match value.tag() {
            Tag::PrintableString => value.data.iter().all(printable),
            Tag::Utf8String => std::str::from_utf8(value.data).is_ok(),
            Tag::Ia5String => value.data.is_ascii(),
            Tag::BmpString => value.data.len() % 2 == 0,
            Tag::NumericString => value.data.iter().all(|byte| byte.is_ascii_digit() || *byte == b' '),
            Tag::T61String => true,
            _ => false,
        };
        (!sound).then(|| {
            "a text in the name of its subject or issuer is of a form that cannot be read".to_owned()
        })
    })
}

/// What is wrong with an alternative name.
fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::IPAddress(bytes) if ![4, 16].contains(&bytes.len()) => {
            Some(format!("an address in its alternative names has {} bytes", bytes.len()))
        }
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) if !name.is_ascii() => {
            Some("an alternative name is not ASCII: write it as xn--…".into())
        }
        GeneralName::URI(uri)
            if !matches!(Url::parse(uri), Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase)) =>
        {
            Some("a URI in its alternative names cannot be read".into())
        }
        GeneralName::Invalid(..) => Some("an alternative name cannot be read".into()),
        _ => None,
    }
}

/// Why some device cannot use its key; `None` if all can. The length of RSA keys is checked elsewhere.
pub(super) fn useless_key(x509: &X509Certificate<'_>) -> Option<String> {
    let public = x509.public_key();
    let algorithm = &public.algorithm;
    let kind = match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => return useless_rsa(algorithm, public.parsed().ok().as_ref()),
        "1.2.840.10045.2.1" => {
            let parameters = algorithm.parameters.as_ref();
            let named = parameters.filter(|parameters| parameters.tag() == Tag::Oid);
            let Some(oid) = named.and_then(|parameters| parameters.as_oid().ok()) else {
                return Some(
                    "the parameters of its curve are spelled out: make the key again with `-pkeyopt \
                     ec_param_enc:named_curve`"
                        .into(),
                );
            };
            let oid = oid.to_id_string();
            if !CURVES.iter().any(|(known, _)| *known == oid) {
                return Some(format!("its key is on the curve {}: use P-256, P-384 or P-521", curve(&oid)));
            }
            return (public.subject_public_key.data.first() != Some(&4))
                .then(|| "the point of its key is compressed: make the key again without".into());
        }
        "1.3.101.112" => return None,
        "1.2.840.113549.1.1.10" => "an RSA key for PSS signatures alone",
        "1.3.101.113" => "an Ed448 key",
        "1.2.840.10040.4.1" => "a DSA key",
        "1.3.101.110" | "1.3.101.111" => "a key for key agreement alone",
        _ => "a key of an unknown kind",
    };
    Some(format!("it has {kind}: use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519"))
}

fn useless_rsa(algorithm: &AlgorithmIdentifier<'_>, key: Option<&PublicKey<'_>>) -> Option<String> {
    let Some(PublicKey::RSA(rsa)) = key else { return Some("its RSA key cannot be read".into()) };
    if algorithm.parameters.as_ref().is_none_or(|parameters| parameters.tag() != Tag::Null) {
        return Some("the algorithm of its RSA key lacks the parameter NULL".into());
    }
    if rsa.key_size() > 8192 {
        return Some("its RSA key has more than 8192 bits".into());
    }
    let exponent = rsa.try_exponent().unwrap_or_default();
    if exponent < 3 || exponent % 2 == 0 || i32::try_from(exponent).is_err() {
        return Some(
            "the exponent of its RSA key is none that is used: make the key again with 65537".into(),
        );
    }
    None
}

/// Why some device cannot check its signature; `None` if all can.
pub(super) fn useless_signature(x509: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = &x509.signature_algorithm;
    let oid = algorithm.algorithm.to_id_string();
    if oid.starts_with("1.2.840.10045.4.3.") && algorithm.parameters.is_some() {
        return Some(
            "its ECDSA signature carries a parameter (NULL, as old Mbed TLS wrote): have it signed again with \
             another tool",
        );
    }
    match oid.as_str() {
        "1.3.101.113" => Some("it is signed with Ed448: have it signed with ECDSA, RSA or Ed25519"),
        "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => {
            Some("it is signed with DSA: have it signed with ECDSA, RSA or Ed25519")
        }
        _ => None,
    }
}
