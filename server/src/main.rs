//! `proxyd`: the server for devices and for `proxy`.

// Some variants are only made for a bucket, a collector or PostgreSQL.
#![cfg_attr(not(all(feature = "otel", feature = "postgresql", feature = "s3")), allow(dead_code))]

#[macro_use]
mod failpoint;
mod acme;
mod admin;
mod approvals;
mod backup;
mod catalog;
mod cleanup;
mod clock;
mod deltas;
mod doctor;
mod fleet;
mod http;
mod imports;
mod jobs;
mod listen;
mod logs;
mod metrics;
mod observe;
mod pages;
mod parcels;
mod plans;
mod relay;
mod renewal;
mod restore;
mod rounds;
mod run;
mod sessions;
mod signing;
mod site;
mod storage;
mod store;
mod tls;
mod unsettled;
mod upkeep;
mod verify;
mod visits;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use schema::config::{DATA_DIR_VARIABLE, default_data_dir};

/// The store server for a network without internet.
///
/// Example: proxyd --data-dir /var/lib/airlock
#[derive(Debug, Parser)]
#[command(name = "proxyd", version, verbatim_doc_comment)]
struct Args {
    /// Folder with configuration, database and snaps [default: /var/lib/airlock for root, else the user's data
    /// folder]
    #[arg(long, env = DATA_DIR_VARIABLE, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print method and path of every route of the device API, and exit
    #[arg(long, hide = true)]
    print_routes: bool,
    /// Print the OpenAPI document of the admin API, and exit
    #[arg(long, hide = true)]
    print_openapi: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Restore the backup on standard input; called by `proxy restore`
    #[command(hide = true)]
    Restore,
    /// Hold the private keys; started by proxyd itself
    #[command(hide = true)]
    Signer {
        /// Those of a PKCS#11 module
        #[arg(long)]
        module: bool,
    },
}

fn main() -> ExitCode {
    // Every file and folder says its own mode; what a library makes is nobody else's to write, whatever was inherited.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    tls::provider::install();
    let args = Args::parse();
    if let Some(Command::Signer { module }) = args.command {
        return ended(run::forbid_dumps().and_then(|()| signing::signer::run(module)), |error| {
            eprintln!("signer: {error}")
        });
    }
    if args.print_routes {
        print!("{}", http::routes::listing());
        return ExitCode::SUCCESS;
    }
    if args.print_openapi {
        println!("{:#}", admin::openapi());
        return ExitCode::SUCCESS;
    }
    #[expect(clippy::disallowed_methods, reason = "what main hands over")]
    let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let data_dir = args.data_dir.unwrap_or_else(|| {
        let root = rustix::process::geteuid().is_root();
        default_data_dir(root, variable("XDG_DATA_HOME").as_deref(), variable("HOME").as_deref())
    });
    // Programs that it starts run elsewhere.
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    let given = || {
        let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        anyhow::Ok(run::Given { credentials, ports: tls::Handed::take()? })
    };
    let given = given();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {}", schema::causes::one_line(&error));
            return ExitCode::FAILURE;
        }
    };
    let logs = logs::start(&data_dir, runtime.handle());
    let done = run::forbid_dumps().and_then(|()| match args.command {
        Some(Command::Restore) => runtime.block_on(restore::run(&data_dir)),
        _ => runtime.block_on(run::run(&data_dir, given?)),
    });
    logs.finish();
    ended(done, |error| tracing::error!("{error}"))
}

fn ended(done: anyhow::Result<()>, tell: impl FnOnce(String)) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(schema::causes::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
