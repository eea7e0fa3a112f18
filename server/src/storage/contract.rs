//! What both engines must do: one test suite, run on each of them.

mod approvals;
mod audit;
mod chain;
mod changes;
mod copy;
mod devices;
mod downloads;
pub(crate) mod fixture;
mod grant_history;
pub(crate) mod history;
mod kills;
mod measures;
mod nonces;
mod outages;
mod rollouts;
mod schema;
mod serials;

/// Turns each named test into one for SQLite and one for PostgreSQL.
macro_rules! contract {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::storage::contract::fixture::Store::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::storage::contract::fixture::Store::postgres().await).await;
            })+
        }
    };
}
use contract;
