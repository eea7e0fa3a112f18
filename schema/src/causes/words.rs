//! What libraries say of an error, in words for operators.
//!
//! Libraries name their own types (`UnknownIssuer`, `untagged enum Node`), their layers (`Error occurred while creating a new
//! object`) and what their user should do. Each row below takes one such wording; the rest of a message stays.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};

/// A wording, and what stands for it; `$1` is its first group. Classes are written out in ASCII: those of Unicode, such as `\d`,
/// make the first error of a program take several times as long.
const WORDINGS: [(&str, &str); 51] = [
    // rustls
    (r"invalid peer certificate: certificate not valid", "the certificate is not valid"),
    (r"invalid peer certificate: certificate", "the certificate has"),
    (r#"(?:DnsName|IpAddress|DNSName|IPAddress)\(\\?"?([^")\\]*)\\?"?\)"#, "$1"),
    (
        r"the certificate has expired: verification time [0-9]+ \(UNIX\), but certificate is not valid after [0-9]+ \(([0-9]+) seconds ago\)",
        "the certificate expired $1 seconds ago",
    ),
    (
        r"not valid yet: verification time [0-9]+ \(UNIX\), but certificate is not valid before [0-9]+ \(([0-9]+) seconds in future\)",
        "not valid for another $1 seconds: are both clocks right?",
    ),
    (r"certificate is only valid for", "it is for"),
    (
        r"certificate is not valid for any names \(according to its subjectAltName extension\)",
        "it names no host",
    ),
    (
        r"(?:invalid peer certificate: |the certificate has )?Unsupported(?:SignatureAlgorithm|SignatureAlgorithmForPublicKey)(?:Context)?(?: \{[^}]*\})?",
        "the certificate is signed with an algorithm that is not supported",
    ),
    (r"(?-u:\b)UnknownIssuer(?-u:\b)", "it was issued by an authority that is not trusted"),
    (r"(?-u:\b)BadEncoding(?-u:\b)", "it cannot be decoded"),
    (r"(?-u:\b)BadSignature(?-u:\b)", "its signature is wrong"),
    (r"(?-u:\b)CaUsedAsEndEntity(?-u:\b)", "it is the certificate of an authority, not of a host"),
    (r"invalid peer certificate: ", "the certificate is not accepted: "),
    (r"received fatal alert: ", "the other side ended the handshake: "),
    (r"peer is incompatible: ", "the other side has nothing in common: "),
    (r"peer misbehaved: ", "the other side does not keep to TLS: "),
    (r"received corrupt message of type [A-Za-z0-9_]+", "what came is not TLS: is it the port of HTTPS?"),
    (r"keys may not be consistent: [A-Za-z0-9_]+", "certificate and key do not belong together"),
    (r"invalid certificate revocation list: [A-Za-z0-9_]+", "the revocation list cannot be used"),
    (r"peer sent no certificates", "the other side showed no certificate"),
    // PostgreSQL
    (r"Error occurred while creating a new object: ?", ""),
    (r"Timeout occurred while waiting for a slot to become available", "all connections are busy"),
    (r"Timeout occurred while (?:creating a new|recycling an) object", "the database did not answer in time"),
    (r"(?:db error: )+(?:db error: )*(?:ERROR|FATAL|PANIC): ", "the database says: "),
    (r"(?-u:\b)db error(?-u:\b)", "the database refused it"),
    (r"(?:error connecting to server: )+", "no connection: "),
    (r"error connecting to server", "no connection"),
    (r"error communicating with the server", "the connection broke"),
    (r"error performing TLS handshake", "the TLS handshake failed"),
    (r"invalid connection string", "the URL cannot be read"),
    // axum
    (
        r"Failed to deserialize the JSON body into the target type: (?:[^:` ]+: )?",
        "the request cannot be read: ",
    ),
    (r"Failed to parse the request body as JSON: (?:[^:` ]+: )?", "the request is not JSON: "),
    (r"Failed to deserialize query string: (?:[^:` ]+: )?", "the query cannot be read: "),
    (
        r"Expected request with `Content-Type: application/json`",
        "the request is not marked as JSON (Content-Type: application/json)",
    ),
    (r"Failed to buffer the request body: ", "the request broke off: "),
    // the standard library
    (r"invalid digit found in string", "expected a whole number"),
    (r"cannot parse integer from empty string", "expected a whole number"),
    (r"number too (large|small) to fit in target type", "the number is too $1"),
    // serde
    (
        r"data did not match any variant of untagged enum [A-Za-z0-9_]+",
        "a value is not of a kind that belongs there",
    ),
    (r"missing field `([^`]*)`", "$1 is missing"),
    (
        r"unknown field `([^`]*)`, expected (?:one of )?(.*?)(?P<end> at line|$)",
        "there is no $1 here, but $2$end",
    ),
    (r"unknown field `([^`]*)`", "there is no $1 here"),
    (r"unknown variant `([^`]*)`, expected (?:one of )?(.*?)(?P<end> at line|$)", "$1 is none of $2$end"),
    (r"duplicate field `([^`]*)`", "$1 is there twice"),
    (
        r#"invalid (?:type|value|length): (?:([A-Za-z0-9_]+(?: [A-Za-z0-9_]+)?) (?:`[^`]*`|"[^"]*")|([A-Za-z0-9_]+)), expected (.*?)(?P<end> at line|$)"#,
        "$1$2 where $3 belongs$end",
    ),
    (r"EOF while parsing an? [A-Za-z0-9_]+", "it ends too early"),
    (r"expected value", "there is no value"),
    (r"trailing characters", "more follows than belongs there"),
    (r" at line ([0-9]+),? column ([0-9]+)", " (line $1, column $2)"),
    // hyper and reqwest
    (r"error sending request for url \(([^)]*)\)", "cannot reach $1"),
    (r" \(os error [0-9]+\)", ""),
];

/// Whether any row takes something of a text: most texts are the program's own.
static ANY: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSet::new(WORDINGS.iter().map(|(pattern, _)| pattern)).ok());

static TABLE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    // Each pattern is a constant that a test compiles.
    WORDINGS.iter().filter_map(|(pattern, put)| Some((Regex::new(pattern).ok()?, *put))).collect()
});

/// A name such as `HandshakeFailure` after a colon, where rustls puts the names of its kinds.
static KIND: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(handshake: |accepted: |in common: |keep to TLS: )([A-Z][a-zA-Z0-9]+)").ok()
});

/// Types of Rust as they are called in JSON and YAML.
static TYPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"where (?:(?:an? )?(?:[iu](?:8|16|32|64|size)|integer)|(a borrowed string)|(a sequence|an array of length [0-9]+)|(a map|(?:internally tagged )?(?:struct|enum|variant identifier|field identifier)[ A-Za-z0-9_]*)) belongs").ok()
});

/// The text in words for operators.
pub(super) fn reworded(text: String) -> String {
    if !ANY.as_ref().is_some_and(|any| any.is_match(&text)) {
        return text;
    }
    let mut text = text;
    for (pattern, put) in TABLE.iter() {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, *put).into_owned();
        }
    }
    if let Some(kind) = KIND.as_ref().filter(|kind| kind.is_match(&text)) {
        text = kind
            .replace_all(&text, |found: &Captures<'_>| format!("{}{}", &found[1], split(&found[2])))
            .into_owned();
    }
    if let Some(kind) = TYPE.as_ref().filter(|kind| kind.is_match(&text)) {
        let word = |found: &Captures<'_>| {
            let what = match (found.get(1), found.get(2), found.get(3)) {
                (Some(_), ..) => "a text",
                (_, Some(_), _) => "a list",
                (.., Some(_)) => "an object",
                _ => "a number",
            };
            format!("where {what} belongs")
        };
        text = kind.replace_all(&text, word).into_owned();
    }
    text
}

/// `HandshakeFailure` as `handshake failure`.
fn split(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(TABLE.len(), WORDINGS.len());
        assert!(KIND.is_some() && TYPE.is_some() && ANY.is_some());
    }

    #[test]
    fn libraries_are_quoted_in_words() {
        for (said, told) in [
            (
                "invalid peer certificate: certificate not valid for name \"a.example\"; certificate is only valid for \
                 DnsName(\"localhost\") or IpAddress(127.0.0.1)",
                "the certificate is not valid for name \"a.example\"; it is for localhost or 127.0.0.1",
            ),
            (
                "invalid peer certificate: UnknownIssuer",
                "the certificate is not accepted: it was issued by an authority that is not trusted",
            ),
            (
                "invalid peer certificate: UnsupportedSignatureAlgorithmContext { signature_algorithm_id: [6, 9], supported_algorithms: [[1, 2]] }",
                "the certificate is signed with an algorithm that is not supported",
            ),
            (
                "invalid peer certificate: certificate expired: verification time 1793000000 (UNIX), but certificate is not valid \
                 after 1792990000 (10000 seconds ago)",
                "the certificate expired 10000 seconds ago",
            ),
            (
                "received fatal alert: CertificateRequired",
                "the other side ended the handshake: certificate required",
            ),
            (
                "cannot reach a working database: Error occurred while creating a new object: db error: db error: FATAL: password \
                 authentication failed for user \"airlock\"",
                "cannot reach a working database: the database says: password authentication failed for user \"airlock\"",
            ),
            (
                "Error occurred while creating a new object: db error: db error",
                "the database refused it: the database refused it",
            ),
            (
                "error connecting to server: Connection refused (os error 111)",
                "no connection: Connection refused",
            ),
            (
                "data did not match any variant of untagged enum Node at line 1 column 3",
                "a value is not of a kind that belongs there (line 1, column 3)",
            ),
            ("missing field `snap-id` at line 4 column 2", "snap-id is missing (line 4, column 2)"),
            (
                "invalid type: string \"x\", expected u32 at line 1 column 9",
                "string where a number belongs (line 1, column 9)",
            ),
            (
                "invalid type: map, expected a sequence at line 1 column 0",
                "map where a list belongs (line 1, column 0)",
            ),
            ("expected value at line 1 column 1", "there is no value (line 1, column 1)"),
            (
                "store AcmeStore: cannot reach https://a.example",
                "store AcmeStore: cannot reach https://a.example",
            ),
        ] {
            assert_eq!(reworded(said.to_owned()), told);
        }
    }
}
