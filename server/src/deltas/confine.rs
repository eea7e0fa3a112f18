//! What a program may do that is given the files of strangers: read these, write into its own folder, and little else.

use std::collections::BTreeMap;
use std::path::Path;
use std::{io, thread};

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    path_beneath_rules,
};
use nix::libc::{EPERM, SYS_io_uring_setup, SYS_kill, SYS_ptrace, SYS_socket};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// What opens a connection, and what reaches into another process.
const REFUSED: [i64; 4] = [SYS_socket, SYS_io_uring_setup, SYS_kill, SYS_ptrace];
/// What every program on this host needs to start.
const PROGRAMS: [&str; 6] = ["/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache"];

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    /// The kernel filters no system calls.
    #[error("cannot refuse system calls to it")]
    Calls(#[from] seccompiler::Error),
    /// A rule for files was refused.
    #[error("cannot refuse files to it")]
    Files(#[from] RulesetError),
    /// It does not start.
    #[error("cannot start it")]
    Start(#[from] io::Error),
}

/// Starts a program from a thread that gives up its rights first, because what a thread starts has none that the thread lacks. A kernel
/// without Landlock refuses it the network and other processes, and no files.
pub(super) fn spawn(command: &mut Command, read: &[&Path], folder: &Path) -> Result<Child, ConfineError> {
    let runtime = Handle::current();
    let start = || {
        give_up(read, folder)?;
        let _runtime = runtime.enter();
        Ok(command.spawn()?)
    };
    thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked").into()))
}

/// Takes rights from this thread, for good.
fn give_up(read: &[&Path], folder: &Path) -> Result<(), ConfineError> {
    // It is for whoever has nothing better to do.
    let _ = rustix::process::nice(19);
    let (all, look) = (AccessFs::from_all(ABI::V5), AccessFs::from_read(ABI::V5));
    Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(PROGRAMS, look))?
        .add_rules(path_beneath_rules(read, look))?
        .add_rules(path_beneath_rules([folder, Path::new("/dev/null")], all & !AccessFs::Execute))?
        .restrict_self()?;
    let refused: BTreeMap<i64, Vec<_>> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(EPERM.unsigned_abs());
    let here = std::env::consts::ARCH.try_into().map_err(seccompiler::Error::Backend)?;
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refuse, here);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).map_err(seccompiler::Error::Backend)?;
    Ok(seccompiler::apply_filter(&filter)?)
}
