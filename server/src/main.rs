//! `proxyd`: the store that devices and the operator's companion talk to.

#[macro_use]
mod failpoint;
mod acme;
mod admin;
mod backup;
mod catalog;
mod cleanup;
mod clock;
mod doctor;
mod health;
mod http;
mod imports;
mod listen;
mod logs;
mod observe;
mod places;
mod relay;
mod restore;
mod run;
mod sessions;
mod sightings;
mod storage;
mod store;
mod tls;
mod unsettled;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use schema::config::{DATA_DIR_VARIABLE, default_data_dir};

/// The store server of a network without internet.
///
/// Example: proxyd --data-dir /var/lib/airlock
#[derive(Debug, Parser)]
#[command(name = "proxyd", version, verbatim_doc_comment)]
struct Args {
    /// Where configuration, database and snaps lie [default: /var/lib/airlock for root, else the data folder of the user]
    #[arg(long, env = DATA_DIR_VARIABLE, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print method and path of every route of the device API, and end
    #[arg(long, hide = true)]
    print_routes: bool,
    /// Print the OpenAPI document of the admin API, and end
    #[arg(long, hide = true)]
    print_openapi: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put the backup on standard input in place; `proxy restore` calls this
    #[command(hide = true)]
    Restore,
}

fn main() -> ExitCode {
    tls::provider::install();
    let args = Args::parse();
    if args.print_routes {
        print!("{}", http::routes::listing());
        return ExitCode::SUCCESS;
    }
    if args.print_openapi {
        println!("{:#}", admin::openapi());
        return ExitCode::SUCCESS;
    }
    let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let data_dir = args.data_dir.unwrap_or_else(|| {
        let root = rustix::process::geteuid().is_root();
        default_data_dir(root, variable("XDG_DATA_HOME").as_deref(), variable("HOME").as_deref())
    });
    let given = || {
        let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        anyhow::Ok(run::Given { credentials, ports: tls::Handed::take()? })
    };
    let given = given();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let logs = logs::start(&data_dir, runtime.handle());
    let ended = match args.command {
        Some(Command::Restore) => runtime.block_on(restore::run(&data_dir)),
        None => given.and_then(|given| runtime.block_on(run::run(&data_dir, given))),
    };
    logs.finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
