//! What a snap store is made of.

pub mod assertion;
pub mod digest;
pub mod migrations;
