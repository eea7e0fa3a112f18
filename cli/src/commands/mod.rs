//! All commands of `proxy`, on one page.

mod certificates;
mod channels;
mod connected;
mod devices;
mod early;
mod help;
mod history;
mod import;
mod logins;
mod parcels;
mod program;
mod rollouts;
mod settings;
mod signing;
mod store;
mod upkeep;

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use schema::config::{DATA_DIR_VARIABLE, default_data_dir};
use schema::nearest::nearest;

use self::certificates::{acme, ca, import_certificate, remove_ca_certs, use_ca_certs};
use self::channels::{close_channel, delete_override, list_overrides, override_channel, release};
use self::connected::{
    fetch_account_keys, fetch_brand_store_metadata, fetch_snaps, fetch_store, register, whoami,
};
use self::devices::{
    block_device, deltas, device_kit, explain, list_devices, list_misses, show_device, unblock_device,
};
use self::history::{back, diff, log, tag};
use self::import::{
    inspect, push_account_keys, push_assertions, push_brand_store_metadata, push_snap, push_store, trust,
    waiting,
};
use self::logins::{create_login, list_logins, revoke_login};
use self::parcels::{push_parcel, receipt, sender, under_way};
use self::program::complete;
#[cfg(feature = "manuals")]
use self::program::{completions, man};
use self::rollouts::{device, group, rollout, train};
use self::settings::{
    config, create_database, disable_airgap_mode, enable_airgap_mode, generate_keys, migrate_database,
    rotate_secret,
};
use self::signing::{break_glass, keymgr, keys, models, register_key, serials};
use self::store::{
    approvals, audit, check_connections, doctor, list_account_keys, list_imports, list_pushed_snaps,
    list_stores, open, status,
};
use self::upkeep::{backup, gc, jobs, prune, remove_account_key, remove_snap, remove_store, restore, verify};
use crate::context::Context;
use crate::errors;
use crate::output::{self, Output};
use crate::remote::{Address, RemoteArgs};

/// The names that this program answers to, its own first.
const PROGRAM_NAMES: [&str; 4] = ["proxy", "snap-proxy", "snap-store-proxy", "enterprise-store"];

/// The heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// The operator's command line for a snap store in a network without internet.
#[derive(Debug, Parser)]
#[command(name = "proxy", version, arg_required_else_help = true)]
struct Cli {
    /// The server's data directory [default: /var/lib/airlock for root, else airlock in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR", env = DATA_DIR_VARIABLE, help_heading = EVERYWHERE)]
    data_dir: Option<PathBuf>,

    /// Use the server at https://HOST:PORT, its proxy.admin.address, instead of the one on this host
    #[arg(long, global = true, value_name = "URL", env = "AIRLOCK_SERVER", help_heading = EVERYWHERE)]
    server: Option<Address>,

    /// Use this socket of a server on this host, its proxy.admin.read-socket, which is for reading only
    #[arg(long, global = true, value_name = "PATH", env = "AIRLOCK_SOCKET", conflicts_with = "server", help_heading = EVERYWHERE)]
    socket: Option<PathBuf>,

    /// File with the login for --server; `create-login --acl admin` creates one
    #[arg(long, global = true, value_name = "FILE", env = "AIRLOCK_TOKEN_FILE", help_heading = EVERYWHERE)]
    token_file: Option<PathBuf>,

    /// PEM file with the only authorities to trust for --server [default: the system's]
    #[arg(long, value_name = "FILE", env = "AIRLOCK_CA", help_heading = EVERYWHERE)]
    ca: Option<PathBuf>,

    /// PEM file with the client certificate, for --server and for the store that fetch-… commands fetch from
    #[arg(long, value_name = "FILE", env = "AIRLOCK_CERT", requires = "key", help_heading = EVERYWHERE)]
    cert: Option<PathBuf>,

    /// PEM file with the private key of --cert
    #[arg(long, value_name = "FILE", env = "AIRLOCK_KEY", requires = "cert", help_heading = EVERYWHERE)]
    key: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Config(config::Args),
    GenerateKeys(generate_keys::Args),
    CreateDatabase(create_database::Args),
    MigrateDatabase(migrate_database::Args),
    EnableAirgapMode(enable_airgap_mode::Args),
    DisableAirgapMode(disable_airgap_mode::Args),
    #[command(alias = "reregister")]
    Register(register::Args),
    Trust(trust::Args),
    FetchSnaps(fetch_snaps::Args),
    FetchStore(fetch_store::Args),
    FetchBrandStoreMetadata(fetch_brand_store_metadata::Args),
    FetchAccountKeys(fetch_account_keys::Args),
    RegisterKey(register_key::Args),
    Whoami(whoami::Args),
    Inspect(inspect::Args),
    ImportCertificate(import_certificate::Args),
    Ca(ca::Args),
    Acme(acme::Args),
    UseCaCerts(use_ca_certs::Args),
    RemoveCaCerts(remove_ca_certs::Args),
    #[command(visible_alias = "push-snaps")]
    PushSnap(push_snap::Args),
    PushStore(push_store::Args),
    PushParcel(push_parcel::Args),
    Receipt(receipt::Args),
    Sender(sender::Args),
    Parcels(under_way::Args),
    Imports(waiting::Args),
    PushBrandStoreMetadata(push_brand_store_metadata::Args),
    PushAccountKeys(push_account_keys::Args),
    PushAssertions(push_assertions::Args),
    ListImports(list_imports::Args),
    ListPushedSnaps(list_pushed_snaps::Args),
    ListStores(list_stores::Args),
    ListAccountKeys(list_account_keys::Args),
    CreateLogin(create_login::Args),
    ListLogins(list_logins::Args),
    RevokeLogin(revoke_login::Args),
    Status(status::Args),
    Open(open::Args),
    Jobs(jobs::Args),
    DeviceKit(device_kit::Args),
    Doctor(doctor::Args),
    CheckConnections(check_connections::Args),
    Override(override_channel::Args),
    ListOverrides(list_overrides::Args),
    DeleteOverride(delete_override::Args),
    Log(log::Args),
    Diff(diff::Args),
    Tag(tag::Args),
    Back(back::Args),
    Audit(audit::Args),
    Release(release::Args),
    CloseChannel(close_channel::Args),
    RemoveSnap(remove_snap::Args),
    RemoveStore(remove_store::Args),
    RemoveAccountKey(remove_account_key::Args),
    Prune(prune::Args),
    Deltas(deltas::Args),
    ListDevices(list_devices::Args),
    ShowDevice(show_device::Args),
    Explain(explain::Args),
    ListMisses(list_misses::Args),
    Keys(keys::Args),
    Keymgr(keymgr::Args),
    Models(models::Args),
    Serials(serials::Args),
    BreakGlass(break_glass::Args),
    Approvals(approvals::Args),
    RotateSecret(rotate_secret::Args),
    Verify(verify::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Gc(gc::Args),
    Device(device::Args),
    Group(group::Args),
    Rollout(rollout::Args),
    Train(train::Args),
    BlockDevice(block_device::Args),
    UnblockDevice(unblock_device::Args),
    #[cfg(feature = "manuals")]
    Completions(completions::Args),
    #[command(hide = true)]
    Complete(complete::Args),
    #[cfg(feature = "manuals")]
    Man(man::Args),
}

impl Command {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Config(args) => config::run(args, context).await,
            Self::GenerateKeys(args) => generate_keys::run(args, context).await,
            Self::CreateDatabase(args) => create_database::run(args, context),
            Self::MigrateDatabase(args) => migrate_database::run(args, context).await,
            Self::EnableAirgapMode(args) => enable_airgap_mode::run(args, context).await,
            Self::DisableAirgapMode(args) => disable_airgap_mode::run(args, context).await,
            Self::Register(args) => register::run(args, context).await,
            Self::Trust(args) => trust::run(args, context).await,
            Self::Jobs(args) => jobs::run(args, context).await,
            Self::FetchSnaps(args) => fetch_snaps::run(args, context).await,
            Self::FetchStore(args) => fetch_store::run(args, context).await,
            Self::FetchBrandStoreMetadata(args) => fetch_brand_store_metadata::run(args, context).await,
            Self::FetchAccountKeys(args) => fetch_account_keys::run(args, context).await,
            Self::RegisterKey(args) => register_key::run(args, context).await,
            Self::Keys(args) => keys::run(args, context).await,
            Self::Keymgr(args) => keymgr::run(args, context).await,
            Self::Models(args) => models::run(args, context).await,
            Self::Serials(args) => serials::run(args, context).await,
            Self::BreakGlass(args) => break_glass::run(args, context).await,
            Self::Approvals(args) => approvals::run(args, context).await,
            Self::Whoami(args) => whoami::run(args, context).await,
            Self::Inspect(args) => inspect::run(args, context).await,
            Self::ImportCertificate(args) => import_certificate::run(args, context).await,
            Self::Acme(args) => acme::run(args, context).await,
            Self::Ca(args) => ca::run(args, context).await,
            Self::UseCaCerts(args) => use_ca_certs::run(args, context).await,
            Self::RemoveCaCerts(args) => remove_ca_certs::run(args, context).await,
            Self::PushSnap(args) => push_snap::run(args, context).await,
            Self::PushStore(args) => push_store::run(args, context).await,
            Self::PushParcel(args) => push_parcel::run(args, context).await,
            Self::Receipt(args) => receipt::run(args, context).await,
            Self::Sender(args) => sender::run(args, context).await,
            Self::Parcels(args) => under_way::run(args, context).await,
            Self::Imports(args) => waiting::run(args, context).await,
            Self::PushBrandStoreMetadata(args) => push_brand_store_metadata::run(args, context).await,
            Self::PushAccountKeys(args) => push_account_keys::run(args, context).await,
            Self::PushAssertions(args) => push_assertions::run(args, context).await,
            Self::ListImports(args) => list_imports::run(args, context).await,
            Self::ListPushedSnaps(args) => list_pushed_snaps::run(args, context).await,
            Self::ListStores(args) => list_stores::run(args, context).await,
            Self::ListAccountKeys(args) => list_account_keys::run(args, context).await,
            Self::CreateLogin(args) => create_login::run(args, context).await,
            Self::ListLogins(args) => list_logins::run(args, context).await,
            Self::RevokeLogin(args) => revoke_login::run(args, context).await,
            Self::Open(args) => open::run(args, context).await,
            Self::Status(args) => status::run(args, context).await,
            Self::DeviceKit(args) => device_kit::run(args, context).await,
            Self::Doctor(args) => doctor::run(args, context).await,
            Self::CheckConnections(args) => check_connections::run(args, context).await,
            Self::Override(args) => override_channel::run(args, context).await,
            Self::ListOverrides(args) => list_overrides::run(args, context).await,
            Self::DeleteOverride(args) => delete_override::run(args, context).await,
            Self::Log(args) => log::run(args, context).await,
            Self::Diff(args) => diff::run(args, context).await,
            Self::Tag(args) => tag::run(args, context).await,
            Self::Back(args) => back::run(args, context).await,
            Self::Audit(args) => audit::run(args, context).await,
            Self::Release(args) => release::run(args, context).await,
            Self::CloseChannel(args) => close_channel::run(args, context).await,
            Self::RemoveSnap(args) => remove_snap::run(args, context).await,
            Self::RemoveStore(args) => remove_store::run(args, context).await,
            Self::RemoveAccountKey(args) => remove_account_key::run(args, context).await,
            Self::Prune(args) => prune::run(args, context).await,
            Self::Deltas(args) => deltas::run(args, context).await,
            Self::ListDevices(args) => list_devices::run(args, context).await,
            Self::ShowDevice(args) => show_device::run(args, context).await,
            Self::Explain(args) => explain::run(args, context).await,
            Self::ListMisses(args) => list_misses::run(args, context).await,
            Self::Verify(args) => verify::run(args, context).await,
            Self::Backup(args) => backup::run(args, context).await,
            Self::Restore(args) => restore::run(args, context).await,
            Self::Gc(args) => gc::run(args, context).await,
            Self::RotateSecret(args) => rotate_secret::run(args, context).await,
            Self::Device(args) => device::run(args, context).await,
            Self::Group(args) => group::run(args, context).await,
            Self::Rollout(args) => rollout::run(args, context).await,
            Self::Train(args) => train::run(args, context).await,
            Self::BlockDevice(args) => block_device::run(args, context).await,
            Self::UnblockDevice(args) => unblock_device::run(args, context).await,
            #[cfg(feature = "manuals")]
            Self::Completions(args) => completions::run(args, context),
            Self::Complete(args) => complete::run(args, context).await,
            #[cfg(feature = "manuals")]
            Self::Man(args) => man::run(args, context),
        }
    }
}

/// The command failed and has reported it in full: print nothing more, exit with code 1.
#[derive(Debug, thiserror::Error)]
#[error("reported")]
struct Reported;

/// Runs the command named by the arguments; the first argument is the program's name.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let program = called_as(args.first().map(OsString::as_os_str));
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    output::begin(program, json);
    let grammar = grammar(program);
    let args = early::moved_to_front(args, &grammar);
    let parsed = grammar.try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found));
    match parsed.map_err(Into::into).and_then(|cli| dispatch(cli, program)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(usage) if usage.kind() == ErrorKind::InvalidSubcommand => {
                let (message, next) = unknown_command(usage, program);
                errors::mistake(&message, next);
                ExitCode::from(2)
            }
            Some(usage)
                if json
                    && matches!(
                        usage.kind(),
                        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
                    ) =>
            {
                errors::incomplete(usage, &self::grammar(program));
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
            }
            Some(usage) if json && usage.use_stderr() => {
                errors::usage(usage);
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
            }
            // Help and version also arrive here, with exit code 0.
            Some(usage) if usage.use_stderr() => {
                let text = usage.render();
                let text =
                    if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
                let _ = io::stderr().write_all(errors::in_own_words(&text).as_bytes());
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
            }
            Some(usage) => match usage.print().and_then(|()| io::stdout().flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    errors::report(&anyhow::Error::new(error).context("cannot write the help"));
                    ExitCode::FAILURE
                }
                _ => ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)),
            },
            None => {
                if !error.is::<Reported>() {
                    errors::report(&error);
                }
                ExitCode::FAILURE
            }
        },
    }
}

/// Commands of the closed product that have another form here, or none.
const ELSEWHERE: [(&str, &str); 6] = [
    (
        "add-admin",
        "accounts of the vendor's login service mean nothing here; `PROXY create-login --acl admin FILE` makes a login",
    ),
    (
        "login",
        "`PROXY create-login --acl admin FILE` on the store's host makes a login, and --token-file takes it",
    ),
    ("migrate-from-beta", "`PROXY restore` and `PROXY migrate-database` move a store"),
    ("push-charms", "this store holds snaps only"),
    ("push-charm-bundle", "this store holds snaps only"),
    (
        "store-admin",
        "`PROXY register --import FILE` takes a registration, and `PROXY fetch-store` carries a store",
    ),
];

/// A command that does not exist, with the one that was probably meant, and what lists those that do.
fn unknown_command(usage: &clap::Error, program: &'static str) -> (String, String) {
    let word = match usage.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => word.as_str(),
        _ => "",
    };
    let like: &[String] = match usage.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(like)) => like,
        _ => &[],
    };
    let group = errors::asked(&usage.render().to_string()).filter(|group| group != program);
    let (all, group) = match &group {
        Some(group) => (format!("{group} --help"), format!(" of `{group}`")),
        None => (format!("{program} help"), String::new()),
    };
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == word && group.is_empty()) {
        return (format!("there is no command {word}: {}", instead.replace("PROXY", program)), all);
    }
    let meant = nearest(word, like.iter().map(String::as_str));
    let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    (format!("there is no command {word}{group}: {meant}`{all}` lists all"), all)
}

fn dispatch(cli: Cli, program: &'static str) -> anyhow::Result<()> {
    let default = || {
        #[expect(clippy::disallowed_methods, reason = "where the data directory is by default")]
        let folder = |name| std::env::var_os(name);
        let (data, home) = (folder("XDG_DATA_HOME"), folder("HOME"));
        default_data_dir(rustix::process::geteuid().is_root(), data.as_deref(), home.as_deref())
    };
    let (token_file, ca) = (cli.token_file, cli.ca);
    let client: Option<[PathBuf; 2]> = cli.cert.zip(cli.key).map(Into::into);
    let context = Context {
        data_dir: cli.data_dir.unwrap_or_else(default),
        remote: cli.server.map(|server| RemoteArgs { server, token_file, ca, client: client.clone() }),
        client,
        socket: cli.socket,
        program,
        out: Output::new(cli.json),
        lock: OnceCell::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(cli.command.run(&context));
    // A thread may still wait for a slow file that is no longer needed.
    runtime.shutdown_background();
    done
}

/// The name that the program was called by, if known.
fn called_as(first: Option<&OsStr>) -> &'static str {
    let file = first.map(Path::new).and_then(Path::file_name);
    PROGRAM_NAMES.into_iter().find(|name| file == Some(OsStr::new(name))).unwrap_or(PROGRAM_NAMES[0])
}

/// The command line grammar, with examples in the name that the program was called by.
fn grammar(program: &'static str) -> clap::Command {
    help::grouped(help::renamed(Cli::command().name(program), program))
}

/// A usage error that only shows at run time.
fn usage(program: &'static str, command: &str, text: impl std::fmt::Display) -> anyhow::Error {
    let mut grammar = grammar(program);
    grammar.build();
    let kind = clap::error::ErrorKind::ArgumentConflict;
    match grammar.find_subcommand_mut(command) {
        Some(sub) => sub.error(kind, text).into(),
        None => grammar.error(kind, text).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with every command and its words.
    fn each(command: &clap::Command, words: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        for sub in command.get_subcommands() {
            let words = format!("{words} {}", sub.get_name());
            visit(&words, sub);
            each(sub, &words, visit);
        }
    }

    #[test]
    fn the_grammar_holds_together() {
        grammar("proxy").debug_assert();
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        for program in PROGRAM_NAMES {
            each(&grammar(program), program, &mut |words, command| {
                let help = command.get_before_help().map(ToString::to_string).unwrap_or_default();
                let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
                assert!(examples.iter().any(|example| example.contains(words)), "{words}: {help}");
                for example in examples {
                    let mut stages = example.split('|').map(str::trim);
                    let own = stages.find(|stage| stage.starts_with(program)).unwrap_or_default();
                    let line = own.split(['<', '>']).next().unwrap_or_default();
                    let args = line.split_whitespace().map(|word| word.trim_matches('\''));
                    assert!(Cli::try_parse_from(args).is_ok(), "{example}");
                }
                assert!(command.get_about().is_some(), "{words} says what it does");
            });
        }
    }

    #[test]
    fn examples_of_settings_parse() {
        for command in schema::config::KEYS.iter().filter_map(schema::config::Key::command) {
            let line = command.split(['<', '>']).next().unwrap_or_default();
            assert!(Cli::try_parse_from(line.split_whitespace()).is_ok(), "{command}");
        }
    }

    #[test]
    fn only_own_names_are_mentioned() {
        for (first, wanted) in [
            (Some("/usr/bin/snap-store-proxy"), "snap-store-proxy"),
            (Some("enterprise-store"), "enterprise-store"),
            (Some("./snap-proxy"), "snap-proxy"),
            (Some("something"), "proxy"),
            (Some("/"), "proxy"),
            (None, "proxy"),
        ] {
            assert_eq!(called_as(first.map(OsStr::new)), wanted);
        }
    }
}
