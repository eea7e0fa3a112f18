//! What an operator is told about a certificate or key.

use std::fmt;

use time::OffsetDateTime;
use time::macros::format_description;

/// Where a block begins.
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

/// Why PEM text cannot be a pair. Never quotes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Nothing there.
    #[error("{0} is empty")]
    Empty(String),
    /// Bytes of no known form.
    #[error("{0} is not PEM text and of no form that can be converted: is it the right file?")]
    Binary(String),
    /// DER of some form.
    #[error("{0} is not PEM text but DER: convert it with `{1} -in {0}`")]
    Der(String, &'static str),
    /// Something else altogether.
    #[error("{0} holds no PEM block: it is {1}")]
    Looks(String, &'static str),
    /// A line that might be of a block.
    #[error(
        "{0}: the line looks like one of a PEM block but belongs to none: repair the -----BEGIN and -----END lines, or \
         remove the rest of the block"
    )]
    Stray(Place),
    /// A form that hides what it holds.
    #[error("{place}: {label} is not taken as it is: convert it with `{how}`")]
    Convert {
        /// Where it is.
        place: Place,
        /// What it is.
        label: String,
        /// With what.
        how: &'static str,
    },
    /// Text without blocks.
    #[error("{0} holds no PEM block: expected text from -----BEGIN to -----END")]
    NoPem(String),
    /// A block without its last line.
    #[error("{0}: the block has no -----END line: is the text cut off, or are its line breaks lost?")]
    NoEnd(Place),
    /// Damaged text.
    #[error("{0}: the block is not base64: is the text damaged?")]
    NotBase64(Place),
    /// Two blocks run together.
    #[error("{place}: the block {label} ends with the -----END line of another")]
    OtherEnd {
        /// Which block.
        place: Place,
        /// As what it begins.
        label: String,
    },
    /// More than any chain has.
    #[error("more than {0} PEM blocks: give one certificate, its chain and its key")]
    TooMany(usize),
    /// Encrypted in the way of OpenSSL before PKCS#8.
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
    /// Encrypted, and nobody said with what.
    #[error("{0}: the key is encrypted: give its passphrase with --passphrase-file")]
    Encrypted(Place),
    /// Another passphrase.
    #[error("{0}: the passphrase does not open the key")]
    WrongPassphrase(Place),
    /// Encrypted with something that is not done any more.
    #[error("{0}: the key is encrypted with {1}: rewrite it with `openssl pkey -in KEY -out NEW -aes256`")]
    Cipher(Place, String),
    /// A key that cannot be read.
    #[error("{0}: the key cannot be read: is the text damaged?")]
    BrokenKey(Place),
    /// A key of another kind.
    #[error(
        "{place}: the key is {kind}: use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519"
    )]
    KeyKind {
        /// Where it is.
        place: Place,
        /// What it is.
        kind: String,
    },
    /// A key in the form that `ssh-keygen` writes.
    #[error("{0}: the key is in the form of OpenSSH: rewrite it with `ssh-keygen -p -m PEM -f KEY`")]
    OpenSsh(Place),
    /// A certificate that some device cannot read or use.
    #[error("{place}: devices cannot use the certificate of {subject}: {reason}")]
    Unusable {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A certificate that cannot be read.
    #[error("{0}: the certificate cannot be read: is the text damaged?")]
    BrokenCertificate(Place),
    /// X.509 version 1.
    #[error(
        "{0}: the certificate is of X.509 version 1 and can name no host: make it again with an extension file that sets \
         subjectAltName"
    )]
    OldVersion(Place),
    /// A short RSA key in a certificate.
    #[error(
        "{place}: the certificate of {subject} has an RSA key of {bits} bits: 2048 are the least that devices accept"
    )]
    WeakKey {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// How long.
        bits: usize,
    },
    /// Signed with a broken hash.
    #[error(
        "{place}: the certificate of {subject} is signed with {algorithm}, which devices refuse: have it signed with SHA-256"
    )]
    WeakSignature {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// With what.
        algorithm: &'static str,
    },
    /// None of the certificates is for the key.
    #[error("the key ({key}) does not belong to the certificate of {subject} ({place})")]
    KeyMismatch {
        /// Where the key is.
        key: Place,
        /// The certificate that it should belong to.
        place: Place,
        /// Whose.
        subject: String,
    },
    /// An old and a new certificate of one key.
    #[error("two certificates for the key, {0} and {1}: leave only the one to be used")]
    TwoCertificates(Place, Place),
    /// The certificate of an authority.
    #[error(
        "{place}: {subject} is the certificate of an authority, not of a server: have it sign one for the server"
    )]
    Authority {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
    },
    /// Made for something else.
    #[error(
        "{place}: the certificate of {subject} is not allowed for servers: it needs the extended key usage serverAuth"
    )]
    NotForServers {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
    },
    /// Its key may not sign what a handshake needs signed.
    #[error(
        "{place}: the certificate of {subject} is not allowed for servers: it needs the key usage digitalSignature"
    )]
    NoSignatures {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
    },
    /// A certificate between the server's and the rest is not there.
    #[error(
        "{place}: the certificate of {issuer}, whom {subject} names as its issuer, is missing: add it{}",
        or(.unrelated.as_deref())
    )]
    MissingIssuer {
        /// The certificate whose issuer is missing.
        place: Place,
        /// Whose it is.
        subject: String,
        /// Who is named.
        issuer: String,
        /// What does not belong to the chain without it, where the chain may be whole all the same.
        unrelated: Option<Box<(Place, String)>>,
    },
    /// The issuer has the right name and another key.
    #[error(
        "{place}: {subject} names {issuer} as its issuer but is not signed by the one at {above}: add the issuer that did"
    )]
    NotSigned {
        /// The lower certificate.
        place: Place,
        /// Whose.
        subject: String,
        /// Who is named.
        issuer: String,
        /// The upper certificate.
        above: Place,
    },
    /// An issuer that may not issue.
    #[error("{place}: {subject} has signed the certificate below it but is no authority: {reason}")]
    NoAuthority {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// What says so.
        reason: &'static str,
    },
    /// A certificate among those of authorities.
    #[error("{place}: {subject} is no authority: {reason}")]
    NotAuthority {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// What says so.
        reason: &'static str,
    },
    /// A single server's certificate among those of authorities.
    #[error(
        "{place}: {subject} signed itself and is no authority (it does not say CA:TRUE), so its key would speak for every name: trust an authority instead; `proxy ca init` makes one, `proxy ca issue-server` a certificate of it"
    )]
    OwnAuthority {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
    },
    /// Nothing among the certificates can be trusted.
    #[error("there is no certificate to be trusted: {}", .0.join("; "))]
    NoneTrusted(Vec<String>),
    /// A certificate outside the chain.
    #[error("{place}: {subject} does not belong to the chain of {leaf}: leave it out")]
    Unrelated {
        /// Where it is.
        place: Place,
        /// Whose.
        subject: String,
        /// Whose chain.
        leaf: String,
    },
    /// A chain that no device would accept, for another reason.
    #[error("{place}: the chain of {subject} does not hold: {reason}")]
    Chain {
        /// Where the certificate is.
        place: Place,
        /// Whose.
        subject: String,
        /// What the verifier says.
        reason: String,
    },
    /// A private key among certificates to be trusted.
    #[error("{0}: a private key is among the certificates: leave it out")]
    KeyAmongCertificates(Place),
}

fn or(unrelated: Option<&(Place, String)>) -> String {
    unrelated.map(|(place, subject)| format!(", or leave out {subject} ({place})")).unwrap_or_default()
}

/// Explains what was passed over.
fn but(ignored: &[String]) -> String {
    if ignored.is_empty() { String::new() } else { format!(" (there is {})", ignored.join(", ")) }
}

/// What an operator may insist on with `--force`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The certificate is for other hosts.
    #[error("the certificate is for {}, not for {domain}: set proxy.domain, or have one made for {domain}", names.join(", "))]
    WrongName {
        /// The hosts it is for.
        names: Vec<String>,
        /// The store's own.
        domain: String,
    },
    /// The address stands among the DNS names.
    #[error(
        "the certificate has {domain} as a DNS name, and devices look for an address: have one made with \
         subjectAltName=IP:{domain}"
    )]
    AddressAsName {
        /// The store's address.
        domain: String,
    },
    /// The certificate has a common name alone.
    #[error(
        "the certificate has no subject alternative name and devices do not look at its common name {common_name}: \
         have one made with subjectAltName={domain}"
    )]
    CommonNameOnly {
        /// Its subject's name.
        common_name: String,
        /// What it should say.
        domain: String,
    },
    /// It was valid.
    #[error("the certificate of {subject} has expired on {}: have it renewed", day(.not_after))]
    Expired {
        /// Whose.
        subject: String,
        /// Its last moment.
        not_after: OffsetDateTime,
    },
    /// It will be valid.
    #[error("the certificate of {subject} is not valid before {}: is this host's clock right?", minute(.not_before))]
    NotYetValid {
        /// Whose.
        subject: String,
        /// Its first moment.
        not_before: OffsetDateTime,
    },
}

/// What is worth knowing about a pair that was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Nothing above the certificate.
    #[error("the chain holds no intermediate certificate: devices must trust {issuer} itself")]
    Incomplete {
        /// Who signed it.
        issuer: String,
    },
    /// Self-signed, and an authority at the same time.
    #[error(
        "the certificate is self-signed and may sign others: whoever has its key can pose as any server to devices that trust it"
    )]
    SelfSignedAuthority,
    /// A block of no use here.
    #[error("{place}: {label} is passed over")]
    Ignored {
        /// Where it is.
        place: Place,
        /// What it is.
        label: String,
    },
    /// The same certificate again.
    #[error("{0}: the certificate is there twice")]
    Duplicate(Place),
    /// Another certificate of an issuer that is in the chain already.
    #[error("{place}: {subject} is there in two versions; this one is left out")]
    LeftOut {
        /// Where it is.
        place: Place,
        /// Whose.
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
