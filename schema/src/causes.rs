//! An error in one line, for logs, answers and terminals alike.

mod words;

use std::error::Error;

/// The error with its causes in one line, in words for operators; a cause that the text quotes already is not said twice.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    words::reworded(text)
}

/// A text that quotes a library, in words for operators.
#[must_use]
pub fn in_words(text: impl std::fmt::Display) -> String {
    words::reworded(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    #[test]
    fn causes_are_said_once() {
        let inner = || std::io::Error::other("no such file");
        assert_eq!(one_line(&Outer("cannot read x", inner())), "cannot read x: no such file");
        assert_eq!(one_line(&Outer("cannot read x: no such file", inner())), "cannot read x: no such file");
        assert_eq!(one_line(&Outer("no such file: x", inner())), "no such file: x");
    }
}
