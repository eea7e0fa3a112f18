//! Trust beyond the test vectors: anchors, refusals, names of keys, constraints.

use std::fmt::Write as _;

use super::fixtures::*;
use super::*;

#[test]
fn anchors_cannot_be_replaced() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let newer = sign(account("vector-authority").revision(9), STORE);
    assert_eq!(stage(checker.check(&newer)), Some(Stage::Anchored));
    let same_revision = sign(account("vector-authority"), STORE);
    let anchor = decode("trust/root.account.assert");
    let outcome = check_batch(vec![newer.clone(), anchor.clone()], &checker).expect("held already");
    assert_eq!((outcome.verified.len(), outcome.conflicts.len()), (0, 0));
    assert_eq!(outcome.already_held, [newer.reference()]);
    let outcome = check_batch(vec![same_revision], &checker).expect("held already");
    assert_eq!((outcome.verified.len(), outcome.conflicts), (0, vec![anchor.reference()]));
}

#[test]
fn only_roots_become_anchors() {
    let roots = || vec![decode("trust/root.account.assert"), decode("trust/root.account-key.assert")];
    let with = |more: &[Assertion]| Anchors::none().with([roots(), more.to_vec()].concat());
    let root = with(&[]).expect("a root");
    assert_eq!(root.fingerprints().len(), 1);
    assert_eq!(
        root.fingerprints()[0].to_string(),
        format!("vector-authority {}", roots()[1].text("public-key-sha3-384").expect("an id"))
    );
    assert_eq!(root.with(roots()).expect("the same root again").fingerprints().len(), 1);
    assert_eq!(
        with(&[decode("trust/root8k.account-key.assert")]).expect("two roots").fingerprints().len(),
        2
    );
    assert!(matches!(with(&[decode("chain/brand.account.assert")]), Err(AnchorError::NoRootKey(_))));
    assert!(matches!(
        with(&[decode("chain/brand-models.account-key.assert")]),
        Err(AnchorError::NoAccount(_))
    ));
    assert!(matches!(with(&[decode("models/edge-gw.model.assert")]), Err(AnchorError::Type(_))));
    assert!(matches!(Anchors::none().with(vec![roots().remove(1)]), Err(AnchorError::NoAccount(_))));
    assert!(matches!(Anchors::none().with(vec![roots().remove(0)]), Err(AnchorError::NoRootKey(_))));

    // Nor does an account that its own key has signed, when another signed the key.
    let own = signing_key("keys/untrusted-root.pem");
    let vouched = sign(account_key("rogue", "root", own.public()), ("vector-authority", "keys/root.pem"));
    let rogue = account("rogue").header("authority-id", "rogue").sign(&own);
    let given = [vec![rogue, vouched], roots()].concat();
    assert!(
        matches!(Anchors::none().with(given), Err(AnchorError::NoRootKey(account)) if account == "rogue")
    );

    // Self-signed, says the key id; but the signature is of another key.
    let root = signing_key("keys/untrusted-root.pem");
    let forged = forge(account_key("rogue", "root", root.public()), "rogue", root.public().id());
    let rogue = forge(account("rogue"), "rogue", root.public().id());
    let error = Anchors::none().with(vec![rogue, forged]).expect_err("nobody signed this");
    assert!(matches!(error, AnchorError::Signature { .. }), "{error}");

    // A private root may be added to the public ones, but may not replace one.
    let both = Anchors::production().with(roots()).expect("a second root");
    assert_eq!(both.fingerprints().len(), 2);
    assert!(
        both.is_trusted("canonical") && both.is_trusted("vector-authority") && !both.is_trusted("generic")
    );
    let own = signing_key("keys/untrusted-root.pem");
    let taken = [
        account("canonical").header("authority-id", "canonical").sign(&own),
        account_key("canonical", "root", own.public()).header("authority-id", "canonical").sign(&own),
    ];
    assert!(matches!(Anchors::production().with(taken.to_vec()), Err(AnchorError::Conflict(_))));

    let revoked = account_key("rogue", "root", own.public())
        .header("until", "2020-01-01T00:00:00Z")
        .header("authority-id", "rogue")
        .sign(&own);
    let rogue = account("rogue").header("authority-id", "rogue").sign(&own);
    assert!(matches!(Anchors::none().with(vec![rogue, revoked]), Err(AnchorError::Revoked(_))));
}

#[test]
fn a_refusal_says_what_to_do() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let error =
        checker.check(&decode("serials-bad/unregistered-key.serial.assert")).expect_err("unknown key");
    assert!(error.to_string().starts_with("cannot verify serial/acme-corp/edge-gw/"), "{error}");
    assert!(error.problem.to_string().contains("push account-key"), "{}", error.problem);
    let error =
        checker.check(&decode("snaps-bad/no-publisher.snap-declaration.assert")).expect_err("no account");
    assert!(error.problem.to_string().contains("it refers to account/"), "{}", error.problem);
    assert!(error.problem.to_string().contains("push that first"), "{}", error.problem);
    // Free text from a header cannot start a log line.
    let serial = sign(serial("a\nforged line"), BRAND);
    assert_eq!(serial.reference().to_string(), "serial/acme-corp/edge-gw/a\\nforged line");
    let other = forge(account("x"), "a\nforged line", dummy_key(1).id());
    let error = checker.check(&other).expect_err("unknown key");
    assert!(!error.problem.to_string().contains('\n'), "{}", error.problem);
}

#[test]
fn the_key_of_another_account_cannot_sign() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let theirs = sign(serial("1"), ("acme-corp", "keys/other-brand.pem"));
    assert_eq!(stage(checker.check(&theirs)), Some(Stage::SigningKey));
    let wrong = sign(account("somebody"), ("vector-authority", "keys/brand-serial.pem"));
    assert_eq!(stage(checker.check(&wrong)), Some(Stage::SigningKey));
}

#[test]
fn key_names_are_unique_per_account_and_authority() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let key = |name| sign(account_key("acme-corp", name, &dummy_key(7)), STORE);
    assert_eq!(stage(checker.check(&key("models"))), Some(Stage::Consistency));
    assert_eq!(stage(checker.check(&key("fresh"))), None);
    let root = decode("trust/root.account-key.assert");
    let like_the_root = account_key("vector-authority", root.text("name").expect("a name"), &dummy_key(7));
    assert_eq!(stage(checker.check(&sign(like_the_root, STORE))), Some(Stage::Consistency));
    // Both roots vouch for a key `models` of `generic`.
    let roots = vec![decode("trust/root.account.assert"), decode("trust/root.account-key.assert")];
    let both = Anchors::production().with(roots).expect("a second root");
    let nothing = Known::default();
    let checker = Checker { anchors: &both, source: &nothing, time: KeyTime::DocumentTime };
    assert_eq!(stage(checker.check(&decode("trust/generic-models.account-key.assert"))), None);
}

#[test]
fn types_without_authority_prove_nothing_by_themselves() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    for file in [
        "sessions/ok-a-2048.dsr.assert",
        "registration/initial.serial-request.assert",
        "others/done.response-message.assert",
    ] {
        assert_eq!(stage(checker.check(&decode(file))), Some(Stage::Format), "{file}");
    }
    let nothing = Known::default();
    let checker = Checker { source: &nothing, ..checker };
    assert_eq!(
        stage(checker.check(&decode("others/c-4096.confdb-control.assert"))),
        Some(Stage::Consistency)
    );
}

#[test]
fn constrained_keys_sign_what_they_may() {
    let allows = |constraints: &str, assertion: &Assertion| {
        let key = dummy_key(1);
        let mut text = String::from("type: account-key\nformat: 1\nauthority-id: a\n");
        let _ = write!(text, "public-key-sha3-384: {}\naccount-id: acme-corp\n", key.id());
        let _ =
            write!(text, "since: {WHEN}\nconstraints:\n{constraints}\nbody-length: {}\n", key.encode().len());
        let _ = write!(text, "sign-key-sha3-384: {}\n\n{}\n\nAAAA\n", key.id(), key.encode());
        let decoded = Assertion::decode(text.as_bytes()).map_err(|error| format!("{:?}", error.reason))?;
        match decoded.details() {
            Details::AccountKey(key) => {
                let constraints = key.constraints.as_ref().ok_or("no constraints")?;
                Ok(constraints.allow(assertion.kind(), assertion.headers()))
            }
            _ => Err("no account-key".to_owned()),
        }
    };
    let one = |headers: &str| format!("  -\n    headers:\n{headers}");
    let model = decode("models/edge-gw.model.assert");
    let serials = decode("models/edge-lite.model.assert");
    let cases = [
        (one("      type: model"), Ok(true)),
        (one("      type: serial"), Ok(false)),
        (one("      type: serial") + "\n" + &one("      type: model"), Ok(true)),
        (one("      model: edge-.*\n      type: model"), Ok(true)),
        (one("      model: edge\n      type: model"), Ok(false)),
        (one("      model: edge|gw\n      type: model"), Ok(false)),
        (one("      model:\n        - other\n        - edge-gw\n      type: model"), Ok(true)),
        (one("      no-such: .*\n      type: model"), Ok(false)),
        (one("      no-such: $MISSING\n      type: model"), Ok(true)),
        (one("      model: $MISSING\n      type: model"), Ok(false)),
        (one("      serial-authority: generic\n      type: model"), Ok(false)),
        (one("      serial-authority: generic|serialpartner\n      type: model"), Ok(true)),
        (one("      snaps:\n        name: .*\n        type: kernel|gadget\n      type: model"), Ok(false)),
        (one("      snaps:\n        name: .*\n        id: .*\n      type: model"), Ok(true)),
        (one("      model:\n        key: .*\n      type: model"), Ok(false)),
        (one("      display-name: \\w+ \\w+\n      type: model"), Ok(true)),
        (one("      model: edge-.*"), Err("type")),
        (one("      type: mod.*"), Err("type")),
        (one("      model: $OTHER\n      type: model"), Err("model")),
        (one("      model: (\n      type: model"), Err("model")),
        (one("      model: ((a{50}){50}){5}\n      type: model"), Err("model")),
        (one(&format!("      model: {}\n      type: model", "a".repeat(512))), Ok(false)),
        (one(&format!("      model: {}\n      type: model", "a".repeat(513))), Err("model")),
        (one(&format!("      model:\n{}      type: model", "        - a\n".repeat(65))), Err("model")),
        ("  - text".to_owned(), Err("constraints[0]")),
        ("  -\n    other: x".to_owned(), Err("headers")),
    ];
    for (constraints, expected) in cases {
        match (allows(&constraints, &model), expected) {
            (Ok(allowed), Ok(expected)) => assert_eq!(allowed, expected, "{constraints}"),
            (Err(error), Err(header)) => assert!(error.contains(header), "{constraints}: {error}"),
            (result, _) => panic!("{constraints}: {result:?}"),
        }
    }
    // Character classes are ASCII: a digit of another script does not match.
    let digits = one("      display-name: \\d\n      type: model");
    let named = |name: &str| sign_name(&serials, name);
    assert_eq!(allows(&digits, &named("7")), Ok(true));
    assert_eq!(allows(&digits, &named("\u{0667}")), Ok(false));
}

/// The model with another name to display, signed by nobody.
fn sign_name(model: &Assertion, name: &str) -> Assertion {
    let text = String::from_utf8(model.bytes().to_vec()).expect("assertions are UTF-8");
    let text = text.replace("gadget: acme", &format!("display-name: {name}\ngadget: acme"));
    Assertion::decode(text.as_bytes()).expect("the signature is not looked at")
}

#[test]
fn a_second_root_keeps_its_world_apart() {
    let roots =
        [read("trust/root.account.assert"), b"\n".to_vec(), read("trust/root.account-key.assert")].concat();
    let both = Anchors::production().with_stream(&roots).expect("a second root");
    let (_, known) = world();
    let checker = Checker { anchors: &both, source: &known, time: KeyTime::DocumentTime };
    assert_eq!(stage(checker.check(&decode("serials/a-2048.serial.assert"))), None);
    let production = Anchors::production();
    let checker = Checker { anchors: &production, ..checker };
    assert_eq!(stage(checker.check(&decode("chain/brand.account.assert"))), Some(Stage::Consistency));
}

#[test]
fn predefined_is_only_what_a_trusted_account_signed() {
    let (anchors, _) = world();
    // The key is an anchor, but its account has no power of its own.
    let generic = sign(account("somebody"), ("generic", "keys/generic-models.pem"));
    let error = anchors.clone().with_predefined(vec![generic]).expect_err("not trusted");
    assert!(matches!(error, AnchorError::Signer { .. }), "{error}");
    let other = sign(account("somebody"), ("generic", "keys/root.pem"));
    let error = anchors.with_predefined(vec![other]).expect_err("the key of another account");
    assert!(matches!(error, AnchorError::Signer { .. }), "{error}");
}

#[test]
fn only_the_listed_account_signs_delegated_revisions() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let partner = ("serialpartner", "keys/partner-serial.pem");
    assert_eq!(stage(checker.check(&sign(delegated(1), BRAND))), Some(Stage::Consistency));
    assert_eq!(stage(checker.check(&sign(delegated(2), BRAND))), None);
    assert_eq!(stage(checker.check(&sign(delegated(3), BRAND))), None);
    assert_eq!(stage(checker.check(&sign(delegated(50), BRAND))), None);
    assert_eq!(stage(checker.check(&sign(delegated(51), BRAND))), Some(Stage::Consistency));
    assert_eq!(stage(checker.check(&sign(delegated(3), partner))), Some(Stage::Consistency));
}

/// A document of the vectors with some headers changed, as this signer would write it.
fn rewritten(file: &str, signer: (&str, &str), headers: &[(&str, &str)]) -> Assertion {
    let original = decode(file);
    let mut builder = Builder::new(original.kind()).body(original.body());
    for (name, value) in original.headers().iter() {
        if !["type", "body-length", "sign-key-sha3-384"].contains(&name) {
            builder = builder.header(name, value.clone());
        }
    }
    for (name, value) in headers {
        builder = builder.header(name, *value);
    }
    sign(builder, signer)
}

#[test]
fn each_type_has_its_authorities() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let models = ("acme-corp", "keys/brand-model.pem");
    for (file, signer, headers, expected) in [
        ("snaps/extra_1.snap-resource-revision.assert", STORE, &[][..], None),
        ("snaps/extra_1.snap-resource-revision.assert", models, &[], Some(Stage::Consistency)),
        ("snaps/extra_1-on-1.snap-resource-pair.assert", STORE, &[], None),
        ("snaps/extra_1-on-1.snap-resource-pair.assert", models, &[], Some(Stage::Consistency)),
        ("snaps/hello-vectors.snap-developer.assert", STORE, &[], None),
        ("snaps/hello-vectors.snap-developer.assert", models, &[], Some(Stage::Consistency)),
        ("others/net.confdb-schema.assert", models, &[], None),
        ("others/net.confdb-schema.assert", models, &[("account-id", "system")], Some(Stage::Consistency)),
    ] {
        let checked = stage(checker.check(&rewritten(file, signer, headers)));
        assert_eq!(checked, expected, "{file} by {} with {headers:?}", signer.0);
    }
    // Every developer is an account that is known.
    let mut known = world().1;
    known.0.retain(|of, _| of.to_string() != "account/acme-corp");
    let checker = Checker { source: &known, ..checker };
    let developers =
        checker.check(&decode("snaps/hello-vectors.snap-developer.assert")).expect_err("one is missing");
    assert!(developers.problem.to_string().contains("account/acme-corp"), "{}", developers.problem);
}

#[test]
fn the_key_of_another_device_is_named_as_that() {
    let (anchors, known) = world();
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::DocumentTime };
    let error =
        checker.check(&decode("others-bad/wrong-device.confdb-control.assert")).expect_err("another key");
    assert!(matches!(error.problem, Problem::OtherDeviceKey), "{}", error.problem);
}

#[test]
fn what_comes_before_a_document() {
    let (snap, publisher) =
        ("snap-declaration/16/HelloVectorsSnapId00000000000001", "account/PublisherPublisherPublisherPub01");
    let store = &*format!("account-key/{}", signing_key("keys/store.pem").public().id());
    let serials = &*format!("account-key/{}", signing_key("keys/brand-serial.pem").public().id());
    for (file, before, to_check) in [
        ("chain/brand-models.account-key.assert", &["account/acme-corp"][..], &[][..]),
        ("snaps/hello-vectors.snap-declaration.assert", &[publisher], &[store]),
        ("snaps/hello-vectors_2.snap-revision.assert", &[snap, publisher], &[store]),
        ("snaps/extra_1.snap-resource-revision.assert", &[snap, publisher], &[store]),
        ("snaps/extra_1-on-1.snap-resource-pair.assert", &[snap], &[store, publisher]),
        (
            "snaps/hello-vectors.snap-developer.assert",
            &[snap, publisher, publisher, "account/acme-corp"],
            &[store],
        ),
        (
            "snaps/gating.validation.assert",
            &[snap, "snap-declaration/16/AcmeGadgetSnapId0000000000000002"],
            &[],
        ),
        ("serials/a-2048.serial.assert", &[], &[serials, "model/16/acme-corp/edge-gw"]),
        ("others/c-4096.confdb-control.assert", &["serial/acme-corp/edge-gw/C-0003"], &[]),
    ] {
        let document = decode(file);
        let shown = |refs: Vec<Ref>| refs.iter().map(Ref::to_string).collect::<Vec<_>>();
        assert_eq!(shown(document.prerequisites()), before, "{file}");
        let needed = shown(document.needed_to_check());
        assert!(needed.starts_with(&shown(document.prerequisites())), "{file}: {needed:?}");
        for wanted in to_check {
            assert!(
                needed[before.len()..].iter().any(|one| one == *wanted),
                "{wanted} for {file}: {needed:?}"
            );
        }
    }
}

#[test]
fn the_time_of_a_key_is_told() {
    let (anchors, known) = world();
    let late = scalars::date("2031-01-01T00:00:00Z").expect("a date");
    let checker = Checker { anchors: &anchors, source: &known, time: KeyTime::Strict { now: late } };
    let error = checker.check(&decode("models/edge-old-expired-key.model.assert")).expect_err("over by then");
    let Problem::KeyNotValidNow { since, until: Some(until), .. } = &error.problem else {
        panic!("{}", error.problem)
    };
    let told = error.problem.to_string();
    for moment in [since, until] {
        assert!(
            told.contains(&format!("{}-{:02}-{:02}T", moment.year(), moment.month() as u8, moment.day())),
            "{told}"
        );
    }
}
