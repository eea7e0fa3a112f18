//! What somebody probably meant who wrote a word that does not exist.

/// The candidate that is most like `word`, if one is.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |candidate: &'a str| (strsim::jaro_winkler(word, candidate), candidate);
    let best = candidates.into_iter().map(like).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness > 0.85).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_recognised_and_other_words_are_not() {
        let risks = ["stable", "candidate", "beta", "edge"];
        for (word, meant) in [("stabel", "stable"), ("canditate", "candidate"), ("egde", "edge"), ("bta", "beta")] {
            assert_eq!(nearest(word, risks), Some(meant), "{word}");
        }
        for word in ["2.1", "latest", ""] {
            assert_eq!(nearest(word, risks), None, "{word}");
        }
    }
}
