//! proxyd
#[macro_use]
mod failpoint;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the server that uses it is not here yet")
)]
mod storage;

fn main() {}
