//! Private keys: reads every common form, writes PKCS#8 (RFC 5958).

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::der_parser::der::{DerObject, parse_der};
use zeroize::Zeroizing;

use super::blocks::Block;
use super::error::ImportError;
use super::form;

/// The curves that keys may be on, by name.
const CURVES: [(&str, &EcdsaSigningAlgorithm); 3] = [
    ("1.2.840.10045.3.1.7", &ECDSA_P256_SHA256_ASN1_SIGNING),
    ("1.3.132.0.34", &ECDSA_P384_SHA384_ASN1_SIGNING),
    ("1.3.132.0.35", &ECDSA_P521_SHA512_ASN1_SIGNING),
];

/// A private key, and the public half as certificates hold it.
pub(super) struct Key {
    pub(super) pkcs8: PrivatePkcs8KeyDer<'static>,
    pub(super) public: Vec<u8>,
}

/// Whether a block with this label is a private key.
pub(super) fn is_key(label: &str) -> bool {
    label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY")
}

/// Reads the key of a block.
pub(super) fn read(block: &Block, passphrase: Option<&str>) -> Result<Key, ImportError> {
    let place = || block.place.clone();
    let of_kind = |kind: &str| ImportError::KeyKind { place: place(), kind: kind.to_owned() };
    match block.label.as_str() {
        "PRIVATE KEY" => from_pkcs8(&block.der, block),
        "RSA PRIVATE KEY" => match RsaKeyPair::from_der(&block.der) {
            Ok(pair) => from_rsa(&pair).ok_or(ImportError::BrokenKey(place())),
            Err(error) => Err(rejected_rsa(&error, &block.der, block)),
        },
        "EC PRIVATE KEY" => {
            let pair = CURVES
                .iter()
                .find_map(|(_, curve)| EcdsaKeyPair::from_private_key_der(curve, &block.der).ok());
            match pair {
                Some(pair) => from_ecdsa(&pair).ok_or(ImportError::BrokenKey(place())),
                None => match sec1_curve(&block.der) {
                    Some(Some(oid)) if CURVES.iter().any(|(known, _)| *known == oid) => {
                        Err(ImportError::BrokenKey(place()))
                    }
                    Some(Some(oid)) => Err(of_kind(&format!("on the curve {}", form::curve(&oid)))),
                    Some(None) => Err(of_kind("on a curve without a name")),
                    None => Err(ImportError::BrokenKey(place())),
                },
            }
        }
        "ENCRYPTED PRIVATE KEY" => from_pkcs8(decrypt(block, passphrase)?.as_bytes(), block),
        "OPENSSH PRIVATE KEY" => Err(ImportError::OpenSsh(place())),
        "DSA PRIVATE KEY" => Err(of_kind("DSA")),
        label => Err(of_kind(label)),
    }
}

fn decrypt(block: &Block, passphrase: Option<&str>) -> Result<SecretDocument, ImportError> {
    let place = || block.place.clone();
    let info = EncryptedPrivateKeyInfoRef::try_from(block.der.as_slice());
    let info = info.map_err(|_| ImportError::Cipher(place(), "an unknown cipher".into()))?;
    let passphrase = passphrase.ok_or_else(|| ImportError::Encrypted(place()))?;
    info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            ImportError::WrongPassphrase(place())
        }
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::NoPbes1CryptSupport) => {
            ImportError::Cipher(place(), "PBES1".into())
        }
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { oid }) => {
            ImportError::Cipher(place(), format!("algorithm {oid}"))
        }
        _ => ImportError::BrokenKey(place()),
    })
}

fn from_pkcs8(der: &[u8], block: &Block) -> Result<Key, ImportError> {
    let broken = || ImportError::BrokenKey(block.place.clone());
    let of_kind = |kind: String| Err(ImportError::KeyKind { place: block.place.clone(), kind });
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| broken())?;
    match info.algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => {
            let inner = info.private_key.as_bytes();
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|error| rejected_rsa(&error, inner, block))?;
            from_rsa(&pair).ok_or_else(broken)
        }
        "1.2.840.10045.2.1" => {
            let Ok(oid) = info.algorithm.parameters_oid() else {
                return of_kind("on a curve without a name".into());
            };
            let oid = oid.to_string();
            let Some((_, curve)) = CURVES.iter().find(|(known, _)| *known == oid) else {
                return of_kind(format!("on the curve {}", form::curve(&oid)));
            };
            EcdsaKeyPair::from_pkcs8(curve, der).ok().and_then(|pair| from_ecdsa(&pair)).ok_or_else(broken)
        }
        "1.3.101.112" => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| broken())?;
            let pkcs8 = pair.to_pkcs8v1().map_err(|_| broken())?;
            Ok(key(pkcs8.as_ref(), pair.public_key().as_ref()))
        }
        "1.2.840.113549.1.1.10" => of_kind("RSA for PSS signatures alone".into()),
        "1.2.840.10040.4.1" => of_kind("DSA".into()),
        "1.3.101.113" => of_kind("Ed448".into()),
        "1.3.101.110" | "1.3.101.111" => of_kind("for key agreement alone".into()),
        other => of_kind(format!("of the algorithm {other}")),
    }
}

/// Why a PKCS#1 RSA key is rejected.
fn rejected_rsa(error: &KeyRejected, pkcs1: &[u8], block: &Block) -> ImportError {
    let version = parse_der(pkcs1).ok().and_then(|(_, key)| key.as_sequence().ok()?.first()?.as_u32().ok());
    let kind = match error.to_string().as_str() {
        _ if version == Some(1) => "RSA of three primes or more",
        "TooSmall" => "RSA of less than 2048 bits",
        "TooLarge" => "RSA of more than 8192 bits",
        _ => return ImportError::BrokenKey(block.place.clone()),
    };
    ImportError::KeyKind { place: block.place.clone(), kind: kind.into() }
}

fn from_rsa(pair: &RsaKeyPair) -> Option<Key> {
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    Some(key(pkcs8.as_ref(), pair.public_key().as_ref()))
}

fn from_ecdsa(pair: &EcdsaKeyPair) -> Option<Key> {
    Some(key(pair.to_pkcs8v1().ok()?.as_ref(), pair.public_key().as_ref()))
}

fn key(pkcs8: &[u8], public: &[u8]) -> Key {
    Key { pkcs8: PrivatePkcs8KeyDer::from(pkcs8.to_vec()), public: public.to_vec() }
}

/// The curve of a SEC1 key: its name, or `Some(None)` if it has none; `None` if this is not such a key.
fn sec1_curve(der: &[u8]) -> Option<Option<String>> {
    let (_, key) = parse_der(der).ok()?;
    let parts = key.as_sequence().ok()?;
    parts.get(1)?.as_slice().ok()?;
    let named = |part: &DerObject<'_>| {
        let (_, inner) = parse_der(part.as_slice().ok()?).ok()?;
        Some(inner.as_oid().ok()?.to_id_string())
    };
    Some(parts.get(2).and_then(named))
}

/// The key as PEM text, wiped when dropped.
pub(super) fn to_pem(key: &PrivatePkcs8KeyDer<'_>) -> Zeroizing<String> {
    Zeroizing::new(super::blocks::encode("PRIVATE KEY", key.secret_pkcs8_der()))
}
