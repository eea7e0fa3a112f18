//! What somebody probably meant who wrote a word that does not exist.

/// The candidate that `word` is one typing error away from, or two if it is long. Upper and lower case count as the same, so a
/// word in other case has a candidate too.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let errors =
        |candidate: &'a str| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate);
    let best = candidates.into_iter().map(errors).min_by_key(|(errors, _)| *errors);
    best.filter(|(errors, _)| *errors <= (word.len() / 6).clamp(1, 2)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_recognised_and_other_words_are_not() {
        let risks = ["stable", "candidate", "beta", "edge"];
        for (word, meant) in
            [("stabel", "stable"), ("canditate", "candidate"), ("egde", "edge"), ("bta", "beta")]
        {
            assert_eq!(nearest(word, risks), Some(meant), "{word}");
        }
        assert_eq!(nearest("AcmeDevcies", ["AcmeStore", "AcmeDevices"]), Some("AcmeDevices"));
        assert_eq!(nearest("acmestore", ["AcmeStore", "AcmeDevices"]), Some("AcmeStore"));
        assert_eq!(nearest("AcmeBase", ["AcmeStore"]), None);
        for word in ["2.1", "latest", ""] {
            assert_eq!(nearest(word, risks), None, "{word}");
        }
    }
}
