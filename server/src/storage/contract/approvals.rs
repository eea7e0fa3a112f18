//! Approvals: found again by their digest, voted on one after another, used once.

use serde_json::json;

use super::contract;
use super::fixture::{NOW, Store, change};
use crate::storage::Database;
use crate::storage::approvals::{ApprovalRecord, ApprovalState, NewApproval, Vote};
use crate::storage::error::{CommitError, StorageError};

contract! {
    a_request_is_found_again_until_it_ends
    what_others_asked_for_is_theirs
    votes_at_once_all_count
    an_approval_is_used_once
    a_restored_store_has_no_approvals
}

pub(super) fn asked(digest: &str) -> NewApproval {
    NewApproval {
        kind: "serial".into(),
        subject: "acme/gateway".into(),
        digest: digest.into(),
        detail: json!({ "what": "ü" }),
        asked_by: "proxyd".into(),
        asked_at_micros: NOW,
        ends_at_micros: NOW + 1000,
        needed: 2,
    }
}

fn by(who: &str) -> Vote {
    Vote { who: who.into(), approves: true, at_micros: NOW + 1, why: Some("why".into()) }
}

/// Approves with two votes.
fn judge(approval: Option<&ApprovalRecord>) -> Result<ApprovalState, StorageError> {
    match approval.expect("it is there").votes.len() {
        0 => Ok(ApprovalState::Waiting),
        _ => Ok(ApprovalState::Approved),
    }
}

async fn approved(database: &Database, digest: &str) -> i64 {
    let id = database.ask_approval(&asked(digest), 9).await.unwrap().unwrap().id;
    for who in ["uid 1", "uid 2"] {
        let _ = database.vote(id, &by(who), judge).await.unwrap();
    }
    id
}

async fn a_request_is_found_again_until_it_ends(store: Store) {
    let database = store.migrated().await;
    let ask = async |new: &NewApproval| database.ask_approval(new, 2).await.unwrap().map(|asked| asked.id);
    assert_eq!(ask(&asked("one")).await, Some(1));
    assert_eq!(ask(&NewApproval { asked_at_micros: NOW + 999, ..asked("one") }).await, Some(1));
    let fewer = NewApproval { needed: 1, ..asked("one") };
    assert_eq!(ask(&fewer).await, Some(1), "more approvals than needed do");
    let more = ask(&NewApproval { needed: 3, ..asked("one") }).await;
    assert!(more.is_some_and(|id| id > 1), "{more:?}");
    assert_eq!(ask(&asked("two")).await, None, "the room is full");
    assert!(ask(&NewApproval { kind: "model".into(), ..asked("two") }).await.is_some(), "of another kind");
    let later = NewApproval { asked_at_micros: NOW + 1000, ends_at_micros: NOW + 2000, ..asked("one") };
    let again = ask(&later).await;
    assert!(again.is_some_and(|id| id > 1), "the first one has ended");
    let events = database.events(i64::MAX, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.event.what == "ask-approval").count(), 4);
    // A device may come again with its request for as long.
    database.await_approval("request", 1).await.unwrap();
    assert!(database.awaits_approval("request", NOW + 999).await.unwrap());
    assert!(!database.awaits_approval("request", NOW + 1000).await.unwrap());
    assert!(!database.awaits_approval("another", NOW).await.unwrap());
    // What ended long ago is forgotten with its votes.
    let _ = database.vote(1, &by("uid 1"), judge).await.unwrap();
    let month = NOW + 40 * 86_400_000_000;
    let last = NewApproval { asked_at_micros: month, ends_at_micros: month + 1, ..asked("three") };
    let last = ask(&last).await;
    let left: Vec<i64> = database.approvals(None, 9).await.unwrap().iter().map(|one| one.id).collect();
    assert_eq!(Some(left), last.map(|id| vec![id]));
    assert!(!database.awaits_approval("request", NOW).await.unwrap());
}

async fn what_others_asked_for_is_theirs(store: Store) {
    let database = store.migrated().await;
    let ask = async |kind: &str, who: &str| {
        let new = NewApproval { kind: kind.into(), asked_by: who.into(), ..asked("one") };
        database.ask_approval(&new, 9).await.unwrap().unwrap().id
    };
    let glass = ask("break-glass", "uid 0").await;
    assert_ne!(ask("break-glass", "uid 1003").await, glass, "nobody else uses it up");
    assert_eq!(ask("break-glass", "uid 0").await, glass);
    // Whoever releases an import need not have pushed it.
    assert_eq!(ask("import", "uid 0").await, ask("import", "uid 1003").await);
}

async fn votes_at_once_all_count(store: Store) {
    let database = store.migrated().await;
    let id = database.ask_approval(&asked("one"), 9).await.unwrap().unwrap().id;
    let mut tasks = Vec::new();
    for voter in 0..2 {
        let server = store.another().await;
        tasks.push(tokio::spawn(async move { server.vote(id, &by(&format!("uid {voter}")), judge).await }));
    }
    for task in tasks {
        let _ = task.await.unwrap().unwrap();
    }
    let held = database.approvals(Some(id), 1).await.unwrap().remove(0);
    assert_eq!((held.state, held.votes.len()), (ApprovalState::Approved, 2));
    let events = database.events(i64::MAX, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.event.what == "approve").count(), 2);
    // A vote that does not count leaves nothing.
    let refused = |_: Option<&ApprovalRecord>| Err(StorageError::Constraint("no".into()));
    assert!(database.vote(id, &by("uid 9"), refused).await.is_err());
    assert_eq!(database.approvals(Some(id), 1).await.unwrap(), [held]);
    let unknown = |approval: Option<&ApprovalRecord>| match approval {
        None => Err(StorageError::Constraint("unknown".into())),
        Some(_) => Ok(ApprovalState::Approved),
    };
    let unknown = database.vote(99, &by("uid 1"), unknown).await;
    assert!(matches!(unknown, Err(StorageError::Constraint(_))), "{unknown:?}");
}

async fn an_approval_is_used_once(store: Store) {
    let database = store.migrated().await;
    let id = approved(database, "one").await;
    assert!(!database.use_approval(id, "two", NOW + 2).await.unwrap(), "of something else");
    assert!(!database.use_approval(id, "one", NOW + 1000).await.unwrap(), "too late");
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let server = store.another().await;
        tasks.push(tokio::spawn(async move { server.use_approval(id, "one", NOW + 2).await.unwrap() }));
    }
    let mut used = 0;
    for task in tasks {
        used += u32::from(task.await.unwrap());
    }
    assert_eq!(used, 1);
    // A change and its approval are one.
    let id = approved(database, "two").await;
    let mut something = change("something");
    something.meta = vec![("fact".into(), "set".into())];
    something.approval = Some((id, "another".into()));
    let generation = database.generation().await.unwrap();
    let refused = database.commit(&something, &[], generation).await;
    assert!(matches!(refused, Err(CommitError::Storage(StorageError::Constraint(_)))), "{refused:?}");
    assert_eq!(database.fact("fact").await.unwrap(), None);
    something.approval = Some((id, "two".into()));
    let generation = database.commit(&something, &[], generation).await.unwrap();
    assert!(database.commit(&something, &[], generation).await.is_err());
    assert_eq!(database.approvals(Some(id), 1).await.unwrap()[0].state, ApprovalState::Used);
}

async fn a_restored_store_has_no_approvals(store: Store) {
    let database = store.migrated().await;
    let done = approved(database, "one").await;
    assert!(database.use_approval(done, "one", NOW + 2).await.unwrap());
    let _ = approved(database, "two").await;
    let _ = database.ask_approval(&asked("three"), 9).await.unwrap();
    let _ = database.begin_anew("again", 1).await.unwrap();
    let states = database.approvals(None, 9).await.unwrap();
    let states: Vec<ApprovalState> = states.iter().map(|one| one.state).collect();
    assert_eq!(states, [ApprovalState::Void, ApprovalState::Void, ApprovalState::Used]);
}
