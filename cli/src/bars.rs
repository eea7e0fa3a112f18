//! How progress is drawn: with block characters where the terminal can show them.

use indicatif::ProgressStyle;

/// The style of a bar, as its template says.
pub(crate) fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    #[expect(clippy::disallowed_methods, reason = "the locale is the terminal's, not the command's")]
    let set = |name: &str| std::env::var(name).ok();
    if shows_blocks(set) { style } else { style.progress_chars("=> ") }
}

/// Whether the terminal shows more than ASCII, by the first of the usual variables that is set.
fn shows_blocks(set: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(set).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::shows_blocks;

    #[test]
    fn blocks_are_drawn_in_a_locale_that_has_them() {
        let shows = |variables: &[(&str, &str)]| {
            shows_blocks(|name| {
                variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(shows(&[("LANG", "en_GB.UTF-8")]) && shows(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(
            !shows(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")])
                && !shows(&[])
                && !shows(&[("LANG", "POSIX")])
        );
    }
}
