//! Reading headers by rule: each method takes one header and says which rule it breaks.
//!
//! The same reader serves the headers of an assertion and the maps inside them; errors name the full path, as in
//! `snaps[2].name`.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::headers::{HeaderValue, Headers, Map};
use super::key::PublicKey;
use super::scalars;
use crate::digest::Sha3_384;

/// A header breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {header:?} {problem}")]
pub struct RuleError {
    /// Name of the header, with the path to an entry inside it.
    pub header: String,
    /// What is wrong, as the rest of a sentence.
    pub problem: Cow<'static, str>,
}

pub(super) type Result<T> = std::result::Result<T, RuleError>;

/// The headers of an assertion, or the entries of a map inside them.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    map: &'a Map,
    path: String,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a Headers) -> Self {
        Self { map: &headers.0, path: String::new() }
    }

    pub(super) fn error(&self, name: &str, problem: impl Into<Cow<'static, str>>) -> RuleError {
        RuleError { header: format!("{}{name}", self.path), problem: problem.into() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a HeaderValue> {
        self.map.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// Rejects a header that must be absent.
    pub(super) fn forbid(&self, name: &str, problem: &'static str) -> Result<()> {
        if self.has(name) { Err(self.error(name, problem)) } else { Ok(()) }
    }

    /// A text, if the header is there; it may be empty.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(HeaderValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a text")),
        }
    }

    /// A text that may be empty.
    pub(super) fn present(&self, name: &str) -> Result<&'a str> {
        self.optional(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// A text that is not empty.
    pub(super) fn required(&self, name: &str) -> Result<&'a str> {
        match self.present(name)? {
            "" => Err(self.error(name, "must not be empty")),
            text => Ok(text),
        }
    }

    /// A text of a form.
    pub(super) fn matching(
        &self,
        name: &str,
        form: fn(&str) -> bool,
        problem: &'static str,
    ) -> Result<&'a str> {
        let text = self.required(name)?;
        if form(text) { Ok(text) } else { Err(self.error(name, problem)) }
    }

    /// A text of a form, if the header is there.
    pub(super) fn optional_matching(
        &self,
        name: &str,
        form: fn(&str) -> bool,
        problem: &'static str,
    ) -> Result<Option<&'a str>> {
        self.has(name).then(|| self.matching(name, form, problem)).transpose()
    }

    pub(super) fn account_id(&self, name: &str) -> Result<&'a str> {
        self.matching(name, scalars::is_account_id, "must be an account id")
    }

    pub(super) fn snap_name(&self, name: &str) -> Result<&'a str> {
        self.matching(name, scalars::is_snap_name, "must be a snap name")
    }

    pub(super) fn model_name(&self, name: &str) -> Result<&'a str> {
        self.matching(name, scalars::is_model_name, "must be a model name in lower case")
    }

    /// One of the given words, if the header is there.
    pub(super) fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>> {
        match self.optional(name)? {
            Some(word) if !words.contains(&word) => {
                Err(self.error(name, format!("must be one of: {}", words.join(", "))))
            }
            word => Ok(word),
        }
    }

    /// `true` or `false`; absent means false.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.one_of(name, &["true", "false"])? == Some("true"))
    }

    pub(super) fn date(&self, name: &str) -> Result<OffsetDateTime> {
        scalars::date(self.required(name)?)
            .ok_or_else(|| self.error(name, "must be a date of RFC 3339 with a zone"))
    }

    pub(super) fn optional_date(&self, name: &str) -> Result<Option<OffsetDateTime>> {
        self.has(name).then(|| self.date(name)).transpose()
    }

    /// A signed number of at least `least`, if the header is there.
    pub(super) fn count(&self, name: &str, least: u32) -> Result<Option<u32>> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        let number = scalars::integer(text).ok_or_else(|| self.error(name, "must be an integer"))?;
        match u32::try_from(number) {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(self.error(name, format!("must be from {least} to {}", u32::MAX))),
        }
    }

    /// A number of at least 1.
    pub(super) fn ordinal(&self, name: &str) -> Result<u32> {
        self.count(name, 1)?.ok_or_else(|| self.error(name, "is missing"))
    }

    pub(super) fn unsigned(&self, name: &str) -> Result<u64> {
        scalars::unsigned(self.required(name)?).ok_or_else(|| self.error(name, "must be an unsigned integer"))
    }

    /// A SHA3-384 digest in base64url.
    pub(super) fn digest(&self, name: &str) -> Result<&'a str> {
        let text = self.required(name)?;
        match Sha3_384::from_base64url(text) {
            Ok(_) => Ok(text),
            Err(error) => Err(self.error(name, format!("is malformed: {error}"))),
        }
    }

    pub(super) fn public_key(&self, name: &str) -> Result<PublicKey> {
        PublicKey::decode(self.required(name)?)
            .map_err(|error| self.error(name, format!("is not a public key: {error}")))
    }

    /// The items of a list; `None` when the header is missing.
    pub(super) fn list(&self, name: &str) -> Result<Option<&'a [HeaderValue]>> {
        match self.get(name) {
            None => Ok(None),
            Some(HeaderValue::List(items)) => Ok(Some(items)),
            Some(_) => Err(self.error(name, "must be a list")),
        }
    }

    /// A list of texts of a form, empty when the header is missing.
    pub(super) fn texts(
        &self,
        name: &str,
        form: fn(&str) -> bool,
        problem: &'static str,
    ) -> Result<Vec<String>> {
        let items = self.list(name)?.unwrap_or_default();
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_text() {
                Some(text) if form(text) => texts.push(text.to_owned()),
                _ => return Err(self.error(&format!("{name}[{index}]"), problem)),
            }
        }
        Ok(texts)
    }

    pub(super) fn account_ids(&self, name: &str) -> Result<Vec<String>> {
        self.texts(name, scalars::is_account_id, "must be an account id")
    }

    /// A list of maps, empty when the header is missing.
    pub(super) fn maps(&self, name: &str) -> Result<Vec<Fields<'a>>> {
        let items = self.list(name)?.unwrap_or_default();
        let read = |(index, item): (usize, &'a HeaderValue)| match item {
            HeaderValue::Map(map) => Ok(Fields { map, path: format!("{}{name}[{index}].", self.path) }),
            _ => Err(self.error(&format!("{name}[{index}]"), "must be a map")),
        };
        items.iter().enumerate().map(read).collect()
    }

    /// A list of maps with at least one item.
    pub(super) fn required_maps(&self, name: &str) -> Result<Vec<Fields<'a>>> {
        match self.maps(name)? {
            maps if maps.is_empty() => Err(self.error(name, "is missing")),
            maps => Ok(maps),
        }
    }

    /// A map; `None` when the header is missing.
    pub(super) fn map(&self, name: &str) -> Result<Option<Fields<'a>>> {
        match self.get(name) {
            None => Ok(None),
            Some(HeaderValue::Map(map)) => Ok(Some(Fields { map, path: format!("{}{name}.", self.path) })),
            Some(_) => Err(self.error(name, "must be a map")),
        }
    }
}

/// For lists whose items may be any text.
pub(super) fn any_text(_: &str) -> bool {
    true
}
