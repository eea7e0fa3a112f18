//! The form that a proposed serial must have.

use regex::RegexBuilder;

/// Longest pattern in bytes.
const LONGEST: usize = 500;

/// A regular expression that a whole serial must match.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

/// The text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a regular expression of at most 500 characters, such as FG2-[0-9]{{6}}")]
pub struct PatternError;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it is too long, too costly, or no regular expression.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(PatternError);
        }
        let read = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
        // On its own first: `a)|(b` would make use of what is put around it.
        let whole = read(text).and_then(|_| read(&format!("^(?:{text})$")));
        whole.map(Self).map_err(|_| PatternError)
    }

    /// Whether a serial has this form.
    #[must_use]
    pub fn fits(&self, serial: &str) -> bool {
        self.0.is_match(serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_about_the_whole_serial() {
        let pattern = Pattern::new("FG2-[0-9]{3}|X").expect("a pattern");
        assert!(pattern.fits("FG2-123") && pattern.fits("X"));
        for other in ["FG2-1234", "aFG2-123", "FG2-12", "XY", "FG2-123\n"] {
            assert!(!pattern.fits(other), "{other:?}");
        }
        for bad in ["", "(", &"a".repeat(501), "((a{99}){99}){99}", "a)|(b"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }
}
