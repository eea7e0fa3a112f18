//! In place of differences in a build without the feature `differences`: none is made, so files travel whole, and none is read.

use std::io::{BufRead, Read, Seek, Write};

use super::{DifferenceError, Head};
use crate::digest::Sha3_384;

/// Makes nothing: the files cannot be compared.
///
/// # Errors
/// Always.
pub fn make(
    _: (&mut (impl Read + Seek + Send), &Sha3_384),
    _: (&mut (impl Read + Seek + Send), &Sha3_384),
    _: &mut impl Write,
) -> Result<(), DifferenceError> {
    Err(DifferenceError::Unfit)
}

/// Reads nothing.
///
/// # Errors
/// Always.
pub fn read_head(_: &mut impl BufRead) -> Result<Head, DifferenceError> {
    Err(DifferenceError::Absent)
}

/// Applies nothing.
///
/// # Errors
/// Always.
pub fn apply(
    _: &Head,
    _: impl BufRead,
    _: &mut (impl Read + Seek),
    _: &mut impl Write,
) -> Result<(), DifferenceError> {
    Err(DifferenceError::Absent)
}
