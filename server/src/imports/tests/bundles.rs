//! Snap bundles: nothing wrong is accepted, and nothing old comes back.

use schema::api::admin::ChannelMove;
use schema::assertion::AssertionType as T;
use schema::bundle::Manifest;
use schema::store::StoreId;

use super::world::*;
use crate::imports::receive::Bundle;
use crate::imports::{ImportError, SnapOptions};

fn insist() -> SnapOptions {
    SnapOptions { push_channel_map: true, ..SnapOptions::default() }
}

fn told(moves: &[ChannelMove]) -> Vec<String> {
    moves.iter().map(ToString::to_string).collect()
}

fn with_metadata(revisions: &[u32], entries: &[(&str, u32, u32)]) -> Bundle {
    Bundle { metadata: vec![metadata(entries)], ..bundle(revisions) }
}

/// A bundle whose manifest releases revisions to channels.
fn with_releases(revisions: &[u32], releases: &str) -> Bundle {
    let text = format!(r#"{{"format":1,"releases":{releases}}}"#);
    Bundle { manifest: Some(Manifest::parse(text.as_bytes()).expect("a manifest")), ..bundle(revisions) }
}

fn refused(bundle: &Bundle, code: &str) -> String {
    let mut world = World::new();
    match world.push(bundle) {
        Err(error) => {
            assert_eq!(error.code(), code, "{error}");
            assert!(!error.is_ours());
            let first: &dyn std::error::Error = &error;
            let chain = std::iter::successors(Some(first), |error| error.source());
            chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        }
        Ok(report) => panic!("accepted: {report:?}"),
    }
}

#[test]
fn a_bundle_becomes_snap_revisions_and_channels() {
    let mut world = World::new();
    let report = world.push(&with_metadata(&[6, 8], &[("latest/stable", 6, 1), ("latest/edge", 8, 2)]));
    let report = report.expect("accepted");
    assert_eq!(world.channels(), ["latest/edge amd64 -> 8", "latest/stable amd64 -> 6"]);
    let snap = &report.snaps[0];
    assert_eq!((snap.name.as_str(), snap.store.as_str(), snap.channel_map_updated), ("jq", "ubuntu", true));
    let revisions: Vec<_> = snap.revisions.iter().map(|one| (one.revision, one.already_held)).collect();
    assert_eq!(revisions, [(6, false), (8, false)]);
    assert_eq!(snap.channels, world.channels());
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let held = &world.snaps[JQ];
    assert_eq!(
        (held.kind.as_str(), held.private, &held.stores[..]),
        ("app", false, &[schema::store::StoreId::global()][..])
    );
    assert_eq!(held.text["title"], "jq 2");
}

#[test]
fn importing_again_is_harmless_and_says_so() {
    let mut world = World::new();
    let bundle = with_metadata(&[6], &[("latest/stable", 6, 1)]);
    world.push(&bundle).expect("accepted");
    let before = (world.channels(), world.assertions.len());
    let again = SnapOptions { imported_before: true, ..SnapOptions::default() };
    let report = world.push_with(&bundle, &again).expect("accepted again");
    assert!(report.snaps[0].revisions[0].already_held && !report.snaps[0].channel_map_updated);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("imported before")),
        "{:?}",
        report.warnings
    );
    assert_eq!((world.channels(), world.assertions.len()), before);
}

#[test]
fn a_file_that_is_not_what_was_signed_is_refused() {
    // The bytes of another snap behind good documents.
    let mut swapped = bundle(&[6]);
    swapped.snaps[0].blob = file("yq", 6).blob;
    let message = refused(&swapped, "unsigned-file");
    assert!(message.contains("jq_6.snap") && message.contains("fetch-snaps"), "{message}");

    let mut size = bundle(&[6]);
    size.snaps[0].blob.size += 1;
    assert!(refused(&size, "mismatch").contains("size"));

    // Signed as a revision of jq, but its snap.yaml says yq.
    let mut name = bundle(&[]);
    let file = file("yq", 6);
    name.assertions.push(revision(JQ, &file, 6));
    name.snaps.push(file);
    let message = refused(&name, "mismatch");
    assert!(message.contains("yq") && message.contains("jq"), "{message}");

    let mut provenance = bundle(&[6]);
    provenance.snaps[0].yaml.provenance = "acme-builds".into();
    assert!(refused(&provenance, "mismatch").contains("provenance"));
}

#[test]
fn a_manifest_does_not_release_another_revision_than_its_file() {
    let mut world = World::new();
    world.push(&bundle(&[6, 8])).expect("accepted");
    let before = world.channels();
    let error =
        world.push(&with_releases(&[6], r#"[{"revision":8,"channels":["stable"]}]"#)).expect_err("refused");
    assert_eq!(error.code(), "invalid-bundle");
    let text = error.to_string();
    assert!(
        text.contains("releases revision 8") && text.contains("jq_6.snap, which is revision 6"),
        "{text}"
    );
    assert_eq!(world.channels(), before);
    // What went without its file is released beside what is new.
    world.push(&with_releases(&[9], r#"[{"revision":8,"channels":["stable"]}]"#)).expect("accepted");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 8"]);
}

#[test]
fn a_revoked_declaration_refuses_the_snap() {
    let mut revoked = bundle(&[6]);
    revoked.assertions.push(declaration(JQ, "", 1));
    assert!(refused(&revoked, "revoked").contains(JQ));
}

#[test]
fn one_number_is_one_file() {
    let mut world = World::new();
    world.push(&bundle(&[6])).expect("accepted");
    let mut other = bundle(&[]);
    let file = file("jq", 7);
    other.assertions.push(revision(JQ, &file, 6));
    other.snaps.push(file);
    let error = world.push(&other).expect_err("another file for revision 6");
    assert!(matches!(error, ImportError::Conflict { revision: 6, .. }), "{error}");
    let mut both = bundle(&[6]);
    both.assertions.extend(other.assertions.pop());
    both.snaps.extend(other.snaps);
    refused(&both, "conflict");
}

#[test]
fn an_incomplete_closure_is_refused_and_named() {
    let whole = bundle(&[6]);
    for (index, missing) in whole.assertions.iter().enumerate() {
        let mut part = whole.clone();
        part.assertions.remove(index);
        let code = if missing.kind() == T::SnapRevision { "unsigned-file" } else { "missing-assertion" };
        let message = refused(&part, code);
        let named = match missing.kind() {
            T::SnapRevision => "jq_6.snap".to_owned(),
            T::AccountKey => missing.text("public-key-sha3-384").expect("an id").to_owned(),
            _ => missing.reference().to_string(),
        };
        assert!(message.contains(&named) && message.contains("`proxy "), "{named}: {message}");
        // What is held counts.
        let mut world = World::new();
        world.push(&bundle(&[5])).expect("accepted");
        assert_eq!(world.push(&part).is_ok(), missing.kind() != T::SnapRevision, "{missing:?}");
    }
}

#[test]
fn order_does_not_matter_and_one_bad_document_refuses_all() {
    let whole = with_metadata(&[6, 8], &[("latest/stable", 6, 1)]);
    let mut straight = World::new();
    straight.push(&whole).expect("accepted");
    for turn in 1..whole.assertions.len() {
        let mut turned = whole.clone();
        turned.assertions.rotate_left(turn);
        turned.snaps.reverse();
        let mut world = World::new();
        world.push(&turned).expect("accepted");
        assert_eq!((world.channels(), &world.assertions), (straight.channels(), &straight.assertions));

        turned
            .assertions
            .insert(turn, assertion("snaps-bad/default-provenance-by-brand.snap-revision.assert"));
        let mut world = World::new();
        let error = world.push(&turned).expect_err("one of them is bad");
        assert!(matches!(error, ImportError::Unverified { .. }), "{error}");
        assert!(world.assertions.is_empty() && world.snaps.is_empty());
    }
}

#[test]
fn an_older_bundle_does_not_take_devices_back() {
    let old = with_metadata(&[6], &[("latest/stable", 6, 1)]);
    let new = with_metadata(&[8], &[("latest/stable", 8, 20)]);
    let mut world = World::new();
    world.push(&new).expect("accepted");
    // It has a revision that is not stored, but its channel map is older.
    let report = world.push(&old).expect("accepted, apart from its channel map");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 8"]);
    assert_eq!(world.snaps[JQ].text["title"], "jq 1");
    assert!(!report.snaps[0].channel_map_updated);
    assert!(report.warnings.iter().any(|warning| warning.contains("stays at 8")), "{:?}", report.warnings);
    assert!(report.warnings.iter().any(|warning| warning.contains("--push-channel-map")));

    // The operator may insist, and move forward again.
    world.push_with(&old, &insist()).expect("accepted");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 6"]);
    world.push_with(&new, &insist()).expect("accepted");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 8"]);
}

#[test]
fn without_anything_new_the_channel_map_stays() {
    let mut world = World::new();
    world.push(&with_metadata(&[6], &[("latest/edge", 6, 1)])).expect("accepted");
    let promoted = with_metadata(&[6], &[("latest/stable", 6, 2)]);
    let report = world.push(&promoted).expect("accepted");
    assert_eq!(world.channels(), ["latest/edge amd64 -> 6"]);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("--push-channel-map")),
        "{:?}",
        report.warnings
    );
    world.push_with(&promoted, &insist()).expect("accepted");
    assert_eq!(world.channels(), ["latest/stable amd64 -> 6"]);
}

#[test]
fn an_older_assertion_never_replaces_a_newer_one() {
    let mut world = World::new();
    let mut newer = bundle(&[6]);
    newer.assertions.push(declaration(JQ, "jq", 3));
    world.push(&newer).expect("accepted");
    world.push(&bundle(&[8])).expect("accepted");
    let held =
        world.assertions.values().find(|held| held.kind() == T::SnapDeclaration).expect("a declaration");
    assert_eq!(held.revision(), 3);

    // An older bundle cannot undo a revocation.
    newer.assertions.push(declaration(JQ, "", 4));
    newer.snaps.clear();
    world.push(&newer).expect("the revocation is accepted");
    let error = world.push(&bundle(&[9])).expect_err("the snap is revoked");
    assert_eq!(error.code(), "revoked");
}

#[test]
fn a_channel_never_points_at_nothing() {
    let mut world = World::new();
    world.push(&with_metadata(&[6], &[("latest/stable", 6, 1)])).expect("accepted");
    let dangling =
        with_metadata(&[9], &[("latest/stable", 7, 20), ("latest/beta", 8, 20), ("latest/edge", 9, 20)]);
    let report = world.push(&dangling).expect("accepted");
    // Existing releases stay open; the world checks the references.
    assert_eq!(world.channels(), ["latest/edge amd64 -> 9", "latest/stable amd64 -> 6"]);
    let warning = report.warnings.iter().find(|warning| warning.contains("left out")).expect("a warning");
    assert!(
        warning.contains("latest/stable amd64 -> 7") && warning.contains("latest/beta amd64 -> 8"),
        "{warning}"
    );
}

#[test]
fn a_map_of_one_architecture_leaves_the_others_as_they_are() {
    let mut world = World::new();
    world.push(&with_metadata(&[6], &[("latest/stable", 6, 1), ("latest/beta", 6, 1)])).expect("accepted");
    let mut arm = with_metadata(&[7], &[("latest/stable", 7, 2)]);
    for entry in &mut arm.metadata[0].channel_map {
        entry.architecture = "arm64".parse().expect("an architecture");
    }
    world.push(&arm).expect("accepted");
    let both = ["latest/beta amd64 -> 6", "latest/stable amd64 -> 6", "latest/stable arm64 -> 7"];
    assert_eq!(world.channels(), both);
    // A newer map of the first architecture closes what it no longer contains if told to, for that architecture only.
    let newer = with_metadata(&[8], &[("latest/stable", 8, 3)]);
    let report = world.push(&newer).expect("accepted");
    let open = ["latest/beta amd64 -> 6", "latest/stable amd64 -> 8", "latest/stable arm64 -> 7"];
    assert_eq!(world.channels(), open);
    assert_eq!(told(&report.snaps[0].moves), ["latest/stable amd64 6 → 8"]);
    assert_eq!(told(&report.snaps[0].left), ["latest/beta amd64 6 → none"]);
    let report = world.push_with(&newer, &insist()).expect("accepted");
    assert_eq!(told(&report.snaps[0].moves), ["latest/beta amd64 6 → none"]);
    assert_eq!(world.channels(), ["latest/stable amd64 -> 8", "latest/stable arm64 -> 7"]);
}

#[test]
fn metadata_of_a_snap_that_is_not_here_is_reported_and_left_out() {
    let mut world = World::new();
    let mut other = bundle(&[]);
    other.metadata.push(metadata(&[("latest/stable", 6, 1)]));
    let report = world.push(&other).expect("the assertions are accepted");
    assert!(world.snaps.is_empty() && world.releases.is_empty());
    assert!(report.warnings.iter().any(|warning| warning.contains("jq")), "{:?}", report.warnings);

    let mut named = with_metadata(&[6], &[]);
    named
        .assertions
        .retain(|assertion| assertion.kind() != T::SnapDeclaration && assertion.kind() != T::SnapRevision);
    named.assertions.push(declaration(JQ, "yq", 0));
    named.snaps = vec![file("yq", 6)];
    named.assertions.push(revision(JQ, &named.snaps[0], 6));
    refused(&named, "mismatch");
}

#[test]
fn releases_of_a_manifest_add_up() {
    let mut world = World::new();
    for (revision, channels) in
        [(1, r#"["stable"]"#), (2, r#"["candidate"]"#), (3, r#"["edge","2.x/stable"]"#)]
    {
        let releases = format!(r#"[{{"revision":{revision},"channels":{channels}}}]"#);
        world.push(&with_releases(&[revision], &releases)).expect("accepted");
    }
    let all = [
        "2.x/stable amd64 -> 3",
        "latest/candidate amd64 -> 2",
        "latest/edge amd64 -> 3",
        "latest/stable amd64 -> 1",
    ];
    assert_eq!(world.channels(), all);
    // For all architectures at once: the entries of single ones would hide it.
    let mut everywhere = with_releases(&[4], r#"[{"revision":4,"channels":["stable"]}]"#);
    everywhere.snaps[0].yaml.architectures = vec!["all".parse().expect("an architecture")];
    world.push(&everywhere).expect("accepted");
    assert!(world.channels().contains(&"latest/stable all -> 4".to_owned()));
    assert!(!world.channels().contains(&all[3].to_owned()), "{:?}", world.channels());

    let mut two = with_releases(&[5], r#"[{"revision":5,"channels":["stable"]}]"#);
    let yq = file("yq", 5);
    two.assertions.extend([declaration(YQ, "yq", 0), revision(YQ, &yq, 5)]);
    two.snaps.push(yq);
    refused(&two, "invalid-bundle");
}

#[test]
fn the_store_is_the_operator_s_choice_or_the_bundle_s() {
    let mut world = World::new();
    let mut named = bundle(&[6]);
    let acme: StoreId = "acme".parse().expect("an id");
    named.manifest.as_mut().expect("a manifest").store = Some(acme.clone());
    assert_eq!(world.push(&named).expect("accepted").snaps[0].store, "acme");
    let mut chosen = SnapOptions { store: Some(StoreId::global()), ..SnapOptions::default() };
    let refused = world.push_with(&named, &chosen).expect_err("everybody would see it");
    assert_eq!(refused.code(), "wider-view");
    chosen.views.widen = vec!["jq".into()];
    assert_eq!(world.push_with(&named, &chosen).expect("accepted").snaps[0].store, "ubuntu");
    assert_eq!(world.snaps[JQ].stores, ["acme", "ubuntu"]);
}

#[test]
fn what_is_odd_is_told() {
    let mut world = World::new();
    let mut odd = bundle(&[6]);
    odd.manifest = None;
    odd.ignored = vec!["README".into()];
    odd.snaps[0].yaml.base = Some("core24".into());
    let report = world.push(&odd).expect("accepted");
    for wanted in ["manifest.json", "README", "core24", "No channel leads to revision 6"] {
        assert!(
            report.warnings.iter().any(|warning| warning.contains(wanted)),
            "{wanted}: {:?}",
            report.warnings
        );
    }
    let empty = Bundle { assertions: Vec::new(), snaps: Vec::new(), ..bundle(&[]) };
    refused(&empty, "invalid-bundle");
}

#[test]
fn absurd_numbers_are_refused() {
    for number in [0x8000_0000_u32, u32::MAX] {
        let mut absurd = bundle(&[]);
        let file = file("jq", 1);
        let (digest, size, number) =
            (file.blob.digest.to_base64url(), file.blob.size.to_string(), number.to_string());
        let headers = [
            ("snap-sha3-384", digest.as_str()),
            ("snap-id", JQ),
            ("snap-size", &size),
            ("snap-revision", &number),
            ("developer-id", "PublisherPublisherPublisherPub01"),
        ];
        absurd.assertions.push(signed(T::SnapRevision, 0, &headers));
        absurd.snaps.push(file);
        refused(&absurd, "invalid-snap");
    }
}
