//! Replaces `bucket.rs` in a build without the feature `s3`: no `Bucket` can exist, so none of its methods ever runs.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use schema::config;
use schema::digest::Sha3_384;
use tokio_util::bytes::Bytes;

use super::BlobError;
use super::condition::{Condition, Harm};
use super::local::{Listed, Published};
use super::pace::Pace;

/// A bucket; has no value in this build.
#[derive(Debug)]
pub(crate) struct Bucket(Infallible);

/// An object in a bucket; has no value in this build.
#[derive(Debug, Clone)]
pub(crate) struct Object(Infallible);

impl Bucket {
    pub(crate) fn of(_: &config::Bucket) -> Result<Self, BlobError> {
        Err(BlobError::Setting {
            key: "proxy.storage.backend",
            problem: "this proxyd was built without the feature `s3`; build it with `--features s3`".into(),
        })
    }

    pub(super) fn shown(&self) -> String {
        match self.0 {}
    }

    pub(super) fn open(self: &Arc<Self>, _: &Sha3_384, _: u64) -> Result<Object, BlobError> {
        match self.0 {}
    }

    pub(super) fn examine(self: &Arc<Self>, _: &Sha3_384, _: u64, _: &Pace) -> io::Result<Condition> {
        match self.0 {}
    }

    pub(super) fn publish(
        self: &Arc<Self>,
        _: &Path,
        _: &mut File,
        _: &Sha3_384,
        _: u64,
    ) -> io::Result<Published> {
        match self.0 {}
    }

    pub(super) fn stands(&self, _: &Sha3_384, _: u64) -> io::Result<bool> {
        match self.0 {}
    }

    pub(super) fn end_upload(&self, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        match self.0 {}
    }

    pub(super) fn remove(&self, _: &Sha3_384) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn set_aside(&self, _: &Sha3_384, _: &Harm) -> io::Result<bool> {
        match self.0 {}
    }

    pub(super) fn damaged(&self) -> io::Result<Vec<Sha3_384>> {
        match self.0 {}
    }

    pub(super) fn forget_damage(&self, _: &Sha3_384) -> io::Result<bool> {
        match self.0 {}
    }

    pub(super) fn try_write(&self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Object {
    pub(crate) fn size(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) async fn read_range(&self, _: Range<u64>) -> io::Result<Bytes> {
        match self.0 {}
    }
}

impl Read for Object {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}
