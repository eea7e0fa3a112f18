//! Certificates for further names of the store, beside the one of `proxy.domain`: what `proxy.tls.further` holds.
//!
//! The text is PEM: each pair is its chain and then its key, one pair after the other.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::blocks::Source;
use super::error::ImportError;
use super::pair::{Pair, PairError};

/// The setting.
const SETTING: &str = "proxy.tls.further";

/// The pairs of the setting, in its order.
///
/// # Errors
/// Which part of the text is not a chain with its key.
pub fn parse(pem: &str) -> Result<Vec<Pair>, PairError> {
    let mut pairs = Vec::new();
    let mut part = Zeroizing::new(String::new());
    for line in pem.split_inclusive('\n') {
        part.push_str(line);
        if line.starts_with("-----END ") && line.trim_end().ends_with("PRIVATE KEY-----") {
            pairs.push(pair(&part)?);
            part.clear();
        }
    }
    match part.trim().is_empty() {
        true => Ok(pairs),
        false => Err(PairError::Further(ImportError::NoKey(Vec::new()))),
    }
}

fn pair(text: &str) -> Result<Pair, PairError> {
    Pair::unjudged(&[Source { name: SETTING, bytes: text.as_bytes() }]).map_err(PairError::Further)
}

/// Why no client would ever be shown a pair: clients ask for a DNS name, and get the store's own certificate for those that
/// it covers. `None` if some are.
#[must_use]
pub fn never_shown(own: &Pair, new: &Pair) -> Option<&'static str> {
    let is_address = |name: &&String| name.parse::<IpAddr>().is_ok();
    let mut names = new.names().iter().filter(|name| !is_address(name)).peekable();
    if names.peek().is_none() {
        return Some("it covers no DNS name, and a client that connects to an address asks for none");
    }
    names
        .all(|name| own.covers(&name.replacen('*', "any", 1)))
        .then_some("the store's own certificate covers all its names, and comes first")
}

/// The setting's text with one more pair, which takes the place of one for the same names.
#[must_use]
pub fn with(held: Vec<Pair>, new: &Pair) -> Zeroizing<String> {
    let names = |pair: &Pair| {
        let mut names: Vec<String> = pair.names().iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let kept = held.iter().filter(|pair| names(pair) != names(new));
    text(kept.chain([new]))
}

/// The setting's text without the pairs for a name, and those; a pair without names goes by its subject. `None` if there
/// is none.
#[must_use]
pub fn without<'p>(held: &'p [Pair], name: &str) -> Option<(Zeroizing<String>, Vec<&'p Pair>)> {
    let is_meant = |pair: &&Pair| match pair.names() {
        [] => pair.subject().eq_ignore_ascii_case(name),
        names => names.iter().any(|one| one.eq_ignore_ascii_case(name)),
    };
    let (gone, kept): (Vec<&Pair>, Vec<&Pair>) = held.iter().partition(is_meant);
    (!gone.is_empty()).then(|| (text(kept), gone))
}

fn text<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    for pair in pairs {
        text.push_str(&pair.cert_pem());
        text.push_str(&pair.key_pem());
    }
    text
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::tls::{Stamp, self_signed};

    fn of(name: &str, serial: u8) -> Pair {
        let stamp = Stamp { now: OffsetDateTime::UNIX_EPOCH, serial: [serial; 16] };
        self_signed(name, 20_000, stamp).expect("a pair")
    }

    #[test]
    fn pairs_are_added_replaced_and_removed_by_name() {
        let (old, ship) = (of("old.test", 1), of("ship.test", 2));
        let text = with(Vec::new(), &old);
        let text = with(parse(&text).expect("one pair"), &ship);
        let both = parse(&text).expect("two pairs");
        assert_eq!(both.iter().map(Pair::names).collect::<Vec<_>>(), [["old.test"], ["ship.test"]]);

        let renewed = of("old.test", 3);
        let text = with(parse(&text).expect("two pairs"), &renewed);
        let both = parse(&text).expect("two pairs");
        assert_eq!(both.iter().map(Pair::names).collect::<Vec<_>>(), [["ship.test"], ["old.test"]]);
        assert_eq!(both[1].chain(), renewed.chain());

        assert!(without(&both, "other.test").is_none());
        let (text, gone) = without(&both, "OLD.test").expect("it was there");
        assert_eq!(gone.iter().map(|pair| pair.names()).collect::<Vec<_>>(), [["old.test"]]);
        assert_eq!(parse(&text).expect("one pair")[0].names(), ["ship.test"]);
        assert_eq!(without(&parse(&text).expect("one pair"), "ship.test").expect("the last").0.as_str(), "");
        assert!(parse("").expect("nothing").is_empty());
    }

    #[test]
    fn what_no_client_would_be_shown_is_told() {
        let own = of("own.test", 1);
        for (name, why) in [("10.0.0.7", "no DNS name"), ("OWN.test", "covers all its names")] {
            assert!(never_shown(&own, &of(name, 2)).is_some_and(|said| said.contains(why)), "{name}");
        }
        assert_eq!(never_shown(&own, &of("old.test", 2)), None);
        let text = with(vec![of("old.test", 1)], &of("OLD.test", 2));
        assert_eq!(parse(&text).expect("one pair").len(), 1, "names are the same in any case");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let (one, other) = (of("one.test", 1), of("other.test", 2));
        let refused = |text: String| parse(&text).expect_err("no pair").to_string();
        assert!(refused(one.cert_pem()).starts_with("proxy.tls.further cannot be used: "));
        let crossed = refused(one.cert_pem() + &other.key_pem());
        assert!(crossed.contains("does not belong to"), "{crossed}");
    }
}
