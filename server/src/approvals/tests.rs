use serde_json::json;

use super::*;
use crate::storage::records::{LoginRecord, Snapshot};

/// A catalog with logins, each made by somebody.
fn catalog(logins: &[(&str, Option<&str>)]) -> Catalog {
    let record = |by: Option<&str>| LoginRecord {
        store: None,
        acls: Default::default(),
        created: 1,
        expires: 2,
        revoked: false,
        key: None,
        by: by.map(str::to_owned),
    };
    let meta = logins.iter().map(|(id, by)| record(*by).fact(id)).collect();
    Catalog::compile(Snapshot { meta, ..Snapshot::default() }, "http://store.test", None).unwrap()
}

#[test]
fn a_login_counts_as_the_one_who_made_it() {
    let catalog = catalog(&[
        ("alice", Some(ROOT)),
        ("second", Some("login alice")),
        ("third", Some("login second")),
        ("bob", Some("uid 1000")),
        ("old", None),
    ]);
    for (who, wanted) in [
        ("uid 0", "uid 0"),
        ("uid 1000", "uid 1000"),
        ("login alice", "login alice"),
        ("login second", "login alice"),
        ("login third", "login alice"),
        ("login bob", "uid 1000"),
        ("login old", "login old"),
        ("login unknown", "login unknown"),
        ("proxyd", "proxyd"),
    ] {
        assert_eq!(person(&catalog, who), wanted, "{who}");
    }
}

fn asked(needed: u32, by: &str) -> ApprovalRecord {
    let asked = NewApproval {
        kind: "serial".into(),
        subject: "x".into(),
        digest: "d".into(),
        detail: json!({}),
        asked_by: by.into(),
        asked_at_micros: 0,
        ends_at_micros: 100,
        needed,
    };
    ApprovalRecord { id: 1, asked, state: ApprovalState::Waiting, votes: Vec::new() }
}

/// Votes of three people with two logins each, in every order of three of them: the request's own people never count, and
/// each other person counts once.
#[test]
fn in_every_order_only_other_people_count_and_each_once() {
    let voters = ["a", "a2", "b", "b2", "c", "c2"];
    let person = |who: &str| who[..1].to_owned();
    for needed in [1, 2] {
        for order in 0..voters.len().pow(3) {
            let order = [order % 6, order / 6 % 6, order / 36].map(|at| voters[at]);
            let (mut approval, mut counted) = (asked(needed, "a"), Vec::new());
            for (at_micros, who) in (1..).zip(order) {
                let vote = Vote { who: who.into(), approves: true, at_micros, why: None };
                let judged = judge(Some(&approval), 1, &vote, person);
                let fits = match judged {
                    Err(ApprovalError::Own(1)) => {
                        person(who) == "a" && approval.state == ApprovalState::Waiting
                    }
                    Err(ApprovalError::Twice(1)) => counted.contains(&person(who)),
                    Err(ApprovalError::Over(1, "approved")) => counted.len() == needed as usize,
                    Ok(state) => {
                        let is_another = !counted.contains(&person(who)) && person(who) != "a";
                        counted.push(person(who));
                        approval.votes.push(vote);
                        approval.state = state;
                        let enough = counted.len() == needed as usize;
                        is_another && (state == ApprovalState::Approved) == enough
                    }
                    other => panic!("{order:?} {who}: {other:?}"),
                };
                assert!(fits, "{needed} {order:?} {who}");
            }
        }
    }
}

#[test]
fn a_refusal_is_final_and_an_end_is_an_end() {
    let vote = |approves, at_micros| Vote { who: "b".into(), approves, at_micros, why: None };
    let person = str::to_owned;
    let (waiting, judged) =
        (asked(1, "a"), |approval: &ApprovalRecord, vote: &Vote| judge(Some(approval), 1, vote, person));
    assert!(matches!(judged(&waiting, &vote(true, 99)), Ok(ApprovalState::Approved)));
    assert!(matches!(judged(&waiting, &vote(true, 100)), Err(ApprovalError::Over(1, "expired"))));
    let in_state = |state| ApprovalRecord { state, ..waiting.clone() };
    let approved = in_state(ApprovalState::Approved);
    assert!(matches!(judged(&approved, &vote(false, 1)), Ok(ApprovalState::Refused)));
    for state in [ApprovalState::Refused, ApprovalState::Used, ApprovalState::Void] {
        for approves in [true, false] {
            let over = judged(&in_state(state), &vote(approves, 1));
            assert!(matches!(over, Err(ApprovalError::Over(1, word)) if word == state.as_str()), "{state:?}");
        }
    }
    assert!(matches!(judge(None, 7, &vote(true, 1), person), Err(ApprovalError::Unknown(7))));
}
