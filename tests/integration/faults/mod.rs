//! Faults at every step: the server is killed, its disk or its database fails, the power is cut. Whatever happens, devices
//! see the state of before or the state of after, what was acknowledged stays, and doing it again ends where one clean
//! run would have ended.
//!
//! | Module | Fault |
//! |---|---|
//! | [`sweep`] | the server dies at, or is refused, the N-th step of an operation, for every N |
//! | [`minting`] | the same while a session is given out |
//! | [`birth`] | the same from a data directory that holds nothing but the settings |
//! | [`power`] | images of the volume as a power cut leaves it |
//! | [`full`] | a volume with less and less room |
//! | [`outages`] | PostgreSQL stopped, frozen, read-only and locked, under load |
//!
//! `AIRLOCK_FAULTS=long cargo nextest run -p tests faults` runs every operation on both engines, and more of the rest.

mod answers;
mod birth;
mod full;
mod minting;
mod operations;
mod outages;
mod power;
mod scene;
mod sweep;

/// Is this the long run?
fn long() -> bool {
    std::env::var_os("AIRLOCK_FAULTS").is_some_and(|value| value == "long")
}
