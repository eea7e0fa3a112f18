//! The decoder: one strict reading of bytes as assertions, for files, streams and requests.
//!
//! The reference client has two decoders that disagree about where body and signature begin. Here the head ends at
//! the first blank line, the body has exactly `body-length` bytes, and the signature ends at the next blank line or
//! at the end of the input. See `schema/docs/assertions.md#layout`.

use super::decode_error::{DecodeError, DecodeReason};
use super::details::{self, Draft};
use super::fields::Fields;
use super::headers::Headers;
use super::kind::AssertionType;
use super::reference::Ref;
use super::{Assertion, scalars};
use crate::looks;

/// Longest head, in bytes.
pub const MAX_HEAD: usize = 128 << 10;

/// Longest body, in bytes.
pub const MAX_BODY: usize = 2 << 20;

/// Longest value of a primary key header, in bytes. The reference client has no limit; this one keeps addresses short
/// enough for database indexes and logs.
pub const MAX_KEY_VALUE: usize = 1024;

/// Longest signature, in bytes.
pub const MAX_SIGNATURE: usize = 128 << 10;

pub(super) fn single(bytes: &[u8]) -> Result<Assertion, DecodeError> {
    let mut input = Input { bytes, pos: 0, index: 0 };
    match input.next()? {
        None => Err(DecodeError {
            index: 0,
            offset: 0,
            what: "assertion".to_owned(),
            reason: DecodeReason::Empty,
        }),
        Some(assertion) if input.pos == bytes.len() => Ok(assertion),
        Some(assertion) => Err(DecodeError {
            index: 0,
            offset: 0,
            what: assertion.reference.to_string(),
            reason: DecodeReason::Trailing,
        }),
    }
}

pub(super) fn stream(bytes: &[u8]) -> Result<Vec<Assertion>, DecodeError> {
    let mut input = Input { bytes, pos: 0, index: 0 };
    let mut assertions = Vec::new();
    while let Some(assertion) = input.next()? {
        assertions.push(assertion);
    }
    Ok(assertions)
}

struct Input<'a> {
    bytes: &'a [u8],
    pos: usize,
    index: usize,
}

impl Input<'_> {
    fn next(&mut self) -> Result<Option<Assertion>, DecodeError> {
        if self.pos == self.bytes.len() {
            return Ok(None);
        }
        let mut what = String::from("assertion");
        let rest = &self.bytes[self.pos..];
        let (assertion, length) = read(rest, &mut what).map_err(|reason| DecodeError {
            index: self.index,
            offset: self.pos,
            what,
            reason: cause(rest).unwrap_or(reason),
        })?;
        self.pos += length;
        self.index += 1;
        Ok(Some(assertion))
    }
}

/// The cause if the whole text is something else; otherwise the error stays where reading stopped.
fn cause(input: &[u8]) -> Option<DecodeReason> {
    let first_line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if input.starts_with(b"\xef\xbb\xbf") && looks::like(input) == looks::like(b"type:") {
        Some(DecodeReason::Mark)
    } else if first_line.ends_with(b"\r") && input.trim_ascii_start().starts_with(b"type:") {
        Some(DecodeReason::LineEnds)
    } else {
        looks::like(input).filter(|what| Some(*what) != looks::like(b"type:")).map(DecodeReason::Looks)
    }
}

/// Reads the assertion at the start of `input` and returns its length. `what` gets the best known name.
fn read(input: &[u8], what: &mut String) -> Result<(Assertion, usize), DecodeReason> {
    let head_end = find_blank(input, MAX_HEAD).ok_or(DecodeReason::Head)?;
    let headers = Headers::parse(utf8("head", &input[..head_end])?)?;
    if let Some(kind) = headers.text("type") {
        *what = kind.chars().take(64).flat_map(char::escape_debug).collect();
    }

    let length = body_length(&headers)?;
    let after_head = &input[head_end + 2..];
    let (content, body) = if length > 0 {
        let body = head_end + 2..head_end + 2 + length;
        if input.get(body.end..body.end + 2) != Some(b"\n\n") {
            return Err(DecodeReason::BodyLength);
        }
        (body.end, body)
    } else {
        // An empty body may still have its separator, which is then signed.
        let end = if after_head.starts_with(b"\n\n") { head_end + 2 } else { head_end };
        (end, end..end)
    };
    utf8("body", &input[body.clone()])?;

    let signature = &input[content + 2..];
    let (signature_end, next) = match find_blank(signature, MAX_SIGNATURE) {
        Some(end) => (end, end + 2),
        None => (signature.strip_suffix(b"\n").unwrap_or(signature).len(), signature.len()),
    };
    if signature_end > MAX_SIGNATURE {
        return Err(DecodeReason::SignatureTooLong);
    }
    if signature_end == 0 || signature[0] == b'\n' {
        return Err(DecodeReason::NoSignature);
    }
    utf8("signature", &signature[..signature_end])?;

    let bytes = [&input[..content + 2 + signature_end], b"\n"].concat();
    let assertion = assemble(bytes.into(), content, body, headers, what)?;
    Ok((assertion, content + 2 + next))
}

fn utf8<'a>(part: &'static str, bytes: &'a [u8]) -> Result<&'a str, DecodeReason> {
    std::str::from_utf8(bytes).map_err(|source| DecodeReason::NotUtf8 { part, source })
}

/// Where the first blank line begins (its two line feeds), at most `limit` bytes in.
fn find_blank(input: &[u8], limit: usize) -> Option<usize> {
    input[..input.len().min(limit + 2)].windows(2).position(|pair| pair == b"\n\n")
}

fn body_length(headers: &Headers) -> Result<usize, DecodeReason> {
    let Some(length) = Fields::of(headers).optional("body-length")? else {
        return Ok(0);
    };
    match scalars::integer(length).map(usize::try_from) {
        Some(Ok(length)) if length <= MAX_BODY => Ok(length),
        Some(Ok(_)) => Err(DecodeReason::BodyTooLong),
        _ => Err(DecodeReason::BodyLength),
    }
}

/// The rules that hold for all types, then those of the type.
fn assemble(
    bytes: Box<[u8]>,
    content: usize,
    body: std::ops::Range<usize>,
    mut headers: Headers,
    what: &mut String,
) -> Result<Assertion, DecodeReason> {
    let fields = Fields::of(&headers);
    fields.digest("sign-key-sha3-384")?;
    let kind: AssertionType = fields.required("type")?.parse()?;
    if kind.has_authority() {
        fields.required("authority-id")?;
    } else {
        fields.forbid("authority-id", "must not be there: this type has no authority")?;
    }
    let format = fields.count("format", 0)?.unwrap_or(0);

    let (names, defaults) = (kind.primary_key(), kind.key_defaults());
    for (name, default) in names.iter().rev().zip(defaults.iter().rev()) {
        headers.0.entry((*name).to_owned()).or_insert_with(|| (*default).into());
    }
    let fields = Fields::of(&headers);
    let mut key = Vec::with_capacity(names.len());
    for name in names {
        let value = fields.required(name)?;
        if value.contains('/') {
            return Err(fields.error(name, "must not contain a slash").into());
        }
        if value.len() > MAX_KEY_VALUE {
            return Err(fields.error(name, "is too long for a primary key").into());
        }
        key.push(value.to_owned());
    }
    let reference = Ref { kind, key };
    *what = reference.to_string();
    let revision = fields.count("revision", 0)?.unwrap_or(0);

    let draft = Draft { kind, format, fields, body: utf8("body", &bytes[body.clone()])? };
    let details = details::read(&draft)?;
    Ok(Assertion { bytes, content, body, headers, reference, revision, format, details })
}
