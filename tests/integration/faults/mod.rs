//! Faults at every step: the server is killed, its disk or its database fails, the power is cut. Whatever happens,
//! devices see the old state or the new one, acknowledged changes stay, and repeating the action leads to the result
//! of one clean run.
//!
//! | Module | Fault |
//! |---|---|
//! | [`sweep`] | the server dies at, or is refused, the N-th step of an operation, for every N |
//! | [`minting`] | the same while a session is issued |
//! | [`issuing`] | the same while a serial is given out |
//! | [`moving`] | the same while everything is copied into PostgreSQL |
//! | [`birth`] | the same from a data directory that contains only the settings |
//! | [`power`] | images of the volume as a power cut leaves it |
//! | [`full`] | a volume with less and less room |
//! | [`outages`] | PostgreSQL stopped, frozen, read-only and locked, under load |
//!
//! `AIRLOCK_FAULTS=long cargo nextest run -p tests faults` runs every operation on both engines, and more of the
//! rest.

mod answers;
mod birth;
mod full;
mod issuing;
mod minting;
mod moving;
mod operations;
mod outages;
mod power;
mod scene;
mod sweep;

pub(crate) use full::leave;
pub(crate) use power::Volume;
pub(crate) use scene::Place;

/// The minimum number of kills in an ordinary run, by test. Each is at a separate step, with something done since the
/// previous one (`server/src/failpoint.rs`), and is followed by a start, a check of everything and a repetition of
/// the operation.
mod kills {
    pub(super) const PUSHES: u32 = 140;
    pub(super) const SETTINGS: u32 = 85;
    pub(super) const CHANGES: u32 = 140;
    pub(super) const PUSHES_ON_POSTGRESQL: u32 = 65;
    pub(super) const CHANGES_ON_POSTGRESQL: u32 = 48;
    pub(super) const MOVE: u32 = 40;
    pub(super) const BIRTHS: u32 = 26;

    const OF_ONE_ENGINE: u32 = PUSHES + SETTINGS + CHANGES + BIRTHS;
    const _: () = assert!(OF_ONE_ENGINE + PUSHES_ON_POSTGRESQL + CHANGES_ON_POSTGRESQL + MOVE >= 500);
}

/// Whether this is the long run.
fn long() -> bool {
    std::env::var_os("AIRLOCK_FAULTS").is_some_and(|value| value == "long")
}
