//! How values look on a page. Names, serials, summaries and versions come from devices and media, so no value reaches a page but
//! through [`Plain`].

use std::fmt::{self, Write};

use schema::store::DeviceId;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::form_urlencoded;

use super::texts::Texts;

/// Most characters of one value.
pub(super) const LONGEST: usize = 2000;

/// Escapes markup, writes control characters and directions as their numbers, and cuts what is too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl askama::filters::Escaper for Plain {
    fn write_escaped_str<W: Write>(&self, mut out: W, text: &str) -> fmt::Result {
        let mut chars = text.chars();
        for c in chars.by_ref().take(LONGEST) {
            match c {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                '\n' => out.write_char(c)?,
                c if c.is_control() || is_invisible(c) => write!(out, "{}", c.escape_unicode())?,
                c => out.write_char(c)?,
            }
        }
        if chars.next().is_some() { out.write_char('…') } else { Ok(()) }
    }
}

/// Whether a character changes the order of others, or joins and hides them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A moment, RFC 3339 in UTC; `None` for what is none.
pub(super) fn moment(at: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(at, &Rfc3339).ok()
}

/// How long ago, or how far ahead, a moment is.
pub(super) fn distance(t: &Texts, at: &str, now: OffsetDateTime) -> String {
    let Some(at) = moment(at) else { return t.unknown.to_owned() };
    let seconds = (now - at).whole_seconds();
    let (number, unit) = match seconds.unsigned_abs() {
        0..60 => return t.just_now.to_owned(),
        away @ 60..7200 => (away / 60, t.minutes),
        away @ 7200..172_800 => (away / 3600, t.hours),
        away => (away / 86400, t.days),
    };
    match seconds > 0 {
        true => t.ago.replacen("{}", &format!("{number} {unit}"), 1),
        false => t.ahead.replacen("{}", &format!("{number} {unit}"), 1),
    }
}

/// Bytes in the largest unit that leaves a number of at least one.
pub(super) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A number with its thousands apart.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let apart = |(at, digit): (usize, char)| {
        let gap = (at > 0 && (digits.len() - at).is_multiple_of(3)).then_some('\u{a0}');
        gap.into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(apart).collect()
}

/// A part of a whole in percent, 0 to 100.
pub(super) fn percent(part: usize, whole: usize) -> usize {
    (part * 100).checked_div(whole).unwrap_or(0).min(100)
}

/// The query of a link; what is empty is left out.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    query.finish()
}

/// A part of a bar.
pub(super) struct Bar {
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// How many.
    pub(super) count: usize,
    /// What they are.
    pub(super) text: &'static str,
}

/// Devices as a bar, one part after the other from the left. The numbers are in the table beside it.
pub(super) fn bar(whole: usize, parts: &[Bar]) -> String {
    let told = |part: &Bar| format!("{} {}", part.count, part.text);
    let mut label: Vec<String> = parts.iter().filter(|part| part.count > 0).map(told).collect();
    if label.is_empty() {
        label.extend(parts.first().map(told));
    }
    let mut bar = format!(
        r#"<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}"><rect class="rest" width="100" height="8"/>"#,
        label.join(", ")
    );
    let mut from = 0;
    for part in parts {
        let width = percent(part.count, whole).max(usize::from(part.count > 0)).min(100 - from);
        let _ = write!(bar, r#"<rect class="{}" x="{from}" width="{width}" height="8"/>"#, part.class);
        from += width;
    }
    bar + "</svg>"
}

/// Where a device's page is.
pub(super) fn device_page(device: &DeviceId) -> String {
    format!("/pages/device?{}", query([("device", &*device.to_string())]))
}

#[cfg(test)]
mod tests {
    use askama::filters::Escaper as _;

    use super::super::texts::ENGLISH;
    use super::*;

    fn plain(text: &str) -> String {
        let mut out = String::new();
        Plain.write_escaped_str(&mut out, text).unwrap();
        out
    }

    #[test]
    fn no_text_has_an_effect() {
        assert_eq!(
            plain("<script>alert('x' & \"y\")</script>"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;"
        );
        assert_eq!(plain("SN\u{202e}1000\u{200b}\u{1b}[2J\0"), "SN\\u{202e}1000\\u{200b}\\u{1b}[2J\\u{0}");
        assert_eq!(plain("ünïcode ﻿"), "ünïcode \\u{feff}");
        let long = plain(&"x".repeat(10_240));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = moment("2026-11-29T12:00:00Z").unwrap();
        for (at, told) in [
            ("2026-11-29T11:59:30Z", "just now"),
            ("2026-11-29T11:30:00Z", "30 min ago"),
            ("2026-11-29T02:00:00Z", "10 h ago"),
            ("2026-11-20T12:00:00Z", "9 days ago"),
            ("2026-12-29T12:00:00Z", "in 30 days"),
            ("", "unknown"),
        ] {
            assert_eq!(distance(&ENGLISH, at, now), told);
        }
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([number(7), number(1234), number(100_000)], ["7", "1\u{a0}234", "100\u{a0}000"]);
        assert_eq!([bytes(999), bytes(1500), bytes(4_700_000_000)], ["999 B", "1.5 kB", "4.7 GB"]);
        assert_eq!([percent(1, 3), percent(0, 0), percent(5, 4)], [33, 0, 100]);
    }
}
