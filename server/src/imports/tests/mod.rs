//! Imports against a small world in memory, signed with throwaway keys; and whole bundles through real files.

mod archives;
mod bundles;
mod components;
mod edges;
mod files;
mod others;
mod proofs;
mod views;
pub(crate) mod world;
