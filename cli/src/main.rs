//! `proxy`: the operator's companion of the store.
//!
//! It asks the server over the admin socket in the data directory, or over HTTPS where `--server` says so; only `config`
//! and what builds on it also work while the server is down. [`commands`] is the page that lists everything it can do.

mod admin;
mod apply;
mod bundle;
mod commands;
mod context;
mod digest;
mod fetch;
mod key_ids;
mod kit;
mod output;
mod pair;
mod parts;
mod pem_files;
mod registration;
mod remote;
mod seal;
mod socket;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(key_ids::as_values(std::env::args_os().collect()))
}
