//! What a snap store is made of.

pub mod migrations;
