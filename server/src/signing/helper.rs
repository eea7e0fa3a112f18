//! The signer as `proxyd` sees it: started when something is to be signed, started anew after it died.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::causes::one_line;
use schema::signing::{SealingKey, secret_for_tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::wire::{self, Module, Reply, Request};
use super::{MODULE, PIN_FILE};
use crate::storage::error::StorageError;

/// This very program, even if its file was replaced meanwhile.
const OWN: &str = "/proc/self/exe";
/// How long one answer may take, and how long a request may wait for its turn: a device gives up after 30 seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_FOR_A_KEY: Duration = Duration::from_secs(120);
/// Longest PIN, in bytes.
const LONGEST_PIN: u64 = 1024;
/// What the service manager tells proxyd, and nobody else.
const SERVICE_VARIABLES: [&str; 6] =
    ["CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID"];

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SignerError {
    /// The configuration has no secret for sealed keys.
    #[error(
        "proxy.signing.secret is not set here: restore it from the backup, or from the other server, with \
         `proxy config --import-yaml`"
    )]
    NoSecret,
    /// The configuration names no PKCS#11 module, or no PIN.
    #[error("{0} is not set here: `proxy config {0}=FILE`, see `proxy config --describe {0}`")]
    NoModule(&'static str),
    /// The file with the PIN.
    #[error("cannot use the PIN in {0} (proxy.signing.pkcs11.pin-file)")]
    PinFile(PathBuf, #[source] io::Error),
    /// The token refused the PIN; it is not tried again.
    #[error(
        "{why}: write the right one into {file}; this one is not tried again, because that may lock the token for good"
    )]
    Pin {
        /// What the token says.
        why: String,
        /// The file.
        file: PathBuf,
    },
    /// The token failed; the next request starts the signer anew.
    #[error("{0}")]
    Token(String),
    /// Too many requests wait for it.
    #[error("the signer is busy")]
    Busy,
    /// The key has signed as much as it may today.
    #[error(
        "key {key} has signed the {most} documents that it may sign in a day: it goes on at midnight UTC, or after `proxy keys \
         limit {key} --none`"
    )]
    DayLimit {
        /// Its name.
        key: String,
        /// Its limit.
        most: u32,
    },
    /// The database, which counts.
    #[error("cannot count the signature")]
    Storage(#[from] StorageError),
    /// The process cannot be started.
    #[error("cannot start the signer")]
    Start(#[source] io::Error),
    /// The process died or was killed; the next request starts it again.
    #[error("the signer ended in the middle")]
    Died(#[source] io::Error),
    /// The process did not answer in time, and was ended.
    #[error("the signer did not answer")]
    Slow,
    /// The signer refused.
    #[error("the signer refused: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the signer answered something else")]
    Nonsense,
    /// Its signature does not verify; it does not leave this host.
    #[error("the signer answered a document that does not verify")]
    Wrong(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SignerError {
    /// The command that the operator types next, safe as it is.
    pub(crate) fn next(&self) -> String {
        match self {
            Self::NoSecret | Self::Refused(_) => "proxy config --import-yaml FILE".to_owned(),
            Self::NoModule(key) => format!("proxy config --describe {key}"),
            Self::PinFile(file, _) | Self::Pin { file, .. } => match file.starts_with("/run/credentials") {
                true => "install -m 600 token.pin /etc/airlock/credentials/pkcs11.pin && systemctl restart airlock"
                    .to_owned(),
                false => format!("install -m 600 token.pin {}", file.display()),
            },
            // It says what is to be done with the token, and the list tries it again.
            _ => "proxy keys list".to_owned(),
        }
    }
}

/// What a signer is started with.
pub(super) struct Config {
    secret: Zeroizing<[u8; 32]>,
    /// The id of the configured secret, also where the signer gets one that is derived from it.
    sealed_by: String,
    /// The PKCS#11 library and the file with the PIN, as configured.
    module: Option<[PathBuf; 2]>,
}

impl Config {
    /// For sealed keys, or for those of a module.
    pub(super) fn new(secret: &[u8; 32], module: Option<[PathBuf; 2]>) -> Option<Self> {
        let sealed_by = SealingKey::new(secret)?.id().to_owned();
        let secret = if module.is_some() { secret_for_tokens(secret) } else { Zeroizing::new(*secret) };
        Some(Self { secret, sealed_by, module })
    }

    fn is(&self, other: &Self) -> bool {
        (&self.secret, &self.module) == (&other.secret, &other.module)
    }
}

/// A signer, running or not.
#[derive(Default)]
pub(super) struct Helper {
    config: ArcSwapOption<Config>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    running: Option<Running>,
    /// The PIN that a token refused, and what it said.
    refused: Option<(Zeroizing<String>, String)>,
}

struct Running {
    socket: UnixStream,
    /// Killed when this is dropped.
    _process: Child,
    config: Arc<Config>,
}

impl Helper {
    /// Applies the configuration; a signer with another one is replaced at the next request.
    pub(super) fn configure(&self, config: Option<Config>) {
        self.config.store(config.map(Arc::new));
    }

    /// Whether there is a secret.
    pub(super) fn has_secret(&self) -> bool {
        self.config.load().is_some()
    }

    /// Asks the signer. The exchange goes on when the asker is gone, so that the next answer belongs to the next request.
    pub(super) async fn ask(self: &Arc<Self>, request: Request) -> Result<Reply, SignerError> {
        let helper = Arc::clone(self);
        let exchange = tokio::spawn(async move { helper.exchange(&request).await });
        match exchange.await.map_err(|_| SignerError::Nonsense)?? {
            Reply::Refused { why } => Err(SignerError::Refused(why)),
            reply => Ok(reply),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Reply, SignerError> {
        let config = self.config.load_full().ok_or(SignerError::NoSecret)?;
        let mut slot = timeout(PATIENCE, self.slot.lock()).await.map_err(|_| SignerError::Busy)?;
        // Taken out: it is put back only if it stays in step.
        let running = slot.running.take().filter(|running| running.config.is(&config));
        let mut running = match running {
            Some(running) => running,
            None => Running::start(config, &mut slot.refused).await?,
        };
        let patience = match request {
            Request::Create { .. } => PATIENCE_FOR_A_KEY,
            _ => PATIENCE,
        };
        match running.answer(request, patience, &mut slot.refused).await {
            Ok(reply) => {
                slot.running = Some(running);
                Ok(reply)
            }
            Err(failure) => {
                warn!(error = one_line(&failure), "The signer is gone; the next request starts it");
                Err(failure)
            }
        }
    }
}

impl Running {
    async fn start(
        config: Arc<Config>,
        refused: &mut Option<(Zeroizing<String>, String)>,
    ) -> Result<Self, SignerError> {
        let module = match &config.module {
            Some([library, pin_file]) => Some(module(library, pin_file, refused).await?),
            None => None,
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(SignerError::Start)?;
        ours.set_nonblocking(true).map_err(SignerError::Start)?;
        let socket = UnixStream::from_std(ours).map_err(SignerError::Start)?;
        let mut command = Command::new(OWN);
        command
            .arg0("proxyd")
            .arg("signer")
            .current_dir("/")
            // What ends proxyd from a terminal lets requests in flight finish.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let command = match module {
            // Vendors configure their libraries by variables, such as SOFTHSM2_CONF.
            Some(_) => {
                let command = command.arg("--module");
                SERVICE_VARIABLES.iter().fold(command, |command, name| command.env_remove(name))
            }
            None => command.env_clear(),
        };
        let process = command.spawn().map_err(SignerError::Start)?;
        let pid = process.id();
        let begin = Request::Begin {
            secret: Zeroizing::new(STANDARD.encode(*config.secret)),
            sealed_by: config.sealed_by.clone(),
            module,
        };
        let mut running = Self { socket, _process: process, config };
        match running.answer(&begin, PATIENCE, refused).await? {
            Reply::Ready => {
                info!(pid, "The signer runs");
                Ok(running)
            }
            _ => Err(SignerError::Nonsense),
        }
    }

    /// The answer to a request, if the signer is good for another one after it.
    async fn answer(
        &mut self,
        request: &Request,
        patience: Duration,
        refused: &mut Option<(Zeroizing<String>, String)>,
    ) -> Result<Reply, SignerError> {
        let reply = timeout(patience, self.exchange(request)).await.map_err(|_| SignerError::Slow)??;
        match (reply, &self.config.module) {
            (Reply::PinRefused { why }, Some([_, file])) => {
                *refused = Some((read_pin(file).await?, why.clone()));
                Err(SignerError::Pin { why, file: file.clone() })
            }
            (Reply::Failed { why }, _) => Err(SignerError::Token(why)),
            (reply, _) => Ok(reply),
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, SignerError> {
        let exchanged: io::Result<Reply> = async {
            self.socket.write_all(&wire::frame(request)?).await?;
            let mut head = [0; 4];
            self.socket.read_exact(&mut head).await?;
            let mut body = vec![0; wire::length(head)?];
            self.socket.read_exact(&mut body).await?;
            Ok(serde_json::from_slice(&body)?)
        }
        .await;
        exchanged.map_err(SignerError::Died)
    }
}

/// The module to load, unless its PIN was refused before.
async fn module(
    library: &Path,
    pin_file: &Path,
    refused: &Option<(Zeroizing<String>, String)>,
) -> Result<Module, SignerError> {
    for (path, key) in [(library, MODULE), (pin_file, PIN_FILE)] {
        if path.as_os_str().is_empty() {
            return Err(SignerError::NoModule(key));
        }
    }
    let pin = read_pin(pin_file).await?;
    match refused {
        Some((same, why)) if *same == pin => {
            Err(SignerError::Pin { why: why.clone(), file: pin_file.to_owned() })
        }
        _ => Ok(Module { library: library.to_owned(), pin }),
    }
}

/// The PIN in a file, without the end of its line.
async fn read_pin(file: &Path) -> Result<Zeroizing<String>, SignerError> {
    let read = async {
        let mut text = Zeroizing::new(String::new());
        let opened = tokio::fs::File::open(file).await?;
        let _ = opened.take(LONGEST_PIN + 1).read_to_string(&mut text).await?;
        let pin = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        match pin.len() as u64 {
            1..=LONGEST_PIN => Ok(pin),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty, or too long for a PIN")),
        }
    };
    read.await.map_err(|error| SignerError::PinFile(file.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_fits_and_takes_nothing_away() {
        let pin = |file: &str| SignerError::Pin { why: "PinIncorrect".into(), file: file.into() };
        for (failure, next) in [
            (SignerError::NoSecret, "proxy config --import-yaml FILE"),
            (SignerError::Refused("another secret".into()), "proxy config --import-yaml FILE"),
            (SignerError::NoModule(MODULE), "proxy config --describe proxy.signing.pkcs11.module"),
            (
                SignerError::PinFile("/pin".into(), io::ErrorKind::NotFound.into()),
                "install -m 600 token.pin /pin",
            ),
            (pin("/pin"), "install -m 600 token.pin /pin"),
            (
                pin("/run/credentials/airlock.service/airlock_pkcs11.pin"),
                "install -m 600 token.pin /etc/airlock/credentials/pkcs11.pin && systemctl restart airlock",
            ),
            (SignerError::Token("there is no token factory".into()), "proxy keys list"),
        ] {
            assert_eq!(failure.next(), next);
        }
    }
}
