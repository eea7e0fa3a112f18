//! Changes are made one after another.

use std::pin::pin;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::*;
use crate::storage::contract::fixture::{self, change};

#[tokio::test]
async fn a_change_is_planned_when_the_one_under_way_is_published() {
    let database = fixture::Store::sqlite().await;
    database.migrated().await;
    let empty = Catalog::compile(database.database.load().await.unwrap(), "http://store.test", None).unwrap();
    let store = Store::new(database.database.clone(), empty, || "http://store.test".to_owned());
    let (decide, decided) = oneshot::channel::<()>();
    let decided = decided.shared();

    let mut first = pin!(store.change_after(|catalog| {
        let decided = decided.clone();
        async move {
            decided.await.unwrap();
            Ok::<_, CommitError>((change("first"), catalog.position.generation))
        }
    }));
    assert!(first.as_mut().now_or_never().is_none(), "it waits for the operator's word");
    let second =
        store.change(|catalog| Ok::<_, CommitError>((change("second"), catalog.position.generation)));
    let mut second = pin!(second);
    assert!(second.as_mut().now_or_never().is_none(), "it waits for the first");

    decide.send(()).unwrap();
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.unwrap(), second.unwrap()), (0, 1), "the generations that they were planned on");
}
