//! Batches: any order, all or nothing, revisions and formats, hostile chains.

use std::sync::Arc;

use super::fixtures::*;
use super::*;

#[test]
fn a_batch_is_all_or_nothing_and_revokes_at_once() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let good = sign(serial("good"), BRAND);
    let bad = forge(serial("bad"), "acme-corp", signing_key(BRAND.1).public().id());
    assert_eq!(check_batch(vec![good.clone()], &checker).expect("signed").verified.len(), 1);
    for batch in [vec![good.clone(), bad.clone()], vec![bad, good.clone()]] {
        assert_eq!(check_batch(batch, &checker).expect_err("one is forged").stage(), Stage::Signature);
    }

    let key = signing_key(BRAND.1);
    let revoking =
        account_key("acme-corp", "serials", key.public()).revision(1).header("until", "2020-01-01T00:00:00Z");
    let revoking = sign(revoking, STORE);
    for batch in [vec![good.clone(), revoking.clone()], vec![revoking.clone(), good.clone()]] {
        let error = check_batch(batch, &checker).expect_err("the key is revoked in the same batch");
        assert_eq!((error.stage(), error.cause.reference), (Stage::KeyTime, good.reference()));
    }
    assert_eq!(check_batch(vec![revoking], &checker).expect("signed").verified.len(), 1);
}

#[test]
fn two_texts_of_one_revision_are_reported_and_the_first_stays() {
    let (anchors, mut known) = world();
    let one = sign(serial("twice"), BRAND);
    let two = sign(serial("twice").header("extra", "x"), BRAND);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let ways = [vec![one.clone(), two.clone()], vec![two.clone(), one.clone()]];
    let outcomes = ways.map(|batch| check_batch(batch, &checker).expect("both are signed"));
    for outcome in &outcomes {
        assert_eq!(outcome.verified, outcomes[0].verified, "the order of the batch does not matter");
        assert_eq!((outcome.verified.len(), &outcome.conflicts[..]), (1, &[one.reference()][..]));
    }
    known.add(&check_batch(vec![two.clone()], &checker).expect("signed").verified);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let outcome = check_batch(vec![one.clone(), two.clone()], &checker).expect("nothing to do");
    assert!(outcome.verified.is_empty());
    assert_eq!((outcome.already_held, outcome.conflicts), (vec![two.reference()], vec![one.reference()]));
}

#[test]
fn what_is_held_is_no_cover_for_what_was_altered() {
    let (anchors, mut known) = world();
    let held = sign(serial("held").revision(2), BRAND);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let verified = check_batch(vec![held.clone()], &checker).expect("signed").verified;
    known.add(&verified);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let altered = |of: &Assertion| {
        let text = std::str::from_utf8(of.bytes()).expect("text");
        let (document, signature) = text.rsplit_once("\n\n").expect("a signature");
        let cut = format!("{document}\n\n{}", &signature[..signature.len() / 2]);
        let text = text.replacen("timestamp: 20", "timestamp: 21", 1);
        [cut, text].map(|text| Assertion::decode(text.as_bytes()).expect("it can still be read"))
    };
    let older = sign(serial("held").revision(1), BRAND);
    for bad in [&held, &older].into_iter().flat_map(altered) {
        let error = check_batch(vec![bad], &checker).expect_err("nobody signed it");
        assert_eq!((error.stage(), error.cause.reference), (Stage::Signature, held.reference()));
    }
    // The document itself, and an older one that is good.
    let outcome = check_batch(vec![held.clone(), older], &checker).expect("signed");
    assert_eq!((outcome.verified.len(), outcome.already_held), (0, vec![held.reference()]));
}

#[test]
fn lower_formats_stay_beside_newer_ones() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let formats: Vec<_> =
        (1..=7).map(|n| decode(&format!("snaps/format-{n}.snap-declaration.assert"))).collect();
    let reference = formats[0].reference();
    let outcome = check_batch(formats.iter().rev().cloned().collect(), &checker).expect("all are signed");
    assert_eq!(outcome.verified.iter().map(|kept| kept.format()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);

    // A source that keeps one assertion for each format.
    struct Formats(Vec<Arc<Assertion>>, Known);
    impl AssertionSource for Formats {
        fn find(&self, reference: &Ref) -> Option<Arc<Assertion>> {
            self.find_format(reference, u32::MAX)
        }
        fn find_format(&self, reference: &Ref, max_format: u32) -> Option<Arc<Assertion>> {
            let fits = |kept: &&Arc<Assertion>| kept.reference() == *reference && kept.format() <= max_format;
            let kept = self.0.iter().filter(fits).max_by_key(|kept| kept.revision()).cloned();
            kept.or_else(|| self.1.find_format(reference, max_format))
        }
        fn keys_of(&self, account_id: &str) -> Vec<Arc<Assertion>> {
            self.1.keys_of(account_id)
        }
    }
    let kept =
        outcome.verified.into_iter().map(Verified::into_inner).filter(|kept| kept.format() != 3).collect();
    let source = Formats(kept, world().1);
    let checker = Checker { source: &source, ..checker };
    let outcome = check_batch(formats, &checker).expect("all are signed");
    assert_eq!(outcome.verified.iter().map(|kept| kept.format()).collect::<Vec<_>>(), [3]);
    assert_eq!(outcome.already_held, [reference]);
}

#[test]
fn circles_and_long_chains_of_keys_prove_nothing() {
    let (anchors, _) = world();
    let nothing = Known::default();
    let checker = Checker { anchors: &anchors, source: &nothing, time: KeyTime::DocumentTime };
    let root = signing_key("keys/untrusted-root.pem");
    let own = account_key("vector-authority", "own", root.public())
        .header("authority-id", "vector-authority")
        .sign(&root);
    assert_eq!(check_batch(vec![own], &checker).expect_err("signed by itself").stage(), Stage::SigningKey);

    let key = |number, signer| {
        let name = format!("k{number}");
        forge(
            account_key("vector-authority", &name, &dummy_key(number)),
            "vector-authority",
            dummy_key(signer).id(),
        )
    };
    let circle = vec![key(1, 2), key(2, 3), key(3, 1)];
    assert_eq!(check_batch(circle, &checker).expect_err("a circle").stage(), Stage::SigningKey);
    // Deeper than any stack could go if each link were a call.
    let chain = (1..5000).map(|number| key(number, number + 1)).collect();
    assert_eq!(check_batch(chain, &checker).expect_err("no beginning").stage(), Stage::SigningKey);
}

#[test]
fn an_older_format_in_a_batch_does_not_speak_for_a_newer_one() {
    let (anchors, mut known) = world();
    let declaration = |revision, format| {
        Builder::new(AssertionType::SnapDeclaration)
            .header("series", "16")
            .header("snap-id", "DelegatedSnapId00000000000000006")
            .header("snap-name", "hello-delegated")
            .header("publisher-id", "PublisherPublisherPublisherPub01")
            .header("timestamp", WHEN)
            .revision(revision)
            .format(format)
    };
    let entry = Map::from([
        ("account-id".to_owned(), "acme-corp".into()),
        ("provenance".to_owned(), vec!["acme-builds"].into()),
    ]);
    let older = sign(declaration(1, 0).header("revision-authority", vec![entry]), STORE);
    let revision = sign(delegated(3), BRAND);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let newest = check_batch(vec![sign(declaration(2, 1), STORE)], &checker).expect("signed");
    known.add(&newest.verified);
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    assert_eq!(check_batch(vec![older.clone()], &checker).expect("another format").verified.len(), 1);
    let error = check_batch(vec![older, revision], &checker).expect_err("the newest revision lists nobody");
    assert_eq!(error.stage(), Stage::Consistency);
}

#[test]
fn within_a_batch_the_newest_revision_speaks() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let declaration = |revision, format, who: &str| {
        let entry = Map::from([
            ("account-id".to_owned(), who.into()),
            ("provenance".to_owned(), vec!["acme-builds"].into()),
        ]);
        let declared = decode("snaps/delegated.snap-declaration.assert");
        let mut builder = Builder::new(AssertionType::SnapDeclaration);
        for name in ["series", "snap-id", "snap-name", "publisher-id", "timestamp"] {
            builder = builder.header(name, declared.text(name).expect("it has one"));
        }
        sign(builder.header("revision-authority", vec![entry]).revision(revision).format(format), STORE)
    };
    let revision = sign(delegated(3), BRAND);
    for (older, newer, accepted) in
        [("acme-corp", "serialpartner", false), ("serialpartner", "acme-corp", true)]
    {
        let batch = vec![declaration(5, 0, older), declaration(6, 1, newer), revision.clone()];
        assert_eq!(check_batch(batch, &checker).is_ok(), accepted, "{newer} is the newest that is listed");
    }
}

#[test]
fn two_keys_of_one_batch_do_not_share_a_name() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let key = |account, name, number| sign(account_key(account, name, &dummy_key(number)), STORE);
    let batch = |keys: &[Assertion]| check_batch(keys.to_vec(), &checker).map_err(|error| error.stage());
    let twice = [key("acme-corp", "fresh", 7), key("acme-corp", "fresh", 8)];
    assert_eq!(batch(&twice).expect_err("one name"), Stage::Consistency);
    assert!(batch(&[key("acme-corp", "fresh", 7), key("acme-corp", "other", 8)]).is_ok());
    assert!(batch(&[key("acme-corp", "fresh", 7), key("serialpartner", "fresh", 8)]).is_ok());
    // A key that the batch gives to another account leaves its name free.
    let given_away = sign(account_key("serialpartner", "gone", &dummy_key(7)).revision(1), STORE);
    let mut known = world().1;
    known.add(&batch(&[key("acme-corp", "gone", 7)]).expect("signed").verified);
    let checker = Checker { source: &known, ..checker };
    let taken = key("acme-corp", "gone", 8);
    assert!(check_batch(vec![taken.clone()], &checker).is_err());
    assert!(check_batch(vec![given_away, taken], &checker).is_ok());
}

#[test]
fn a_second_check_trusts_the_signatures_of_the_first_and_nothing_else() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let forged = forge(serial("bad"), "acme-corp", signing_key(BRAND.1).public().id());
    let said = [Verified::unproven(forged.clone())];
    assert_eq!(
        recheck_batch(vec![forged.clone()], &checker, &said).expect("its word counts").verified.len(),
        1
    );
    // Another document of the same name was not in the first check.
    let other = forge(serial("worse"), "acme-corp", signing_key(BRAND.1).public().id());
    let refused = recheck_batch(vec![other], &checker, &said).expect_err("forged");
    assert_eq!(refused.stage(), Stage::Signature);
    // Whether the key counts is asked again: it may have been revoked between the two.
    let key = signing_key(BRAND.1);
    let revoking =
        account_key("acme-corp", "serials", key.public()).revision(1).header("until", "2020-01-01T00:00:00Z");
    let refused = recheck_batch(vec![forged, sign(revoking, STORE)], &checker, &said).expect_err("revoked");
    assert_eq!(refused.stage(), Stage::KeyTime);
}
