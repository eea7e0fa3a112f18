//! Constraints of account-keys: patterns that an assertion must match to be signed with the key.
//!
//! ```text
//! constraints:
//!   -
//!     headers:
//!       type: model
//!       model: edge-.*
//! ```
//!
//! One item of the list must match. A text is a regular expression for the whole value, a list gives alternatives,
//! and `$MISSING` requires that the header is absent. A pattern applies to every item of a list. Patterns are ASCII:
//! character classes and case folding do not follow Unicode. See `schema/docs/assertions.md#key-constraints`.

use regex::bytes::{Regex, RegexBuilder};

use super::fields::{Fields, RuleError};
use super::headers::{HeaderValue, Headers};
use super::kind::AssertionType;

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 512;

/// Most patterns of one key.
const MAX_PATTERNS: usize = 64;

/// Memory that one compiled pattern may take, in bytes.
const MAX_COMPILED: usize = 64 << 10;

/// The alternatives of a key, at least one.
#[derive(Debug, Clone)]
pub struct Constraints(Vec<Alternative>);

#[derive(Debug, Clone)]
struct Alternative {
    kind: String,
    headers: Vec<(String, Matcher)>,
}

#[derive(Debug, Clone)]
enum Matcher {
    Missing,
    Pattern(Regex),
    Entries(Vec<(String, Matcher)>),
    AnyOf(Vec<Matcher>),
}

impl Constraints {
    /// Reads the `constraints` header of an account-key, if it has one.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Self>, RuleError> {
        if !fields.has("constraints") {
            return Ok(None);
        }
        let mut budget = MAX_PATTERNS;
        let mut alternatives = Vec::new();
        for item in fields.required_maps("constraints")? {
            let headers = item.map("headers")?.ok_or_else(|| item.error("headers", "is missing"))?;
            let kind = headers.required("type")?.to_owned();
            if regex::escape(&kind).replace("\\-", "-") != kind {
                return Err(headers.error("type", "must not be a pattern"));
            }
            let mut matchers = Vec::new();
            for name in headers.names().filter(|&name| name != "type") {
                if let Some(value) = headers.get(name) {
                    let matcher =
                        Matcher::read(value, &mut budget).map_err(|problem| headers.error(name, problem))?;
                    matchers.push((name.to_owned(), matcher));
                }
            }
            alternatives.push(Alternative { kind, headers: matchers });
        }
        Ok(Some(Self(alternatives)))
    }

    /// Whether an assertion of this type with these headers may be signed.
    #[must_use]
    pub fn allow(&self, kind: AssertionType, headers: &Headers) -> bool {
        self.0.iter().any(|alternative| {
            alternative.kind == kind.name()
                && alternative.headers.iter().all(|(name, matcher)| matcher.matches(headers.get(name)))
        })
    }
}

impl Matcher {
    fn read(value: &HeaderValue, budget: &mut usize) -> Result<Self, &'static str> {
        *budget = budget.checked_sub(1).ok_or("has too many patterns")?;
        Ok(match value {
            HeaderValue::Text(text) if text == "$MISSING" => Self::Missing,
            HeaderValue::Text(text) if text.starts_with('$') => {
                return Err("uses an unknown $ word");
            }
            HeaderValue::Text(text) if text.len() > MAX_PATTERN => {
                return Err("has a pattern that is too long");
            }
            HeaderValue::Text(text) => Self::Pattern(
                RegexBuilder::new(&format!("^(?:{text})$"))
                    .unicode(false)
                    .size_limit(MAX_COMPILED)
                    .nest_limit(32)
                    .build()
                    .map_err(|_| "has a pattern that is malformed or too large")?,
            ),
            HeaderValue::List(items) => {
                Self::AnyOf(items.iter().map(|item| Self::read(item, budget)).collect::<Result<_, _>>()?)
            }
            HeaderValue::Map(entries) => {
                let entry = |(name, value): (&String, _)| {
                    Self::read(value, budget).map(|entry| (name.clone(), entry))
                };
                Self::Entries(entries.iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }

    fn matches(&self, value: Option<&HeaderValue>) -> bool {
        match (self, value) {
            (Self::Missing, value) => value.is_none(),
            (Self::AnyOf(matchers), None) => matchers.iter().any(|matcher| matcher.matches(None)),
            (_, None) => false,
            (matcher, Some(HeaderValue::List(items))) => items.iter().all(|item| matcher.matches(Some(item))),
            (Self::Pattern(regex), Some(HeaderValue::Text(text))) => regex.is_match(text.as_bytes()),
            (Self::Pattern(_), Some(HeaderValue::Map(_))) => false,
            (Self::Entries(matchers), Some(HeaderValue::Map(entries))) => {
                matchers.iter().all(|(name, matcher)| matcher.matches(entries.get(name)))
            }
            (Self::Entries(_), Some(HeaderValue::Text(_))) => false,
            (Self::AnyOf(matchers), Some(value)) => {
                matchers.iter().any(|matcher| matcher.matches(Some(value)))
            }
        }
    }
}
