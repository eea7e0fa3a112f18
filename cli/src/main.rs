//! `proxy`: the store's command line.
//!
//! It talks to the server over the admin socket in the data directory, or over HTTPS with `--server`; only `config`
//! and commands built on it also work while the server is down. [`commands`] lists all commands.

mod admin;
mod apply;
mod bars;
mod bundle;
mod commands;
mod context;
mod digest;
mod documents;
mod errors;
mod fetch;
mod key_ids;
mod kinds;
mod kit;
mod output;
mod pair;
mod parts;
mod pem_files;
mod registration;
mod remote;
#[cfg_attr(not(feature = "seal"), path = "unsealed.rs")]
mod seal;
mod sender;
mod socket;
mod stdin;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    // What is written is never for everybody to change; who wants it more private has it so.
    let shared = rustix::fs::Mode::from_raw_mode(0o022);
    let inherited = rustix::process::umask(shared);
    rustix::process::umask(inherited | shared);
    commands::run(key_ids::as_values(std::env::args_os().collect()))
}
