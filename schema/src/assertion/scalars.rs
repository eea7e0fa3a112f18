//! Numbers, dates and name patterns in headers.
//!
//! All values are text; these functions decide which text is a number, a date or a name. They follow the reference
//! client where Rust's own parsers are looser or stricter. See `schema/docs/assertions.md#values`.

use time::{Date, Month, OffsetDateTime, Time};

/// A signed decimal number: optional sign, digits, no leading zero. Like the reference client, this accepts a zero
/// after a sign.
pub(super) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (is_plain_number(digits) && (!text.starts_with('0') || text.len() == 1)).then(|| text.parse().ok())?
}

/// An unsigned decimal number: digits only, no sign, no leading zero.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    (is_plain_number(text) && (!text.starts_with('0') || text.len() == 1)).then(|| text.parse().ok())?
}

fn is_plain_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An RFC 3339 date with upper case `T` and `Z`, as a UTC moment.
///
/// Accepts fractions of any length (truncated to nanoseconds) and, like the reference client, one-digit hours and a
/// comma before the fraction. There is no leap second and no hour 24. An offset reaches up to 24 hours and 60
/// minutes; devices built with a Go before 1.20 accept more. Moments after the year 9999, which only an offset can
/// produce, are clamped to its end.
pub(super) fn date(text: &str) -> Option<OffsetDateTime> {
    let mut cursor = Cursor(text.as_bytes());
    let year = cursor.number(4)?;
    cursor.expect(b'-')?;
    let month = Month::try_from(u8::try_from(cursor.number(2)?).ok()?).ok()?;
    cursor.expect(b'-')?;
    let day = u8::try_from(cursor.number(2)?).ok()?;
    cursor.expect(b'T')?;
    let hour = cursor.number(2).or_else(|| cursor.number(1))?;
    cursor.expect(b':')?;
    let minute = cursor.number(2)?;
    cursor.expect(b':')?;
    let second = cursor.number(2)?;
    let nanosecond =
        if cursor.expect(b'.').or_else(|| cursor.expect(b',')).is_some() { cursor.fraction()? } else { 0 };
    let offset = cursor.offset()?;
    if !cursor.0.is_empty() {
        return None;
    }
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    let small = |value: u32| u8::try_from(value).ok();
    let time = Time::from_hms_nano(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()?;
    Some(OffsetDateTime::new_utc(date, time).saturating_sub(time::Duration::seconds(offset)))
}

/// The unread rest of a date.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// Exactly `digits` digits; takes nothing when there are fewer.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let value = head
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))?;
        self.0 = rest;
        Some(value)
    }

    /// One or more digits after the decimal separator, in nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (head, rest) = self.0.split_at(digits);
        self.0 = rest;
        let padded = head.iter().copied().chain(std::iter::repeat(b'0'));
        (digits > 0).then(|| padded.take(9).fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0')))
    }

    /// `Z` or `±hh:mm`, in seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.expect(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.expect(b'+').is_some() {
            1
        } else {
            self.expect(b'-')?;
            -1
        };
        let hours = self.number(2)?;
        self.expect(b':')?;
        let minutes = self.number(2)?;
        (hours <= 24 && minutes <= 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
    }
}

/// One `first`, then `rest` with single dashes between, none at the end.
pub(super) fn is_dashed(text: &str, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let mut previous = b'-';
    for (index, byte) in text.bytes().enumerate() {
        let allowed = if index == 0 { first(byte) } else { rest(byte) || (byte == b'-' && previous != b'-') };
        if !allowed {
            return false;
        }
        previous = byte;
    }
    previous != b'-'
}

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// 32 letters and digits, or 2 to 28 lower case letters, digits and dashes.
pub fn is_account_id(text: &str) -> bool {
    is_snap_id(text)
        || ((2..=28).contains(&text.len())
            && text.bytes().all(|byte| is_lower_or_digit(byte) || byte == b'-'))
}

/// Lower case words of letters and digits joined by single dashes, with at least one letter.
pub fn is_key_name(text: &str) -> bool {
    is_dashed(text, is_lower_or_digit, is_lower_or_digit)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Words of letters and digits joined by single dashes: application names, provenances.
pub(super) fn is_words(text: &str) -> bool {
    is_dashed(text, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric())
}

/// The name of a model: lower case words joined by single dashes.
pub fn is_model_name(text: &str) -> bool {
    is_dashed(text, is_lower_or_digit, is_lower_or_digit)
}

/// The permanent id of a snap: 32 letters and digits.
pub(super) fn is_snap_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The name of a snap or component.
pub(super) fn is_snap_name(text: &str) -> bool {
    (2..=40).contains(&text.len()) && is_key_name(text)
}

/// An alias of an application.
pub(super) fn is_alias(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The id of a store.
pub(super) fn is_store_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A serial that can be part of a device id: letters and digits, single `:`, `+` or `-` between.
pub fn is_strict_serial(text: &str) -> bool {
    let mut after_separator = true;
    for byte in text.bytes() {
        let separator = b":+-".contains(&byte);
        if (separator && after_separator) || !(separator || byte.is_ascii_alphanumeric()) {
            return false;
        }
        after_separator = separator;
    }
    !after_separator
}

/// `serial.model.brand-id`.
pub(super) fn is_device_id(text: &str) -> bool {
    let mut parts = text.rsplitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(brand), Some(model), Some(serial)) => {
            is_account_id(brand) && is_words(model) && is_strict_serial(serial)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
