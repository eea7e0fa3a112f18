//! Replaces `postgres.rs` in a build without the feature `postgresql`: no `Postgres` can exist, so none of its methods
//! ever runs.

use std::convert::Infallible;
use std::time::Duration;

use super::super::error::StorageError;
use super::{Lane, Mode, PoolState, Row, Sql, Value};

pub(super) const TABLES: Sql = Sql::new("TABLES", "");
pub(super) const CONTINUES: Sql = Sql::new("CONTINUES", "");
pub(super) const BEGIN_LIFE: Sql = Sql::new("BEGIN_LIFE", "");

/// A database of PostgreSQL; has no value in this build.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Postgres(Infallible);

/// A transaction in one; has no value in this build.
#[derive(Debug)]
pub(super) struct PostgresTransaction(Infallible);

impl Postgres {
    pub(in crate::storage) fn open(_: &str) -> Result<Postgres, StorageError> {
        let problem =
            "this proxyd was built without the feature `postgresql`; build it with `--features postgresql`";
        Err(StorageError::Settings(problem.into()))
    }

    pub(super) async fn query(&self, _: Lane, _: Sql, _: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        match self.0 {}
    }

    pub(super) async fn begin(&self, _: Lane, _: Mode) -> Result<PostgresTransaction, StorageError> {
        match self.0 {}
    }

    pub(super) async fn health(&self) -> Result<(), StorageError> {
        match self.0 {}
    }

    pub(super) fn pools(&self) -> Vec<PoolState> {
        match self.0 {}
    }

    pub(super) async fn announced(&self, _: Duration) {
        match self.0 {}
    }
}

impl PostgresTransaction {
    pub(super) async fn query(&mut self, _: Sql, _: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        match self.0 {}
    }

    pub(super) async fn each(&mut self, _: Sql, _: Vec<Vec<Value>>) -> Result<Vec<Vec<Row>>, StorageError> {
        match self.0 {}
    }

    pub(super) async fn script(&mut self, _: &'static str) -> Result<(), StorageError> {
        match self.0 {}
    }

    pub(super) async fn lock_schema(&mut self) -> Result<(), StorageError> {
        match self.0 {}
    }

    pub(super) async fn announce(&mut self) -> Result<(), StorageError> {
        match self.0 {}
    }

    pub(super) async fn commit(self) -> Result<(), StorageError> {
        match self.0 {}
    }
}
