//! Errors and warnings about certificates and keys, for operators.

use std::fmt;

use time::OffsetDateTime;
use time::macros::format_description;

use super::expiry::Expiry;

/// The position of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or `standard input`.
    pub source: String,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.source, self.line)
    }
}

/// Why PEM text is not a usable pair. Never quotes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The input is empty.
    #[error("{0} is empty")]
    Empty(String),
    /// The bytes have no known form.
    #[error("{0} is not PEM text and of no form that can be converted: is it the right file?")]
    Binary(String),
    /// The input is DER.
    #[error("{0} is not PEM text but DER: convert it with `{1} -in {0}`")]
    Der(String, &'static str),
    /// The input is something else entirely.
    #[error("{0} holds no PEM block: it is {1}")]
    Looks(String, &'static str),
    /// A line that might belong to a block.
    #[error(
        "{0}: the line looks like one of a PEM block but belongs to none: repair the -----BEGIN and -----END lines, or \
         remove the rest of the block"
    )]
    Stray(Place),
    /// A form that must be converted first.
    #[error("{place}: {label} is not taken as it is: convert it with `{how}`")]
    Convert {
        /// The position.
        place: Place,
        /// The label.
        label: String,
        /// The command that converts it.
        how: &'static str,
    },
    /// Text without blocks.
    #[error("{0} holds no PEM block: expected text from -----BEGIN to -----END")]
    NoPem(String),
    /// A block without its last line.
    #[error("{0}: the block has no -----END line: is the text cut off, or are its line breaks lost?")]
    NoEnd(Place),
    /// The block is not base64.
    #[error("{0}: the block is not base64: is the text damaged?")]
    NotBase64(Place),
    /// Two blocks run together.
    #[error("{place}: the block {label} ends with the -----END line of another")]
    OtherEnd {
        /// Which block.
        place: Place,
        /// The label it begins with.
        label: String,
    },
    /// More blocks than any chain has.
    #[error("more than {0} PEM blocks: give one certificate, its chain and its key")]
    TooMany(usize),
    /// Encrypted the way OpenSSL did before PKCS#8.
    #[error(
        "{0}: the key is encrypted in an old way: rewrite it with `openssl pkey -in KEY -out NEW -aes256`"
    )]
    OldEncryption(Place),
    /// No certificate among the blocks.
    #[error("no certificate{}", but(.0))]
    NoCertificate(Vec<String>),
    /// No key among the blocks.
    #[error("no private key: add the file of the key that the certificate was made for{}", but(.0))]
    NoKey(Vec<String>),
    /// More than one key.
    #[error("two private keys, {0} and {1}: leave only the one of the certificate")]
    TwoKeys(Place, Place),
    /// The key is encrypted and there is no passphrase.
    #[error("{0}: the key is encrypted: give its passphrase with --passphrase-file")]
    Encrypted(Place),
    /// The passphrase is wrong.
    #[error("{0}: the passphrase does not open the key")]
    WrongPassphrase(Place),
    /// The encryption is obsolete.
    #[error("{0}: the key is encrypted with {1}: rewrite it with `openssl pkey -in KEY -out NEW -aes256`")]
    Cipher(Place, String),
    /// The key is unreadable.
    #[error("{0}: the key cannot be read: is the text damaged?")]
    BrokenKey(Place),
    /// The kind of key is not supported.
    #[error(
        "{place}: the key is {kind}: use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519"
    )]
    KeyKind {
        /// The position.
        place: Place,
        /// The kind.
        kind: String,
    },
    /// The key is in OpenSSH's form.
    #[error("{0}: the key is in the form of OpenSSH: rewrite it with `ssh-keygen -p -m PEM -f KEY`")]
    OpenSsh(Place),
    /// A certificate that some device cannot read or use.
    #[error("{place}: devices cannot use the certificate of {subject}: {reason}")]
    Unusable {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The reason and the remedy.
        reason: String,
    },
    /// The certificate is unreadable.
    #[error("{0}: the certificate cannot be read: is the text damaged?")]
    BrokenCertificate(Place),
    /// X.509 version 1.
    #[error(
        "{0}: the certificate is of X.509 version 1 and can name no host: make it again with an extension file that sets \
         subjectAltName"
    )]
    OldVersion(Place),
    /// A certificate's RSA key is too short.
    #[error(
        "{place}: the certificate of {subject} has an RSA key of {bits} bits: 2048 are the least that devices accept"
    )]
    WeakKey {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The key's length.
        bits: usize,
    },
    /// The certificate is signed with a broken hash.
    #[error(
        "{place}: the certificate of {subject} is signed with {algorithm}, which devices refuse: have it signed with SHA-256"
    )]
    WeakSignature {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// No certificate matches the key.
    #[error("the key ({key}) does not belong to the certificate of {subject} ({place})")]
    KeyMismatch {
        /// The key's position.
        key: Place,
        /// The position of the certificate it should match.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
    /// Two certificates match the key, such as an old and a new one.
    #[error("two certificates for the key, {0} and {1}: leave only the one to be used")]
    TwoCertificates(Place, Place),
    /// The certificate belongs to an authority.
    #[error(
        "{place}: {subject} is the certificate of an authority, not of a server: have it sign one for the server"
    )]
    Authority {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
    /// The certificate is for another purpose.
    #[error(
        "{place}: the certificate of {subject} is not allowed for servers: it needs the extended key usage serverAuth"
    )]
    NotForServers {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
    /// The key usage does not allow what a handshake needs.
    #[error(
        "{place}: the certificate of {subject} is not allowed for servers: it needs the key usage digitalSignature"
    )]
    NoSignatures {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
    /// An intermediate certificate is missing.
    #[error(
        "{place}: the certificate of {issuer}, whom {subject} names as its issuer, is missing: add it{}",
        or(.unrelated.as_deref())
    )]
    MissingIssuer {
        /// The position of the certificate whose issuer is missing.
        place: Place,
        /// Its subject.
        subject: String,
        /// The issuer it names.
        issuer: String,
        /// A certificate that does not belong to the chain, which might be complete without it.
        unrelated: Option<Box<(Place, String)>>,
    },
    /// The issuer has the right name but another key.
    #[error(
        "{place}: {subject} names {issuer} as its issuer but is not signed by the one at {above}: add the issuer that did"
    )]
    NotSigned {
        /// The position of the lower certificate.
        place: Place,
        /// Its subject.
        subject: String,
        /// The issuer it names.
        issuer: String,
        /// The position of the upper certificate.
        above: Place,
    },
    /// An issuer that may not issue.
    #[error("{place}: {subject} has signed the certificate below it but is not an authority: {reason}")]
    NoAuthority {
        /// The position.
        place: Place,
        /// The issuer's subject.
        subject: String,
        /// The reason.
        reason: &'static str,
    },
    /// A certificate in a list of authorities is not an authority.
    #[error("{place}: {subject} is not an authority: {reason}")]
    NotAuthority {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The reason.
        reason: &'static str,
    },
    /// A single server's certificate among those of authorities.
    #[error(
        "{place}: {subject} signed itself and is no authority (it does not say CA:TRUE), so its key would speak for every name: trust an authority instead; `proxy ca init` makes one, `proxy ca issue-server` a certificate of it"
    )]
    OwnAuthority {
        /// Where it is.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
    /// No certificate can be trusted.
    #[error("there is no certificate to be trusted: {}", .0.join("; "))]
    NoneTrusted(Vec<String>),
    /// A certificate outside the chain.
    #[error("{place}: {subject} does not belong to the chain of {leaf}: leave it out")]
    Unrelated {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The subject of the chain's leaf.
        leaf: String,
    },
    /// No device would accept the chain, for another reason.
    #[error("{place}: the chain of {subject} does not hold: {reason}")]
    Chain {
        /// The certificate's position.
        place: Place,
        /// The certificate's subject.
        subject: String,
        /// The verifier's message.
        reason: String,
    },
    /// A private key among certificates to trust.
    #[error("{0}: a private key is among the certificates: leave it out")]
    KeyAmongCertificates(Place),
}

fn or(unrelated: Option<&(Place, String)>) -> String {
    unrelated.map(|(place, subject)| format!(", or leave out {subject} ({place})")).unwrap_or_default()
}

/// Lists the ignored blocks.
fn but(ignored: &[String]) -> String {
    if ignored.is_empty() { String::new() } else { format!(" (there is {})", ignored.join(", ")) }
}

/// What is wrong with the names of a certificate.
fn wrong_name(names: &[String], domain: &str) -> String {
    let above = domain.split_once('.').map(|(_, above)| above).filter(|above| !above.contains('.'));
    let wildcard =
        names.iter().find(|name| name.strip_prefix("*.").is_some_and(|below| Some(below) == above));
    match wildcard {
        Some(wildcard) => format!(
            "the certificate is for {wildcard}, and clients accept no wildcard right below the top level: have one made that \
             names each host"
        ),
        None => format!(
            "the certificate is for {}, not for {domain}: set proxy.domain, or have one made for {domain}",
            names.join(", ")
        ),
    }
}

/// A problem that an operator may override with `--force`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The certificate is for other hosts.
    #[error("{}", wrong_name(names, domain))]
    WrongName {
        /// The hosts that it covers.
        names: Vec<String>,
        /// The store's domain.
        domain: String,
    },
    /// The address is listed as a DNS name.
    #[error(
        "the certificate has {domain} as a DNS name, and devices look for an address: have one made with \
         subjectAltName=IP:{domain}"
    )]
    AddressAsName {
        /// The store's address.
        domain: String,
    },
    /// The certificate has only a common name.
    #[error(
        "the certificate has no subject alternative name and devices do not look at its common name {common_name}: \
         have one made with subjectAltName={domain}"
    )]
    CommonNameOnly {
        /// The subject's common name.
        common_name: String,
        /// The alternative name that is missing.
        domain: String,
    },
    /// The certificate has expired.
    #[error("the certificate of {subject} has expired on {}: have it renewed", day(.not_after))]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// When it expired.
        not_after: OffsetDateTime,
    },
    /// The certificate is not valid yet.
    #[error("the certificate of {subject} is not valid before {}: is this host's clock right?", minute(.not_before))]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// When it becomes valid.
        not_before: OffsetDateTime,
    },
}

/// A warning about an accepted pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The chain has no intermediate.
    #[error(
        "the certificate of {issuer}, which issued this one, is missing: add it to the files if it is an intermediate; if it \
         is a root, devices must trust it"
    )]
    Incomplete {
        /// The issuer.
        issuer: String,
    },
    /// The certificate is self-signed and also an authority.
    #[error(
        "the certificate is self-signed and may sign others: whoever has its key can pose as any server to devices that trust it"
    )]
    SelfSignedAuthority,
    /// The end is near.
    #[error("the certificate expires {left}, on {}: have it renewed in time", day(.not_after))]
    EndsSoon {
        /// What is left.
        left: Expiry,
        /// Its end.
        not_after: OffsetDateTime,
    },
    /// A block that is not used.
    #[error("{place}: {label} is ignored")]
    Ignored {
        /// The position.
        place: Place,
        /// The label.
        label: String,
    },
    /// The same certificate appears twice.
    #[error("{0}: the certificate is there twice")]
    Duplicate(Place),
    /// A certificate of another way up from the server's.
    #[error("{place}: {subject} is left out, since the chain leads up another way")]
    LeftOut {
        /// The position.
        place: Place,
        /// The certificate's subject.
        subject: String,
    },
}

/// `2026-01-31`
pub(super) fn day(time: &OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

fn minute(time: &OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).unwrap_or_default()
}
